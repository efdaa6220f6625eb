"""The one place that asks about ranks, and the home of every reduction over a batch.

Ranks are the processes of torch.distributed that train together, one for each GPU, started by ``torchrun`` or
``imcswav run --devices N``. A global batch lies spread over them: rank r of R has every R-th of its images from the
r-th on. Losses, solvers and batch norm call the reductions below and nothing else; with one process these do nothing.

Every collective must be met by all ranks in the same order. What one rank does alone (the main one writes, logs,
fits clusterers) is done within ``alone``, where the world is that rank only.
"""

from __future__ import annotations

import importlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from imcswav.errors import ImcswavError
from imcswav.launch import launched, speaks

ARRIVAL, TIMEOUT = timedelta(minutes=10), timedelta(hours=6)
"""How long all ranks may take to come, and to wait for each other: the main one reads data and evaluates for all."""
ENDED = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited", "ncclRemoteError",
)  # fmt: skip
"""What gloo and NCCL say of a peer that is gone."""
KEEPS_GROUP = "torch.distributed.nn.functional"
"""Its functions' defaults are the group of the moment it is imported, which then lives on with its threads, and these
abort a process that ends; so it is imported while there is none."""
Value = TypeVar("Value")

_rank, _world, _alone = 0, 1, False
_store: Any = None


def rank() -> int:
    """This process's number, from 0; 0 is the main one, which writes."""
    return 0 if _alone else _rank


def world_size() -> int:
    """How many processes train together."""
    return 1 if _alone else _world


def is_main() -> bool:
    """Whether this process writes and speaks for all."""
    return rank() == 0


def start() -> None:
    """Join the processes that a launcher started, or a group that is there already; the second time does nothing.

    NCCL carries what lies on GPUs, gloo the rest.
    """
    global _rank, _world, _store
    if not dist.is_available():
        return
    if not dist.is_initialized() and launched() > 1:
        importlib.import_module(KEEPS_GROUP)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        store, number, count = next(rendezvous("env://", timeout=ARRIVAL))
        _store = PrefixStore(_agreed_name(store, number, count), store)
        dist.init_process_group(backend, store=_store, rank=number, world_size=count, timeout=TIMEOUT)
    if dist.is_initialized():
        _rank, _world = dist.get_rank(), dist.get_world_size()


def _agreed_name(store: Any, number: int, count: int) -> str:
    """A name that only these processes know, under which they find each other in the store.

    A launcher that starts processes anew may hand them the last ones' store, with addresses of the dead. So each says
    a new word, the main one answers to every word it hears, and goes on when all have thanked for its answer.
    """
    own, until = uuid.uuid4().hex, time.monotonic() + ARRIVAL.total_seconds()
    if number:
        store.set(f"word/{number}", own)
        name: str = store.get(f"answer/{own}").decode()  # waits
        store.set(f"thanks/{name}/{number}", "")
        return name
    missing = set(range(1, count))
    while missing:
        for other in sorted(missing):
            if store.check([f"word/{other}"]):
                store.set(f"answer/{store.get(f'word/{other}').decode()}", own)
            if store.check([f"thanks/{own}/{other}"]):
                missing.remove(other)
        if time.monotonic() > until:
            raise ImcswavError(f"Of {count} processes {len(missing)} haven't come; was each started with its RANK?")
        time.sleep(0.01)
    return own


def stop() -> None:
    """Leave the other processes in peace, at the end of work that went well."""
    global _rank, _world, _store
    if _world > 1 and dist.is_initialized():
        dist.destroy_process_group()
    _rank, _world, _store = 0, 1, None


def own_gpu() -> int:
    """Number of this process's GPU on its machine; raises ImcswavError where there are more processes than GPUs."""
    count = torch.cuda.device_count()
    number = int(os.environ.get("LOCAL_RANK", _rank % max(1, count)))
    if number >= count:
        raise ImcswavError(
            f"This machine has {count} GPUs and process {number + 1} has none left; start one process for each GPU, "
            f"or take --device cpu."
        )
    return number


def may_tell() -> bool:
    """Whether this process is the one that tells the user of an error: the first that asks, of all ranks."""
    if _store is None:
        return speaks()
    try:
        return bool(_store.compare_set("told", "", str(_rank)) == str(_rank).encode())
    except RuntimeError:  # the store has ended with the rank that told
        return False


def peer_lost(error: BaseException) -> bool:
    """Whether an error only says that another process has ended."""
    return _world > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in ENDED)


@contextmanager
def alone() -> Iterator[None]:
    """Within, this process is a world of its own: no collective waits for the others."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def others_wait() -> bool:
    """Whether this process is alone for a while, and others that it trains with wait for it."""
    return _alone and _world > 1


def shard(index_B: Tensor, rank: int, world: int) -> Tensor:
    """This rank's share of a global batch."""
    return index_B[rank::world]


def batch_sum(x: Tensor) -> Tensor:
    """Sum over all ranks of a tensor that is already summed over this rank's images; differentiable.

    Its gradient is summed over ranks too: that of the sum of all ranks' losses, of which DDP makes the mean's.
    """
    if world_size() == 1:
        return x
    total: Tensor = _Sum.apply(x)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return batch_sum(gradient)


def batch_mean(x: Tensor) -> Tensor:
    """Mean over all ranks of a tensor that is a mean over this rank's images; differentiable."""
    return x if world_size() == 1 else batch_sum(x) / world_size()


def batch_max(x: Tensor) -> Tensor:
    """Entrywise largest over all ranks of a tensor already maximised over this rank's images; no gradient."""
    if world_size() == 1:
        return x
    largest = x.detach().clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest


def batch_size(local: int) -> int:
    """Images in the global batch, given this rank's."""
    return local * world_size()


def by_rank(x: Tensor) -> Tensor:
    """The tensors of all ranks, of one shape, (R, *shape); no gradient."""
    x = x.detach().contiguous()
    found = [torch.empty_like(x) for _ in range(world_size())]
    if len(found) == 1:
        return x.unsqueeze(0)
    dist.all_gather(found, x)
    return torch.stack(found)


def whole_batch(x_B: Tensor) -> Tensor:
    """The rows of the global batch in its order, given this rank's; no gradient."""
    return x_B if world_size() == 1 else by_rank(x_B).transpose(0, 1).flatten(0, 1)


def own_rows(count: int) -> slice:
    """This rank's share of ``count`` rows that lie in order, to within one row the same for all."""
    return slice(count * rank() // world_size(), count * (rank() + 1) // world_size())


def all_rows(x: Tensor, count: int) -> Tensor:
    """All ``count`` rows on every rank, given those of ``own_rows``; no gradient."""
    if world_size() == 1:
        return x
    sizes = [high - low for low, high in pairwise(count * number // world_size() for number in range(world_size() + 1))]
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    return torch.cat([part[:size] for part, size in zip(by_rank(padded), sizes, strict=True)])


def from_main(value: Value) -> Value:
    """The main process's value, on all ranks."""
    if world_size() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def of_all(value: Value) -> list[Value]:
    """The values of all ranks, on each of them."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def from_main_tensor(x: Tensor) -> Tensor:
    """The main process's tensor, of the same shape on all ranks."""
    if world_size() > 1:
        x = x.detach().contiguous()
        dist.broadcast(x, src=0)
    return x
