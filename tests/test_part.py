from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ValidationError
from toy_parts import TOYS, Colour

from imcswav import plugins
from imcswav.component import Component, Settings
from imcswav.part import Part, dump_part, without_none


class Holder(Settings):
    solver: Annotated[Component.Config, Part("solver")] = "sharp"
    maybe: Annotated[Component.Config, Part("solver")] | None = None
    many: list[Annotated[Component.Config, Part("loss")]] = []
    data: Annotated[Component.Config, Part("data")] | None = None


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(plugins, "registry", lambda: TOYS)


def test_a_table_a_bare_name_and_a_config_are_the_same():
    sharp = TOYS.get("solver", "sharp").Config()
    holders = [Holder(solver=value) for value in ({"name": "sharp"}, "sharp", sharp)]
    assert all(holder.solver == sharp for holder in [*holders, Holder()])


def test_errors_keep_their_place_however_deep():
    with pytest.raises(ValidationError) as caught:
        Holder(many=[{"name": "push"}, {"name": "pull", "solver": {"name": "sharp", "epsilon": 0}}])
    (error,) = caught.value.errors()
    assert error["loc"] == ("many", 1, "solver", "epsilon")
    assert error["type"] == "greater_than"


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        (3, (), "must be a solver: a table with a name, or only the name. Known: flat, sharp."),
        ({}, ("name",), "the solver has no name. Known: flat, sharp."),
        ({"name": 3}, ("name",), "the solver has no name."),
        ({"name": "shrap"}, ("name",), "there is no solver 'shrap'. Did you mean 'sharp'?"),
        ("{x}", ("name",), "there is no solver '{x}'. Known: flat, sharp."),
    ],
)
def test_what_is_no_part_is_explained(value, place, message):
    with pytest.raises(ValidationError) as caught:
        Holder(solver=value)
    (error,) = caught.value.errors()
    assert error["loc"] == ("solver", *place)
    assert message in error["msg"]


def test_written_back_it_is_the_table_again():
    tables = {
        "many": [{"name": "pull", "weight": 2.0, "temperature": 0.1, "solver": {"name": "flat"}}],
        "data": {"name": "folder", "placement": "auto", "root": "/x", "colour": "blue"},
    }
    holder = Holder.model_validate(tables)
    assert (holder.data.root, holder.data.colour) == (Path("/x"), Colour.BLUE)
    sharp = {"name": "sharp", "epsilon": 0.05, "iterations": 3}
    assert without_none(holder.model_dump(mode="json")) == tables | {"solver": sharp}
    assert dump_part(holder.data) == tables["data"]


def test_without_none_reaches_into_tables_and_arrays():
    assert without_none({"a": None, "b": [{"c": None, "d": [1, None]}]}) == {"b": [{"d": [1, None]}]}
