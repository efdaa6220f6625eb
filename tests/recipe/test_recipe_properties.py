"""Recipes drawn at random: what is valid reads back, and what is not is refused in words."""

import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_parts import RECIPE, TOYS

from imcswav import plugins
from imcswav.errors import RecipeError
from imcswav.recipe import Recipe
from imcswav.recipe.files import dump_recipe, load_recipe


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(plugins, "registry", lambda: TOYS)


_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_positive = st.floats(1e-300, 1e300)
_solvers = st.fixed_dictionaries(
    {"name": st.just("sharp")}, optional={"epsilon": _positive, "iterations": st.integers(1, 2**62)}
) | st.just("flat")
_losses = st.fixed_dictionaries({"name": st.just("push")}, optional={"margin": st.floats(-1e308, 1e308)})
_losses |= st.fixed_dictionaries({"name": st.just("pull")}, optional={"solver": _solvers, "weight": _positive})
_heads = st.fixed_dictionaries(
    {"name": st.just("line")},
    optional={
        "width": st.integers(1, 99) | st.just("clusters"),
        "hidden": st.lists(st.integers(1, 9), max_size=3),
    },
)
_data = st.fixed_dictionaries({"name": st.just("made")}, optional={"label": _names})
_data |= st.fixed_dictionaries(
    {"name": st.just("folder"), "root": _names},
    optional={"colour": st.sampled_from(["red", "blue"]), "limit": st.none() | st.integers(1, 9)},
)
_recipes = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z"),
        "clusters": st.integers(2, 10**6),
        "data": _data,
        "losses": st.lists(_losses, min_size=1, max_size=3),
        "optimizer": st.fixed_dictionaries({"name": st.just("walk"), "lr": _positive}),
    },
    optional={
        "heads": st.dictionaries(_names, _heads, max_size=3),
        "mode": _names,
        "crops": st.lists(st.fixed_dictionaries({"size": st.integers(1, 9)}), max_size=2),
        "schedule": st.just("drop") | st.fixed_dictionaries({"name": st.just("drop"), "at": st.floats(0, 1)}),
        "callbacks": st.dictionaries(_names, st.fixed_dictionaries({"name": st.just("echo")}), max_size=2),
        "trainer": st.fixed_dictionaries({}, optional={"clip_gradient": st.none() | _positive}),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(_recipes)
def test_what_is_written_reads_back_equal(tmp_path, tables):
    recipe = load_recipe(tables)
    path = tmp_path / "again.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe
    assert load_recipe(recipe.tables()) == recipe


# anything at all

_keys = st.sampled_from(
    [
        *Recipe.model_fields,
        "losses",
        "heads",
        "out",
        "solver",
        "epochs",
        "extends",
        "console",
        "metrics",
        "width",
    ]
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
_scalars |= st.sampled_from(["made", "pull", "sharp", "line", 10**400, -(2**63), 1e308, "\ud800", "\0", object()])
_trees = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | _names, inner, max_size=4)
)


def _loads_or_refuses(source, overrides=()):
    try:
        return load_recipe(source, overrides)
    except RecipeError as error:
        return [*error.problems, str(error)]


def _mutated(tables, path, value):
    at = tables
    for key in path[:-1]:
        at = at.setdefault(key, {}) if isinstance(at, dict) else tables
        at = at if isinstance(at, dict) else tables
    at[path[-1]] = value
    return tables


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.lists(_keys | _names, min_size=1, max_size=4), _trees), max_size=4))
def test_no_dict_gives_another_error(changes):
    tables = tomllib.loads(RECIPE)
    for path, value in changes:
        _mutated(tables, path, value)
    assert _loads_or_refuses(tables)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(_keys | st.sampled_from("012"), max_size=5), _scalars.map(repr) | st.text(max_size=9)).map(
            lambda pair: ".".join(pair[0]) + "=" + pair[1]
        )
        | st.text(max_size=20),
        max_size=4,
    )
)
def test_no_override_gives_another_error(overrides):
    assert _loads_or_refuses(tomllib.loads(RECIPE), overrides)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.tuples(st.integers(0, len(RECIPE)), st.integers(0, 9), st.text(max_size=5)), max_size=4))
def test_no_file_gives_another_error(tmp_path, edits):
    text = RECIPE
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    path = tmp_path / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert _loads_or_refuses(path)


def test_deep_and_cyclic_tables_are_refused():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    cyclic = tomllib.loads(RECIPE)
    cyclic["data"]["label"] = cyclic
    for tables in ({"heads": deep}, cyclic):
        with pytest.raises(RecipeError, match="is nested more than 40 deep"):
            load_recipe(tables)
