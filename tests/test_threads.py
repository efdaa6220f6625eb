import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from imcswav import threads
from imcswav.clusterers import Clusterer
from imcswav.part import Part
from imcswav.results.signals import measure


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def several():
    import scipy.linalg.blas  # noqa: F401 -- with its own library

    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("this NumPy's matrix products take one thread")
        yield


@pytest.fixture
def seen(monkeypatch):
    """Threads that scikit-learn's k-means met."""
    from sklearn.cluster import KMeans

    found, fit = list[set[int]](), KMeans.fit

    def spy(self, *arguments, **more):
        found.append(blas_threads())
        return fit(self, *arguments, **more)

    monkeypatch.setattr(KMeans, "fit", spy)
    return found


def test_only_large_tables_get_the_threads_there_are(several, monkeypatch):
    with threads.one_blas_thread(threads.LARGE):
        assert blas_threads() == {1}
    with threads.one_blas_thread(threads.LARGE + 1):
        assert blas_threads() == {2}
    assert blas_threads() == {2}


def test_the_last_one_out_puts_back_what_the_first_found(several):
    first, second = threads.one_blas_thread(), threads.one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == {2}
    with pytest.raises(KeyError), threads.one_blas_thread():
        raise KeyError
    assert blas_threads() == {2}


def test_kmeans_and_signals_of_a_run_take_one(several, seen):
    features_NF = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    clusterer: Clusterer = Part("clusterer").validate("kmeans").build(clusters=3, seed=0)
    clusterer.fit(features_NF.numpy())
    measure(features_NF, np.eye(3)[np.arange(60) % 3], {}, clusters=3, seed=0)
    assert seen == [{1}, {1}]
    assert blas_threads() == {2}
