"""What is said of recipes that can't be loaded."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from recipe_case import problems, sentence, toy_folder, write
from toy_parts import RECIPE, TOYS

from imcswav.errors import Problem, RecipeError
from imcswav.recipe.files import load_recipe, placed, problems_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    return toy_folder(tmp_path, monkeypatch)


def test_all_problems_at_once_with_line_rule_value_and_suggestion(folder):
    write(
        folder,
        bad="""
name = "a b"
clusters = 1.5
[data]
name = "made"
count = "many"
[trainr]
epochs = 3
[heads.out]
name = "line"
width = "clutsers"
hidden = [1, -2]
[[losses]]
name = "pull"
temprature = 3
solver = { name = "sharp", epsilon = -1 }
[[losses]]
margin = 3
[[crops]]
scale = 3
[optimizer]
name = "wlak"
[trainer]
precision = "fp23"
device = 3
compile = "maybe"
[predict]
views = 65
""",
    )
    texts = [str(one) for one in problems("bad.toml").values()]
    expected = [
        "bad.toml:2: name: must be text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, not 'a b'.",
        "bad.toml:3: clusters: must be a whole number, not 1.5.",
        "bad.toml:6: data.count: must be a whole number, not 'many'.",
        "bad.toml:11: heads.out.width: must be a whole number or 'clusters', not 'clutsers'. Did you mean 'clusters'?",
        "bad.toml:12: heads.out.hidden.1: must be greater than 0, not -2.",
        "bad.toml:15: losses.0.temprature: is no setting of the loss 'pull'. Did you mean 'temperature'?",
        "bad.toml:16: losses.0.solver.epsilon: must be greater than 0, not -1.",
        "bad.toml:17: losses.1.name: the loss has no name. Known: pull, push.",
        "bad.toml:19: crops.0.size: is missing.",
        "bad.toml:20: crops.0.scale: must be an array, not 3.",
        "bad.toml:7: trainr: is no setting of the recipe or of the learner 'multiview'. Did you mean 'trainer'?",
        "bad.toml:22: optimizer.name: there is no optimizer 'wlak'. Did you mean 'walk'?",
        "bad.toml:24: trainer.precision: must be 'auto', 'bf16' or 'fp32', not 'fp23'. Did you mean 'fp32'?",
        "bad.toml:25: trainer.device: must be text, not 3.",
        "bad.toml:26: trainer.compile: must be 'auto' or true or false, not 'maybe'.",
        "bad.toml:28: predict.views: must be at most 64, not 65.",
    ]
    assert sorted(texts) == sorted(expected)
    with pytest.raises(RecipeError, match=r"^bad\.toml: 16 problems\n"):
        load_recipe("bad.toml")


def test_paths_keep_the_learners_table_where_the_user_wrote_it(folder):
    write(folder, a=RECIPE + '[learner]\nmode = 3\nname = "multiview"', b="mode = 3\n" + RECIPE)
    write(folder, c=RECIPE + '[learner]\nname = "tree"', d='mode = "x"\n' + RECIPE + '[learner]\nmode = "y"\n')
    assert sentence("a.toml") == "a.toml:24: learner.mode: must be text, not 3."
    assert sentence("b.toml") == "b.toml:1: mode: must be text, not 3."
    assert sentence("c.toml").startswith("c.toml:24: learner.name: there is no learner 'tree'.")
    assert sentence("d.toml") == "d.toml:1: mode: stands both at the top level and in [learner]. Keep one."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.toml: is empty; a recipe needs"),
        (b"# only a comment\n", "x.toml: is empty; a recipe needs"),
        (b"a = 1\nb = \n", "x.toml:2: is not valid TOML: Invalid value (column 5)."),
        (b"a = 1\nb = [", "x.toml:2: is not valid TOML"),
        (b"a = 1\na = 2\n", "x.toml:2: is not valid TOML: Cannot overwrite a value"),
        (b"a = '\xff\xfe'", "x.toml: is not UTF-8 text (byte 5); save it as UTF-8."),
        (b"a = 1" + b"0" * 5000, "x.toml: is not valid TOML"),
        (b"a = " + b"[" * 100_000, "x.toml: is nested too deeply."),
    ],
)
def test_files_that_are_no_recipe_are_one_sentence(folder, content, message):
    (folder / "x.toml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe("x.toml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_places_that_are_no_file_are_one_sentence(folder):
    (folder / "sub.toml").mkdir()
    for source, message in {
        "sub.toml": "sub.toml: is a folder, not a recipe.",
        "tyo.toml": "tyo.toml: there is no such file. Did you mean 'toy.toml'?",
        "toy.toml/x.toml": "toy.toml/x.toml: there is no such file. Known: ",
        "nowhere/zzz.toml": "nowhere/zzz.toml: there is no such file. Known: ",
        "": ": is a folder, not a recipe.",
        "a\0b": "a\0b: there is no such recipe.",
        "x" * 300: "x" * 300 + ": can't be read: File name too long.",
    }.items():
        with pytest.raises(RecipeError) as caught:
            load_recipe(source)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_one_sentence(folder):
    (folder / "toy.toml").chmod(0)
    assert sentence("toy.toml") == "can't be read: Permission denied."


def test_refused_permission_is_one_sentence(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert sentence("toy.toml") == "can't be read: Permission denied."


def test_problems_of_a_settings_class_alone():
    with pytest.raises(ValidationError) as caught:
        TOYS.get("loss", "pull").Config(temprature=1, temperature=float("inf"))
    found = problems_of(caught.value, lambda path: "here")
    assert [str(one) for one in found] == [
        "here: temperature: must be a finite number, not inf.",
        "here: temprature: is no setting of the loss 'pull'. Did you mean 'temperature'?",
    ]
    assert [one.value for one in found] == ["inf", 1]


def test_problems_found_later_get_their_place(folder):
    later = [Problem("losses.0.solver", "x."), Problem("nowhere", "y."), Problem("seed", "z.")]
    found = placed(later, "toy.toml", ["seed=1"])
    assert [one.where for one in found] == ["toy.toml:15", "toy.toml", "--set"]
