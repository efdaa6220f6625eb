"""The loop, and only the loop: it knows no method."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from imcswav import checkpoint, distributed
from imcswav.callbacks import Callback
from imcswav.data import Batch, Data
from imcswav.engine import WEIGHTS, Engine
from imcswav.errors import RunError
from imcswav.learners import Epoch
from imcswav.recipe import Recipe
from imcswav.resuming import by_ranks, differing, missing, own_state, remembered, restore_own
from imcswav.runs import RunFolder
from imcswav.seeding import mix
from imcswav.step import Progress
from imcswav.stopping import Stopping

AGREED = ("start", "log", "end_epoch")
"""Hooks after which all processes learn whether a callback wants the end. Never after ``close``: others may be gone."""
DATA, EPOCH = 1, 4
"""Keys that keep the random streams of the data's order, and of what starts an epoch, apart from others."""
NEEDED = ("learner", "optimizer", "ranks", "data", "step", "epoch", "seconds", "cpu_seconds")
"""What every checkpoint has; an earlier version's may lack the rest."""


class Trainer:
    """Runs an engine over data; ``fit`` is the loop.

    ``step`` and ``epoch`` count what is finished. ``seconds`` and ``cpu_seconds`` (of this process) add up the
    training time over all resumed parts, evaluation and callbacks left out. ``logged`` is the last log.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        engine: Engine,
        data: Data,
        callbacks: list[Callback],
        run: RunFolder,
    ) -> None:
        self.recipe, self.settings, self.run = recipe, recipe.trainer, run
        self.engine, self.data, self.callbacks = engine, data, callbacks
        self.learner, self.optimizer, self.device = engine.learner, engine.optimizer, engine.device
        self.steps_per_epoch = len(data.train) // self.settings.batch_size
        self.steps = self.settings.steps(len(data.train))
        self.epochs = math.ceil(self.steps / max(1, self.steps_per_epoch))
        self.step = self.epoch = 0
        self.seconds = self.cpu_seconds = 0.0
        self.stopping = Stopping()
        self.logged: dict[str, float] = {}
        self._asked: int | None = None
        self.stopped: str | None = None
        """Why the training ended before its last epoch, in a sentence."""
        self.checkpoints = checkpoint.CheckpointWriter(run.checkpoints, engine.device)
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()

    def fit(self) -> None:
        """Train to the end, or to that of the epoch in which ``stop`` was called.

        Ctrl-C finishes the step, saves, and raises KeyboardInterrupt; SIGTERM and SIGUSR1 raise Terminated.
        """
        self.call("start")
        if self.data.note:
            self.call("note", self.data.note)
        with self.stopping.listening(), self.checkpoints:
            while not self.ended:
                self._train_epoch()
                self.epoch += 1
                self.call("end_epoch")
                self._stop_if_asked()  # in the last epoch too: what comes after it takes long

    @property
    def ended(self) -> bool:
        """Whether no epoch follows the finished ones."""
        between = self.step == self.epoch * self.steps_per_epoch  # a run resumed within its last epoch has to end it
        return self.epoch >= self.epochs or (self.stopped is not None and between)

    def stop(self, reason: str) -> None:
        """Make the epoch under way the last, for a reason in a sentence, which the summary tells; for ``log`` hooks.

        Checkpoints know it, so that a run cut off before its summary isn't trained on when it is resumed.
        """
        self.stopped = reason
        self.call("note", reason)

    def _train_epoch(self) -> None:
        self.learner.train()
        if self.step == self.epoch * self.steps_per_epoch:
            with self._timed():
                self._start_epoch()
        for batch in self._batches():
            if self.step >= self.steps:
                return
            with self._timed():
                self._train_step(batch)
                values = self._collect_logs() if self._log_due() else None
                if values is None and self.interrupted:
                    self._means()  # what is no number must not take a good checkpoint's place
            if values is not None:
                self._agree()
                self.call("log", values)
            while self.engine.notes:
                self.call("note", self.engine.notes.pop(0))
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.interrupted:
            with contextlib.ExitStack() as stack:  # all of them, though one may fail: the last one saves
                for callback in reversed(self.callbacks):
                    stack.callback(self._call, callback, "interrupt", ())
            raise self.stopping.error()

    @property
    def interrupted(self) -> bool:
        """Whether a signal asked to stop after this step; several processes agree on it where they log."""
        return (self.stopping.asked if distributed.world_size() == 1 else self._asked) is not None

    def _agree(self) -> None:
        """Let a signal that any process got count for all of them."""
        if distributed.world_size() > 1:
            self._asked = next(filter(None, distributed.of_all(self.stopping.asked)), None)
            self.stopping.asked = self.stopping.asked or self._asked

    def _start_epoch(self) -> None:
        epoch = Epoch(self._progress(), self.data.train.images, mix(self.recipe.seed, EPOCH, self.epoch))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.engine.precision == "bf16"):
            self.learner.start_epoch(epoch)

    def _progress(self) -> Progress:
        return Progress(self.step, self.epoch, self.steps, self.steps_per_epoch)

    def _batches(self) -> Iterator[Batch]:
        """The rest of the epoch; waiting for images is training time too."""
        batches = self.data.batches(
            self.epoch,
            seed=mix(self.recipe.seed, DATA),
            batch_size=self.settings.batch_size,
            rank=distributed.rank(),
            world=distributed.world_size(),
            start=self.step - self.epoch * self.steps_per_epoch,
        )
        while True:
            with self._timed():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _log_due(self) -> bool:
        """Every few steps, and at the end of an epoch: where a checkpoint may follow, and no signal changes it."""
        ends = self.step % self.steps_per_epoch == 0 or self.step == self.steps
        return ends or self.step % self.settings.log_every == 0

    def _train_step(self, batch: Batch) -> None:
        self._add_logs(self.engine.step(batch, self._progress()))
        self.step += 1

    def _add_logs(self, scalars: dict[str, Tensor]) -> None:
        if list(self._sums) == list(scalars):  # in one order: a bank's come now and then, between the others
            torch._foreach_add_(list(self._sums.values()), list(scalars.values()))  # one launch for all
        else:
            for name, value in scalars.items():
                self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._counts.update(scalars.keys())

    def _collect_logs(self) -> dict[str, float]:
        """The means, which then begin anew, and the learning rate."""
        values = self._means()
        self._sums, self._counts = {}, Counter()
        self.logged = values | {"lr": self.engine.lr}
        return self.logged

    def _means(self) -> dict[str, float]:
        """Since the last log, over the steps that had each: the one place where the host waits for the device.

        Raises RunError where the loss or the weights are no finite numbers.
        """
        found = [value.float() for value in self._sums.values()]
        found = [*distributed.batch_mean(torch.stack(found)), self.engine.weight_norm()]
        *sums, weights = torch.stack(found).tolist()
        values = {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}
        values[WEIGHTS] = weights
        if not math.isfinite(values["loss"]) or not math.isfinite(weights):
            text = self._diverged(values)
            self.call("diverge", text)
            raise RunError(text)
        return values

    def _diverged(self, values: dict[str, float]) -> str:
        parts = [name.removeprefix("loss/") for name in values if name.startswith("loss/")]
        first = [name for name in parts if not math.isfinite(values[f"loss/{name}"])]
        where = f" (in {', '.join(first)})" if 0 < len(first) < len(parts) else ""
        kept = any(checkpoint.saved(self.run.checkpoints))
        saved = f"; the last checkpoint in {self.run.checkpoints} is kept" if kept else ""
        remedy = f"Lower optimizer.lr ({self.optimizer.defaults['lr']}), or set trainer.clip_gradient."
        what = f"The loss became {values['loss']}"
        if math.isfinite(values["loss"]):
            what = f"The norm of the weights became {values[WEIGHTS]}, though the loss was {values['loss']:.4g},"
        return f"{what} by step {self.step}{where}{saved}. {remedy}"

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of every callback, in the recipe's order.

        What the main process does alone may call hooks too: not of those that all processes have to call.
        """
        for callback in self.callbacks:
            self._call(callback, hook, arguments)

    def _call(self, callback: Callback, hook: str, arguments: tuple[Any, ...]) -> None:
        if callback.every_rank:
            if not distributed.others_wait():
                getattr(callback, hook)(self, *arguments)
            return
        if distributed.is_main():
            with distributed.alone():
                getattr(callback, hook)(self, *arguments)
        if hook in AGREED:
            self.stopped = distributed.from_main(self.stopped)

    def save(self) -> None:
        """Write a checkpoint of the present step, beside the training that follows; all processes have to call it."""
        if distributed.others_wait():
            raise RuntimeError("trainer.save() needs all processes: let the callback say every_rank = True")
        ranks = distributed.of_all(own_state(self.learner, self.device))
        if not distributed.is_main():
            return
        state = {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ranks": ranks,
            "data": self.digest,
            "recipe": remembered(self.recipe),
            "step": self.step,
            "epoch": self.epoch,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "logged": self.logged,
            "sums": self._sums,
            "counts": dict(self._counts),
            "callbacks": {name: state for name, callback in self._named_callbacks() if (state := callback.state())},
        }
        self.checkpoints.save(state, self.step)

    @cached_property
    def digest(self) -> str:
        """Of the training images: to add them up takes long where there are many."""
        return self.data.digest()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state; raises RunError when it is of another recipe or of other images."""
        state = by_ranks(state)
        if lacking := missing(state, NEEDED):
            raise RunError(
                f"The checkpoint in {self.run.checkpoints} has no {lacking}: another version wrote it; go on with that "
                f"version (environment.json names it), or start a new run."
            )
        if state["data"] != self.digest and state["data"] != self.data.former_digest():
            raise RunError(
                f"The training images are not those that the run {self.run.path} began with (then {state['data']}, now "
                f"{self.digest}); bring them back (data.placement as it was), or start a new run."
            )
        now = remembered(self.recipe)
        if changed := differing(state.get("recipe", now), now):  # a version before kept none
            raise RunError(
                f"The checkpoint in {self.run.checkpoints} doesn't fit its recipe: {changed}; put recipe.toml back "
                f"as it was, or start a new run."
            )
        try:
            self.learner.load_state_dict(state["learner"])
            self.engine.load_optimizer(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise RunError(
                f"The checkpoint in {self.run.checkpoints} doesn't fit its recipe ({reason}); put recipe.toml back as "
                f"it was, or start a new run."
            ) from error
        restore_own(self.learner, state, self.device)
        self.step, self.epoch = state["step"], state["epoch"]
        if self.step < self.steps:  # an epoch that max_steps had cut short goes on, where that was raised
            self.epoch = min(self.epoch, self.step // self.steps_per_epoch)
        self.stopped = state.get("stopped")  # a checkpoint of an earlier version has none
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]
        # a version before kept none of these
        self.logged = state.get("logged", {})
        self._sums = {name: total.to(self.device) for name, total in state.get("sums", {}).items()}
        self._counts = Counter(state.get("counts", {}))
        for name, callback in self._named_callbacks():
            callback.restore(state.get("callbacks", {}).get(name, {}))

    def _named_callbacks(self) -> list[tuple[str, Callback]]:
        """With a name of its own for each, "evaluate.2" for the second of a kind: a recipe may have several."""
        met: Counter[str] = Counter()
        named = []
        for callback in self.callbacks:
            met[callback.name] += 1
            number = met[callback.name]
            named.append((callback.name if number == 1 else f"{callback.name}.{number}", callback))
        return named
