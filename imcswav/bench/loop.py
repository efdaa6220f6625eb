"""The yardstick of ``imcswav bench --against loop``: IMC-SwAV's training step in its plainest form.

Frozen. It is written to be read, and compared with: images go through Pillow and torchvision one by one, every
crop passes through the encoder alone, mutual information is taken pair by pair, each swapped prediction has its own
log-softmax, and everything is float32. Making it faster, or tidier, would change the meaning of every ratio that has
been published against it; mend it only if it is wrong.

Methods: SwAV (Caron et al., 2020, arXiv 2006.09882), IMC-SwAV (Ntelemis et al., 2021, arXiv 2103.07368).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

TINY = torch.finfo(torch.float32).tiny


def pictures(images_NCHW: Tensor) -> list[Image.Image]:
    """Pillow images of uint8 tensors with three channels."""
    return [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in images_NCHW.cpu()]


class Augmentation:
    """Random crops of one Pillow image: ``settings`` are those of the views 'multicrop'."""

    def __init__(self, settings: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        jitter = transforms.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue)
        self.groups = []
        for crop in settings.crops:
            pipeline = transforms.Compose(
                [
                    transforms.RandomHorizontalFlip(settings.flip),
                    transforms.RandomResizedCrop(crop.size, scale=crop.scale, ratio=settings.ratio),
                    transforms.RandomApply([jitter], p=settings.jitter),
                    transforms.RandomGrayscale(settings.grey),
                    transforms.ToTensor(),
                    transforms.Normalize(mean, std),
                ]
            )
            self.groups.append((pipeline, crop.count))

    def __call__(self, picture: Image.Image) -> list[Tensor]:
        """One tensor (v, C, S, S) for each group of crops."""
        return [torch.stack([pipeline(picture) for _ in range(count)]) for pipeline, count in self.groups]


class Crops(Dataset[list[Tensor]]):
    """The crops of each image."""

    def __init__(self, images: list[Image.Image], augmentation: Augmentation) -> None:
        self.images, self.augmentation = images, augmentation

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> list[Tensor]:
        return self.augmentation(self.images[place])


def loader(images: list[Image.Image], augmentation: Augmentation, batch_size: int, workers: int) -> DataLoader[Any]:
    """Shuffled batches, one tensor (B, v, C, S, S) for each group, made in worker processes."""
    crops = Crops(images, augmentation)
    return DataLoader(crops, batch_size, shuffle=True, num_workers=workers, drop_last=True)


def step(network: Any, crops: list[Tensor]) -> dict[str, Tensor]:
    """The losses of one batch, crops (v, B, C, S, S) for each group; the first group holds the global views."""
    outputs = {"features": [network.backbone(view_BCSS) for group in crops for view_BCSS in group]}
    for name in network.order:
        head = network.heads[name]
        inputs = outputs[head.config.input]
        outputs[name] = [head(x.detach()) if head.config.detach else head(x) for x in inputs]
    losses = {}
    for loss in network.losses:
        settings = loss.config
        if loss.name == "swav":
            losses["swav"] = swapped_prediction(outputs[settings.scores], len(crops[0]), settings)
        else:
            losses["imc"] = information(outputs[settings.logits], outputs[settings.scores], settings)
    weights = {loss.name: loss.config.weight for loss in network.losses}
    return {"loss": sum((weights[name] * value for name, value in losses.items()), torch.zeros(())), **losses}


def swapped_prediction(scores: list[Tensor], global_views: int, settings: Any) -> Tensor:
    """SwAV: each global view's code is predicted from every other view; scores (B, P) of each view."""
    terms = []
    for i in range(global_views):
        with torch.no_grad():
            codes_BP = sinkhorn(scores[i], settings.solver.epsilon, settings.solver.iterations)
        for v in range(len(scores)):
            if v != i:
                predictions_BP = F.log_softmax(scores[v] / settings.temperature, dim=1)
                terms.append(-(codes_BP * predictions_BP).sum(1).mean())
    return torch.stack(terms).mean()


def sinkhorn(scores_BP: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes (B, P) of one view; prototypes and images are scaled in turn."""
    Q_PB = torch.exp(scores_BP / epsilon).T
    Q_PB = Q_PB / Q_PB.sum()
    prototypes, images = Q_PB.shape
    for _ in range(iterations):
        Q_PB = Q_PB / Q_PB.sum(1, keepdim=True) / prototypes
        Q_PB = Q_PB / Q_PB.sum(0, keepdim=True) / images
    return (Q_PB * images).T


def information(logits: list[Tensor], scores: list[Tensor], settings: Any) -> Tensor:
    """IMC: mutual information of every pair of views, and a penalty on large logits (B, K)."""
    pairs = []
    for y_BK in logits:
        for u_BP in scores:
            clusters_BK = y_BK.softmax(1)
            prototypes_BP = (u_BP.detach() / settings.temperature).softmax(1)
            J_KP = clusters_BK.T @ prototypes_BP
            J_KP = (J_KP / J_KP.sum()).clamp(min=TINY)
            y_K1, u_1P = J_KP.sum(1, keepdim=True), J_KP.sum(0, keepdim=True)
            conditional = -(J_KP * torch.log(J_KP / u_1P)).sum()
            pairs.append(conditional + settings.entropy_weight * (y_K1 * torch.log(y_K1)).sum())
    excess = [F.relu(y_BK.abs() - settings.threshold).sum(1).mean() for y_BK in logits]
    total: Tensor = torch.stack(pairs).mean() + settings.penalty * torch.stack(excess).mean()
    return total


def running_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Running means and variances of the batch-norm layers, by name."""
    return {name: value for name, value in network.named_buffers() if "running_" in name}
