"""`imcswav choose-k`: what it reads, shows and writes."""

import csv

import numpy as np
import pytest
import torch
from cli_calls import call
from clustering.made import photographs
from planted_mixture import planted

import imcswav
from imcswav.clustering import Clustering
from imcswav.clustering.store import save
from imcswav.errors import DataError
from imcswav.k_choice.sources import features_of


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "features.npz"
    np.savez(path, features=planted(3, 0, images=300, gap=6.0)[0].astype(np.float32), paths=np.array(["x"] * 300))
    return path


def test_a_table_a_sentence_a_plot_and_a_file(archive, tmp_path, capsys):
    files = "--plot", tmp_path / "k.png", "--csv", tmp_path / "k.csv"
    code, printed, _ = call(capsys, "choose-k", archive, "--range", "2-8", "--seed", "1", *files)
    assert code == 0
    choice = imcswav.choose_k(features_of(archive), 2, 8, seed=1)
    assert choice.k == 3
    assert choice.sentence in printed
    assert printed.count("⟵") == len(choice.curves) + 1
    assert (tmp_path / "k.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "k.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["clusters"]) for row in rows] == list(range(2, 9))
    assert [row["clusters"] for row in rows if row["recommended"] == "1"] == ["3"]
    curve = choice.curves["silhouette"]
    assert float(rows[1]["silhouette"]) - float(rows[1]["silhouette_without_clusters"]) == curve.excess_C[1]


def test_nothing_is_overwritten(archive, tmp_path, capsys):
    (tmp_path / "mine.png").write_text("mine")
    for option in ("--plot", "--csv"):
        code, _, said = call(capsys, "choose-k", archive, option, tmp_path / "mine.png")
        assert code == 2
        assert "not overwritten" in said
    assert (tmp_path / "mine.png").read_text() == "mine"


@pytest.mark.parametrize("wanted", ["7", "2-", "a-b", "2-5-9", "٢-٥"])
def test_what_is_no_range(archive, capsys, wanted):
    code, _, said = call(capsys, "choose-k", archive, "--range", wanted)
    assert code == 2
    assert "two numbers such as 2-50" in said


def test_what_has_features_needs_no_backbone(archive, tmp_path, capsys):
    (tmp_path / "recipe.toml").touch()
    for source in (archive, tmp_path):
        code, _, said = call(capsys, "choose-k", source, "--backbone", "resnet18")
        assert code == 2
        assert said == f"{source} has features of its own; leave out --backbone, which is for a folder of images.\n"


def test_plots_of_several_seeds_are_no_images(tmp_path, capsys):
    (tmp_path / "seeds.json").touch()
    code, _, said = call(capsys, "choose-k", tmp_path)
    assert code == 2
    assert "holds runs of several seeds; give one of them" in said


def test_a_run_gives_its_clustering_s_features(tmp_path):
    features = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    save(Clustering([str(i) for i in range(6)], features, np.full((6, 2), 0.5, np.float32), (0, 1)), tmp_path)
    assert np.array_equal(features_of(tmp_path), features)


def test_a_run_without_clustering_embeds_its_training_images(tiny, tmp_path):
    tiny["trainer"]["max_steps"] = 1
    run = imcswav.run(tiny, out=tmp_path / "run")
    from imcswav.data.digits import Digits

    images = Digits.Config(size=8).build().train.images
    assert np.allclose(features_of(run.path, "cpu"), run.load("cpu").embed(images).features.numpy(), atol=1e-6)


def test_at_most_so_many_images_are_embedded(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("imcswav.k_choice.sources.SAMPLE", 20)
    tiny["trainer"]["max_steps"] = 1
    run = imcswav.run(tiny, out=tmp_path / "run")
    torch.manual_seed(1)  # whatever was drawn before
    assert features_of(run.path, "cpu").shape == (20, 8)


def test_what_can_t_be_read_is_one_sentence(tmp_path):
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "other.npz", rows=np.ones(3))
    np.save(tmp_path / "plain.npy", np.ones(3))
    for name in ("text.npz", "other.npz", "plain.npy"):
        with pytest.raises(DataError, match="holds no array 'features'"):
            features_of(tmp_path / name)
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "empty", "There are no images"), (tmp_path / "nowhere", "nowhere; give a folder")):
        with pytest.raises(DataError, match=said):
            features_of(path)


def test_a_folder_of_images_has_the_features_of_a_network_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    photographs(tmp_path / "photos", count=30, kinds=3)
    settings = {"trainer.epochs": 1, "trainer.batch_size": 8, "backbone.widths": [6, 8], "backbone.strides": [1, 2]}
    run = imcswav.cluster(
        tmp_path / "photos", 2, from_scratch=True, device="cpu", out=tmp_path / "run", settings=settings
    )
    features_NF = features_of(tmp_path / "photos", "cpu", str(run.path))
    np.testing.assert_allclose(features_NF, Clustering.of(run.path).features_NF, rtol=1e-4, atol=1e-5)
