"""The formulas again, in float64, one row and one cluster at a time."""

import math

import numpy as np


def neighbor_matrix(x, count):
    """W: 1 for each row's nearest other rows."""
    w = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        order = sorted((j for j in range(len(x)) if j != i), key=lambda j: float(((x[i] - x[j]) ** 2).sum()))
        for j in order[:count]:
            w[i, j] = 1
    return w


def variance(x, w):
    """σ² of the modes."""
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            total += w[i, j] * ((x[i] - x[j]) ** 2).sum()
    return total / (5 * len(x))


def costs(x, prototypes, sigma2=None):
    a = np.zeros((len(x), len(prototypes)))
    for i in range(len(x)):
        for k in range(len(prototypes)):
            square = ((x[i] - prototypes[k]) ** 2).sum()
            a[i, k] = square if sigma2 is None else -math.exp(-square / (2 * sigma2))
    return a


def energy(a, z, w, weight):
    total = 0.0
    for i in range(len(z)):
        for k in range(z.shape[1]):
            total += z[i, k] * a[i, k] + (z[i, k] * math.log(z[i, k]) if z[i, k] > 0 else 0.0)
            for j in range(len(z)):
                total -= weight / 2 * w[i, j] * z[i, k] * z[j, k]
    return total


def softmax(row):
    raised = [math.exp(value - max(row)) for value in row]
    return [value / sum(raised) for value in raised]


def memberships(a, w, weight, known, updates=2000):
    z = np.array([softmax(-row) for row in a])
    for _ in range(updates):
        for i, label in known.items():
            z[i] = np.eye(a.shape[1])[label]
        z = np.array([softmax(-a[i] + weight * sum(w[i, j] * z[j] for j in range(len(a)))) for i in range(len(a))])
    for i, label in known.items():
        z[i] = np.eye(a.shape[1])[label]
    return z


def mode(x, start, sigma2):
    """By mean-shift."""
    for _ in range(2000):
        weights = [math.exp(-((row - start) ** 2).sum() / (2 * sigma2)) for row in x]
        start = sum(weight * row for weight, row in zip(weights, x, strict=True)) / sum(weights)
    return start


def cluster(x, prototypes, w, weight, known, clamp=True, modes=False, rounds=30, updates=100):
    """Labels and prototypes after ``rounds``, far more than are needed."""
    sigma2 = variance(x, w) if modes else None
    labels = [known.get(i, int(row.argmin())) for i, row in enumerate(costs(x, prototypes))]
    for _ in range(rounds):
        for k in range(len(prototypes)):
            members = [row for row, label in zip(x, labels, strict=True) if label == k]
            if members:
                prototypes[k] = mode(members, prototypes[k], sigma2) if modes else sum(members) / len(members)
        z = memberships(costs(x, prototypes, sigma2), w, weight, known if clamp else {}, updates)
        before, labels = labels, [int(row.argmax()) for row in z]
        if labels == before:
            break
    return labels, prototypes, z
