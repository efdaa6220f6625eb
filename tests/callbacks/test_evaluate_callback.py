import json

import pytest
from tiny import short_run


def evaluated(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["epoch"] for row in rows if any(key.startswith("eval/") for key in row)]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (5, []), (10, [])])
def test_on_schedule_and_once_at_the_end(tiny, tmp_path, every, epochs):
    """The last epoch is scored for the summary, which logs it."""
    short_run(tiny, tmp_path / "run", **{"trainer.epochs": 5, "callbacks.evaluate.every": every})
    assert evaluated(tmp_path / "run") == [*epochs, 5]


def test_never_without_labels(tiny, tmp_path, monkeypatch):
    import imcswav.evaluate

    calls = []
    scores = imcswav.evaluate.scores
    monkeypatch.setattr(imcswav.evaluate, "scores", lambda *a, **k: (calls.append(1), scores(*a, **k))[1])
    short_run(tiny, tmp_path / "run", labelled=False, **{"callbacks.evaluate.every": 1})
    assert calls == []
    assert evaluated(tmp_path / "run") == []
