"""What a piece of work asks of the machine, counted instead of timed: the same on every machine and in every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

ALIASES = frozenset({"_unsafe_view", "_reshape_alias", "alias", "detach", "lift_fresh"})
"""Operators that launch nothing although their schema doesn't call them views."""
WAITS = frozenset(
    {
        "_local_scalar_dense", "nonzero", "nonzero_static", "masked_select", "is_nonzero", "equal", "bincount",
        "_unique2", "unique_dim", "unique_consecutive",
        "lift_fresh",  # torch.tensor(numbers): made on the host, then copied
    }
)  # fmt: skip
"""Operators for which the host waits for a GPU, be it for a value or for the size of the result."""
READS = frozenset({"cpu", "numpy", "tolist", "__array__"})
"""Methods that hand values to the host, and which on a CPU no operator gives away."""


@dataclass
class Counts:
    """``launched`` operators by name, views and aliases left out; ``views`` how many of those there were.

    ``waits``: what would make the host wait for a GPU, by name. ``custom``: operators that are not torch's own.
    ``saved``: bytes kept for backward, each storage counted once.
    """

    launched: Counter[str] = field(default_factory=Counter)
    views: int = 0
    waits: Counter[str] = field(default_factory=Counter)
    custom: set[str] = field(default_factory=set)
    saved: int = 0

    @property
    def operations(self) -> int:
        """How many operators were launched."""
        return self.launched.total()


def count(work: Callable[[], Any], own: Iterable[Tensor] = ()) -> Counts:
    """Run ``work`` once, eagerly, and count; memory of ``own`` is not counted as saved: see ``owned``."""
    counts = Counts()
    spared = {tensor.untyped_storage().data_ptr() for tensor in own}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps addresses from being used again

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in spared:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), _Calls(counts), _Operators(counts):
        work()
    counts.saved = sum(storage.nbytes() for storage in kept.values())
    return counts


def owned(module: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """What is there with or without a step: parameters, buffers, and the step's inputs."""
    return [*module.parameters(), *module.buffers(), *inputs]


def floating_point_operations(work: Callable[[], Any]) -> int:
    """Of the matrix products and convolutions that ``work`` does: two for each product."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


class _Operators(TorchDispatchMode):
    """Sees every operator, those of the backward pass too."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if func.is_view or name in ALIASES:
            self.counts.views += 1
        else:
            self.counts.launched[name] += 1
        if func.namespace not in ("aten", "prims", "prim"):
            self.counts.custom.add(str(func))
        if name in WAITS or _chooses_by_mask(name, args) or _crosses(name, args, kwargs):
            self.counts.waits[name] += 1
        return func(*args, **kwargs)


class _Calls(TorchFunctionMode):
    """Sees calls from Python, before they become operators."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in READS:
            self.counts.waits[name] += 1
        return func(*args, **kwargs or {})


def _chooses_by_mask(name: str, args: Any) -> bool:
    """Indexing with a mask: how many entries it has is known on the device only."""
    if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _crosses(name: str, args: Any, kwargs: Any) -> bool:
    """A copy between host and device that isn't asked to go on in the background."""
    if name == "_to_copy":
        target = kwargs.get("device")
        return target is not None and _other_side(target, args[0].device) and not kwargs.get("non_blocking")
    if name == "copy_":
        return _other_side(args[0].device, args[1].device) and not (len(args) > 2 and args[2])
    return False


def _other_side(one: torch.device, other: torch.device) -> bool:
    return (one.type == "cpu") != (other.type == "cpu")
