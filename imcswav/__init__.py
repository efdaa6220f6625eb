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
    from imcswav.api import probe as probe
    from imcswav.api import resume as resume
    from imcswav.api import run as run
    from imcswav.clustering import Clustering as Clustering
    from imcswav.clustering.folder import cluster as cluster
    from imcswav.component import Component as Component
    from imcswav.errors import ImcswavError as ImcswavError
    from imcswav.estimator import ImageClustering as ImageClustering
    from imcswav.export import export_run as export_run
    from imcswav.hub import pull as pull
    from imcswav.hub import push_run as push_run
    from imcswav.k_choice import KChoice as KChoice
    from imcswav.k_choice import choose_k as choose_k
    from imcswav.model import Model as Model
    from imcswav.multi_head import MultiHeadClustering as MultiHeadClustering
    from imcswav.plugins import hookimpl as hookimpl
    from imcswav.recipe.files import load_recipe as load_recipe
    from imcswav.results.comparison import compare_runs as compare_runs
    from imcswav.results.features import run_features as run_features
    from imcswav.results.ladder import run_ladder as run_ladder
    from imcswav.results.reproduction import reproduce as reproduce
    from imcswav.results.seeds import resume_seeds as resume_seeds
    from imcswav.results.seeds import run_seeds as run_seeds

__version__ = "0.1.0"

_HOMES = {
    "Clustering": "imcswav.clustering",
    "Component": "imcswav.component",
    "ImageClustering": "imcswav.estimator",
    "ImcswavError": "imcswav.errors",
    "KChoice": "imcswav.k_choice",
    "Model": "imcswav.model",
    "MultiHeadClustering": "imcswav.multi_head",
    "RunResult": "imcswav.api",
    "cluster": "imcswav.clustering.folder",
    "choose_k": "imcswav.k_choice",
    "compare_runs": "imcswav.results.comparison",
    "export_run": "imcswav.export",
    "hookimpl": "imcswav.plugins",
    "load": "imcswav.api",
    "load_recipe": "imcswav.recipe.files",
    "probe": "imcswav.api",
    "pull": "imcswav.hub",
    "push_run": "imcswav.hub",
    "reproduce": "imcswav.results.reproduction",
    "resume": "imcswav.api",
    "resume_seeds": "imcswav.results.seeds",
    "run": "imcswav.api",
    "run_features": "imcswav.results.features",
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
