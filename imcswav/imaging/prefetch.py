"""Images that don't lie on the device: threads read the next batches into main memory while the device works."""

from __future__ import annotations

import copy
import hashlib
import math
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

THREAD_NAME = "imcswav-fetch"
DIGESTED = 2**22
"""Pixels at a time of a digest."""


class Fetched(ABC):
    """uint8 images (N, C, H, W) that come to ``device`` when asked for; what it gives equals a tensor's rows.

    A subclass says how rows get into main memory. Nothing here depends on how fast that is: batches come in the
    order of their indices.
    """

    depth: ClassVar[int] = 1
    """Batches read ahead of the one in use."""
    workers: ClassVar[int] = 1
    """Threads that read."""
    chunk: ClassVar[int] = 4096
    """Images that one thread reads at a time."""
    dtype = torch.uint8

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.shape, self.device = torch.Size(shape), device

    @abstractmethod
    def read_into(self, rows: Tensor, out: Tensor) -> None:
        """Fill ``out`` (B, C, H, W) in main memory with ``rows`` (B,); called from several threads."""

    @abstractmethod
    def checksum(self) -> str:
        """Tells these images from others."""

    def __len__(self) -> int:
        return self.shape[0]

    def to(self, device: torch.device) -> Self:
        """The same images, given on another device."""
        moved = copy.copy(self)
        moved.device = device
        return moved

    def __getitem__(self, index: Any) -> Tensor:
        """The images of an index tensor (B,), or the one (C, H, W) of a number."""
        rows = torch.as_tensor(index).cpu()
        images_BCHW = next(self.batches([rows.reshape(-1)]))
        return images_BCHW if rows.dim() else images_BCHW[0]

    def split(self, size: int) -> Generator[Tensor]:
        """All images in order, ``size`` at a time."""
        return self.batches(torch.arange(len(self)).split(size))

    def batches(self, indices: Iterable[Tensor]) -> Generator[Tensor]:
        """The images of each index (B,), in order; closing the iterator, or an error, ends its threads."""
        pool = ThreadPoolExecutor(self.workers, THREAD_NAME)
        copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        waiting: deque[tuple[Tensor, list[Future[None]]]] = deque()
        ending = sys.is_finalizing  # this module's own names may be gone by then
        try:
            for index in indices:
                waiting.append(self._submit(pool, index))
                if len(waiting) > self.depth:
                    yield self._deliver(*waiting.popleft(), copies)
            while waiting:
                yield self._deliver(*waiting.popleft(), copies)
        finally:
            if not ending():  # at the interpreter's end its threads are gone, and so is what shutdown would call
                pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, rows: Tensor) -> tuple[Tensor, list[Future[None]]]:
        shape = (len(rows), *self.shape[1:])
        # only the batches are pinned, not all images: pinning rounds up to a power of two and can't be swapped out
        out = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        parts = zip(rows.split(self.chunk), out.split(self.chunk), strict=True)
        return out, [pool.submit(self.read_into, part, piece) for part, piece in parts]

    def _deliver(self, out: Tensor, tasks: list[Future[None]], copies: torch.cuda.Stream | None) -> Tensor:
        for task in tasks:
            task.result()
        if copies is None:
            return out.to(self.device)
        with torch.cuda.stream(copies):  # beside the step that the device is still busy with, not behind it
            images = out.to(self.device, non_blocking=True)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(copies)
        images.record_stream(current)
        return images


class InMemory(Fetched):
    """Decoded images in main memory, copied to the device batch by batch."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        super().__init__(images.shape, device)
        self.images = images
        self._checksum = ""

    def read_into(self, rows: Tensor, out: Tensor) -> None:
        """Gather the rows."""
        torch.index_select(self.images, 0, rows, out=out)

    def checksum(self) -> str:
        """As of a tensor on the device; computed once."""
        self._checksum = self._checksum or pixel_digest(self.images)
        return self._checksum


def pixel_digest(images: Tensor) -> str:
    """Tells uint8 images (N, C, H, W) from others, and from the same pixels or images in another order.

    A digest of each image's sum of pixels times weights drawn once for all from [1, 2¹⁶]: exact in float64, and so the
    same on every device.
    """
    pixels = math.prod(images.shape[1:])
    device = images.device if images.device.type in ("cpu", "cuda") else torch.device("cpu")  # MPS has no float64
    drawn_Q = (np.random.PCG64(0).random_raw(pixels) >> 48).astype(np.float64) + 1
    weights_Q = torch.from_numpy(drawn_Q).to(device)
    chunks = images.split(max(1, DIGESTED // max(1, pixels)))
    sums_N = torch.cat([chunk.to(device).flatten(1).double() @ weights_Q for chunk in chunks])
    return hashlib.sha256(sums_N.long().cpu().numpy().tobytes()).hexdigest()
