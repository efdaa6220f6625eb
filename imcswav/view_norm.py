"""Batch norm of each view apart, written out: in channels-last memory, and over the processes that share a batch.

In that memory views and channels aren't side by side, so torch's own batch norm can't take them for more channels;
torch.compile fuses this one. Of torch's own layers none shares statistics on the CPU, nor view by view.
The gradient is in closed form (Ioffe & Szegedy 2015, arXiv 1502.03167, section 3): one pass over the two sums and one
over the result, where automatic differentiation of mean and variance would take several.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imcswav.distributed import batch_size, batch_sum, by_rank, world_size


class ViewNorm(torch.autograd.Function):
    """(B·V, C, …) image-major, weight and bias (C) → normalised, means (V, C), biased variances (V, C).

    Means and variances carry no gradient; they, and the gradient's sums, are over the images of all ranks, which hold
    equally many. Sums are in float32 at least.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, views: int, eps: float) -> tuple[Tensor, ...]:
        """As `torch.nn.functional.batch_norm` in training, for each view.

        Both sums in one pass over the distances from a channel's first number, whose squares lose few digits to a large
        mean; `torch.var_mean` corrects its mean with each number, which takes a GPU longer.
        """
        wide = _wide(x, views)
        shift = _channels(wide[0].reshape(*wide.shape[1:3], -1)[..., 0], wide)
        offset = (wide - shift).mean(_over(wide), keepdim=True)
        variance = (wide - shift).square().mean(_over(wide), keepdim=True).sub(offset.square()).clamp_min(0)
        mean = offset + shift
        if world_size() > 1:
            mean, variance = _pooled(mean, variance)
        scale = (variance + eps).rsqrt()
        y = (wide - mean) * (scale * _channels(weight, wide)) + _channels(bias, wide)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.views = views
        means_VC, variances_VC = mean.flatten(0, 1).flatten(1), variance.flatten(0, 1).flatten(1)
        ctx.mark_non_differentiable(means_VC, variances_VC)
        # not a view to autograd: the ReLU that follows in place would else copy its way through the backward pass
        return torch.ops.aten._unsafe_view(y.to(x.dtype), x.shape), means_VC, variances_VC

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With x̂ the normalised input: dx = scale·w·(dy − mean dy − x̂·mean(dy·x̂))."""
        x, weight, mean, scale = ctx.saved_tensors
        dy, unit = _wide(gradients[0], ctx.views), (_wide(x, ctx.views) - mean) * scale
        count = batch_size(x.numel() // mean.numel())
        dbias, dweight = dy.sum(_over(dy), keepdim=True), (dy * unit).sum(_over(dy), keepdim=True)
        # weight and bias get this rank's sums: averaging over ranks comes after, as for every parameter
        sums = [total.sum(1).flatten().to(weight.dtype) for total in (dweight, dbias)]
        if world_size() > 1:
            dbias, dweight = batch_sum(torch.stack([dbias, dweight])).unbind()
        dx = (dy - dbias / count - unit * (dweight / count)) * (scale * _channels(weight, dy))
        return torch.ops.aten._unsafe_view(dx.to(x.dtype), x.shape), *sums, None, None


def _over(wide: Tensor) -> tuple[int, ...]:
    """Dimensions of (B, V, C, …) that a view's statistics are taken over."""
    return (0, *range(3, wide.ndim))


def _channels(values: Tensor, wide: Tensor) -> Tensor:
    """A value a channel, or a view and channel, in a shape that goes with (B, V, C, …)."""
    return values.reshape(*values.shape, *[1] * (wide.ndim - 3))


def _pooled(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over all ranks; from theirs, not from sums of squares, whose difference loses digits."""
    means_R, variances_R = by_rank(torch.stack([mean, variance])).unbind(1)
    pooled = means_R.mean(0)
    return pooled, (variances_R + (means_R - pooled).square()).mean(0)


def _wide(x: Tensor, views: int) -> Tensor:
    wide: Tensor = x.unflatten(0, (-1, views)).to(torch.promote_types(x.dtype, torch.float32))
    return wide
