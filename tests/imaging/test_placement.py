"""Where images lie: the choice by size, and that batches and a whole training don't depend on it."""

import csv
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import imcswav
from imcswav import data as data_module
from imcswav.api import evaluate
from imcswav.build import build_run
from imcswav.check import check_recipe
from imcswav.data import Batch, Data, Split
from imcswav.data.digits import Digits
from imcswav.data.image_folder import ImageFolder
from imcswav.errors import DataError
from imcswav.imaging import placement
from imcswav.imaging.placement import choose, must_stream
from imcswav.imaging.prefetch import THREAD_NAME, InMemory
from imcswav.recipe.files import load_recipe
from imcswav.step import Progress

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_memory", lambda device: 80e9)
    monkeypatch.setattr(placement, "available_memory", lambda: 16e9)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """300 digits as files in class folders, of which two can't be read where a test breaks them."""
    monkeypatch.setenv("IMCSWAV_CACHE", str(tmp_path / "cache"))
    digits = Digits.create(size=8)
    for index, (image, label) in enumerate(zip(digits.train.images[:300], digits.train.labels[:300], strict=True)):
        path = tmp_path / "files" / str(int(label)) / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    return tmp_path / "files"


@pytest.mark.parametrize(
    ("setting", "need", "place", "said"),
    [
        ("auto", 20e9, "device", "Images: 20.0 GB on cuda, at most 25% of the 80.0 GB free there."),
        (
            "auto",
            21e9,
            "host",
            "Images: 21.0 GB in main memory, copied to cuda batch by batch: over 25% of the 80.0 GB",
        ),
        ("device", 90e9, "device", "Images: 90.0 GB on cuda, as placement asks."),
        ("host", 5e6, "host", "Images: 5.0 MB in main memory, copied to cuda batch by batch, as placement asks."),
    ],
)
@pytest.mark.usefixtures("memory")
def test_choice_on_a_gpu(setting: str, need: float, place: str, said: str) -> None:
    found, note = choose(setting, need, CUDA)
    assert (found, note[: len(said)]) == (place, said)


@pytest.mark.parametrize("setting", ["auto", "device", "host"])
def test_on_the_cpu_device_and_host_are_the_same(setting: str) -> None:
    assert choose(setting, 3e6, CPU) == ("device", "")


@pytest.mark.usefixtures("memory")
def test_what_does_not_fit_into_main_memory_streams() -> None:
    assert must_stream("auto", int(8e9)) == ""
    assert must_stream("auto", int(8.1e9)) == "8.1 GB are over 50% of the 16.0 GB of available memory"
    assert must_stream("stream", 1) == "as placement asks"
    assert must_stream("device", int(1e12)) == must_stream("host", int(1e12)) == ""


def test_available_memory_is_part_of_this_machine_and_heeds_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < placement.available_memory() <= placement.physical_memory()
    files = {"meminfo": ["MemTotal: 99 kB", "MemAvailable:  3000 kB"], "memory.max": ["max"]}
    monkeypatch.setattr(placement, "_lines", lambda path: files[path.name])
    assert placement.available_memory() == 3000 * 1024
    files["memory.max"] = ["1000000"]
    assert placement.available_memory() == 1e6


def test_only_folders_stream(tiny: dict) -> None:
    with pytest.raises(DataError, match=r'"digits" can\'t be streamed\. Use placement = "auto"'):
        Digits.create(placement="stream")
    problems = check_recipe(load_recipe(tiny, ["data.placement=stream"]))
    assert [problem.path for problem in problems if problem.severity == "error"] == ["data.placement"]


def test_to_moves_images_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Digits.create(size=8)
    moved = data.to(CPU)
    assert moved.note == ""
    assert (data.note, moved.train.images is data.train.images) == ("", True)
    asked: list[object] = []

    def decide(*arguments: object) -> tuple[str, str]:
        asked.append(arguments)
        return "host", "said"

    monkeypatch.setattr(data_module, "choose", decide)
    hosted = data.to(CPU)
    assert asked == [("auto", 1797 * 64, CPU)]
    assert isinstance(hosted.train.images, InMemory)
    assert (hosted.note, hosted.digest(), hosted.facts) == ("said", data.digest(), data.facts)
    assert hosted.to(CPU).note == "said"


def hosted(data: Data, device: torch.device = CPU) -> Data:
    moved = data.to(CPU)
    moved.train = Split(InMemory(data.train.images, device), data.train.names, data.train.labels)
    return moved


@pytest.mark.parametrize("settings", [{}, {"start": 5}, {"start": 27}, {"rank": 1, "world": 3}])
def test_batches_from_main_memory_equal_those_on_the_device(settings: dict[str, int]) -> None:
    data = Digits.create(size=8)
    pair = (each.batches(2, seed=5, batch_size=64, **settings) for each in (data, hosted(data)))
    count = 0
    for one, other in zip(*pair, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.index, other.index)
        count += 1
    assert count == 28 - settings.get("start", 0)


def test_images_in_memory_are_read_as_a_tensor_is() -> None:
    tensor = Digits.create(size=8).train.images
    images = InMemory(tensor, CPU)
    assert (images.shape, images.dtype, images.device, len(images)) == (tensor.shape, torch.uint8, CPU, 1797)
    index = torch.tensor([5, 1700, 5])
    assert torch.equal(images[index], tensor[index])
    assert torch.equal(images[np.int64(9)], tensor[9])
    assert torch.equal(images[index[:0]], tensor[index[:0]])
    assert all(map(torch.equal, images.split(500), tensor.split(500)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_batches_on_cuda_are_those_of_the_cpu() -> None:
    data = Digits.create(size=8)
    want = list(data.batches(2, seed=5, batch_size=64))
    for moved in (data.to(CUDA), hosted(data, CUDA)):
        for one, other in zip(want, moved.batches(2, seed=5, batch_size=64), strict=True):
            assert (other.images.device.type, other.index.device.type) == ("cuda", "cuda")
            assert torch.equal(one.images, other.images.cpu())
            assert torch.equal(one.index, other.index.cpu())


def train(tiny: dict, root: Path, out: Path, place: str, *, broken: int = 0) -> dict[str, object]:
    own = {"name": "image_folder", "root": str(root), "size": 8, "channels": 1, "placement": place}
    views = tiny["views"] | {"mean": [0.3], "std": [0.4]}
    trainer = tiny["trainer"] | {"batch_size": 64, "epochs": 2}
    result = imcswav.run(tiny | {"data": own, "views": views, "trainer": trainer}, out=out, warn=lambda problem: None)
    rows = list(csv.reader((out / "assignments.csv").open()))
    assert result.summary["skipped"] == broken
    return {"weights": load_file(out / "model" / "weights.safetensors"), "rows": rows, "summary": result.summary}


def test_a_training_is_the_same_wherever_the_images_lie(
    tiny: dict, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    runs = [train(tiny, folder, tmp_path / place, place) for place in ("device", "stream")]
    assert "Images: decoded while training (as placement asks), and kept in" in capsys.readouterr().err
    monkeypatch.setattr(data_module, "choose", lambda *arguments: ("host", "in main memory"))
    runs.append(train(tiny, folder, tmp_path / "host", "host"))
    assert "in main memory" in capsys.readouterr().err
    for other in runs[1:]:
        assert other["weights"].keys() == runs[0]["weights"].keys()
        assert all(torch.equal(value, runs[0]["weights"][name]) for name, value in other["weights"].items())
        assert other["rows"] == runs[0]["rows"]
        assert {key: other["summary"][key] for key in ("acc", "nmi", "kmeans_acc")} == {
            key: runs[0]["summary"][key] for key in ("acc", "nmi", "kmeans_acc")
        }


def test_unreadable_streamed_files_are_listed_and_not_assigned(tiny: dict, folder: Path, tmp_path: Path) -> None:
    broken = sorted(folder.glob("*/*.png"))[7:300:120]
    for path in broken:
        path.write_bytes(b"no image")
    result = train(tiny, folder, tmp_path / "run", "stream", broken=3)
    assert len(result["rows"]) == 1 + 297
    assert not {str(path.relative_to(folder)) for path in broken} & {row[0] for row in result["rows"]}
    listed = list(csv.reader((tmp_path / "run" / "skipped.csv").open()))
    assert [row[0] for row in listed] == ["image", *(str(path.relative_to(folder)) for path in broken)]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["trained_on"] == "train (297 images)"


def test_training_that_fails_leaves_no_thread(tiny: dict, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="enough") as raised:  # which keeps the failing frames alive
        fail(tiny, folder, tmp_path)
    assert raised.traceback
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


def fail(tiny: dict, root: Path, out: Path) -> None:
    own = {"name": "image_folder", "root": str(root), "size": 8, "channels": 1, "placement": "stream"}
    recipe = load_recipe(tiny | {"data": own, "trainer": tiny["trainer"] | {"batch_size": 16}})
    trainer, _ = build_run(recipe, out=out / "run")
    real = trainer.engine.step

    def step(batch: Batch, progress: Progress) -> dict[str, torch.Tensor]:
        if progress.step == 3:
            raise RuntimeError("enough")
        return real(batch, progress)

    trainer.engine.step = step
    trainer.fit()


def test_a_streamed_run_can_be_scored_again(tiny: dict, folder: Path, tmp_path: Path) -> None:
    result = train(tiny, folder, tmp_path / "run", "stream")
    again = evaluate(tmp_path / "run", device="cpu")
    assert again["acc"] == pytest.approx(result["summary"]["acc"], abs=1e-6)
    assert ImageFolder.create(root=str(folder), placement="stream").test is None
