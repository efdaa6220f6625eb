import torch
from imcswav_mine import Mine

from imcswav.data import Batch, DataFacts
from imcswav.plugins import registry
from imcswav.step import Progress
from imcswav.testing import check_component

BACKBONE = {"name": "small_resnet", "stem": 8, "widths": [16], "strides": [2]}


def test_it_keeps_the_contract() -> None:
    check_component(Mine, {"backbone": BACKBONE})


def test_recipes_find_it() -> None:
    assert registry().get("learner", "mine") is Mine


def test_a_few_steps_lower_the_error() -> None:
    torch.manual_seed(0)
    learner = Mine.create(backbone=BACKBONE, hidden=32, facts=DataFacts(8, 1, 8, (0.5,), (0.25,)), clusters=2)
    batch = Batch(torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8), torch.arange(8))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    losses = []
    for step in range(20):
        optimizer.zero_grad()
        loss = learner(batch, Progress(step, 0, 20, 20), step)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
