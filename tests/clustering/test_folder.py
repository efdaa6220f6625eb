import csv
import json
import shutil

import numpy as np
import pytest
from cli_calls import call
from clustering.made import photographs

import imcswav
from imcswav.clustering import Clustering
from imcswav.clustering.collect import collect
from imcswav.clustering.edits import Merge, edit
from imcswav.clustering.folder import folder_features
from imcswav.errors import ImcswavError, RunError, WeightsError
from imcswav.metrics.acc import accuracy
from imcswav.runs import RunFolder

NET = {"backbone.stem": 4, "backbone.widths": [6, 8], "backbone.strides": [1, 2]}
QUICK = {"trainer.epochs": 1, "trainer.batch_size": 8, "trainer.threads": 1, "callbacks.tensorboard.enabled": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("my photos")
    return folder, photographs(folder)


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """A run from scratch on the photographs."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return imcswav.cluster(photos[0], 2, from_scratch=True, device="cpu", out=out, settings=NET | QUICK).path


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_from_scratch_every_image_gets_a_row(photos, trained):
    folder, kinds = photos
    found = rows(trained / "labels.csv")
    assert [row["image"] for row in found] == sorted(kinds)
    assert {row["cluster"] for row in found} <= {"0", "1"}
    assert sum(int(row["size"]) for row in rows(trained / "clusters.csv")) == len(kinds)
    assert Clustering.of(trained).file(0) == folder / found[0]["image"]
    assert RunFolder.open(trained).summary()["acc"] is None


def test_features_of_a_run_are_clustered_and_found_again(photos, trained, tmp_path, cache_folder):
    folder, kinds = photos
    runs = [imcswav.cluster(folder, 2, backbone=trained, device="cpu", out=tmp_path / name) for name in "ab"]
    one, other = (Clustering.of(run.path) for run in runs)
    np.testing.assert_array_equal(one.clusters_N, other.clusters_N)
    truth_N = np.array([kinds[name] for name in one.names])
    assert accuracy(truth_N, one.clusters_N) == 1.0
    assert len(list((cache_folder / "features").iterdir())) == 1
    # the network is the run's own, and sees images as the run had them
    model, before = imcswav.load(runs[0].path, "cpu"), imcswav.load(trained, "cpu")
    paths = [folder / name for name in one.names]
    np.testing.assert_allclose(model.transform(paths), before.transform(paths), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.predict(paths), one.clusters_N)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "filled exists and is not an empty folder; nothing is overwritten: give another --out"),
        ({"settings": {"clusters": 3}, "out": "new"}, "The number of clusters is no setting here; give it as -k"),
        ({"settings": ["trainer.epoch=2"], "out": "new"}, "trainer.epoch: .*Did you mean 'epochs'"),
    ],
)
def test_mistakes_are_told_before_files_are_looked_at(photos, tmp_path, changes, said, monkeypatch):
    monkeypatch.setattr("imcswav.quality.inspect_once", lambda *_: pytest.fail("looked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "mine.txt").touch()
    with pytest.raises(ImcswavError, match=said):
        imcswav.cluster(photos[0], 2, **{"from_scratch": True, "device": "cpu", "out": "filled"} | changes)
    assert not (tmp_path / "new").exists()


def test_a_run_is_trained_on(photos, trained, tmp_path):
    done = imcswav.cluster(photos[0], 2, backbone=trained, quality="best", device="cpu", out=tmp_path / "run")
    assert done.summary["epochs"] == 1
    assert json.loads((done.path / "environment.json").read_text())["init"]["run"] == str(trained)
    ours, theirs = (imcswav.load(run, "cpu").learner.normalization() for run in (done.path, trained))
    np.testing.assert_allclose(ours, theirs)


def test_duplicates_are_listed_and_left_out_if_so_wanted(photos, trained, tmp_path):
    kinds = photos[1]
    copied = tmp_path / "photos"
    photographs(copied)
    first = sorted(kinds)[0]
    (copied / "copy of it.png").write_bytes((copied / first).read_bytes())
    kept = imcswav.cluster(copied, 2, backbone=trained, device="cpu", out=tmp_path / "kept").path
    (double,) = [row for row in rows(kept / "labels.csv") if row["near_duplicate_of"]]
    assert {double["image"], double["near_duplicate_of"]} == {first, "copy of it.png"}
    assert "exact_duplicate" in {row["finding"] for row in rows(kept / "quality.csv")}
    shutil.rmtree(kept / "clustering")
    collect(kept, "cpu")
    assert [row for row in rows(kept / "labels.csv") if row["near_duplicate_of"]] == [double]
    dropped = imcswav.cluster(copied, 2, backbone=trained, device="cpu", out=tmp_path / "dropped", drop_duplicates=True)
    assert double["image"] not in {row["image"] for row in rows(dropped.path / "labels.csv")}
    assert len(rows(dropped.path / "labels.csv")) == len(kinds)
    assert "exact_duplicate" in {row["finding"] for row in rows(dropped.path / "quality.csv")}


def test_the_command_sorts_copies_and_says_where_everything_is(photos, trained, tmp_path, capsys):
    folder, kinds = photos
    code, out, err = call(
        capsys, "cluster", folder, "-k", 2, "--backbone", trained, "--device", "cpu", "--out", tmp_path / "run",
        "--copy-to", tmp_path / "sorted", "--set", "clusterer.name=kmeans",
    )  # fmt: skip
    assert code == 0, err
    assert f"{len(kinds)} images in 2 clusters" in out
    assert "labels.csv" in out
    assert sorted(path.name for path in (tmp_path / "sorted").rglob("*.png")) == sorted(kinds)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kinds)
    again = call(capsys, "cluster", folder, "-k", 2, "--backbone", trained, "--copy-to", tmp_path / "sorted")
    assert again[0] == 2
    assert "nothing is overwritten" in again[2]


def test_class_folders_count_only_where_asked_for(trained, tmp_path):
    for kind in range(2):
        photographs(tmp_path / "photos" / f"kind {kind}", count=8, kinds=1)
    blind = imcswav.cluster(tmp_path / "photos", 2, backbone=trained, device="cpu", out=tmp_path / "blind")
    assert blind.summary["acc"] is None
    scored = imcswav.cluster(
        tmp_path / "photos", 2, backbone=trained, device="cpu", out=tmp_path / "scored", score=True
    )
    assert scored.summary["acc"] is not None
    np.testing.assert_array_equal(Clustering.of(blind.path).clusters_N, Clustering.of(scored.path).clusters_N)


def test_without_network_and_weights_it_says_what_to_do(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match=r"hf download timm/\S+ .*--from-scratch") as caught:
        imcswav.cluster(photos[0], 2, backbone="test_vit.r160_in1k", device="cpu", out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(WeightsError, match=r"hf download .*or take the network of a finished run: --backbone RUN$"):
        folder_features(photos[0], "test_vit.r160_in1k", "cpu")


def test_what_cant_go_together_is_refused(photos, tmp_path, capsys, monkeypatch):
    folder = photos[0]
    for words, said in (
        (("-k", 2, "--choose-k"), "--choose-k and -k"),
        (("-k", 2, "--copy-to", tmp_path / "a", "--link-to", tmp_path / "b"), "--copy-to and --link-to"),
        (("-k", 2, "--from-scratch", "--backbone", "resnet18"), "--from-scratch and --backbone"),
        (("-k", 2, "--out", tmp_path / "a", "--copy-to", tmp_path / "a"), "which has to be empty"),
        (("-k", 2, "--out", tmp_path / "a" / "run", "--link-to", tmp_path / "a"), "lies in --link-to"),
        (("-k", 2, "--copy-to", "runs"), "The results' runs lies in --copy-to runs"),
    ):
        code, _, err = call(capsys, "cluster", folder, *words)
        assert (code, said in err) == (2, True), err
    monkeypatch.setattr("imcswav.clustering.folder.plan", None)  # before any file is read
    with pytest.raises(ImcswavError, match="give -k"):
        imcswav.cluster(folder, from_scratch=True, device="cpu", out=tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(RunError, match="no run folder"):
        imcswav.cluster(folder, 2, backbone=folder, device="cpu", out=tmp_path / "run")


def test_a_folder_with_any_name_and_results_outside_of_it(trained, tmp_path):
    folder = tmp_path / "Urlaub 😀 \u0301"
    photographs(folder)
    done = imcswav.cluster(folder, 2, backbone=trained, device="cpu", out=tmp_path / "run")
    assert len(rows(done.path / "labels.csv")) == 24
    with pytest.raises(RunError, match="lies in the folder of images"):
        imcswav.cluster(folder, 2, backbone=trained, device="cpu", out=folder / "run")
    with pytest.raises(RunError, match=r"There is no run folder .*; give one"):
        imcswav.cluster(folder, 2, backbone=tmp_path / "nowhere", device="cpu", out=tmp_path / "other")


def test_the_same_call_goes_on_where_it_was_stopped(photos, trained, tmp_path, monkeypatch):
    out = tmp_path / "run"

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("imcswav.api.finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            imcswav.cluster(photos[0], 2, backbone=trained, device="cpu", out=out)
    with pytest.raises(RunError, match="nothing is overwritten"):
        imcswav.cluster(photos[0], 3, backbone=trained, device="cpu", out=out)
    done = imcswav.cluster(photos[0], 2, backbone=trained, device="cpu", out=out)
    assert len(rows(done.path / "labels.csv")) == 24


@pytest.mark.parametrize(
    "moment",
    ["imcswav.results.artefacts.measure", "imcswav.clustering.collect.make_thumbnails"],
    ids=["scores", "page"],
)
def test_the_same_call_goes_on_though_results_were_being_written(photos, trained, tmp_path, monkeypatch, moment):
    out = tmp_path / "run"

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moment, stopped)
        with pytest.raises(KeyboardInterrupt):
            imcswav.cluster(photos[0], 2, backbone=trained, device="cpu", out=out)
    assert (out / "model").is_dir()
    assert not RunFolder(out).finished
    done = imcswav.cluster(photos[0], 2, backbone=trained, device="cpu", out=out)
    assert len(rows(done.path / "labels.csv")) == 24
    assert RunFolder(out).finished


def test_a_folder_with_splits_can_be_moved(tmp_path, capsys):
    for split in ("train", "test"):
        photographs(tmp_path / "photos" / split / "kind", count=16)
    settings = NET | QUICK | {"data.root": str(tmp_path / "photos"), "clusters": 2}
    run = imcswav.run("folder_small", settings, out=tmp_path / "run").path
    shutil.move(tmp_path / "photos", tmp_path / "moved")
    shutil.rmtree(run / "clustering", ignore_errors=True)
    code, _, wrong = call(capsys, "report", run, "--root", tmp_path / "moved")
    assert code == 0, wrong
    assert len(rows(run / "labels.csv")) == 32


def test_few_images_without_a_number_of_clusters(trained, tmp_path):
    photographs(tmp_path / "photos", count=8)
    with pytest.raises(ImcswavError, match=r"give 20 or more. Or say how many clusters there are: -k.$"):
        imcswav.cluster(tmp_path / "photos", backbone=trained, device="cpu", out=tmp_path / "run")


def test_a_report_made_later_keeps_the_edits(photos, trained, tmp_path, capsys):
    done = imcswav.cluster(photos[0], 3, backbone=trained, device="cpu", out=tmp_path / "run")
    edit(done.path, Merge(clusters=(0, 1)))
    shutil.move(done.path / "clustering", tmp_path / "away")
    before = sorted(path.name for path in done.path.iterdir())
    assert call(capsys, "report", done.path)[0] == 0
    assert sorted(path.name for path in done.path.iterdir()) == sorted([*before, "clustering"])  # nothing is set aside
    shutil.rmtree(done.path / "clustering")
    (done.path / "labels.csv").write_text("mine")
    assert f"A file that you changed is now {done.path / 'labels.yours-1.csv'}" in call(capsys, "report", done.path)[1]
    assert {row["cluster"] for row in rows(done.path / "clusters.csv")} == {"0", "2"}
