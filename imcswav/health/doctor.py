"""The doctor remembers: how long a sign has been there, how long weights and gradients were, what was told already."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imcswav.health.facts import Facts
from imcswav.health.rules import RULES, Rule, Scope

SHORTEST, LONGEST = 100, 1000
"""Steps that a sign has to last: a twentieth of the training within these bounds."""
GROWN_OVER = 10
"""Least steps over which the growth of weights is measured: single steps at the very start may be large."""
SLOWLY = 0.9
"""Share of the usual gradient's logarithm that stays at each log."""
FALLS = {"health/effective_clusters", "health/feature_std"}
"""Figures that are judged by what they were at their best: networks that are not trained yet may have small ones."""


@dataclass(frozen=True)
class Finding:
    """One sign of trouble, told once in a run."""

    rule: str
    step: int
    epoch: int
    text: str
    collapse: bool


class Doctor:
    """Judges every log of a run. ``state`` is all that it remembers, plain values for a checkpoint."""

    def __init__(self, facts: Facts, *, steps: int, warmup: int) -> None:
        self.facts, self.warmup = facts, warmup
        self.patience = max(SHORTEST, min(LONGEST, steps // 20))
        self.found: list[Finding] = []
        self._since: dict[str, int] = {}
        self._weights: tuple[int, float] | None = None
        self._gradient: float | None = None
        self._best: dict[str, float] = {}

    def begin(self, step: int, weights: float) -> None:
        """Take down the length of the weights before the first step."""
        self._weights = self._weights or (step, weights)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "found": [asdict(finding) for finding in self.found],
            "since": dict(self._since),
            "weights": self._weights,
            "gradient": self._gradient,
            "best": dict(self._best),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.found = [Finding(**finding) for finding in state["found"]]
        self._since, self._gradient, self._best = dict(state["since"]), state["gradient"], dict(state["best"])
        self._weights = None if state["weights"] is None else tuple(state["weights"])

    def judge(self, values: Mapping[str, float], step: int, epoch: int) -> list[Finding]:
        """What this log shows for the first time, causes before what follows from them."""
        signs: dict[str, str] = {}
        for rule in RULES:
            scopes = [scope for scope in self._scopes(values, step) if rule.applies(scope)]
            if scopes and (text := self._sign(rule, scopes, step)) is not None:
                signs[rule.name] = text
        self._remember(values, step)
        told = {finding.rule for finding in self.found}
        new = [
            Finding(rule.name, step, epoch, signs[rule.name], rule.collapse)
            for rule in RULES
            if rule.name in signs and rule.name not in told
        ]
        self.found += new
        return new

    def _sign(self, rule: Rule, scopes: list[Scope], step: int) -> str | None:
        """The sentence once the rule has held for long enough, in some scope at each log; at once: at the second.

        A learner may set weights between two epochs, which makes them grow once.
        """
        holding = next((scope for scope in scopes if rule.holds(scope)), None)
        if holding is None or (step < self.warmup and not rule.at_once):
            self._since.pop(rule.name, None)
            return None
        since = self._since.setdefault(rule.name, step)
        return rule.says(holding) if step - since >= (1 if rule.at_once else self.patience) else None

    def _scopes(self, values: Mapping[str, float], step: int) -> Iterator[Scope]:
        """The figures by the part of their names before the slash, and those of the network."""
        parts: dict[str, dict[str, float]] = defaultdict(dict)
        for name, value in values.items():
            prefix, slash, rest = name.partition("/")
            if slash and prefix != "loss":
                parts[prefix][rest] = value
        frozen = step < (self.facts.value("freeze_steps", "heads") or 0)
        for prefix, found in parts.items():
            if f"loss/{prefix}" in values:
                found["loss"] = values[f"loss/{prefix}"]
            found["frozen"] = float(frozen)
            found |= {
                f"best_{rest}": self._best[f"{prefix}/{rest}"] for rest in [*found] if f"{prefix}/{rest}" in self._best
            }
            facts = self.facts
            own = facts.places.get(prefix, ""), facts.scored.get(prefix), facts.counted.get(prefix)
            yield Scope(found, facts, *own)
        yield Scope(self._network(values, step), self.facts)

    def _network(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        found = {}
        weights, gradient = values.get("weight_norm"), values.get("gradient_norm")
        if weights and self._weights and self._weights[1] and step - self._weights[0] >= GROWN_OVER:
            found["weight_growth"] = math.log(weights / self._weights[1]) / (step - self._weights[0])
        if gradient is not None and self._gradient is not None:
            found["gradient_growth"] = gradient / math.exp(self._gradient)
        return found

    def _remember(self, values: Mapping[str, float], step: int) -> None:
        for name in FALLS & values.keys():
            self._best[name] = max(values[name], self._best.get(name, 0.0))
        weights, gradient = values.get("weight_norm"), values.get("gradient_norm")
        if weights and (self._weights is None or step - self._weights[0] >= GROWN_OVER):
            self._weights = (step, weights)
        if gradient:
            usual = math.log(gradient)
            self._gradient = usual if self._gradient is None else SLOWLY * self._gradient + (1 - SLOWLY) * usual
