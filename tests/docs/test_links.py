"""Links, anchors and images lead somewhere; and the check can fail."""

import pytest
from doc_blocks import LINKED, anchors, broken_links, links, named


@pytest.mark.parametrize("page", LINKED, ids=named(LINKED))
def test_links_of_a_page(page):
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.md", "there is no nowhere.md"),
        ("b.md#no-such", "no heading makes #no-such"),
        ("#absent", "no heading makes #absent"),
        ("https:/example.org", "is no address"),
        ("https://localhost", "is no address"),
        ("ftp://x.org/y", "is no address"),
    ],
)
def test_broken_links_are_caught(tmp_path, target, said):
    (tmp_path / "b.md").write_text("# Other `page`, here\n")
    page = tmp_path / "a.md"
    good = "# Mine\n[a](b.md) ![b](b.md#other-page-here) [c](#mine) [d](https://x.org/y?z)\n`[e](f)`\n"
    assert broken_links(page, good) == []
    (problem,) = broken_links(page, f"{good}[g]({target})")
    assert said in problem


def test_links_and_anchors_are_found():
    text = "# A & B\n## A\n## A\n[x](y.md) `[no](no.md)` ``[no](`no``\n```text\n# [no](no.md)\n```\n[z]: w.md\n"
    assert links(text) == ["y.md", "w.md"]
    assert list(anchors(text)) == ["a--b", "a", "a-1"]
