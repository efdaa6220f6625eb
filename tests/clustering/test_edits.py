"""Edits of a run: recorded, followed by tables, model and prediction, taken back; all or nothing."""

import csv
import json
import shutil

import numpy as np
import pytest
from cli_calls import call
from edit_case import COUNT, make_run, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import images

from imcswav.clustering import OUTLIER, Clustering
from imcswav.clustering.edits import (
    Assign,
    DropOutliers,
    Merge,
    Refit,
    Rename,
    Split,
    apply_file,
    edit,
    history,
    undo,
)
from imcswav.clustering.edits.kept import Kept
from imcswav.clustering.store import load_unedited
from imcswav.errors import RunError
from imcswav.model import Model
from imcswav.results.predict import predict_files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(run):
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def agree(run):
    """The stored clustering, its tables and the model's own say of the run's images are one."""
    stored, model = Clustering.of(run), Model.load(run, "cpu")
    np.testing.assert_allclose(model.predict_proba(images(COUNT)), stored.probabilities_NK, atol=1e-6)
    free = [image for image in range(COUNT) if image not in stored.given]
    np.testing.assert_array_equal(model.predict(images(COUNT))[free], stored.clusters_N[free])
    assert (model.ids, model.titles) == (stored.ids, stored.titles)
    assert [int(row["cluster"]) for row in rows(run / "labels.csv")] == stored.clusters_N.tolist()
    known = [int(row["cluster"]) for row in rows(run / "clusters.csv")]
    assert [cluster for cluster in known if cluster != OUTLIER] == list(stored.ids)
    np.testing.assert_allclose(stored.probabilities_NK.sum(1), 1, atol=1e-5)


EDITS = [
    Refit(), Split(cluster=0), Rename(cluster=0, name="deer"), Merge(clusters=(3, 1)), Assign(images=("4",), cluster=2),
    DropOutliers(below=0.6), Assign(images=("5", "6"), cluster=OUTLIER), Split(cluster=3, into=3), Refit(),
]  # fmt: skip


def test_model_tables_and_clustering_follow_every_edit_and_undo_goes_all_the_way_back(run):
    states, tables = [Clustering.of(run)], [(run / "labels.csv").read_bytes()]
    for one in EDITS:
        done = edit(run, one)
        agree(run)
        states.append(Clustering.of(run))
        tables.append((run / "labels.csv").read_bytes())
        assert [path.name for path in done.files.written] == ["labels.csv", "clusters.csv", "report.html"]
    assert [one.op for one in history(run)] == [one.op for one in EDITS]
    assert all(one.when and one.said for one in history(run))
    for state, table in zip(states[-2::-1], tables[-2::-1], strict=True):
        undo(run)
        assert same(Clustering.of(run), state)
        assert (run / "labels.csv").read_bytes() == table
    assert history(run) == ()
    assert [one.op for one in Kept.read(run / "model").undone] == [one.op for one in EDITS[::-1]]
    assert not list(run.glob("*yours*"))


def test_numbers_are_used_once_but_undo_frees_them(run):
    edit(run, Split(cluster=0), Merge(clusters=(0, 3)), Split(cluster=0))
    assert Clustering.of(run).ids == (0, 1, 2, 4)
    undo(run, 3)
    edit(run, Split(cluster=1))
    assert Clustering.of(run).ids == (0, 1, 2, 3)


def test_new_images_are_assigned_as_edited(run, tmp_path):
    pixels = images(6).permute(0, 2, 3, 1).numpy()
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    edit(run, Merge(clusters=(2, 0)), Split(cluster=1), DropOutliers(below=0.7))
    unnamed = predict_files(run, paths, tmp_path / "unnamed.csv").out
    assert list(rows(unnamed)[0]) == ["image", "cluster", "confidence"]
    edit(run, Rename(cluster=2, name="deer"))
    found = rows(predict_files(run, paths, tmp_path / "named.csv").out)
    model = Model.load(run, "cpu")
    clusters, probabilities = model.predict(pixels), model.predict_proba(pixels)
    for row, cluster, own in zip(found, clusters.tolist(), probabilities, strict=True):
        assert int(row["cluster"]) == cluster
        assert float(row["confidence"]) == pytest.approx(own.max(), abs=1e-4)
        assert (cluster == OUTLIER) == (own.max() < np.float32(0.7))
        assert row["name"] == {2: "deer", OUTLIER: "outliers"}.get(cluster, f"cluster {cluster}")
    assert repr(model).startswith("Model(3 clusters")
    assert model.titles == {2: "deer"}


def test_a_model_saved_elsewhere_takes_its_edits_with_it(run, tmp_path):
    edit(run, Split(cluster=0), Refit())
    model = Model.load(run, "cpu")
    model.save(tmp_path / "copy")
    np.testing.assert_array_equal(
        Model.load(tmp_path / "copy", "cpu").predict_proba(images()), model.predict_proba(images())
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["merge", "split", "rename", "drop", "assign", "refit", "undo"]),
        st.integers(0, 10), st.integers(0, 10), st.floats(0, 1),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


def asked(now, what, first, second, share):
    """An edit of clusters that are there, or None where the clustering has too few."""
    a, b = now.ids[first % len(now.ids)], now.ids[second % len(now.ids)]
    match what:
        case "merge":
            return Merge(clusters=(a, b)) if a != b else None
        case "split":
            return Split(cluster=a, into=2 + second % 2)
        case "rename":
            return Rename(cluster=a, name=f"name {second}")
        case "drop":
            return DropOutliers(below=share)
        case "assign":
            return Assign(images=tuple({str(first), str(second)}), cluster=b if share < 0.8 else OUTLIER)
        case "refit":
            return Refit()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_is_done_all_agrees_and_can_be_taken_back(made, tmp_path_factory, steps):
    run = tmp_path_factory.mktemp("any") / "run"
    shutil.copytree(made, run)
    states = [Clustering.of(run)]
    for what, first, second, share in steps:
        now = states[-1]
        if what == "undo":
            if len(states) > 1:
                undo(run)
                assert same(Clustering.of(run), states[-2])
                states.pop()
            continue
        one = asked(now, what, first, second, share)
        try:
            done = edit(run, one) if one else None
        except RunError:  # too few images to split, a name that is taken
            assert same(Clustering.of(run), now)
            continue
        if done:
            after = Clustering.of(run)
            assert list(after.ids) == sorted(set(after.ids))
            new = set(after.ids) - set(now.ids)
            assert what == "split" or not new
            assert len(set(after.titles.values())) == len(after.titles)
            assert after.titles.keys() <= set(after.ids)
            assert set(after.given.values()) <= {*after.ids, OUTLIER}
            states.append(after)
            agree(run)
    kept = Kept.read(run / "model")
    if kept:
        (run / "again").mkdir()
        kept.write(run / "again")
        assert Kept.read(run / "again") == kept
    if len(states) > 1:
        undo(run, len(states) - 1)
        assert same(Clustering.of(run), load_unedited(run))


def test_all_or_nothing(run):
    edit(run, Rename(cluster=0, name="deer"))
    before = files(run)
    with pytest.raises(RunError, match="no cluster 9"):
        edit(run, Merge(clusters=(0, 1)), Rename(cluster=9, name="frog"))
    with pytest.raises(RunError, match="no cluster 1;"):
        edit(run, Merge(clusters=(0, 1)), Split(cluster=1))
    with pytest.raises(RunError, match="has 1 edit, so 2 can't be taken back"):
        undo(run, 2)
    assert files(run) == before


def page(run, tmp_path, **changes):
    good = {"format": 1, "base": len(history(run)), "edits": [
        {"op": "merge", "clusters": [2, 0]},
        {"op": "rename", "cluster": 2, "name": "deer"},
        {"op": "assign", "images": ["3", "4"], "cluster": 2},
        {"op": "split", "cluster": 1},
        {"op": "drop_outliers", "below": 0.5},
        {"op": "refit"},
    ]}  # fmt: skip
    (tmp_path / "page.json").write_text(json.dumps(good | changes))
    return tmp_path / "page.json"


def test_a_pages_file_is_applied_once(run, tmp_path):
    file = page(run, tmp_path)
    done = apply_file(run, file)
    assert [one.op for one in done.edits] == ["merge", "rename", "assign", "split", "drop_outliers", "refit"]
    agree(run)
    now = Clustering.of(run)
    assert (now.ids, now.titles, now.given) == ((1, 2, 3), {2: "deer"}, {3: 2, 4: 2})
    with pytest.raises(RunError, match=r"another state \(0, and now it is 6\)"):
        apply_file(run, file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": 1}, "another state .1, and now it is 0"),
        ({"base": False}, "another state .False"),
        ({"base": None}, "another state .None"),
        ({"format": 2}, "of format 2, this imcswav reads 1"),
        ({"more": 1}, "is no file of edits"),
        ({"edits": []}, "holds no edits"),
        ({"edits": {}}, "can't be made"),
        ({"edits": [{"op": "merge", "clusters": [0, 9]}]}, "no cluster 9; there are 0 to 2"),
        ({"edits": [{"op": "refit"}, {"op": "merge", "clusters": [0, 9]}]}, "no cluster 9"),
        ({"edits": [{"op": "merge", "clusters": "01"}]}, "can't be made .0.merge.clusters"),
        ({"edits": [{"op": "assign", "images": ["no.png"], "cluster": 1}]}, "no image 'no.png'"),
        ({"edits": [{"op": "assign", "images": ["3"], "cluster": -2}]}, "no cluster -2"),
        ({"edits": [{"op": "remove"}]}, "can't be made"),
        ({"edits": [{"cluster": 3}]}, "can't be made"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(run, tmp_path, changes, message):
    before = files(run)
    with pytest.raises(RunError, match=message) as caught:
        apply_file(run, page(run, tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert files(run) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"3", b"[" * 100_000])
def test_what_is_no_such_json_is_refused(run, tmp_path, content):
    (tmp_path / "page.json").write_bytes(content)
    with pytest.raises(RunError, match=r"page\.json is no"):
        apply_file(run, tmp_path / "page.json")
    with pytest.raises(RunError, match="check the path"):
        apply_file(run, tmp_path / "none.json")


def test_tables_changed_by_hand_are_kept_aside(run):
    (run / "labels.csv").write_text("mine")
    done = edit(run, Merge(clusters=(0, 1)))
    assert done.files.aside == [run / "labels.yours-1.csv"]
    assert (run / "labels.yours-1.csv").read_text() == "mine"
    assert edit(run, Refit()).files.aside == []
    agree(run)


def test_an_edit_that_is_recorded_holds_though_the_tables_were_not_written(run, monkeypatch):
    def fail(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imcswav.clustering.follow.write_tables", fail)
    with pytest.raises(RunError, match="are recorded, but its tables can't be written: No space left"):
        edit(run, Merge(clusters=(0, 1)))
    monkeypatch.undo()
    assert Clustering.of(run).ids == (0, 2)
    assert len(rows(run / "clusters.csv")) == 3
    edit(run, Rename(cluster=0, name="deer"))
    agree(run)


def test_a_run_without_clustering_is_one_sentence(run, capsys):
    shutil.rmtree(run / "clustering")
    code, _, said = call(capsys, "edit", run, "merge", "0", "1")
    assert (code, said.count("\n")) == (2, 1)
    assert "is no run folder" in said
    (run / "recipe.toml").touch()
    said = call(capsys, "edit", run, "merge", "0", "1")[2]
    assert "holds no clustering yet; make it with: imcswav report" in said
    (run / "clustering").mkdir()
    assert "holds no readable clustering" in call(capsys, "edit", run, "merge", "0", "1")[2]
    assert "There is no folder" in call(capsys, "edit", run / "none", "merge", "0", "1")[2]


def test_the_command(run, tmp_path, capsys):
    def say(*words):
        code, out, err = call(capsys, "edit", run, *words)
        return code, out + err

    assert "has no edits" in say("list")[1]
    code, said = say("merge", "2", "0")
    assert code == 0
    assert "are one now: 2 (" in said
    assert f"Written: {run / 'labels.csv'}, {run / 'clusters.csv'}" in said
    assert "is 3 now: 1 (" in say("split", "1", "--into", "3")[1]
    assert 'called "my deer" now' in say("rename", "2", "my deer")[1]
    assert "images are in no cluster now" in say("drop-outliers", "--below", "0.5")[1]
    assert "A head was fitted on" in say("refit")[1]
    lines = say("list")[1].splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == ["1", "2", "3", "4", "5"]
    assert lines[-1] == f'State 5, the "base" of a file for imcswav edit {run} apply.'
    assert "split 1 --into 3: Cluster 1 (" in lines[1]
    assert "Taken back: refit\nTaken back: drop-outliers --below 0.5\n" in say("undo", "2")[1]
    (run / "labels.csv").write_text("mine")
    assert "You had changed a file; yours is now" in say("undo")[1]
    renamed = [{"op": "rename", "cluster": 2, "name": "frog"}]
    assert (
        "of another state" in say("apply", page(run, tmp_path, edits=renamed, base=2))[1]
    )  # as many edits, but others
    file = page(run, tmp_path, edits=renamed, base=Kept.read(run / "model").state)
    assert 'called "frog" now' in say("apply", file)[1]
    agree(run)
    for words, message in {
        ("merge", "2"): "two clusters or more",
        ("merge", "2", "x"): "valid",
        ("split", "9"): "no cluster 9",
        ("drop-outliers", "--below", "2"): "--below",
        ("drop-outliers", "--below", "nan"): "--below|can't be made",
        ("rename", "2"): "Missing argument",
        ("nothing",): "No such command",
        (): "Missing command",
    }.items():
        code, said = say(*words)
        assert code == 2, words
        assert any(part in said for part in message.split("|")), said
        assert "Traceback" not in said
