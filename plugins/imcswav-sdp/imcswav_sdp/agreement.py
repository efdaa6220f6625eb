"""How near the solver in torch comes to SCS, and how many points it takes.

python3 -m imcswav_sdp.agreement --points 30 60 100
python3 -m imcswav_sdp.agreement --points 1000 --alone
"""

from __future__ import annotations

import argparse
import time

import torch

from imcswav_sdp.crossed import VARIANCES_KF, crossed
from imcswav_sdp.likelihood import affinities, plain_affinity
from imcswav_sdp.program import Program, Solution, Solver, solve


def programs(count: int, seed: int) -> dict[str, Program]:
    """Both programs of crossed Gaussians, the likelihood's with their true covariances."""
    points_NF = torch.from_numpy(crossed(count, seed)[0])
    covariances_KFF = torch.diag_embed(torch.from_numpy(VARIANCES_KF))
    return {
        "k-means": Program.kmeans(plain_affinity(points_NF), 2),
        "likelihood": Program.likelihood(affinities(points_NF, covariances_KFF)),
    }


def timed(program: Program, solver: Solver, tolerance: float) -> tuple[Solution, float]:
    """The solution and its CPU seconds."""
    started = time.process_time()
    found = solve(program, solver, tolerance=tolerance, max_iter=10_000)
    return found, time.process_time() - started


def main() -> None:
    """Print a row for each program."""
    parser = argparse.ArgumentParser(prog="python3 -m imcswav_sdp.agreement", description=main.__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[30, 60, 100])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the solver in torch")
    parser.add_argument("--alone", action="store_true", help="without SCS")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| program | N | torch | its bound | SCS | difference | iterations | torch CPU s | SCS CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in given.points:
        for name, program in programs(count, given.seed).items():
            ours, seconds = timed(program, "torch", given.tolerance)
            row = [name, count, f"{ours.objective:.3f}", f"{ours.bound:.3f}"]
            if given.alone:
                row += ["", "", ours.iterations, f"{seconds:.1f}", ""]
            else:
                theirs, longer = timed(program, "scs", 1e-6)
                difference = abs(ours.objective - theirs.objective) / abs(theirs.objective)
                row += [
                    f"{theirs.objective:.3f}",
                    f"{difference:.0e}",
                    ours.iterations,
                    f"{seconds:.1f}",
                    f"{longer:.1f}",
                ]
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
