"""The reference pages, made from Configs and docstrings, and the folder they are written to.

Only built-in components are described, whatever plugins are installed, so that the pages are the same everywhere.
"""

from __future__ import annotations

from imcswav.component import KINDS
from imcswav.plugins import Registry, registry
from imcswav.recipe.json_schema import schema_text
from imcswav.reference.api import api_page
from imcswav.reference.commands import commands_page
from imcswav.reference.components import kind_page, recipe_page
from imcswav.reference.markdown import NOTE, link_list

SCHEMA = "recipe.schema.json"


def pages() -> dict[str, str]:
    """Text of every file of the reference by its name."""
    known = builtins()
    made = {"recipe.md": recipe_page(), "commands.md": commands_page(), "python.md": api_page()}
    made |= {f"{kind}.md": kind_page(kind, known) for kind in KINDS}
    return {"README.md": _index(known)} | made | {SCHEMA: schema_text(known)}


def builtins() -> Registry:
    """The components that come with imcswav, without those of plugins."""
    known, found = registry(), Registry()
    for cls in known:
        if known.origins[cls.kind, cls.name] == "imcswav":
            found.add(cls, "imcswav")
    return found


def _index(known: Registry) -> str:
    tables = {
        "recipe.md": "Tables of a recipe that no component owns.",
        SCHEMA: "The same and every part as a JSON schema, for editors.",
        "commands.md": "Every command and its options.",
        "python.md": "What can be imported.",
    }
    kinds = {f"{kind}.md": ", ".join(f"`{name}`" for name in known.names(kind)) + "." for kind in KINDS}
    return "\n\n".join(
        [
            NOTE,
            "# Reference",
            "What there is, with every setting. Made from the code by `imcswav docs`; a test fails when it is stale.",
            link_list(tables),
            "## Parts of a recipe, a page a kind",
            link_list(kinds),
        ]
    ) + "\n"  # fmt: skip
