"""docs/reference is what the code says; and a stale page is caught."""

import shutil

import pytest
from doc_blocks import GENERATED

from imcswav import plugins
from imcswav.cli import main
from imcswav.cli.options import Group
from imcswav.component import KINDS
from imcswav.errors import ImcswavError
from imcswav.losses import Loss
from imcswav.plugins import registry
from imcswav.reference import builtins, pages
from imcswav.reference.api import signature
from imcswav.reference.commands import parameters
from imcswav.reference.files import stale, write_pages
from imcswav.reference.markdown import NOTE, prose


class Foreign(Loss, name="foreign_loss"):
    """A loss of somebody's package."""


@pytest.fixture(scope="module")
def made():
    return pages()


@pytest.fixture
def written(made, tmp_path):
    write_pages(tmp_path, made)
    return tmp_path


def leave(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


def test_the_committed_reference_is_not_stale(made):
    wrong = stale(GENERATED, made)
    assert not wrong, f"{', '.join(wrong)}: write them again with: imcswav docs --out docs/reference"


def test_pages_tell_of_every_component_setting_and_command(made):
    from imcswav.cli import COMMANDS

    for cls in builtins():
        page = made[f"{cls.kind}.md"]
        assert f"\n## {cls.name}\n" in page
        for setting, field in cls.Config.model_fields.items():
            assert f"| `{setting}` |" in page
            assert field.description
    for name, command in COMMANDS.items():
        inner = command.commands if isinstance(command, Group) else {}
        first = command.first if isinstance(command, Group) else command
        assert f"\n## imcswav {name}\n" in made["commands.md"]
        for word in inner:
            assert f"\n### imcswav {name} {word}\n" in made["commands.md"]
        for parameter in [one for function in (first, *inner.values()) for one in parameters(function)]:
            assert f"| `{parameter.spelling}` |" in made["commands.md"]
    assert "\nimcswav edit RUN split CLUSTER [OPTIONS]\n" in made["commands.md"]
    assert {f"{kind}.md" for kind in KINDS} < made.keys()


def test_settings_have_type_default_range_and_meaning(made):
    assert "| `epsilon` | `float` | `0.05` | > 0 |" in made["solver.md"]
    assert '| `solver` | `solver` | `"sinkhorn"` |  |' in made["loss.md"]
    assert "| `hidden` | `list[int]` | `[]` | each ≥ 1 |" in made["head.md"]
    assert "| `size` | `int` | required | ≥ 1, ≤ 1024 | Side in pixels. |" in made["views.md"]
    assert '| `metrics` | `list[metric]` | `["acc", "nmi", "ari", "knn"]` |' in made["recipe.md"]
    assert "| `--set KEY=VALUE` |" in made["commands.md"]
    assert "arXiv 2006.09882" in made["loss.md"]


def test_plugins_leave_the_pages_alone(made, monkeypatch):
    known = plugins.Registry(dict(registry().classes), dict(registry().origins))
    known.add(Foreign, "somebody 1.0")
    for module in ("plugins", "recipe.json_schema", "reference"):
        monkeypatch.setattr(f"imcswav.{module}.registry", lambda: known)
    assert pages() == made


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("loss.md", lambda path: path.write_text(path.read_text().replace("temperature", "heat"))),
        ("recipe.schema.json", lambda path: path.write_text(path.read_text().replace("1000", "1001"))),
        ("commands.md", lambda path: path.unlink()),
        ("gone.md", lambda path: path.write_text(f"{NOTE}\nA kind that is no more.")),
    ],
)
def test_a_stale_page_is_caught_and_mended(name, change, written, made, capsys):
    assert leave("docs", "--out", written, "--check") == 0
    change(written / name)
    assert stale(written, made) == [name]
    capsys.readouterr()
    assert leave("docs", "--out", written, "--check") == 2
    said = capsys.readouterr().err
    assert name in said
    assert f"imcswav docs --out {written}" in said
    assert leave("docs", "--out", written) == 0
    assert stale(written, made) == []
    assert not (written / "gone.md").exists()


def test_what_others_wrote_stays(written, made):
    (written / "mine.md").write_text("My notes.")
    (written / "loss.md").unlink()
    assert write_pages(written, made) == ["loss.md"]
    assert (written / "mine.md").read_text() == "My notes."
    (written / "loss.md").write_text("My losses.")
    (written / "head.md").unlink()
    with pytest.raises(ImcswavError, match=r"loss\.md was not written by `imcswav docs` and is not overwritten"):
        write_pages(written, made)
    assert (written / "loss.md").read_text() == "My losses."
    assert not (written / "head.md").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, made):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImcswavError, match="can't be written"):
        write_pages(tmp_path / "file" / "docs", made)


def test_pages_are_the_same_with_windows_line_ends(written, made):
    for path in written.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert stale(written, made) == []


def test_docstrings_become_markdown():
    assert prose("Reads ``a/<b>/*`` and <c>.\n\n    x <y> *z*\n\nTwo * three.") == (
        "Reads ``a/<b>/*`` and &lt;c>.\n\n    x <y> *z*\n\nTwo \\* three."
    )


def test_signatures_are_as_written():
    class Thing:
        def method(self, a, b: "int | None" = None, *rest: str, c: float = 0.5, **more: int) -> "Thing": ...
        def other(self, *, only: bool) -> None: ...

    assert signature(Thing.method, bound=True) == (
        "(a, b: int | None = None, *rest: str, c: float = 0.5, **more: int) -> Thing"
    )
    assert signature(Thing.other, bound=True) == "(*, only: bool)"


def test_docs_in_another_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert leave("docs") == 0
    assert leave("docs", "--check") == 0
    shutil.rmtree(tmp_path / "docs")
    assert leave("docs", "--check") == 2
