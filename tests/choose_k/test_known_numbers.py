"""How often the choice is right where the number of groups is known; run with -m slow -s to see the tables.

The rule was made looking at planted mixtures of seeds 100-107, and at digits: samples 100-107, the network of seed 0.
"""

import time

import numpy as np
import pytest
from planted_mixture import planted
from sklearn.cluster import KMeans

import imcswav
from imcswav.data.digits import Digits
from imcswav.k_choice import choose_k
from imcswav.k_choice.sentence import near
from imcswav.k_choice.signals import SIGNALS
from imcswav.metrics.acc import accuracy

pytestmark = pytest.mark.slow
TRIES = range(200, 210)
SAMPLE = 1500
NETWORKS = (10, 11)


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
    """Its classifier has K outputs and reads features that carry no gradient back."""
    states = []
    for clusters in (4, 10):
        changes = {"clusters": clusters, "trainer.epochs": 2, "callbacks.evaluate.enabled": False}
        model = imcswav.run("digits", changes, out=tmp_path / str(clusters)).load("cpu")
        states.append(model.backbone.state_dict())
    for name, value in states[0].items():
        assert value.equal(states[1][name]), name
