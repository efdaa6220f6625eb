"""Broken recipes: `imcswav check` finds them good or says what is wrong, in time and memory, and never fails itself."""

import contextlib
import copy
import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from error_case import RECIPE, commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import EDITS, edited
from PIL import Image
from watch import BYTES, Watch

from imcswav import cli, cost
from imcswav.recipe import Recipe

FEW, MANY = 40, 2000
LARGE = 300
DIGITS = (Path(__file__).parents[2] / "recipes" / "digits.toml").read_text()
TAUGHT = (
    RECIPE
    + """
[teacher]
momentum = 0.9

[heads.predictor]
name = "mlp"
input = "prototypes"
hidden = [6]
width = 12

[[losses]]
name = "wpmi"
targets = "teacher.classifier"

[clusterer]
name = "kmeans"

[schedule]
name = "cosine"
"""
)
TEXTS = (RECIPE, DIGITS, TAUGHT)
EXTREME = [0, -1, 1, 2, 3, 64, 300, 10**5, 10**6, 10**9, 2**31, 2**63 - 1, -(2**63), 10**30, 10**400]
EXTREME += [0.0, -0.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan")]
NAMES = ["name", "swav", "imc", "byol", "mlp", "timm", "strong", "multicrop", "frozen", "numpy", "clusters", "sinkhorn"]

# no path that leads to a whole disk, which to look through may well take long
_text = st.text(max_size=8).filter(lambda text: not set(text) & set("/~")) | st.sampled_from(NAMES)
_scalars = st.sampled_from(EXTREME) | st.integers() | st.floats() | st.booleans() | _text | st.dates()
_keys = st.sampled_from([*Recipe.model_fields, *NAMES, "heads", "losses", "views", "count", "size"]) | _text
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=6
)
_changes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 10**6), _values),
        st.tuples(st.just("set"), st.integers(0, 10**6), st.sampled_from(EXTREME)),
        st.tuples(st.just("drop"), st.integers(0, 10**6), st.none()),
        st.tuples(st.just("rename"), st.integers(0, 10**6), _keys),
        st.tuples(st.just("add"), st.integers(0, 10**6), st.tuples(_keys, _values)),
        st.tuples(st.just("nest"), st.integers(0, 10**6), st.sampled_from([1, 30, 60])),
    ),
    min_size=1,
    max_size=4,
)


def places(value):
    """(container, key) of everything in nested tables and arrays."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, entry in inside for place in [(value, key), *places(entry)]]


def changed(tables, changes):
    """The tables after one change after another."""
    tables = copy.deepcopy(tables)
    for kind, number, value in changes:
        found = places(tables)
        if not found:
            break
        holder, key = found[number % len(found)]
        value = copy.deepcopy(value)
        match kind:
            case "set":
                holder[key] = value
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[value] = holder.pop(key)
            case "add" if isinstance(holder[key], dict):
                holder[key][value[0]] = value[1]
            case "nest":
                for _ in range(value):
                    holder[key] = {"a": holder[key]} if number % 2 else [holder[key]]
    return tables


_dumped = st.tuples(st.sampled_from(TEXTS), _changes).map(
    lambda pair: tomli_w.dumps(changed(tomllib.loads(pair[0]), pair[1])).encode()
)
_mangled = st.tuples(st.sampled_from(TEXTS), st.lists(EDITS, min_size=1, max_size=3)).map(
    lambda pair: edited(pair[0].encode(), pair[1])
)

_deep = st.tuples(
    st.sampled_from(TEXTS), st.sampled_from([39, 50, 500, 5000, 20_000]), st.sampled_from(["[]", ("{a=", "}"), "."])
).map(lambda drawn: nested(*drawn).encode())


def nested(text, depth, signs):
    """The text with a table or an array of that depth at its end."""
    if signs == ".":
        return f"{text}\n[deep{'.a' * depth}]\n"
    inner = "" if signs == "[]" else "1"
    return f"{text}\ndeep = {signs[0] * depth}{inner}{signs[1] * depth}\n"


def usual(recipe):
    """Whether no number of the learner's settings is large."""
    found = [holder[key] for holder, key in places(recipe.learner.model_dump(mode="json"))]
    return all(abs(value) <= LARGE for value in found if isinstance(value, int))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with images; of a machine that has a quarter of a gibibyte for weights.

    The step that `imcswav check` tries is left out where the network is large: how long it takes was asked for.
    """
    (tmp_path / "photos").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("imcswav.cost.physical_memory", lambda: BYTES / 4)
    monkeypatch.setattr(cli, "app", commands())
    step = cost._dry_step
    monkeypatch.setattr(cost, "_dry_step", lambda recipe, *more: step(recipe, *more) if usual(recipe) else (0.0, 0))
    return tmp_path


def check(path):
    """Exit code and what `imcswav check` said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            cli.main(["check", "--quick", str(path)])
        except SystemExit as left:
            return left.code, said.getvalue()
    raise AssertionError("main came back")


def fuzz(folder, examples, watch):
    """Check so many mutated recipes; gives how many were found good."""
    codes = []
    (folder / "my.toml").write_text(RECIPE)
    check(folder / "my.toml")  # what is imported once is no recipe's

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_dumped | _mangled | _deep)
    def one(content):
        path = folder / "my.toml"
        path.write_bytes(content)
        with watch.case(content):
            code, said = check(path)
        assert code in (0, 2), said
        assert "Traceback" not in said
        assert said.strip()
        assert path.read_bytes() == content
        codes.append(code)

    one()
    return codes.count(0)


def test_the_recipes_are_good(folder):
    for text in TEXTS:
        (folder / "my.toml").write_text(text)
        code, said = check(folder / "my.toml")
        assert code == 0, said


def test_some_mutated_recipes(folder):
    watch = Watch()
    good = fuzz(folder, FEW, watch)
    assert 0 < good < watch.count


@pytest.mark.slow
def test_many_mutated_recipes(folder):
    watch = Watch()
    good = fuzz(folder, MANY, watch)
    print(f"\nrecipes: {watch}; {good} of them good")
    assert 0 < good < watch.count
