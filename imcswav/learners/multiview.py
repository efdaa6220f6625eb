"""The multi-view learner: backbone → heads → weighted losses over crops of each image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.batchnorm import PerView, per_view, views_in_batch
from imcswav.data import Batch, DataFacts
from imcswav.errors import PluginError, Problem, RecipeError
from imcswav.heads import Head
from imcswav.learners import Embedding, Learner, RecipeFacts
from imcswav.learners._bank import Bank, BankSettings, plan
from imcswav.learners._multiview_checks import check_bank, check_multiview
from imcswav.losses import Loss
from imcswav.part import Part
from imcswav.phases import phase_of
from imcswav.plugins import hookimpl
from imcswav.recompute import in_pieces, recompute_blocks
from imcswav.step import Output, Progress, Step
from imcswav.views import Views


class MultiView(Learner, name="multiview"):
    """Any backbone, heads and losses over the views of each image; with SwAV and IMC losses it is IMC-SwAV."""

    class Config(Learner.Config):
        views: Annotated[Views.Config, Part("views")]
        """How crops are made."""
        backbone: Annotated[Backbone.Config, Part("backbone")]
        """Images to features."""
        heads: dict[str, Annotated[Head.Config, Part("head")]] = Field(min_length=1)
        """Networks on the features, by the name losses and other heads use."""
        losses: list[Annotated[Loss.Config, Part("loss")]] = Field(min_length=1)
        """Summed with their weights."""
        batch_norm: Literal["per_view", "pooled"] = "per_view"
        """Statistics of each view apart, as published, or of all crops of a size together, which is faster."""
        activation_checkpointing: bool = False
        """Recompute each block's activations in the backward pass: a third more operations, much less memory;
        such a backbone is not compiled."""
        micro_batch: int | None = Field(None, ge=2)
        """Encode so many images (all their crops of a size) at a time and recompute them in the backward pass. Codes
        and losses still see the whole batch; only batch norm sees a micro-batch. Unset: all at once."""
        bank: BankSettings | None = None
        """Take some losses on a subset of the images only, collected over several batches."""
        assignment: str = "classifier"
        """The head whose largest logit is an image's cluster; without such a head a clusterer must assign."""

        @field_validator("heads")
        @classmethod
        def _names(cls, heads: dict[str, Head.Config]) -> dict[str, Head.Config]:
            for name in heads:
                # torch keeps modules as attributes beside its own methods
                if not name or "." in name or name == "features" or hasattr(nn.ModuleDict(), name):
                    raise ValueError(f"a head can't be called '{name}': choose another name, without a dot")
            return heads

        def sampled(self, images: int) -> Self:
            """With a bank that so few images fill."""
            if self.bank is None:
                return self
            return self.model_copy(update={"bank": self.bank.model_copy(update={"images": images})})

        def order(self) -> list[str]:
            """Heads sorted so that each comes after the one it reads; raises ValueError on a cycle or a gap."""
            done: list[str] = []
            waiting = dict(self.heads)
            while waiting:
                ready = [name for name, head in waiting.items() if head.input in ("features", *done)]
                if not ready:
                    raise ValueError(f"heads {', '.join(waiting)} read each other or a head that isn't there")
                done += ready
                for name in ready:
                    del waiting[name]
            return done

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """Names of heads, crop sizes against the backbone, and prototypes against the batch."""
            return check_multiview(self, facts)

    config: Config

    def __init__(self, config: Config, *, facts: DataFacts, clusters: int) -> None:
        super().__init__(config, facts=facts, clusters=clusters)
        self._compiled: dict[str, Callable[..., Any]] = {}  # a dict, lest weights be registered twice
        self.views: Views = config.views.build(channels=facts.channels, mean=facts.mean, std=facts.std)
        self.backbone: Backbone = config.backbone.build(channels=facts.channels, image_size=facts.size)
        widths = {"features": self.backbone.features}
        self.heads = nn.ModuleDict()
        self.order = config.order()
        for name in self.order:
            settings = config.heads[name]
            head: Head = settings.build(in_features=widths[settings.input], clusters=clusters)
            self.heads[name], widths[name] = head, head.out_features
        self.losses = nn.ModuleList(settings.build() for settings in config.losses)
        self.bank = self._make_bank(facts, widths)
        if config.batch_norm == "per_view":
            per_view(self)
        if config.activation_checkpointing:
            recompute_blocks(self.backbone.blocks())
        if widths.get(config.assignment, clusters) != clusters:
            message = f"the head '{config.assignment}' assigns {widths[config.assignment]} clusters, not {clusters}."
            raise RecipeError(
                "learner multiview", [Problem("learner.assignment", message, "Set its width to 'clusters'.")]
            )

    def _make_bank(self, facts: DataFacts, widths: dict[str, int]) -> Bank | None:
        settings = self.config.bank
        if settings is None:
            return None
        if problems := check_bank(self.config, facts.subsets):
            raise RecipeError("learner multiview", problems)
        chosen = plan(settings, self.config.heads, self.order, self.config.losses)
        copies = {name: head.copy_count() for name, head in self.config.heads.items()}
        shapes = {name: (copies[name], w) if copies.get(name, 1) > 1 else (w,) for name, w in widths.items()}
        return Bank(settings, chosen, shapes, sum(group.count for group in self.config.views.groups()))

    def forward(self, batch: Batch, progress: Progress, seed: int | Tensor) -> dict[str, Tensor]:
        """Crop, encode, score: the loss and its parts, as device scalars."""
        crops = self._make_views(batch.images, seed)
        features_BVF = torch.cat([self.encode(group) for group in crops], 1)
        # heads, scores, codes and information in float32, whatever the encoder: they cost little and suffer most
        with torch.autocast(features_BVF.device.type, enabled=False):
            step = Step(global_views=crops[0].shape[0], progress=progress)
            scalars = self.add_losses(_fill(step, self.score(features_BVF), features_BVF.shape[1]))
            return scalars if self.bank is None else self._add_banked(scalars, step, batch)

    def encode(self, crops_VBCHW: Tensor) -> Tensor:
        """Features (B, V, F) of the crops of one size."""
        views = crops_VBCHW.shape[0]
        # image-major: batch norm per view and micro-batches then find what they need side by side
        images_MCHW = crops_VBCHW.transpose(0, 1).flatten(0, 1).contiguous(memory_format=self.memory_format)
        rows = len(images_MCHW) if self.config.micro_batch is None else self.config.micro_batch * views
        with views_in_batch(self.backbone, views):
            if rows >= len(images_MCHW):
                features_MF = self._run_backbone(images_MCHW)
            else:
                features_MF = in_pieces(self.backbone, self._run_backbone, images_MCHW, rows)
        features_BVF: Tensor = features_MF.unflatten(0, (-1, views))
        return features_BVF

    def score(self, features_BVF: Tensor) -> dict[str, Tensor]:
        """Rows (B · V, ·) of every head, and the features."""
        names = [name for name in self.order if self.bank is None or name not in self.bank.plan.run]
        with views_in_batch(self.heads, features_BVF.shape[1]):
            return self._run_heads({"features": _float32(features_BVF.flatten(0, 1))}, names)

    def _run_heads(self, rows: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """The rows (M, ·) with those of further heads, each of which reads one that is there."""
        for name in names:
            head = self.heads[name]
            assert isinstance(head, Head)
            source = rows[head.config.input]
            rows[name] = head(source.detach() if head.config.detach else source)
        return rows

    def add_losses(self, step: Step, banked: bool = False) -> dict[str, Tensor]:
        """The weighted sum of the losses as ``loss``, each of them, and what they log; those of the bank are apart."""
        scalars: dict[str, Tensor] = {}
        total: Tensor | None = None
        by_copy: dict[str, Tensor] = {}
        for number, loss in enumerate(self.losses):
            assert isinstance(loss, Loss)
            if banked != (self.bank is not None and number in self.bank.plan.losses):
                continue
            value = loss(step)
            if value.ndim:
                raise PluginError(f"The loss '{loss.name}' gave a tensor of shape {tuple(value.shape)}, not a scalar.")
            label = f"loss/{loss.name}"
            scalars[f"{label}.{number}" if label in scalars else label] = value.detach()
            weighted = loss.config.weight * value
            total = weighted if total is None else total + weighted
            for name in list(step.reports):
                found_E = loss.config.weight * step.reports.pop(name)
                by_copy[name] = by_copy[name] + found_E if name in by_copy else found_E
        assert total is not None
        for name, losses_E in by_copy.items():
            head: Any = self.heads[name]
            head.rank(losses_E)
        return {"loss": total, **scalars, **step.logs}

    def _add_banked(self, scalars: dict[str, Tensor], step: Step, batch: Batch) -> dict[str, Tensor]:
        """The scalars with those of the bank's losses, in a step in which it is full."""
        assert self.bank is not None
        held = self.bank.add(step, batch.subsets[self.bank.settings.subset])
        if held is None:
            return scalars
        views = len(step["features"])
        with views_in_batch(self.heads, views):
            rows = self._run_heads({name: kept.flatten(0, 1) for name, kept in held.items()}, self.bank.plan.run)
        late = Step(global_views=step.global_views, progress=step.progress)
        found = self.add_losses(_fill(late, rows, views), banked=True)
        return {**scalars, **found, "loss": scalars["loss"] + found["loss"]}

    def prefers_channels_last(self, compiled: bool) -> bool:
        """Batch norm per view, unless it is compiled, needs the channels of an image side by side in memory."""
        return compiled or not any(isinstance(layer, PerView) for layer in self.backbone.modules())

    def compile_parts(self, wanted: bool = True) -> None:
        """The crops, whose many small operations become a few, and the backbone; in training only.

        Shapes are fixed: a size of crops each. ``wanted=False`` goes back to the plain functions. A backbone with
        activation checkpointing stays as it is, for the compiler doesn't take its blocks.
        """
        parts: dict[str, Callable[..., Any]] = {"views": self.views, "backbone": self.backbone}
        if self.config.activation_checkpointing:
            del parts["backbone"]
        self._compiled = {name: torch.compile(part, dynamic=False) for name, part in parts.items() if wanted}

    def _make_views(self, images_BCHW: Tensor, seed: int | Tensor) -> list[Tensor]:
        crops: list[Tensor] = self._compiled.get("views", self.views)(images_BCHW, seed)
        return crops

    def _run_backbone(self, images_MCHW: Tensor) -> Tensor:
        features_MF: Tensor = self._compiled.get("backbone", self.backbone)(images_MCHW)
        return features_MF

    def before_step(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("before_step", progress)

    def before_update(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("before_update", progress)
        if self.bank is not None:
            self.bank.idle(p for name in self.bank.plan.run for p in self.heads[name].parameters())

    def after_step(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("after_step", progress)

    def _hook(self, name: str, progress: Progress) -> None:
        for part in self._hooked():
            if hook := getattr(part, name, None):
                hook(progress)

    def _hooked(self) -> tuple[nn.Module, ...]:
        return self.backbone, *self.heads.values(), *self.losses, *([] if self.bank is None else [self.bank])

    def phase(self, progress: Progress) -> Hashable:
        """What the parts' hooks make of the progress."""
        return tuple(phase_of(part, progress) for part in self._hooked())

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Backbone features and the assignment head's probabilities, averaged over mild views."""
        with torch.autocast(images_NCHW.device.type, enabled=False):  # resized as in training
            inputs = [self.views.whole(images_NCHW)] if views == 1 else self.views.mild(images_NCHW, views)
        features, probabilities = zip(*(self._embed_one(x) for x in inputs), strict=True)
        mean = partial(torch.mean, dim=0)
        has_clusters = probabilities[0] is not None
        return Embedding(mean(torch.stack(features)), mean(torch.stack(probabilities)) if has_clusters else None)

    def _embed_one(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        features = _float32(self.backbone(x_NCHW.contiguous(memory_format=self.memory_format)))
        wanted = self.config.assignment
        if wanted not in self.heads:
            return features, None
        with torch.autocast(features.device.type, enabled=False):  # heads in float32, as in training
            rows = self._run_heads({"features": features}, self._path(wanted))
            head: Any = self.heads[wanted]
            logits: Tensor = head.chosen(rows[wanted])
        return features, logits.float().softmax(-1)

    def _path(self, name: str) -> list[str]:
        path = [name]
        while (source := self.config.heads[path[0]].input) != "features":
            path.insert(0, source)
        return path


def _fill(step: Step, rows: dict[str, Tensor], views: int) -> Step:
    """Give a step the rows (M · V, ·), image-major, of every head."""
    for name, rows_MD in rows.items():
        tensor_VMD = rows_MD.unflatten(0, (-1, views)).transpose(0, 1)
        step.outputs[f"online.{name}"] = Output(tensor_VMD, tuple(range(views)))
    return step


def _float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [MultiView]
