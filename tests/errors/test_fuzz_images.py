"""Broken image files of every format: each is an image or has a reason, in time and memory; bombs aren't decoded."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_seeds import FIXED, first_extensions, lying, seeds, with_checksums
from mutations import EDITS, edited
from PIL import Image, ImageFile
from watch import Watch

from imcswav.errors import DataError
from imcswav.imaging.opening import header, ready_to_decode
from imcswav.imaging.read import decode_many, shorter_side, try_decode
from imcswav.quality.look import Look, look

pytestmark = pytest.mark.filterwarnings("ignore")

FEW, MANY = 120, 2000


def read(path):
    """Every way in which a file is read; fails for an answer that is none."""
    images, kept, skipped = decode_many([path], size=16)
    assert len(kept) + len(skipped) == 1
    assert images.shape == (len(kept), 3, 16, 16)
    assert images.dtype.is_floating_point is False
    for _, reason in skipped:
        assert reason
        assert "\n" not in reason
    seen = look(path)
    assert isinstance(seen, Look) or (seen and "\n" not in seen)
    side = shorter_side(path)
    assert side is None or side >= 0
    return skipped


def fuzz(folder, examples, watch):
    """Read so many mutated files."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(seeds()), st.lists(EDITS, min_size=1, max_size=4), st.booleans(), st.sampled_from(seeds()))
    def one(seed, edits, summed, other):
        extension, content = seed
        content = edited(content, edits)
        path = folder / f"image{extension if len(edits) < 4 else other[0]}"
        path.write_bytes(with_checksums(content) if summed else content)
        with watch.case((extension, edits)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)

    one()


def test_seeds_are_images_of_every_format(tmp_path):
    assert {extension for extension, _ in seeds()} == {*first_extensions(), ".npy"}
    for number, (extension, content) in enumerate(seeds()):
        path = tmp_path / f"{number}{extension}"
        path.write_bytes(content)
        if extension != ".pcd":  # a whole one has half a megabyte
            assert read(path) == [], extension


def test_some_mutated_images(tmp_path):
    fuzz(tmp_path, FEW, Watch())


@pytest.mark.slow
def test_many_mutated_images(tmp_path):
    watch = Watch()
    fuzz(tmp_path, MANY, watch)
    print(f"\nimages: {watch}")


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    lied = set()
    for number, (extension, content) in enumerate(seeds()):
        bomb = lying(extension, content)
        if bomb is None or (extension == ".jfif" and b"\xff\xc2" not in content):  # a baseline JPEG is reduced
            continue
        path = tmp_path / f"{number}{extension}"
        path.write_bytes(bomb)
        with monkeypatch.context() as patch:
            patch.setattr(ImageFile.ImageFile, "load", never)
            patch.setattr(Image.Image, "load", never)
            for ending in (extension, ".png"):
                path = path.rename(path.with_suffix(ending))
                ((_, reason),) = decode_many([path], size=16)[2]
                assert "over the limit of" in reason, (extension, reason)
                assert "over the limit of" in str(look(path))
        lied.add(extension)
    assert {extension for extension, _ in seeds()} - lied == FIXED


@pytest.mark.parametrize(
    ("extension", "millions"),
    [
        (".webp", 50),
        (".avif", 50),
        (".jp2", 30),
        (".qoi", 4),
        (".blp", 4),
        (".png", 100),
        (".tif", 100),
        (".icns", 100),
    ],
)
def test_formats_have_limits_of_their_own(extension, millions):
    content = dict(seeds())[extension]
    for over in (0, 1):
        image = header(io.BytesIO(content), extension)
        image._size = (1000, 1000 * millions + over)
        if not over:
            assert ready_to_decode(image, 8) is image
            continue
        with pytest.raises(DataError, match=f"over the limit of {millions},000,000"):
            ready_to_decode(image, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pixels", "mode"),
    [
        ("PNG", 100, "RGBA"),
        ("PNG", 100, "I;16"),
        ("TIFF", 100, "F"),
        ("WEBP", 50, "RGBA"),
        ("JPEG2000", 30, "RGBA"),
        ("QOI", 4, "RGBA"),
    ],
)
def test_the_largest_images_take_less_than_a_gibibyte(tmp_path, name, pixels, mode):
    side = int((pixels * 1e6) ** 0.5)
    types = {"I;16": np.uint16, "F": np.float32}
    whole = np.zeros((side, side), types[mode]) if mode in types else np.zeros((side, side, 4), np.uint8)
    Image.fromarray(whole).save(tmp_path / "large", name)
    del whole
    watch = Watch()
    with watch.case(name, seconds=60):
        assert not isinstance(try_decode(tmp_path / "large", size=64, channels=3, resize="crop"), str)
    print(f"\n{name} {mode}: {watch}")
