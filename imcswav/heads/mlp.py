"""A multi-layer perceptron: projections, predictors and classifiers."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from pydantic import Field
from torch import Tensor, nn

from imcswav.heads import Head
from imcswav.plugins import hookimpl

Width = Annotated[int, Field(ge=1)]
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class MLP(Head, name="mlp"):
    """Hidden layers of Linear, norm and activation, then a plain Linear; PyTorch's default initialisation.

    Under autocast the hidden layers compute in half precision and the last one in float32.
    """

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
        copies: int = Field(1, ge=1)
        """E, so many networks of this shape with random weights of their own are trained at once, each as if it were
        alone; the one whose own loss has the lowest running mean is used. What reads the head has to take copies, as
        the losses `imc` and `wpmi` do. Without ``detach``, what lies below gets the sum of their gradients;
        ``trainer.clip_gradient`` takes one norm over all copies, the optimizer ``lars`` one trust ratio."""

        def out_features(self, in_features: int, clusters: int) -> int:
            """``width``, or K."""
            return clusters if self.width == "clusters" else self.width

        def copy_count(self) -> int:
            """``copies``."""
            return self.copies

    mixed_precision = True
    config: Config

    def __init__(self, config: Config, *, in_features: int, clusters: int) -> None:
        super().__init__(config, in_features=in_features, clusters=clusters)
        layers: list[nn.Module] = []
        activation = config.activation or ("relu" if config.norm == "batch" else "none")
        width = in_features
        for wanted in config.hidden:
            layers.append(self._linear(width, wanted, first=not layers))
            if config.norm == "batch":
                layers.append(nn.BatchNorm1d(self.copies * wanted))
            if activation != "none":
                layers.append(ACTIVATIONS[activation]())
            width = wanted
        self.layers = nn.Sequential(*layers, self._linear(width, self.out_features, first=not layers))

    def _linear(self, in_features: int, out_features: int, first: bool) -> nn.Module:
        """A layer of all copies, whose channels lie side by side; the first one has the same input for all."""
        if first or self.copies == 1:
            return nn.Linear(in_features, self.copies * out_features, bias=self.config.bias)
        return CopiedLinear(self.copies, in_features, out_features, bias=self.config.bias)

    def forward(self, x_MF: Tensor) -> Tensor:
        """Rows (M, in_features) to rows (M, out_features), or (M, E, out_features) of several copies."""
        if self.training and self.config.noise:
            x_MF = x_MF + torch.randn_like(x_MF) * self.config.noise
        last: Any
        *hidden, last = self.layers
        for layer in hidden:
            x_MF = layer(x_MF)
        with torch.autocast(x_MF.device.type, enabled=False):  # logits and embeddings keep all their digits
            x_MD: Tensor = last(x_MF.to(last.weight.dtype))
        if self.copies > 1:
            x_MD = x_MD.unflatten(-1, (self.copies, -1))
        return F.normalize(x_MD, dim=-1) if self.config.normalize else x_MD


class CopiedLinear(nn.Module):
    """E Linear layers in one batched product: rows (M, E · in_features), copy after copy, to (M, E · out_features).

    Initialised as E layers of PyTorch's. The bias is flat, so that whoever spares biases from decay knows it for one.
    """

    def __init__(self, copies: int, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(copies, out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies * out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, rows: Tensor) -> Tensor:
        """Each copy's rows by its own weights."""
        copies = len(self.weight)
        x_EMI = rows.unflatten(-1, (copies, -1)).transpose(0, 1)
        if self.bias is None:
            y_EMO = torch.bmm(x_EMI, self.weight.mT)
        else:
            y_EMO = torch.baddbmm(self.bias.view(copies, 1, -1), x_EMI, self.weight.mT)
        return y_EMO.transpose(0, 1).flatten(1)


@hookimpl
def imcswav_components() -> list[type]:
    """What this module offers."""
    return [MLP]
