import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_parts import RECIPE, TOYS

from imcswav import plugins, recipe_sources
from imcswav.errors import Problem, RecipeError
from imcswav.recipe_files import load_recipe, placed, problems_of, recipe_names


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(plugins, "registry", lambda: TOYS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(RECIPE)
    return tmp_path


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)


def problems(source, overrides=()):
    with pytest.raises(RecipeError) as caught:
        load_recipe(source, overrides)
    assert str(caught.value)
    return {one.path: one for one in caught.value.problems}


def sentence(source, overrides=()):
    (one,) = problems(source, overrides).values()
    return str(one)


# loading


def test_loads_a_file_a_path_and_a_dict(folder):
    one = load_recipe("toy.toml")
    assert one.learner.losses[0].solver.epsilon == 0.1
    assert set(one.callbacks) == {"console", "metrics", "tensorboard", "checkpoint", "evaluate"}
    assert one == load_recipe(folder / "toy.toml") == load_recipe(tomllib.loads(RECIPE))


def test_a_dict_is_not_changed(folder):
    tables = tomllib.loads(RECIPE)
    load_recipe(tables, ["data.count=7", "losses.1.name=pull", "heads.out.width=3"])
    assert tables == tomllib.loads(RECIPE)


def test_windows_line_ends_and_byte_order_mark(folder):
    (folder / "dos.toml").write_bytes(b"\xef\xbb\xbf" + RECIPE.replace("\n", "\r\n").encode())
    assert load_recipe("dos.toml") == load_recipe("toy.toml")


def test_shipped_recipes_are_found_by_name(folder, monkeypatch, tmp_path_factory):
    shipped = tmp_path_factory.mktemp("shipped")
    write(shipped, base=RECIPE, small='extends = "base"\nclusters = 2\n[data]\ncount = 0')
    monkeypatch.setattr(recipe_sources, "_shipped", lambda: shipped)
    assert recipe_names() == ["base", "small"]
    assert load_recipe("base").clusters == 3
    assert sentence("small").startswith("small.toml:4: data.count: must be at least 2, not 0.")
    (folder / "base.toml").write_text('extends = "base"\nseed = 5')
    assert load_recipe("base.toml").seed == 5
    assert sentence("bsae") == "there is no such recipe. Did you mean 'base'?"


def test_shipped_recipes_come_from_the_wheel_or_the_checkout(monkeypatch, tmp_path):
    package = tmp_path / "imcswav"
    monkeypatch.setattr(recipe_sources, "files", lambda name: tmp_path / name)
    write_to = [tmp_path / "recipes", package / "_recipes"]
    for number, place in enumerate(write_to):
        place.mkdir(parents=True)
        write(place, **{f"from{number}": RECIPE})
        assert recipe_names() == [f"from{number}"]


# extends


def test_extends_merges_tables_and_replaces_arrays(folder):
    write(
        folder,
        child='extends = "toy.toml"\nname = "child"\n[data]\nlabel = "y"\n[[losses]]\nname = "pull"',
        grandchild='extends = "./child.toml"\n[optimizer]\nmomentum = 0.5\n[heads.more]\nname = "line"',
    )
    recipe = load_recipe("grandchild.toml")
    assert (recipe.name, recipe.clusters, recipe.data.count, recipe.data.label) == ("child", 3, 50, "y")
    assert [loss.temperature for loss in recipe.learner.losses] == [0.1]
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.01, 0.5)
    assert set(recipe.learner.heads) == {"out", "more"}
    assert "extends" not in recipe.tables()


def test_another_name_drops_the_inherited_settings_of_that_part_alone(folder):
    write(folder, child='extends = "toy.toml"\nname = "child"\n[data]\nname = "folder"\nroot = "/x"')
    recipe = load_recipe("child.toml")
    assert recipe.data == TOYS.get("data", "folder").Config(root=Path("/x"))
    assert recipe.optimizer.lr == 0.01


def test_another_learner_drops_the_inherited_tables_of_the_learner(folder):
    write(folder, child='extends = "toy.toml"\n[learner]\nname = "other"\nrate = 0.25')
    assert load_recipe("child.toml").learner.rate == 0.25


def test_bare_names_and_tables_stand_for_one_another(folder):
    write(folder, base='schedule = "drop"\n' + RECIPE, child='extends = "base.toml"\n[schedule]\nat = 0.25')
    write(
        folder,
        same='extends = "child.toml"\nschedule = "drop"',
        less='extends = "child.toml"\nschedule="constant"',
    )
    assert load_recipe("child.toml").schedule.at == 0.25
    assert load_recipe("same.toml").schedule.at == 0.25
    assert load_recipe("less.toml").schedule.owner.name == "constant"


def test_a_callbacks_implied_name_counts_as_its_name(folder):
    write(folder, base=RECIPE + "[callbacks.console]\nenabled = false\n")
    write(folder, child='extends = "base.toml"\n[callbacks.console]\nname = "console"')
    write(folder, other='extends = "base.toml"\n[callbacks.console]\nname = "echo"')
    assert not load_recipe("child.toml").callbacks["console"].enabled
    assert load_recipe("other.toml").callbacks["console"].enabled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "loop.toml"', "extends this recipe in turn"),
        ('extends = "back.toml"', "extends this recipe in turn"),
        ('extends = "tyo.toml"', "there is no recipe 'tyo.toml'. Did you mean 'toy.toml'?"),
        ("extends = 3", "must be another recipe's path or a shipped recipe's name, not 3."),
        ('extends = ""', "not ''."),
        ('extends = "a\\u0000b.toml"', "there is no recipe"),
    ],
)
def test_extends_that_leads_nowhere(folder, text, message):
    write(folder, back='\nextends = "loop.toml"', loop=text)
    one = problems("loop.toml")["extends"]
    assert message in str(one)
    assert one.where == ("back.toml:2" if "back" in text else "loop.toml:1")


def test_problems_name_the_file_that_wrote_the_line(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "child.toml").write_text('extends = "../toy.toml"\nclusters = 1\n[heads.out]\nwdth = 3')
    (folder / "toy.toml").write_text(RECIPE.replace("lr = 0.01", "lr = -1"))
    found = problems("sub/child.toml")
    assert {path: one.where for path, one in found.items()} == {
        "clusters": "sub/child.toml:2",
        "heads.out.wdth": "sub/child.toml:4",
        "optimizer.lr": "toy.toml:22",
    }


# overrides


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("seed=3", lambda r: r.seed, 3),
        ("trainer.epochs = 5", lambda r: r.trainer.epochs, 5),
        ("predict.views=8", lambda r: r.predict.views, 8),
        ("name=abc", lambda r: r.name, "abc"),
        ("name=2024", lambda r: r.name, "2024"),
        ("name='q'", lambda r: r.name, "q"),
        ("data.label=2024-01-01", lambda r: r.data.label, "2024-01-01"),
        ("data.label=a=b", lambda r: r.data.label, "a=b"),
        ("data.label=", lambda r: r.data.label, ""),
        ("data.count=null", lambda r: r.data.count, 100),
        ("trainer.clip_gradient=1", lambda r: r.trainer.clip_gradient, 1.0),
        ("losses.0.temperature=0.5", lambda r: r.learner.losses[0].temperature, 0.5),
        ("losses.0.solver=flat", lambda r: r.learner.losses[0].solver.owner.name, "flat"),
        ("losses.0.solver.name=sharp", lambda r: r.learner.losses[0].solver.epsilon, 0.1),
        ("losses.0=null", lambda r: [loss.owner.name for loss in r.learner.losses], ["push"]),
        ("learner.losses.1.margin=4", lambda r: r.learner.losses[1].margin, 4.0),
        ("mode=odd", lambda r: r.learner.mode, "odd"),
        ("heads.'out'.hidden=[1, 2]", lambda r: r.learner.heads["out"].hidden, (1, 2)),
        ("heads.new=line", lambda r: set(r.learner.heads), {"out", "new"}),
        ("optimizer={momentum=0.5}", lambda r: (r.optimizer.lr, r.optimizer.momentum), (0.01, 0.5)),
        ("evaluation.metrics=['acc']", lambda r: len(r.evaluation.metrics), 1),
        ("callbacks.console.enabled=false", lambda r: r.callbacks["console"].enabled, False),
    ],
)
def test_overrides(folder, override, read, value):
    assert read(load_recipe("toy.toml", [override])) == value


def test_overrides_as_a_mapping(folder):
    changes = {"trainer.epochs": 5, "data": {"name": "folder", "root": Path("/x")}, "heads.out.width": None}
    recipe = load_recipe("toy.toml", changes)
    assert (recipe.trainer.epochs, recipe.data.root, recipe.learner.heads["out"].width) == (5, Path("/x"), 8)


@given(
    st.permutations(
        [
            "data.name=folder",
            "data.root=/x",
            "losses.0.solver.iterations=7",
            "losses.0.name=pull",
            "data.limit=3",
            "losses.0.solver.name=sharp",
            "heads.out.width=4",
            "schedule.at=0.1",
            "schedule=drop",
            "losses.1=null",
        ]
    )
)
def test_the_order_of_overrides_does_not_matter(overrides):
    recipe = load_recipe(tomllib.loads(RECIPE), overrides)
    assert (recipe.data.root, recipe.data.limit) == (Path("/x"), 3)
    assert recipe.learner.losses[0].solver.iterations == 7
    assert (recipe.learner.heads["out"].width, recipe.schedule.at, len(recipe.learner.losses)) == (4, 0.1, 1)


def test_the_later_of_two_equal_paths_wins(folder):
    assert load_recipe("toy.toml", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=-1", "--set: trainer.epochs: must be at least 1, not -1."),
        ("trainer.epochs=many", "--set: trainer.epochs: must be a whole number, not 'many'."),
        ("trainer.epohcs=1", "--set: trainer.epohcs: is no setting of this table. Did you mean 'epochs'?"),
        ("losses.2.margin=1", "--set: losses.2: there is no such entry; losses has entries 0 to 1."),
        ("losses.x.margin=1", "--set: losses.x: there is no such entry; losses has entries 0 to 1."),
        ("losses.5=null", "--set: losses.5: there is no such entry"),
        ("seed.x=1", "--set: seed: must be a whole number, not a table."),
        ("data.count.x=1", "--set: data.count: is 50 and has no 'x'."),
        ("losses.0.solver.epsilom=1", "Did you mean 'epsilon'?"),
        ("data.name=folder", "--set: data.root: is missing."),
        ("data.name=fodler", "--set: data.name: there is no data 'fodler'. Did you mean 'folder'?"),
        (
            "losses.0.solver=shrap",
            "--set: losses.0.solver.name: there is no solver 'shrap'. Did you mean 'sharp'?",
        ),
        (
            "optimzer.lr=1",
            "--set: optimzer: is no setting of the recipe or of the learner 'multiview'. Did you mean",
        ),
        ("seed", "--set: 'seed': is no setting. Write path=value."),
        ("=3", "Write path=value."),
        (".".join("a" * 99) + "=1", "is followed by more than 40 keys."),
        (f"data.label={'[' * 60}{']' * 60}", "is nested more than 40 deep."),
        ("seed=0x" + "f" * 9999, "must be a number of at most 64 bits."),
        ("data.label=\udcff", "must be valid Unicode text."),
        ("clusters=null", "clusters: is missing."),
    ],
)
def test_overrides_that_do_not_fit(folder, override, message):
    found = problems("toy.toml", [override])
    assert message in "\n".join(map(str, found.values()))


# problems


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


# writing
