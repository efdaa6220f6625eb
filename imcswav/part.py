"""Part: a recipe field that holds a component's settings, chosen by ``name``. Imports no torch.

    solver: Annotated[Solver.Config, Part("solver")] = {"name": "sinkhorn"}

In TOML this is a table with ``name`` and that component's own settings; validated, it is that component's
Config; written back, it is the table again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from imcswav.component import Component


@dataclass(frozen=True)
class Part:
    """Annotation marking a field as "a component of this kind"."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(dump_part)
        )

    def validate(self, value: Any) -> Component.Config:
        """Turn a table, a bare name or a ready Config into the Config of the component it names."""
        from imcswav.plugins import registry

        if isinstance(value, Component.Config):
            return value
        table = {"name": value} if isinstance(value, str) else value
        if not isinstance(table, Mapping):
            raise self._error((), "should be a table with a name", value)
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

        return f"Known: {', '.join(registry().names(self.kind))}."

    def _error(self, loc: tuple[str | int, ...], message: str, value: Any) -> ValidationError:
        # "{text}" keeps braces inside the message from being read as a template
        problem = PydanticCustomError("part", "{text}", {"text": message})
        details = InitErrorDetails(type=problem, loc=loc, input=value)
        return ValidationError.from_exception_data(self.kind, [details])


def dump_part(config: Component.Config) -> dict[str, Any]:
    """The table a Config came from: its name, then its settings, defaults included, None left out."""
    settings = config.model_dump(exclude_none=True)
    return {"name": config.owner.name, **settings}
