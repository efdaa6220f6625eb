"""A queue of past embeddings, so that codes are balanced over more images than a batch holds (SwAV, section 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imcswav.distributed import world_size
from imcswav.learners import TrainingState
from imcswav.step import Progress


class Queue(TrainingState):
    """The last ``size`` embeddings of each global view from epoch ``start`` on; gives them out once it is full.

    ``rows`` (G, Q, D) is a ring, ``pushed`` counts what ever went in. Checkpoints have both, exported models neither.
    Of several processes each keeps its share of the ``size``, rounded up, from its own images.
    """

    rows: Tensor
    pushed: Tensor
    sized_by_state = ("rows",)
    of_rank = ("rows",)

    def __init__(self, size: int, start: int = 0) -> None:
        super().__init__()
        self.size, self.start = -(-size // world_size()), start
        self.open = start == 0
        self.full = self.rehearsed = False
        self._batch = 0
        self._since: tuple[int, int] | None = None  # a step, and what had gone in before it
        self.register_buffer("rows", torch.empty(0))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def prepare(self, progress: Progress) -> None:
        """Work out on the host whether the step finds it full; the device is asked once, at the start.

        ``rehearsed``: full from the second step on, most of it zeros.
        """
        self.open = progress.epoch >= self.start
        if self.rehearsed:
            self.open, self.full = True, len(self.rows) > 0
        if self.rehearsed or not self.open:
            return
        if self._since is None:
            self._since = progress.step, int(self.pushed)
        self.full = self._since[1] + (progress.step - self._since[0]) * self._batch >= self.size

    def held(self) -> Tensor | None:
        """The embeddings (G, Q, D), None until it is full."""
        return self.rows if self.full else None

    @torch.no_grad()
    def push(self, embeddings_GBD: Tensor) -> None:
        """Take a batch's embeddings in, for the oldest; none before the first epoch of the queue."""
        if not self.open:
            return
        views, images, width = embeddings_GBD.shape
        if not len(self.rows):
            self.rows = embeddings_GBD.new_zeros(views, self.size, width)
        self._batch = images
        newest = embeddings_GBD[:, -self.size :]
        self.pushed.add_(images)
        places = (self.pushed - torch.arange(newest.shape[1], 0, -1, device=self.pushed.device)) % self.size
        self.rows.index_copy_(1, places, newest.to(self.rows.dtype))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._since = None
