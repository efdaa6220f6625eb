"""A multi-layer perceptron: projections, predictors and classifiers."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field
from torch import Tensor, nn

from imcswav.heads import Head
from imcswav.plugins import hookimpl

Width = Annotated[int, Field(ge=1)]
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class MLP(Head, name="mlp"):
    """Hidden layers of Linear, norm and activation, then a plain Linear; PyTorch's default initialisation."""

    class Config(Head.Config):
        hidden: list[Width] = []
        """Widths of the hidden layers; none gives a single Linear."""
        width: Width | Literal["clusters"]
        """Width of the output; "clusters" is K."""
        norm: Literal["batch", "none"] = "none"
        """Normalisation after each hidden Linear."""
        activation: Literal["relu", "gelu", "none"] | None = None
        """After each hidden layer. Unset: ReLU behind a batch norm, none without one (IMC-SwAV's
        projection)."""
        bias: bool = True
        """Whether the Linear layers have a bias."""
        noise: float = Field(0.0, ge=0)
        """Standard deviation of Gaussian noise on the input in training, as before ProPos' predictor."""
        normalize: bool = False
        """Scale each output row to length 1."""

        def out_features(self, in_features: int, clusters: int) -> int:
            """``width``, or K."""
            return clusters if self.width == "clusters" else self.width

    config: Config

    def __init__(self, config: Config, *, in_features: int, clusters: int) -> None:
        super().__init__(config, in_features=in_features, clusters=clusters)
        layers: list[nn.Module] = []
        activation = config.activation or ("relu" if config.norm == "batch" else "none")
        width = in_features
        for wanted in config.hidden:
            layers.append(nn.Linear(width, wanted, bias=config.bias))
            if config.norm == "batch":
                layers.append(nn.BatchNorm1d(wanted))
            if activation != "none":
                layers.append(ACTIVATIONS[activation]())
            width = wanted
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.out_features, bias=config.bias))

    def forward(self, x_MF: Tensor) -> Tensor:
        """Rows (M, in_features) to rows (M, out_features)."""
        if self.training and self.config.noise:
            x_MF = x_MF + torch.randn_like(x_MF) * self.config.noise
        x_MD: Tensor = self.layers(x_MF)
        return F.normalize(x_MD, dim=-1) if self.config.normalize else x_MD


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [MLP]
