"""Component: the one contract of everything a recipe can name. Imports no torch.

A component is a class with a nested, frozen pydantic ``Config``. The Config says what a user may set; its
``build(**runtime)`` makes the component, where runtime values are what only other parts know (feature width,
number of clusters, device). ``Component.create(**settings)`` is the short cut from Python.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from imcswav.errors import PluginError

FOLDERS = {
    "data": "data", "views": "views", "backbone": "backbones", "head": "heads", "solver": "solvers",
    "loss": "losses", "learner": "learners", "optimizer": "optimizers", "schedule": "schedules",
    "clusterer": "clusterers", "metric": "metrics", "callback": "callbacks",
}  # fmt: skip
"""Kind → the folder of its built-in components."""
KINDS = tuple(FOLDERS)


class Settings(BaseModel):
    """A frozen table of a recipe: unknown keys are refused, a field's docstring is its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="wrap")
    @classmethod
    def _explain_unknown_keys(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Tell, with each unknown key, what the table is and which keys it has; pydantic doesn't."""
        try:
            return handler(value)
        except ValidationError as error:
            found = error.errors(include_url=False)
            if not any(_unknown(one) for one in found):
                raise
            details = [cls._detail(one) for one in found]
            raise ValidationError.from_exception_data(error.title, details) from None

    @classmethod
    def _detail(cls, error: Any) -> InitErrorDetails:
        context = error.get("ctx", {})
        kind: str | PydanticCustomError = error["type"]
        if _unknown(error):
            context = {"known": list(cls.model_fields), "table": cls._title()}
            kind = PydanticCustomError("unknown_key", "Unknown key of {table}", context)
        elif kind in ("unknown_key", "part"):  # made by imcswav, so pydantic has no template for it
            kind = PydanticCustomError(kind, "{text}", {"text": error["msg"], **context})
        return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=context)

    @classmethod
    def _title(cls) -> str:
        """What messages call this table."""
        return "this table"


def _unknown(error: Any) -> bool:
    return error["type"] == "extra_forbidden" and len(error["loc"]) == 1


class Component:
    """Base of all kinds. Subclass a kind's base and give a name: ``class MyLoss(Loss, name="my_loss")``."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    class Config(Settings):
        """Settings of the component."""

        owner: ClassVar[type[Component]]
        hinge: ClassVar[str | None] = None
        """The setting that others are written for, as a backbone's ``model``; see ``inherit`` and ``choices``."""

        @classmethod
        def inherit(cls, base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
            """What of a table stays when a recipe on top, or ``--set``, gives ``new`` with another ``hinge``."""
            return base

        @classmethod
        def choices(cls) -> list[str]:
            """What the ``hinge`` may be, where it is one of a list of names."""
            return []

        @classmethod
        def _title(cls) -> str:
            owner = cls.__dict__.get("owner")
            return f"the {owner.kind} '{owner.name}'" if owner is not None and owner.name else "this table"

        def build(self, **runtime: Any) -> Any:
            """Make the component; ``runtime`` holds what only other parts know."""
            return self.owner(self, **runtime)

    config: Config

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def __init_subclass__(cls, *, kind: str | None = None, name: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if kind is not None:
            if kind not in KINDS:
                kinds = ", ".join(KINDS)
                raise PluginError(f"{cls.__qualname__}: '{kind}' is no kind; the kinds are {kinds}.")
            cls.kind = kind
        cls.name = name or ""
        own: Any = cls.__dict__.get("Config")
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
