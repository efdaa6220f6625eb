"""Multi-crop with a patch of each crop blotted out (Zhong et al., Random Erasing, 2017, arXiv 1708.04896)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from imcswav.augment.draws import uniform
from imcswav.distributed import rank, world_size
from imcswav.plugins import hookimpl
from imcswav.views.multicrop import MultiCrop


class Mine(MultiCrop, name="mine"):
    """The crops of multicrop, with all its settings; then a square patch of some is set to the mean colour."""

    class Config(MultiCrop.Config):
        erase: float = Field(0.5, ge=0, le=1)
        """Probability that a crop loses a patch."""
        patch: float = Field(0.3, gt=0, le=1)
        """Side of the patch as a share of the crop's."""

    config: Config

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, seed: int | Tensor) -> list[Tensor]:
        """One tensor (v, B, C, s, s) for each entry of ``crops``, float32, normalised."""
        crops = super().__call__(images_BCHW, seed)
        return [self._blot(x_vBCss, seed, stream) for stream, x_vBCss in enumerate(crops, start=2 * len(crops))]

    def _blot(self, x_vBCss: Tensor, seed: int | Tensor, stream: int) -> Tensor:
        """0 is the mean, for crops are normalised. Draws hang on the seed and an image's place in the global batch."""
        views, images, _, size, _ = x_vBCss.shape
        places_B = torch.arange(images, device=x_vBCss.device) * world_size() + rank()  # each rank draws its own
        on_vB, top_vB, left_vB = uniform(seed, stream, places_B, views, 3).transpose(1, 2)
        side = self.config.patch * size
        pixels_s = torch.arange(size, device=x_vBCss.device)
        rows_vBs, columns_vBs = (
            (pixels_s >= (start * (size - side)).unsqueeze(-1))
            & (pixels_s < (start * (size - side) + side).unsqueeze(-1))
            for start in (top_vB, left_vB)
        )
        chosen_vB11 = (on_vB < self.config.erase)[..., None, None]
        patch_vBss = chosen_vB11 & rows_vBs.unsqueeze(-1) & columns_vBs.unsqueeze(-2)
        return x_vBCss.masked_fill(patch_vBss.unsqueeze(2), 0.0)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [Mine]
