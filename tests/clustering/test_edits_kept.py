"""``edits.json``: one writer at a time, all or nothing, and a sentence for a file that can't be read."""

import json
import threading

import pytest
from edit_case import make_run
from tiny import images

from imcswav.clustering import Clustering
from imcswav.clustering.edits import Merge, Rename, edit, history
from imcswav.clustering.edits.kept import Kept
from imcswav.errors import RunError
from imcswav.model import Model


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def files(run):
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_of_two_edits_at_once_one_is_made(run, monkeypatch):
    """The second one comes after the first looked, and before it wrote."""
    write, errors = Kept.write, []

    def slow(kept, folder):
        def second():
            with pytest.raises(RunError, match="in use by process") as refused:
                edit(run, Rename(cluster=1, name="frog"))
            errors.append(refused.value)

        monkeypatch.setattr(Kept, "write", write)
        other = threading.Thread(target=second)
        other.start()
        other.join()
        write(kept, folder)

    monkeypatch.setattr(Kept, "write", slow)
    edit(run, Rename(cluster=0, name="deer"))
    assert len(errors) == 1
    assert [one.name for one in history(run)] == ["deer"]
    assert edit(run, Rename(cluster=1, name="frog")).edits


def test_edits_that_are_no_text_are_told(run):
    (run / "model" / "edits.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(RunError, match="move it away to go on without edits"):
        history(run)


def test_an_edit_that_can_not_be_recorded_changes_nothing(run, monkeypatch):
    before = files(run)

    def fail(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imcswav.clustering.edits.kept.write_atomically", fail)
    with pytest.raises(RunError, match=r"edits\.json can't be written: No space left on device; nothing changed"):
        edit(run, Merge(clusters=(0, 1)))
    assert files(run) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table | {"format": 2}, "of format 2, this imcswav reads 1"),
        (lambda table: table | {"ids": [0, 1]}, "edits of another clustering|edits of 2 clusters"),
        (lambda table: table | {"edits": [{"op": "melt"}]}, "can't be read"),
        (lambda table: {"format": 1}, "can't be read"),
        (lambda table: [], "can't be read"),
    ],
)
def test_edits_that_can_not_be_read_are_one_sentence(run, change, message):
    edit(run, Merge(clusters=(0, 1)))
    path = run / "model" / "edits.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    for use in (history, Clustering.of, lambda run: Model.load(run, "cpu").predict(images())):
        with pytest.raises(RunError, match=message) as caught:
            use(run)
        assert "\n" not in str(caught.value)
