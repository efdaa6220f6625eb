"""How near the solver in torch comes to SCS, and how many points it takes.

python3 -m imcswav_sdp.agreement --points 30 60 100
python3 -m imcswav_sdp.agreement --points 1000 --alone --programs likelihood
"""

from __future__ import annotations

import argparse
import time

import torch

from imcswav_sdp.crossed import VARIANCES_KF, crossed
from imcswav_sdp.likelihood import affinities, plain_affinity
from imcswav_sdp.program import Program, Solution, Solver, solve

NAMES = ["k-means", "likelihood"]


def programs(count: int, seed: int) -> dict[str, Program]:
    """Both programs of crossed Gaussians, the likelihood's with their true covariances."""
    points_NF = torch.from_numpy(crossed(count, seed)[0])
    covariances_KFF = torch.diag_embed(torch.from_numpy(VARIANCES_KF))
    both = Program.kmeans(plain_affinity(points_NF), 2), Program.likelihood(affinities(points_NF, covariances_KFF))
    return dict(zip(NAMES, both, strict=True))


def timed(program: Program, solver: Solver, tolerance: float, max_iter: int) -> tuple[Solution, float]:
    """The solution and its CPU seconds."""
    started = time.process_time()
    found = solve(program, solver, tolerance=tolerance, max_iter=max_iter)
    return found, time.process_time() - started


def main() -> None:
    """Print a row for each program."""
    parser = argparse.ArgumentParser(prog="python3 -m imcswav_sdp.agreement", description=main.__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[30, 60, 100])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of the solver in torch")
    parser.add_argument("--alone", action="store_true", help="without SCS")
    parser.add_argument("--programs", nargs="+", choices=NAMES, default=NAMES, help="both if not given")
    parser.add_argument("--iterations", type=int, default=10_000, help="at most")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| program | N | torch | its bound | SCS | difference | iterations | torch CPU s | SCS CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in given.points:
        every = programs(count, given.seed)
        for name in given.programs:
            program = every[name]
            ours, seconds = timed(program, "torch", given.tolerance, given.iterations)
            row = [name, count, f"{ours.objective:.3f}", f"{ours.bound:.3f}"]
            iterations = f"{ours.iterations}" + ("" if ours.converged else ", not solved")
            if given.alone:
                row += ["", "", iterations, f"{seconds:.1f}", ""]
            else:
                theirs, longer = timed(program, "scs", 1e-6, given.iterations)
                difference = abs(ours.objective - theirs.objective) / abs(theirs.objective)
                row += [
                    f"{theirs.objective:.3f}",
                    f"{difference:.0e}",
                    iterations,
                    f"{seconds:.1f}",
                    f"{longer:.1f}",
                ]
            print("|", " | ".join(map(str, row)), "|", flush=True)


if __name__ == "__main__":
    main()
