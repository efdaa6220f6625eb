"""What can be known to be wrong with a recipe before anything is read."""

from __future__ import annotations

from typing import Any

from imcswav.errors import Problem
from imcswav.learners import RecipeFacts


def problems(config: Any, facts: RecipeFacts) -> list[Problem]:
    """Images too small or too few, and a training that may end before it clusters; ``config`` is the learner's."""
    found, data = [], facts.data
    if data is not None and data.size < 2 ** len(config.channels):
        message = f"{len(config.channels)} convolutions leave nothing of {data.size} pixels."
        found.append(Problem("learner.channels", message, "Take fewer, or larger images."))
    if data is not None and data.images is not None and facts.clusters > data.images:
        message = f"{facts.clusters} clusters are more than the {data.images} training images."
        found.append(Problem("clusters", message, "Ask for fewer clusters.", facts.clusters))
    per_epoch = 0 if data is None or data.images is None else data.images // facts.batch_size
    if facts.steps is not None and per_epoch and facts.steps <= config.pretrain_epochs * per_epoch:
        message = "the training may end before the pre-training does, so that nothing is clustered."
        remedy = "Lower it, or raise trainer.epochs."
        found.append(Problem("learner.pretrain_epochs", message, remedy, config.pretrain_epochs, severity="warning"))
    return found
