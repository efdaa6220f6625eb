"""Mixtures whose number of groups is known."""

import numpy as np

WIDTHS = (16, 32, 48, 64)
GAP = 4.0
"""Standard deviations, along the line that joins them, between the centres of the two nearest groups: 2.3 % of each lie
beyond the middle."""


def planted(groups, seed, images=2000, gap=GAP):
    """Features (N, F) and groups (N,): Gaussians of unequal sizes and shapes, F drawn from ``WIDTHS``.

    The least group has at least 0.4 / groups of the images. Each has axes of its own, whose lengths are lognormal with
    0.3: the longest is about four times the shortest. Centres are Gaussian, scaled so that the nearest two are ``gap``
    apart.
    """
    rng = np.random.default_rng([groups, seed])
    width = int(rng.choice(WIDTHS))
    shares_G = np.maximum(rng.dirichlet(np.full(groups, 5.0)), 0.4 / groups)
    groups_N = rng.choice(groups, images, p=shares_G / shares_G.sum())
    centres_GF = rng.normal(size=(groups, width))
    shapes = [_axes(width, rng) * np.exp(rng.normal(0, 0.3, width)) for _ in range(groups)]
    centres_GF *= gap / _nearest(centres_GF, shapes)
    noise_NF = rng.normal(size=(images, width))
    features_NF = np.stack([centres_GF[g] + shapes[g] @ row_F for g, row_F in zip(groups_N, noise_NF, strict=True)])
    return features_NF, groups_N


def blob(width, seed, images=1000):
    """One Gaussian group (N, F), longer along some axes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(images, width)) * np.exp(rng.normal(size=width) / 2)


def _axes(width, rng):
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def _nearest(centres_GF, shapes):
    least = np.inf
    for a in range(len(centres_GF)):
        for b in range(a):
            line_F = centres_GF[a] - centres_GF[b]
            length = np.linalg.norm(line_F)
            spread = sum(np.linalg.norm(shapes[g].T @ line_F) / length for g in (a, b)) / 2
            least = min(least, length / spread)
    return least
