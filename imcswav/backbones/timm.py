"""Any timm model as backbone."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.backbones._timm_models import (
    LARGEST,
    alike,
    create,
    dry_run,
    fitted,
    quick_when_offline,
    small_stem,
    smallest_size,
)
from imcswav.errors import ImcswavError, Problem, WeightsError
from imcswav.plugins import did_you_mean, hookimpl
from imcswav.weights import read_weights, trained_with

BLOCKS = re.compile(r"^(.*\.)?(blocks|layer[1-9])$")
IN_A_RUN = "learner.backbone.model."
"""Where the model of this backbone stands among the weights of a run."""
SAME_MODEL = "Give a file of the same model, with the same `arguments` and stem."


class Timm(Backbone, name="timm"):
    """A model of timm (Wightman, github.com/huggingface/pytorch-image-models) without its classifier."""

    class Config(Backbone.Config):
        hinge: ClassVar[str | None] = "model"

        model: str = "resnet18"
        """timm's name of the model; `imcswav list backbone --filter 'convnext*'` lists names."""
        stem: Literal["imagenet", "small", "small_pool"] = "imagenet"
        """First layers of a convolutional network: the model's own; the first convolution 3×3 with stride 1 and no
        pooling after it; the same with 2×2 max pooling (ResNets)."""
        pretrained: bool = False
        """Start from timm's pretrained weights, downloaded once."""
        weights: Path | None = None
        """Start from these weights: safetensors, a torch state dict, a checkpoint of timm, or a run folder; "~" is
        your home."""
        arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
        """Keywords handed to the model, such as ``zero_init_last = false``, ``patch_size = 4``, ``drop_path_rate``. A
        recipe on top that names a model of another kind doesn't inherit them."""

        @model_validator(mode="after")
        def _known(self) -> Timm.Config:
            import timm  # seconds to import, so only where a recipe asks for it

            base = self.model.split(".")[0]
            if not timm.is_model(base):
                near = difflib.get_close_matches(base, timm.list_models(), n=1)
                hint = did_you_mean(base, near) if near else "`imcswav list backbone --filter '*'` lists them."
                raise ValueError(f"timm has no model '{self.model}'. {hint}")
            if self.pretrained and self.weights:
                raise ValueError("give pretrained or weights, not both")
            return self

        @classmethod
        def inherit(cls, base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
            """``arguments`` only where the new model is of the same class as the old one."""
            before, after = base.get("model", cls.model_fields["model"].default), new["model"]
            if not (isinstance(before, str) and isinstance(after, str)) or alike(before, after):
                return base
            return {key: value for key, value in base.items() if key != "arguments"}

        @classmethod
        def choices(cls) -> list[str]:
            """timm's names."""
            import timm

            names: list[str] = timm.list_models()
            return names

        def restored(self) -> Self:
            """Neither ``pretrained`` nor ``weights``."""
            return self.model_copy(update={"pretrained": False, "weights": None})

        def resolved(self) -> Self:
            """``weights`` absolute."""
            weights = None if self.weights is None else Path(os.path.expanduser(self.weights)).resolve()
            return self.model_copy(update={"weights": weights})

        def normalization(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
            """Of a run's weights the run's; timm's own for ``pretrained`` ones and other files, of three channels."""
            import timm

            trained = trained_with(self.weights) if self.weights else None
            if trained is not None:
                return trained if len(trained[0]) == channels else None
            known = timm.models.get_pretrained_cfg(self.model)
            if channels != 3 or known is None or not (self.pretrained or self.weights):
                return None
            return tuple(known.mean), tuple(known.std)

        def check_sizes(self, sizes: Iterable[int], channels: int) -> list[Problem]:
            """A dry pass on the meta device (shapes only) for each size, and the names of the starting weights."""
            sizes = sorted(set(sizes))
            try:
                with torch.device("meta"):
                    model = self._network(channels, max(sizes), pretrained=False).eval()
            except ImcswavError as error:
                return [Problem("stem", str(error), value=self.stem)]
            except (TypeError, RuntimeError, ValueError, AssertionError) as error:
                return [self._cannot_build(error)]
            return [*self._check_weights(model), *self._check_runs(model, channels, sizes)]

        def _cannot_build(self, error: Exception) -> Problem:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown and unknown[1] in self.arguments:
                remedy = f"Remove it, for instance with --set backbone.arguments.{unknown[1]}=null."
                return Problem("arguments", f"{self.model} takes no argument '{unknown[1]}'.", remedy)
            message = f"{self.model} can't be built: {str(error).rstrip('.')}."
            return Problem("model", message, "Check `arguments` and the image size.", self.model)

        def _check_weights(self, model: nn.Module) -> list[Problem]:
            if self.weights is None:
                return []
            try:
                _, fit = fitted(model, read_weights(self.weights, IN_A_RUN), self.stem)
            except ImcswavError as error:
                return [Problem("weights", str(error))]
            if not fit.complete:
                return [Problem("weights", f"{self.weights} doesn't fit {self.model}: {fit}.", SAME_MODEL)]
            told = [f"{self.weights} holds more than {self.model}: {fit}."] if fit.unknown else []
            told += [f"{name} starts anew: in {self.weights} it has another shape." for name in fit.renewed]
            return [Problem("weights", message, severity="warning") for message in told]

        def _check_runs(self, model: nn.Module, channels: int, sizes: list[int]) -> list[Problem]:
            troubles = {size: trouble for size in sizes if (trouble := dry_run(model, channels, size))}
            if not troubles:
                return []
            fits, wrong = smallest_size(model, channels, max(troubles)), " or ".join(f"{n} × {n}" for n in troubles)
            smallest = f"the smallest size that fits is {fits}" if fits else f"none up to {LARGEST} fits"
            message = f"{self.model} can't take images of {wrong} px, {smallest} ({troubles[max(troubles)]})."
            remedy = "Enlarge the crops, give all of them the images' size, or take another stem or model."
            return [Problem("model", message, remedy, self.model)]

        def _network(self, channels: int, size: int, pretrained: bool) -> nn.Module:
            model = create(self.model, size, **{"pretrained": pretrained, "in_chans": channels, **self.arguments})
            if self.stem != "imagenet":
                small_stem(model, channels, self.model, self.stem)
            return model

    config: Config

    def __init__(self, config: Config, *, channels: int, image_size: int) -> None:
        super().__init__(config)
        if config.pretrained:
            self.model = _download(config, channels, image_size)
        else:
            self.model = config._network(channels, image_size, pretrained=False)
        if config.weights:
            _load(self.model, config)
        was_training = self.model.training
        with torch.no_grad():  # eval mode: a dry pass must not touch batch statistics
            self.features = int(self.model.eval()(torch.zeros(1, channels, image_size, image_size)).shape[1])
        self.model.train(was_training)

    def blocks(self) -> list[nn.Module]:
        """What timm's models repeat: the entries of ``blocks`` or, in a ResNet, of ``layer1`` … ``layer4``."""
        rows = [part for name, part in self.model.named_modules() if BLOCKS.search(name)]
        blocks = [block for row in rows for block in row.children()]
        return blocks or [self.model]

    def depths(self) -> dict[str, int]:
        """timm's own numbering of the model's layers; empty for the few models that have none."""
        from timm.models import group_parameters

        matcher = getattr(self.model, "group_matcher", None)
        if matcher is None:
            return {}
        numbers = group_parameters(self.model, matcher(coarse=False), reverse=True)
        return {f"model.{name}": int(number) for name, number in numbers.items()}

    def forward(self, images_MCHW: Tensor) -> Tensor:
        """timm's pooled features before the classifier (M, F)."""
        features: Tensor = self.model(images_MCHW)
        return features


def _download(config: Timm.Config, channels: int, size: int) -> nn.Module:
    with quick_when_offline() as reachable:
        try:
            return config._network(channels, size, pretrained=True)
        except (OSError, RuntimeError) as error:  # neither network nor cache; or there are no such weights
            reason = " ".join(str(error).split()).rstrip(".")
            if isinstance(error, OSError) and not reachable:
                reason = "the hub can't be reached and its cache on this machine hasn't got them"
            hub = _source(config.model)
            found = f"the file of weights of huggingface.co/{hub}" if hub else "them"
            raise WeightsError(
                f"The pretrained weights of {config.model} can't be had ({reason}); get {found} on a "
                f"machine with network and give it as backbone.weights, or set backbone.pretrained = false.",
                hub,
            ) from error


def _source(name: str) -> str:
    """The hub's repository of a model's weights, "" where there is none."""
    import timm

    known = timm.models.get_pretrained_cfg(name)
    return str(getattr(known, "hf_hub_id", None) or "")


def _load(model: nn.Module, config: Timm.Config) -> None:
    assert config.weights is not None
    state, fit = fitted(model, read_weights(config.weights, IN_A_RUN), config.stem)
    if not fit.complete:
        raise ImcswavError(f"The weights {config.weights} don't fit {config.model}: {fit}. {SAME_MODEL}")
    model.load_state_dict(state, strict=False)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [Timm]
