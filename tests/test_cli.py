"""The command line: what it knows, what it looks at, and how it says what is wrong."""

import errno
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from cli_calls import call, imcswav, write_recipe
from PIL import Image

from imcswav.recipe.json_schema import schema_text

MISTAKES = """\
name = "broken"
clusters = 1

[data]
name = "digits"

[views]
name = "multicrop"
crops = [{ count = 2, size = 10, scale = [0.4, 1.0] }]

[backbone]
name = "small_resnet"
widht = [32]

[heads.prototypes]
name = "prototypes"

[[losses]]
name = "swaw"

[optimizer]
name = "adam"
lr = -1.0

[trainer]
epochs = "many"
"""


@pytest.fixture
def recipe(tiny, tmp_path):
    return write_recipe(tiny, tmp_path)


def test_help_loads_neither_torch_nor_timm(tmp_path):
    code = (
        "import sys\n"
        "from imcswav.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as left: code = left.code\n"
        "names = {'torch', 'timm', 'torchvision', 'sklearn', 'scipy', 'pydantic', 'numpy', 'matplotlib'}\n"
        "heavy = names & set(sys.modules)\n"
        "print('heavy', sorted(heavy), code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "heavy [] 0" in done.stdout
    commands = ("run", "resume", "reproduce", "check", "list", "show", "evaluate", "predict", "features", "compare")
    for command in commands:
        assert command in done.stdout


def test_to_know_the_components_loads_nothing_that_few_of_them_need():
    code = (
        "import sys\n"
        "from imcswav.plugins import registry\n"
        "assert registry().get('backbone', 'timm')\n"
        "names = {'timm', 'torchvision', 'torch._dynamo', 'sklearn', 'scipy.optimize', 'scipy.special', 'matplotlib'}\n"
        "print('heavy', sorted(names & set(sys.modules)), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "heavy [] True" in done.stdout


def test_the_import_test_can_fail():
    code = "import sys, imcswav.step; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True"


def test_five_mistakes_are_named_at_once(tmp_path):
    (tmp_path / "broken.toml").write_text(MISTAKES)
    done = imcswav("check", "broken.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "5 problems" in done.stderr
    lines = MISTAKES.splitlines()
    for path, remedy, text in (
        ("clusters", "at least 2", "clusters = 1"),
        ("backbone.widht", "Did you mean 'widths'?", "widht = [32]"),
        ("losses.0.name", "Did you mean 'swav'?", 'name = "swaw"'),
        ("optimizer.lr", "greater than 0", "lr = -1.0"),
        ("trainer.epochs", "a whole number", 'epochs = "many"'),
    ):
        place = f"broken.toml:{lines.index(text) + 1}: {path}: "
        (line,) = [line for line in done.stderr.splitlines() if place in line]
        assert remedy in line


def test_problems_between_parts_have_lines_too(recipe, capsys):
    changes = [
        "losses.0.scores=prototype", "clusters=5000", "trainer.batch_size=4000", "heads.projection.input=nowhere",
    ]  # fmt: skip
    code, _, err = call(capsys, "check", recipe, *(word for change in changes for word in ("--set", change)))
    assert code == 2
    for text in ("Did you mean 'prototypes'?", "5000 clusters are more", "a batch of 4000", "no head 'nowhere'"):
        assert text in err
    assert err.count("--set: ") == 4


def test_missing_data_hides_no_other_problem(capsys):
    words = ("--set", "data.root=missing", "--set", "losses.0.scores=prototype", "--set", "optimizer.lr=1e-3")
    code, _, err = call(capsys, "check", "folder", *words)
    assert code == 2
    assert "2 problems" in err
    assert "does not exist" in err
    assert "Did you mean 'prototypes'?" in err


def test_means_that_do_not_fit_the_channels_are_found_before_building(recipe, capsys):
    code, _, err = call(capsys, "check", recipe, "--set", "views.mean=[0.5, 0.5, 0.5]")
    assert code == 2
    assert "views.mean: has 3 values, but the images have 1 channels." in err


def test_check_tells_the_costs(recipe, capsys):
    code, out, _ = call(capsys, "check", recipe)
    assert code == 0
    for text in ("trainable parameters", "operations an image", "steps", "memory"):
        assert text in out


def test_a_crop_too_small_for_its_backbone_is_found_before_building(tmp_path, capsys):
    change = "views.crops=[{count=2,size=28,scale=[0.2,1.0]},{count=1,size=2,scale=[0.1,0.2]}]"
    words = ("--set", change, "--set", "backbone.model=vgg11", "--set", "backbone.stem=imagenet")
    code, _, err = call(capsys, "check", "imc_swav_cifar10", *words, "--set", "backbone.arguments=null")
    assert code == 2
    assert "vgg11 can't take images of 2 × 2 or 28 × 28 px, the smallest size that fits is 32" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "no_such_recipe"), "no_such_recipe"),
        (("run", "digits", "--device", "abacus"), "Device 'abacus'"),
        (("run", "digits", "--set", "clusters"), "path=value"),
        (("run", "folder", "--set", "data.root=EMPTY"), "no images"),
        (("run", "folder", "--set", "data.root=missing"), "does not exist"),
        (("run", "folder", "--set", "data.root=ONE"), "2 images"),
        (("run", "digits", "--set", "trainer.epochs=nan"), "finite number"),
        (("run", "digits", "--set", "optimizer.lr=nan"), "finite number"),
        (("run", "digits", "--out", "FULL"), "nothing is overwritten"),
        (("run", "digits", "--out", "FILE/run"), "can't be written"),
        (("resume", "EMPTY"), "no run folder"),
        (("resume", "missing"), "no run folder"),
        (("evaluate", "EMPTY"), "no run folder"),
        (("predict", "EMPTY", "ONE"), "no readable model"),
        (("show", "loss", "swaw"), "Did you mean 'swav'?"),
        (("show", "los", "swav"), "Did you mean 'loss'?"),
        (("list", "los"), "Did you mean 'loss'?"),
        (("run", "digits", "--seeds", "few"), "--seeds: seeds are written like"),
        (("run", "digits", "--seeds", "0-1", "--seed", "3"), "can't go together"),
        (("run", "digits", "--seeds", "0-1", "--out", "FULL"), "nothing is overwritten"),
        (("run", "digits", "--seeds", "0-1", "--resume"), "no series of seeds"),
        (("reproduce", "folder_small", "--set", "data.root=ONE"), "nothing to compare with"),
        (("compare", "EMPTY", "ONE"), "no run folder"),
        (("features", "EMPTY", "ONE"), "no readable model"),
        (("run",), "Missing argument"),
        (("fly",), "No such command"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_2(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("EMPTY", "ONE", "FULL"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "ONE" / "a.png")
    (tmp_path / "FULL" / "mine.txt").write_text("keep me")
    (tmp_path / "FILE").write_text("keep me")
    before = sorted(tmp_path.rglob("*"))
    code, _, err = call(capsys, *words)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback(capsys):
    code, _, err = call(capsys, "run", "no_such_recipe", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_a_defect_of_ours_exits_1(capsys, monkeypatch):
    monkeypatch.setattr("imcswav.recipe.files.read_layers", lambda *_: 1 / 0)
    code, _, err = call(capsys, "check", "digits")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "--debug" in err


def test_a_file_that_ends_too_soon_is_no_interruption(capsys, monkeypatch):
    def ends(*arguments, **keywords):
        raise EOFError("No data left in file")

    monkeypatch.setattr("imcswav.api.run", ends)
    code, _, err = call(capsys, "run", "digits")
    assert code == 1
    assert "A defect of imcswav: EOFError: No data left in file." in err


def test_a_disk_that_refuses_is_no_defect(capsys, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "there/k.csv")

    monkeypatch.setattr("imcswav.recipe.files.read_layers", refused)
    code, _, err = call(capsys, "check", "digits")
    assert code == 2
    assert err.startswith("there/k.csv can't be read or written: Permission denied;")


def test_a_file_that_could_not_be_written_is_refused_before_any_work(capsys, tmp_path):
    (tmp_path / "file").touch()
    for name, reason in (("a" * 300 + ".csv", "File name too long"), ("file/k.csv", "")):
        code, _, err = call(capsys, "choose-k", "nothing.npz", "--csv", tmp_path / name)
        assert (code, err.count("\n")) == (2, 1)
        assert f"{name} can't be written: {reason}; give another name." in err if reason else "does not exist" in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_version(capsys):
    from imcswav import __version__

    assert call(capsys, "--version")[:2] == (0, f"imcswav {__version__}\n")


def test_list_and_show(capsys):
    code, out, _ = call(capsys, "list", "loss")
    assert code == 0
    assert "swav" in out
    assert "sinkhorn" not in out
    code, out, _ = call(capsys, "show", "solver", "sinkhorn")
    assert code == 0
    for text in ("epsilon", "0.05", "> 0", "1306.0895", "imcswav"):
        assert text in out


def test_show_takes_a_name_that_only_one_component_has(capsys, monkeypatch):
    assert call(capsys, "show", "sinkhorn") == call(capsys, "show", "solver", "sinkhorn")
    twins = [SimpleNamespace(name="twin", kind=kind) for kind in ("head", "loss")]
    monkeypatch.setattr("imcswav.console.registry", lambda: twins)
    code, _, err = call(capsys, "show", "twin")
    assert code == 2
    assert "'twin' names a head and a loss; say which: imcswav show head twin." in err


def test_list_filters_names_and_what_settings_choose_from(capsys):
    code, out, _ = call(capsys, "list", "backbone", "--filter", "convnext_a*")
    assert code == 0
    assert "backbone timm, model:" in out
    assert "convnext_atto" in out.split()
    assert "small_resnet" not in out
    code, out, _ = call(capsys, "list", "solver", "--filter", "sink*")
    assert (code, "sinkhorn" in out, "uniform" in out) == (0, True, False)
    assert call(capsys, "list", "recipe", "--filter", "*_vit")[1].split() == ["imc_swav_cifar10_vit"]
    code, _, err = call(capsys, "list", "loss", "--filter", "vit*")
    assert code == 2
    assert "No loss is called like 'vit*'" in err


def test_show_knows_the_tables_that_no_component_owns(capsys):
    assert "clip_gradient" in call(capsys, "show", "trainer")[1]
    assert "bn_statistics" in call(capsys, "show", "predict")[1]
    code, out, _ = call(capsys, "show", "views", "multicrop")
    assert code == 0
    assert "each Crop" in out
    assert "scale" in out
    assert "swav" in call(capsys, "show", "loss")[1]
    assert "imc_swav_cifar10" in call(capsys, "list", "recipe")[1].split()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_signs_that_an_encoding_lacks_stop_nothing(tmp_path, encoding):
    """A Windows console, or an old locale: the work is done, so it must not end as a defect."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    for words, said in ((["show", "loss", "imc"], b"softmax(y_a)\\u1d40"), (["schema"], b"\\u2212")):
        done = subprocess.run(
            [sys.executable, "-m", "imcswav", *words], capture_output=True, env=environment, cwd=tmp_path, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert said in done.stdout
        if words == ["schema"]:
            assert json.loads(done.stdout.decode(encoding)) == json.loads(schema_text())


@pytest.mark.parametrize("words", [["-h"], ["run", "-h"], ["edit", "RUN", "merge", "-h"]])
def test_help_has_a_short_form(words, capsys):
    code, out, _ = call(capsys, *words)
    assert (code, "Usage: " in out) == (0, True)


@pytest.mark.parametrize("words", [["evaluate"], ["export"], ["edit", "list"], ["predict", "photo.png"], ["report"]])
def test_a_folder_of_several_runs_names_one_of_them(words, tmp_path, capsys):
    series = tmp_path / "series"
    (series / "seed-4").mkdir(parents=True)
    (series / "seed-4" / "recipe.toml").touch()
    (series / "seeds.json").write_text("{}")
    code, _, err = call(capsys, words[0], series, *words[1:])
    assert code == 2
    assert f"holds runs of several seeds; give one of them, such as {series / 'seed-4'}." in err
