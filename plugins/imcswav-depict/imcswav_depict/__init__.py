"""DEPICT (Dizaji, Herandi, Deng, Cai & Huang, ICCV 2017, arXiv 1704.06327): learner ``depict``, solver ``sharpen``.

``python -m imcswav_depict RECIPE`` trains several seeds and compares them with their own initialisation.
"""

from imcswav.plugins import hookimpl
from imcswav_depict.learner import Depict
from imcswav_depict.sharpen import Sharpen

__all__ = ["Depict", "Sharpen"]


@hookimpl
def imcswav_components() -> list[type]:
    """The components of this package."""
    return [Depict, Sharpen]
