"""The page in a real browser: it opens, shows, selects, edits and saves, and asks nobody for anything."""

import csv
import json
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from browser import CHROMIUM, Browser

from imcswav.clustering import Clustering
from imcswav.clustering.edits import Rename
from imcswav.clustering.edits.kept import Kept
from imcswav.clustering.thumbnails import make_thumbnails
from imcswav.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

HOSTILE = [
    "<img src=x onerror=alert(1)>.png", "</script><script>alert(2)</script>.png", "<!--<script>.png", "\"'`&quot;.png",
    "Ünï/画像 🦌.png", "a, \"b\"\nc.png", "x" * 200 + ".png", "&lt;b&gt;.png", "{{ 7 * 7 }}.png",
]  # fmt: skip
COUNT = 90


def hostile_clustering():
    """Three groups of 30 in the corners of a plane; the first images have hostile names."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])[np.arange(COUNT) % 3]
    features_NF = (centres + rng.normal(0, 0.05, (COUNT, 3))).astype(np.float32)
    probabilities_NK = (0.1 + 0.7 * centres[:, ::-1]).astype(np.float32)
    names = HOSTILE + [f"{i}.png" for i in range(len(HOSTILE), COUNT)]
    labels = [("</script>", "<b>b</b>", "c")[i % 3] for i in range(COUNT)]
    return Clustering(names, features_NF, probabilities_NK, (0, 1, 4), {4: "<i>four</i>"}, labels=labels)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    clustering = hostile_clustering()
    colours = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250]], dtype=torch.uint8)[torch.arange(COUNT) % 3]
    make_thumbnails(clustering, run, colours[:, :, None, None].expand(COUNT, 3, 16, 16))
    row = {"step": 1, "loss": 2.0, "loss/<b>": 1.0}
    (run / "metrics.jsonl").write_text("\n".join(json.dumps(row | {"step": step}) for step in range(3)))
    (run / "quality.csv").write_text("image,finding,detail\n<script>alert(3)</script>,blank,<b>x</b>\n")
    Kept(clustering.ids, [Rename(cluster=0, name="")], []).write(run / "model")
    write_report(clustering, run)
    return clustering, run


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    with Browser(downloads) as started:
        yield started


@pytest.fixture
def page(browser, written):
    browser.open(written[1] / "report.html")
    browser.until("document.body.dataset.ready && document.body.dataset.map")
    yield browser
    assert browser.problems == []
    assert browser.requests == [(written[1] / "report.html").as_uri()]


def downloaded(folder, name):
    end = time.monotonic() + 30
    while not (folder / name).exists():
        assert time.monotonic() < end, f"{name} was not downloaded"
        time.sleep(0.05)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    return content.decode()


def screen(page, at):
    """Where the point of an image is in the window."""
    page.run("document.getElementById('plot').scrollIntoView({block: 'center'})")
    return page.run(
        f"(() => {{ const l = plot._fullLayout, r = plot.getBoundingClientRect();"
        f"return [r.x + l.xaxis._offset + l.xaxis.d2p(plot.data[0].x[{at}]),"
        f"r.y + l.yaxis._offset + l.yaxis.d2p(plot.data[0].y[{at}])] }})()"
    )


def test_hostile_names_stay_text(page, written):
    clustering, _ = written
    assert page.run("document.querySelectorAll('main img[src=x], main b script, main i, td b').length") == 0
    assert page.run("data.names.slice().sort()") == sorted(clustering.names, key=lambda name: name.encode("utf-16-be"))
    page.run("document.getElementById('curves').scrollIntoView()")
    page.until("!!document.querySelector('.curve .legendtext')")
    assert "loss/<b>" in page.run("[...document.querySelectorAll('.legendtext')].map((e) => e.textContent)")
    shown = page.run("[...document.querySelectorAll('.picture')].map((e) => [e.title, data.names[e.dataset.at]])")
    assert shown
    assert all(title == name for title, name in shown)


def test_hover_shows_the_image_and_its_name(page):
    for name in HOSTILE[:2]:
        at = page.run(f"data.names.indexOf({json.dumps(name)})")
        x, y = screen(page, at)
        page.mouse("Moved", x - 1, y)
        page.mouse("Moved", x, y)
        page.until("!document.getElementById('hover').hidden")
        near = page.until("Number(document.querySelector('#hover canvas').dataset.at) + 1") - 1
        said = page.run("document.querySelector('#hover p').textContent")
        assert said.startswith(page.run(f"data.names[{near}]"))
        assert page.run(f"data.cluster[{near}] === data.cluster[{at}]")
        pixel = (  # read from a copy: a browser says that reading the shown canvas is slow
            "(() => { const c = new OffscreenCanvas(96, 96).getContext('2d', {willReadFrequently: true});"
            "c.drawImage(document.querySelector('#hover canvas'), 0, 0);"
            "return [...c.getImageData(48, 48, 1, 1).data] })()"
        )
        page.until(f"{pixel}[3] === 255")
        colour = page.run(pixel)[:3]
        assert int(np.argmax(colour)) == HOSTILE.index(name) % 3
        page.mouse("Moved", 5, 5)


def test_lasso_selects_and_saves_names(page, written, downloads):
    clustering, _ = written
    first = [i for i in range(COUNT) if i % 3 == 0]
    page.click("[data-drag=lasso]")
    places = page.run("data.names")
    points = np.array([screen(page, places.index(clustering.names[i])) for i in range(COUNT)])
    low, high = points[first].min(0) - 8, points[first].max(0) + 8
    inside = [i for i in range(COUNT) if (low < points[i]).all() and (points[i] < high).all()]
    assert set(first) <= set(inside)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]), (low[0], low[1] + 1)]
    page.mouse("Moved", *corners[0])
    page.mouse("Pressed", *corners[0], held=True)
    for (x, y), (to_x, to_y) in pairwise(corners):
        for share in np.linspace(0.1, 1, 10):
            page.mouse("Moved", x + share * (to_x - x), y + share * (to_y - y), held=True)
    page.mouse("Released", *corners[-1])
    page.until("selected.length")
    page.click("#csv")
    rows = list(csv.DictReader(downloaded(downloads, "selection.csv").splitlines(keepends=True)))
    assert sorted(row["image"] for row in rows) == sorted(clustering.names[i] for i in inside)
    for row in rows:
        image = clustering.names.index(row["image"])
        assert int(row["cluster"]) == clustering.clusters_N[image]
        assert row["name"] == clustering.title(int(row["cluster"]))
        assert row["label"] == clustering.labels[image]


def test_a_cluster_is_selected_by_the_list_with_the_keyboard(page, written):
    clustering, _ = written
    page.run("document.querySelector('#legend button:nth-child(3)').focus()")
    page.type("", key="Enter")
    page.run("document.activeElement.click()")
    chosen = page.run("selected.map((at) => data.names[at])")
    assert sorted(chosen) == sorted(clustering.names[i] for i in clustering.members(4))


def test_colours_switch(page):
    colours = "plot.data[0].marker.color"
    assert page.run(f"new Set({colours}).size") == 3
    page.run("(() => { const e = byId('colour'); e.value = 'confidence'; e.dispatchEvent(new Event('change')) })()")
    assert page.run(f"{colours}.every((value) => value >= 0.7 && value <= 0.9)")
    page.run("(() => { const e = byId('colour'); e.value = 'label'; e.dispatchEvent(new Event('change')) })()")
    assert page.run("[...document.querySelectorAll('#legend button')].map((e) => e.textContent.trim())") == [
        "</script>", "<b>b</b>", "c",
    ]  # fmt: skip
    page.run("(() => { const e = byId('method'); e.value = '1'; e.dispatchEvent(new Event('change')) })()")
    assert page.run("plot.data[0].x[0] === data.map[1].x[0]")


def test_edits_are_listed_undone_and_saved(page, downloads):
    page.click("[data-rename='0']")
    page.type('red <b>"deer"</b>')
    assert page.run("document.querySelector('[data-card=\"0\"] h3').textContent") == 'red <b>"deer"</b>'
    assert "0 red <b>" in page.run("document.getElementById('legend').textContent")
    page.click("[data-pick='4']")
    page.click("[data-pick='0']")
    page.click("#merge")
    assert page.run("titles.get(0)") == 'red <b>"deer"</b>'
    assert "part of cluster 0" in page.run("document.querySelector('[data-card=\"4\"] .fate').textContent")
    assert page.run("document.querySelector('[data-pick=\"4\"]').disabled")
    names = page.run("[...document.querySelectorAll('[data-card=\"1\"] .picture')].slice(0, 2).map((e) => e.title)")
    page.click("[data-card='1'] .picture:nth-child(1)")
    page.click("[data-card='1'] .picture:nth-child(2)")
    page.click("#wrong")
    page.click("[data-card='1'] .picture:nth-child(3)")
    page.click("#move")
    assert page.run("document.querySelectorAll('#list li').length") == 4
    page.click("#undo")
    assert page.run("document.querySelectorAll('#list li').length") == 3
    page.click("#save")
    assert json.loads(downloaded(downloads, "edits.json")) == {
        "format": 1,
        "base": 1,
        "edits": [
            {"op": "rename", "cluster": 0, "name": 'red <b>"deer"</b>'},
            {"op": "merge", "clusters": [0, 4]},
            {"op": "assign", "images": names, "cluster": -1},
        ],
    }


def test_names_that_could_not_be_applied_are_not_taken(page):
    before = page.run("edits.length")
    for name in ("outliers", "cluster 99", "n" * 101, page.run("titles.get(1)")):
        page.click("[data-rename='0']")
        page.type(name)
        assert page.run("document.querySelector('input.name').validationMessage")
        page.run("document.querySelector('input.name').value = ''")
        page.type("", key="Escape")
        assert page.run("edits.length") == before


def test_a_selection_holds_no_formula(page):
    page.run("titles.set(0, '=1+1'); select([...data.cluster.keys()].filter((at) => data.cluster[at] === 0), true)")
    rows = list(csv.DictReader(page.run("selectionCsv()").splitlines(keepends=True)))
    assert {row["name"] for row in rows} == {"'=1+1"}
    page.run("show()")


def test_a_selection_can_be_moved(page, downloads):
    page.run("select([0, 1], true)")
    page.click("#mark")
    page.run("document.getElementById('target').value = '4'")
    page.click("#move")
    page.click("#save")
    names = page.run("data.names.slice(0, 2)")
    saved = json.loads(downloaded(downloads, "edits.json"))
    assert saved["edits"] == [{"op": "assign", "images": names, "cluster": 4}]


def test_a_phone_is_wide_enough(page):
    page.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    try:
        assert page.run("document.documentElement.scrollWidth") <= 360
    finally:
        page.send("Emulation.clearDeviceMetricsOverride")
