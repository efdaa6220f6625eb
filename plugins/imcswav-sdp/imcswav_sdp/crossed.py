"""The experiment of the README: two crossed Gaussians, beside k-means and expectation–maximisation.

python3 -m imcswav_sdp.crossed --seeds 0-4
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from imcswav.metrics.acc import accuracy
from imcswav_sdp.estimators import ILASDP, SDPKMeans
from imcswav_sdp.likelihood import affinities
from imcswav_sdp.program import Program, Solver, solve

Array = np.ndarray[Any, np.dtype[Any]]
MEANS_KF = np.array([[0.0, 0.0], [3.0, 3.0]])
VARIANCES_KF = np.array([[16.0, 0.25], [0.25, 16.0]])


def crossed(count: int, seed: int) -> tuple[Array, Array]:
    """Points (N, 2) of two long Gaussians that cross near one's centre, half of them of each; and which is which."""
    draw = np.random.default_rng(seed)
    labels_N = np.arange(count) % 2
    return MEANS_KF[labels_N] + draw.normal(size=(count, 2)) * np.sqrt(VARIANCES_KF[labels_N]), labels_N


def methods(solver: Solver = "torch") -> dict[str, Callable[[Array, int], Array]]:
    """Each method by name: points and seed to labels."""

    def em(starts: int, how: str) -> Callable[[Array, int], Array]:
        return lambda points_NF, seed: GaussianMixture(
            2, n_init=starts, init_params=how, random_state=seed
        ).fit_predict(points_NF)  # fmt: skip

    def known(points_NF: Array, seed: int) -> Array:
        covariances_KFF = torch.diag_embed(torch.from_numpy(VARIANCES_KF))
        program = Program.likelihood(affinities(torch.from_numpy(points_NF), covariances_KFF))
        return solve(program, solver).shares_NM.argmax(1).numpy()

    return {
        "k-means, 10 starts": lambda x, seed: KMeans(2, n_init=10, random_state=seed).fit_predict(x),
        "SDP k-means": lambda x, seed: SDPKMeans(2, solver=solver, random_state=seed).fit_predict(x),
        "EM, 1 random start": em(1, "random_from_data"),
        "EM, best of 10 random starts": em(10, "random_from_data"),
        "EM from k-means": em(1, "kmeans"),
        "iLA-SDP": lambda x, seed: ILASDP(2, solver=solver, random_state=seed).fit_predict(x),
        "LA-SDP, true covariances": known,
    }


def measure(method: Callable[[Array, int], Array], seeds: list[int], count: int) -> tuple[Array, float]:
    """Share of points in the wrong cluster for each seed, and mean CPU seconds a seed."""
    errors, started = [], time.process_time()
    for seed in seeds:
        points_NF, labels_N = crossed(count, seed)
        errors.append(1 - accuracy(labels_N, method(points_NF, seed)))
    return np.array(errors), (time.process_time() - started) / len(seeds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python3 -m imcswav_sdp.crossed", description=main.__doc__)
    parser.add_argument("--seeds", default="0-4", help="first-last")
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--solver", choices=("torch", "scs"), default="torch")
    given = parser.parse_args()
    torch.set_num_threads(1)  # matrices are small
    first, _, last = given.seeds.partition("-")
    seeds = list(range(int(first), int(last or first) + 1))
    print("| method | error % | worst seed | CPU s |\n|---|---|---|---|")
    for name, method in methods(given.solver).items():
        errors, seconds = measure(method, seeds, given.points)
        spread = 100 * errors.std(ddof=1) if len(errors) > 1 else float("nan")
        print(f"| {name} | {100 * errors.mean():.1f} ± {spread:.1f} | {100 * errors.max():.1f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
