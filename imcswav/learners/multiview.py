"""The multi-view learner: backbone → heads → weighted losses over crops of each image."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Hashable
from functools import partial
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.batchnorm import PerView, evaluating, per_view, views_in_batch
from imcswav.data import Batch, DataFacts, Images, own_images
from imcswav.distributed import all_rows, batch_mean, world_size
from imcswav.errors import PluginError, Problem, RecipeError
from imcswav.heads import Head, named_heads
from imcswav.learners import Embedding, Epoch, Learner, RecipeFacts
from imcswav.learners._bank import Bank, BankSettings, plan
from imcswav.learners._heads import float32, path, run_heads, sorted_heads
from imcswav.learners._multiview_checks import check_bank, check_multiview, check_teacher
from imcswav.learners._teacher import Teacher, TeacherSettings
from imcswav.losses import Loss
from imcswav.part import Part
from imcswav.phases import phase_of
from imcswav.plugins import hookimpl
from imcswav.recompute import in_pieces, recompute_blocks
from imcswav.side_by_side import SideBySide, can_pass_aside
from imcswav.step import ONLINE, TEACHER, Progress, Step, split
from imcswav.views import Views

EPOCH_BATCH = 500
"""Images at a time of what is computed for all of them between two epochs."""


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
        the network that trains is then not compiled."""
        micro_batch: int | None = Field(None, ge=2)
        """Encode so many images (all their crops of a size) at a time and recompute them in the backward pass. Codes
        and losses still see the whole batch; only batch norm sees a micro-batch. Unset: all at once."""
        bank: BankSettings | None = None
        """Take some losses on a subset of the images only, collected over several batches."""
        teacher: TeacherSettings | None = None
        """A moving average of the network; losses read its outputs on the first group of crops as "teacher.<head>"."""
        assignment: str = "classifier"
        """The head whose largest logit is an image's cluster; without such a head a clusterer must assign.
        "teacher.classifier" assigns by the teacher, and features then are the teacher's too."""

        @field_validator("heads", mode="before")
        @classmethod
        def _misspelt(cls, heads: Any) -> Any:
            """Settings for a head that isn't there are more likely meant for one that is."""
            tables = heads if isinstance(heads, dict) else {}
            named = [key for key, table in tables.items() if not isinstance(table, dict) or "name" in table]
            for key in tables.keys() - set(named):
                if close := difflib.get_close_matches(str(key), named, n=1):
                    raise ValueError(f"there is no head '{key}': write '{close[0]}', or give a new head a name")
            return heads

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
            return sorted_heads(self.heads)

        def read(self) -> list[str]:
            """The heads that losses read, and the one that assigns."""
            return [*(name for loss in self.losses for name in named_heads(loss).values()), self.assignment]

        def taught(self) -> list[str]:
            """The heads that the teacher needs a copy of, in the order they run."""
            read = [split(name) for name in self.read()]
            wanted = {name for branch, head in read if branch == TEACHER for name in path(self.heads, head)}
            return [name for name in self.order() if name in wanted]

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
        rows = self._compiled.get(branch, self._outputs_of)(crops, branch)
        step.fill(branch, rows, sum(len(group) for group in crops))
        step.heads.update({f"{branch}.{name}": head for name, head in self._network(branch)[1].items()})

    def _outputs_of(self, crops: list[Tensor], branch: str) -> dict[str, Tensor]:
        """Rows (B · V, ·) of the features and of every head of a branch: compiled as one, sizes of crops and all."""
        return self.score(torch.cat([self.encode(group, branch) for group in crops], 1), branch)

    def _network(self, branch: str) -> tuple[nn.Module, nn.ModuleDict]:
        """Backbone and heads of a branch."""
        owner = self.teacher if branch == TEACHER else self
        assert owner is not None
        return owner.backbone, owner.heads

    def encode(self, crops_VBCHW: Tensor, branch: str = ONLINE) -> Tensor:
        """Features (B, V, F) of the crops of one size."""
        backbone, _ = self._network(branch)
        views = crops_VBCHW.shape[0]
        # image-major: batch norm per view and micro-batches then find what they need side by side
        images_MCHW = crops_VBCHW.transpose(0, 1).flatten(0, 1).contiguous(memory_format=self.memory_format)
        rows = len(images_MCHW) if self.config.micro_batch is None else self.config.micro_batch * views
        run = backbone if self._whole else self._compiled.get(f"{branch}.backbone", backbone)
        with views_in_batch(backbone, views):
            features_MF = run(images_MCHW) if rows >= len(images_MCHW) else in_pieces(backbone, run, images_MCHW, rows)
        features_BVF: Tensor = features_MF.unflatten(0, (-1, views))
        return features_BVF

    def score(self, features_BVF: Tensor, branch: str = ONLINE) -> dict[str, Tensor]:
        """Rows (B · V, ·) of every head of the branch, and the features."""
        _, heads = self._network(branch)
        later = () if self.bank is None else self.bank.plan.run
        names = [name for name in self.order if name in heads and name not in later]
        with views_in_batch(heads, features_BVF.shape[1]):
            return run_heads(heads, {"features": float32(features_BVF.flatten(0, 1))}, names)

    def add_losses(self, step: Step, banked: bool = False) -> dict[str, Tensor]:
        """The weighted sum of the losses as ``loss``, each of them, and what they log; those of the bank are apart."""
        scalars: dict[str, Tensor] = {}
        total: Tensor | None = None
        by_copy: dict[str, Tensor] = {}
        for number, loss in enumerate(self.losses):
            assert isinstance(loss, Loss)
            if banked != (self.bank is not None and number in self.bank.plan.losses):
                continue
            value = self._compiled.get(f"losses.{number}", loss)(step)
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
            head.rank(batch_mean(losses_E))
        return {"loss": total, **scalars, **step.logs}

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
        """Crops, each branch and the losses that allow it, whose many small operations become a few; in training only.

        ``wanted=False`` goes back to the plain functions. Of a network that goes in pieces the backbone is compiled;
        one with activation checkpointing stays as it is, for the compiler doesn't take its blocks.
        """
        parts: dict[str, Callable[..., Any]] = {"views": self.views}
        for branch in (ONLINE,) if self.teacher is None else (ONLINE, TEACHER):
            if self._whole:
                parts[branch] = self._outputs_of
            elif branch == TEACHER or not self.config.activation_checkpointing:
                parts[f"{branch}.backbone"] = self._network(branch)[0]
        banked = () if self.bank is None else self.bank.plan.losses  # of another number of images each time
        losses: Any = self.losses
        for number, loss in enumerate(losses):
            if number not in banked and loss.compilable():
                parts[f"losses.{number}"] = loss
        self._compiled = {name: torch.compile(part, dynamic=False) for name, part in parts.items() if wanted}
        if wanted and self._whole and self._sizes_side_by_side():
            self._compiled[ONLINE] = self._compiled_apart()

    def _sizes_side_by_side(self) -> bool:
        """Whether a GPU has several sizes of crops to work on at once, in one process."""
        on_gpu = next(self.parameters()).is_cuda and world_size() == 1
        return on_gpu and len(self.config.views.groups()) > 1 and can_pass_aside(self.backbone)

    def _compiled_apart(self) -> Callable[..., dict[str, Tensor]]:
        """As ``_outputs_of``, the sizes of crops compiled apart and encoded side by side."""
        encode: Callable[..., Tensor] = torch.compile(self.encode, dynamic=False)
        score: Callable[..., dict[str, Tensor]] = torch.compile(self.score, dynamic=False)
        side_by_side = SideBySide(self.backbone)

        def outputs_of(crops: list[Tensor], branch: str) -> dict[str, Tensor]:
            return score(torch.cat(side_by_side(lambda group: encode(group, branch), crops), 1), branch)

        return outputs_of

    @property
    def _whole(self) -> bool:
        """Whether a branch's forward pass is one function to a compiler."""
        return not self.config.activation_checkpointing and self.config.micro_batch is None

    def _make_views(self, images_BCHW: Tensor, seed: int | Tensor) -> list[Tensor]:
        crops: list[Tensor] = self._compiled.get("views", self.views)(images_BCHW, seed)
        return crops

    def prepare(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("prepare", progress)

    def start_epoch(self, epoch: Epoch) -> None:
        """Hand the hook to every part that has it, with the means to get any head's outputs for all images."""
        outputs = partial(self._outputs, epoch.images)
        self._hook("start_epoch", dataclasses.replace(epoch, outputs=outputs, clusters=self.clusters))

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
        return self._network(self.branch)[0]

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Backbone features and the assignment head's probabilities, averaged over mild views."""
        with torch.autocast(images_NCHW.device.type, enabled=False):  # resized as in training
            inputs = [self.views.whole(images_NCHW)] if views == 1 else self.views.mild(images_NCHW, views)
        features, probabilities = zip(*(self._embed_one(x) for x in inputs), strict=True)
        mean = partial(torch.mean, dim=0)
        has_clusters = probabilities[0] is not None
        return Embedding(mean(torch.stack(features)), mean(torch.stack(probabilities)) if has_clusters else None)

    def _embed_one(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = self._rows(x_NCHW, self.branch, self.head)
        return rows["features"], rows[self.head].float().softmax(-1) if self.head in self.heads else None

    def copy_clusters(self, images_NCHW: Tensor) -> Tensor | None:
        """The largest logit of each copy of the assignment head, the chosen copy in front."""
        head: Any = self._network(self.branch)[1][self.head] if self.head in self.heads else None
        if head is None or head.copies == 1:
            return None
        with torch.autocast(images_NCHW.device.type, enabled=False):
            x_NCHW = self.views.whole(images_NCHW)
        rows_NEK = self._all_rows(x_NCHW, self.branch, self.head)[self.head]
        by_loss_E = head.copy_losses.argsort(stable=True)
        return rows_NEK.argmax(-1).index_select(1, by_loss_E)

    def _rows(self, x_NCHW: Tensor, branch: str, head: str) -> dict[str, Tensor]:
        """As ``_all_rows``, but of a head with copies those of the chosen one."""
        rows, heads = self._all_rows(x_NCHW, branch, head), self._network(branch)[1]
        if head in heads:
            last: Any = heads[head]
            rows[head] = last.chosen(rows[head])
        return rows

    def _all_rows(self, x_NCHW: Tensor, branch: str, head: str) -> dict[str, Tensor]:
        """Features of normalised images and, where there is such a head, the rows on the way to it."""
        backbone, heads = self._network(branch)
        rows = {"features": float32(backbone(x_NCHW.contiguous(memory_format=self.memory_format)))}
        return run_heads(heads, rows, path(self.config.heads, head))

    @torch.no_grad()
    def _outputs(self, images: Images, name: str) -> Tensor:
        """Rows (N, D) of a head for all whole images, by the running statistics of batch norm."""
        branch, head = split(name)
        device = next(self.parameters()).device
        parts = []
        with evaluating(self):
            for batch in own_images(images, EPOCH_BATCH):
                with torch.autocast(device.type, enabled=False):
                    x_NCHW = self.views.whole(batch.to(device))
                parts.append(self._rows(x_NCHW, branch, head)[head].float())
        return all_rows(torch.cat(parts), len(images))


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [MultiView]
