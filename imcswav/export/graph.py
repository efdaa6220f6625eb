"""A model as one torch graph: uint8 images in, features and probabilities out."""

from __future__ import annotations

from contextlib import nullcontext
from unittest import mock

import torch
from torch import Tensor, nn

from imcswav.errors import RunError
from imcswav.export.edited import Edited
from imcswav.model import Model

INPUT, OUTPUTS = "images", ("features", "probabilities")
INSTEAD = "export it with --format safetensors, which imcswav.load reads."


class Graph(nn.Module):
    """``Model.embed_batch``, ``assign`` and the edits in float32, for images of the model's own size."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.learner, self.views, self.flip = model.learner, model.views, model.flip
        self.clusterer: nn.Module | None = None
        if model.clusterer is not None:
            self.clusterer = model.clusterer.module()
            if self.clusterer is None:
                name = model.clusterer.name
                raise RunError(f"The clusterer '{name}' of this model has no form that a graph can hold; {INSTEAD}")
        self.edited = None if model.edits is None else Edited(model.edits)

    def forward(self, images_NCSS: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, S, S) → features (N, F), probabilities (N, K)."""
        features_NF, probabilities_NK = self._embed(images_NCSS)
        if self.flip:
            mirrored_NF, mirrored_NK = self._embed(images_NCSS.flip(-1))
            features_NF = (features_NF + mirrored_NF) / 2
            if probabilities_NK is not None and mirrored_NK is not None:
                probabilities_NK = (probabilities_NK + mirrored_NK) / 2
        if self.clusterer is not None:
            probabilities_NK = self.clusterer(features_NF)
        if probabilities_NK is None:
            raise RunError("Nothing in this model assigns clusters: its recipe has no classifier and no clusterer.")
        return features_NF, probabilities_NK if self.edited is None else self.edited(features_NF, probabilities_NK)

    def _embed(self, images_NCSS: Tensor) -> tuple[Tensor, Tensor | None]:
        found = self.learner.embed(images_NCSS, self.views)
        return found.features.float(), found.probabilities


@torch.no_grad()
def trace(model: Model) -> tuple[torch.export.ExportedProgram, Tensor]:
    """The graph for any number of images, and the images it was traced with; raises RunError where it can't be had."""
    facts = model.facts
    images_NCSS = torch.zeros(2, facts.channels, facts.size, facts.size, dtype=torch.uint8)
    graph = Graph(model).eval()
    graph(images_NCSS)  # what fails here isn't the tracing's fault
    try:
        with mock.patch("torch.autocast", return_value=nullcontext()):
            # all is float32 here, and as nodes of the graph such regions can be saved, but not loaded again
            traced = torch.export.export(graph, (images_NCSS,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # the network may be anybody's, and hold anything
        raise untraceable(error) from error
    return traced, images_NCSS


def untraceable(error: Exception) -> RunError:
    """One sentence for whatever the exporter says, often over pages."""
    reason = next(iter(str(error).strip().splitlines()), "")[:200].rstrip(". ")
    return RunError(f"This network can't be exported as a graph ({type(error).__name__}: {reason}); {INSTEAD}")
