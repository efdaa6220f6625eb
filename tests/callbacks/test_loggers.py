"""The optional loggers, each against its own offline mode; skipped where its package isn't installed."""

import json
import os
import subprocess
import sys

import pytest
from tiny import short_run

import imcswav
from imcswav.callbacks._logger import FILE, numbers
from imcswav.errors import RecipeError
from imcswav.recipe import DEFAULT_CALLBACKS

LOGGERS = ("wandb", "mlflow", "trackio")


def stop_and_resume(tiny, folder, logger, **settings):
    """A run that stopped before its summary, and went on; returns its id before and after, and its summary."""
    tiny["callbacks"] |= {logger: {"project": "test-project", **settings}, "console": {"enabled": False}}
    run = short_run(tiny, folder).path
    before = json.loads((run / FILE).read_text())[logger]
    (run / "summary.json").unlink()
    summary = imcswav.resume(run, data=handed_over()).summary
    return before, json.loads((run / FILE).read_text())[logger], summary


def handed_over():
    from tiny import blobs

    from imcswav.data.array import ArrayData

    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


def test_no_logger_is_on_by_itself(tiny):
    assert not set(LOGGERS) & {*DEFAULT_CALLBACKS, *imcswav.load_recipe(tiny).callbacks}


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_missing_package_is_one_sentence_with_what_to_install(tiny, tmp_path, monkeypatch, logger):
    monkeypatch.setitem(sys.modules, logger, None)
    tiny["callbacks"][logger] = {}
    with pytest.raises(RecipeError, match=rf"pip install 'imcswav\[{logger}\]'"):
        short_run(tiny, tmp_path / "run")


def test_only_numbers_of_a_summary_are_numbers():
    assert numbers({"acc": 0.5, "nmi": None, "recipe": "x", "steps": 3}) == {"acc": 0.5, "steps": 3}


def wandb_records(data):
    """The records of a file in LevelDB's log format behind wandb's seven bytes: blocks of 32 KiB, records in pieces."""
    place, piece = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no header fits into the rest of a block
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        piece += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield piece
            piece = b""


def test_wandb_offline(tiny, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.delenv("WANDB_MODE", raising=False)
    before, after, summary = stop_and_resume(tiny, tmp_path / "run", "wandb")
    assert before == after
    folders = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2  # both parts were kept and none was sent
    assert all(folder.name.endswith(before) for folder in folders)
    losses, found = [], {}
    for folder in folders:
        for data in wandb_records(next(folder.glob("*.wandb")).read_bytes()):
            record = Record.FromString(data)
            items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            losses += [(json.loads(items["step"]), json.loads(items["loss"]))] if "loss" in items else []
            found |= {item.key: json.loads(item.value_json) for item in record.summary.update}
    assert [step for step, _ in losses] == list(range(1, 9))
    assert found["acc"] == summary["acc"]


def test_mlflow_in_a_local_database(tiny, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    before, after, summary = stop_and_resume(tiny, tmp_path / "run", "mlflow", tracking_uri=uri)
    assert before == after
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("test-project").experiment_id])
    assert (run.info.run_id, run.info.status) == (before, "FINISHED")
    assert run.data.params["losses.0.name"] == "swav"
    assert run.data.params["optimizer.lr"] == "0.001"
    assert [metric.step for metric in client.get_metric_history(before, "loss")] == list(range(1, 9))
    assert run.data.metrics["summary.acc"] == pytest.approx(summary["acc"])


def test_trackio_in_a_local_folder(tiny, tmp_path):
    """In a process of its own: the folder is read when trackio is imported."""
    pytest.importorskip("trackio")
    (tmp_path / "go.py").write_text(
        "import json, sys\n"
        f"sys.path[:0] = {[os.path.dirname(os.path.dirname(__file__)), os.path.dirname(__file__)]!r}\n"
        "from test_loggers import stop_and_resume\n"
        "from conftest import TINY\n"
        "from pathlib import Path\n"
        "before, after, summary = stop_and_resume(TINY, Path('run'), 'trackio')\n"
        "from trackio import Api\n"
        "runs = list(Api().runs('test-project'))\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "logs = SQLiteStorage.get_logs('test-project', before)\n"
        "print('FOUND', json.dumps([before, after, summary['acc'], [run.name for run in runs], logs]))\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRACKIO_")}
    done = subprocess.run(
        [sys.executable, "go.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment | {"TRACKIO_DIR": str(tmp_path / "logs")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    before, after, acc, names, logs = json.loads(line.removeprefix("FOUND "))
    assert before == after
    assert names == [before]
    assert [row["step"] for row in logs if "loss" in row] == list(range(1, 9))
    assert logs[-1]["summary/acc"] == acc
