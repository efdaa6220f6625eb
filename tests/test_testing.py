"""A component that breaks a rule of the contract is found out, by name and rule."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import ConfigDict, Field
from toy_components import (
    GOOD,
    Copied,
    Down,
    Even,
    Flat,
    Grey,
    Line,
    Mean,
    Nearest,
    Noise,
    Purity,
    Quiet,
    Softmax,
    Tiny,
)

from imcswav.component import Settings
from imcswav.data import Data, DataFacts
from imcswav.heads import HeadName
from imcswav.learners import Embedding
from imcswav.losses import Loss
from imcswav.part import Part
from imcswav.solvers import Solver
from imcswav.testing import check_component, minimal_settings


def variants(good: type, **broken: tuple[str, dict[str, Any]]):
    """(subclass of ``good`` with members replaced, the rule it breaks)."""
    for name, (rule, members) in broken.items():
        yield pytest.param(
            type(good)(good.__name__, (good,), {"__doc__": "Broken.", **members}, name=good.name),
            rule,
            id=name,
        )


@pytest.mark.parametrize("cls", GOOD, ids=lambda cls: cls.kind)
def test_good_components_pass(cls):
    check_component(cls)


class Bare(Loss.Config):
    undescribed: int = 1


class Wrong(Loss.Config):
    setting: int = Field("x", gt=0)  # type: ignore[assignment]
    """A default that its own type refuses."""


class Needy(Loss.Config):
    setting: complex
    """Nothing obvious."""


class Lossy(Loss.Config):
    setting: frozenset[Annotated[float, Field(gt=0)]] | int = 3
    """Comes back as something else."""

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return super().model_dump(**options) | {"setting": 4}


class Foreign(Settings):
    owner: ClassVar[Any]


def config(base: type, **rules: Any) -> type:
    return type("Config", (base,), {"__module__": __name__, "model_config": ConfigDict(**rules)})


nan = float("nan")
BROKEN = [
    *variants(
        Mean,
        docstring=("has a docstring", {"__doc__": " "}),
        foreign=("extends its kind's", {"Config": Foreign}),
        loose=("refuses unknown keys", {"Config": config(Loss.Config, extra="ignore")}),
        thawed=("frozen", {"Config": config(Loss.Config, frozen=False)}),
        bare=("every setting has a description .*undescribed", {"Config": Bare}),
        wrong=("its defaults are valid .*setting: must be a whole number, not 'x'", {"Config": Wrong}),
        needy=("its defaults are valid .*pass settings= with setting", {"Config": Needy}),
        lossy=("survive being written to TOML", {"Config": Lossy}),
        vector=("a finite scalar .*not a scalar", {"forward": lambda self, step: step["classifier"].mean(0)}),
        infinite=("a finite scalar", {"forward": lambda self, step: step["classifier"].mean() / 0}),
        gradient=(
            "a finite scalar .*the gradient isn't finite",
            {"forward": lambda self, step: (step["classifier"].mean() * 0).sqrt()},
        ),
        crash=("a finite scalar .*KeyError: .*nothing", {"forward": lambda self, step: step["nothing"]}),
        writes=(
            "outputs are left as they are",
            {"forward": lambda self, step: step["features"].detach().mul_(2).mean()},
        ),
        adds=(
            "outputs are left as they are",
            {"forward": lambda self, step: step.outputs.setdefault("x", step.output("features")).tensor.mean()},
        ),
        hook=("hooks take the training's Progress", {"before_step": lambda self: None}),
    ),
    *variants(
        Copied,
        unaware=("takes copies .*the value isn't the mean", {"forward": lambda self, step: step["somewhere"].sum()}),
        unreported=("takes copies .*step.reports has not each", {"forward": Mean.forward}),
        mean=(
            "takes copies .*the gradient at 'somewhere' is another",
            {"forward": lambda self, step: (Copied.forward(self, step), Mean.forward(self, step))[1]},
        ),
    ),
    *variants(
        Softmax,
        sums=("rows are distributions", {"forward": lambda self, x: Softmax.forward(self, x) * 2}),
        negative=(
            "rows are distributions",
            {"forward": lambda self, x: x - x.mean(-1, keepdim=True) + 1 / 12},
        ),
        shape=("rows are distributions .*shape", {"forward": lambda self, x: Softmax.forward(self, x)[0]}),
        halves=("float64 stays float64", {"forward": lambda self, x: x.float().softmax(-1)}),
        writes=("scores are left as they are", {"forward": lambda self, x: Softmax.forward(self, x.mul_(2))}),
        mixes=(
            "solved apart",
            {"forward": lambda self, x: Softmax.forward(self, x + x.sum(0, keepdim=True))},
        ),
    ),
    *variants(
        Line,
        width=("rows of width out_features", {"forward": lambda self, x: self.line(x)[:, 1:]}),
        dtype=("gave torch.float32", {"forward": lambda self, x: self.line(x).float()}),
        gradient=("gradient isn't finite", {"forward": lambda self, x: (self.line(x) * 0).sqrt()}),
    ),
    *variants(
        Flat,
        width=(r"features \(M, F\)", {"features": 5}),
        gradient=(r"features \(M, F\)", {"forward": lambda self, x: (self.line(x.flatten(1)) * 0).sqrt()}),
        untrained=(r"features \(M, F\)", {"forward": lambda self, x: x.flatten(1)[:, :4].requires_grad_()}),
    ),
    *variants(
        Down,
        other=("make gives int", {"make": lambda self, parameters: 3}),
        rate=("lr is not", {"make": lambda self, parameters: torch.optim.SGD(parameters, lr=9.0)}),
        still=(
            "didn't move",
            {"make": lambda self, parameters: torch.optim.SGD([parameters[1]], lr=self.config.lr)},
        ),
    ),
    *variants(
        Even,
        negative=("a finite factor", {"shape": lambda self, progress: -1.0}),
        nan=("a finite factor", {"shape": lambda self, progress: nan}),
    ),
    *variants(
        Purity,
        imperfect=("a perfect clustering scores 1", {"__call__": lambda self, scored: 0.9}),
        numbers=(
            "numbering clusters otherwise",
            {"__call__": lambda self, s: 1.0 - 0.01 * float(Purity.__call__(self, s) < 1) * s.clusters_N[0]},
        ),
        beyond=(
            "numbering clusters otherwise .*not in",
            {"__call__": lambda self, scored: 1.0 if Purity.__call__(self, scored) == 1 else 2.0},
        ),
    ),
    *variants(
        Nearest,
        range=("labels are 0", {"fit": lambda self, x: Nearest.fit(self, x) + 1}),
        known=("keep them .*became", {"uses_known": True, "fit": lambda self, x, known=None: Nearest.fit(self, x)}),
        floats=("labels are 0 .*not integers", {"fit": lambda self, x: Nearest.fit(self, x) + 0.0}),
        seed=(
            "the same seed gave other",
            {"fit": lambda self, x: Nearest.fit(self, x) * np.random.randint(0, 2, len(x))},
        ),
        arrays=(
            "state's tensors alone",
            {"fit": lambda self, x: self.state.update(centres=3) or np.zeros(len(x), int)},
        ),
        sums=("rows don't sum to 1", {"predict_proba": lambda self, x: Nearest.predict_proba(self, x) * 2}),
        hidden=(
            "state's tensors alone",
            {
                "fit": lambda self, x: setattr(self, "secret", 1) or Nearest.fit(self, x),
                "predict_proba": lambda self, x: Nearest.predict_proba(self, x + 0 * self.secret),
            },
        ),
    ),
    *variants(
        Noise,
        shapes=("as groups", {"__call__": lambda self, x, seed: [self.whole(x)]}),
        dtype=(
            "as groups",
            {"__call__": lambda self, x, seed: [v.double() for v in Noise.__call__(self, x, seed)]},
        ),
        writes=(
            "images were changed",
            {"__call__": lambda self, x, seed: Noise.__call__(self, x.add_(1), seed)},
        ),
        generator=(
            "process's generator",
            {"__call__": lambda self, x, seed: [v + torch.randn(1) for v in Noise.__call__(self, x, seed)]},
        ),
        unseeded=(
            "the same seed gave other",
            {"__call__": lambda self, x, seed: Noise.__call__(self, x, int(np.random.randint(2**31)))},
        ),
        mixed=(
            "depend on the other images",
            {"__call__": lambda self, x, seed: [v + x.float().mean() for v in Noise.__call__(self, x, seed)]},
        ),
        mild=("whole and mild", {"mild": lambda self, x, count: [self.whole(x)]}),
    ),
    *variants(
        Grey,
        count=("not as promised", {"facts": DataFacts(5, 1, 8, (0.0,), (1.0,))}),
        channels=("shape not as promised", {"facts": DataFacts(4, 3, 8, (0.0,) * 3, (1.0,) * 3)}),
        mean=(
            "a value a channel",
            {"measure": lambda self: setattr(self, "mean", ()) or setattr(self, "std", ())},
        ),
        names=("names don't fit", {"measure": lambda self: Grey.measure(self) or self.train.names.pop()}),
        labels=(
            "labels",
            {"measure": lambda self: Grey.measure(self) or setattr(self.train, "labels", torch.ones(3))},
        ),
    ),
    *variants(
        Quiet,
        arguments=("hooks take", {"log": lambda self, trainer: None}),
        absent=("hooks take", {"close": None}),
    ),
    *variants(
        Tiny,
        scalar=(
            "not all scalars",
            {"forward": lambda self, *a: Tiny.forward(self, *a) | {"x": torch.ones(2)}},
        ),
        absent=("one step gives a finite loss .*KeyError", {"forward": lambda self, *a: {}}),
        nan=(
            "one step gives a finite loss",
            {"forward": lambda self, *a: {"loss": Tiny.forward(self, *a)["loss"] / 0}},
        ),
        seed=(
            "the same seed gave another",
            {"forward": lambda self, *a: {"loss": Tiny.forward(self, *a)["loss"] * np.random.rand()}},
        ),
        features=("embeds images", {"embed": lambda self, x, views=1: Embedding(torch.ones(3, 3), None)}),
        sums=(
            "don't sum to 1",
            {"embed": lambda self, x, views=1: Embedding(torch.ones(8, 3), torch.ones(8, 5))},
        ),
    ),
]


@pytest.mark.parametrize(("cls", "rule"), BROKEN)
def test_a_broken_component_is_named_with_its_rule(cls, rule):
    with pytest.raises(AssertionError, match=rf"(?s)^{cls.kind} 'toy' breaks the rule: .*{rule}"):
        check_component(cls)


def test_a_component_needs_a_kind_and_a_name():
    for cls in (Loss, type("Nameless", (Loss,), {}), type("Shouts", (Loss,), {}, name="A B"), int):
        with pytest.raises(AssertionError, match="is a Component with a kind and a name"):
            check_component(cls)


def test_a_taken_name_is_refused():
    with pytest.raises(AssertionError, match="the name belongs to SwAV"):
        check_component(type("Mine", (Loss,), {"__doc__": "x"}, name="swav"))


def test_a_config_of_another_class_is_refused():
    mine = type("Mine", (Mean,), {"__doc__": "x"}, name="toy")
    mine.Config = Mean.Config
    with pytest.raises(AssertionError, match=r"Config is its own.*belongs to Mean"):
        check_component(mine)


def test_settings_and_runtime_are_handed_on():
    class Choosy(Loss, name="toy"):
        """A loss that needs both."""

        class Config(Loss.Config):
            setting: complex | str
            """Nothing obvious."""

        def __init__(self, config, *, clusters, extra):
            super().__init__(config)
            assert (config.setting, clusters, extra) == ("a", 9, 3)

        def forward(self, step):
            return step["features"].mean()

    check_component(Choosy, {"setting": "a"}, clusters=9, extra=3)


def test_data_whose_source_is_not_here_is_not_read():
    class Absent(Grey, name="toy"):
        """Data that would have to be fetched."""

        class Config(Data.Config):
            download: bool = True
            """Fetch it."""

            def facts(self):
                from imcswav.errors import DataError

                assert not self.download
                raise DataError("not here")

        def __init__(self, config):
            raise RuntimeError("read")

    check_component(Absent)
    with pytest.raises(AssertionError, match="RuntimeError: read"):
        check_component(Absent, seed=1)


class Inner(Settings):
    size: int = Field(ge=3)


class Everything(Settings):
    switch: bool
    count: int
    above: int = Field(gt=4)
    below: int = Field(lt=-2, ge=-9)
    share: float = Field(ge=0, le=1)
    positive: Annotated[float, Field(gt=0)]
    negative: float = Field(lt=0)
    free: float
    text: str = Field(min_length=2)
    head: HeadName
    choice: Literal["a", "b"]
    wide: Annotated[int, Field(gt=0)] | Literal["clusters"]
    pair: tuple[float, float]
    many: tuple[int, ...] = Field(min_length=2)
    several: list[Inner] = Field(min_length=1)
    named: dict[str, int] = Field(min_length=1)
    nested: Inner
    solver: Annotated[Solver.Config, Part("solver")]
    optional: int = 3


def test_least_values_of_required_settings_are_valid():
    found = minimal_settings(Everything)
    assert Everything(**found).solver.owner.kind == "solver"
    assert set(found) == set(Everything.model_fields) - {"optional"}
    assert (found["above"], found["below"], found["head"], found["share"]) == (5, -9, "classifier", 0.5)
