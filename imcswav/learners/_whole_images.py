"""Whole images through a multi-view learner: features, clusters, and the rows of a head for all images."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imcswav.batchnorm import evaluating
from imcswav.data import Images, own_images
from imcswav.distributed import all_rows
from imcswav.learners import Embedding
from imcswav.learners._heads import float32, path, run_heads
from imcswav.step import split

if TYPE_CHECKING:
    from imcswav.learners.multiview import MultiView

EPOCH_BATCH = 500
"""Images at a time of what is computed for all of them between two epochs."""


def embed(net: MultiView, images_NCHW: Tensor, views: int) -> Embedding:
    """Backbone features and the assignment head's probabilities, averaged over mild views."""
    with torch.autocast(images_NCHW.device.type, enabled=False):  # resized as in training
        inputs = [net.views.whole(images_NCHW)] if views == 1 else net.views.mild(images_NCHW, views)
    features, probabilities = zip(*(_embed_one(net, x) for x in inputs), strict=True)
    mean = partial(torch.mean, dim=0)
    has_clusters = probabilities[0] is not None
    return Embedding(mean(torch.stack(features)), mean(torch.stack(probabilities)) if has_clusters else None)


def copy_clusters(net: MultiView, images_NCHW: Tensor) -> Tensor | None:
    """The largest logit of each copy of the assignment head, the chosen copy in front."""
    heads = net.network(net.branch)[1]
    if net.head not in heads:
        return None
    head: Any = heads[net.head]
    if head.copies == 1:
        return None
    with torch.autocast(images_NCHW.device.type, enabled=False):
        x_NCHW = net.views.whole(images_NCHW)
    rows_NEK = _all_rows(net, x_NCHW, net.branch, net.head)[net.head]
    by_loss_E = head.copy_losses.argsort(stable=True)
    return rows_NEK.argmax(-1).index_select(1, by_loss_E)


@torch.no_grad()
def outputs(net: MultiView, images: Images, name: str) -> Tensor:
    """Rows (N, D) of a head for all whole images, by the running statistics of batch norm."""
    branch, head = split(name)
    device = next(net.parameters()).device
    parts = []
    with evaluating(net):
        for batch in own_images(images, EPOCH_BATCH):
            with torch.autocast(device.type, enabled=False):
                x_NCHW = net.views.whole(batch.to(device))
            parts.append(_rows(net, x_NCHW, branch, head)[head].float())
    return all_rows(torch.cat(parts), len(images))


def _embed_one(net: MultiView, x_NCHW: Tensor) -> tuple[Tensor, Tensor | None]:
    rows = _rows(net, x_NCHW, net.branch, net.head)
    return rows["features"], rows[net.head].float().softmax(-1) if net.head in net.heads else None


def _rows(net: MultiView, x_NCHW: Tensor, branch: str, head: str) -> dict[str, Tensor]:
    """As ``_all_rows``, but of a head with copies those of the chosen one."""
    rows, heads = _all_rows(net, x_NCHW, branch, head), net.network(branch)[1]
    if head in heads:
        last: Any = heads[head]
        rows[head] = last.chosen(rows[head])
    return rows


def _all_rows(net: MultiView, x_NCHW: Tensor, branch: str, head: str) -> dict[str, Tensor]:
    """Features of normalised images and, where there is such a head, the rows on the way to it."""
    backbone, heads = net.network(branch)
    rows = {"features": float32(backbone(x_NCHW.contiguous(memory_format=net.memory_format)))}
    return run_heads(heads, rows, path(net.config.heads, head))
