"""Many heads on ready features, the one with the least loss kept (TEMI, arXiv 2303.17896)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from imcswav.clusterers import Array, Clusterer, unit_rows
from imcswav.clusterers._heads import Heads
from imcswav.clusterers._modules import OneHead
from imcswav.clusterers._multi_head import Settings, Training
from imcswav.devices import pick_device
from imcswav.plugins import hookimpl
from imcswav.progress import stage

CHUNK = 10_000
"""Images that get their probabilities at a time."""


class MultiHead(Clusterer, name="multi_head"):
    """Heads that give an image and its nearest neighbours the same cluster, trained on features that stay as they are.

    Student heads and teacher heads, which follow them, minimise the loss `wpmi` over pairs of an image and one of its
    nearest neighbours (Adaloglou, Michels, Kalisch & Kollmann 2023). Unlike there each head first learns a k-means of
    its own, by cross-entropy; the starts differ in their draws and in how far features are averaged over neighbours.
    The least mean loss over the last fifth of the steps decides which head is kept. The same seed gives the same
    clusters on a CPU with the same number of threads.

    Features are scaled to length 1, centred, and divided by one number. A cluster can stay empty.
    """

    class Config(Settings):
        normalize: bool = True
        """Scale features to length 1 first; false for tables whose rows' lengths mean something."""
        device: str = "auto"
        """Where to train: "auto" is CUDA, else the CPU. Prediction is on the CPU."""

    config: Config

    def fit(self, features_NF: Array) -> Array:
        """Labels (N,); raises DataError for fewer images than clusters, for NaN, and where no head's loss is finite."""
        rows_NF = self._rows(features_NF, fitting=True)
        mean_F = rows_NF.mean(0)
        scale = max(float(np.sqrt(np.square(rows_NF - mean_F).mean())), np.finfo(np.float32).tiny ** 0.5)
        frame = {"mean": torch.from_numpy(mean_F), "scale": torch.tensor(scale, dtype=torch.float64)}
        # whatever mode the caller is in, heads need gradients and full precision
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self._device.type, enabled=False):
            x_NF = torch.from_numpy((rows_NF - mean_F) / scale).float().to(self._device)
            training = Training(x_NF, self.clusters, self.seed, self.config)
            with stage("Heads", total=self.config.steps) as advance:
                for _ in training:
                    advance()
            self.state = frame | training.heads.state(training.best())
        return np.asarray(self.predict_proba(features_NF).argmax(1))

    def predict_proba(self, features_NF: Array) -> Array:
        """softmax(cos / temperature) of the head that was kept (N, K), in float64."""
        rows_NF = self._rows(features_NF)
        weights = {name: value.double() for name, value in self.state.items() if name not in ("mean", "scale")}
        head, parts = Heads.restore(weights), []
        mean_F, scale = self.state["mean"].numpy(), self.state["scale"].item()
        with torch.no_grad():
            for start in range(0, len(rows_NF), CHUNK):
                x_MF = torch.from_numpy((rows_NF[start : start + CHUNK] - mean_F) / scale)
                parts.append((head(x_MF).squeeze(1) / self.config.temperature).softmax(1).numpy())
        return np.concatenate(parts) if parts else np.empty((0, self.clusters))

    def module(self) -> nn.Module:
        """The head that was kept."""
        return OneHead(self.state, self.config.temperature, normalize=self.config.normalize)

    @property
    def _device(self) -> torch.device:
        if self.config.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return pick_device(self.config.device)

    def _rows(self, features_NF: Array, fitting: bool = False) -> Array:
        """Checked, in float64, of length 1 where so set."""
        features_NF = self.checked(features_NF, fitting=fitting).astype(np.float64)
        return unit_rows(features_NF) if self.config.normalize else features_NF


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [MultiHead]
