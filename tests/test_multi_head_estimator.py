"""imcswav.MultiHeadClustering in scikit-learn's manners."""

import inspect
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from imcswav import MultiHeadClustering
from imcswav.clusterers.multi_head import MultiHead
from imcswav.errors import DataError
from imcswav.metrics.acc import accuracy

SMALL: dict[str, Any] = {"heads": 3, "hidden": 32, "width": 16, "steps": 150}


@parametrize_with_checks([MultiHeadClustering(**SMALL)])
def test_scikit_learns_own_checks(estimator: MultiHeadClustering, check: Any) -> None:
    check(estimator)  # none is expected to fail


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    found = make_blobs(120, 5, centers=3, cluster_std=0.5, random_state=0)
    return found[0], found[1]


def test_wraps_the_component(data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    estimator = MultiHeadClustering(3, random_state=5, **SMALL)
    labels = estimator.fit_predict(X)
    assert accuracy(y, labels) == 1.0
    assert estimator.n_features_in_ == 5
    seed = np.random.RandomState(5).randint(2**31 - 1)
    component = MultiHead.create(clusters=3, seed=int(seed), normalize=False, **SMALL)
    np.testing.assert_array_equal(labels, component.fit(X))
    np.testing.assert_array_equal(estimator.labels_, estimator.predict(X))
    np.testing.assert_array_equal(estimator.predict_proba(X), component.predict_proba(X))


def test_settings_are_the_components() -> None:
    signature = inspect.signature(MultiHeadClustering).parameters
    theirs = {name: setting.default for name, setting in MultiHead.Config.model_fields.items()}
    ours = {name: parameter.default for name, parameter in signature.items()}
    assert ours == theirs | {"n_clusters": 8, "random_state": None, "normalize": False}


def test_clone_pickle_and_pipeline(data: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = data
    pipeline = make_pipeline(StandardScaler(), MultiHeadClustering(3, random_state=0, **SMALL))
    labels = pipeline.fit_predict(X)
    assert accuracy(y, labels) == 1.0
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(X), labels)
    np.testing.assert_array_equal(clone(pipeline).fit_predict(X), labels)
    for settings in ParameterGrid({"multiheadclustering__n_clusters": [2, 4]}):
        shares = clone(pipeline).set_params(**settings).fit(X).predict_proba(X)
        assert shares.shape == (120, settings["multiheadclustering__n_clusters"])


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"n_clusters": 0}, ValueError, "n_clusters is 0"),
        ({"n_clusters": 200}, DataError, "120 images can't be split into 200 clusters"),
        ({"beta": 2.0}, ValueError, "beta"),
    ],
)
def test_what_is_wrong(data: Any, settings: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        MultiHeadClustering(**SMALL | settings).fit(data[0])


def test_importing_the_package_stays_light() -> None:
    script = "import sys, imcswav; print(sorted({'torch', 'sklearn', 'numpy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
