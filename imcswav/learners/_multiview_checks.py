"""What can be wrong between the parts of a multi-view learner, found before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from imcswav.component import Component
from imcswav.errors import Problem
from imcswav.heads import head_settings, named_heads
from imcswav.learners import RecipeFacts
from imcswav.learners._bank import plan
from imcswav.plugins import did_you_mean
from imcswav.step import ONLINE, TEACHER, split

if TYPE_CHECKING:
    from imcswav.learners._multiview_config import MultiViewConfig


def check_multiview(config: MultiViewConfig, facts: RecipeFacts) -> list[Problem]:
    """Names of heads, crop sizes against the backbone, and prototypes against the batch."""
    problems = check_names(config) + check_teacher(config) + check_copies(config)
    if not facts.clusterer:
        problems += check_assignment(config)
    if facts.data is not None:
        sizes = [group.size for group in config.views.groups()] + [facts.data.size]
        problems += _within("backbone", config.backbone.check_sizes(sizes, facts.data.channels))
        problems += _within("views", config.views.check_channels(facts.data.channels))
        problems += check_bank(config, facts.data.subsets, (facts.data.images or 0) % facts.batch_size)
    coded = facts.batch_size + max(loss.past_images() for loss in config.losses)
    for name, head in config.heads.items():
        problems += _within(f"heads.{name}", head.check_training(coded, facts.steps))
    for number, loss in enumerate(config.losses):
        problems += _within(f"losses.{number}", loss.check_recipe(facts))
    if all(loss.first_step(facts) for loss in config.losses):
        message = "none is on in the first step, so there is nothing to learn."
        problems.append(Problem("losses", message, "Let one begin at once (start = 0)."))
    return problems


def _within(table: str, problems: list[Problem]) -> list[Problem]:
    return [dataclasses.replace(problem, path=f"{table}.{problem.path}") for problem in problems]


def check_names(config: MultiViewConfig) -> list[Problem]:
    """Every head that a head or a loss names has to exist, and heads can't read each other in a circle."""
    known = ["features", *config.heads]
    taught = [f"{TEACHER}.{name}" for name in known] if config.teacher is not None else []
    problems = []
    for path, value in _head_names(config):
        own = path.startswith("heads.")
        others = [name for name in (*known, *([] if own else taught)) if not path.startswith(f"heads.{name}.")]
        if path == f"heads.{value}.input":
            problems.append(Problem(path, f"head '{value}' reads itself.", did_you_mean("", others), value))
        elif value not in (known if own else [*known, *taught]):
            problems.append(_unknown(path, value, others, config.teacher is None and not own))
    if not problems:
        try:
            config.order()
        except ValueError as error:
            problems.append(Problem("heads", f"{error}.", "Let one of them read 'features'."))
    return problems


def _unknown(path: str, value: str, others: list[str], untaught: bool) -> Problem:
    if untaught and split(value)[0] == TEACHER:
        return Problem(path, f"'{value}' is a teacher's, and there is none.", "Add a table [learner.teacher].", value)
    return Problem(path, f"there is no head '{value}'.", did_you_mean(value, others), value)


def check_teacher(config: MultiViewConfig) -> list[Problem]:
    """A teacher that assigns has to be there, it has to be read, and a bank can't keep what it gives."""
    branch, _ = split(config.assignment)
    if branch not in (ONLINE, TEACHER) or (branch == TEACHER and config.teacher is None):
        return [_unknown("learner.assignment", config.assignment, list(config.heads), config.teacher is None)]
    if config.teacher is None:
        return []
    if config.bank is not None:
        message = "a teacher and a bank can't go together."
        return [Problem("learner.teacher", message, "Leave one of them out.")]
    if not any(split(name)[0] == TEACHER for name in config.read()):
        message = "no loss reads the teacher and it assigns nothing, so it is computed for nothing."
        remedy = 'Name one of its outputs, such as codes = "teacher.prototypes", or leave it out.'
        return [Problem("learner.teacher", message, remedy, severity="warning")]
    return []


def _head_names(config: MultiViewConfig) -> Iterator[tuple[str, str]]:
    for place, part in _readers(config).items():
        for setting, name in named_heads(part).items():
            yield f"{place}.{setting}", name


def _readers(config: MultiViewConfig) -> dict[str, Component.Config]:
    parts: dict[str, Component.Config] = {f"heads.{name}": head for name, head in config.heads.items()}
    return parts | {f"losses.{number}": loss for number, loss in enumerate(config.losses)}


def check_copies(config: MultiViewConfig) -> list[Problem]:
    """What reads a head of several copies has to take them, and where it reads two heads, as many of both."""
    counts = {name: head.copy_count() for name, head in config.heads.items()}
    problems = []
    for place, part in _readers(config).items():
        taken: dict[str, int] = {}
        for setting, mark in head_settings(part).items():
            value = getattr(part, setting)
            count = counts.get(split(value)[1], 1)  # in another branch a head has as many
            if mark.copies:
                taken[value] = count
            elif count > 1:
                message = f"the head '{value}' has {count} copies, and {part.owner.kind} '{part.owner.name}' takes one."
                remedy = "Give it one copy, or name another head."
                problems.append(Problem(f"{place}.{setting}", message, remedy, value))
        if len(set(taken.values())) > 1:
            shown = " and ".join(f"'{name}' of {count}" for name, count in taken.items())
            problems.append(Problem(place, f"it reads copy by copy, and of heads {shown}.", "Give them equally many."))
    return problems


def check_bank(config: MultiViewConfig, subsets: Mapping[str, int | None], left_out: int = 0) -> list[Problem]:
    """The bank's subset and losses have to exist, an epoch has to fill it, and its losses have to be fit for it.

    ``left_out``: images of an epoch that fill no batch, and may be the subset's.
    """
    if config.bank is None:
        return []
    problems, names = [], [loss.owner.name for loss in config.losses]
    if config.bank.subset not in subsets:
        message = f"the data set has no subset '{config.bank.subset}'."
        problems.append(Problem("bank.subset", message, did_you_mean("", list(subsets)), config.bank.subset))
    count = subsets.get(config.bank.subset)
    if count is not None and count < config.bank.images:
        message = f"the {count} images of the subset '{config.bank.subset}' never fill a bank of {config.bank.images}."
        remedy = "Take fewer, or more of the data: the bank is emptied at each epoch's start."
        problems.append(Problem("bank.images", message, remedy, config.bank.images))
    elif count is not None and count - left_out < config.bank.images:
        message = f"{left_out} images of an epoch fill no batch, and without those the bank may never be full."
        sure = count - left_out
        lower = f"Take {sure} or fewer" if sure > 1 else "Take a trainer.batch_size that leaves out fewer"
        remedy = f"{lower}: the bank is emptied at each epoch's start."
        problems.append(Problem("bank.images", message, remedy, config.bank.images, severity="warning"))
    for number, name in enumerate(config.bank.losses):
        if name not in names:
            problems.append(Problem(f"bank.losses.{number}", f"there is no loss '{name}'.", did_you_mean(name, names)))
    for number, loss in enumerate(config.losses):
        if loss.owner.name in config.bank.losses:
            problems += _within(f"losses.{number}", loss.check_banked())
    if not (problems or check_names(config)) and not plan(config.bank, config.heads, config.order(), config.losses).run:
        message = "every head that the bank's losses read is read by another loss too, so they would train nothing."
        problems.append(Problem("bank.losses", message, "Leave the bank out, or give them a head of their own."))
    if set(names) <= set(config.bank.losses):
        problems.append(Problem("bank.losses", "no loss is left for the batches.", "Leave one out."))
    return problems


def check_assignment(config: MultiViewConfig) -> list[Problem]:
    """Without a clusterer, a head has to assign."""
    branch, head = split(config.assignment)
    if head in config.heads:
        return []
    message = f"there is no head '{config.assignment}' and no clusterer, so no image gets a cluster."
    names = [f"{TEACHER}.{name}" if branch == TEACHER else name for name in config.heads]
    remedy = f"{did_you_mean(config.assignment, names)} Or add a [clusterer]."
    return [Problem("learner.assignment", message, remedy, config.assignment, severity="warning")]
