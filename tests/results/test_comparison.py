"""Runs side by side."""

import csv
import json

import pytest
from sklearn.metrics import adjusted_rand_score
from tiny import blobs, png_size, short, short_run

import imcswav
from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RunError
from imcswav.recipe.flat import flat
from imcswav.results import tables
from imcswav.results.comparison import compare_runs


@pytest.fixture
def two(tiny, tmp_path):
    tiny["callbacks"]["console"] = {"enabled": False}
    short_run(tiny, tmp_path / "one")
    second = {"name": "mlp", "width": 5}
    short_run(tiny, tmp_path / "two", **{"optimizer.lr": 0.02, "heads.second": second, "losses.0.weight": 2.0})
    return [tmp_path / "one", tmp_path / "two"]


def clusters(run):
    with (run / "assignments.csv").open(newline="") as file:
        return [int(row["cluster"]) for row in csv.DictReader(file)]


def test_settings_figures_and_agreement(two, tmp_path):
    found = compare_runs(two, tmp_path / "curves.png", tmp_path / "all.json")
    assert found.settings["optimizer.lr"] == [0.001, 0.02]
    assert found.settings["losses.0.weight"] == [1.0, 2.0]
    assert found.settings["heads.second.name"] == [None, "mlp"]
    assert all(path == "optimizer.lr" or path.startswith(("heads.second.", "losses.0.")) for path in found.settings)
    summaries = [json.loads((run / "summary.json").read_text()) for run in two]
    assert found.scores["nmi"] == [summary["nmi"] for summary in summaries]
    assert "seconds" not in found.scores
    (agreement,) = found.agreements
    assert agreement.images == 40
    assert agreement.ari == pytest.approx(adjusted_rand_score(*map(clusters, two)))
    assert min(png_size(tmp_path / "curves.png")) > 300
    record = json.loads((tmp_path / "all.json").read_text())
    assert record["settings"] == found.settings
    assert record["agreement"][0]["ari"] == agreement.ari
    assert record["protocols"] == ["trained and scored on train"] * 2


def test_a_folder_named_as_the_split_is_a_folder(two):
    """Of train/a.png and a.png below a root without splits neither is the other."""
    for run in two:
        path = run / "assignments.csv"
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join([head, *rows[:20], *(f"train/{row}" for row in rows[:20])]) + "\n")
    (agreement,) = compare_runs(two).agreements
    assert agreement.images == 40


def test_images_are_matched_by_split_and_name(two):
    path = two[1] / "assignments.csv"
    head, *rows = path.read_text().splitlines()
    renamed = [f"train/{row}" for row in reversed(rows[5:])]  # as both splits trained on together may name them
    path.write_text("\n".join([head, *renamed, "test/7,test,0,1.0,"]) + "\n")
    before = clusters(two[0])[5:]
    (agreement,) = compare_runs(two).agreements
    assert agreement.images == 35
    assert agreement.ari == pytest.approx(adjusted_rand_score(before, clusters(two[1])[:-1][::-1]))


def test_runs_of_different_images_have_no_agreement(two):
    path = two[1] / "assignments.csv"
    path.write_text(path.read_text().replace(",train,", ",test,"))
    assert compare_runs(two).agreements[0].ari is None


def test_different_images_of_the_same_names_have_no_agreement(two, tiny, tmp_path, capsys):
    pixels, labels = blobs(seed=7)
    imcswav.run(short(tiny), out=tmp_path / "other", data=ArrayData.of(pixels, labels=labels))
    same, different, again = compare_runs([*two, tmp_path / "other"], json_file=tmp_path / "all.json").agreements
    assert (same.note, same.ari is None) == (None, False)
    assert (different.images, different.ari) == (again.images, again.ari) == (0, None)
    assert "trained on different images (40 images in order, " in different.note
    assert json.loads((tmp_path / "all.json").read_text())["agreement"][1]["note"] == different.note
    tables.comparison(compare_runs([two[0], tmp_path / "other"]))
    assert "Warning: runs 1 and 2: they were trained on different images" in capsys.readouterr().err


def test_images_of_another_size_may_be_the_same(two, tiny, tmp_path):
    pixels, labels = blobs()
    imcswav.run(short(tiny), out=tmp_path / "large", data=ArrayData.of(pixels, labels=labels, size=10))
    (agreement,) = compare_runs([two[0], tmp_path / "large"]).agreements
    assert agreement.ari is not None
    assert "may not be the same (data.size differs)" in agreement.note


def changed(run, digest, old=None, new=None):
    """The summary with another digest of the images, or none; and the recipe with other data."""
    summary = json.loads((run / "summary.json").read_text())
    summary.pop("data")
    (run / "summary.json").write_text(json.dumps(summary | ({} if digest is None else {"data": digest})))
    if old is not None:
        recipe = (run / "recipe.toml").read_text()
        assert old in recipe
        (run / "recipe.toml").write_text(recipe.replace(old, new))


def test_streamed_files_are_told_apart_by_their_times(two):
    changed(two[0], "40 streamed images, a")
    changed(two[1], "40 streamed images, b")
    (agreement,) = compare_runs(two).agreements
    assert agreement.ari is not None
    assert "files are streamed" in agreement.note


def test_older_summaries_have_no_digest(two):
    changed(two[1], None, 'placement = "auto"', 'placement = "host"')
    (agreement,) = compare_runs(two).agreements
    assert (agreement.note, agreement.ari is None) == (None, False)
    (two[1] / "recipe.toml").write_text((two[1] / "recipe.toml").read_text().replace('"crop"', '"pad"'))
    (agreement,) = compare_runs(two).agreements
    assert agreement.ari is not None
    assert "data.resize differs" in agreement.note


def test_a_digest_of_an_earlier_version_proves_nothing(two):
    changed(two[0], "40 images, a")
    (agreement,) = compare_runs(two).agreements
    assert agreement.ari is not None
    assert "may not be the same (an earlier version digested one of them otherwise)" in agreement.note
    changed(two[1], "40 images, b")
    assert compare_runs(two).agreements[0].ari is None


def test_a_series_of_seeds_stands_for_its_runs(tiny, tmp_path, two):
    pixels, labels = blobs()
    imcswav.run_seeds(short(tiny), "0-1", out=tmp_path / "seeds", data=ArrayData.of(pixels, labels=labels))
    found = compare_runs([tmp_path / "seeds", two[0]])
    assert [run.name for run in found.runs] == ["seed-0", "seed-1", "one"]
    assert found.settings == {"seed": [0, 1, 0]}
    assert [(one.first, one.second) for one in found.agreements] == [(0, 1), (0, 2), (1, 2)]
    assert found.agreements[1].ari == 1.0


def test_what_can_t_be_compared(two, tmp_path):
    with pytest.raises(ImcswavError, match="at least two finished runs"):
        compare_runs(two[:1])
    with pytest.raises(RunError, match="no run folder"):
        compare_runs([two[0], tmp_path])
    (tmp_path / "there.png").write_text("mine")
    for files in ((tmp_path / "there.png", None), (None, tmp_path / "there.png")):
        with pytest.raises(RunError, match="not overwritten"):
            compare_runs(two, *files)
    with pytest.raises(RunError, match="does not exist; make it first"):
        compare_runs(two, tmp_path / "no" / "x.png")
    (two[1] / "summary.json").unlink()
    with pytest.raises(RunError, match="is the run finished"):
        compare_runs(two)
    assert (tmp_path / "there.png").read_text() == "mine"


def test_flat_tables():
    tables = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 3}, {"e": 4}], "f": {}}
    assert flat(tables) == {"a.b": 1, "a.c": [1, 2], "d.0.e": 3, "d.1.e": 4}
