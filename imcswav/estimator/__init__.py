"""Image clustering in scikit-learn's manners: ``imcswav.ImageClustering``."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from imcswav.api import run
from imcswav.clusterers import Array
from imcswav.data.array import ArrayData
from imcswav.devices import pick_device
from imcswav.errors import DeviceError, RecipeError
from imcswav.estimator.images import decoded, numbers_of, one_by_one, rescaled, stacked, unflatten, value_range
from imcswav.estimator.settings import asked, drawn_seed, named
from imcswav.learners import Embedding
from imcswav.model import Model
from imcswav.recipe.files import load_recipe
from imcswav.results.signals import sample, silhouette
from imcswav.runs import refuse_filled


class _Base(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's part, which has no types."""


class ImageClustering(_Base):
    """Cluster images without labels by training a network on them; ``imcswav.run`` in scikit-learn's manners.

    ``X`` is an array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W); a table (N, values), whose rows are square grey
    images, or images of ``image_shape``; a list of paths, PIL images or arrays; or a torch Dataset. ``y``, and the
    labels of a Dataset, are ignored everywhere.

    Pixels are uint8, uint16 (full range), bool or floats in 0 … 1. Where floats or other integers leave 0 … 1, the
    smallest and largest value seen by ``fit`` are black and white (``value_range_``): then and later, for every type
    of array, alone, in a list or in a Dataset; what lies beyond is clipped. A list to fit on can't mix both, and a
    Dataset to fit on has to have pixels of the first kind, for it is read once. Files and PIL images have a black and
    white of their own.

    Parameters: ``n_clusters``, how many clusters. ``recipe``, a shipped recipe's name, a TOML file or tables; None
    takes "folder_pretrained" with a backbone, "digits" for arrays of grey images of at most 12 × 12 pixels, "folder" on
    CUDA and "folder_small" elsewhere. Images are brought to the size that the recipe has. ``backbone``, a timm model's
    name or a finished run's folder: nothing is trained, the features of that network are clustered. ``settings``
    changes the recipe by dotted paths: ``{"trainer.epochs": 20}``. ``image_shape``, (H, W), (H, W, C) or (C, H, W) of
    an image in a table, one of which may be −1. ``out``, a new folder to keep the run in; None keeps no files.
    ``device``, "auto" (CUDA, then MPS, then CPU) or torch's. ``random_state``, an int, which is the recipe's seed, a
    RandomState or None; the same int gives the same labels on a CPU with as many threads. ``verbose`` shows progress.
    Batches are no larger than the data.

    After ``fit``: ``labels_`` (N,), int64; ``features_`` (N, F), float32; ``n_clusters_``, how many of the clusters
    have an image; ``value_range_``, None or (black, white); ``seed_``; ``model_``, an ``imcswav.Model``;
    ``n_features_in_`` of a table. Pickles hold the model and no path.

    Raises ValueError for an X that is none of these, DataError for images that can't be read, RecipeError with all
    problems of the recipe and DeviceError for a device that isn't there, which are ValueErrors too, RunError where
    ``out`` is filled.
    """

    _stacks = False
    """Whether what was fitted on were grey images (N, H, W)."""
    _values: int | None = None
    """How many values an image had that was fitted on, where all had as many."""

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        recipe: str | Path | Mapping[str, Any] | None = None,
        backbone: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        out: str | Path | None = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_clusters, self.recipe, self.backbone, self.settings = n_clusters, recipe, backbone, settings
        self.image_shape, self.out, self.device = image_shape, out, device
        self.random_state, self.verbose = random_state, verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the images and assign them; ``y`` is ignored."""
        with self._all_or_nothing():
            try:
                self._fit(X)
            except RecipeError as error:
                raise named(error) from error
        return self

    def _fit(self, X: Any) -> None:
        seed = drawn_seed(self.random_state)
        with _folder(self.out) as folder, _torch_as_it_was():
            given = self._given(X, reset=True)
            source, overrides = asked(self, seed, given)
            settings = load_recipe(source, {**overrides, "data.name": ArrayData.name})
            shape = settings.data.model_dump(include={"size", "channels", "resize"})
            images_NCHW = decoded(given, **shape)
            overrides["trainer.batch_size"] = min(settings.trainer.batch_size, len(images_NCHW))
            self.model_ = run(source, overrides, out=folder, data=images_NCHW).load(self.device)
        self.seed_ = seed
        embedding = self.model_.embed(images_NCHW)
        self.features_ = embedding.features.cpu().numpy()
        self.labels_ = self.model_.assign(embedding).argmax(1)
        self.n_clusters_ = len(np.unique(self.labels_))

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """A fit that fails leaves the estimator as it was: what it learnt of X must not stand beside an older model."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def predict(self, X: Any) -> Array:
        """Cluster of each image, int64 (N,) in 0 … K−1."""
        clusters_N: Array = self.predict_proba(X).argmax(1)
        return clusters_N

    def predict_proba(self, X: Any) -> Array:
        """Probability of each cluster, float32 (N, K)."""
        embedding = self._embed(X)
        return self.model_.assign(embedding)

    def transform(self, X: Any) -> Array:
        """Features of the backbone, float32 (N, F)."""
        features_NF: Array = self._embed(X).features.cpu().numpy()
        return features_NF

    def score(self, X: Any, y: Any = None) -> float:
        """Mean silhouette of the assigned images with cosine distance between features, in [−1, 1]; larger is better.

        On at most 5,000 images, always the same ones. −1 where it has no meaning: all images in one cluster, or each
        in its own. It sees no labels (``y`` is ignored), is no accuracy, and compares features of one network with
        those of another only roughly. Source: Rousseeuw 1987.
        """
        embedding = self._embed(X)
        rows_n = sample(len(embedding.features))
        clusters_N = self.model_.assign(embedding).argmax(1)
        found = silhouette(embedding.features.cpu().numpy()[rows_n], clusters_N[rows_n])
        return -1.0 if found is None else found

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder, for ``imcswav.load(folder)`` and the commands that read a model.

        ``value_range_`` stays behind: an ``imcswav.Model`` takes uint8, or floats in 0 … 1. Raises RunError where the
        folder is filled.
        """
        check_is_fitted(self)
        refuse_filled(Path(folder))
        self.model_.save(Path(folder) / "model")

    def _embed(self, X: Any) -> Embedding:
        check_is_fitted(self)
        facts = self.model_.facts
        given = self._given(X, reset=False)
        return self.model_.embed(decoded(given, size=facts.size, channels=facts.channels, resize=facts.resize))

    def _given(self, X: Any, *, reset: bool) -> Array | Iterable[Any]:
        """X as an array of images or images one by one; ``reset`` where it is what is fitted on."""
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):  # of a table that was fitted on before
                self.__dict__.pop(name, None)
            self.value_range_, self._stacks, self._values = None, False, None
        items = one_by_one(X)
        if items is None and isinstance(X, str | os.PathLike):
            raise ValueError(
                f"X is the path '{X}'; give a list of image files, such as [str(p) for p in folder.glob(…)]."
            )
        if items is None and isinstance(X, Iterator):
            raise ValueError(f"X is a {type(X).__name__}, which can be read only once; give a list: list(…).")
        together = X if items is None else stacked(items)
        if together is not None:
            array = self._array(together, reset)
            if reset:
                self.value_range_, self._values = value_range([array]), math.prod(array.shape[1:])
            rows: Array = rescaled(array, self.value_range_)
            return rows
        assert items is not None
        if reset and isinstance(items, list):
            self.value_range_ = value_range(items)
        limits = self.value_range_
        return items if limits is None else (rescaled(item, limits) for item in items)

    def _array(self, X: Any, reset: bool) -> Array:
        """Finite numbers, as images; raises ValueError, or TypeError for sparse tables, in scikit-learn's words."""
        X = numbers_of(X) if isinstance(X, Tensor) else X
        least = 2 if reset else 1
        dimensions = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        if dimensions in (3, 4):
            images: Array = check_array(X, allow_nd=True, ensure_min_samples=least, estimator=self)
            if reset:
                self._stacks = dimensions == 3
            # three grey images have the shape of one in colour, but as many axes as those that were fitted on
            grey = dimensions == 3 and self._stacks and images.shape[2] != 3
            return images[:, None] if grey else images
        flat_NP: Array = validate_data(self, X, reset=reset, ensure_min_samples=least)
        if not reset and self._values not in (None, flat_NP.shape[1]):  # of a table scikit-learn has told
            raise ValueError(
                f"X has {flat_NP.shape[1]} values a row, and images of {self._values} were fitted on; give images, a "
                f"single one as (1, height, width)."
            )
        return unflatten(flat_NP, self.image_shape)

    @property
    def _n_features_out(self) -> int:
        """For ``get_feature_names_out``."""
        return int(self.features_.shape[1])

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "model_" in state:
            with _folder() as folder:
                state["model_"].save(folder)
                state["model_"] = {file.name: file.read_bytes() for file in folder.iterdir()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.get("model_")
        if files is not None:
            with _folder() as folder, _torch_as_it_was():
                for name, content in files.items():
                    (folder / name).write_bytes(content)
                state = {**state, "model_": Model.load(folder, _present(state["device"]))}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _present(device: str) -> str:
    """The device, or "auto" where it isn't there: pickles travel between machines."""
    try:
        return str(pick_device(device))
    except DeviceError:
        return "auto"


@contextlib.contextmanager
def _folder(out: str | Path | None = None) -> Iterator[Path]:
    """The folder that is named, else a temporary one, which is gone afterwards."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="imcswav-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Runs and new networks seed torch or draw from it, and choose threads and kernels; the program keeps its own."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    choices = cudnn.benchmark, cudnn.deterministic
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict, warn_only=warns)
            cudnn.benchmark, cudnn.deterministic = choices
