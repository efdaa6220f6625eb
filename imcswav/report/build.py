"""What a report shows: a clustering and the files of its run, as the page's template reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.thumbnails import BORDERLINE, REPRESENTATIVES, SIDE, Thumbnails, choose
from imcswav.report.files import curves, environment_rows, findings, read_json, read_text, reproduce, table
from imcswav.report.health import Health, cluster_health
from imcswav.report.overview import confusion, info
from imcswav.report.pictures import Pictures
from imcswav.report.projection import SAMPLE, project

METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class Page:
    """Everything the template reads. Images are numbered by their place in ``images``, which names them."""

    title: str
    run: str
    """As it is typed in a shell."""
    info: Sequence[tuple[str, str]]
    clusters: Sequence[Mapping[str, Any]]
    confusion: Mapping[str, Any]
    pictures: Pictures
    images: Sequence[int]
    data: Mapping[str, Any]
    """For the scripts, as JSON."""
    files: Mapping[str, Any]
    """Recipe, environment, tables, and what the training showed of trouble."""
    map_note: str


def build_page(clustering: Clustering, run: Path, made: Thumbnails | None, *, budget: float, edits: int) -> Page:
    """Put a page together; pictures take at most ``budget`` bytes, ``edits`` were made before."""
    on_map = list(made.images) if made and len(made.images) else choose(clustering)[1]
    pictures = Pictures.within(budget, made, SIDE)
    health = cluster_health(clustering)
    environment = read_json(run / "environment.json")
    files = {
        "recipe": read_text(run / "recipe.toml"),
        "environment": environment_rows(environment),
        "reproduce": reproduce(run, environment),
        "quality": table(run / "quality.csv"),
        "skipped": table(run / "skipped.csv"),
        "findings": findings(run / "health.json"),
    }
    shown = [_cluster(clustering, cluster, health) for cluster in clustering.ids]
    if (clustering.clusters_N == OUTLIER).any():
        shown.append(_cluster(clustering, OUTLIER, {}))
    gallery = [image for one in shown for image in (*one["representatives"], *one["borderline"])]
    images = list(dict.fromkeys([*on_map, *gallery]))
    place = {image: number for number, image in enumerate(images)}
    for one in shown:
        one.update({key: [place[image] for image in one[key]] for key in ("representatives", "borderline")})
    name = Path(clustering.root).name or read_json(run / "summary.json").get("recipe") or run.resolve().name
    data = _data(clustering, images, len(on_map), pictures, run)
    return Page(
        title=f"Clusters of {name}",
        run=quote(str(run)),
        info=info(clustering, run, files),
        clusters=shown,
        confusion=confusion(clustering),
        pictures=pictures,
        images=images,
        data=data | {"base": edits},
        files=files,
        map_note=_map_note(len(on_map), len(clustering), [one["name"] for one in data["map"]]),
    )


def _cluster(clustering: Clustering, cluster: int, health: Mapping[int, Health]) -> dict[str, Any]:
    members = clustering.members(cluster)
    if cluster == OUTLIER:
        representatives, borderline = members[:REPRESENTATIVES].tolist(), []
    else:
        representatives = clustering.representatives(cluster, REPRESENTATIVES).tolist()
        doubtful = clustering.borderline(cluster, REPRESENTATIVES + BORDERLINE).tolist()
        borderline = [image for image in doubtful if image not in representatives][:BORDERLINE]
    labels = Counter(clustering.labels[i] for i in members if clustering.labels[i]) if clustering.labels else Counter()
    return {
        "id": cluster,
        "title": clustering.title(cluster),
        "size": len(members),
        "health": health.get(cluster),
        "representatives": representatives,
        "borderline": borderline,
        "labels": [(label, count / labels.total()) for label, count in labels.most_common(3)],
    }


def _data(clustering: Clustering, images: list[int], on_map: int, pictures: Pictures, run: Path) -> dict[str, Any]:
    labels = [clustering.labels[i] for i in images] if clustering.labels else []
    distinct = sorted(set(labels) - {""})
    copied = clustering.duplicates
    number = {label: at for at, label in enumerate(distinct)}
    positions = project(clustering, images[:on_map], run) if on_map else {}
    return {
        "clusters": [
            {"id": cluster, "title": clustering.title(cluster), "size": len(clustering.members(cluster))}
            for cluster in (*clustering.ids, OUTLIER)
        ],
        "names": [clustering.names[i] for i in images],
        "cluster": clustering.clusters_N[images].tolist(),
        "confidence": [round(value, 3) for value in clustering.confidence_N[images].tolist()],
        "second": clustering.second_N[images].tolist(),
        "labels": distinct,
        "label": [number.get(label, -1) for label in labels],
        "copy_of": {at: clustering.names[copied[i]] for at, i in enumerate(images) if i in copied},
        "tiles": [pictures.tiles.get(i, -1) for i in images],
        "tile": pictures.tile,
        "side": SIDE,
        "map": [
            {"name": METHODS[method], "x": _rounded(placed_M2[:, 0]), "y": _rounded(placed_M2[:, 1])}
            for method, placed_M2 in reversed(positions.items())
        ],
        "curves": curves(run / "metrics.jsonl"),
    }  # fmt: skip


def _rounded(values_M: Any) -> list[float]:
    return [round(value, 4) for value in values_M.tolist()]


def _map_note(shown: int, count: int, methods: Sequence[str]) -> str:
    of = f"{shown:,} of {count:,} images: those of the gallery and a random sample" if shown < count else "All images"
    sample = ""
    if shown > SAMPLE and len(methods) > 1:
        sample = f"; {methods[0]} saw {SAMPLE:,} of them, and every other one stands among its nearest of these"
    return f"{of}{sample}. Near in the map means alike to the network; distances between groups mean little."
