"""The choice of K in words: agreement, disagreement, and that there may be no clear K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Votes = Mapping[str, tuple[int, bool]]
"""The K of each signal, and whether it counts."""


def near(one: int, other: int) -> bool:
    """Whether two numbers of clusters are the same for practical purposes: ± 1, above 10 ± 10 %."""
    return abs(one - other) <= max(1.0, 0.1 * other)


def sentence(
    k: int, spread: tuple[int, int], clear: bool, votes: Votes, counts: Sequence[int], asked: int, largest: int
) -> str:
    """The recommendation, its spread, and which signals agree with it or don't."""
    votes = {name.replace("_", " "): vote for name, vote in votes.items()}
    speaking = {name: own for name, (own, has_a_say) in votes.items() if has_a_say}
    parts = [_recommended(k, spread) if clear else _unclear(k, len(speaking), len(votes))]
    if clear:
        parts.append(_agreement(k, speaking))
        silent = ", ".join(name for name in votes if name not in speaking)
        if silent:
            parts.append(f"Without a clear say: {silent}.")
    if counts[-1] < asked:
        why = "no more are ever looked for" if counts[-1] == largest else "there are too few different images for more"
        parts.append(f"Only up to {counts[-1]} clusters were looked at: {why}.")
    could_be_wider = (k == counts[0] and k != 2) or (k == counts[-1] and k == asked)
    if clear and len(counts) > 1 and could_be_wider:
        parts.append(f"{k} is an end of the range; look at a wider one.")
    return " ".join(parts)


def _recommended(k: int, spread: tuple[int, int]) -> str:
    low, high = spread
    return f"K = {k}, the same in nearly every sample." if low == high else f"K = {k}, spread {low}–{high}."


def _unclear(k: int, speaking: int, signals: int) -> str:
    return (
        f"There is no clear K: {speaking} of {signals} signals tell these images from a single group without clusters, "
        f"which is too few. {k} is the least bad; any other number may do as well."
    )


def _agreement(k: int, votes: Mapping[str, int]) -> str:
    others = {name: own for name, own in votes.items() if not near(own, k)}
    said = ", ".join(f"{name} says {own}" for name, own in others.items())
    if not others:
        return f"All {len(votes)} signals agree."
    agreeing = len(votes) - len(others)
    if 2 * agreeing > len(votes):
        return f"{agreeing} of {len(votes)} signals agree; {said}."
    return f"The signals disagree, so look at several K: {said}."
