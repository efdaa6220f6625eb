"""Batch norm of each view apart in channels-last memory, written out for torch.compile to fuse.

There views and channels aren't side by side in memory, so torch's own batch norm can't take them for more channels.
The gradient is in closed form (Ioffe & Szegedy 2015, arXiv 1502.03167, section 3): one pass over the two sums and one
over the result, where automatic differentiation of mean and variance would take several.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

OVER = (0, 3, 4)
"""Dimensions of (B, V, C, H, W) that a view's statistics are taken over."""


class ViewNorm(torch.autograd.Function):
    """(B·V, C, H, W) image-major, weight and bias (C) → normalised, means (V, C), biased variances (V, C).

    Means and variances carry no gradient. Sums are in float32 at least.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, views: int, eps: float) -> tuple[Tensor, ...]:
        """As `torch.nn.functional.batch_norm` in training, for each view."""
        wide = _wide(x, views)
        variance, mean = torch.var_mean(wide, OVER, correction=0, keepdim=True)
        scale = (variance + eps).rsqrt()
        y = (wide - mean) * (scale * weight[:, None, None]) + bias[:, None, None]
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
        count = x.numel() // mean.numel()
        dbias, dweight = dy.sum(OVER, keepdim=True), (dy * unit).sum(OVER, keepdim=True)
        dx = (dy - dbias / count - unit * (dweight / count)) * (scale * weight[:, None, None])
        sums = [total.sum(1).flatten().to(weight.dtype) for total in (dweight, dbias)]
        return torch.ops.aten._unsafe_view(dx.to(x.dtype), x.shape), *sums, None, None


def _wide(x: Tensor, views: int) -> Tensor:
    wide: Tensor = x.unflatten(0, (-1, views)).to(torch.promote_types(x.dtype, torch.float32))
    return wide
