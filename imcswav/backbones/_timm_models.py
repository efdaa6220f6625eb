"""What timm's models need to become backbones: making them, small stems, sizes, and starting weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from imcswav.errors import ImcswavError
from imcswav.weights import Fit

LARGEST = 512
"""Side in px up to which a fitting size is looked for."""
COARSE = 16


def create(name: str, size: int, /, **keywords: Any) -> nn.Module:
    """A model that takes images and crops of any size, as far as it has a keyword for that."""
    import timm

    attempts = _sizing(name, size)
    for number, extra in enumerate(attempts, 1):
        try:
            model: nn.Module = timm.create_model(name, **{"num_classes": 0, **extra, **keywords})
        except TypeError as error:
            if number == len(attempts) or not any(f"'{key}'" in str(error) for key in extra):
                raise
        else:
            break
    return model


def _sizing(name: str, size: int) -> list[dict[str, Any]]:
    """Keywords for images and crops of any size, the best first; not every model knows them."""
    import timm

    known = timm.models.get_pretrained_cfg(name.split(".")[0])
    if known is None or not known.fixed_input_size:
        return [{}]
    # vision transformers: position embeddings follow the crop, crops are padded to whole patches
    flexible = {"img_size": size, "dynamic_img_size": True, "dynamic_img_pad": True}
    windows = {"img_size": size, "strict_img_size": False}  # Swin and its kin
    return [flexible, windows, {"img_size": size}, {}]


@cache
def alike(one: str, other: str) -> bool:
    """Whether both names are models of one class, so that keywords of one mean the same to the other."""
    try:
        with torch.device("meta"):
            first, second = (type(create(name, 224)) for name in (one, other))
    except Exception:  # unknown names and what can't be built are for the checks to tell
        return True
    return issubclass(first, second) or issubclass(second, first)


def small_stem(model: nn.Module, channels: int, name: str, stem: str) -> None:
    """Give the first convolution stride 1, as 3×3, and take the pooling after it away, or make it 2×2.

    Raises ImcswavError, naming what fits, for models that don't begin with one strided convolution.
    """
    place, first = _first_convolution(model)
    if hasattr(getattr(model, "patch_embed", None), "patch_size"):
        raise ImcswavError(
            f"stem = '{stem}' is for convolutional networks and {name} cuts images into patches; use stem = "
            f"'imagenet' and set the patches' size, such as arguments = {{ patch_size = 4 }}."
        )
    top = model.get_submodule(place.split(".")[0]).modules()
    rivals = [part for part in top if isinstance(part, nn.Conv2d) and part.in_channels == channels]
    if first.stride == (1, 1) or first.in_channels != channels or len(rivals) != 1:
        raise ImcswavError(
            f"stem = '{stem}' gives stride 1 to the first convolution, but {name} doesn't begin with one of a larger "
            f"stride; use stem = 'imagenet'."
        )
    pooled = hasattr(model, "maxpool")
    if stem == "small_pool" and not pooled:
        raise ImcswavError(f"stem = 'small_pool' is for ResNets: {name} has no pooling in its stem; use 'small'.")
    if first.kernel_size == (3, 3):
        first.stride = (1, 1)
    else:
        model.set_submodule(place, _three_by_three(first))
    if pooled:
        model.maxpool = nn.MaxPool2d(2) if stem == "small_pool" else nn.Identity()


def _first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    found = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d))
    return next(found, ("", nn.Conv2d(1, 1, 1)))


def _three_by_three(old: nn.Conv2d) -> nn.Conv2d:
    conv = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=old.bias is not None)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def dry_run(model: nn.Module, channels: int, size: int) -> str:
    """Why a model on the meta device can't take images of this size, else the empty text."""
    try:
        with torch.no_grad():
            shape = model(torch.zeros(2, channels, size, size, device="meta")).shape
    except Exception as error:  # a stranger's forward may raise anything
        return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return "" if len(shape) == 2 else f"its output has shape {tuple(shape)}, not (images, features)"


def smallest_size(model: nn.Module, channels: int, above: int) -> int | None:
    """The smallest size that fits above one that doesn't, by dry runs; None if there is none up to LARGEST."""
    steps = range(above // COARSE * COARSE + COARSE, LARGEST + 1, COARSE)
    coarse = next((size for size in steps if not dry_run(model, channels, size)), None)
    if coarse is None:
        return None
    return next(
        size for size in range(max(above + 1, coarse - COARSE + 1), coarse + 1) if not dry_run(model, channels, size)
    )


def fitted(model: nn.Module, state: dict[str, Tensor], stem: str) -> tuple[dict[str, Tensor], Fit]:
    """The tensors as the model takes them, and what still doesn't fit.

    Where they don't fit as they are: timm's own conversion (older names, position embeddings and patches of another
    size), then the first convolution for another number of channels. A small stem's first convolution starts anew
    when the file has another shape for it.
    """
    from timm.models import adapt_input_conv

    wanted, classifier = model.state_dict(), _classifier(model)
    renewed: tuple[str, ...] = ()
    if not Fit.of(wanted, state, classifier).complete:
        state = _converted(model, state)
        weight = f"{_first_convolution(model)[0]}.weight"
        new, old = wanted.get(weight), state.get(weight)
        if new is not None and old is not None and new.ndim == old.ndim == 4 and new.shape != old.shape:
            if new.shape[2:] == old.shape[2:] and old.shape[1] == 3:
                state = state | {weight: adapt_input_conv(new.shape[1], old)}
            elif stem != "imagenet":
                renewed = (weight,)
                state = {name: value for name, value in state.items() if name != weight}
    fit = replace(Fit.of(wanted, state, (*classifier, *renewed)), renewed=renewed)
    return {name: value for name, value in state.items() if name in wanted}, fit


def _converted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        converted: dict[str, Tensor] = convert(dict(state), model)
    except Exception:  # made for other files than this one; the report of the names says it better
        return state
    return converted


def _classifier(model: Any) -> tuple[str, ...]:
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))


@contextmanager
def quick_when_offline() -> Iterator[bool]:
    """Within, weights come from the hub's cache alone if the hub can't be reached; gives whether it can.

    Its client would else try for a minute. The one question here waits as long as the client's own do.
    """
    from huggingface_hub import constants, get_session

    before, reachable = constants.HF_HUB_OFFLINE, False
    with suppress(Exception):  # whichever client the hub uses has errors of its own
        if not before:
            get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            reachable = True
    constants.HF_HUB_OFFLINE = not reachable
    try:
        yield reachable
    finally:
        constants.HF_HUB_OFFLINE = before
