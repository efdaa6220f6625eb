"""The guide from a folder to a corrected label file, command by command, on photographs made here."""

import csv
import json

import pytest
from clustering.made import photographs
from doc_blocks import ROOT, blocks, command_lines

from imcswav import cli

GUIDE = ROOT / "docs" / "guides" / "from_a_folder_to_labels.md"
PRETRAINED = ["cluster", "PHOTOS", "-k", "12", "--out", "pretrained"]
"""Needs weights that a test doesn't download; its sibling with --backbone takes the same way."""
QUICK = [f"--set=trainer.{setting}" for setting in ("epochs=2", "batch_size=16", "threads=1", "device=cpu")]


def commands():
    consoles = [block for block in blocks(GUIDE.read_text()) if block.language == "console"]
    found = [words for block in consoles for words in command_lines(block)]
    return [words[1:] for words in found if words[0] == "imcswav"]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder in which all was done, and what every command said."""
    folder = tmp_path_factory.mktemp("walk")
    photographs(folder / "PHOTOS", count=60, kinds=3)
    (folder / "PHOTOS" / "copy.png").write_bytes((folder / "PHOTOS" / "photo 000 ä.png").read_bytes())
    photographs(folder / "NEW_IMAGES", count=6, kinds=3)
    renamed = {"op": "rename", "cluster": 3, "name": "blue"}
    page = [renamed, {"op": "assign", "images": ["photo 005 ä.png"], "cluster": 0}]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("IMCSWAV_CACHE", str(folder / "cache"))
        for words in commands():
            if words == PRETRAINED:
                continue
            if words[:3] == ["edit", "my-photos", "apply"]:  # what the page would have downloaded
                made = len(json.loads((folder / "my-photos/model/edits.json").read_text())["edits"])
                (folder / words[3]).write_text(json.dumps({"format": 1, "base": made, "edits": page}))
            extra = QUICK if words[0] == "cluster" and "--from-scratch" in words else []
            assert cli._run([*words, *extra], debug=False) == 0, words
    return folder


def rows(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_the_guide_shows_what_was_built():
    assert {words[0] for words in commands()} == {"inspect", "cluster", "choose-k", "edit", "predict", "sort", "export"}
    assert {words[2] for words in commands() if words[0] == "edit"} == {
        "rename", "merge", "drop-outliers", "list", "apply", "refit", "undo",
    }  # fmt: skip


def test_the_corrected_labels_are_what_was_asked_for(walked):
    labels = rows(walked / "my-photos" / "labels.csv")
    assert len(labels) == 60  # of 61, the copy left out
    assert {row["cluster"] for row in labels} <= {"-1", "0", "1", "3"}
    assert {row["name"] for row in labels if row["cluster"] == "0"} == {"red things"}
    assert "blue" in {row["name"] for row in rows(walked / "my-photos" / "clusters.csv")}
    (moved,) = [row for row in labels if row["set_by_hand"]]
    assert (moved["image"], moved["cluster"]) == ("photo 005 ä.png", "0")


def test_everything_else_lies_where_the_guide_says(walked):
    assert {"exact_duplicate"} == {row["finding"] for row in rows(walked / "trouble.csv")}
    assert (walked / "my-photos" / "report.html").stat().st_size > 100_000
    assert {row["cluster"] for row in rows(walked / "new-labels.csv")} <= {"-1", "0", "1", "3"}
    assert len(list((walked / "sorted").rglob("*.png"))) == 60  # without the copy, too
    assert (walked / "my-photos.safetensors").is_file()
    assert len(list((walked / "PHOTOS").iterdir())) == 61
