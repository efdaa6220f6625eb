"""Which run of several seeds is kept: by a signal, never by labels; and how far the runs agree."""

import json
import math
from collections import Counter
from itertools import combinations

import pytest
from tiny import blobs, short

from imcswav.data.array import ArrayData
from imcswav.errors import ImcswavError, RunError
from imcswav.files import write_csv
from imcswav.results import tables
from imcswav.results.kept import check_signal, choose, seed_agreement
from imcswav.results.seeds import resume_seeds, run_seeds
from imcswav.results.series import read


@pytest.fixture
def recipe(tiny):
    tiny["callbacks"]["console"] = {"enabled": False}
    return short(tiny)


def images(labelled=True):
    pixels, labels = blobs()
    return ArrayData.of(pixels, labels=labels if labelled else None)


def assigned(path, clusters):
    path.mkdir()
    rows = [(name, "train", cluster, 1.0, "") for name, cluster in clusters.items()]
    write_csv(path / "assignments.csv", ("image", "split", "cluster", "confidence", "label"), rows)
    return path


def rand_index(one, other):
    both = first = second = pairs = 0
    for i, j in combinations(range(len(one)), 2):
        a, b = one[i] == one[j], other[i] == other[j]
        both, first, second, pairs = both + (a and b), first + a, second + b, pairs + 1
    expected = first * second / pairs
    return (both - expected) / ((first + second) / 2 - expected)


def mutual_information(one, other):
    n, joint = len(one), Counter(zip(one, other, strict=True))
    left, right = Counter(one), Counter(other)
    shared = sum(c / n * math.log(c * n / (left[a] * right[b])) for (a, b), c in joint.items())
    entropies = [-sum(c / n * math.log(c / n) for c in counts.values()) for counts in (left, right)]
    return shared / (sum(entropies) / 2)


def test_agreement_is_the_mean_over_the_other_runs_of_images_that_all_have(tmp_path):
    first = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2, "f": 2, "g": 2, "only": 1}
    second = {"g": 5, "a": 4, "b": 4, "c": 4, "d": 3, "e": 5, "f": 5}
    third = {"a": 0, "b": 1, "c": 2, "d": 0, "e": 1, "f": 2, "g": 0}
    runs = {seed: assigned(tmp_path / str(seed), one) for seed, one in ((9, first), (2, second), (5, third))}
    found = seed_agreement(runs)
    columns = {seed: [one[name] for name in "abcdefg"] for seed, one in ((9, first), (2, second), (5, third))}
    for seed in (9, 2, 5):
        others = [columns[other] for other in (9, 2, 5) if other != seed]
        ari = sum(rand_index(columns[seed], other) for other in others) / 2
        nmi = sum(mutual_information(columns[seed], other) for other in others) / 2
        assert found[seed]["seed_agreement"] == pytest.approx(ari, abs=1e-6)
        assert found[seed]["seed_agreement_nmi"] == pytest.approx(nmi, abs=1e-6)
    assert seed_agreement({9: runs[9]}) == {}
    assert seed_agreement({9: runs[9], 2: assigned(tmp_path / "other", {"x": 0})}) == {}


def test_a_collapsed_run_agrees_with_none_not_even_another(tmp_path):
    one, other = dict.fromkeys("abcd", 0), dict.fromkeys("abcd", 3)
    split = {"a": 0, "b": 1, "c": 0, "d": 1}
    tables = {seed: assigned(tmp_path / str(seed), table) for seed, table in enumerate((one, other, split, split))}
    found = seed_agreement(tables)
    assert [row["seed_agreement"] for row in found.values()] == pytest.approx([0, 0, 1 / 3, 1 / 3], abs=1e-6)
    assert [row["seed_agreement_nmi"] for row in found.values()] == pytest.approx([0, 0, 1 / 3, 1 / 3], abs=1e-6)


def test_the_best_is_the_largest_of_a_signal_and_the_smallest_of_a_loss():
    found = {3: {"loss": 1.0, "silhouette": 0.2}, 1: {"loss": -2.0, "silhouette": 0.5}, 7: {"silhouette": 0.5}}
    assert (choose(found, "silhouette").seed, choose(found, "loss").seed) == (1, 1)
    assert choose(found, "loss").values == {3: 1.0, 1: -2.0}
    said = str(choose(found, "silhouette"))
    assert said == "Kept: seed 1, by silhouette 0.5000, the largest; the others: 0.2000 (seed 3), 0.5000 (seed 7)."
    assert "the smallest" in str(choose(found, "loss"))
    with pytest.raises(RunError, match=r"No run has the signal 'loss/imc'.*There are: loss, silhouette"):
        choose(found, "loss/imc")


def test_what_can_be_no_signal():
    for name in ("predictability", "seed_agreement", "loss", "loss/anything"):
        check_signal(name, 3)
    for name in ("acc", "nmi", "predictabilty", "lr"):
        with pytest.raises(ImcswavError, match=f"There is no signal '{name}'"):
            check_signal(name, 3)
    check_signal("silhouette", 1)
    with pytest.raises(ImcswavError, match="'seed_agreement' tells runs apart from 3 seeds on"):
        check_signal("seed_agreement", 2)


def test_a_kept_run_is_recorded_and_all_runs_stay(recipe, tmp_path, capsys):
    folder = tmp_path / "seeds"
    result = run_seeds(recipe, "4,0,2", out=folder, data=images(), keep_by="silhouette")
    values = {seed: run.summary["signals"]["silhouette"] for seed, run in result.runs.items()}
    best = max(values, key=values.get)
    record = json.loads((folder / "seeds.json").read_text())
    assert record["kept"] == {
        "seed": best, "by": "silhouette", "values": {str(seed): value for seed, value in values.items()},
        "run": f"seed-{best}",
    }  # fmt: skip
    assert result.kept.seed == best
    assert all((folder / f"seed-{seed}" / "model").is_dir() for seed in (4, 0, 2))
    assert record["signals"]["4"] == result.runs[4].summary["signals"] | seed_agreement(
        {seed: run.path for seed, run in result.runs.items()}
    )[4]  # fmt: skip
    tables.seeds(result)
    printed = capsys.readouterr().out
    for text in (str(result.kept), "seed_agreement", "(ACC, chooses nothing)", "nothing was deleted"):
        assert text in printed
    again = run_seeds(recipe, "4,0,2", out=folder, data=images(), resume=True, keep_by="seed_agreement")
    assert again.kept.by == "seed_agreement"
    assert resume_seeds(folder, data=images()).kept == again.kept  # what was asked for is remembered
    assert read(folder)["keep_by"] == "seed_agreement"


def test_labels_do_not_choose(recipe, tmp_path):
    kept = [
        run_seeds(recipe, "0-2", out=tmp_path / str(labelled), data=images(labelled), keep_by="confidence").kept
        for labelled in (True, False)
    ]
    assert kept[0] == kept[1]


def test_a_signal_that_no_run_has_is_told_after_the_runs_are_written(recipe, tmp_path):
    with pytest.raises(RunError, match="No run has the signal 'loss/nothing'"):
        run_seeds(recipe, "0", out=tmp_path / "seeds", data=images(), keep_by="loss/nothing")
    assert read(tmp_path / "seeds")["finished"] == [0]
    assert read(tmp_path / "seeds")["kept"] is None
    assert resume_seeds(tmp_path / "seeds", data=images()).kept is None  # which can be gone on with


def test_what_is_wrong_with_keeping_is_told_before_a_folder_is_made(recipe, tmp_path):
    out = tmp_path / "seeds"
    with pytest.raises(ImcswavError, match="There is no signal 'acc'"):
        run_seeds(recipe, "0-1", out=out, data=images(), keep_by="acc")
    with pytest.raises(ImcswavError, match=r"--keep needs signals"):
        run_seeds(recipe, "0-1", {"evaluation.signals": False}, out=out, data=images(), keep_by="loss")
    assert not out.exists()


def test_without_signals_there_is_no_agreement(recipe, tmp_path):
    run_seeds(recipe, "0-1", {"evaluation.signals": False}, out=tmp_path / "seeds", data=images())
    assert read(tmp_path / "seeds")["signals"] == {"0": {}, "1": {}}


def test_a_signal_that_no_run_has_leaves_the_choice_of_a_finished_series(recipe, tmp_path):
    folder = tmp_path / "seeds"
    run_seeds(recipe, "0-1", out=folder, data=images(), keep_by="silhouette")
    before = (folder / "seeds.json").read_text()
    with pytest.raises(RunError, match="No run has the signal 'loss/nothing'"):
        run_seeds(recipe, "0-1", out=folder, data=images(), resume=True, keep_by="loss/nothing")
    assert (folder / "seeds.json").read_text() == before
    assert resume_seeds(folder, data=images()).kept.by == "silhouette"
