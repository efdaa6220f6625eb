"""Any timm model as backbone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.errors import ImcswavError, Problem
from imcswav.plugins import did_you_mean, hookimpl

BLOCKS = re.compile(r"^(.*\.)?(blocks|layer[1-9])$")


class Timm(Backbone, name="timm"):
    """A model of timm (Wightman, github.com/huggingface/pytorch-image-models) without its classifier."""

    class Config(Backbone.Config):
        model: str = "resnet18"
        """timm's name of the model."""
        stem: Literal["imagenet", "small", "small_pool"] = "imagenet"
        """First layers of a ResNet: the model's own; one 3×3 convolution of stride 1; the same with 2×2 max pooling."""
        pretrained: bool = False
        """Start from timm's pretrained weights, downloaded once."""
        weights: Path | None = None
        """Start from this file of weights (safetensors, or a torch state dict)."""
        arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
        """Keywords handed to the model, such as ``zero_init_last = false``."""

        @model_validator(mode="after")
        def _known(self) -> Timm.Config:
            import timm  # seconds to import, so only where a recipe asks for it

            base = self.model.split(".")[0]
            if not timm.is_model(base):
                near = difflib.get_close_matches(base, timm.list_models(), n=1)
                hint = did_you_mean(base, near) if near else "timm.list_models() lists them."  # there are over 1,000
                raise ValueError(f"timm has no model '{self.model}'. {hint}")
            if self.pretrained and self.weights:
                raise ValueError("give pretrained or weights, not both")
            return self

        def restored(self) -> Self:
            """Neither ``pretrained`` nor ``weights``."""
            return self.model_copy(update={"pretrained": False, "weights": None})

        def check_sizes(self, sizes: Iterable[int], channels: int) -> list[Problem]:
            """A dry pass on the meta device (shapes only) for each size."""
            problems = []
            if self.weights is not None and not self.weights.is_file():
                problems.append(Problem("weights", f"there is no file {self.weights}.", "Check the path."))
            sizes = sorted(set(sizes))
            try:
                with torch.device("meta"):
                    model = self._network(channels, max(sizes), pretrained=False).eval()
            except ImcswavError as error:
                return [*problems, Problem("stem", str(error))]
            except (TypeError, RuntimeError, ValueError, AssertionError) as error:
                remedy = "Check `arguments` and the image size."
                return [*problems, Problem("model", f"{self.model} can't be built: {error}.", remedy, self.model)]
            for size in sizes:
                if trouble := _dry_run(model, channels, size):
                    message = f"{self.model} can't take images of {size} × {size} px ({trouble})."
                    problems.append(
                        Problem(
                            "model",
                            message,
                            "Enlarge the crops, give all of them the images' size, or take another model or stem.",
                            self.model,
                        )
                    )
            return problems

        def _network(self, channels: int, size: int, pretrained: bool) -> nn.Module:
            settings = {"pretrained": pretrained, "num_classes": 0, "in_chans": channels}
            model = _create(self.model, [{**settings, **extra, **self.arguments} for extra in self._sizing(size)])
            if self.stem != "imagenet":
                _small_stem(model, channels, self.model, pool=self.stem == "small_pool")
            return model

        def _sizing(self, size: int) -> list[dict[str, Any]]:
            """Keywords for a model to take images and crops of any size, the best first; not every model knows them."""
            import timm

            known = timm.models.get_pretrained_cfg(self.model.split(".")[0])
            if known is None or not known.fixed_input_size:
                return [{}]
            # vision transformers: position embeddings follow the crop, crops are padded to whole patches
            flexible = {"img_size": size, "dynamic_img_size": True, "dynamic_img_pad": True}
            return [flexible, {"img_size": size}, {}]

    config: Config

    def __init__(self, config: Config, *, channels: int, image_size: int) -> None:
        super().__init__(config)
        if config.pretrained:
            self.model = _download(config, channels, image_size)
        else:
            self.model = config._network(channels, image_size, pretrained=False)
        if config.weights:
            _load(self.model, config.weights)
        was_training = self.model.training
        with torch.no_grad():  # eval mode: a dry pass must not touch batch statistics
            self.features = int(self.model.eval()(torch.zeros(1, channels, image_size, image_size)).shape[1])
        self.model.train(was_training)

    def blocks(self) -> list[nn.Module]:
        """What timm's models repeat: the entries of ``blocks`` or, in a ResNet, of ``layer1`` … ``layer4``."""
        rows = [part for name, part in self.model.named_modules() if BLOCKS.search(name)]
        blocks = [block for row in rows for block in row.children()]
        return blocks or [self.model]

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """timm's pooled features before the classifier (M, F)."""
        features: Tensor = self.model(images_MCHW)
        return features


def _create(name: str, attempts: list[dict[str, Any]]) -> nn.Module:
    import timm

    for keywords in attempts[:-1]:
        try:
            model: nn.Module = timm.create_model(name, **keywords)
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
        else:
            return model
    last: nn.Module = timm.create_model(name, **attempts[-1])
    return last


def _download(config: Timm.Config, channels: int, size: int) -> nn.Module:
    try:
        return config._network(channels, size, pretrained=True)
    except (OSError, RuntimeError) as error:  # no network and not in the cache; or there are no such weights
        reason = " ".join(str(error).split()).rstrip(".")
        raise ImcswavError(
            f"The pretrained weights of {config.model} can't be had ({reason}); get them on a machine with network "
            f"and give the file as backbone.weights, or set backbone.pretrained = false."
        ) from error


def _small_stem(model: nn.Module, channels: int, name: str, pool: bool) -> None:
    first = getattr(model, "conv1", None)
    if not (isinstance(first, nn.Conv2d) and hasattr(model, "maxpool")):
        raise ImcswavError(
            f"the small stem replaces a ResNet's first layers, which {name} hasn't; use stem = 'imagenet'."
        )
    conv = nn.Conv2d(channels, first.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = conv
    model.maxpool = nn.MaxPool2d(2) if pool else nn.Identity()


def _dry_run(model: nn.Module, channels: int, size: int) -> str:
    try:
        with torch.no_grad():
            shape = model(torch.zeros(2, channels, size, size, device="meta")).shape
    except Exception as error:  # a stranger's forward may raise anything
        return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return "" if len(shape) == 2 else f"its output has shape {tuple(shape)}, not (images, features)"


def _load(model: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
        missing, unexpected = model.load_state_dict(state, strict=False)
    except Exception as error:  # torn file, wrong format, wrong shapes: one sentence for all
        reason = " ".join(str(error).split())
        raise ImcswavError(
            f"The weights {path} can't be loaded into this model ({reason[:300]}); give a file of the same model."
        ) from error
    if missing:
        raise ImcswavError(
            f"The weights {path} lack {len(missing)} of the model's tensors (first: {missing[0]}; "
            f"{len(unexpected)} of theirs are unknown to it); give a file of the same model."
        )


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Timm]
