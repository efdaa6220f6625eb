"""`imcswav inspect`: what it prints and writes, and what it refuses."""

import csv

import pytest
from cli_calls import call
from pictures import picture
from PIL import Image

from imcswav.files import read_csv
from imcswav.imaging.find import counted, find_files


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    picture(1).save(photos / "=b.png")
    picture(1).save(photos / "c.jpg", quality=60)
    picture(2).save(photos / "d.png")
    (photos / "e.png").write_bytes((photos / "d.png").read_bytes())
    Image.new("L", (5, 50)).save(photos / "f.png")
    (photos / "g.png").write_bytes(b"")
    return photos


def test_the_table_and_the_file(folder, tmp_path, capsys):
    before = sorted(folder.iterdir())
    code, out, err = call(capsys, "inspect", folder, "--csv", tmp_path / "quality.csv")
    assert code == 0
    for text in ("broken", "g.png (the file is empty)", "c.jpg = =b.png", "e.png = d.png", "6 files, 5 images, 3 of"):
        assert text in out
    assert "Looking at files: 6 in" in err
    assert read_csv(tmp_path / "quality.csv") == [
        {"image": image, "finding": finding, "detail": detail, "near_duplicate_of": of}
        for image, finding, detail, of in (
            ("c.jpg", "near_duplicate", "256 × 192 px and 256 × 192 px", "=b.png"),
            ("e.png", "exact_duplicate", "same content", "d.png"),
            ("f.png", "blank", "contrast 0.0 of 255", ""),
            ("f.png", "tiny", "5 × 50 px", ""),
            ("g.png", "broken", "the file is empty", ""),
        )
    ]
    with (tmp_path / "quality.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1][3] == "'=b.png", "a spreadsheet takes it for text"
    assert sorted(folder.iterdir()) == before


def test_nothing_wrong(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    picture(1).save(tmp_path / "photos" / "a.png")
    code, out, _ = call(capsys, "inspect", tmp_path / "photos")
    assert code == 0
    assert "Nothing was found wrong." in out
    assert "Left out" not in out


def test_what_is_not_read_as_an_image_is_counted(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.HEIC", "b.heic", "c.nef", "d"):
        (photos / name).write_bytes(b"x")
    only = "4 files that aren't read as images (.heic: 2, .nef: 1, no extension: 1)"
    for words in ("inspect", photos), ("cluster", photos, "-k", 2):
        code, _, err = call(capsys, *words)
        assert code == 2
        assert f"or below it, only {only}; convert what is wanted, or give another folder." in err
    picture(1).save(photos / "e.png")
    code, out, _ = call(capsys, "inspect", photos)
    assert code == 0
    assert f"Left out in {photos}: {only}; the first is a.HEIC." in out
    for number in range(9):
        (photos / f"x.{number}").touch()
    assert counted(find_files(photos)[1]).endswith("(.heic: 2, .nef: 1, no extension: 1, .0: 1, others: 8)")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "There is no folder nowhere"),
        (("photos/d.png",), "There is no folder photos/d.png"),
        (("empty",), "There are no images"),
        (("photos", "--csv", "photos/d.png"), "photos/d.png exists and is not overwritten"),
        (("photos", "--csv", "nowhere/a.csv"), "The folder nowhere does not exist"),
    ],
)
def test_mistakes(words, said, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    code, _, err = call(capsys, "inspect", *words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
