"""CITATION.cff is in the format's shape and names this software and the paper."""

import re

import pytest
import yaml
from doc_blocks import ROOT

import imcswav

REQUIRED = {"cff-version", "message", "title", "authors"}


def problems(text):
    """What is wrong with a citation file, by the rules of the format (version 1.2.0) that matter here."""
    cited = yaml.safe_load(text)
    paper = cited.get("preferred-citation", {})
    found = [f"{key} is missing" for key in sorted(REQUIRED - cited.keys())]
    found += [f"the paper's {key} is missing" for key in sorted({"type", "title", "authors", "year"} - paper.keys())]
    people = [*cited.get("authors", []), *paper.get("authors", [])]
    found += [f"{one} has no name" for one in people if not ({"name", "family-names"} & one.keys())]
    found += [] if str(cited.get("version")) == imcswav.__version__ else ["the version is another"]
    found += [] if re.search(r"2103\.07368", str(paper)) else ["the paper's arXiv number is missing"]
    return found


def test_citation():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert problems(text) == []
    paper = yaml.safe_load(text)["preferred-citation"]
    assert [one["family-names"] for one in paper["authors"]] == ["Ntelemis", "Jin", "Thomas"]
    assert paper["year"] == 2021


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("message:", "massage:", "message is missing"),
        ("version: 0.1.0", "version: 0.0.1", "the version is another"),
        ("2103.07368", "2103.07369", "the paper's arXiv number is missing"),
        ("family-names: Jin", "surname: Jin", "has no name"),
        ("  year: 2021\n", "", "the paper's year is missing"),
    ],
)
def test_a_wrong_citation_is_caught(old, new, said):
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (problem,) = problems(text.replace(old, new))
    assert said in problem
