"""The table of a ladder in its three forms: for people in percent, as a sheet and as JSON with figures in full."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from imcswav.results.rungs import GAIN, RULE, LadderResult, Rung
from imcswav.results.series import DEVIATION, Spread
from imcswav.runs import figures

NONE = "–"
TIMES = ("seconds", "cpu_seconds", "seconds_to_acc", "seconds_to_acc_n")


def rows(result: LadderResult) -> tuple[list[str], list[list[str]]]:
    """For people, in percent: the head, and a row a rung."""
    names = result.metrics
    stated = " / ".join(f"{100 * acc:g}" for acc in result.times_to_acc)
    timed = [f"seconds to ACC {stated} %"] if stated else []
    times = ["seconds", "CPU seconds", *timed]
    head = ["rung", "n", *(name.upper() for name in names), *times, "gain in ACC (paired)", "helps"]
    table = []
    for rung in result.rungs:
        spreads = (rung.scores.get(name) for name in names)
        spent = [NONE if one is None else f"{one:.1f}" for one in (rung.mean("seconds"), rung.mean("cpu_seconds"))]
        spent += [_reached(rung) for _ in timed]
        gain = NONE if rung.gain is None else f"{100 * rung.gain.mean:+.1f} ± {100 * rung.gain.error:.1f}"
        cells = [*map(_percent, spreads), *spent, gain]
        table.append([rung.name, str(len(rung.runs)), *cells, "failed" if rung.failure else rung.helps or NONE])
    return head, table


def sheet(result: LadderResult) -> tuple[list[str], list[list[Any]]]:
    """For a table calculation, in full, between 0 and 1: the head, and a row a rung."""
    names = list(dict.fromkeys(name for rung in result.rungs for name in rung.scores))
    table = []
    for rung in result.rungs:
        spreads = [rung.scores.get(name) for name in names]
        cells = [cell for one in spreads for cell in ((one.mean, one.std) if one else (None, None))]
        gain = (rung.gain.mean, rung.gain.error, len(rung.gain.seeds), "yes") if rung.gain else (None,) * 4
        times = (rung.mean("seconds"), rung.mean("cpu_seconds"), _mean(rung.seconds_to_acc), len(rung.seconds_to_acc))
        table.append([rung.name, len(rung.runs), *cells, *times, *gain, rung.helps, rung.failure])
    columns = [f"{name}_{part}" for name in names for part in ("mean", "std")]
    gains = [f"{GAIN}_gain{part}" for part in ("", "_standard_error", "_n", "_paired")]
    return ["rung", "n", *columns, *TIMES, *gains, "helps", "failure"], table


def record(result: LadderResult, seeds: Sequence[int], environment: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``ladder.json`` holds."""
    return {
        "ladder": result.name,
        "protocol": result.protocol,
        "seeds": list(seeds),
        "deviation": DEVIATION,
        "rule": RULE,
        "time_to_acc": result.times_to_acc,
        "rungs": [_rung(rung) for rung in result.rungs],
        "environment": environment,
    }


def _rung(rung: Rung) -> dict[str, Any]:
    values = {seed: figures(run.summary) for seed, run in rung.runs.items()}
    scores = {
        name: {**asdict(spread), "values": {str(seed): found[name] for seed, found in values.items()}}
        for name, spread in rung.scores.items()
    }
    gain = rung.gain and {
        "mean": rung.gain.mean,
        "standard_error": rung.gain.error,
        "n": len(rung.gain.seeds),
        "paired": True,
        "seeds": list(rung.gain.seeds),
    }
    return {
        "name": rung.name,
        "n": len(rung.runs),
        "finished": list(rung.runs),
        "protocol": rung.protocol,
        "scores": scores,
        "seconds": rung.mean("seconds"),
        "cpu_seconds": rung.mean("cpu_seconds"),
        "seconds_to_acc": _mean(rung.seconds_to_acc),
        "reached_acc": len(rung.seconds_to_acc),
        "gain": gain,
        "helps": rung.helps,
        "below": rung.below,
        "changes": {path: {"below": below, "here": here} for path, (below, here) in rung.changes.items()},
        "failure": rung.failure,
        "folder": rung.path.name,
    }


def _reached(rung: Rung) -> str:
    """Mean seconds to the stated ACC of the runs that reached it, and how many these are where not all did."""
    found, runs = rung.seconds_to_acc, len(rung.runs)
    if not found:
        return "not reached" if runs else NONE
    return f"{statistics.fmean(found):.1f}" + ("" if len(found) == runs else f" ({len(found)} of {runs})")


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return NONE
    return f"{100 * spread.mean:.1f}" + ("" if spread.std is None else f" ± {100 * spread.std:.1f}")
