"""Composable self-supervised image clustering: images without labels in, clusters out.

    import imcswav
    result = imcswav.run("digits")
    model = imcswav.load(result.path)
    model.predict(images)

Importing this package loads no torch; names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imcswav.api import RunResult as RunResult
    from imcswav.api import load as load
    from imcswav.api import resume as resume
    from imcswav.api import run as run
    from imcswav.component import Component as Component
    from imcswav.errors import ImcswavError as ImcswavError
    from imcswav.model import Model as Model
    from imcswav.multi_head import MultiHeadClustering as MultiHeadClustering
    from imcswav.plugins import hookimpl as hookimpl
    from imcswav.recipe.files import load_recipe as load_recipe
    from imcswav.results.comparison import compare_runs as compare_runs
    from imcswav.results.ladder import run_ladder as run_ladder
    from imcswav.results.reproduction import reproduce as reproduce
    from imcswav.results.seeds import resume_seeds as resume_seeds
    from imcswav.results.seeds import run_seeds as run_seeds

__version__ = "0.1.0"

_HOMES = {
    "Component": "imcswav.component",
    "ImcswavError": "imcswav.errors",
    "Model": "imcswav.model",
    "MultiHeadClustering": "imcswav.multi_head",
    "RunResult": "imcswav.api",
    "compare_runs": "imcswav.results.comparison",
    "hookimpl": "imcswav.plugins",
    "load": "imcswav.api",
    "load_recipe": "imcswav.recipe.files",
    "reproduce": "imcswav.results.reproduction",
    "resume": "imcswav.api",
    "resume_seeds": "imcswav.results.seeds",
    "run": "imcswav.api",
    "run_ladder": "imcswav.results.ladder",
    "run_seeds": "imcswav.results.seeds",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'imcswav' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
