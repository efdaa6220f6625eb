"""`imcswav doctor` reports, whatever it finds, and stops nothing."""

import sys

import pytest
from test_plugins import GOOD, install  # noqa: F401 -- a fixture

from imcswav import __version__, doctor
from imcswav.cli import main
from imcswav.plugins import registry


def report(capsys):
    with pytest.raises(SystemExit) as left:
        main(["doctor"])
    assert left.value.code == 0
    return capsys.readouterr().out


def row(text, name):
    (line,) = (line for line in text.splitlines() if line.split()[:1] == [name])
    return line


def test_versions_devices_and_room(install, capsys, tmp_path, monkeypatch):  # noqa: F811
    import torch

    install()
    cache = tmp_path / "cache"
    monkeypatch.setenv("IMCSWAV_CACHE", str(cache))
    text = report(capsys)
    assert __version__ in row(text, "imcswav")
    assert torch.__version__.split("+")[0] in row(text, "torch")
    for name in ("python", "torchvision", "timm", "numpy", "pydantic"):
        assert row(text, name)
    assert "cores" in row(text, "cpu")
    assert "GB memory available" in row(text, "cpu")
    assert "not there yet" in text
    assert "none installed" in text
    assert f"IMCSWAV_CACHE is set: '{cache}'" in text
    cache.mkdir()
    (cache / "x.pixels").write_bytes(bytes(3_000_000))
    assert "3.0 MB taken" in report(capsys)


def test_a_sparse_file_counts_what_it_takes(tmp_path):
    with (tmp_path / "x.pixels").open("wb") as file:
        file.truncate(10**9)
    assert doctor._taken(tmp_path) < 10**6


def test_each_plugin_with_package_version_state_and_components(install, capsys, monkeypatch):  # noqa: F811
    install(a=GOOD.format(name="mine"), b="import nothing_such", c=GOOD.format(name="mine"), d=GOOD.format(name="d"))
    monkeypatch.setenv("IMCSWAV_PLUGINS", "pkg-a,pkg-b,pkg-c,pkg-z")
    text = report(capsys)
    assert row(text, "pkg-a").split() == ["pkg-a", "1.2", "loaded", "loss", "'mine'"]
    assert row(text, "pkg-b").split() == ["pkg-b", "1.2", "broken"]
    assert row(text, "pkg-c").split() == ["pkg-c", "1.2", "clashing"]
    assert row(text, "pkg-d").split() == ["pkg-d", "1.2", "disabled"]
    assert row(text, "pkg-z").split() == ["pkg-z", "not", "installed"]
    for sentence in (
        "Plugin pkg-b 1.2 can't be loaded: ModuleNotFoundError: No module named 'nothing_such'.",
        "Two packages offer the loss 'mine': pkg-a 1.2 and pkg-c 1.2; rename one,",
        "IMCSWAV_PLUGINS leaves pkg-d 1.2 out.",
        "Plugin pkg-z, named in IMCSWAV_PLUGINS, is not installed.",
        "IMCSWAV_PLUGINS is set: 'pkg-a,pkg-b,pkg-c,pkg-z'",
    ):
        assert any(line.startswith(sentence) for line in text.splitlines()), sentence


def test_other_commands_work_beside_a_broken_plugin(install, capsys, tmp_path):  # noqa: F811
    install(b="import nothing_such")
    with pytest.raises(SystemExit, match="0"):
        main(["run", "digits", "--set", "trainer.max_steps=1", "--out", str(tmp_path / "run")])
    assert (tmp_path / "run" / "summary.json").is_file()
    assert any(line.startswith("Plugin pkg-b 1.2 can't be loaded") for line in report(capsys).splitlines())


def test_what_is_missing_is_a_line_and_the_rest_is_still_told(install, capsys, monkeypatch):  # noqa: F811
    install()
    lines = ["torch>=2.11", "no-such-library>=3; python_version > '3'", "extra-one>=1; extra == 'test'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("imcswav.plugins.discover", lambda: (_ for _ in ()).throw(ImportError("libfoo.so\nis gone")))
    text = report(capsys)
    assert "pip install 'no-such-library>=3'" in row(text, "no-such-library")
    assert "extra-one" not in text
    assert "Devices\n  not known: ModuleNotFoundError" in text  # torch would know
    assert "not known: ImportError: libfoo.so is gone" in text
    assert "working folder" in text
    registry.cache_clear()
