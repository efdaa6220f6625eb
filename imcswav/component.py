"""Component: the one contract of everything a recipe can name. Imports no torch.

A component is a class with a nested, frozen pydantic ``Config``. The Config says what a user may set; its
``build(**runtime)`` makes the component, where runtime values are what only other parts know (feature width,
number of clusters, device). ``Component.create(**settings)`` is the short cut from Python.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from imcswav.errors import PluginError, Problem

KINDS = (
    "data", "views", "backbone", "head", "solver", "loss", "learner", "optimizer", "schedule", "clusterer",
    "metric", "callback",
)  # fmt: skip


class Settings(BaseModel):
    """A frozen table of a recipe: unknown keys are refused, a field's docstring is its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


class Component:
    """Base of all kinds. Subclass a kind's base and give a name: ``class MyLoss(Loss, name="my_loss")``."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    class Config(Settings):
        """Settings of the component."""

        owner: ClassVar[type[Component]]

        def build(self, **runtime: Any) -> Any:
            """Make the component; ``runtime`` holds what only other parts know."""
            return self.owner(self, **runtime)

        def check(self, **facts: Any) -> list[Problem]:
            """Problems that can be known before anything is built; paths are relative to this table."""
            return []

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def __init_subclass__(cls, *, kind: str | None = None, name: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind is not None:
            if kind not in KINDS:
                raise PluginError(f"{cls.__qualname__}: '{kind}' is no kind; the kinds are {', '.join(KINDS)}.")
            cls.kind = kind
        cls.name = name or ""
        own = cls.__dict__.get("Config")
        if own is None:
            parent = cls.Config
            own = type("Config", (parent,), {"__module__": cls.__module__, "__doc__": parent.__doc__})
            cls.Config = own  # type: ignore[misc]
        elif "owner" in own.__dict__:
            raise PluginError(
                f"{cls.__qualname__}: its Config already belongs to {own.owner.__qualname__}; subclass it instead."
            )
        own.owner = cls

    @classmethod
    def create(cls, **settings: Any) -> Self:
        """Build from Python: settings of the Config and runtime values together, told apart by name.

        Raises pydantic's ValidationError for a bad setting and TypeError for a missing runtime value.
        """
        accepted = inspect.signature(cls.__init__).parameters
        runtime = {key: settings.pop(key) for key in list(settings) if key in accepted and key != "config"}
        component = cls.Config(**settings).build(**runtime)
        assert isinstance(component, cls)
        return component
