"""Transductive few-shot learning by clustering (Ziko, Boudiaf, Dolz, Granger & Ben Ayed, arXiv 2106.09516).

The clusterer ``slk`` for recipes; ``python -m imcswav_fewshot`` draws episodes from the features of a run, an archive
or a data set's pixels and scores it. E episodes, N rows each, are further shape letters here; N is M for other images.
"""

from imcswav.plugins import hookimpl
from imcswav_fewshot.clusterer import SLK
from imcswav_fewshot.episodes import Episodes, draw_episodes
from imcswav_fewshot.evaluate import METHODS, accuracies, interval

__all__ = ["METHODS", "SLK", "Episodes", "accuracies", "draw_episodes", "interval"]


@hookimpl
def imcswav_components() -> list[type]:
    """The clusterer of this package."""
    return [SLK]
