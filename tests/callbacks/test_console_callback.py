import io
import sys
from types import SimpleNamespace

from tiny import short_run

from imcswav.callbacks import console
from imcswav.callbacks.console import Console


def trainer(step=0, epoch=0, steps=100):
    return SimpleNamespace(step=step, epoch=epoch, epochs=10, steps=steps, settings=SimpleNamespace(batch_size=32))


def test_plain_lines_where_there_is_no_terminal(tiny, tmp_path, capsys):
    short_run(tiny, tmp_path / "run", **{"callbacks.evaluate.every": 1})
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    shown = err.splitlines()
    assert shown[0].startswith("epoch 1/2  loss ")
    assert "swav " in shown[0]
    assert "images/s" in shown[0]
    assert shown[0].endswith("left")
    assert shown[1].startswith("epoch 1/2  acc ")  # the first epoch is finished and scored
    assert shown[2].startswith("epoch 2/2  loss ")
    assert shown[3].startswith("epoch 2/2  acc ")
    assert len(shown) == 4


def test_lines_come_at_most_every_few_seconds(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    shown = Console.create()
    shown.start(trainer())
    for step in range(1, 100):
        now[0] += 1
        shown.log(trainer(step), {"loss": 1.0})
    shown.log(trainer(100, epoch=9), {"loss": 1.0})
    shown.close(trainer())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[1] == "epoch 1/10  loss 1  32 images/s  1:34 left"
    assert lines[-1].startswith("epoch 10/10")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = Console.create()
    shown.start(trainer(step=40))
    assert shown.bar.tasks[0].completed == 40  # a resumed run
    shown.log(trainer(50, epoch=5), {"loss": 1.5, "imc/effective_clusters": 3.0})
    assert shown.bar.tasks[0].completed == 50
    assert shown.bar.tasks[0].description.startswith("epoch 6/10  loss 1.5  ")
    shown.log(trainer(50, epoch=5), {"eval/acc": 0.25})
    shown.close(trainer(50))
    assert shown.bar.finished is False
    assert "epoch 5/10  acc 0.25" in terminal.getvalue()
    assert not shown.bar.live.is_started


def test_clock():
    assert [console._clock(seconds) for seconds in (0, 61.9, 3600 * 25 + 5)] == ["0:00", "1:01", "25:00:05"]
