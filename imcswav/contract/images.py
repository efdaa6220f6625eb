"""What data and views must do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from imcswav.contract.rules import (
    Check,
    build,
    pictures,
    require,
)
from imcswav.errors import DataError


def _data(config: Any, runtime: dict[str, Any]) -> None:
    if getattr(config, "download", False):
        config = config.model_copy(update={"download": False})  # a test fetches nothing
    try:
        facts = config.facts()
    except DataError:
        facts = None  # its source isn't on this machine
    if facts is None and not runtime:
        return
    data = build(config, runtime)
    known = data.facts
    require(facts is None or facts.images in (None, known.images), f"{known.images} images, not as promised")
    require(facts is None or (facts.channels, facts.size) == (known.channels, known.size), "shape not as promised")
    require(len(known.mean) == len(known.std) == known.channels, "mean and std need a value a channel")
    for split in filter(None, (data.train, data.test)):
        require(split.images.dtype == torch.uint8 and len(split.images.shape) == 4, "images must be uint8 (N, C, H, W)")
        require(len(split.names) == len(split), "names don't fit the images")
        require(
            split.labels is None or (split.labels.dtype, len(split.labels)) == (torch.int64, len(split)),
            "labels",
        )


def _viewer(config: Any, runtime: dict[str, Any]) -> tuple[Any, Tensor]:
    channels = runtime.get("channels", 3)
    views = build(config, runtime, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    return views, pictures(channels)


def _views(config: Any, runtime: dict[str, Any]) -> None:
    views, images_BCHW = _viewer(config, runtime)
    before = images_BCHW.clone()
    crops, channels = views(images_BCHW, 1), images_BCHW.shape[1]
    wanted = [(group.count, 4, channels, group.size, group.size) for group in config.groups()]
    require(
        [tuple(crop.shape) for crop in crops] == wanted,
        f"{[tuple(crop.shape) for crop in crops]}, not {wanted}",
    )
    require(all(crop.dtype == torch.float32 and bool(crop.isfinite().all()) for crop in crops), "finite float32")
    require(torch.equal(images_BCHW, before), "the images were changed")


def _views_seeded(config: Any, runtime: dict[str, Any]) -> None:
    views, images_BCHW = _viewer(config, runtime)
    state = torch.get_rng_state()
    first, again = views(images_BCHW, 1), views(images_BCHW, 1)
    require(torch.equal(torch.get_rng_state(), state), "the process's generator was used")
    require(all(map(torch.equal, first, again)), "the same seed gave other crops")
    others = images_BCHW.clone()
    others[2:] = 255 - others[2:]
    changed = views(others, 1)
    alike = all(torch.allclose(a[:, :2], b[:, :2], atol=1e-4) for a, b in zip(first, changed, strict=True))
    require(alike, "an image's crops depend on the other images of the batch")


def _views_whole(config: Any, runtime: dict[str, Any]) -> None:
    views, images_NCHW = _viewer(config, runtime)
    require(views.whole(images_NCHW).shape == images_NCHW.shape, "whole changes the shape")
    mild = views.mild(images_NCHW, 3)
    require(
        len(mild) == 3 and all(view.shape[:2] == images_NCHW.shape[:2] for view in mild),
        "mild gives other shapes",
    )
    require(all(map(torch.equal, mild, views.mild(images_NCHW, 3))), "mild differs from call to call")


CHECKS: dict[str, dict[str, Check]] = {
    "data": {"what is read is what facts() promised": _data},
    "views": {
        "crops as groups() says, float32 and finite": _views,
        "crops depend only on the seed and an image's place in the batch": _views_seeded,
        "whole and mild views keep images and channels": _views_whole,
    },
}
