"""What `imcswav new` writes passes its own test as it is, and its recipe has no problems."""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from imcswav.cli import main
from imcswav.component import KINDS
from imcswav.errors import ImcswavError
from imcswav.plugins import registry
from imcswav.scaffold import TEMPLATES, write_package

CHECK = """
import sys
from imcswav.check import check_recipe
from imcswav.cost import estimate
from imcswav.recipe.files import load_recipe
for path in sys.argv[1:]:
    recipe = load_recipe(path)
    print(recipe.name, check_recipe(recipe), estimate(recipe).parameters > 0)
"""


def install(folder: Path, site: Path) -> None:
    """What pip leaves of a package, from its pyproject.toml."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["imcswav"].items())
    (info / "entry_points.txt").write_text(f"[imcswav]\n{entries}")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A package of every kind, and the environment in which they are installed."""
    root = tmp_path_factory.mktemp("new")
    folders = [root / kind for kind in KINDS]
    for folder in folders:
        write_package(folder.name, f"my_{folder.name}", folder)
        install(folder, root / "site")
    torn = write_package("loss", "my_torn", root / "torn").folder
    file = torn / "imcswav_my_torn.py"
    file.write_text(file.read_text().replace(".sum(-1).mean()", ".sum(-1)"))
    path = os.pathsep.join(map(str, [*folders, torn, root / "site", Path(__file__).parent.parent]))
    environment = {key: value for key, value in os.environ.items() if key != "IMCSWAV_PLUGINS"}
    return folders, environment | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def python(packages, *words):
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=packages[1], cwd=packages[0][0].parent, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_the_test_of_every_kind_passes_as_written_and_that_of_a_torn_copy_fails(packages):
    torn = packages[0][0].parent / "torn"
    code, said = python(packages, "-m", "pytest", "-q", "-p", "no:cacheprovider", *packages[0], torn)
    assert code == 1
    files = [folder / "tests" / f"test_my_{folder.name}.py" for folder in packages[0]]
    written = sum(file.read_text().count("def test_") for file in files) + 2  # one has three sizes
    assert f"3 failed, {written} passed" in said
    assert said.count("\nFAILED ") == said.count("test_my_torn.py::") == 3, said
    assert "not a scalar" in said


def test_the_recipe_of_every_kind_has_no_problems_and_uses_the_component(packages):
    recipes = [folder / "recipes" / f"my_{folder.name}.toml" for folder in packages[0]]
    code, said = python(packages, "-c", CHECK, *recipes)
    assert code == 0, said
    assert said.split("\n")[:-1] == [f"my_{kind} [] True" for kind in KINDS]
    for kind, recipe in zip(KINDS, recipes, strict=True):
        assert f"my_{kind}" in str({**tomllib.loads(recipe.read_text()), "name": ""})


def test_nothing_of_the_starting_point_is_left(packages):
    for file in packages[0][0].parent.rglob("*.*"):
        if file.suffix in (".py", ".toml", ".md") and "templates" not in file.parts:
            text = file.read_text(encoding="utf-8")
            assert "Mine" not in text, file
            assert "mine" not in text.replace("determine", ""), file
            assert "{" not in text or file.suffix != ".md", file


def test_every_kind_has_a_starting_point_that_is_shipped():
    for kind in KINDS:
        for file in (f"{kind}.py", f"{kind}_test.py", f"{kind}.toml"):
            assert TEMPLATES.joinpath(file).is_file(), file


def test_the_output_names_the_next_two_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["new", "solver", "my_solver"])
    out = capsys.readouterr().out
    assert out.rstrip().endswith("Next:\n  pip install -e imcswav-my-solver\n  pytest imcswav-my-solver")
    for file in ("imcswav_my_solver.py", "tests/test_my_solver.py", "recipes/my_solver.toml", "pyproject.toml"):
        assert f"  {file}" in out
        assert (tmp_path / "imcswav-my-solver" / file).is_file()
    folder = tmp_path / "a b"
    folder.mkdir()  # an empty folder is taken
    assert f"  pytest {shlex.quote(str(folder))}" in write_package("head", "my_head", folder).told()


def test_a_name_that_a_file_imports_gets_its_kind():
    assert "class SplitData(Data, " in _component("data", "split")
    assert "class LossLoss(Loss, " in _component("loss", "loss")
    assert "class OutputLoss(Loss, " in _component("loss", "output")  # its test imports it
    assert "class MyLoss(Loss, " in _component("loss", "my_loss")


@pytest.mark.parametrize("word", ["none", "true", "false"])
def test_a_class_is_not_called_by_a_word_of_python(word):
    text = _component("loss", word)
    assert f"class {word.capitalize()}Loss(Loss, " in text
    compile(text, "loss", "exec")


def test_ranks_draw_the_patches_of_one_process(monkeypatch):
    from imcswav.templates import views
    from imcswav.views import multicrop

    crops = [{"count": 2, "size": 10, "scale": [0.5, 1.0]}]
    known = {"crops": crops, "channels": 1, "mean": (0.5,), "std": (0.25,), "jitter": 0.0, "grey": 0.0}
    images_BCHW = torch.randint(0, 256, (8, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = views.Mine.create(erase=1.0, **known)
    (together,) = made(images_BCHW, 3)
    for module in (views, multicrop):
        monkeypatch.setattr(module, "world_size", lambda: 2)
    for rank in range(2):
        for module in (views, multicrop):
            monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        torch.testing.assert_close(made(images_BCHW[rank::2], 3)[0], together[:, rank::2])


def _component(kind, name):
    from imcswav import scaffold

    return scaffold._texts(kind, name)[f"imcswav_{name}.py"][0]


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("los", "mine", "There is no kind 'los'. Did you mean 'loss'?"),
        ("loss", "my-loss", "can't be a component's name: .* such as 'my_loss'."),
        ("loss", "MyLoss", "such as 'myloss'."),
        ("loss", "7up", "such as 'up'."),
        ("loss", "a_", "no underscore last, such as 'a'."),  # imcswav-a- is no name of a package
        ("loss", "a" * 39 + "_b", f"such as '{'a' * 39}'."),
        ("loss", "class", "is a word of Python itself"),
        ("loss", "größe", "can't be a component's name: .* last.$"),
        ("loss", "", "can't be a component's name"),
        ("loss", "a" * 41, "at most 40"),
        ("loss", "../x", "such as 'x'."),
        ("loss", "swav", "There is a loss 'swav' already, from imcswav; choose another name."),
    ],
)
def test_what_can_not_be_is_one_sentence_and_writes_nothing(tmp_path, kind, name, sentence):
    with pytest.raises(ImcswavError, match=sentence):
        write_package(kind, name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ImcswavError, match="is not empty, and nothing is overwritten; choose another --out"):
        write_package("loss", "fresh", tmp_path)
    with pytest.raises(ImcswavError, match="Not a directory"):
        write_package("loss", "fresh", tmp_path / "mine.txt")
    with pytest.raises(ImcswavError, match="Not a directory"):
        write_package("loss", "fresh", tmp_path / "mine.txt" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_module_that_is_installed_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "imcswav_fresh.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImcswavError, match="A module imcswav_fresh is installed already"):
        write_package("loss", "fresh", tmp_path / "out")
    assert ("loss", "fresh") not in registry().classes
