import os

import pytest
from clustering.made import clustering

from imcswav.clustering.sorted_files import folder_name, sort_files
from imcswav.errors import DataError, RunError

LONG = "x" * 251 + ".png"


def photographs(root):
    names = ["a/same.png", "b/same.png", "c/same.png", "two words ä.png", LONG, f"d/{LONG}"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return names


def sortable(root, **changes):
    names = photographs(root)
    fields = {"names": names, "paths": names, "root": str(root), "given": dict.fromkeys(range(len(names)), 1)}
    return clustering(images=len(names), **fields | changes)


@pytest.mark.parametrize("how", ["copy", "link"])
def test_every_file_gets_into_its_clusters_folder_under_a_name_of_its_own(tmp_path, how):
    found = sortable(tmp_path / "photos", titles={1: "red deer"})
    assert sort_files(found, tmp_path / "sorted", how) == 6
    files = sorted((tmp_path / "sorted" / "1 red deer").iterdir())
    assert sorted(file.read_text() for file in files) == sorted(found.names)
    assert {"same.png", "same (2).png", "same (3).png", "two words ä.png"} <= {file.name for file in files}
    assert all(file.is_symlink() == (how == "link") for file in files)
    assert sorted(os.listdir(tmp_path / "photos")) == sorted(["a", "b", "c", "d", "two words ä.png", LONG])


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="not an empty folder"):
        sort_files(sortable(tmp_path / "photos"), tmp_path / "sorted", "copy")
    assert os.listdir(tmp_path / "sorted") == ["mine.txt"]


def test_a_file_that_is_gone_is_named(tmp_path):
    found = sortable(tmp_path / "photos")
    (tmp_path / "photos" / "b" / "same.png").unlink()
    with pytest.raises(DataError, match=r"b/same\.png is gone"):
        sort_files(found, tmp_path / "sorted", "copy")


def test_images_that_are_no_files_cant_be_sorted(tmp_path):
    with pytest.raises(DataError, match="are no files"):
        sort_files(clustering(), tmp_path / "sorted", "copy")


def test_names_of_folders_are_safe_and_sort_by_number():
    found = clustering(ids=(0, 3, 10, 11), titles={3: "../a/b: c\n", 10: "ü" * 300, 11: "..."})
    assert folder_name(found, -1) == "outliers"
    assert folder_name(found, 0) == "00"
    assert folder_name(found, 3) == "03 _a_b_ c_"
    assert folder_name(found, 11) == "11"
    assert len(os.fsencode(folder_name(found, 10))) <= 255
