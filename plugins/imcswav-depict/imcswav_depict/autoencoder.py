"""The convolutional autoencoder, with every layer's output in reach: they are what is reconstructed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 -- the name everybody uses
from torch import Tensor, nn

from imcswav.augment.draws import uniform

SLOPE = 0.01
"""Of the leaky ReLUs, as in the authors' program."""
Noise = Callable[[Tensor, int], Tensor]
"""What is done to the input of layer l = 0, 1, …; layer 0's is the image."""


class Autoencoder(nn.Module):
    """Strided convolutions and a linear layer with tanh to codes (N, F) in (−1, 1), and the same way back.

    Images are (N, C, S, S) in [−1, 1]; every convolution halves their side. ``channels`` are those of the convolutions.
    """

    def __init__(self, inputs: int, size: int, channels: Sequence[int], kernel: int, features: int) -> None:
        super().__init__()
        padding = (kernel - 1) // 2
        widths, sides = [inputs, *channels], [size]
        for _ in channels:
            sides.append((sides[-1] + 2 * padding - kernel) // 2 + 1)
        self.sides, self.shape = sides, (widths[-1], sides[-1], sides[-1])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, kernel, stride=2, padding=padding) for a, b in pairs)
        self.code = nn.Linear(math.prod(self.shape), features)
        self.decode = nn.Linear(features, math.prod(self.shape))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, kernel, stride=2, padding=padding) for a, b in pairs)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Codes (N, F) of the clean path."""
        return self.encode(x_NCHW)[1]

    def encode(self, x_NCHW: Tensor, noise: Noise | None = None) -> tuple[list[Tensor], Tensor]:
        """Image and hidden layers, each with the noise that the next layer sees, and the code (N, F)."""
        seen = [x_NCHW if noise is None else noise(x_NCHW, 0)]
        for layer, conv in enumerate(self.down, start=1):
            hidden = F.leaky_relu(conv(seen[-1]), SLOPE)
            seen.append(hidden if noise is None else noise(hidden, layer))
        return seen, self.code(seen[-1].flatten(1)).tanh()

    def drawn(self, code_NF: Tensor) -> list[Tensor]:
        """The reconstruction of the image and of each hidden layer, in the encoder's order."""
        layers = [F.leaky_relu(self.decode(code_NF), SLOPE).unflatten(1, self.shape)]
        for number in reversed(range(len(self.up))):
            raw = self.up[number](layers[0], output_size=[self.sides[number]] * 2)
            layers.insert(0, F.leaky_relu(raw, SLOPE) if number else raw.tanh())
        return layers


def dropout(rates: Sequence[float], seed: int | Tensor, index_B: Tensor) -> Noise:
    """Dropout with a rate a layer; the draws hang on the step's seed and the image's place among all alone."""

    def noise(x: Tensor, layer: int) -> Tensor:
        if not rates[layer]:
            return x
        u_JB1 = uniform(seed, layer, index_B, 1, x[0].numel())
        keep = u_JB1[..., 0].T.reshape(x.shape) >= rates[layer]
        return x * keep / (1 - rates[layer])

    return noise


def layer_errors(targets: Sequence[Tensor], drawn: Sequence[Tensor]) -> list[Tensor]:
    """Mean squared error of each layer, an image each (B,), in float32 at least."""
    pairs = [(a.to(torch.promote_types(a.dtype, torch.float32)), b) for a, b in zip(targets, drawn, strict=True)]
    return [(a - b).square().flatten(1).mean(1) for a, b in pairs]
