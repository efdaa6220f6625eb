"""Markdown taken apart: fenced blocks, command lines, inline commands, links, anchors."""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if GENERATED not in path.parents),
    *sorted((ROOT / "plugins").glob("*/README.md")),
]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", *sorted(GENERATED.glob("*.md"))]


def named(pages):
    return [str(page.relative_to(ROOT)) for page in pages]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after it, its text and the line of the page it begins on."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int


def blocks(text):
    """All fenced blocks; raises ValueError for one without an end."""
    found, opened = [], None
    for number, line in enumerate(text.split("\n"), 1):
        fence = re.match(r"\s*```(.*)$", line)
        if opened is None and fence:
            opened = (fence[1].split(), number, [])
        elif opened is not None and fence and not fence[1].strip():
            words, start, lines = opened
            code = textwrap.dedent("\n".join(lines)) + "\n"
            found.append(Block(words[0] if words else "", tuple(words[1:]), code, start))
            opened = None
        elif opened is not None:
            opened[2].append(line)
    if opened is not None:
        raise ValueError(f"line {opened[1]}: this block has no end")
    return found


def without_blocks(text):
    """The page's prose, with as many lines."""
    lines, inside = [], False
    for line in text.split("\n"):
        fence = re.match(r"\s*```", line)
        lines.append("" if inside or fence else line)
        inside = inside != bool(fence)
    return "\n".join(lines)


def inline_commands(text):
    """Commands in running text: `imcswav …`."""
    return [" ".join(span.split()) for span in re.findall(r"`(imcswav [^`]+)`", without_blocks(text))]


def command_lines(block):
    """Commands of a block as lists of words, without prompt, comment, or what a command printed."""
    lines = block.text.replace("\\\n", " ").split("\n")
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    commands = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):  # IMCSWAV_PLUGINS= imcswav list
                command = command[1:]
            commands.append(command)
    return commands


def links(text):
    """Targets of links and images."""
    prose = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", without_blocks(text))
    inline = re.findall(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)", prose)
    return inline + re.findall(r"^\[[^\]]+\]:\s*(\S+)", prose, re.MULTILINE)


def anchors(text):
    """What #fragments of a page there are, by GitHub's rule."""
    seen = {}
    for title in re.findall(r"^#{1,6}\s+(.+?)\s*$", without_blocks(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        yield f"{slug}-{count}" if count else slug


def broken_links(page, text):
    """Links of a page that lead nowhere; those to other sites are looked at for their form only."""
    problems = []
    for target in links(text):
        path, _, fragment = target.partition("#")
        if re.match(r"[a-z]+:", target):
            if not re.fullmatch(r"(https?://[\w.-]+\.[a-z]+(/\S*)?|mailto:\S+@\S+)", target):
                problems.append(f"{target} is no address")
            continue
        aim = (page.parent / path).resolve() if path else page
        if path and not aim.exists():
            problems.append(f"{target}: there is no {path}")
        elif fragment and aim.suffix == ".md":
            known = set(anchors(text if aim == page else aim.read_text(encoding="utf-8")))
            problems += [] if fragment in known else [f"{target}: no heading makes #{fragment}"]
    return problems
