"""The pictures of docs/guides/read_the_report.md: `python docs/images/make_report_images.py`, two minutes on a CPU.

Trains on digits, writes the report and photographs it in headless Chromium.
"""

import io
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "report"))

from browser import Browser  # noqa: E402

import imcswav  # noqa: E402
from imcswav.clustering import Clustering  # noqa: E402
from imcswav.clustering.thumbnails import make_thumbnails  # noqa: E402
from imcswav.data.digits import Digits  # noqa: E402
from imcswav.report import NAME, write_report  # noqa: E402


def write(run: Path) -> None:
    """Train and write the report."""
    imcswav.run("digits", {"trainer.epochs": 30, "trainer.threads": 1, "data.size": 16}, out=run)
    model, split = imcswav.load(run), Digits(Digits.Config(size=16)).train
    embedding = model.embed(split.images)
    assert split.labels is not None
    names = [f"digit_{name}.png" for name in split.names]
    found = Clustering(
        names, embedding.features.numpy(), model.assign(embedding), tuple(range(10)),
        labels=[str(label) for label in split.labels.tolist()],
    )  # fmt: skip
    make_thumbnails(found, run, split.images)
    write_report(found, run)


def photograph(browser: Browser, name: str, top: str, height: int) -> None:
    """The window from an element on."""
    browser.send("Emulation.setDeviceMetricsOverride", width=1100, height=height, deviceScaleFactor=1, mobile=False)
    browser.run(f"document.querySelector('{top}').scrollIntoView()")
    time.sleep(2)
    picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        HERE / f"report_{name}.png", optimize=True
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run = Path("runs", "digits")
        write(run)
        with Browser(Path(folder), 1100, 900) as browser:
            browser.open((run / NAME).resolve())
            browser.until("document.body.dataset.map === 'ready'")
            photograph(browser, "gallery", "#gallery", 760)
            photograph(browser, "health", "#health", 620)
            browser.run("document.querySelector('#colour').value = 'cluster'")
            photograph(browser, "map", "#map", 860)
            browser.click("[data-rename='0']")
            browser.type("tall sixes")
            browser.click("[data-pick='1']")
            browser.click("[data-pick='2']")
            browser.click("[data-card='0'] .strip.small .picture:nth-child(1)")
            browser.click("#wrong")
            browser.click("[data-card='0'] .strip.small .picture:nth-child(2)")
            browser.run("document.querySelector('#edits details').open = true")
            photograph(browser, "edit", "#gallery .cards", 620)
