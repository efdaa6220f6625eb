"""The multi-view learner: backbone → heads → weighted losses over crops of each image."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from imcswav.backbones import Backbone
from imcswav.batchnorm import per_view, views_in_batch
from imcswav.data import Batch, DataFacts
from imcswav.errors import Problem, RecipeError
from imcswav.heads import Head
from imcswav.learners import Embedding, Learner, RecipeFacts
from imcswav.learners._multiview_checks import check_multiview
from imcswav.losses import Loss
from imcswav.part import Part
from imcswav.plugins import hookimpl
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

        def restored(self) -> Self:
            """Without the backbone's starting weights."""
            return self.model_copy(update={"backbone": self.backbone.restored()})

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
        if config.batch_norm == "per_view":
            per_view(self)
        if widths.get(config.assignment, clusters) != clusters:
            message = f"the head '{config.assignment}' assigns {widths[config.assignment]} clusters, not {clusters}."
            raise RecipeError(
                "learner multiview", [Problem("learner.assignment", message, "Set its width to 'clusters'.")]
            )

    def forward(self, batch: Batch, progress: Progress, seed: int) -> dict[str, Tensor]:
        """Crop, encode, score: the loss and its parts, as device scalars."""
        crops = self.views(batch.images, seed)
        features_MF = torch.cat([self._encode(group) for group in crops])
        views = sum(group.shape[0] for group in crops)
        # heads, scores, codes and information in float32, whatever the encoder: they cost little and suffer most
        with torch.autocast(features_MF.device.type, enabled=False):
            with views_in_batch(self.heads, views):
                rows = self._run_heads(_float32(features_MF), self.order)
            return self._losses(self._step(rows, views, crops[0].shape[0], progress))

    def _step(self, rows: dict[str, Tensor], views: int, global_views: int, progress: Progress) -> Step:
        step = Step(global_views=global_views, progress=progress)
        for name, rows_M in rows.items():
            step.outputs[f"online.{name}"] = Output(rows_M.unflatten(0, (views, -1)), tuple(range(views)))
        return step

    def _encode(self, crops_VBCHW: Tensor) -> Tensor:
        images = crops_VBCHW.flatten(0, 1).contiguous(memory_format=self.memory_format)
        with views_in_batch(self.backbone, crops_VBCHW.shape[0]):
            features: Tensor = self.backbone(images)
        return features

    def _run_heads(self, features_MF: Tensor, names: list[str]) -> dict[str, Tensor]:
        rows = {"features": features_MF}
        for name in names:
            head = self.heads[name]
            assert isinstance(head, Head)
            source = rows[head.config.input]
            rows[name] = head(source.detach() if head.config.detach else source)
        return rows

    def _losses(self, step: Step) -> dict[str, Tensor]:
        scalars: dict[str, Tensor] = {}
        total: Tensor | None = None
        for number, loss in enumerate(self.losses):
            assert isinstance(loss, Loss)
            value = loss(step)
            label = f"loss/{loss.name}"
            scalars[f"{label}.{number}" if label in scalars else label] = value.detach()
            weighted = loss.config.weight * value
            total = weighted if total is None else total + weighted
        assert total is not None
        return {"loss": total, **scalars, **step.logs}

    def compile_parts(self) -> None:
        """The backbone, where nearly all the time goes."""
        self.backbone.compile()

    def before_step(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("before_step", progress)

    def before_update(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("before_update", progress)

    def after_step(self, progress: Progress) -> None:
        """Hand the hook to every part that has it."""
        self._hook("after_step", progress)

    def _hook(self, name: str, progress: Progress) -> None:
        for part in (self.backbone, *self.heads.values(), *self.losses):
            if hook := getattr(part, name, None):
                hook(progress)

    def embed(self, images_NCHW: Tensor, views: int = 1) -> Embedding:
        """Backbone features and the assignment head's probabilities, averaged over mild views."""
        inputs = [self.views.whole(images_NCHW)] if views == 1 else self.views.mild(images_NCHW, views)
        features, probabilities = zip(*(self._embed_one(x) for x in inputs), strict=True)
        mean = partial(torch.mean, dim=0)
        has_clusters = probabilities[0] is not None
        return Embedding(mean(torch.stack(features)), mean(torch.stack(probabilities)) if has_clusters else None)

    def _embed_one(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self._encode(x_NCHW[None])
        wanted = self.config.assignment
        if wanted not in self.heads:
            return features, None
        logits = self._run_heads(features, self._path(wanted))[wanted]
        return features, logits.float().softmax(-1)

    def _path(self, name: str) -> list[str]:
        path = [name]
        while (source := self.config.heads[path[0]].input) != "features":
            path.insert(0, source)
        return path


def _float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@hookimpl
def imcswav_components() -> list[type[Any]]:
    """This module's component."""
    return [MultiView]
