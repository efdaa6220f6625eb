"""The neighbours' vote against scikit-learn and against plain loops."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from imcswav.metrics import Scored, knn
from imcswav.metrics.knn import NearestNeighbours


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    means = np.random.default_rng(0).normal(size=(3, 8))
    return (means[labels] + rng.normal(size=(count, 8)) * 1.5).astype(np.float32), labels * 5 + 2


def scored(queries: tuple[np.ndarray, np.ndarray], bank: tuple[np.ndarray, np.ndarray], same: bool) -> Scored:
    features = torch.from_numpy(queries[0])
    return Scored(queries[1], np.zeros(len(queries[1])), features, torch.from_numpy(bank[0]), bank[1], same)


def looped(features: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Every image asked by itself, itself left out."""
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    right = 0
    for i in range(len(unit)):
        others = [j for j in np.argsort(-(unit @ unit[i])) if j != i][:k]
        votes = labels[others].tolist()
        right += min(set(votes), key=lambda name: (-votes.count(name), name)) == labels[i]
    return right / len(unit)


@pytest.mark.parametrize("k", [1, 4, 20])
def test_equals_scikit_learn(k: int) -> None:
    bank, queries = blobs(200, 1), blobs(60, 2)
    estimator = KNeighborsClassifier(k, metric="cosine").fit(*bank)
    expected = estimator.score(*queries)
    assert 0.4 < expected < 1
    assert NearestNeighbours.create(k=k)(scored(queries, bank, same=False)) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 4, 20])
@pytest.mark.parametrize("entries", [1, 350, 2**25])
def test_leaves_the_query_out_in_every_chunk(k: int, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "ENTRIES", entries)
    bank = blobs(100, 3)
    got = NearestNeighbours.create(k=k)(scored(bank, bank, same=True))
    assert got == pytest.approx(looped(*bank, k))


def test_itself_would_always_be_right() -> None:
    bank = blobs(100, 3)
    assert NearestNeighbours.create(k=1)(scored(bank, bank, same=False)) == 1.0
    assert NearestNeighbours.create(k=1)(scored(bank, bank, same=True)) < 1.0


def test_a_tie_goes_to_the_lowest_class() -> None:
    bank = np.eye(4, dtype=np.float32), np.array([9, 9, 3, 3])
    queries = np.ones((2, 4), dtype=np.float32), np.array([3, 9])
    assert NearestNeighbours.create(k=4)(scored(queries, bank, same=False)) == 0.5


def test_labels_that_the_bank_does_not_have_are_wrong() -> None:
    bank = np.eye(3, dtype=np.float32), np.array([4, 6, 8])
    queries = np.eye(3, dtype=np.float32), np.array([4, 5, 8])
    assert NearestNeighbours.create(k=1)(scored(queries, bank, same=False)) == pytest.approx(2 / 3)


def test_features_stay_as_they_are() -> None:
    bank = blobs(100, 3)
    facts = scored(bank, bank, same=True)
    before = facts.features_NF.clone()
    NearestNeighbours.create(k=4)(facts)
    assert torch.equal(facts.features_NF, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_as_on_the_cpu() -> None:
    bank, queries = blobs(2000, 1), blobs(600, 2)
    facts = scored(queries, bank, same=False)
    moved = Scored(facts.labels_N, None, facts.features_NF.cuda(), facts.bank_features_MF.cuda(), bank[1], same=False)
    assert NearestNeighbours.create()(moved) == pytest.approx(NearestNeighbours.create()(facts), abs=2 / 600)


def test_a_bank_smaller_than_k() -> None:
    bank = np.eye(3, dtype=np.float32), np.array([1, 1, 0])
    assert NearestNeighbours.create(k=20)(scored(bank, bank, same=True)) == 0.0  # 1: {1, 0}; 0: {1, 1}
    assert NearestNeighbours.create(k=20)(scored(bank, bank, same=False)) == pytest.approx(2 / 3)
