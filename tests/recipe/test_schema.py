"""The editors' schema accepts every recipe that loads, and refuses slips in it."""

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import Field
from toy_parts import RECIPE, TOYS, Pull

from imcswav import plugins
from imcswav.cli import main
from imcswav.component import Settings
from imcswav.learners import Learner
from imcswav.losses import Loss
from imcswav.recipe.files import load_recipe, recipe_names
from imcswav.recipe.json_schema import COMMENT, recipe_schema
from imcswav.views import Views

SHIPPED = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(SHIPPED.rglob("*.toml"))


class Opaque(Loss, name="opaque"):
    """A loss with a setting that no schema can tell of."""

    class Config(Loss.Config):
        thing: Any = Field(default_factory=lambda: None)
        """Anything."""
        call: "type[int] | None" = None
        """No JSON."""


class Frames(Views, name="frames"):
    """Views, the part of another learner."""


class Nested(Settings):
    rate: float
    """Has no default."""
    name: str = "x"
    """A setting called name."""


class Second(Learner, name="second"):
    """A second learner, with a table and a setting of the first's name."""

    class Config(Learner.Config):
        inner: Nested
        """A table."""
        mode: int = 3
        """A number where the other learner has a text."""


@pytest.fixture(scope="module")
def toys():
    known = plugins.Registry(dict(TOYS.classes), dict(TOYS.origins))
    for cls in (Opaque, Frames, Second):
        known.add(cls, "toys")
    return known


@pytest.fixture(scope="module")
def shipped():
    return jsonschema.Draft202012Validator(recipe_schema())


@pytest.fixture
def toy(toys, monkeypatch):
    monkeypatch.setattr(plugins, "registry", lambda: toys)
    return jsonschema.Draft202012Validator(recipe_schema(toys))


def tables(text, **more):
    return tomllib.loads(text) | more


def test_it_is_a_schema(shipped, toy):
    jsonschema.Draft202012Validator.check_schema(shipped.schema)
    jsonschema.Draft202012Validator.check_schema(toy.schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.relative_to(SHIPPED).as_posix())
def test_shipped_recipes_are_valid_and_name_the_schema(path, shipped):
    text = path.read_text(encoding="utf-8")
    shipped.validate(tomllib.loads(text))
    directive = f"#:schema {'../' * len(path.relative_to(SHIPPED).parts)}docs/reference/recipe.schema.json"
    assert text.startswith(f"{directive}\n"), f"{path.name}: its first line is {directive}"
    target = path.parent / directive.removeprefix("#:schema ")
    assert json.loads(target.read_text(encoding="utf-8"))["$comment"] == COMMENT


@pytest.mark.parametrize("name", recipe_names())
def test_written_recipes_are_valid(name, shipped):
    shipped.validate(load_recipe(name).tables())


def slip(path, value):
    """The digits recipe with one thing changed; None removes it."""
    changed = copy.deepcopy(load_recipe("digits").tables())
    *parents, last = path.split(".")
    at = changed
    for key in parents:
        at = at[int(key) if isinstance(at, list) else key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sead", 3),
        ("seed", "three"),
        ("clusters", 1),
        ("clusters", None),
        ("name", "a b"),
        ("backbone.widht", [3]),
        ("backbone.widths", "wide"),
        ("backbone.name", None),
        ("backbone.name", "small_resnt"),
        ("backbone", None),
        ("heads.classifier.width", "clutsers"),
        ("heads.classifier.name", None),
        ("heads.classifier.hidden", [0]),
        ("heads", {}),
        ("losses", []),
        ("losses.0.temprature", 0.1),
        ("losses.0.solver.epsilon", -1),
        ("losses.0.solver", {"epsilon": 0.03}),
        ("losses.0.solver", "sinkhron"),
        ("losses.0.name", None),
        ("losses.1.scores", 3),
        ("views.crops.0.size", None),
        ("views.crops.0.scale", [0.1]),
        ("optimizer.lr", None),
        ("optimizer.lr", 0),
        ("optimizer", "adam"),
        ("schedule.final", 2),
        ("schedule", "cosin"),
        ("trainer.epochs", 0.5),
        ("trainer.precision", "fp23"),
        ("evaluation.metrics", ["acc", "nim"]),
        ("callbacks.console.enablde", False),
        ("callbacks.other", {"enabled": True}),
        ("learner.batch_norm", "per_crop"),
        ("learner", "multiveiw"),
    ],
)
def test_slips_are_refused(path, value, shipped):
    shipped.validate(slip("seed", 1))
    assert not shipped.is_valid(slip(path, value))


@pytest.mark.parametrize(
    "text",
    [
        "[trainer]\nepochs = 3",
        "[heads.projection]\nhidden = [128]\nwidth = 64",
        "[heads.classifier]\ndetach = true",
        "[optimizer]\nbetas = [0.9, 0.999]",
        "[learner]\nbatch_norm = 'pooled'",
        "batch_norm = 'pooled'",
        "schedule = 'multistep'",
        "[views]\ncrops = [{ count = 2, size = 10, scale = [0.4, 1.0] }]",
        "[callbacks.checkpoint]\nevery = 5",
        "clusterer = 'kmeans'",
    ],
)
def test_a_recipe_on_top_of_another_may_give_parts_of_parts(text, shipped):
    shipped.validate(tables(text, extends="digits"))
    assert not shipped.is_valid(tables(text))


@pytest.mark.parametrize(
    "text",
    [
        "[trainer]\nepohcs = 3",
        "[heads.projection]\nhiden = [128]",
        "[heads.projection]\nname = 'mlp'\ncount = 3",
        "[optimizer]\nbetas = 3",
        "[[losses]]\ntemperature = 0.1",
        "[[losses]]\nname = 'swav'\nsolver = { epsilon = 0.1 }",
        "[views]\ncrops = [{ count = 2 }]",
        "sead = 3",
    ],
)
def test_on_top_of_another_slips_and_halves_of_arrays_are_refused(text, shipped):
    assert not shipped.is_valid(tables(text, extends="digits"))


def test_extends_itself_is_checked(shipped):
    assert not shipped.is_valid({"extends": 3})
    assert not shipped.is_valid({"extends": ""})


def test_every_component_is_there_with_its_settings(shipped):
    schema = shipped.schema
    for cls in plugins.registry():
        key = f"{cls.kind}.{cls.name}"
        found = schema["$defs"].get(f"whole.{key}") or schema["$defs"][key]
        assert found["properties"]["name"]["const"] == cls.name
        assert list(found["properties"]) == ["name", *cls.Config.model_fields]
        assert all(setting.get("description") for setting in found["properties"].values())
        assert found["description"]


def test_parts_are_one_of_their_kind(shipped):
    schema = shipped.schema
    assert schema["else"]["properties"]["data"]["$ref"] == "#/$defs/whole.data"
    assert {"$ref": "#/$defs/whole.data.digits"} in schema["$defs"]["whole.data"]["oneOf"]
    assert schema["properties"]["losses"]["items"] == {"$ref": "#/$defs/whole.loss"}


def test_types_ranges_and_defaults_are_told(shipped):
    epsilon = shipped.schema["$defs"]["whole.solver.sinkhorn"]["properties"]["epsilon"]
    assert (epsilon["type"], epsilon["exclusiveMinimum"], epsilon["default"]) == ("number", 0, 0.05)
    epochs = shipped.schema["properties"]["trainer"]["properties"]["epochs"]
    assert (epochs["type"], epochs["minimum"], epochs["default"]) == ("integer", 0, 100)


def test_nothing_is_null_and_references_lead_somewhere(toy):
    text = json.dumps(toy.schema)
    assert '"null"' not in text
    found = {name.split('"')[0] for name in text.split('"$ref": "#/$defs/')[1:]}
    assert found <= toy.schema["$defs"].keys()


def test_plugins_are_in_it(toy):
    losses = [{"name": "pull", "solver": "flat"}, {"name": "opaque", "thing": [1]}]
    toy.validate(tables(RECIPE, losses=losses))
    assert not toy.is_valid(tables(RECIPE, losses=[{"name": "swav"}]))


def test_another_learner_brings_other_tables(toy):
    toy.validate(tables(RECIPE, learner="multiview", mode="odd"))
    assert not toy.is_valid(tables(RECIPE, mode=3))
    second = {key: value for key, value in tables(RECIPE).items() if key not in ("heads", "losses")}
    second |= {"learner": {"name": "second"}, "inner": {"rate": 0.5}, "mode": 4}
    toy.validate(second)
    toy.validate(second | {"inner": {"rate": 1, "name": "y"}})
    for slip in ({"inner": {}}, {"inner": {"rte": 1}}, {"mode": "odd"}, {"losses": [{"name": "pull"}]}):
        assert not toy.is_valid(second | slip)
    del second["inner"]
    assert not toy.is_valid(second)
    toy.validate(second | {"learner": {"name": "second", "inner": {"rate": 0.5}}})


def test_what_the_schema_refuses_the_loader_refuses(toys, toy):
    """Both ways for the toys: the schema is no stricter than the program."""
    for text in (RECIPE, 'schedule = "drop"\n' + RECIPE, RECIPE + '[callbacks.mine]\nname = "echo"\n'):
        load_recipe(tomllib.loads(text))
        toy.validate(tomllib.loads(text))


def test_a_config_alone_tells_of_its_parts(toys, monkeypatch):
    monkeypatch.setattr(plugins, "registry", lambda: toys)
    solver = jsonschema.Draft202012Validator(Pull.Config.model_json_schema()["properties"]["solver"])
    solver.validate("flat")
    solver.validate({"name": "sharp", "epsilon": 1})
    assert not solver.is_valid({"name": "shrap"})


def test_the_command_prints_it_or_writes_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def leave(*words):
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return left.value.code, *capsys.readouterr()

    code, printed, _ = leave("schema")
    assert code == 0
    assert json.loads(printed) == recipe_schema()
    assert leave("schema", "--out", "a.json")[0] == 0
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == printed
    assert leave("schema", "--out", "a.json")[0] == 0
    (tmp_path / "mine.json").write_text("{}")
    code, _, said = leave("schema", "--out", "mine.json")
    assert (code, (tmp_path / "mine.json").read_text()) == (2, "{}")
    assert "not overwritten" in said
    assert leave("schema", "--out", "nowhere/a.json")[0] == 2
