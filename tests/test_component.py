import subprocess
import sys

import pytest
from pydantic import Field, ValidationError

from imcswav.component import Component, Settings
from imcswav.errors import PluginError


class Toy(Component, kind="head", name="toy"):
    """A component."""

    class Config(Component.Config):
        size: int = Field(3, gt=0)
        """How big."""

    def __init__(self, config, *, width, seed=0):
        super().__init__(config)
        self.width, self.seed = width, seed


def test_settings_are_frozen_refuse_unknown_keys_and_describe_themselves():
    assert Toy.Config.model_fields["size"].description == "How big."
    with pytest.raises(ValidationError, match="frozen"):
        Toy.Config().size = 4
    with pytest.raises(ValidationError, match="Unknown key of the head 'toy'"):
        Toy.Config(sise=4)


def test_defaults_are_validated_and_must_be_finite():
    class Bad(Settings):
        size: int = Field(-1, gt=0)

    class Real(Settings):
        size: float

    with pytest.raises(ValidationError, match="greater than 0"):
        Bad()
    for value in ("nan", float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="finite"):
            Real(size=value)


def test_unknown_keys_come_with_those_that_exist_beside_all_other_errors():
    class Inner(Settings):
        size: int

    class Outer(Settings):
        inner: Inner
        other: int

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"sise": 1}, "other": "x", "more": 2})
    found = {error["loc"]: error for error in caught.value.errors()}
    assert set(found) == {("inner", "size"), ("inner", "sise"), ("other",), ("more",)}
    assert found["inner", "sise"]["ctx"]["known"] == ["size"]
    assert found["inner", "sise"]["ctx"]["table"] == "this table"
    assert found["more",]["ctx"]["known"] == ["inner", "other"]
    assert found["inner", "size"]["type"] == "missing"
    assert found["other",]["type"] == "int_parsing"


def test_a_validators_error_survives_beside_an_unknown_key():
    class Inner(Settings):
        size: int = 1

        def model_post_init(self, context):
            if self.size == 2:
                raise ValueError("two is {odd}")

    class Outer(Settings):
        inner: Inner

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"size": 2}, "more": 2})
    assert {error["type"] for error in caught.value.errors()} == {"value_error", "unknown_key"}
    assert "two is {odd}" in str(caught.value)


def test_create_tells_settings_from_runtime_values():
    toy = Toy.create(size=5, width=2, seed=9)
    assert (toy.config.size, toy.width, toy.seed) == (5, 2, 9)
    with pytest.raises(TypeError, match="width"):
        Toy.create(size=5)
    with pytest.raises(ValidationError):
        Toy.create(size=0, width=2)


def test_every_class_owns_its_config():
    class Child(Toy, name="child"):
        pass

    class Grandchild(Child, name="grandchild"):
        class Config(Child.Config):
            more: int = 0

    assert (Toy.Config.owner, Child.Config.owner, Grandchild.Config.owner) == (Toy, Child, Grandchild)
    assert (Child.kind, Child.name) == ("head", "child")
    assert type(Grandchild.create(width=1)) is Grandchild
    assert type(Child.Config().build(width=1)) is Child


def test_a_config_cannot_get_a_second_owner():
    with pytest.raises(PluginError, match=r"already belongs to Toy; subclass it"):
        type("Thief", (Component,), {"Config": Toy.Config}, kind="head", name="thief")


def test_an_unknown_kind_is_refused():
    with pytest.raises(PluginError, match=r"Odd: 'sponge' is no kind; the kinds are data, views"):
        type("Odd", (Component,), {}, kind="sponge")


def test_the_contract_of_components_loads_no_torch():
    code = "import sys, imcswav.component, imcswav.part, imcswav.plugins, imcswav.recipe, imcswav.recipe.files; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
