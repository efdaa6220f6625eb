"""Groups: which parameter gets which learning rate and weight decay, and that nothing changes without them."""

import copy
from typing import Any

import pytest
import torch
from tiny import batch, learner
from torch import nn

from imcswav.build import build_engine
from imcswav.errors import RecipeError
from imcswav.optimizers.adam import Adam
from imcswav.optimizers.adamw import AdamW
from imcswav.optimizers.sgd import SGD
from imcswav.recipe.files import load_recipe
from imcswav.step import Progress

SHAPES = {
    "backbone.stem.weight": (3, 2), "backbone.stem.bias": (3,), "backbone.block.weight": (3, 3),
    "backbone.block.norm": (3,), "heads.classifier.weight": (2, 3), "heads.classifier.bias": (2,),
}  # fmt: skip
DEPTHS = {name: int("block" in name) for name in SHAPES if name.startswith("backbone")}


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def treatment(**settings: Any) -> dict[str, tuple[float, float]]:
    """Name → learning rate and weight decay that torch's optimiser really has."""
    ours = parameters()
    optimizer = AdamW.create(**{"lr": 0.1, "weight_decay": 0.2} | settings).make(ours.items(), DEPTHS)
    names = {id(parameter): name for name, parameter in ours.items()}
    return {
        names[id(parameter)]: (pytest.approx(group["lr"]), group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_without_options_there_is_one_group_in_the_order_given() -> None:
    for cls in (Adam, AdamW, SGD):
        ours = parameters()
        (group,) = cls.create(lr=0.1).make(ours.items(), DEPTHS).param_groups
        assert all(one is other for one, other in zip(group["params"], ours.values(), strict=True))


def test_layers_below_the_top_train_slower() -> None:
    found = {name: lr for name, (lr, _) in treatment(layer_decay=0.5).items()}
    assert found == {
        "backbone.stem.weight": 0.025, "backbone.stem.bias": 0.025, "backbone.block.weight": 0.05,
        "backbone.block.norm": 0.05, "heads.classifier.weight": 0.1, "heads.classifier.bias": 0.1,
    }  # fmt: skip


def test_the_first_group_that_matches_counts_and_multiplies_the_layers_factor() -> None:
    groups = [
        {"match": "backbone.*.weight", "lr_factor": 4.0},
        {"match": "backbone.*", "weight_decay": 0.5},
        {"match": "*.classifier.*", "lr_factor": 3.0, "weight_decay": 0.0},
    ]
    assert treatment(groups=groups, layer_decay=0.5) == {
        "backbone.stem.weight": (0.1, 0.2), "backbone.stem.bias": (0.025, 0.5),
        "backbone.block.weight": (0.2, 0.2), "backbone.block.norm": (0.05, 0.5),
        "heads.classifier.weight": (0.3, 0.0), "heads.classifier.bias": (0.3, 0.0),
    }  # fmt: skip


def test_norms_and_biases_without_decay() -> None:
    found = {name: decay for name, (_, decay) in treatment(decay_norms=False).items()}
    assert found == {name: 0.0 if len(shape) < 2 else 0.2 for name, shape in SHAPES.items()}
    groups = [{"match": "*.norm", "weight_decay": 0.7}]
    assert treatment(decay_norms=False, groups=groups)["backbone.block.norm"] == (0.1, 0.7)


def test_as_few_groups_as_treatments() -> None:
    groups = [{"match": "heads.*", "lr_factor": 1.0, "weight_decay": 0.2}]  # what they would have anyway
    optimizer = AdamW.create(lr=0.1, weight_decay=0.2, groups=groups).make(parameters().items())
    assert len(optimizer.param_groups) == 1
    optimizer = AdamW.create(lr=0.1, decay_norms=False, layer_decay=0.5).make(parameters().items(), DEPTHS)
    assert len(optimizer.param_groups) == 6


@pytest.mark.parametrize(("cls", "settings"), [(Adam, {}), (AdamW, {}), (SGD, {"momentum": 0.9})])
def test_steps_equal_separate_optimisers(cls: Any, settings: dict[str, Any]) -> None:
    """Three fused steps of groups against torch's plain loop with an optimiser for each parameter."""
    ours, theirs = parameters(), parameters()
    grouped = cls.create(lr=0.1, weight_decay=0.2, layer_decay=0.5, decay_norms=False, **settings)
    optimizer = grouped.make(ours.items(), DEPTHS)
    assert all(group["fused"] for group in optimizer.param_groups)
    alone = []
    for name, parameter in theirs.items():
        lr = 0.1 * 0.5 ** (2 - DEPTHS[name] if name in DEPTHS else 0)
        decay = 0.2 if parameter.ndim > 1 else 0.0
        alone.append(cls.algorithm([parameter], lr=lr, weight_decay=decay, fused=False, foreach=False, **settings))
    for number in range(3):
        for each in (ours, theirs):
            for name, parameter in each.items():
                parameter.grad = torch.full_like(parameter, 0.1 * number + len(name))
        for one in (optimizer, *alone):
            one.step()
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_pattern_that_matches_nothing_is_named_with_some_that_exist() -> None:
    optimizer = Adam.create(lr=0.1, groups=[{"match": "heads.*"}, {"match": "head.*"}])
    with pytest.raises(
        RecipeError, match=r"optimizer.groups.1.match: no parameter is called like 'head\.\*'"
    ) as caught:
        optimizer.make(parameters().items())
    assert "There are 6, such as backbone.stem.weight, " in str(caught.value)


def test_a_group_that_gets_nothing_because_of_earlier_ones_is_named() -> None:
    groups = [{"match": "heads.*.weight"}, {"match": "heads.*.bias"}, {"match": "heads.*"}, {"match": "*"}]
    with pytest.raises(RecipeError) as caught:
        Adam.create(lr=0.1, groups=groups).make(parameters().items())
    (problem,) = caught.value.problems
    assert problem.path == "optimizer.groups.2.match"
    assert problem.message == "earlier groups take every parameter that is called like 'heads.*'."
    Adam.create(lr=0.1, groups=[*groups[:2], groups[3]]).make(parameters().items())


def test_layers_that_nobody_knows() -> None:
    with pytest.raises(RecipeError, match=r"optimizer\.layer_decay: the backbone doesn't tell"):
        Adam.create(lr=0.1, layer_decay=0.9).make(parameters().items(), {})


@pytest.mark.parametrize(
    "settings", [{"layer_decay": 0}, {"layer_decay": 1.1}, {"groups": [{"match": "*", "lr_factor": 0}]}]
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"greater than 0|less than or equal to 1"):
        Adam.create(lr=0.1, **settings)


def grouped_engine(tiny: Any) -> Any:
    changes = {
        "optimizer": {"name": "adamw", "lr": 0.1, "weight_decay": 0.01, "layer_decay": 0.5, "decay_norms": False},
        "schedule": {"name": "cosine", "warmup_steps": 4},
    }
    return build_engine(load_recipe(tiny, changes), learner(), torch.device("cpu"))


def test_the_schedule_moves_every_group_and_the_log_has_the_recipes_rate(tiny: Any) -> None:
    one = grouped_engine(tiny)
    one.step(batch(), Progress(1, 0, 10, 10))
    rates = sorted({group["lr"] for group in one.optimizer.param_groups})
    assert one.lr == pytest.approx(0.05)
    assert rates == pytest.approx([0.05 * 0.5**power for power in (3, 2, 1, 0)])  # first convolution, two blocks, heads


def test_groups_survive_a_checkpoint(tiny: Any) -> None:
    first, second = grouped_engine(tiny), grouped_engine(tiny)
    first.step(batch(), Progress(0, 0, 10, 10))
    second.learner.load_state_dict(first.learner.state_dict())
    second.load_optimizer(copy.deepcopy(first.optimizer.state_dict()))
    for one in (first, second):
        one.step(batch(), Progress(1, 0, 10, 10))
    for (name, mine), other in zip(first.learner.named_parameters(), second.learner.parameters(), strict=True):
        assert torch.equal(mine, other), name


def test_check_finds_what_the_optimizer_would_refuse(tiny: Any) -> None:
    from imcswav.cost import estimate

    with pytest.raises(RecipeError, match="no parameter is called like 'nothing'"):
        estimate(load_recipe(tiny, {"optimizer.groups": [{"match": "nothing"}]}))
