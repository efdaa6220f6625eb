"""Every snippet of README and docs runs; and the checks can fail."""

import pytest
from conftest import TINY
from doc_blocks import PAGES, ROOT, blocks, command_lines, named
from doc_checks import page_problems
from doc_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    world.prepare(TINY)
    return world


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=named(PAGES))
@pytest.mark.filterwarnings("ignore")
def test_what_a_page_shows_runs(page, folder, world, monkeypatch):
    monkeypatch.setattr(world, "home", page.parent if page.parent.parent.name == "plugins" else ROOT)
    assert page_problems(page.read_text(encoding="utf-8"), page.name, folder, world) == []


LOSS = '''
```python
from imcswav.losses import Loss
class Half(Loss, name="half"):
    """Nothing."""
    class Config(Loss.Config):
        share: float = 0.5
        """Nothing either."""
    def forward(self, step):
        return self.config.share * step["classifier"].sum()
def imcswav_components():
    return [Half]
```
```toml fragment
[[losses]]
name = "half"
share = 1.0
```
'''


@pytest.mark.parametrize(
    "text",
    [
        "```python\nx = 1\n```\n\n```python\nassert x == 1 and images.shape[0] == 30\n```",
        "```toml\nextends = 'digits'\nseed = 3\n```",
        "```toml fragment=imc_swav_cifar10\n[heads.prototypes]\ncount = 20\n```",
        "```console\n$ imcswav list loss\nloss swav …\n```",
        "```console\nimcswav check my.toml --set seed=3  # a comment\n```",
        "```toml file=x/a.toml\nextends = 'digits'\n```\n```console\nimcswav ladder x --seeds 0-1\n```",
        "Inline `imcswav bench` and `imcswav run digits\n--seed 3`.",
        "1. In a list:\n\n   ```json\n   {}\n   ```",
        LOSS,
    ],
)
def test_good_snippets_pass(text, folder, world):
    assert page_problems(text, "page.md", folder, world) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```python\nimport imcswav\nimcswav.runn('digits')\n```", "page.md:1: AttributeError"),
        ("```python\nassert len(images) == 31\n```", "AssertionError"),
        ("```python\nx = (\n```", "SyntaxError"),
        ("text\n```toml\nextends = 'digits'\nsead = 3\n```", "page.md:2: RecipeError"),
        ("```toml fragment\n[optimizer]\nlr = -1\n```", "must be greater than 0"),
        ("```toml fragment\n[[losses]]\nname = 'imc'\nscores = 'nowhere'\n```", "nowhere"),
        ("```toml fragmnt\nseed = 1\n```", "nothing knows the word fragmnt"),
        ("```json\n{,}\n```", "JSONDecodeError"),
        ("```console\nimcswav fly\n```", "there is no command imcswav fly"),
        ("```console\nimcswav run digits --sed 3\n```", "--sed"),
        ("```console\nimcswav run digitz\n```", "no such recipe"),
        ("```console\nimcswav bench imc_swav_cifar10 --set seeed=3\n```", "seeed"),
        ("```console\nimcswav show loss swaw\n```", "Did you mean 'swav'?"),
        ("```console\nimcswav ladder nowhere --seeds 0\n```", "no such folder of recipes"),
        ("```console\nimcswav check\n```", "Missing argument"),
        ("```console\npip install -e '.[tset]'\n```", "no extra tset"),
        ("```console\npytest tests/nowhere\n```", "there is no tests/nowhere"),
        ("```console\nfrobnicate\n```", "nothing knows the command"),
        ("```text\nimcswav list\n```", "belong into a `console` block"),
        ("```text\n$ imcswav fly\nIt flies.\n```", "there is no command imcswav fly"),
        ("```python\ndef test_sum():\n    assert 1 + 1 == 3\n```", "AssertionError"),
        ("```bash\npip install -e nowhere/\n```", "there is no"),
        ("```rust\nfn main() {}\n```", "language 'rust'"),
        ("```\nsome output\n```", "nothing knows the command some"),
        ("Inline `imcswav run digits --sed 3`.", "--sed"),
        ("Inline `imcswav fly`.", "there is no command"),
        (LOSS.replace('"""Nothing either."""', ""), "every setting has a description"),
        (LOSS.replace("share = 1.0", "shaer = 1.0"), "shaer"),
    ],
)
def test_bad_snippets_are_caught(text, said, folder, world):
    (problem,) = page_problems(text, "page.md", folder, world)[:1]
    assert said in problem


def test_a_block_without_an_end_is_caught():
    with pytest.raises(ValueError, match="line 2: this block has no end"):
        blocks("text\n```python\nx = 1\n")


def test_command_lines_are_split():
    (block,) = blocks("```console\n$ A_B=1 cd x && imcswav run y \\\n    --set 'a=b c' # why\noutput\n```")
    assert command_lines(block) == [["cd", "x"], ["imcswav", "run", "y", "--set", "a=b c"]]
