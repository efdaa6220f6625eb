"""Small things that several tests build."""

import torch
from imcswav_depict import Depict

from imcswav.data import Batch, DataFacts
from imcswav.learners import Epoch
from imcswav.step import Progress

FACTS = DataFacts(60, 1, 8, (0.5,), (0.25,))
SETTINGS = {"channels": (3, 4), "pretrain_epochs": 2, "warm_epochs": 1}
RECIPE = {
    "name": "small",
    "clusters": 3,
    "data": {"name": "digits", "size": 8},
    "learner": {"name": "depict", "channels": [3, 4], "pretrain_epochs": 2, "warm_epochs": 2},
    "optimizer": {"name": "adam", "lr": 1e-2},
    "trainer": {"epochs": 6, "batch_size": 256, "device": "cpu", "threads": 1},
    "callbacks": {"tensorboard": {"enabled": False}},
}


def learner(**changes):
    torch.manual_seed(0)
    return Depict.create(**(SETTINGS | changes), facts=FACTS, clusters=3)


def images(count=60, size=8, seed=1):
    """Three kinds of noisy stripes."""
    generator = torch.Generator().manual_seed(seed)
    x_N1SS = torch.randint(0, 90, (count, 1, size, size), generator=generator)
    for kind in range(3):
        x_N1SS[kind::3, :, :, 2 * kind : 2 * kind + 3] += 150
    return x_N1SS.to(torch.uint8)


def batch(count=12):
    return Batch(images()[:count], torch.arange(count))


def epoch(number, shown=None):
    return Epoch(Progress(5 * number, number, 100, 5), images() if shown is None else shown, seed=number)


def train(one, epochs, first=0):
    """Epochs of five steps by Adam, as a trainer would."""
    optimizer = torch.optim.Adam(one.parameters(), lr=0.01)
    for number in range(first, first + epochs):
        one.start_epoch(epoch(number))
        for rows in torch.arange(60).split(12):
            optimizer.zero_grad()
            one(Batch(images()[rows], rows), epoch(number).progress, number * 100 + int(rows[0]))["loss"].backward()
            optimizer.step()
    return one
