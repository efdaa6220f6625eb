"""What can be wrong between the parts of a multi-view learner, found before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imcswav.component import Component
from imcswav.errors import Problem
from imcswav.heads import ReadsHead
from imcswav.learners import RecipeFacts
from imcswav.plugins import did_you_mean

if TYPE_CHECKING:
    from imcswav.learners.multiview import MultiView


def check_multiview(config: MultiView.Config, facts: RecipeFacts) -> list[Problem]:
    """Names of heads, crop sizes against the backbone, and prototypes against the batch."""
    problems = check_names(config)
    if not facts.clusterer:
        problems += check_assignment(config)
    if facts.data is not None:
        sizes = [group.size for group in config.views.groups()] + [facts.data.size]
        problems += _within("backbone", config.backbone.check_sizes(sizes, facts.data.channels))
        problems += _within("views", config.views.check_channels(facts.data.channels))
    coded = config.views.groups()[0].count * facts.batch_size
    for name, head in config.heads.items():
        problems += _within(f"heads.{name}", head.check_training(coded, facts.steps))
    return problems


def _within(table: str, problems: list[Problem]) -> list[Problem]:
    return [dataclasses.replace(problem, path=f"{table}.{problem.path}") for problem in problems]


def check_names(config: MultiView.Config) -> list[Problem]:
    """Every head that a head or a loss names has to exist, and heads can't read each other in a circle."""
    known = ["features", *config.heads]
    problems = []
    for path, value in _head_names(config):
        others = [name for name in known if not path.startswith(f"heads.{name}.")]
        if path == f"heads.{value}.input":
            problems.append(Problem(path, f"head '{value}' reads itself.", did_you_mean("", others), value))
        elif value not in known:
            problems.append(Problem(path, f"there is no head '{value}'.", did_you_mean(value, others), value))
    if not problems:
        try:
            config.order()
        except ValueError as error:
            problems.append(Problem("heads", f"{error}.", "Let one of them read 'features'."))
    return problems


def _head_names(config: MultiView.Config) -> Iterator[tuple[str, str]]:
    parts: dict[str, Component.Config] = {f"heads.{name}": head for name, head in config.heads.items()}
    parts |= {f"losses.{number}": loss for number, loss in enumerate(config.losses)}
    for place, part in parts.items():
        for setting, field in type(part).model_fields.items():
            if any(isinstance(mark, ReadsHead) for mark in field.metadata):
                yield f"{place}.{setting}", getattr(part, setting)


def check_assignment(config: MultiView.Config) -> list[Problem]:
    """Without a clusterer, a head has to assign."""
    if config.assignment in config.heads:
        return []
    message = f"there is no head '{config.assignment}' and no clusterer, so no image gets a cluster."
    remedy = f"{did_you_mean(config.assignment, list(config.heads))} Or add a [clusterer]."
    return [Problem("learner.assignment", message, remedy, config.assignment, severity="warning")]
