"""Model: a learner (and clusterer) that assigns images; what a run leaves behind in ``model/``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imcswav.clusterers import Array, Clusterer
from imcswav.clustering import Clustering
from imcswav.clustering.edits.kept import Kept
from imcswav.data import DataFacts, Images, own_images
from imcswav.devices import pick_device
from imcswav.distributed import all_rows, world_size
from imcswav.engine import resolve_precision
from imcswav.errors import RunError
from imcswav.feature_cache import kept
from imcswav.files import write_atomically
from imcswav.imaging.read import to_images
from imcswav.learners import Embedding, Learner, training_only
from imcswav.part import Part, dump_part
from imcswav.progress import stage
from imcswav.recipe.errors import problems_of
from imcswav.runs import refuse_many

FORMAT = 1
IN_FILE = "imcswav.model"
"""The key of the settings in the metadata of a safetensors file that is a whole model."""
EDITS_IN_FILE = "imcswav.edits"
"""That of its edits, where there are some."""
BATCH = 500
KEPT_BATCH = 64
"""Images between two writes of features that are kept: at 224 px seconds on a CPU."""


def joined(parts: Sequence[Embedding]) -> Embedding:
    """Embeddings of batches as one, features in float32."""
    features = torch.cat([part.features.float() for part in parts])
    known = [part.probabilities for part in parts if part.probabilities is not None]
    return Embedding(features, torch.cat(known) if known else None)


class Model:
    """Assigns whole images to clusters: ``imcswav.load(run)``.

    ``images`` below are anything that imcswav reads: paths, PIL images, arrays or tensors (N, H, W),
    (N, H, W, C) or (N, C, H, W), uint8 or floats in [0, 1]; they are resized as the training images were.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        facts: DataFacts,
        clusters: int,
        views: int = 1,
        flip: bool = False,
        clusterer: Clusterer | None = None,
        precision: str = "auto",
        edits: Kept | None = None,
    ) -> None:
        self.learner, self.facts, self.clusters = learner, facts, clusters
        self.views, self.flip = views, flip
        self.clusterer, self.precision, self.edits = clusterer, precision, edits
        self.shared = False
        """Whether processes that train together all call ``embed`` at once, on the same images, and share the work."""

    def __repr__(self) -> str:
        name = type(self.learner).name
        return (
            f"Model({len(self.ids)} clusters, learner={name!r}, size={self.facts.size}, channels={self.facts.channels})"
        )

    @property
    def backbone(self) -> nn.Module:
        """The trained backbone: normalised images (N, C, H, W) → features (N, F)."""
        return self.learner.encoder()

    def predict(self, images: Any) -> Array:
        """Number of each image's cluster, int64 (N,): 0 … K−1, or as edited, with −1 for outliers."""
        return self.clustering(self.embed(self._read(images))).clusters_N

    def predict_proba(self, images: Any) -> Array:
        """Probability of each cluster, float32 (N, K); raises DataError for images that can't be read.

        Where the clusters of the run were edited, column j is that of the cluster ``model.ids[j]``.
        """
        return self.clustering(self.embed(self._read(images))).probabilities_NK

    @property
    def ids(self) -> tuple[int, ...]:
        """Numbers of the clusters, ascending: 0 … K−1, or what edits made of them."""
        return tuple(range(self.clusters)) if self.edits is None else self.edits.after.ids

    @property
    def titles(self) -> Mapping[int, str]:
        """Names that somebody gave to clusters, by their number."""
        return {} if self.edits is None else self.edits.after.titles

    def transform(self, images: Any) -> Array:
        """Features of the backbone, float32 (N, F)."""
        return _numpy(self.embed(self._read(images)).features)

    def _read(self, images: Any) -> Tensor:
        return to_images(images, size=self.facts.size, channels=self.facts.channels, resize=self.facts.resize)

    def embed(self, images_NCHW: Images) -> Embedding:
        """Features and probabilities of decoded uint8 images, in batches of a fixed size.

        Processes that train together share the images while they evaluate, and each gets the result of all.
        """
        batches = own_images(images_NCHW, BATCH) if self.shared else images_NCHW.split(BATCH)
        found = joined([self.embed_batch(batch) for batch in batches])
        if not self.shared:
            return found
        features = all_rows(found.features, len(images_NCHW))
        some = found.probabilities
        return Embedding(features, None if some is None else all_rows(some, len(images_NCHW)))

    @torch.no_grad()
    def copy_clusters(self, images_NCHW: Images, rows_n: Tensor) -> Array | None:
        """Clusters (n, E) of some of the images by each copy of the head that assigns, the used one first.

        None where there is one, or a clusterer assigns.
        """
        if self.clusterer is not None:
            return None
        parts = []
        for rows_B in rows_n.to(images_NCHW.device).split(BATCH):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
                found_BE = self.learner.copy_clusters(images_NCHW[rows_B].to(self._device))
            if found_BE is None:
                return None
            parts.append(found_BE.cpu().numpy())
        return np.concatenate(parts)

    def embed_kept(self, images_NCHW: Images) -> Embedding:
        """``embed``, but features that last (``Learner.lasting``) come from the cache on disk where it has them."""
        network = self.learner.lasting()
        if network is None or (self.shared and world_size() > 1):  # the cache has one writer
            return self.embed(images_NCHW)
        how = f"{network} {self.flip} {self._half}"
        rows = []
        with kept(how) as cache, stage("Features", total=len(images_NCHW)) as advance:
            for batch_BCHW in images_NCHW.split(KEPT_BATCH):
                rows.append(cache(batch_BCHW.cpu().numpy(), self._features))
                advance(len(batch_BCHW))
        return Embedding(torch.from_numpy(np.concatenate(rows)), None)

    def _features(self, images_BCHW: Array) -> Array:
        return _numpy(self.embed_batch(torch.from_numpy(images_BCHW)).features)

    @torch.no_grad()
    def embed_batch(self, images_BCHW: Tensor) -> Embedding:
        """Features and probabilities of one batch, averaged over the mirror images too where ``flip`` says so.

        Under bf16 autocast on a GPU that has it, else in float32; ``precision`` "fp32" (the recipe's) means float32
        everywhere.
        """
        found = self.embed_upright(images_BCHW)
        if not self.flip:
            return found
        mirrored = self.embed_upright(images_BCHW.flip(-1))
        features = (found.features + mirrored.features) / 2
        if found.probabilities is None or mirrored.probabilities is None:
            return Embedding(features, None)
        return Embedding(features, (found.probabilities + mirrored.probabilities) / 2)

    @torch.no_grad()
    def embed_upright(self, images_BCHW: Tensor) -> Embedding:
        """The same of the images as they are."""
        device = self._device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
            return self.learner.embed(images_BCHW.to(device), self.views)

    @property
    def _device(self) -> torch.device:
        tensors = chain(self.learner.parameters(), self.learner.buffers())  # a network may have no weights
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @property
    def _half(self) -> bool:
        return self.precision != "fp32" and resolve_precision("auto", self._device) == "bf16"

    def assign(self, embedding: Embedding) -> Array:
        """Probabilities (N, K) by the clusterer where there is one, else by the learner's own head; before any edit."""
        if self.clusterer is not None:
            return self.clusterer.predict_proba(_numpy(embedding.features)).astype(np.float32)
        if embedding.probabilities is None:
            raise RunError("Nothing in this model assigns clusters: its recipe has no classifier and no clusterer.")
        return _numpy(embedding.probabilities)

    def clustering(self, embedding: Embedding) -> Clustering:
        """Images embedded, nameless and as edited: what somebody set by hand holds for the run's own images alone."""
        probabilities_NK = self.assign(embedding)
        found = Clustering(
            names=[""] * len(probabilities_NK), features_NF=_numpy(embedding.features),
            probabilities_NK=probabilities_NK, ids=tuple(range(probabilities_NK.shape[1])),
        )  # fmt: skip
        return found if self.edits is None else self.edits.applied(found)

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors``, ``config.json`` and, if there are edits, ``edits.json``, each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        state, config = self.packed()
        write_atomically(folder / "weights.safetensors", lambda path: save_file(state, path))
        text = json.dumps(config, indent=2, default=str)
        write_atomically(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))
        if self.edits is not None:
            self.edits.write(folder)

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors that prediction needs, on the CPU, and the settings, as ``save`` writes them."""
        idle = training_only(self.learner)
        kept = {key: value for key, value in self.learner.state_dict().items() if key not in idle}
        state = {f"learner.{key}": _own(value) for key, value in kept.items()}
        if self.clusterer is not None:
            state |= {f"clusterer.{key}": _own(value) for key, value in self.clusterer.state.items()}
        config = {
            "format": FORMAT,
            "clusters": self.clusters,
            "views": self.views,
            "flip": self.flip,
            "precision": self.precision,
            "facts": dataclasses.asdict(self.facts),
            "learner": dump_part(self.learner.config),
            "clusterer": dump_part(self.clusterer.config) if self.clusterer else None,
        }
        return state, config

    @classmethod
    def load(cls, run: str | Path, device: str = "auto") -> Model:
        """Load from a run folder, its ``model/`` or a file of `imcswav export`; ``device`` may be "auto".

        Raises RunError when there is no model or it can't be restored, ImcswavError for a device that isn't there.
        """
        folder = Path(run)
        if not (folder.is_file() or (folder / "config.json").is_file()):
            folder = folder / "model"
        refuse_many(Path(run))
        if (Path(run) / "recipe.toml").is_file() and not folder.is_dir():
            raise RunError(
                f"The run {run} isn't finished and has no model yet; end it first: imcswav resume {quote(str(run))}"
            )
        try:
            config, weights = _settings(folder)
            if config.get("format") != FORMAT:
                found = config.get("format")
                raise RunError(f"{folder} is of model format {found}, this imcswav reads {FORMAT}; upgrade it.")
            state = load_file(weights)
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise RunError(
                f"{run} holds no readable model ({error}); give the folder of a finished run (runs/<name>/<time>), or "
                f"a file of `imcswav export --format safetensors`."
            ) from error
        target = pick_device(device)
        try:
            model = cls._restore(config, state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"The model in {folder} can't be restored ({_why(error)}); install the packages and the version of "
                f"imcswav it was trained with (environment.json)."
            ) from error
        model.edits = _edits(folder)
        return model.to(target)

    @classmethod
    def _restore(cls, config: dict[str, Any], state: dict[str, Tensor]) -> Model:
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["facts"].items()}
        facts = DataFacts(**known)
        settings = Part("learner").validate(config["learner"])
        assert isinstance(settings, Learner.Config)
        learner: Learner = settings.restored().build(facts=facts, clusters=config["clusters"])
        own = {k[len("learner.") :]: v for k, v in state.items() if k.startswith("learner.")}
        idle, fresh = training_only(learner), learner.state_dict()
        learner.load_state_dict({**{key: fresh[key] for key in idle}, **own})
        clusterer: Clusterer | None = None
        if config["clusterer"]:
            clusterer = Part("clusterer").validate(config["clusterer"]).build(clusters=config["clusters"], seed=0)
            assert clusterer is not None
            clusterer.state = {k[len("clusterer.") :]: v for k, v in state.items() if k.startswith("clusterer.")}
        return cls(
            learner.eval(),
            facts=facts,
            clusters=config["clusters"],
            views=config["views"],
            flip=config.get("flip", False),
            clusterer=clusterer,
            precision=config.get("precision", "auto"),
        )

    def to(self, device: str | torch.device) -> Model:
        """Move the network; returns self."""
        self.learner.to(device)
        return self


def _why(error: Exception) -> str:
    """Why a model can't be restored, in a line: it lacks something, or a part isn't as this installation has it."""
    if isinstance(error, ValidationError):
        return "; ".join(str(problem).rstrip(".") for problem in problems_of(error))
    said = " ".join(str(error).split())
    return f"it has no {said}" if isinstance(error, KeyError) else said


def _settings(place: Path) -> tuple[dict[str, Any], Path]:
    """The settings of a model and its file of weights: of a folder, or of a file that has them as metadata."""
    if not place.is_file():
        text = (place / "config.json").read_text(encoding="utf-8")
        return dict(json.loads(text)), place / "weights.safetensors"
    with safe_open(place, "pt") as file:
        found = (file.metadata() or {}).get(IN_FILE)
    if found is None:
        raise ValueError("it has weights, but not their settings")
    return dict(json.loads(found)), place


def _edits(place: Path) -> Kept | None:
    """The edits of a model in a folder, or in a file."""
    if not place.is_file():
        return Kept.read(place)
    with safe_open(place, "pt") as file:
        found = (file.metadata() or {}).get(EDITS_IN_FILE)
    return None if found is None else Kept.parse(found, place)


def _own(x: Tensor) -> Tensor:
    """A contiguous copy on the CPU with memory of its own: safetensors refuses tied weights otherwise."""
    return x.detach().cpu().clone(memory_format=torch.contiguous_format)


def _numpy(x: Tensor) -> Array:
    return x.detach().float().cpu().numpy()
