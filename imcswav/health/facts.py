"""What rules may know of a run besides its logs: numbers of the network, and settings by their dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imcswav.health.probe import SAMPLE
from imcswav.losses import Loss, labels
from imcswav.recipe.flat import flat
from imcswav.step import split

if TYPE_CHECKING:
    from imcswav.trainer import Trainer


@dataclass(frozen=True)
class Scored:
    """The counts that bound the codes of a loss that reads prototypes' scores."""

    prototypes: int
    together: int
    """Images that are balanced together: a batch, and a queue's."""


@dataclass(frozen=True)
class Facts:
    """Numbers of a run and its settings as one level of dotted paths."""

    clusters: int
    settings: Mapping[str, Any]
    images: int = SAMPLE
    """How many are looked at."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where a loss stands in the recipe, by the label that begins the names of what it logs."""
    scored: Mapping[str, Scored] = field(default_factory=dict)
    """By the label of the loss, too."""
    counted: Mapping[str, int] = field(default_factory=dict)
    """The clusters that a loss tells apart, where its head has other than ``clusters``; by its label."""

    def value(self, name: str, within: str = "") -> Any:
        """A setting's value, such as ("epsilon", "losses.0"); None where there is none such."""
        return next((value for _, value in self._found(name, within)), None)

    def named(self, name: str, within: str = "") -> str:
        """All settings of this name with their values, as "losses.0.solver.epsilon (0.05)"; "" where there is none."""
        return " and ".join(f"{path} ({value})" for path, value in self._found(name, within))

    def owner(self, name: str, within: str = "") -> Any:
        """The name of the component whose setting it is; None where there is none such."""
        path = next((path for path, _ in self._found(name, within)), "")
        return self.settings.get(f"{path.rpartition('.')[0]}.name")

    def _found(self, name: str, within: str) -> Iterator[tuple[str, Any]]:
        for path, value in self.settings.items():
            inside = not within or path.startswith(f"{within}.")
            if inside and (path == name or path.endswith(f".{name}")) and value is not None:
                yield path, value


def facts_of(trainer: Trainer) -> Facts:
    """The facts of a run; a learner without heads or losses has the fewer."""
    recipe, losses = trainer.recipe, list(getattr(trainer.learner, "losses", ()))
    if not all(isinstance(loss, Loss) for loss in losses):  # a plugin's learner, with something else by that name
        losses = []
    places, scored, counted = {}, {}, {}
    for number, (label, loss) in enumerate(zip(labels(losses), losses, strict=True)):
        places[label] = f"losses.{number}"
        if (prototypes := _width(trainer, loss, "scores")) is not None:
            together = trainer.settings.batch_size + loss.config.past_images()
            scored[label] = Scored(prototypes, together)
        if (clusters := _width(trainer, loss, "logits")) is not None:
            counted[label] = clusters
    images = min(SAMPLE, len(trainer.data.train))
    return Facts(recipe.clusters, flat(recipe.tables()), images, places, scored, counted)


def _width(trainer: Trainer, loss: Any, setting: str) -> int | None:
    """The width of the head that a setting of the loss names; None where it has no such setting."""
    heads: Any = getattr(trainer.learner, "heads", {})
    head = split(str(getattr(loss.config, setting, "")))[1]
    return getattr(heads[head], "out_features", None) if head in heads else None
