"""Every command of the folder's way, with every kind of file that lies in people's folders."""

import csv
import os
import shutil

import numpy as np
import pytest
from cli_calls import call
from PIL import Image

LONG = "x" * 196 + ".png"
READABLE = 12 + 7
BROKEN = {"empty.jpg", "text.png", "huge.png", "nowhere.png"}


def pixels(seed, side=24):
    random = np.random.default_rng(seed)
    found = random.integers(0, 60, (side, side, 3))
    found[:, :, seed % 3] += 150
    return Image.fromarray(found.astype(np.uint8))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder whose name has spaces, with one of everything."""
    folder = tmp_path_factory.mktemp("odd") / "my photos, 2026 äß"
    nested = folder / "nested" / "deeper still" / "日本"
    nested.mkdir(parents=True)
    for number in range(12):
        pixels(number).save(folder / f"plain {number}.png")
    pixels(20).save(folder / LONG)
    pixels(21).save(nested / "写真.jpg")
    pixels(22).save(folder / "=cmd|' quoted', with \"comma\".png")
    pixels(23).convert("CMYK").save(folder / "print.jpg")
    pixels(24).save(folder / "moving.gif", save_all=True, append_images=[pixels(25)])
    pixels(26).save(os.fsencode(folder) + b"/latin \xff.png", format="PNG")
    (folder / "link.png").symlink_to(nested / "写真.jpg")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(folder / "gone")
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no image")
    Image.fromarray(np.zeros((1, 1), np.uint8)).resize((11_000, 10_000)).save(folder / "huge.png")
    return folder


@pytest.fixture(scope="module")
def clustered(odd, tmp_path_factory):
    """A run on it, by the command."""
    out = tmp_path_factory.mktemp("run of odd files") / "the run"
    settings = [f"--set=trainer.{one}" for one in ("epochs=1", "batch_size=8", "threads=1")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMCSWAV_CACHE", str(out.parent / "cache"))
        from imcswav import cli

        words = ["cluster", odd, "-k", 3, "--from-scratch", "--device", "cpu", "--out", out, *settings]
        assert cli._run([str(word) for word in words], debug=True) == 0
    return out


def rows(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_what_can_be_read_has_a_row_and_the_rest_a_reason(clustered):
    names = {row["image"] for row in rows(clustered / "labels.csv")}
    assert len(names) == READABLE
    assert {
        LONG,
        "nested/deeper still/日本/写真.jpg",
        "print.jpg",
        "moving.gif",
        "latin \\xff.png",
        "link.png",
    } <= names
    skipped = {row["image"].rsplit("/", 1)[-1]: row["reason"] for row in rows(clustered / "skipped.csv")}
    assert skipped.keys() == BROKEN
    assert all(skipped.values())
    assert {row["image"] for row in rows(clustered / "quality.csv") if row["finding"] == "broken"} == BROKEN


def test_the_same_network_again_with_copies(odd, clustered, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    code, _, err = call(
        capsys, "cluster", odd, "-k", 3, "--backbone", clustered, "--device", "cpu", "--out", tmp_path / "run",
        "--drop-duplicates", "--copy-to", tmp_path / "sorted",
    )  # fmt: skip
    assert code == 0, err
    kept = [path for path in (tmp_path / "sorted").rglob("*") if path.is_file()]
    assert len(kept) == READABLE - 1  # the link shows what its target shows
    assert os.fsencode("latin ") + b"\xff.png" in {os.fsencode(path.name) for path in kept}


@pytest.mark.parametrize(
    "words",
    [
        ("report", "RUN"),
        ("edit", "RUN", "rename", "0", "<b>ä</b>, \"one\""),
        ("edit", "RUN", "merge", "0", "1"),
        ("edit", "RUN", "drop-outliers", "--below", "0.2"),
        ("predict", "RUN", "ODD", "--out", "OUT.csv"),
        ("features", "RUN", "ODD", "--out", "OUT.npz"),
        ("inspect", "ODD", "--csv", "OUT.csv"),
        ("export", "RUN", "--format", "safetensors", "--out", "OUT.safetensors"),
        ("evaluate", "RUN"),
    ],
)  # fmt: skip
def test_no_command_stumbles(words, odd, clustered, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(clustered, tmp_path / "a run")
    given = {"RUN": tmp_path / "a run", "ODD": odd}
    code, _, err = call(capsys, *(given.get(word, word) for word in words))
    assert code == 0, err
    for made in tmp_path.glob("OUT.*"):
        assert made.stat().st_size > 0
