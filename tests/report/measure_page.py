"""How large a page is and how fast a browser opens and moves it: `python3 tests/report/measure_page.py FOLDER`.

Takes at most 10,000 images of the folder, random projections of their pixels and k-means. Prints megabytes; for three
openings in headless Chromium, which draws by software here, seconds until something is shown and until the map is
ready; frames a second while the map is dragged; and the processor time of both.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from browser import Browser
from sklearn.cluster import MiniBatchKMeans

from imcswav.clustering import Clustering
from imcswav.clustering.thumbnails import COUNT, make_thumbnails
from imcswav.imaging.find import find_images
from imcswav.imaging.read import decode_many
from imcswav.report import NAME, write_report

FRAMES = """(() => {
  const times = window.frameTimes = [];
  const frame = (now) => { times.push(now); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
})()"""


def page_of(root: Path, run: Path) -> Path:
    """The page of a folder."""
    images_NCHW, kept, _ = decode_many(files := find_images(root)[:COUNT], size=32)
    pixels_NF = images_NCHW.flatten(1).float().numpy() / 255 - 0.5
    random = np.random.default_rng(0)
    features_NF = (pixels_NF @ random.normal(size=(pixels_NF.shape[1], 64)) / 55).astype(np.float32)
    distance_NK = MiniBatchKMeans(10, n_init=1, random_state=0).fit(features_NF).transform(features_NF)
    weight_NK = np.exp(-4 * (distance_NK - distance_NK.min(1, keepdims=True)))
    paths = [str(files[at].relative_to(root)) for at in kept]
    probabilities_NK = (weight_NK / weight_NK.sum(1, keepdims=True)).astype(np.float32)
    found = Clustering(paths, features_NF, probabilities_NK, tuple(range(10)), root=str(root), paths=paths)
    for what, make in (
        ("thumbnails", make_thumbnails),
        ("page, with its map", write_report),
        ("page again", write_report),
    ):
        begun = time.perf_counter()
        make(found, run)
        print(f"{what}: {time.perf_counter() - begun:.1f} s")
    return run / NAME


def opened(browser: Browser, page: Path) -> str:
    """Seconds of one opening."""
    used = browser.cpu_seconds()
    browser.open(page)
    browser.until("document.body.dataset.map === 'ready'")
    used = browser.cpu_seconds() - used
    shown, ready = browser.run(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        "performance.getEntriesByType('navigation')[0].loadEventEnd]"
    )
    return (
        f"{shown / 1000:.2f} s until it shows, {ready / 1000:.2f} s until the map is ready; {used:.1f} s of processor"
    )


def frames(browser: Browser) -> str:
    """Frames a second while the map is dragged to and fro for three seconds."""
    browser.run("document.getElementById('plot').scrollIntoView({block: 'center'})")
    x, y = browser.run("(() => { const r = plot.getBoundingClientRect(); return [r.x + r.width / 2, r.y + 200] })()")
    browser.mouse("Moved", x, y)
    browser.mouse("Pressed", x, y, held=True)
    browser.run(FRAMES)
    used, end, step = browser.cpu_seconds(), time.monotonic() + 3, 0
    while time.monotonic() < end:
        step += 1
        browser.mouse("Moved", x + 150 * np.sin(step / 8), y + 80 * np.sin(step / 5), held=True)
    gaps = np.diff(browser.run("window.frameTimes"))
    used = browser.cpu_seconds() - used
    return f"{1000 / gaps.mean():.0f} frames a second; {1000 * used / len(gaps):.0f} ms of processor a frame"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = page_of(Path(sys.argv[1]), Path(folder))
        print(f"{path.stat().st_size / 1e6:.1f} MB")
        for _ in range(3):
            with Browser(Path(folder)) as chromium:  # a new one: a process that ended would be missing in the sum
                print(opened(chromium, path))
                print("dragging:", frames(chromium))
