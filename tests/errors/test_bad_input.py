"""Every case of bad input is told in a sentence and changes nothing; the page of errors shows what is said."""

import re

import pytest
from error_case import AREAS, CASES, Case, made_base, outcome
from error_page import COMMAND, PAGE, page

ENDS = re.compile(r"[.?…]$|imcswav (resume|edit) [\w ]+$|acc = 0\.9$")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with made_base(tmp_path_factory.mktemp("errors") / "base") as folder:
        yield folder


@pytest.fixture(scope="module")
def done():
    """What was answered, by case."""
    return {}


@pytest.mark.parametrize("one", CASES, ids=[one.id for one in CASES])
def test_a_sentence_a_code_and_nothing_lost(one, base, done, tmp_path):
    found = done[one] = outcome(one, base, tmp_path / "case")
    assert found.code == one.code, found.said
    assert one.says in found.said
    assert "Traceback" not in found.said
    assert "A defect of imcswav" not in found.said
    assert not [line for line in found.said.splitlines()[-1:] if not ENDS.search(line)]
    assert found.changed == []
    assert found.made == []


def test_the_page_shows_what_is_said(done):
    if set(done) != set(CASES):
        pytest.skip("needs every case of this file to have run")
    assert page({one: done[one] for one in CASES}) == PAGE.read_text(encoding="utf-8"), f"stale: {COMMAND}"


def test_there_are_cases_of_everything():
    assert len(CASES) >= 60
    assert len({one.id for one in CASES}) == len(CASES)
    for area in AREAS:
        assert sum(one.area == area for one in CASES) >= 8


def test_a_case_that_writes_is_caught(base, tmp_path):
    def prepare(world):
        world.write("labels.csv", "mine")
        world.patch.setattr("imcswav.results.predict.refuse_existing", lambda *given, **named: None)
        return "predict run photos --out new.csv"

    found = outcome(Case("commands", "x", prepare, "", 0, "", ""), base, tmp_path / "case")
    assert found.code == 0
    assert found.made == ["new.csv"]
