"""Losses: functions of one training step's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field
from torch import Tensor, nn

from imcswav.component import Component
from imcswav.errors import Problem
from imcswav.learners import RecipeFacts
from imcswav.step import Step


class Loss(Component, nn.Module, kind="loss"):
    """A loss maps a Step to a scalar. Only the learner multiplies it by ``weight``."""

    class Config(Component.Config):
        weight: float = Field(1.0, ge=0)
        """Factor of this loss in the total."""

        def check_recipe(self, facts: RecipeFacts) -> list[Problem]:
            """Problems with the data and the recipe's numbers; heads that don't exist are the learner's to find."""
            return []

        def first_step(self, facts: RecipeFacts) -> int:
            """The first optimiser step, counted from 0, in which it is on, as far as is known."""
            return 0

        def past_images(self) -> int:
            """Images of earlier steps over which codes are balanced along with the batch's."""
            return 0

        def check_banked(self) -> list[Problem]:
            """Problems with being taken on a bank's images: a Step then has neither their places nor the heads."""
            return []

    config: Config

    def compilable(self) -> bool:
        """Whether torch.compile may take ``forward``: tensor operations alone, the same ones in every step."""
        return False

    def rehearse(self, images: int, clusters: int) -> None:
        """Before steps that are only tried or measured: be on, as in the midst of a training on so many images."""

    def forward(self, step: Step) -> Tensor:
        """The scalar loss, a mean over images, unweighted."""
        raise NotImplementedError


def labels(losses: Iterable[Loss]) -> list[str]:
    """What the figures of each loss are logged under: its name, behind which a later one has its place ("imc.2")."""
    names = [loss.name for loss in losses]
    return [f"{name}.{number}" if name in names[:number] else name for number, name in enumerate(names)]


def relabelled(logs: Mapping[str, Tensor], name: str, label: str) -> dict[str, Tensor]:
    """What a loss logged, under its label: "imc/…" as "imc.2/…", also where it has the name of the class it extends."""
    place = label.removeprefix(name)
    return {f"{label}/{key.partition('/')[2]}" if "/" in key else key + place: value for key, value in logs.items()}
