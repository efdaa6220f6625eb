import os
import shutil

import pytest
from clustering.made import clustering
from clustering.made import photographs as pictures

import imcswav
from imcswav import cli
from imcswav.clustering import Clustering
from imcswav.clustering.edits import Assign, Merge, Rename, edit
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
    assert sort_files(found, tmp_path / "sorted", how) == []
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


@pytest.mark.parametrize("how", ["copy", "link"])
def test_a_file_that_is_gone_is_named(tmp_path, how):
    found = sortable(tmp_path / "photos")
    (tmp_path / "photos" / "b" / "same.png").unlink()
    with pytest.raises(
        DataError, match=r"1 of 6 files are gone, such as .*b/same\.png; .*--skip-missing.*--root FOLDER"
    ):
        sort_files(found, tmp_path / "sorted", how)
    assert not (tmp_path / "sorted").exists()  # nothing is half done
    assert sort_files(found, tmp_path / "sorted", how, skip_missing=True) == [tmp_path / "photos" / "b" / "same.png"]
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "sorted")) == 5


def test_where_all_files_are_gone_none_are_skipped(tmp_path):
    found = sortable(tmp_path / "photos")
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="6 of 6 files are gone"):
        sort_files(found, tmp_path / "sorted", "copy", skip_missing=True)


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


def test_a_run_is_sorted_as_it_was_corrected(tiny, tmp_path, capsys, monkeypatch):
    """Unsorted when it was made, or stopped and resumed; then merged, renamed, and an image taken out."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos")
    tiny |= {"data": {"name": "image_folder", "root": "photos", "size": 12}, "clusters": 3}
    tiny["trainer"] |= {"epochs": 1, "batch_size": 8}
    run = imcswav.run(tiny, out="run").path
    names = sorted(path.name for path in (tmp_path / "photos").iterdir())
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert cli._run(["report", str(run)], debug=False) == 2
    assert "there is no such folder; name the one that they were moved to by --root." in capsys.readouterr().err
    shutil.copytree(tmp_path / "moved", tmp_path / "fewer")
    (tmp_path / "fewer" / names[3]).unlink()
    assert cli._run(["report", str(run), "--root", "fewer"], debug=False) == 2
    assert f"1 of the run's {len(names)} images aren't in 'fewer' ({names[3]} …)" in capsys.readouterr().err
    assert not (run / "clustering").exists()
    assert cli._run(["report", str(run), "--root", "moved"], debug=False) == 0
    (tmp_path / "moved").rename(tmp_path / "photos")
    shutil.rmtree(run / "clustering")
    assert cli._run(["report", str(run)], debug=False) == 0
    assert cli._run(["report", str(run), "--root", "photos"], debug=False) == 2
    assert "leave out --root" in capsys.readouterr().err
    names = Clustering.of(run).names
    edit(run, Merge(clusters=(0, 2)), Rename(cluster=0, name="both"), Assign(images=(names[3],), cluster=-1))
    assert cli._run(["sort", str(run), "--link-to", "sorted"], debug=False) == 0
    assert "Written: sorted" in capsys.readouterr().out
    found = Clustering.of(run)
    folders = {-1: "outliers", 0: "0 both", 1: "1"}
    for name, cluster in zip(found.names, found.clusters_N.tolist(), strict=True):
        assert (tmp_path / "sorted" / folders[cluster] / name).samefile(tmp_path / "photos" / name)
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert cli._run(["sort", str(run), "--copy-to", "again"], debug=False) == 2
    assert "files are gone" in capsys.readouterr().err
    assert cli._run(["sort", str(run), "--copy-to", "again", "--root", "moved"], debug=False) == 0
    assert sum(path.is_file() for path in (tmp_path / "again").rglob("*")) == len(found.names)
    (tmp_path / "moved").rename(tmp_path / "photos")
    for words, said in (
        (["--copy-to", "sorted"], "give another --copy-to."),
        (["--copy-to", "photos/inside"], "photos"),
        (["--copy-to", "a", "--link-to", "b"], "can't go together"),
        ([], "Where to? Give --copy-to FOLDER"),
    ):
        assert cli._run(["sort", str(run), *words], debug=False) == 2
        assert said in capsys.readouterr().err


def test_names_as_spreadsheets_are_given_them_are_names_too(tmp_path):
    """labels.csv has an apostrophe before a name that would be a formula."""
    found = clustering(images=4, names=["=a.png", "b.png", "'=c.png", "d.png"])
    asked = Assign(images=("'=a.png", "b.png", "'=c.png"), cluster=1).prepared(found, 9)
    assert asked.images == ("=a.png", "b.png", "'=c.png")
    with pytest.raises(RunError, match=r"There is no image '=e\.png'"):
        Assign(images=("'=e.png",), cluster=1).prepared(found, 9)
