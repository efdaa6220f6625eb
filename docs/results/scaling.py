"""Count what processes that train together tell each other in a step, and print the cost model of scaling.md.

    torchrun --standalone --nproc-per-node 2 docs/results/scaling.py imc_swav_cifar10 --step-ms 10.39

Calls and bytes are counted in one step of two gloo processes on the CPU with random images and a small batch: all that
is exchanged are gradients and statistics, whose size doesn't depend on the batch. Links and step time are arguments.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from imcswav import distributed
from imcswav.build import assemble, build_engine, new_learner
from imcswav.data.array import ArrayData
from imcswav.devices import pick_device
from imcswav.learners import Learner
from imcswav.recipe.files import load_recipe
from imcswav.runs import RunFolder
from imcswav.step import Progress

IMAGES = 32
GPUS = (1, 2, 4, 8, 16, 64, 256, 1024)
A_NODE = 8


class Count:
    """Calls and bytes of the collectives other than DDP's own."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def watch(self, name: str, place: int) -> None:
        """Count calls of a function of torch.distributed, and the bytes of its argument ``place``."""
        call: Callable[..., Any] = getattr(dist, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            x = arguments[place]
            self.calls[name] += 1
            self.bytes[name] += x.numel() * x.element_size()
            return call(*arguments, **keywords)

        setattr(dist, name, counted)


def count(name: str, size: int, channels: int) -> tuple[Count, int]:
    """The collectives of a step, and the bytes of the gradients."""
    images = torch.randint(256, (IMAGES, channels, size, size), dtype=torch.uint8)
    data = ArrayData.of(images.numpy())
    changes = {"data.name": "array", "trainer.batch_size": IMAGES, "trainer.precision": "fp32"}
    recipe = load_recipe(name, changes)
    learner, _ = new_learner(recipe, data, [])
    with tempfile.TemporaryDirectory() as folder:
        made = RunFolder.create(recipe, f"{folder}/run") if distributed.is_main() else None
        run = distributed.from_main(made)
        assert run is not None
        trainer = assemble(recipe, build_engine(recipe, learner, pick_device("cpu")), data, run)
        learner.train()
        found = Count()
        batch = next(iter(trainer._batches()))
        for function, place in (("all_reduce", 0), ("all_gather", 1)):
            found.watch(function, place)
        trainer.engine.step(batch, Progress(0, 0, 10, 1))
    return found, gradients(learner)


def gradients(learner: Learner) -> int:
    """Bytes that DDP adds up in a step."""
    return sum(p.numel() * p.element_size() for _, p in learner.trainable())


def main() -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--step-ms", type=float, required=True, help="a step on one GPU, measured")
    parser.add_argument("--inside", type=float, nargs=2, default=(20, 300), metavar=("US", "GBS"))
    parser.add_argument("--between", type=float, nargs=2, default=(40, 40), metavar=("US", "GBS"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    distributed.start()
    found, gradient = count(asked.recipe, asked.size, asked.channels)
    if distributed.is_main():
        show(found, gradient, asked)
    distributed.stop()


def show(found: Count, gradient: int, asked: argparse.Namespace) -> None:
    """What was counted, and the time of a step with a constant batch on each GPU."""
    calls, small = sum(found.calls.values()), sum(found.bytes.values())
    print(f"{calls} collectives of statistics ({dict(found.calls)}), {small / 1e6:.2f} MB")
    print(f"gradients {gradient / 1e6:.1f} MB")
    print("| GPUs | statistics, ms | gradients, ms | step, ms | images/s of one GPU's, times | efficiency |")
    print("|---|---|---|---|---|---|")
    for ranks in GPUS:
        latency, width = asked.inside if ranks <= A_NODE else asked.between
        share = 2 * (ranks - 1) / ranks
        hops = max(1, ranks - 1).bit_length()
        statistics = 0.0 if ranks == 1 else calls * latency * hops / 1e3 + share * small / width / 1e6
        averaged = 0.0 if ranks == 1 else share * gradient / width / 1e6
        step = asked.step_ms + statistics + averaged
        gain = ranks * asked.step_ms / step
        print(f"| {ranks} | {statistics:.2f} | {averaged:.2f} | {step:.1f} | {gain:.1f} | {gain / ranks:.0%} |")


if __name__ == "__main__":
    main()
