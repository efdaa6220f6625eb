"""What a benchmark found, as tables: for the terminal, and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Sheet:
    """One table; the first column names rows, the others hold figures."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def sheets(found: dict[str, Any]) -> Iterator[Sheet]:
    """All tables of a result."""
    yield _step(found)
    if "against" in found:
        yield from _against(found["against"])
    if "suite" in found:
        yield from _suite(found["suite"])


def markdown(found: dict[str, Any]) -> str:
    """The tables to paste into a document, under the command they came from."""
    machine = found["machine"]
    hardware = ", ".join(machine["gpus"]) or machine["processor"]
    lines = [f"`{found['command']}`, {hardware}, torch {machine['packages']['torch']}, {machine['started']}", ""]
    for sheet in sheets(found):
        rule = ["---", *["---:"] * (len(sheet.header) - 1)]
        lines += [f"### {sheet.title}", ""]
        lines += ["| " + " | ".join(row) + " |" for row in (sheet.header, rule, *sheet.rows)]
        lines.append("")
    return "\n".join(lines)


def _step(found: dict[str, Any]) -> Sheet:
    step = found["step"]
    phases, counts = step["phases"], step["counts"]
    total = sum(phases.values())
    ready = " on ready crops" if counts["on_ready_crops"] else ""
    rows = [
        ("images a second", f"{step['images_per_second']:,.0f}"),
        ("images a second by the wall clock, batches fetched", f"{step['images_per_wall_second']:,.0f}"),
        ("ms a step", _ms(step["seconds"])),
        *_ready_rows(step),
        *((f"{name}, share of an eager step", f"{value / total:.1%}") for name, value in phases.items()),
        (f"operators of forward and backward{ready}", f"{counts['operations']:,}"),
        ("of these launched (no views)", f"{counts['launched']:,}"),
        ("saved for backward, fp32 / bf16", f"{_mib(counts['saved'])} / {_mib(counts['saved_bf16'])}"),
        (f"memory of a step, {step['memory_is']}", _mib(step["memory"])),
        (_waits_label(found["device"]), "–" if step["waits"] is None else str(step["waits"])),
        ("operations of a step, counted", f"{step['floating_point_operations'] / 1e9:,.1f} GFLOP"),
        (f"matrix product here, {step['precision']}", f"{step['matrix_rate'] / 1e12:,.3f} TFLOP/s"),
        ("utilisation, 1 being the matrix product's rate", f"{step['utilisation']:.2f}"),
    ]
    title = f"{found['recipe']}: a step of {step['batch']} images on {found['device']}, {step['precision']}"
    return Sheet(f"{title}, {step['time']}", ("", "measured"), rows)


def _waits_label(device: str) -> str:
    where = "" if device.startswith("cuda") else ", by its operators"
    return f"host synchronisations in a step{where}"


def _ready_rows(step: dict[str, Any]) -> list[tuple[str, str]]:
    if "seconds_on_ready_crops" not in step:
        return []
    ready, whole = step["seconds_on_ready_crops"], step["seconds"]
    share = f"{1 - ready / whole:.1%}"  # below 0 when it is lost in the noise
    return [("ms a step on ready crops", _ms(ready)), ("augmentation, share of the step as trained", share)]


def _against(against: dict[str, Any]) -> Iterator[Sheet]:
    rows = [
        (
            row["name"], row["unit"], _ms(row["ours"], 4), _ms(row["loop"], 4), f"{row['ratio']:.2f}×",
            " ".join(f"{ratio:.1f}" for ratio in row["ratios"]), _goal(row, "≥ {:g}×"),
        )
        for row in against["ratios"]
    ]  # fmt: skip
    header = ("against the loop", "of", "ours, ms", "loop, ms", "median ratio", "ratio of each round", "goal")
    yield Sheet("Against the plain loop: loop / ours, alternated in one process", header, rows)
    counted = [
        (
            row["name"], row["unit"], f"{row['ours']:,}", f"{row['loop']:,}", f"{row['ratio']:.2f}",
            _goal(row, "≤ {:,.0f}"),
        )
        for row in against["counted"]
    ]  # fmt: skip
    yield Sheet("Counted", ("", "of", "ours", "loop", "ours / loop", "goal"), counted)
    equal = [
        (row["what"], f"{row['found']:.2g}", f"{row['allowed']:.2g}", row["unit"], "yes" if row["equal"] else "NO")
        for row in against["differences"]
    ]
    columns = ("the same draws", "largest difference", "allowed", "unit", "equal")
    yield Sheet("Both compute the same (eager; the whole step per view and in float64)", columns, equal)


def _suite(suite: dict[str, Any]) -> Iterator[Sheet]:
    variants = [(row["name"], *_figures(row)) for row in suite["variants"]]
    yield Sheet("Variants", ("", "ms a step", "images a second", "memory", "synchronisations", "notes"), variants)
    for name, points in suite["growth"].items():
        rows = [(str(row["value"]), *_figures(row)) for row in points]
        header = (name, "ms a step", "images a second", "memory", "synchronisations", "notes")
        yield Sheet(f"Growth with {name}, not compiled", header, rows)
    evaluation = [(row["name"], f"{row['images']:,}", *_seconds(row)) for row in suite["evaluation"]]
    yield Sheet("Evaluation, wall clock", ("", "images", "seconds"), evaluation)
    profile = [
        (row["name"], f"{row['calls']:g}", _ms(row["seconds"], 3), f"{row['share']:.1%}") for row in suite["profile"]
    ]
    yield Sheet("What remains: the dearest operations of a step", ("", "calls a step", "ms a step", "share"), profile)


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    if "failed" in row:
        return "–", "–", "–", "–", row["failed"]
    waits = "–" if row["waits"] is None else str(row["waits"])
    speed = f"{row['images_per_second']:,.0f}"
    return _ms(row["seconds"]), speed, _mib(row["memory"]), waits, " ".join(row["notes"])


def _seconds(row: dict[str, Any]) -> tuple[str]:
    return (row["failed"] if "failed" in row else f"{row['seconds']:.3f}",)


def _goal(row: dict[str, Any], text: str) -> str:
    if row["goal"] is None:
        return ""
    return f"{text.format(row['goal'])} {'met' if row['met'] else 'missed'}"


def _ms(seconds: float, digits: int = 2) -> str:
    return f"{seconds * 1000:,.{digits}f}"


def _mib(count: int | None) -> str:
    return "–" if count is None else f"{count / MIB:,.1f} MiB"
