"""The formulas again, in float64, one number at a time."""

import math

import numpy as np


def softmax(row):
    raised = [math.exp(value - max(row)) for value in row]
    return [value / sum(raised) for value in raised]


def targets(logits, power, frequency, temperature=1.0):
    """q_ik = p_ik^power / f_k^frequency, over its sum."""
    p = [softmax([value / temperature for value in row]) for row in logits]
    sizes = [sum(row[k] for row in p) for k in range(len(p[0]))]
    raised = [[row[k] ** power / sizes[k] ** frequency for k in range(len(row))] for row in p]
    return np.array([[value / sum(row) for value in row] for row in raised])


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def conv(x, weight, bias, pad):
    """Stride 2; x (C, S, S), weight (D, C, k, k)."""
    kernel, side = weight.shape[-1], x.shape[-1]
    out = (side + 2 * pad - kernel) // 2 + 1
    y = np.zeros((len(weight), out, out))
    for d, i, j in np.ndindex(y.shape):
        y[d, i, j] = bias[d]
        for c, a, b in np.ndindex(weight.shape[1:]):
            row, column = 2 * i + a - pad, 2 * j + b - pad
            if 0 <= row < side and 0 <= column < side:
                y[d, i, j] += weight[d, c, a, b] * x[c, row, column]
    return y


def transposed(x, weight, bias, pad, side):
    """The way back; x (D, s, s), weight (D, C, k, k), to (C, side, side)."""
    y = np.zeros((weight.shape[1], side, side)) + bias[:, None, None]
    for d, i, j in np.ndindex(x.shape):
        for c, a, b in np.ndindex(weight.shape[1:]):
            row, column = 2 * i + a - pad, 2 * j + b - pad
            if 0 <= row < side and 0 <= column < side:
                y[c, row, column] += weight[d, c, a, b] * x[d, i, j]
    return y


def encode(w, x, pad, masks=None):
    """What each layer sees, and the code; ``masks`` are 0 or 1 / (1 − rate), a layer each."""
    masks = masks or [1.0] * 3
    seen = [x * masks[0]]
    for layer in range(2):
        y = conv(seen[-1], w[f"down.{layer}.weight"], w[f"down.{layer}.bias"], pad)
        seen.append(leaky(y) * masks[layer + 1])
    return seen, np.tanh(w["code.weight"] @ seen[-1].ravel() + w["code.bias"])


def decode(w, code, pad, shapes):
    second = leaky(w["decode.weight"] @ code + w["decode.bias"]).reshape(shapes[2])
    first = leaky(transposed(second, w["up.1.weight"], w["up.1.bias"], pad, shapes[1][-1]))
    return [np.tanh(transposed(first, w["up.0.weight"], w["up.0.bias"], pad, shapes[0][-1])), first, second]


def loss(w, head, images, masks, pad, hidden_weight, q=None, cluster_weight=1.0, decoded="noisy", target="clean"):
    """Mean over images; the paths can be told otherwise to see that it matters."""
    total = 0.0
    for number, image in enumerate(images):
        x = image / 127.5 - 1
        clean, noisy = encode(w, x, pad), encode(w, x, pad, [mask[number] for mask in masks])
        paths = {"clean": clean, "noisy": noisy}
        drawn = decode(w, paths[decoded][1], pad, [layer.shape for layer in clean[0]])
        for layer, weight in enumerate((1.0, hidden_weight, hidden_weight)):
            total += weight * ((paths[target][0][layer] - drawn[layer]) ** 2).mean()
        if q is not None:
            p = softmax(head["weight"] @ paths[decoded][1] + head["bias"])
            total -= cluster_weight * sum(q[number][k] * math.log(p[k]) for k in range(len(p)))
    return total / len(images)
