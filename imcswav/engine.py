"""One training step: forward, backward, update; eagerly, or replayed from a recording of the whole step."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from imcswav.batchnorm import share_statistics
from imcswav.data import Batch
from imcswav.distributed import world_size
from imcswav.errors import ImcswavError
from imcswav.learners import Learner
from imcswav.phases import HiddenProgress, NotRecordableError
from imcswav.recipe import TrainerSettings
from imcswav.recording import Cuda, Recorder, Recording
from imcswav.schedules import Schedule
from imcswav.seeding import mix
from imcswav.step import Progress

ALONE = "several processes share each batch"
GRADIENT = "gradient_norm"
"""Name in the logs of the gradient's length before any clipping, without parts that rest (frozen prototypes)."""
WEIGHTS = "weight_norm"
"""That of the length of all parameters at the time of the log."""
STEP = 2
"""Key that keeps the random streams of the steps apart from others."""


class Engine:
    """Everything that happens in a training step.

    ``notes`` has a sentence for each speed option that had to be left out; ``recorder`` makes recordings (None:
    steps run eagerly). On CUDA learning rate and seed are tensors there, so that a recording can read them.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        settings: TrainerSettings,
        device: torch.device,
        seed: int,
        recorder: Recorder | None = None,
    ) -> None:
        self.learner, self.optimizer, self.schedule = learner, optimizer, schedule
        self.settings, self.device = settings, device
        self.notes: list[str] = []
        self.lr = 0.0
        self._seed_of_run = seed
        self._groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        self._network = learner if world_size() == 1 else _shared(learner)
        on_cuda = device.type == "cuda"
        self._seed = torch.zeros((), dtype=torch.int64, device=device)
        self._rates = [torch.zeros((), device=device) if on_cuda else None for _ in self._groups]
        records = on_cuda and settings.cuda_graph and world_size() == 1
        self._recorder = recorder or (Cuda(device) if records else None)
        self._recording: Recording | None = None
        self._compiled = compiles(settings.compile, device)
        self.learner.compile_parts(self._compiled)
        self._trusted = not self._compiled
        if settings.cuda_graph is True and self._recorder is None:
            reason = f"needs a CUDA device and this is {device}" if not on_cuda else f"can't be had where {ALONE}"
            raise ImcswavError(f"trainer.cuda_graph {reason}; leave it at 'auto'.")

    def step(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Train on a batch; scalars of the step, on the device, good until the next step."""
        seed = self._prepare(progress)
        self.learner.prepare(progress)
        if self._recorder is None:
            return self._first_or_eager(batch, progress, seed)
        try:
            if self._recording is None or not self._recording.fits(self.learner.phase(progress), batch):
                self._recording = Recording(self._recorder, self.learner.phase(progress), batch)
            return self._recording.step(
                batch,
                lambda given: self._first_or_eager(given, progress, self._seed),
                lambda given: self._eager(given, progress, self._seed, hidden=True),
            )
        except NotRecordableError as error:
            if self.settings.cuda_graph is True:
                raise ImcswavError(f"trainer.cuda_graph = true, but {error}; set it to 'auto'.") from error
            self.notes.append(f"Steps are not replayed from a recording: {error}.")
        # outside of the handler, whose traceback would keep the half-made recording's memory
        self._recorder = self._recording = None
        return self._first_or_eager(batch, progress, seed)

    def _prepare(self, progress: Progress) -> int | Tensor:
        """Set the learning rate and the step's seed where the step will read them; no host wait."""
        factor = self.schedule.factor(progress)
        for group, own, rate in zip(self.optimizer.param_groups, self._groups, self._rates, strict=True):
            lr = float(own["lr"]) * factor
            group["lr"] = lr if rate is None else rate.fill_(lr)
        self.lr = float(self.optimizer.defaults["lr"]) * factor  # the recipe's; groups may have their own
        seed = mix(self._seed_of_run, STEP, progress.step)
        if self._recorder is None and not self._compiled:
            return seed
        return self._seed.fill_(seed)

    def _first_or_eager(self, batch: Batch, progress: Progress, seed: int | Tensor) -> dict[str, Tensor]:
        """The eager step; if the first one fails with compiled parts, once more without."""
        if self._trusted:
            return self._eager(batch, progress, seed)
        self._trusted = True
        try:
            return self._eager(batch, progress, seed)
        except Exception as error:
            reason = _reason(error)
        self.learner.compile_parts(False)
        scalars = self._eager(batch, progress, seed)  # a mistake of the step itself shows here as what it is
        self.notes.append(f"torch.compile is left out: {reason}.")
        return scalars

    def _eager(self, batch: Batch, progress: Progress, seed: int | Tensor, hidden: bool = False) -> dict[str, Tensor]:
        learner, optimizer = self.learner, self.optimizer
        learner.before_step(progress)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            scalars = self._network(batch, HiddenProgress() if hidden else progress, seed)
        optimizer.zero_grad(set_to_none=True)
        if not scalars["loss"].requires_grad:
            raise ImcswavError(
                f"Nothing can be learnt at step {progress.step}: no loss that is on reaches a weight; add one that "
                f"does, or let them begin at the first step (start = 0)."
            )
        scalars["loss"].backward()
        learner.before_update(progress)
        gradients = [p.grad for p in learner.parameters() if p.grad is not None]
        if self.settings.clip_gradient is not None and gradients:
            norm = nn.utils.clip_grad_norm_(learner.parameters(), self.settings.clip_gradient)
        else:
            norm = self._norm(gradients)
        optimizer.step()
        learner.after_step(progress)
        return {name: value.detach() for name, value in scalars.items()} | {GRADIENT: norm}

    def weight_norm(self) -> Tensor:
        """Length of all parameters together, on the device: no finite number where one of them is none."""
        return self._norm([parameter.detach() for parameter in self.learner.parameters()])

    def _norm(self, tensors: list[Tensor]) -> Tensor:
        """Length of all tensors together, in a few launches; 0 of none, when all that could move is frozen."""
        if not tensors:
            return torch.zeros((), device=self.device)
        norms = torch.stack([norm.float() for norm in torch._foreach_norm(tensors)])
        return torch.linalg.vector_norm(norms)  # type: ignore[no-any-return]

    @property
    def precision(self) -> str:
        """bf16 or fp32, "auto" resolved."""
        return resolve_precision(self.settings.precision, self.device)

    def load_optimizer(self, state: dict[str, object]) -> None:
        """The optimiser's moments from a checkpoint; its settings stay the recipe's and the device's own."""
        self.optimizer.load_state_dict(state)
        for group, own in zip(self.optimizer.param_groups, self._groups, strict=True):
            group.update(own)
        self._recording = None


def _shared(learner: Learner) -> Any:
    """The learner over all processes: same start, batch statistics of the global batch, gradients averaged.

    Losses are means over a process's images, or the same on all of them, so the average is the global batch's gradient.
    Which parameters a step leaves out may change from step to step.
    """
    share_statistics(learner)
    if not learner.trainable():
        return learner
    ddp = nn.parallel.DistributedDataParallel
    # buffers are the same on all ranks by themselves, or have to differ; torch 2.14 has another name for that
    new = "forward_sync_buffers" in inspect.signature(ddp).parameters
    kept: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    return ddp(learner, find_unused_parameters=True, **kept)


def _reason(error: Exception) -> str:
    """An error in a line; the compiler's own says only in its second line what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()][:2]
    return f"{type(error).__name__}: {' '.join(lines)[:300].rstrip('.')}"


def compiles(setting: bool | str, device: torch.device) -> bool:
    """Whether parts of the learner are compiled, "auto" resolved."""
    return device.type == "cuda" if setting == "auto" else bool(setting)


def resolve_precision(setting: str, device: torch.device) -> str:
    """bf16 where the device is a GPU that has it, for "auto"."""
    if setting != "auto":
        return setting
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
