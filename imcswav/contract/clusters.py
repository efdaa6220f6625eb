"""What clusterers and metrics must do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from imcswav.clusterers import Known
from imcswav.contract.rules import (
    Check,
    build,
    draw,
    require,
)
from imcswav.metrics import Scored


def _clusterer(config: Any, runtime: dict[str, Any]) -> None:
    known = {"clusters": 3, "seed": 0} | runtime
    features_NF = _blobs(known["clusters"])
    labels = [build(config, runtime, clusters=3, seed=0).fit(features_NF) for _ in range(2)]
    require(labels[0].shape == (len(features_NF),) and labels[0].dtype.kind == "i", "labels are not integers (N,)")
    require(set(np.unique(labels[0])) <= set(range(known["clusters"])), "a label is out of range")
    require(bool((labels[0] == labels[1]).all()), "the same seed gave other labels")


def _clusterer_state(config: Any, runtime: dict[str, Any]) -> None:
    known = {"clusters": 3, "seed": 0} | runtime
    features_NF = _blobs(known["clusters"])
    fitted, fresh = (build(config, runtime, clusters=3, seed=0) for _ in range(2))
    fitted.fit(features_NF)
    require(bool(fitted.state) and all(isinstance(value, Tensor) for value in fitted.state.values()), "no tensors")
    fresh.state = {name: value.clone() for name, value in fitted.state.items()}
    new_MF = features_NF[::3] + 0.05
    chances_MK = fitted.predict_proba(new_MF)
    require(chances_MK.shape == (len(new_MF), known["clusters"]), f"shape {chances_MK.shape}")
    require(bool((chances_MK >= 0).all()) and np.allclose(chances_MK.sum(1), 1, atol=1e-5), "rows don't sum to 1")
    require(np.array_equal(fresh.predict_proba(new_MF), chances_MK), "a fresh one with this state says otherwise")


def _clusterer_module(config: Any, runtime: dict[str, Any]) -> None:
    known = {"clusters": 3, "seed": 0} | runtime
    features_NF = _blobs(known["clusters"]).astype(np.float32)
    fitted = build(config, runtime, clusters=3, seed=0)
    fitted.fit(features_NF)
    module = fitted.module()
    if module is None:
        return
    for new_MF in (features_NF[::3] + np.float32(0.05), features_NF[:1]):
        with torch.no_grad():
            chances_MK = module(torch.from_numpy(new_MF))
        expected_MK = fitted.predict_proba(new_MF)
        require(chances_MK.dtype == torch.float32, f"{chances_MK.dtype}")
        require(chances_MK.shape == expected_MK.shape, f"shape {tuple(chances_MK.shape)}")
        apart = float(np.abs(chances_MK.numpy() - expected_MK).max())
        require(apart < 1e-3, f"probabilities differ by up to {apart:.2g}")


def _clusterer_known(config: Any, runtime: dict[str, Any]) -> None:
    if not config.owner.uses_known:
        return
    features_NF = _blobs(({"clusters": 3} | runtime)["clusters"])
    known = Known(np.arange(0, len(features_NF), 20), np.array([1, 0, *range(2, len(features_NF) // 20)]))
    labels_N = build(config, runtime, clusters=3, seed=0).fit(features_NF, known)
    require(bool((labels_N[known.index] == known.label).all()), f"{known.label} became {labels_N[known.index]}")


def _blobs(clusters: int) -> Any:
    return np.repeat(3 * np.eye(clusters, 4 + clusters), 20, 0) + draw(20 * clusters, 4 + clusters).numpy()


def _metric(config: Any, runtime: dict[str, Any]) -> None:
    labels_N = np.repeat(np.arange(3), 30)
    value = build(config, runtime)(_scored((labels_N + 1) % 3, labels_N))
    require(abs(value - 1) < 1e-4, f"{value}")


def _metric_invariant(config: Any, runtime: dict[str, Any]) -> None:
    labels_N = np.repeat(np.arange(3), 30)
    clusters_N = np.random.default_rng(0).integers(0, 3, 90)
    metric = build(config, runtime)
    values = [metric(_scored(order[clusters_N], labels_N)) for order in np.array([[0, 1, 2], [2, 0, 1], [1, 0, 2]])]
    require(all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in values), f"{values[0]} is not in [-1, 1]")
    require(max(values) - min(values) < 1e-9, f"{values}")


def _scored(clusters_N: Any, labels_N: Any) -> Scored:
    features_NF = torch.eye(3)[torch.from_numpy(labels_N)] + 1e-3 * draw(len(labels_N), 3)
    return Scored(labels_N, clusters_N, features_NF, features_NF, labels_N, True)


CHECKS: dict[str, dict[str, Check]] = {
    "clusterer": {
        "labels are 0 … K−1 and the same for the same seed": _clusterer,
        "predict_proba needs the state's tensors alone": _clusterer_state,
        "module() is None or gives predict_proba's figures in float32": _clusterer_module,
        "where it uses known labels, those images keep them": _clusterer_known,
    },
    "metric": {
        "a perfect clustering scores 1": _metric,
        "numbering clusters otherwise changes nothing": _metric_invariant,
    },
}
