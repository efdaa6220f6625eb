"""Swapped prediction between views (SwAV, arXiv 2006.09882; IMC-SwAV eq. 1, arXiv 2103.07368)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from imcswav.distributed import batch_size, batch_sum
from imcswav.errors import Problem, RecipeError
from imcswav.heads import AnyHeadName, HeadName
from imcswav.learners import RecipeFacts
from imcswav.losses import Loss
from imcswav.losses._outputs import global_places, matching, single
from imcswav.losses._queue import Queue
from imcswav.part import Part
from imcswav.plugins import hookimpl
from imcswav.solvers import Solver
from imcswav.step import Output, Progress, Step, split


class SwAV(Loss, name="swav"):
    """Predict each global view's code from every other view.

    Mean over global views i, views v ≠ i and images of −Σ_p q_i log softmax(u_v / τ), where the codes
    q_i = solver(u'_i) carry no gradient; u' are the scores themselves or a teacher's. At least float32, whatever the
    precision of the scores.

    Logs ``swav/effective_prototypes``, exp of the entropy of the mean code, P when all are used alike;
    ``swav/largest_share``, the largest entry of the mean code; and ``swav/prototypes_per_code``, exp of the codes' mean
    entropy, 1 when each is one prototype, P when codes tell nothing apart.
    """

    class Config(Loss.Config):
        temperature: float = Field(0.1, gt=0)
        """τ, divides the scores before the softmax."""
        solver: Annotated[Solver.Config, Part("solver")] = {"name": "sinkhorn"}  # type: ignore[assignment]
        """Turns the global views' scores into codes."""
        scores: HeadName = "prototypes"
        """Head whose output (V, B, P) is read."""
        codes: AnyHeadName = None
        """Output (G, B, P) that the codes are made of, such as "teacher.prototypes"; unset: the scores."""
        queue: int = Field(0, ge=0)
        """Past images whose embeddings, scored anew, are balanced along with the batch's, once there are so many."""
        queue_start: int = Field(0, ge=0)
        """Epoch, counted from 0, that is the first to fill the queue: embeddings of before would differ too much."""

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """A queue without a head to score it anew, and a warning when the training ends before it is full."""
            if not self.queue:
                return []
            setting, coded = ("codes", self.codes) if self.codes else ("scores", self.scores)
            if split(coded)[1] == "features":
                message = f"a queue is scored anew by a head, and '{coded}' are no head's."
                return [Problem(setting, message, "Name a head, or leave the queue out.", coded)]
            if facts.steps is None:
                return []
            an_epoch = (facts.data.images or 0) // facts.batch_size if facts.data else 0
            images = max(0, facts.steps - self.queue_start * an_epoch) * facts.batch_size
            if images >= self.queue:
                return []
            since = f" from epoch {self.queue_start} on" if self.queue_start else ""
            message = f"the training sees {images} images{since}, and a queue of {self.queue} never fills."
            return [Problem("queue", message, "Make it shorter.", self.queue, severity="warning")]

        def past_images(self) -> int:
            """The queue's."""
            return self.queue

        def check_banked(self) -> list[Problem]:
            """A queue counts on a batch in every step."""
            if not self.queue:
                return []
            message = "a queue takes in every batch, and a bank's losses aren't taken in every step."
            return [Problem("queue", message, "Leave the queue out, or take the loss off the bank.", self.queue)]

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.solver: Solver = config.solver.build()
        self.queue = Queue(config.queue, config.queue_start) if config.queue else None

    def compilable(self) -> bool:
        """Where the solver is, and without a queue, whose place moves from step to step."""
        return self.queue is None and self.solver.compilable()

    def rehearse(self, images: int, clusters: int) -> None:
        """Have a full queue from the second step on, where there are images for it."""
        if self.queue is not None:
            self.queue.rehearsed = images >= self.queue.size

    def prepare(self, progress: Progress) -> None:
        """Let the queue count its embeddings."""
        if self.queue is not None:
            self.queue.prepare(progress)

    def phase(self, progress: Progress) -> tuple[bool, bool] | None:
        """Whether the queue takes embeddings in, and whether it gives them out; None without one."""
        return None if self.queue is None else (self.queue.open, self.queue.full)

    def forward(self, step: Step) -> Tensor:
        """The scalar loss; raises RecipeError without a pair of a global and another view, and for other widths."""
        output, source = matching(self, step, "scores", "codes" if self.config.codes else "scores")
        # the learner's outputs are image-major in memory: this way round nothing is copied
        scores_BVP = single(output.tensor).transpose(0, 1)
        anchors = self._anchors(step, output, source)
        images, views, _ = scores_BVP.shape
        with torch.no_grad():
            codes_GBP = self._codes(step, source, anchors)
            # a view is asked to predict the sum of all codes but its own: one product instead of G·(V − 1)
            targets_BVP = codes_GBP.sum(0).unsqueeze(1).repeat(1, views, 1)
            own = [(output.views.index(view), code) for code, place in enumerate(anchors)
                   if (view := source.views[place]) in output.views]  # fmt: skip
            for place, code in own:
                targets_BVP[:, place] -= codes_GBP[code]
            step.logs |= _shares(codes_GBP)
        predictions_BVP = (scores_BVP / self.config.temperature).log_softmax(-1)
        terms = len(anchors) * views - len(own)
        total: Tensor = (predictions_BVP * targets_BVP).sum()  # no dot: over so many terms it is off by 1e-4
        return total / -(terms * images)

    def _codes(self, step: Step, source: Output, anchors: list[int]) -> Tensor:
        """Codes (G, B, P), balanced together with the queue's scores where there is one."""
        # slices put together: a list of places would be copied to the device in every step
        scores_GBP = torch.stack([single(source.tensor[place]) for place in anchors])
        codes_GBP: Tensor
        if self.queue is None:
            codes_GBP = self.solver(scores_GBP)
            return codes_GBP
        head, embeddings = step.head(self.config.codes or self.config.scores)
        together = scores_GBP
        if (held_GQD := self.queue.held()) is not None:
            held_GQP = head(held_GQD.flatten(0, 1)).unflatten(0, held_GQD.shape[:2])
            together = torch.cat([scores_GBP, single(held_GQP)], 1)
        codes_GBP = self.solver(together)[:, : scores_GBP.shape[1]]
        self.queue.push(torch.stack([single(embeddings.tensor[place]) for place in anchors]))
        return codes_GBP

    def _anchors(self, step: Step, output: Output, source: Output) -> list[int]:
        """Places among what the codes are made of that hold global views."""
        anchors = global_places(source, step.global_views)
        if any(view != source.views[place] for place in anchors for view in output.views):
            return anchors
        message = (
            f"swapped prediction needs a global view and at least one other, but '{self.config.scores}' saw views "
            f"{list(output.views)} and codes are made of {[source.views[place] for place in anchors]}."
        )
        remedy = "Give it at least two crops, the first of them global."
        raise RecipeError("loss swav", [Problem("scores", message, remedy, self.config.scores)])


def _shares(codes_GBP: Tensor) -> dict[str, Tensor]:
    """What the codes use of the prototypes, together and one by one, see SwAV."""
    views, images, _ = codes_GBP.shape
    total_P = batch_sum(codes_GBP.sum((0, 1)))
    share_P = total_P / total_P.sum()
    # special.entr takes twice as long on a CPU, a sixth of the whole loss
    terms_GBP = codes_GBP * codes_GBP.clamp_min(torch.finfo(codes_GBP.dtype).tiny).log()
    entropy = -batch_sum(terms_GBP.sum()) / (views * batch_size(images))
    return {
        "swav/effective_prototypes": torch.special.entr(share_P).sum().exp(),
        "swav/largest_share": share_P.amax(),
        "swav/prototypes_per_code": entropy.exp(),
    }


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [SwAV]
