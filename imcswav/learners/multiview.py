"""The multi-view learner: backbone → heads → weighted losses over crops of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.batchnorm import PerView, per_view, views_in_batch
from imcswav.data import Batch, DataFacts
from imcswav.distributed import batch_mean, world_size
from imcswav.errors import PluginError, Problem, RecipeError
from imcswav.heads import Head
from imcswav.learners import Embedding, Epoch, Learner
from imcswav.learners._bank import Bank, plan
from imcswav.learners._compiling import compiled_parts
from imcswav.learners._heads import float32, run_heads
from imcswav.learners._multiview_checks import check_bank, check_teacher
from imcswav.learners._multiview_config import MultiViewConfig
from imcswav.learners._teacher import Teacher
from imcswav.learners._whole_images import copy_clusters, embed, outputs
from imcswav.losses import Loss, labels, relabelled
from imcswav.phases import phase_of
from imcswav.plugins import hookimpl
from imcswav.recompute import in_pieces, recompute_blocks
from imcswav.step import ONLINE, TEACHER, Progress, Step, split
from imcswav.views import Views


class MultiView(Learner, name="multiview"):
    """Any backbone, heads and losses over the views of each image; with SwAV and IMC losses it is IMC-SwAV."""

    class Config(MultiViewConfig):
        """Settings of the learner."""

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
        self.branch, self.head = split(config.assignment)
        self.teacher = self._make_teacher()
        if config.batch_norm == "per_view":
            per_view(self)
        if config.activation_checkpointing:
            recompute_blocks(self.backbone.blocks())
        if self.head in self.heads and widths[self.head] != clusters:
            message = f"the head '{self.head}' assigns {widths[self.head]} clusters, not {clusters}."
            raise RecipeError(
                "learner multiview", [Problem("learner.assignment", message, "Set its width to 'clusters'.")]
            )

    def _make_bank(self, facts: DataFacts, widths: dict[str, int]) -> Bank | None:
        settings = self.config.bank
        if settings is None:
            return None
        if world_size() > 1:
            message = "a bank collects images over steps, and several processes can't share one."
            raise RecipeError("learner multiview", [Problem("bank", message, "Take one process, or leave it out.")])
        if problems := check_bank(self.config, facts.subsets):
            raise RecipeError("learner multiview", problems)
        chosen = plan(settings, self.config.heads, self.order, self.config.losses)
        copies = {name: head.copy_count() for name, head in self.config.heads.items()}
        shapes = {name: (copies[name], w) if copies.get(name, 1) > 1 else (w,) for name, w in widths.items()}
        return Bank(settings, chosen, shapes, sum(group.count for group in self.config.views.groups()))

    def _make_teacher(self) -> Teacher | None:
        errors = [problem for problem in check_teacher(self.config) if problem.severity == "error"]
        if errors:
            raise RecipeError("learner multiview", errors)
        if self.config.teacher is None:
            return None
        heads = {name: self.heads[name] for name in self.config.taught()}
        return Teacher(self.config.teacher, self.backbone, heads, exported=self.branch == TEACHER)

    def forward(self, batch: Batch, progress: Progress, seed: int | Tensor) -> dict[str, Tensor]:
        """Crop, encode, score: the loss and its parts, as device scalars."""
        crops = self._make_views(batch.images, seed)
        step = Step(global_views=len(crops[0]), progress=progress, index=batch.index)
        self._run(step, ONLINE, crops)
        if self.teacher is not None:
            with torch.no_grad():
                self._run(step, TEACHER, crops[:1])
        with torch.autocast(crops[0].device.type, enabled=False):  # codes and information in float32
            scalars = self.add_losses(step)
            return scalars if self.bank is None else self._add_banked(scalars, step, batch)

    def _run(self, step: Step, branch: str, crops: list[Tensor]) -> None:
        """Give the step a branch's heads and their outputs for these crops."""
        rows = self._compiled.get(branch, self.outputs_of)(crops, branch)
        step.fill(branch, rows, sum(len(group) for group in crops))
        step.heads.update({f"{branch}.{name}": head for name, head in self.network(branch)[1].items()})

    def outputs_of(self, crops: list[Tensor], branch: str) -> dict[str, Tensor]:
        """Rows (B · V, ·) of the features and of every head of a branch: compiled as one, sizes of crops and all."""
        return self.score(torch.cat([self.encode(group, branch) for group in crops], 1), branch)

    def network(self, branch: str) -> tuple[nn.Module, nn.ModuleDict]:
        """Backbone and heads of a branch."""
        owner = self.teacher if branch == TEACHER else self
        assert owner is not None
        return owner.backbone, owner.heads

    def encode(self, crops_VBCHW: Tensor, branch: str = ONLINE) -> Tensor:
        """Features (B, V, F) of the crops of one size."""
        backbone, _ = self.network(branch)
        views = crops_VBCHW.shape[0]
        # image-major: batch norm per view and micro-batches then find what they need side by side
        images_MCHW = crops_VBCHW.transpose(0, 1).flatten(0, 1).contiguous(memory_format=self.memory_format)
        pieces = self.config.pieces_of(crops_VBCHW.shape[1])
        run = backbone if self.config.in_one_piece() else self._compiled.get(f"{branch}.backbone", backbone)
        with views_in_batch(backbone, views):
            if pieces == 1:
                features_MF = run(images_MCHW)
            else:
                parts = images_MCHW.unflatten(0, (-1, views)).tensor_split(pieces)
                features_MF = in_pieces(backbone, run, (part.flatten(0, 1) for part in parts))
        features_BVF: Tensor = features_MF.unflatten(0, (-1, views))
        return features_BVF

    def score(self, features_BVF: Tensor, branch: str = ONLINE) -> dict[str, Tensor]:
        """Rows (B · V, ·) of every head of the branch, and the features."""
        _, heads = self.network(branch)
        later = () if self.bank is None else self.bank.plan.run
        names = [name for name in self.order if name in heads and name not in later]
        with views_in_batch(heads, features_BVF.shape[1]):
            return run_heads(heads, {"features": float32(features_BVF.flatten(0, 1))}, names)

    def add_losses(self, step: Step, banked: bool = False) -> dict[str, Tensor]:
        """The weighted sum of the losses as ``loss``, each of them, and what they log; those of the bank are apart."""
        scalars: dict[str, Tensor] = {}
        total: Tensor | None = None
        by_copy: dict[str, Tensor] = {}
        logs, names = step.logs, labels(self.losses)  # type: ignore[arg-type]
        for number, loss in enumerate(self.losses):
            assert isinstance(loss, Loss)
            if banked != (self.bank is not None and number in self.bank.plan.losses):
                continue
            step.logs, label = {}, names[number]
            value = self._compiled.get(f"losses.{number}", loss)(step)
            logs |= relabelled(step.logs, loss.name, label)
            if value.ndim:
                raise PluginError(f"The loss '{loss.name}' gave a tensor of shape {tuple(value.shape)}, not a scalar.")
            scalars[f"loss/{label}"] = value.detach()
            weighted = loss.config.weight * value
            total = weighted if total is None else total + weighted
            for name in list(step.reports):
                found_E = loss.config.weight * step.reports.pop(name)
                by_copy[name] = by_copy[name] + found_E if name in by_copy else found_E
        assert total is not None
        for name, losses_E in by_copy.items():
            head: Any = self.heads[name]
            head.rank(batch_mean(losses_E))
        step.logs = logs
        return {"loss": total, **scalars, **logs}

    def _add_banked(self, scalars: dict[str, Tensor], step: Step, batch: Batch) -> dict[str, Tensor]:
        """The scalars with those of the bank's losses, in a step in which it is full."""
        assert self.bank is not None
        held = self.bank.add(step, batch.subsets[self.bank.settings.subset])
        if held is None:
            return scalars
        views = len(step["features"])
        with views_in_batch(self.heads, views):
            rows = {name: kept.flatten(0, 1) for name, kept in held.items()}
            run_heads(self.heads, rows, self.bank.plan.run)
        late = Step(global_views=step.global_views, progress=step.progress)
        late.fill(ONLINE, rows, views)
        found = self.add_losses(late, banked=True)
        return {**scalars, **found, "loss": scalars["loss"] + found["loss"]}

    def sources(self) -> dict[str, tuple[str, ...]]:
        """The backbone, each head, and the teacher's copies: from the run's teacher, else from what they copy."""
        online = ["backbone", *(f"heads.{name}" for name in self.heads)]
        found: dict[str, tuple[str, ...]] = {name: (name,) for name in online}
        if self.teacher is not None:
            copied = ["backbone", *(f"heads.{name}" for name in self.teacher.heads)]
            found |= {f"{TEACHER}.{name}": (f"{TEACHER}.{name}", name) for name in copied}
        return found

    def prefers_channels_last(self, compiled: bool) -> bool:
        """Batch norm per view, unless it is compiled, needs an image's channels side by side in memory."""
        as_one = compiled and not self.config.activation_checkpointing
        return as_one or not any(isinstance(layer, PerView) for layer in self.backbone.modules())

    def compile_parts(self, wanted: bool = True) -> None:
        """Compile crops, branches and losses, or go back to the plain functions."""
        self._compiled = compiled_parts(self) if wanted else {}

    def _make_views(self, images_BCHW: Tensor, seed: int | Tensor) -> list[Tensor]:
        crops: list[Tensor] = self._compiled.get("views", self.views)(images_BCHW, seed)
        return crops

    def prepare(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("prepare", progress)

    def rehearse(self, images: int) -> None:
        """Losses have what they otherwise wait for."""
        for part in self.losses:
            loss: Any = part
            loss.rehearse(images, self.clusters)

    def start_epoch(self, epoch: Epoch) -> None:
        """Hand the hook to every part that has it, with the means to get any head's outputs for all images."""
        given = dataclasses.replace(epoch, outputs=partial(outputs, self, epoch.images), clusters=self.clusters)
        self._hook("start_epoch", given)

    def before_step(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("before_step", progress)

    def before_update(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        if self.bank is not None:  # before the heads' own hooks: what they freeze has no gradient
            self.bank.idle(p for name in self.bank.plan.run for p in self.heads[name].parameters())
        self._hook("before_update", progress)

    def after_step(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("after_step", progress)
        if self.teacher is not None:
            self.teacher.follow(self.backbone, self.heads)

    def _hook(self, name: str, argument: Any) -> None:
        for part in self._hooked():
            if hook := getattr(part, name, None):
                hook(argument)

    def _hooked(self) -> tuple[nn.Module, ...]:
        own = [part for part in (self.bank, self.teacher) if part is not None]
        return self.backbone, *self.heads.values(), *self.losses, *own

    def phase(self, progress: Progress) -> Hashable:
        """What the parts' hooks make of the progress."""
        return tuple(phase_of(part, progress) for part in self._hooked())

    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The views' own where they have some."""
        return self.views.mean, self.views.std

    def encoder(self) -> nn.Module:
        """The backbone that ``embed`` uses: the teacher's where it assigns."""
        return self.network(self.branch)[0]

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Backbone features and the assignment head's probabilities, averaged over mild views."""
        return embed(self, images_NCHW, views)

    def copy_clusters(self, images_NCHW: Tensor) -> Tensor | None:
        """The largest logit of each copy of the assignment head, the chosen copy in front."""
        return copy_clusters(self, images_NCHW)


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [MultiView]
