from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from imcswav_mine import Mine
from torch import nn

from imcswav.plugins import registry
from imcswav.testing import check_component


def test_it_keeps_the_contract() -> None:
    check_component(Mine)


def test_recipes_find_it() -> None:
    assert registry().get("callback", "mine") is Mine


def test_it_writes_a_row_every_few_epochs(tmp_path: Path) -> None:
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[3.0, 4.0]])
    trainer: Any = SimpleNamespace(learner=layer, run=SimpleNamespace(path=tmp_path))
    callback = Mine.create(every=2)
    for trainer.epoch in (1, 2, 3, 4):
        callback.end_epoch(trainer)
    assert (tmp_path / "mine.csv").read_text() == "epoch,norm\n2,5\n4,5\n"
