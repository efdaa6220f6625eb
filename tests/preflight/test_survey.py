"""What a sample of the images tells."""

import shutil

import numpy as np
import pytest
from PIL import Image

from imcswav.data._survey import memory, spread
from imcswav.data.image_folder import ImageFolder
from imcswav.data.numpy_arrays import NumpyData
from imcswav.errors import DataError
from imcswav.imaging import decoded_cache


def folder(path, good, bad=()):
    path.mkdir(parents=True, exist_ok=True)
    for name in good:
        Image.new("RGB", (12, 12), (len(name) * 9, 0, 0)).save(path / f"{name}.png")
    for name in bad:
        (path / f"{name}.png").write_bytes(b"")
    return path


def told(root, sample=32, **settings):
    _, problems = ImageFolder.Config(root=str(root), **settings).surveyed(sample)
    return [(one.severity, one.path, one.message) for one in problems]


def test_positions_are_spread_over_all_with_both_ends():
    assert spread(5, 8) == [0, 1, 2, 3, 4]
    assert spread(100, 2) == [0, 99]
    found = spread(1001, 5)
    assert found == [0, 250, 500, 750, 1000]
    assert len(set(spread(40, 32))) == 32


def test_a_good_folder_and_its_facts(tmp_path):
    config = ImageFolder.Config(root=str(folder(tmp_path, "abc")))
    assert config.surveyed(32) == (config.facts(), [])


def test_some_bad_files_are_a_warning_with_the_first_one_named(tmp_path):
    folder(tmp_path, "abc", "xy")
    ((severity, path, message),) = told(tmp_path)
    assert (severity, path) == ("warning", "data.root")
    assert message == (
        f"2 of 5 images can't be read (the first is {tmp_path}/x.png: the file is empty); such ones are left out."
    )


def test_a_bad_file_outside_of_the_sample_is_not_met(tmp_path):
    folder(tmp_path, "acd", "b")
    assert told(tmp_path, sample=2) == []


def test_too_few_readable_images_are_an_error(tmp_path):
    folder(tmp_path, "a", "xyz")
    ((severity, _, message),) = told(tmp_path)
    assert severity == "error"
    assert "at least 2 must be" in message


def test_one_readable_image_of_a_sample_is_enough(tmp_path):
    folder(tmp_path, "a", "wxyz")
    assert [severity for severity, _, _ in told(tmp_path, sample=3)] == ["warning"]
    folder(tmp_path, "", "a")
    assert [severity for severity, _, _ in told(tmp_path, sample=3)] == ["error"]


def test_test_images_are_looked_at_too(tmp_path):
    folder(tmp_path / "train", "abc")
    folder(tmp_path / "test", "", "x")
    assert [severity for severity, _, _ in told(tmp_path)] == ["error"]


def test_what_else_lies_there_is_told(tmp_path):
    for name in ("cat", "dog"):
        folder(tmp_path / name, "ab")
    assert told(tmp_path) == []
    (tmp_path / "notes.txt").write_text("mine")
    folder(tmp_path, "c")
    notes, loose = told(tmp_path)
    assert notes[::2] == (
        "warning",
        f"Left out in {tmp_path}: 1 file that isn't read as an image (.txt: 1); the first is notes.txt.",
    )
    assert loose[0] == "warning"
    assert loose[2].startswith(f"1 of 5 images lie in {tmp_path} itself beside folders (the first is c.png)")
    assert len(told(tmp_path, labels="none")) == 1


def test_a_missing_folder_raises(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        told(tmp_path / "nowhere")


def test_more_images_than_memory(monkeypatch):
    monkeypatch.setattr("imcswav.data._survey.physical_memory", lambda: 2999.0)
    assert memory(10, 3, 10, "auto")[0].path == "data.placement"
    monkeypatch.setattr("imcswav.data._survey.physical_memory", lambda: 3000.0)
    assert memory(10, 3, 10, "auto") == []


def test_a_cache_without_room_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    root = folder(tmp_path / "images", "abc")
    usage, need = shutil.disk_usage("."), 3 * 3 * 12 * 12
    for free, warned in ((need + decoded_cache.KEPT_FREE, False), (need + decoded_cache.KEPT_FREE - 1, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        found = told(root, placement="stream")
        assert [severity for severity, _, _ in found] == ["warning"] * warned
    assert "so every epoch decodes them again" in found[0][2]
    assert not (tmp_path / "cache").exists()


def test_arrays_with_labels_of_other_length_and_values_out_of_range(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((6, 8, 8), np.uint8), labels=np.zeros(5, int))
    _, (problem,) = NumpyData.Config(file=str(tmp_path / "a.npz")).surveyed(4)
    assert problem.path == "data.file"
    assert "have to be 6 whole numbers" in problem.message
    values = np.zeros((6, 8, 8), np.float32)
    np.save(tmp_path / "b.npy", values)
    assert NumpyData.Config(file=str(tmp_path / "b.npy")).surveyed(4)[1] == []
    values[5, 0, 0] = 3
    np.save(tmp_path / "b.npy", values)
    (problem,) = NumpyData.Config(file=str(tmp_path / "b.npy")).surveyed(4)[1]
    assert "can't be used" in problem.message
