"""ImageClustering among scikit-learn's tools: copies, pickles, seeds, searches, and what it leaves alone."""

import copy
import os
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from estimator_case import DIGITS, PIXELS, RECIPE, estimator
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import imcswav
from imcswav.errors import RecipeError, RunError


@pytest.fixture(scope="module")
def fitted():
    return estimator().fit(DIGITS)


def test_the_constructor_stores_and_clone_copies():
    parameters = {"n_clusters": 7, "recipe": RECIPE, "settings": {"trainer.epochs": 2}, "image_shape": (4, 16)}
    made = imcswav.ImageClustering(**parameters)
    assert all(getattr(made, name) is value for name, value in parameters.items())
    assert set(vars(made)) == set(made.get_params(deep=False))
    assert clone(made).get_params() == made.get_params()
    with pytest.raises(NotFittedError):
        made.predict(PIXELS)
    with pytest.raises(NotFittedError):
        made.save("nowhere")


def test_copies_give_the_same(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    copies = [pickle.loads(pickle.dumps(fitted)), joblib.load(tmp_path / "fitted.joblib"), copy.deepcopy(fitted)]
    for other in [*copies, clone(fitted).fit(DIGITS), copy.deepcopy(fitted).fit(DIGITS)]:
        assert np.array_equal(other.labels_, fitted.labels_)
        assert np.array_equal(other.predict(DIGITS), fitted.labels_)
        assert np.array_equal(other.predict_proba(DIGITS), fitted.predict_proba(DIGITS))
        assert (other.value_range_, other.seed_) == (fitted.value_range_, fitted.seed_)


def test_a_pickle_travels(fitted):
    assert b"/imcswav-" not in pickle.dumps(fitted)  # no temporary folder
    moved = copy.deepcopy(fitted).set_params(device="cuda:99")
    moved = pickle.loads(pickle.dumps(moved))  # onto a machine without that device
    assert moved.device == "cuda:99"
    assert np.array_equal(moved.model_.to("cpu").predict(PIXELS), fitted.labels_)


def test_seeds():
    same = [estimator(random_state=np.random.RandomState(3)).fit(PIXELS[:60]) for _ in range(2)]
    assert np.array_equal(same[0].features_, same[1].features_)
    again = estimator(random_state=same[0].seed_).fit(PIXELS[:60])
    assert np.array_equal(again.features_, same[0].features_)
    fresh = [estimator(random_state=None).fit(PIXELS[:60]) for _ in range(2)]
    assert fresh[0].seed_ != fresh[1].seed_
    assert not np.array_equal(fresh[0].features_, fresh[1].features_)


def test_nothing_is_left_behind_or_changed(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))  # a folder that torch makes by itself
    images, drawn, threads = DIGITS.copy(), torch.get_rng_state(), torch.get_num_threads()
    pickle.loads(pickle.dumps(estimator(settings={"trainer.threads": 2}).fit(images))).predict(images)
    assert os.listdir(tmp_path / "here") == os.listdir(tmp_path / "temporary") == []
    assert np.array_equal(images, DIGITS)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.get_num_threads() == threads
    assert capsys.readouterr() == ("", "")
    estimator(verbose=True).fit(PIXELS[:40])
    assert "epoch 1/1" in capsys.readouterr().err


def test_a_saved_model_is_a_model(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    assert np.array_equal(imcswav.load(tmp_path / "saved", "cpu").predict(PIXELS), fitted.labels_)
    with pytest.raises(RunError, match="nothing is overwritten"):
        fitted.save(tmp_path / "saved")


def silhouette_of(features_NF, clusters_N):
    """Rousseeuw's mean silhouette with cosine distance, image by image."""
    rows = features_NF.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    total = 0.0
    for own in range(len(rows)):
        distances = {}
        for other in range(len(rows)):
            if other != own:
                distances.setdefault(int(clusters_N[other]), []).append(1 - rows[own] @ rows[other])
        mates = distances.pop(int(clusters_N[own]), None)
        if mates is None:  # alone in its cluster
            continue
        inside, outside = np.mean(mates), min(map(np.mean, distances.values()))
        total += (outside - inside) / max(inside, outside)
    return total / len(rows)


def test_the_score_is_the_silhouette(fitted):
    some = DIGITS[20:90]
    assert len(set(fitted.predict(some).tolist())) > 1
    expected = silhouette_of(fitted.transform(some), fitted.predict(some))
    assert fitted.score(some) == pytest.approx(expected, abs=1e-5)
    assert fitted.score(DIGITS[[0, 0, 0]]) == -1.0


def test_in_a_pipeline_with_named_outputs(fitted):
    pandas = pytest.importorskip("pandas")
    flat = -DIGITS.reshape(-1, 64)
    steps = make_pipeline(FunctionTransformer(np.negative, feature_names_out="one-to-one"), estimator())
    assert np.array_equal(steps.fit_predict(flat), fitted.labels_)
    assert steps[-1].n_features_in_ == 64
    named = clone(steps).set_output(transform="pandas").fit(flat).transform(flat)
    assert isinstance(named, pandas.DataFrame)
    assert list(named.columns[:2]) == ["imageclustering0", "imageclustering1"]
    assert np.array_equal(named.to_numpy(), fitted.features_)
    with pytest.raises(ValueError, match="expecting 64 features"):
        steps[-1].predict(flat[:, :49])


def test_a_search_over_clusters_and_settings():
    grid = {
        "n_clusters": np.arange(2, 4),
        "settings": [{"optimizer.lr": 1e-3, "trainer.epochs": np.int64(2)}, {"backbone.widths": [6]}],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a fit that fails is a warning
        search = GridSearchCV(estimator(), grid, cv=2).fit(DIGITS)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 4
    assert search.best_score_ == scores.max()
    assert np.isfinite(scores).all()
    again = clone(search.best_estimator_).fit(DIGITS)
    assert np.array_equal(search.predict(DIGITS), again.labels_)


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({"n_clusters": 1}, RecipeError, "n_clusters: must be at least 2"),
        ({"n_clusters": 3.0}, TypeError, r"n_clusters has to be a whole number, not 3\.0"),
        ({"random_state": -1}, RecipeError, "random_state: must be at least 0"),
        ({"settings": {"trainer.epochs": -1}}, RecipeError, "  trainer.epochs: must be at least 0"),
    ],
)
def test_mistakes_bear_the_names_of_parameters(parameters, error, text):
    with pytest.raises(error, match=text) as caught:
        estimator(**parameters).fit(PIXELS)
    assert "--set" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"n_clusters": 1}, "must be at least"),
        ({"settings": {"trainer.epochs": -1}}, "must be at least"),
        ({"device": "cuda:99"}, "Device 'cuda:99' can't be used here .* choose auto or cpu"),
        ({"device": "gpu"}, "Device 'gpu' can't be used here .* choose auto or cpu"),
    ],
)
def test_what_is_wrong_with_values_is_a_value_error_as_in_scikit_learn(parameters, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        estimator(**parameters).fit(PIXELS)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.png"):
        estimator().fit([tmp_path / "broken.png"])


def test_settings_as_tables_and_a_backbone_beside_a_recipe_that_trains():
    with pytest.raises(ValueError, match=r"'trainer.device', which is the parameter device"):
        estimator(settings={"trainer": {"device": "cpu"}}).fit(PIXELS)
    with pytest.raises(ValueError, match="the recipe tiny trains one; leave one of the two out"):
        estimator(backbone="resnet18").fit(PIXELS)


def test_an_image_is_not_taken_for_a_table_and_torch_is_left_as_it_was():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        fitted = estimator().fit(PIXELS)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with pytest.raises(
        ValueError, match="X has 8 values a row, and images of 64 were fitted on; give images, a single one as"
    ):
        fitted.predict(PIXELS[0])
    assert len(fitted.predict(PIXELS[:1])) == 1


def test_what_is_no_table_of_images_is_told():
    with pytest.raises(TypeError, match=r"image_shape has to be .* not 8"):
        estimator(image_shape=8).fit(PIXELS.reshape(len(PIXELS), -1))
    with pytest.raises(ValueError, match="X is the path 'photos'; give a list of image files"):
        estimator().fit("photos")
    with pytest.raises(ValueError, match=r"X is a generator, which can be read only once; give a list: list\(…\)\."):
        estimator().fit(image for image in PIXELS)
