"""How often the choice is right where the number of groups is known; run with -m slow -s to see the tables.

The rule was made looking at others: mixtures 100-111 and 200-209, samples 100-107 and 200-209, networks 0, 10 and 11.
"""

import time

import numpy as np
import pytest
from planted_mixture import planted
from sklearn.cluster import KMeans

import imcswav
from imcswav.api import prepare
from imcswav.data.digits import Digits
from imcswav.k_choice import choose_k
from imcswav.k_choice.sentence import near
from imcswav.k_choice.signals import SIGNALS
from imcswav.metrics.acc import accuracy

pytestmark = pytest.mark.slow
TRIES = range(300, 310)
SAMPLE = 1500
NETWORKS = (12, 13)


def judged(title, groups, tries):
    """Print a row a try; the share of tries that are near the number of groups, and clear."""
    print(f"\n{title}\n| try | K | spread | clear | {', '.join(SIGNALS)} |")
    print("|---|---|---|---|---|")
    right, start = 0, time.process_time()
    for name, features in tries:
        choice = choose_k(features, seed=0)
        right += choice.clear and near(choice.k, groups)
        own = ", ".join(str(curve.k) if curve.counts else f"({curve.k})" for curve in choice.curves.values())
        low, high = choice.spread
        print(f"| {name} | {choice.k} | {low}–{high} | {'yes' if choice.clear else 'no'} | {own} |", flush=True)
    print(
        f"{right} of {len(tries)} right; {(time.process_time() - start) / len(tries):.1f} CPU seconds each", flush=True
    )
    return right


@pytest.mark.parametrize("groups", [3, 7, 15])
def test_planted(groups):
    mixtures = {seed: planted(groups, seed) for seed in TRIES}
    found = [accuracy(n, KMeans(groups, n_init=5, random_state=0).fit_predict(x)) for x, n in mixtures.values()]
    title = f"{groups} groups; k-means told K has ACC {min(found):.2f}–{max(found):.2f}, mean {np.mean(found):.2f}"
    assert judged(title, groups, [(seed, x) for seed, (x, _) in mixtures.items()]) >= 8


def samples(rows_NF, seeds):
    return [(seed, rows_NF[np.random.default_rng(seed).permutation(len(rows_NF))[:SAMPLE]]) for seed in seeds]


def test_pixels_of_digits():
    images = Digits.Config(size=8).build().train.images
    assert judged("digits, pixels", 10, samples(images.flatten(1).float().numpy(), TRIES)) >= 8


@pytest.mark.xfail(reason="features of trained networks have more groups than digits, see docs/results/choose_k.md")
def test_features_of_digits(tmp_path):
    tries = []
    for number, seed in enumerate(NETWORKS):
        changes = {"seed": seed, "callbacks.evaluate.enabled": False, "trainer.device": "cpu"}
        model = imcswav.run("digits", changes, out=tmp_path / str(seed)).load("cpu")
        features = model.embed(Digits.Config(size=12).build().train.images).features.numpy()
        few = samples(features, TRIES[5 * number : 5 * number + 5])
        tries += [(f"network {seed}, sample {sample}", rows) for sample, rows in few]
    assert judged("digits, features of networks that were not told K", 10, tries) >= 8


def test_the_digits_network_is_not_told_k(tmp_path):
    """Its classifier has K outputs and reads features that carry no gradient back: from the same weights, the same."""
    encoders, start = [], {}
    for clusters in (4, 10):
        changes = {"clusters": clusters, "trainer.epochs": 3, "schedule.warmup_epochs": 1, "trainer.device": "cpu"}
        trainer = prepare("digits", changes, tmp_path / str(clusters), None, lambda problem: None)
        # K decides how many numbers are drawn before the prototypes, so these begin elsewhere
        trainer.learner.load_state_dict(trainer.learner.state_dict() | start)
        state = trainer.learner.state_dict()
        start = {name: value.clone() for name, value in state.items() if "classifier" not in name}
        trainer.fit()
        encoders.append(trainer.learner.encoder().state_dict())
    for name, value in encoders[0].items():
        assert value.equal(encoders[1][name]), name
