"""What the loggers of other projects share: they are optional packages, and a run keeps its id when it is resumed."""

from __future__ import annotations

import importlib
import json
import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import Field

from imcswav.callbacks import Callback
from imcswav.errors import Problem, RunError

if TYPE_CHECKING:
    from imcswav.trainer import Trainer

FILE = "loggers.json"


class Logger(Callback):
    """Base of loggers: settings at the start, every logged number with its step, the summary at the end."""

    class Config(Callback.Config):
        project: str = Field("imcswav", min_length=1)
        """What the logger files the run under."""

        def check(self) -> list[Problem]:
            """Whether its package, which has its name, is installed."""
            name = self.owner.name
            if find_spec(name):
                return []
            message = f"the package {name} isn't installed."
            return [Problem("enabled", message, f"Install it with: pip install 'imcswav[{name}]', or set it to false.")]

    config: Config

    def package(self, name: str) -> Any:
        """The logger's package; raises RunError with the extra to install."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise RunError(
                f"The callback '{self.name}' needs the package {name}, which can't be imported ({error}); install it "
                f"with: pip install 'imcswav[{name}]', or set callbacks.{self.name}.enabled=false."
            ) from error

    def known_id(self, trainer: Trainer) -> str | None:
        """The id that this run has with this logger, None before its first start."""
        found: str | None = _ids(trainer).get(self.name)
        return found

    def keep_id(self, trainer: Trainer, run_id: str) -> None:
        """Remember the id in the run folder, for resuming."""
        trainer.run.write_json(FILE, {**_ids(trainer), self.name: run_id})


def new_id() -> str:
    """An id that no other run has."""
    return secrets.token_hex(4)


def title(trainer: Trainer) -> str:
    """What people call the run: its folder's name, of one among several seeds with the folder above."""
    path = trainer.run.path.resolve()
    return f"{path.parent.name}-{path.name}" if path.name.startswith("seed-") else path.name


def numbers(summary: dict[str, Any]) -> dict[str, float]:
    """The numbers of a summary."""
    return {key: value for key, value in summary.items() if isinstance(value, int | float)}


def _ids(trainer: Trainer) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((trainer.run.path / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
