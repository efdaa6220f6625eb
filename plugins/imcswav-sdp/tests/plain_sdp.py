"""Float64 references written as plain loops, and small data."""

import itertools
import math

import numpy as np
import torch


def mahalanobis(x, y, covariance):
    """(x − y)ᵀ Σ⁻¹ (x − y)."""
    inverse, gap = np.linalg.inv(covariance), x - y
    return sum(gap[f] * inverse[f, g] * gap[g] for f in range(len(gap)) for g in range(len(gap)))


def minus_two_log_likelihood(points, labels, covariances):
    """Of a partition, means profiled out: from the density itself, without its constant N F log 2π."""
    total = 0.0
    for k, covariance in enumerate(covariances):
        rows = [x for x, label in zip(points, labels, strict=True) if label == k]
        if not rows:
            continue
        mean = sum(rows) / len(rows)
        for x in rows:
            total += mahalanobis(x, mean, covariance) + math.log(np.linalg.det(covariance))
    return total


def inertia(points, labels):
    """Σ |x − mean of its cluster|²."""
    return minus_two_log_likelihood(points, labels, [np.eye(points.shape[1])] * (max(labels) + 1))


def best_partition(count, clusters, cost):
    """The least cost of all labellings that leave no cluster empty, and such labels."""
    every = (
        labels for labels in itertools.product(range(clusters), repeat=count) if len(set(labels)) == clusters
    )  # fmt: skip
    return min(((cost(labels), labels) for labels in every), key=lambda found: found[0])


def violation(program, matrices_MNN):
    """How far matrices are from each rule of the program, by the rules' own words."""
    matrices = matrices_MNN.numpy()
    rows = np.abs(sum(Z @ np.ones(len(Z)) for Z in matrices) - 1).max()
    traces = max(abs(np.trace(Z) - t) for Z, t in zip(matrices, program.traces_M.tolist(), strict=True))
    negative = max(0.0, -matrices.min())
    indefinite = max(0.0, max(-np.linalg.eigvalsh(Z)[0] for Z in matrices))
    return {"rows": rows, "traces": traces, "negative": negative, "indefinite": indefinite}


def blobs(count, clusters, seed=0, spread=0.5, far=6.0):
    """Round clusters on a circle, points (count, 2) and labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % clusters
    angles = 2 * np.pi * labels / clusters
    return far * np.stack([np.cos(angles), np.sin(angles)], 1) + spread * draw.normal(size=(count, 2)), labels


def random_covariances(clusters, width, seed=0):
    """Positive definite (K, F, F) with different determinants."""
    draw = np.random.default_rng(seed)
    roots = draw.normal(size=(clusters, width, width))
    return np.stack([(k + 1) * root @ root.T + 0.3 * np.eye(width) for k, root in enumerate(roots)])


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in arrays]
