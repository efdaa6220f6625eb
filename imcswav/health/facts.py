"""What rules may know of a run besides its logs: numbers of the network, and settings by their dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imcswav.health.probe import SAMPLE
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
    """Where a loss stands in the recipe, by its name, which begins the names of what it logs."""
    scored: Mapping[str, Scored] = field(default_factory=dict)
    """By the name of the loss, too."""

    def value(self, name: str, within: str = "") -> Any:
        """A setting's value, such as ("epsilon", "losses.0"); None where there is none such."""
        return next((value for _, value in self._found(name, within)), None)

    def named(self, name: str, within: str = "") -> str:
        """All settings of this name with their values, as "losses.0.solver.epsilon (0.05)"; "" where there is none."""
        return " and ".join(f"{path} ({value})" for path, value in self._found(name, within))

    def _found(self, name: str, within: str) -> Iterator[tuple[str, Any]]:
        for path, value in self.settings.items():
            inside = not within or path.startswith(f"{within}.")
            if inside and (path == name or path.endswith(f".{name}")) and value is not None:
                yield path, value


def facts_of(trainer: Trainer) -> Facts:
    """The facts of a run; a learner without heads or losses has the fewer."""
    recipe, learner = trainer.recipe, trainer.learner
    heads: Any = getattr(learner, "heads", {})
    places, scored = {}, {}
    for number, loss in enumerate(getattr(learner, "losses", ())):
        places[loss.name] = f"losses.{number}"
        head = split(str(getattr(loss.config, "scores", "")))[1]
        if head in heads:
            together = trainer.settings.batch_size + loss.config.past_images()
            scored[loss.name] = Scored(heads[head].out_features, together)
    images = min(SAMPLE, len(trainer.data.train))
    return Facts(recipe.clusters, flat(recipe.tables()), images, places, scored)
