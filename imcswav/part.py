"""Part: a recipe field that holds a component's settings, chosen by ``name``. Imports no torch.

    solver: Annotated[Solver.Config, Part("solver")] = {"name": "sinkhorn"}

In TOML this is a table with ``name`` and that component's own settings; validated, it is that component's
Config; written back, it is the table again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from imcswav.component import Component

PART = "x-part"
"""Key that marks, in a JSON schema, where a component's table stands; its value is the kind."""


@dataclass(frozen=True)
class Part:
    """Annotation marking a field as "a component of this kind"."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(dump_part)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A name, or a table with one; ``imcswav.recipe.json_schema`` puts every component's settings in its place."""
        from imcswav.plugins import registry

        names = {"enum": registry().names(self.kind)}
        table = {"type": "object", "properties": {"name": names}, "required": ["name"]}
        return {"anyOf": [names, table], PART: self.kind}

    def validate(self, value: Any) -> Component.Config:
        """Turn a table, a bare name or a ready Config into the Config of the component it names."""
        from imcswav.plugins import registry

        if isinstance(value, Component.Config) and getattr(value, "owner", self).kind == self.kind:
            return value  # one of no component stands in for what can't be read
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping):
            message = f"must be a {self.kind}: a table with a name, or only the name. {self._known()}"
            raise self._error((), message, value)
        name = table.get("name")
        if not isinstance(name, str):
            raise self._error(("name",), f"the {self.kind} has no name. {self._known()}", name)
        known = registry()
        if (self.kind, name) not in known.classes:
            message = f"there is no {self.kind} '{name}'. {known.suggest(self.kind, name)}"
            raise self._error(("name",), message, name)
        settings = {key: entry for key, entry in table.items() if key != "name"}
        return known.classes[self.kind, name].Config.model_validate(settings)

    def _known(self) -> str:
        from imcswav.plugins import registry

        return registry().suggest(self.kind, "")

    def _error(self, loc: tuple[str | int, ...], message: str, value: Any) -> ValidationError:
        # "{text}" keeps braces inside the message from being read as a template
        problem = PydanticCustomError("part", "{text}", {"text": message})
        details = InitErrorDetails(type=problem, loc=loc, input=value)
        return ValidationError.from_exception_data(self.kind, [details])


def dump_part(config: Component.Config) -> dict[str, Any]:
    """The table a Config came from: its name, then its settings, defaults included, None left out.

    Values are TOML's and JSON's: paths and enumerations become text, tuples become lists.
    """
    return {"name": config.owner.name, **without_none(config.model_dump(mode="json"))}


def without_none(value: Any) -> Any:
    """Tables, however nested, without the keys whose value is None, which TOML can't write."""
    if isinstance(value, dict):
        return {key: without_none(entry) for key, entry in value.items() if entry is not None}
    return [without_none(entry) for entry in value] if isinstance(value, list) else value
