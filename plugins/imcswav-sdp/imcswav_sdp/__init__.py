"""Clustering by semidefinite programs: Peng–Wei's for k-means and the likelihood-adjusted one, alone or in a recipe.

Further letters of tensor names: N here are the points of a program, M its matrices (1 for k-means, K for likelihoods).
"""

from imcswav.plugins import hookimpl
from imcswav_sdp.clusterers import ILASDPClusterer, SDPKMeansClusterer
from imcswav_sdp.estimators import ILASDP, SDPKMeans
from imcswav_sdp.program import Program, Solution, solve

__all__ = ["ILASDP", "Program", "SDPKMeans", "Solution", "solve"]


@hookimpl
def imcswav_components() -> list[type]:
    """What this package offers to recipes."""
    return [SDPKMeansClusterer, ILASDPClusterer]
