"""Runs what a page shows: every block, in order, in a folder of the page's own.

`python` blocks are executed with ``images`` (30 digits) and ``paths`` (8 photos) in reach; tests they define are
called, components they offer are tried and can be named from there on. `toml` blocks are recipes; with the word
`fragment` they go on top of digits, or of RECIPE with `fragment=RECIPE`; with `file=NAME` they are written to that
file; a pyproject's tables are known by their names. `json` is parsed. Of `console` and `bash` blocks every `imcswav`
line is parsed by the real command line and its recipe checked, and what is cheap is run; training is cut to two steps.
`pip install -e` of a plugin makes it known. `text` and `csv` are what something printed, after lines with the prompt
`$`, which are commands as well. A block of another language is a problem. What a block `needs=PACKAGE` for may be
missing: then it is only parsed.

Words of commands that stand for what a reader has: see ``World.words``.
"""

import contextlib
import importlib.util
import io
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import jsonschema
from doc_blocks import ROOT, blocks, command_lines, inline_commands
from doc_commands import check_command
from doc_world import components_of_the_page, cut_short

from imcswav.check import check_recipe
from imcswav.plugins import registry
from imcswav.recipe.files import load_recipe
from imcswav.recipe.json_schema import recipe_schema
from imcswav.recipe.ladders import find_ladder
from imcswav.results.ladder_recipes import checked_recipes
from imcswav.testing import check_component

COMMANDS, PLAIN = {"console", "bash", ""}, {"text", "csv"}
PYPROJECT = {"build-system", "project", "tool"}


def page_problems(text, name, folder, world):
    """Everything wrong with the snippets of a page, as sentences with the line; ``folder`` is empty and current."""
    (folder / "my.toml").write_text('extends = "digits"\nname = "my-run"\n')
    _checkout(folder)
    module = types.ModuleType(f"page_{re.sub(r'[^a-z]', '_', name.lower())}")
    module.images = load_recipe("digits").data.build().train.images[:30].numpy()
    module.paths = sorted(Path(world.words["PHOTOS"]).iterdir())[:8]
    module.__file__ = str(folder / "page.py")
    problems = []
    with components_of_the_page(), cut_short(world):
        sys.modules[module.__name__] = module
        for block in blocks(text):
            try:
                _check_block(block, module, folder, world)
            except Exception as error:  # a snippet may raise anything
                problems.append(f"{name}:{block.line}: {type(error).__name__}: {error}")
        for command in inline_commands(text):
            try:
                check_command(command.split(), world, complete=False)
            except Exception as error:
                problems.append(f"{name}: `{command}`: {type(error).__name__}: {error}")
    return problems


def _checkout(folder):
    """What commands find where they are given: plugins, and the recipes of the repository and of its plugins."""
    (folder / "plugins").symlink_to(ROOT / "plugins")
    (folder / "recipes").mkdir()
    for recipes in [ROOT / "recipes", *ROOT.glob("plugins/*/recipes")]:
        for entry in recipes.iterdir():
            (folder / "recipes" / entry.name).symlink_to(entry)


def _check_block(block, module, folder, world):
    needed = [word.removeprefix("needs=") for word in block.words if word.startswith("needs=")]
    # a block marked `parsed` is run by a test of its page
    there = "parsed" not in block.words and all(importlib.util.find_spec(name) for name in needed)
    match block.language:
        case "python" if not there:
            compile(block.text, "page.py", "exec")
        case "python":
            run_python(block, module)
        case "toml":
            check_toml(block, folder, world)
        case "json":
            json.loads(block.text)
        case language if language in COMMANDS or (language in PLAIN and "$ " in block.text):
            for words in command_lines(block):
                check_command(words, world, complete=there)
        case language if language in PLAIN:
            if re.search(r"^imcswav ", block.text, re.MULTILINE):
                raise ValueError("commands belong into a `console` block")
        case language:
            raise ValueError(f"nothing runs a block of language '{language}'")


def run_python(block, module):
    """Execute in the page's module; components it defines keep the contract and can be named from here on."""
    path = Path(module.__file__)
    before = path.read_text() if path.exists() else ""
    path.write_text(before + block.text)  # pydantic reads the descriptions of settings from the source
    code = compile("\n" * before.count("\n") + block.text, str(path), "exec")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, module.__dict__)
    for name in code.co_names:
        if name.startswith("test_"):
            module.__dict__.pop(name)()
    hook = module.__dict__.pop("imcswav_components", None)
    for cls in hook() if hook else ():
        registry().classes.pop((cls.kind, cls.name), None)  # a plugin of that name may be installed
        check_component(cls)
        registry().add(cls, "the page")
        sys.modules[f"imcswav_{cls.name}"] = module  # what `imcswav new` calls the file


def check_toml(block, folder, world):
    """A recipe without problems, by the loader and by the editors' schema."""
    options = dict(word.partition("=")[::2] for word in block.words)
    if odd := options.keys() - {"fragment", "file"}:
        raise ValueError(f"nothing knows the word {', '.join(odd)}")
    text = block.text
    if tomllib.loads(text).keys() <= PYPROJECT:
        return
    if "fragment" in options:
        text = f'extends = "{options["fragment"] or "digits"}"\n{text}'
    for word in ("PHOTOS", "DIR", "RUN", "FIRST"):
        text = text.replace(f'"{word}"', json.dumps(world.words[word]))
    path = folder / (options.get("file") or "block.toml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    recipe = load_recipe(path)
    if recipe.init is not None and recipe.init.run is None:  # a rung that starts from another: its ladder tells
        checked_recipes(find_ladder(path.parent), (), None)
    elif errors := [str(problem) for problem in check_recipe(recipe) if problem.severity == "error"]:
        raise ValueError("; ".join(errors))
    jsonschema.Draft202012Validator(recipe_schema()).validate(tomllib.loads(text))
