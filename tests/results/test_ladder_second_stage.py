"""A rung that is a second stage: each seed starts from the same seed's run of another rung."""

import hashlib
import json

import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from tiny import blobs, short

import imcswav
from imcswav.data.array import ArrayData
from imcswav.errors import RecipeError, RunError
from imcswav.results.ladder import run_ladder
from imcswav.results.seeds import resume_seeds, run_seeds

SECOND = """extends = "b_first.toml"

[init]
rung = "b_first"

[views]
name = "strong"
size = 8
flip = 0.0

[learner.teacher]
momentum = 0.9

[heads.classifier]
detach = false

[[losses]]
name = "self_label"

[[losses]]
name = "swav"
weight = 0.1

[[losses]]
name = "imc"
weight = 0.1
"""


@pytest.fixture
def steps(tiny, tmp_path):
    """Two rungs of four steps, and a second stage from the upper one."""
    tiny["callbacks"]["console"] = {"enabled": False}
    tiny["evaluation"] = {"plots": False, "signals": False}
    (folder := tmp_path / "steps").mkdir()
    (folder / "a_first.toml").write_text(tomli_w.dumps(short(tiny, epochs=1)))
    (folder / "b_first.toml").write_text('extends = "a_first.toml"\n[optimizer]\nlr = 3e-3\n')
    (folder / "c_second.toml").write_text(SECOND)
    return folder


def images():
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels)


def trained(run):
    """What its model has: a teacher that does not assign is not in it."""
    return load_file(run / "model" / "weights.safetensors")


def test_each_seed_starts_from_the_same_seed_s_run(steps, tmp_path):
    out = tmp_path / "out"
    run_ladder(steps, "0-1", out=out, data=images())
    for seed in (0, 1):
        run, below = out / "c_second" / f"seed-{seed}", out / "b_first" / f"seed-{seed}"
        origin = json.loads((run / "environment.json").read_text())["init"]
        assert origin["run"] == str(below)
        assert origin["sha256"] == hashlib.sha256((below / "model" / "weights.safetensors").read_bytes()).hexdigest()
        assert {"backbone", "heads.classifier", "teacher.backbone"} <= set(origin["parts"])
    changes = {"init.run": str(out / "b_first" / "seed-1"), "seed": 1}
    alone = imcswav.run(steps / "c_second.toml", changes, out=tmp_path / "alone", data=images()).path
    ours, theirs = trained(out / "c_second" / "seed-1"), trained(alone)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    rungs = {rung["name"]: rung for rung in json.loads((out / "ladder.json").read_text())["rungs"]}
    assert rungs["c_second"]["below"] == "b_first"
    assert rungs["c_second"]["changes"]["init.rung"] == {"below": None, "here": "b_first"}
    assert "init.run" not in rungs["c_second"]["changes"]


def test_it_goes_on_and_takes_seeds_that_are_added(steps, tmp_path):
    out = tmp_path / "out"
    run_ladder(steps, "0", out=out, data=images())
    before = (out / "c_second" / "seed-0" / "summary.json").read_bytes()
    result = run_ladder(steps, "0,3", out=out, data=images(), resume=True)
    assert [list(rung.runs) for rung in result.rungs] == [[0, 3]] * 3
    assert (out / "c_second" / "seed-0" / "summary.json").read_bytes() == before
    assert list(resume_seeds(out / "c_second", data=images()).runs) == [0, 3]


def test_without_the_run_below_the_rung_fails_and_the_others_go_on(steps, tmp_path):
    (steps / "b_first.toml").write_text('extends = "a_first.toml"\n[optimizer]\nlr = 1e30\n')
    (steps / "d_last.toml").write_text('extends = "a_first.toml"\n[optimizer]\nlr = 2e-3\n')
    result = run_ladder(steps, "0-1", out=tmp_path / "out", data=images())
    assert [rung.name for rung in result.failed] == ["b_first", "c_second"]
    assert result.failed[1].failure == "It starts from the rung b_first, which has no finished run of seed 0, 1."
    assert len(result.rungs[3].runs) == 2
    with pytest.raises(RunError, match=r"init.rung: .*b_first has no finished run of seed 0"):
        run_seeds(steps / "c_second.toml", "0", out=tmp_path / "out" / "other", data=images())


@pytest.mark.parametrize(
    ("upper", "told"),
    [
        (SECOND.replace('rung = "b_first"', 'rung = "b_frist"'), r"c_second\.toml:4: .*no rung 'b_frist'.*'b_first'"),
        (SECOND.replace('rung = "b_first"', 'rung = "c_second"'), "no rung 'c_second' before this one"),
        (SECOND.replace('rung = "b_first"', 'rung = "../steps"'), r"init\.rung"),
        (SECOND.replace('rung = "b_first"', ""), "names no run to start from: give run, or rung"),
        (SECOND + "[backbone]\nstem = 6\n", r"init\.run: the backbone of the run b_first doesn't fit"),
    ],
)
def test_what_cannot_start_is_told_before_the_first_run(steps, tmp_path, upper, told):
    (steps / "c_second.toml").write_text(upper)
    with pytest.raises(RecipeError, match=told):
        run_ladder(steps, "0-1", out=tmp_path / "out", data=images())
    assert not (tmp_path / "out").exists()


def test_alone_it_asks_for_a_run(steps, tmp_path):
    with pytest.raises(RecipeError, match=r"init\.rung: names a rung.*--set init\.run=FOLDER"):
        imcswav.run(steps / "c_second.toml", out=tmp_path / "out", data=images())
