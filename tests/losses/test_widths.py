"""Losses that compare two outputs say so when they have other widths."""

import pytest
import torch

from imcswav.errors import RecipeError
from imcswav.plugins import registry
from imcswav.step import Output, Step


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("byol", "predictions", "targets"),
        ("prototype_contrast", "embeddings", "targets"),
        ("self_label", "logits", "targets"),
        ("swav", "scores", "codes"),
        ("wpmi", "logits", "targets"),
    ],
)
def test_outputs_of_other_widths_are_an_error(name: str, one: str, other: str) -> None:
    step = Step(global_views=2)
    step.outputs = {
        "online.wide": Output(torch.randn(3, 4, 6), (0, 1, 2)),
        "teacher.narrow": Output(torch.randn(2, 4, 5), (0, 1)),
    }
    loss = registry().get("loss", name).create(**{one: "wide", other: "teacher.narrow"})
    with pytest.raises(
        RecipeError, match=r"'wide' has width 6, and 'teacher.narrow' 5. Name two outputs of one width."
    ):
        loss(step)
