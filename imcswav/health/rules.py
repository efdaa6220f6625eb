"""Signs of trouble, a rule each: what is read of the logs, when it is trouble, the cause and the settings to change.

Thresholds lie far from what healthy runs show (docs/concepts/health.md has both), for a false alarm costs more trust
than a late one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imcswav.heads.prototypes import FULL
from imcswav.health.facts import Facts, Scored

GROWTH = 0.01
"""Share by which weights may grow a step: their length doubles in 70 steps, so each moves by a tenth of its size."""
EXPLODED = 100.0
"""Multiple of its usual length at which a gradient is called exploded; healthy ones stay within tenfold."""
DEAD_PROTOTYPES = 0.1
"""Least effective prototypes, as a share of those that a batch can fill; balanced codes have nearly all."""
FLAT_CODES = 0.95
"""Share of all prototypes over which codes may spread; healthy ones stay below 0.91 even in the first epochs."""
CHANCE = 0.98
"""Share of ln P above which a loss says no more than equal guesses do; healthy ones pass 0.95 in some 100 steps."""
DEAD_CLUSTERS = 0.5
"""Least effective clusters of a batch's mean assignment, as a share of K, or of its images where these are fewer: that
of the callback ``collapse``."""
ONE_CLUSTER = 0.25
"""The same for the most probable clusters of the sample, which are less even early in training; they have to have been
twice as many, for a head that isn't trained yet may give all images to one."""
ALIKE = 0.05
"""Least ``feature_std``; at 0.05 the cosine between any two images is 0.9975. Healthy features have 0.3 to 0.7. It has
to have been twice as much: an autoencoder begins near it, for its features then are biases above all."""
DRAWN_ANEW = 0.8
"""Churn as a share of that of clusters drawn anew, above which nothing is kept of what was learnt before."""


@dataclass(frozen=True)
class Scope:
    """Figures of one origin: a loss's by their names after the slash, and ``loss``; or the whole network's."""

    values: Mapping[str, float]
    facts: Facts
    place: str = ""
    """Of a loss in the recipe."""
    scored: Scored | None = None
    """Of a loss with prototypes."""
    counted: int | None = None
    """The clusters that a loss tells apart, where they may be other than the run's."""

    @property
    def clusters(self) -> int:
        """How many clusters its figures are of."""
        return self.facts.clusters if self.counted is None else self.counted


@dataclass(frozen=True)
class Rule:
    """One sign of trouble. It is asked where everything that it reads is there."""

    name: str
    reads: tuple[str, ...]
    holds: Callable[[Scope], bool]
    says: Callable[[Scope], str]
    """The cause and what to change, a sentence."""
    collapse: bool = True
    """Whether going on is worth nothing."""
    at_once: bool = False
    """Whether it needs to be seen only twice running, in the warm-up too."""

    def applies(self, scope: Scope) -> bool:
        """Whether the scope has what the rule reads."""
        return all(name in scope.values for name in self.reads)


def _slower(facts: Facts) -> str:
    return f"lower {facts.named('lr', 'optimizer') or 'the learning rate'}"


def _weights_grow(scope: Scope) -> str:
    return (
        f"The weights grow by {scope.values['weight_growth']:.1%} a step, which no network can follow, so the learning "
        f"rate is too high: {_slower(scope.facts)}."
    )


def _gradient_explodes(scope: Scope) -> str:
    clip = "" if scope.facts.value("clip_gradient", "trainer") else ", or set trainer.clip_gradient = 1.0"
    return (
        f"The gradient is {scope.values['gradient_growth']:.0f} times as long as usual, so training is about to break: "
        f"{_slower(scope.facts)}{clip}."
    )


def _prototypes_die(scope: Scope) -> bool:
    fillable = math.inf if scope.scored is None else min(scope.scored.prototypes, _batch(scope))
    return scope.scored is not None and scope.values["effective_prototypes"] < DEAD_PROTOTYPES * fillable


def _batch(scope: Scope) -> float:
    """Images of a batch, which bound what it can fill; a queue's don't count, for the figures are of the batch."""
    return float(scope.facts.value("batch_size", "trainer") or math.inf)


def _dead_prototypes(scope: Scope) -> str:
    assert scope.scored is not None
    place, facts = scope.place, scope.facts
    solver = facts.value("solver.name", place)
    balanced = facts.value("epsilon", place) is not None
    remedy = _slower(facts)
    if solver is not None and not balanced:
        remedy = f'take a solver that balances them, {place}.solver.name = "sinkhorn" in place of "{solver}"'
    return (
        f"Images fall onto {scope.values['effective_prototypes']:.3g} of {scope.scored.prototypes} prototypes, for "
        f"nothing keeps the codes even: {remedy}."
    )


def _says_nothing(scope: Scope) -> bool:
    if scope.scored is None:
        return False
    return _flat(scope) or scope.values["loss"] > CHANCE * math.log(scope.scored.prototypes)


def _flat(scope: Scope) -> bool:
    assert scope.scored is not None
    return scope.values["prototypes_per_code"] > FLAT_CODES * scope.scored.prototypes


def _nothing_said(scope: Scope) -> str:
    """The first cause that its settings speak for; without any, the learning rate."""
    assert scope.scored is not None
    place, facts, count = scope.place, scope.facts, scope.scored.prototypes
    epsilon, temperature = facts.value("epsilon", place), facts.value("temperature", place)
    each, loss = scope.values["prototypes_per_code"], scope.values["loss"]
    told = (
        f"Codes tell no images apart: each spreads over {each:.3g} of {count} prototypes and the loss of {loss:.3g} is "
        f"no better than chance (ln P = {math.log(count):.3g}); "
    )
    if epsilon is not None and temperature is not None and epsilon >= temperature:
        return (
            f"{told}codes softer than predictions teach nothing, so lower {facts.named('epsilon', place)}, or raise "
            f"{place}.temperature ({temperature}), until it is at most half of the temperature."
        )
    if epsilon is None and _flat(scope):
        solver = facts.value("solver.name", place)
        return f'{told}take a solver that does, {place}.solver.name = "sinkhorn" in place of "{solver}".'
    if count > FULL * scope.scored.together:
        return f"{told}{_too_few_images(scope)}."
    if scope.values.get("frozen"):
        return f"{told}the prototypes still rest, so lower {facts.named('freeze_steps')}."
    sharper = f", or lower {facts.named('epsilon', place)}" if epsilon is not None else ""
    return f"{told}the features have fallen together, so {_slower(facts)}{sharper}."


def _too_few_images(scope: Scope) -> str:
    assert scope.scored is not None
    facts, together = scope.facts, scope.scored.together
    most = FULL * together
    return (
        f"{scope.scored.prototypes} prototypes are too many for the {together} images that are balanced together, so "
        f"lower {facts.named('count', 'heads') or 'their number'} to {most} or less, raise "
        f"{facts.named('trainer.batch_size')}, or set {scope.place}.queue"
    )


def _outnumbered(scope: Scope) -> bool:
    """Measured, too: only where codes are balanced does an image have to cover so many."""
    if scope.scored is None:
        return False
    each = scope.scored.prototypes / scope.scored.together
    return each > FULL and scope.values["prototypes_per_code"] > each


def _many_prototypes(scope: Scope) -> str:
    return (
        f"Codes can't become sharp, each spreads over {scope.values['prototypes_per_code']:.3g} prototypes: "
        f"{_too_few_images(scope)}."
    )


def _clusters_die(scope: Scope) -> str:
    return (
        f"Clusters die: {scope.values['effective_clusters']:.3g} of {scope.clusters} are in use; "
        f"{_more_entropy(scope)}."
    )


def _more_entropy(scope: Scope) -> str:
    facts, place = scope.facts, scope.place or "losses"
    beta, value = facts.named("entropy_weight", place), facts.value("entropy_weight", place)
    if value is not None and value <= 1 and facts.owner("entropy_weight", place) == "imc":
        return f"nothing drives them apart, so raise {beta} above 1 (4 is usual)"
    return f"{_slower(facts)}, or raise {beta}" if beta else f"{_slower(facts)}, or ask for fewer clusters"


def _one_cluster(scope: Scope) -> bool:
    least = ONE_CLUSTER * min(scope.facts.clusters, scope.facts.images)
    return scope.values["effective_clusters"] < least and scope.values["best_effective_clusters"] > 2 * least


def _has_all(scope: Scope) -> str:
    return (
        f"One cluster holds {scope.values['largest_share']:.0%} of the images and "
        f"{scope.values['effective_clusters']:.3g} of {scope.facts.clusters} are in use; {_more_entropy(scope)}."
    )


def _fell_together(scope: Scope) -> bool:
    return scope.values["feature_std"] < ALIKE and scope.values["best_feature_std"] > 2 * ALIKE


def _alike(scope: Scope) -> str:
    return (
        f"All images have nearly the same features (spread {scope.values['feature_std']:.2g}, effective rank "
        f"{scope.values['feature_rank']:.3g}), so the encoder has collapsed: {_slower(scope.facts)}, and let a loss "
        f"with balanced codes train it."
    )


def _drawn_anew(scope: Scope) -> bool:
    """Clusters with the shares p drawn anew would change for 1 − Σ p² of the images; exp(entropy) ≥ 1 / Σ p²."""
    return scope.values["churn"] > DRAWN_ANEW * (1 - 1 / max(2.0, scope.values["effective_clusters"]))


def _restless(scope: Scope) -> str:
    return (
        f"Since the last look {scope.values['churn']:.0%} of the images changed their cluster, as if drawn anew, so "
        f"the learning rate is too high: {_slower(scope.facts)}."
    )


RULES = (
    Rule("weights_grow", ("weight_growth",), lambda scope: scope.values["weight_growth"] > GROWTH, _weights_grow,
         at_once=True),
    Rule("gradient_explodes", ("gradient_growth",), lambda scope: scope.values["gradient_growth"] > EXPLODED,
         _gradient_explodes, collapse=False, at_once=True),
    Rule("prototypes_die", ("effective_prototypes",), _prototypes_die, _dead_prototypes),
    Rule("codes_say_nothing", ("prototypes_per_code", "loss"), _says_nothing, _nothing_said),
    Rule("too_many_prototypes", ("prototypes_per_code",), _outnumbered, _many_prototypes, collapse=False),
    Rule("clusters_die", ("effective_clusters", "loss"),
         lambda scope: scope.values["effective_clusters"] < DEAD_CLUSTERS * min(scope.clusters, _batch(scope)),
         _clusters_die),
    Rule("one_cluster", ("best_effective_clusters", "largest_share"), _one_cluster, _has_all),
    Rule("features_alike", ("best_feature_std", "feature_rank"), _fell_together, _alike),
    Rule("clusters_drawn_anew", ("churn", "effective_clusters"), _drawn_anew, _restless, collapse=False),
)  # fmt: skip
"""In the order in which they are told: a cause before what follows from it."""
