"""The loop: resuming is exact, labels don't matter, and any learner will do."""

import ast
import json
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import imcswav
from imcswav import api, checkpoint
from imcswav.build import build_run, restore_run
from imcswav.data.array import ArrayData
from imcswav.data.digits import Digits
from imcswav.errors import RunError
from imcswav.heads import HeadName
from imcswav.learners import Embedding, Learner
from imcswav.losses import Loss
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe
from imcswav.results.logged import read_rows
from imcswav.runs import RunFolder
from imcswav.seeding import mix
from imcswav.trainer import DATA


def weights(run):
    return checkpoint.load_latest(Path(run) / "checkpoints")["learner"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class StopAfter:
    """A callback that asks to stop, as Ctrl-C does, after so many steps."""

    def __init__(self, trainer, steps, number=signal.SIGINT):
        self.number = number
        self.steps, self.inner = steps, trainer.learner.after_step
        trainer.learner.after_step = self
        self.trainer = trainer

    def __call__(self, progress):
        self.inner(progress)
        if progress.step + 1 == self.steps:
            signal.raise_signal(self.number)


@pytest.mark.parametrize(("stop", "copies"), [(7, 1), (9, 1), (9, 3)])  # an epoch's last step, the middle of one
def test_resumed_run_is_bit_identical(tiny, tmp_path, stop, copies):
    tiny["heads"]["classifier"]["copies"] = copies
    imcswav.run(tiny, out=tmp_path / "whole")
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.step == stop
    result = imcswav.resume(tmp_path / "stopped")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert result.summary["steps"] == 21
    whole, stopped = ((tmp_path / run / "assignments.csv").read_text() for run in ("whole", "stopped"))
    assert whole == stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("stop", [2, 21])  # the run's last step: what follows can wait for another day
def test_what_ends_a_job_saves_and_leaves_with_143(tiny, tmp_path, number, stop):
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    StopAfter(trainer, stop, number)
    with pytest.raises(SystemExit) as caught:
        trainer.fit()
    assert caught.value.code == 143
    assert checkpoint.load_latest(trainer.run.checkpoints)["step"] == stop
    if stop == 21:
        assert imcswav.resume(tmp_path / "run").summary["steps"] == 21


@pytest.mark.parametrize("again", [False, True])
def test_the_checkpoint_of_an_interruption_is_on_disk_when_fit_returns(tiny, tmp_path, monkeypatch, again):
    """Also if Ctrl-C comes again while it is being written."""
    main = threading.get_ident()
    write = checkpoint.write_atomically

    def slow(path, fill):
        if trainer.interrupted and again:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.1)
        write(path, fill)

    monkeypatch.setattr(checkpoint, "write_atomically", slow)
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    StopAfter(trainer, 3)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert [path.name for path in trainer.run.checkpoints.iterdir()] == ["step-000000003.pt"]
    assert checkpoint.load_latest(trainer.run.checkpoints)["step"] == 3


@pytest.mark.parametrize("failing", [7, 21])  # noticed at the next save, and at the end
def test_a_checkpoint_that_cannot_be_written_stops_the_run(tiny, tmp_path, monkeypatch, failing):
    write = checkpoint.write_atomically

    def full(path, fill):
        if path.name == f"step-{failing:09d}.pt":
            raise OSError(28, "No space left on device", str(path))
        write(path, fill)

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(RunError, match=r"can't be written any more \(No space left on device\); .* imcswav resume"):
        imcswav.run(tiny, out=tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_evaluating_during_training_changes_nothing(tiny, tmp_path):
    imcswav.run(tiny, {"callbacks.evaluate.every": 1}, out=tmp_path / "often")
    imcswav.run(tiny, {"callbacks.evaluate.enabled": False}, out=tmp_path / "never")
    assert_same(weights(tmp_path / "often"), weights(tmp_path / "never"))


def test_seeds_differ(tiny, tmp_path):
    for seed in (0, 1):
        imcswav.run(tiny, {"seed": seed, "trainer.max_steps": 2}, out=tmp_path / str(seed))
    one, other = (weights(tmp_path / str(seed)) for seed in (0, 1))
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_labels_change_nothing_but_scores(tiny, tmp_path):
    digits = load_recipe(tiny).data.build()
    images, labels = digits.train.images.numpy(), digits.train.labels.numpy()
    shuffled = np.random.default_rng(0).permutation(labels)
    runs = {}
    for name, truth in {"true": labels, "shuffled": shuffled, "none": None}.items():
        data = ArrayData.of(images, labels=truth)
        runs[name] = imcswav.run(tiny, {"callbacks.evaluate.every": 1}, out=tmp_path / name, data=data)
    for name in ("shuffled", "none"):
        assert_same(weights(tmp_path / "true"), weights(tmp_path / name))
        rows = [(tmp_path / run / "assignments.csv").read_text().splitlines() for run in ("true", name)]
        assert [row.split(",")[:4] for row in rows[0]] == [row.split(",")[:4] for row in rows[1]]
    assert runs["true"].summary["acc"] != runs["shuffled"].summary["acc"]
    assert runs["none"].summary["acc"] is None


class Autoencoder(Learner, name="test_autoencoder"):
    """A learner without views, heads or losses of the library."""

    def __init__(self, config, *, facts, clusters):
        super().__init__(config, facts=facts, clusters=clusters)
        pixels = facts.channels * facts.size**2
        self.encode, self.decode = nn.Linear(pixels, 6), nn.Linear(6, pixels)

    def _flat(self, images):
        return images.flatten(1).float() / 255

    def forward(self, batch, progress, seed):
        x = self._flat(batch.images)
        return {"loss": (self.decode(self.encode(x)) - x).square().mean()}

    def embed(self, images, views=1):
        return Embedding(self.encode(self._flat(images)), None)


def test_a_foreign_learner_trains_resumes_and_evaluates(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(registry().classes, ("learner", "test_autoencoder"), Autoencoder)
    recipe = {key: tiny[key] for key in ("name", "clusters", "data", "optimizer", "trainer", "callbacks")}
    recipe |= {"learner": {"name": "test_autoencoder"}, "clusterer": {"name": "kmeans", "n_init": 2}}
    imcswav.run(recipe, out=tmp_path / "whole")
    trainer, _ = build_run(load_recipe(recipe), out=tmp_path / "stopped")
    StopAfter(trainer, 8)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    result = imcswav.resume(tmp_path / "stopped")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert result.summary["acc"] > 0.2  # k-means on anything is above chance for 3 clusters of 10 classes
    images = load_recipe(recipe).data.build().train.images
    assert set(result.load().predict(images)) <= {0, 1, 2}
    assert api.evaluate(result.path)["acc"] == pytest.approx(result.summary["acc"], abs=1e-6)


class Centre(Loss, name="test_centre"):
    """Pulls towards the mean that all images had at the epoch's start."""

    class Config(Loss.Config):
        target: HeadName = "teacher.projection"
        """Whose mean."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("centre", torch.zeros(8))
        self.register_buffer("begun", torch.full((3, 3), -1, dtype=torch.int64))

    def start_epoch(self, epoch):
        rows = epoch.outputs(self.config.target)
        assert rows.shape == (len(epoch.images), 8)
        self.centre.copy_(rows.mean(0))
        steps = torch.tensor([epoch.progress.step, epoch.progress.steps, epoch.seed % 1000])
        assert self.begun[epoch.progress.epoch].eq(-1).all()  # once an epoch
        self.begun[epoch.progress.epoch] = steps

    def forward(self, step):
        return (step["projection"] - self.centre).square().mean()


@pytest.mark.parametrize("stop", [7, 9])  # an epoch's last step, and the middle of one
def test_an_epoch_starts_once_though_a_run_is_resumed_within(tiny, tmp_path, monkeypatch, stop):
    monkeypatch.setitem(registry().classes, ("loss", "test_centre"), Centre)
    tiny["losses"].append({"name": "test_centre"})
    tiny["learner"] = {"teacher": {"momentum": 0.9}}
    imcswav.run(tiny, out=tmp_path / "whole")
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    imcswav.resume(tmp_path / "stopped")
    whole = weights(tmp_path / "whole")
    assert_same(whole, weights(tmp_path / "stopped"))
    assert whole["losses.2.begun"][:, :2].tolist() == [[0, 21], [7, 21], [14, 21]]
    assert len(set(whole["losses.2.begun"][:, 2].tolist())) == 3  # a seed of its own for each


def test_core_names_no_component():
    names = {cls.name for cls in registry()} - {"array"}  # what imcswav.run makes of Python's arrays
    root = Path(imcswav.__file__).parent
    for file in ("trainer.py", "build.py", "learners/__init__.py", "step.py", "check.py", "model.py"):
        texts = {n.value for n in ast.walk(ast.parse((root / file).read_text())) if isinstance(n, ast.Constant)}
        assert not texts & names, file


def test_max_steps_scales_the_schedule(tiny, tmp_path):
    tiny["schedule"] = {"name": "cosine"}
    imcswav.run(tiny, {"trainer.max_steps": 5, "trainer.log_every": 1}, out=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [row["lr"] for row in rows if "lr" in row]
    assert len(rates) == 5
    assert rates[0] > rates[2] > rates[4]
    assert rates[4] < 0.1 * rates[0]


def test_a_nan_loss_stops_with_one_sentence(tiny, tmp_path):
    tiny["optimizer"]["lr"] = 1e30
    tiny["trainer"]["log_every"] = 1
    with pytest.raises(RunError, match=r"(loss|weights) became (nan|inf).* by step \d+.*optimizer\.lr"):
        imcswav.run(tiny, out=tmp_path / "run")


def test_clipping_bounds_the_step(tiny, tmp_path):
    tiny["optimizer"] = {"name": "sgd", "lr": 1.0, "momentum": 0.0}
    tiny["trainer"] |= {"max_steps": 1, "clip_gradient": 1e-3}
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    before = {name: p.detach().clone() for name, p in trainer.learner.named_parameters() if "prototypes" not in name}
    trainer.fit()
    after = dict(trainer.learner.named_parameters())
    moved = sum((after[name] - value).square().sum() for name, value in before.items()).sqrt()
    assert 0 < moved <= 1.001e-3


def test_a_checkpoint_of_another_recipe_is_refused(tiny, tmp_path):
    imcswav.run(tiny, {"trainer.max_steps": 1}, out=tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    file = tmp_path / "run" / "recipe.toml"
    file.write_text(file.read_text().replace("count = 12", "count = 13"))
    with pytest.raises(RunError, match="doesn't fit its recipe"):
        restore_run(RunFolder.open(tmp_path / "run"))


def test_resuming_on_other_images_is_refused(tiny, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (600, 8, 8), dtype=np.uint8)
    trainer, _ = build_run(load_recipe(tiny, {"data.name": "array"}), out=tmp_path / "run", data=ArrayData.of(images))
    StopAfter(trainer, 1)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    for others in (images[:-1], images[::-1] // 2, images[::-1], images.transpose(0, 2, 1)):  # the last: the same sums
        with pytest.raises(RunError, match=r"are not those that the run .* began with"):
            imcswav.resume(tmp_path / "run", data=others)
    assert imcswav.resume(tmp_path / "run", data=images).summary["steps"] == 6


def test_a_run_begun_before_the_order_of_pixels_was_seen_goes_on(tiny, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (600, 8, 8), dtype=np.uint8)
    with monkeypatch.context() as before:
        before.setattr(ArrayData, "digest", ArrayData.former_digest)
        recipe = load_recipe(tiny, {"data.name": "array"})
        trainer, _ = build_run(recipe, out=tmp_path / "run", data=ArrayData.of(images))
        StopAfter(trainer, 1)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
    with pytest.raises(RunError, match="are not those"):
        imcswav.resume(tmp_path / "run", data=images // 2)
    assert imcswav.resume(tmp_path / "run", data=images).summary["steps"] == 6


def test_weights_do_not_depend_on_what_reading_data_draws(tiny, tmp_path, monkeypatch):
    def start(run):
        return build_run(load_recipe(tiny), out=tmp_path / run)[0].learner.state_dict()

    expected = start("plain")
    measure = Digits.measure
    monkeypatch.setattr(Digits, "measure", lambda data: (torch.rand(7), measure(data))[1])
    assert_same(start("drawing"), expected)


@pytest.mark.parametrize("copies", [1, 3])
def test_no_host_wait_in_a_step(tiny, tmp_path, copies):
    """Reading a scalar, copying to the host or a shape that depends on data would stall a GPU."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    tiny["heads"]["classifier"]["copies"] = copies
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    trainer.learner.train()
    batch = next(trainer.data.batches(0, seed=0, batch_size=64))
    with Watch():
        trainer._train_step(batch)
    assert "convolution" in seen
    assert not seen & {
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique_dim",
        "_unique2",
        "equal",
        "lift_fresh",
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_steps_on_cuda_never_wait_for_the_device(tiny, tmp_path):
    tiny["trainer"]["device"] = "cuda"
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "run")
    trainer.learner.train()
    batches = trainer.data.batches(0, seed=0, batch_size=64)
    trainer._train_step(next(batches))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch, _ in zip(batches, range(20), strict=False):
            trainer._train_step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("stop", [9, 10, 20])  # inside an epoch, beside a log, near the end
def test_an_interruption_leaves_no_trace_in_what_is_logged(tiny, tmp_path, stop):
    tiny["trainer"]["log_every"] = 5
    whole = imcswav.run(tiny, out=tmp_path / "whole")
    trainer, _ = build_run(load_recipe(tiny), out=tmp_path / "stopped")
    StopAfter(trainer, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    stopped = imcswav.resume(tmp_path / "stopped")
    times = {"seconds", "images_per_second"}
    one, other = (
        [{name: value for name, value in row.items() if name not in times} for row in read_rows(run / "metrics.jsonl")]
        for run in (whole.path, stopped.path)
    )
    assert one == other
    assert whole.summary["signals"] == stopped.summary["signals"]


def test_an_epoch_that_max_steps_cut_short_goes_on_when_that_is_raised(tiny, tmp_path):
    """Seven steps an epoch: the tenth is the third of the second."""
    whole = imcswav.run(tiny, {"trainer.max_steps": 16}, out=tmp_path / "whole")
    imcswav.run(tiny, {"trainer.max_steps": 10}, out=tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()  # as if it had ended before
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("max_steps = 10", "max_steps = 16"))
    trainer = restore_run(RunFolder(tmp_path / "run"))
    assert (trainer.step, trainer.epoch) == (10, 1)
    epoch = trainer.data.batches(1, seed=mix(trainer.recipe.seed, DATA), batch_size=256)
    rest = [batch.index.tolist() for batch in epoch][3:]
    assert [batch.index.tolist() for batch in trainer._batches()] == rest
    assert imcswav.resume(tmp_path / "run").summary["steps"] == whole.summary["steps"] == 16
