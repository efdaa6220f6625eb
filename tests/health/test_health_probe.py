"""A look at images: its figures against plain loops, and that it leaves no trace."""

import math

import numpy as np
import pytest
import torch
from tiny import short_run

from imcswav.build import build_run
from imcswav.health import probe
from imcswav.recipe.files import load_recipe


def loops(features):
    """``feature_std`` and ``feature_rank`` in float64: deviations dimension by dimension, eigenvalues of the Gram."""
    rows, columns = features.shape
    unit = [[float(x) / math.sqrt(sum(float(y) ** 2 for y in row)) for x in row] for row in features]
    deviations = []
    for column in range(columns):
        values = [row[column] for row in unit]
        mean = sum(values) / rows
        deviations.append(math.sqrt(sum((value - mean) ** 2 for value in values) / rows))
    means = [sum(float(row[column]) for row in features) / rows for column in range(columns)]
    centred = [[float(row[column]) - means[column] for column in range(columns)] for row in features]
    gram = [[sum(row[i] * row[j] for row in centred) for j in range(columns)] for i in range(columns)]
    singular = [math.sqrt(max(0.0, value)) for value in np.linalg.eigvalsh(np.array(gram))]
    shares = [value / sum(singular) for value in singular if value > 0]
    rank = math.exp(-sum(share * math.log(share) for share in shares))
    return math.sqrt(columns) * sum(deviations) / columns, rank


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_spread_against_loops(scale):
    generator = torch.Generator().manual_seed(0)
    features = 1 + scale * torch.randn(30, 5, generator=generator, dtype=torch.float64) * torch.arange(1, 6)
    std, rank = loops(features)
    found = probe.spread(features)
    assert found["feature_std"] == pytest.approx(std, rel=1e-9)
    assert found["feature_rank"] == pytest.approx(rank, rel=1e-6)


def test_ends_of_the_spread():
    alike = probe.spread(torch.full((10, 4), 0.3))
    assert alike == pytest.approx({"feature_std": 0.0, "feature_rank": 0.0}, abs=1e-7)
    everywhere = probe.spread(torch.cat([torch.eye(6), -torch.eye(6)]))
    assert everywhere == pytest.approx({"feature_std": 1.0, "feature_rank": 6.0}, rel=1e-6)
    assert probe.spread(torch.tensor([[1.0, math.nan], [1.0, 2.0]])) == {}


def test_shares_and_churn():
    now, before = np.array([0, 0, 0, 2]), np.array([0, 1, 0, 0])
    found = probe.shares(now, before)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found == pytest.approx({"effective_clusters": math.exp(entropy), "largest_share": 0.75, "churn": 0.5})
    assert "churn" not in probe.shares(now, None)
    assert probe.shares(None, before) == {}


def test_a_look_leaves_the_learner_as_it_was(tiny, tmp_path):
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    trainer.learner.train()
    before = {name: value.clone() for name, value in trainer.learner.state_dict().items()}
    drawn = torch.get_rng_state()
    one, other = probe.look(trainer, None), probe.look(trainer, None)
    assert one.figures == other.figures
    assert len(one.clusters_n) == probe.SAMPLE
    assert trainer.learner.training
    assert torch.equal(drawn, torch.get_rng_state())
    for name, value in trainer.learner.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_looking_changes_no_weight(tiny, tmp_path):
    looked, blind = (
        short_run(tiny, tmp_path / str(enabled), **{"callbacks.health.enabled": enabled}) for enabled in (True, False)
    )
    assert (looked.path / "assignments.csv").read_text() == (blind.path / "assignments.csv").read_text()
    assert not (blind.path / "health.json").exists()
