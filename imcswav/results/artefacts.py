"""What a finished run leaves behind: model, assignments, plots, summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imcswav import distributed
from imcswav.clusterers import Array
from imcswav.evaluate import (
    Assessment,
    Assigned,
    assess,
    baselines,
    embed_splits,
    evaluation_model,
    known_labels,
    published_accuracy,
)
from imcswav.files import write_csv
from imcswav.model import Model
from imcswav.protocol import describe, origins, split_name
from imcswav.results.logged import seconds_to
from imcswav.results.plots import plot_clusters, plot_confusion, plot_curves
from imcswav.results.signals import measure, sample
from imcswav.runs import REFERENCE

if TYPE_CHECKING:
    from imcswav.model import Model
    from imcswav.trainer import Trainer


def finish(trainer: Trainer) -> dict[str, Any]:
    """Evaluate the last epoch's network and write everything; returns the summary.

    Processes that trained together share the images; all that follows is the main one's.
    """
    trainer.run.require()  # files written from here on would make its folder anew
    assessment = copies = None
    with evaluation_model(trainer) as model:
        embedded = embed_splits(model, trainer.data)
        if distributed.is_main():
            with distributed.alone():
                assessment = assess(model, trainer.data, trainer.recipe, fit_clusterer=True, embedded=embedded)
                copies = copy_clusters(model, assessment.scored) if trainer.recipe.evaluation.signals else None
                model.save(trainer.run.model)
    summary: dict[str, Any] = {}
    if assessment is not None:
        with distributed.alone():
            summary = _write(trainer, model, assessment, copies)
    return distributed.from_main(summary)


def _write(trainer: Trainer, model: Model, assessment: Assessment, copies: Array | None) -> dict[str, Any]:
    recipe, run = trainer.recipe, trainer.run
    if assessment.scores:
        trainer.call("log", {f"eval/{name}": value for name, value in assessment.scores.items()})
    summary = summarise(trainer, assessment, published_accuracy(trainer, model.clusterer), copies)
    if trainer.data.skipped:  # of streamed images they are only known now
        run.write_skipped(trainer.data.unread())
    write_assignments(run.path / "assignments.csv", assessment, trainer.data.class_names)
    if recipe.evaluation.plots:
        plot(trainer, assessment.scored)
    run.require()
    try:
        run.write_json("summary.json", summary)
        trainer.call("finish", assessment)
    except (KeyboardInterrupt, SystemExit, OSError):  # tables and report are missing: the run isn't finished
        if run.can_go_on:
            run.forget_summary()
        raise
    return summary


def plot(trainer: Trainer, scored: Assigned) -> None:
    """The pictures of a run: clusters and, with labels, confusion of the scored images; curves."""
    path, clusters, class_names = trainer.run.path, trainer.recipe.clusters, trainer.data.class_names
    if scored.probabilities is not None:
        plot_clusters(path / "clusters.png", scored, clusters)
        labels_N, known_N = known_labels(scored)
        if labels_N is not None:
            plot_confusion(path / "confusion.png", labels_N, scored.clusters[known_N], clusters, class_names)
    plot_curves(path / "curves.png", path / "metrics.jsonl")


def summarise(
    trainer: Trainer, assessment: Assessment, published: float | None, copies_nE: Array | None = None
) -> dict[str, Any]:
    """The content of ``summary.json``; scores are null where there are no labels.

    ``metrics`` names those that the recipe's metrics gave, ``data`` is the digest of the training images.
    ``acc_bn_test`` is ACC by the released program's protocol, see ``published_accuracy``; ``copies_nE`` as of
    ``copy_clusters``.
    """
    recipe = trainer.recipe
    names = [settings.owner.name for settings in recipe.evaluation.metrics]
    scores = {name: assessment.scores.get(name) for name in names}
    reference = {**dict.fromkeys(REFERENCE), "acc_bn_test": published, **baselines(assessment, recipe)}
    trained = split_name(assessment.train.split, "train")
    scored = "test" if assessment.test else trained
    used = len(np.unique(assessment.scored.clusters)) if assessment.scored.probabilities is not None else None
    return {
        "recipe": recipe.name,
        "metrics": names,
        **{key: None if value is None else round(value, 6) for key, value in {**scores, **reference}.items()},
        "clusters": recipe.clusters,
        "clusters_used": used,
        **runtime_summary(trainer),
        **time_to_accuracy(trainer, assessment),
        "seed": recipe.seed,
        "bn_statistics": recipe.predict.bn_statistics,
        "predict_views": recipe.predict.views,
        "protocol": describe(trained, scored),
        "trained_on": f"{trained} ({len(assessment.train.split)} images)",
        "scored_on": f"{scored} ({len(assessment.scored.split)} images)",
        "data": trainer.digest,
        "device": str(trainer.device),
        "precision": trainer.engine.precision,
        "run": str(trainer.run.path),
        "signals": signals(trainer, assessment.scored, copies_nE),
    }


def time_to_accuracy(trainer: Trainer, assessment: Assessment) -> dict[str, float | None]:
    """``seconds_to_acc``, of training up to the first evaluation whose ACC reached the recipe's ``time_to_acc``.

    The last one counts too. None where none did, and where the recipe states no ACC.
    """
    wanted = trainer.recipe.evaluation.time_to_acc
    if wanted is None:
        return {"time_to_acc": None, "seconds_to_acc": None}
    seconds = seconds_to(trainer.run.path / "metrics.jsonl", wanted)
    if seconds is None and assessment.scores.get("acc", -1.0) >= wanted:  # the callback that logs may be off
        seconds = round(trainer.seconds, 3)
    return {"time_to_acc": wanted, "seconds_to_acc": seconds}


def copy_clusters(model: Model, scored: Assigned) -> Array | None:
    """Clusters of the signals' sample by each copy of the head that assigns, the used one first; None of a lone one."""
    return model.copy_clusters(scored.split.images, torch.from_numpy(sample(len(scored.split))))


def signals(trainer: Trainer, scored: Assigned, copies_nE: Array | None) -> dict[str, float]:
    """What the summary says without labels, apart from the figures with them; empty where the recipe wants none."""
    recipe = trainer.recipe
    if not recipe.evaluation.signals:
        return {}
    return measure(
        scored.features, scored.probabilities, trainer.logged, clusters=recipe.clusters, seed=recipe.seed,
        copies_nE=copies_nE,
    )  # fmt: skip


def write_assignments(path: Path, assessment: Assessment, class_names: Sequence[str]) -> None:
    """``assignments.csv``: a row an image of every split."""
    header = ("image", "split", "cluster", "confidence", "label")
    rows: list[Sequence[Any]] = []
    for name, assigned in (("train", assessment.train), ("test", assessment.test)):
        if assigned is not None and assigned.probabilities is not None:
            rows += assignment_rows(assigned, name, class_names)
    write_csv(path, header, rows)


def assignment_rows(assigned: Assigned, split: str, class_names: Sequence[str]) -> Iterable[Sequence[Any]]:
    """(image, split, cluster, confidence, label) of each image; the label is empty where unknown.

    The split is the one that the image came from, also where both were trained on together.
    """
    assert assigned.probabilities is not None
    clusters, confidence, labels = assigned.clusters, assigned.probabilities.max(1), assigned.labels
    for i, (name, origin) in enumerate(zip(assigned.split.names, origins(assigned.split, split), strict=True)):
        yield name, origin, int(clusters[i]), f"{confidence[i]:.4f}", label_name(labels, i, class_names)


def label_name(labels: Array | None, image: int, class_names: Sequence[str]) -> str:
    """The ground truth of an image in words, or as a number where classes have no names; "" where unknown."""
    if labels is None or labels[image] < 0:
        return ""
    return class_names[labels[image]] if class_names else str(labels[image])


def runtime_summary(trainer: Trainer) -> dict[str, Any]:
    """Figures of the training itself."""
    images = trainer.step * trainer.settings.batch_size
    return {
        "epochs": trainer.epoch,
        "steps": trainer.step,
        "skipped": len(trainer.data.skipped),
        "seconds": round(trainer.seconds, 2),
        "cpu_seconds": round(trainer.cpu_seconds, 2),
        "images_per_second": round(images / trainer.seconds, 1) if trainer.seconds else None,
        "stopped": trainer.stopped,
    }
