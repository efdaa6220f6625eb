"""What is found in a folder: true duplicates, no false ones, and every kind of file."""

import io
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import picture
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from imcswav.imaging.find import find_images
from imcswav.quality import inspect_files
from imcswav.quality.look import look

PHASH = 0x8501058595D5D7FF
"""Of the waves below, by imagehash 4.3.2, Pillow 13 and SciPy 1.17."""


def inspect(folder):
    return inspect_files(find_images(folder), folder)


def groups(found):
    return [[found.names[index] for index in group] for group in found.groups]


def test_pictures_saved_anew_are_found_and_others_are_not(tmp_path):
    for seed in range(12):
        image = picture(seed)
        image.save(tmp_path / f"{seed:02}_0.png")
        image.save(tmp_path / f"{seed:02}_quality.jpg", quality=60)
        image.save(tmp_path / f"{seed:02}_format.webp", quality=80)
        image.resize((128, 96)).save(tmp_path / f"{seed:02}_half.png")
        ImageEnhance.Brightness(image).enhance(1.08).save(tmp_path / f"{seed:02}_brighter.bmp")
        shutil.copy(tmp_path / f"{seed:02}_0.png", tmp_path / f"{seed:02}_copy.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / f"{seed:02}_mirror.png")
    found = inspect(tmp_path)
    kinds = ("0.png", "brighter.bmp", "copy.png", "format.webp", "half.png", "quality.jpg")
    assert groups(found) == [[f"{seed:02}_{kind}" for kind in kinds] for seed in range(12)]
    exact = {found.names[one.image] for one in found.duplicates if one.exact}
    assert exact == {f"{seed:02}_copy.png" for seed in range(12)}
    assert [found.names[index] for index in found.distinct] == [
        f"{seed:02}_{kind}" for seed in range(12) for kind in ("0.png", "mirror.png")
    ]
    assert (found.tiny, found.blank, found.broken) == ([], [], {})


def test_the_largest_stands_for_the_others_then_the_first_by_name(tmp_path):
    picture(0).resize((128, 96)).save(tmp_path / "a.png")
    for name in ("c.png", "b.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(0).save(tmp_path / name)
    found = inspect(tmp_path)
    assert groups(found) == [["b.png", "a.png", "c.png", "sub/a.png"]]
    assert [one.exact for one in found.duplicates] == [False, True, True]


def test_the_same_shapes_in_other_colours_are_no_duplicates(tmp_path):
    for name, colour in (("red", (200, 40, 40)), ("green", (30, 118, 30))):  # of about the same grey
        image = Image.new("RGB", (96, 96), "white")
        image.paste(colour, (20, 10, 70, 90))
        image.paste((0, 0, 0), (5, 50, 15, 60))
        image.save(tmp_path / f"{name}.png")
    one, other = (look(tmp_path / f"{name}.png") for name in ("red", "green"))
    assert (one.phash ^ other.phash).bit_count() <= 6, "the test needs a pair that grey can't tell apart"
    assert groups(inspect(tmp_path)) == []


def test_handwritten_digits_are_tiny_and_no_duplicates(tmp_path):
    for index, pixels in enumerate(load_digits().images):
        Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(tmp_path / f"{index:04}.png")
    found = inspect(tmp_path)
    assert found.groups == []
    assert len(found.tiny) == len(found.distinct) == 1797


def test_blank_images_are_duplicates_byte_for_byte_only(tmp_path):
    for name, level in (("a", 100), ("b", 100), ("c", 101)):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / f"{name}.png")
    noise = np.random.default_rng(0).integers(118, 121, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    coloured = Image.new("RGB", (40, 40), (200, 0, 0))
    coloured.paste((0, 102, 0), (0, 0, 20, 40))  # one grey, two colours
    coloured.save(tmp_path / "coloured.png")
    found = inspect(tmp_path)
    assert [found.names[index] for index in found.blank] == ["a.png", "b.png", "c.png", "noise.png"]
    assert groups(found) == [["a.png", "b.png"]]


def test_what_a_look_sees(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :16] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = look(tmp_path / "a.png")
    assert (seen.width, seen.height) == (64, 64)
    assert seen.contrast == pytest.approx(pixels[..., 0].std(), abs=0.01)
    assert np.array_equal(seen.small, pixels[::4, ::4].transpose(2, 0, 1))


def test_the_perceptual_hash_stays_the_same_over_versions(tmp_path):
    y, x = np.mgrid[:64, :64] / 64
    waves = [np.cos(np.pi * (a * x + b * y) + a) * (a + 2 * b + 1) for a in range(8) for b in range(8)]
    level = np.sum(waves, axis=0)
    level = 255 * (level - level.min()) / (level.max() - level.min())
    Image.fromarray(level.round().astype(np.uint8)).save(tmp_path / "a.png")
    assert (look(tmp_path / "a.png").phash ^ PHASH).bit_count() <= 2


def test_pictures_are_seen_upright(tmp_path):
    image = picture(3)
    image.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.jpg", exif=exif, quality=95)
    found = inspect(tmp_path)
    assert groups(found) == [["lying.jpg", "upright.png"]]
    assert [(one.width, one.height) for one in found.seen.values()] == [(256, 192)] * 2


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def jpeg_header(width, height):
    """A small progressive JPEG that claims to be large."""
    file = io.BytesIO()
    picture(9).save(file, "JPEG", progressive=True)
    data = bytearray(file.getvalue())
    place = data.index(b"\xff\xc2") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def test_every_kind_of_file_gives_a_finding_or_nothing(tmp_path):
    image, good, broken = picture(1), set(), {}

    def keep(name, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(len(good) + 20).save(path, **options)
        good.add(name)
        return path

    keep("two words.png")
    keep("käse 猫 🐈.png")
    keep("n" * 196 + ".png")
    keep("deep/er/and/deeper/a.jpg")
    keep("=1+1.png")
    keep("line\nbreak.png")
    raw = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    try:
        picture(90).save(raw)
        good.add("\\xff\\xfe.png")
    except OSError:  # a file system that takes UTF-8 alone
        pass
    picture(91).convert("CMYK").save(tmp_path / "cmyk.jpg")
    picture(92).save(tmp_path / "moves.gif", save_all=True, append_images=[picture(93), picture(94)])
    deep = np.asarray(picture(95).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    image.save(tmp_path / "clear.png")
    image.putalpha(0)
    image.save(tmp_path / "see_through.png")
    Image.new("1", (1, 1)).save(tmp_path / "one.png")
    Image.new("L", (3000, 1), 9).save(tmp_path / "line.png")
    good |= {"cmyk.jpg", "moves.gif", "deep.png", "clear.png", "see_through.png", "one.png", "line.png"}
    (tmp_path / "link.png").symlink_to(tmp_path / "clear.png")
    good.add("link.png")
    (tmp_path / "round").symlink_to(tmp_path)  # a folder within itself
    for name, target, reason in (("gone.png", "nowhere.png", "broken link"), ("self.png", "self.png", "in a circle")):
        (tmp_path / name).symlink_to(target)
        broken[name] = reason
    for name, content, reason in (
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"no image at all", "no image that Pillow reads"),
        ("half.png", (tmp_path / "clear.png").read_bytes()[:3000], "decoding fails"),
        ("half.jpg", jpeg_header(256, 192)[:2000], "decoding fails"),
        ("bomb.png", png_header(60000, 60000), "over the limit of 100,000,000"),
        ("large.png", png_header(11000, 11000), "over the limit of 100,000,000"),
        ("bomb.jpg", jpeg_header(65000, 65000), "over the limit of 100,000,000"),
    ):
        (tmp_path / name).write_bytes(content)
        broken[name] = reason
    os.mkfifo(tmp_path / "pipe.png")
    broken["pipe.png"] = "no regular file"
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "notes.txt").write_text("no image by its name")

    found = inspect(tmp_path)
    assert {found.names[index] for index in found.seen} == good
    reasons = {found.names[index]: reason for index, reason in found.broken.items()}
    assert reasons.keys() == broken.keys()
    for name, said in broken.items():
        assert said in reasons[name], name
    assert {found.names[index] for index in found.blank} == {"see_through.png", "one.png", "line.png"}
    assert {found.names[index] for index in found.tiny} == {"one.png", "line.png"}
    assert groups(found) == [["clear.png", "link.png"]]


def test_arrays_in_files_and_paths_outside_the_root(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 30, 20, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", noise[0])
    np.save(tmp_path / "b.npy", noise[1, ..., 0])
    found = inspect_files([tmp_path / "a.npy", tmp_path / "b.npy"], tmp_path / "elsewhere")
    assert list(found.names) == [(tmp_path / name).as_posix() for name in ("a.npy", "b.npy")]
    assert [(one.width, one.height) for one in found.seen.values()] == [(20, 30)] * 2
    assert found.broken == {}


def test_no_files_at_all(tmp_path):
    found = inspect_files([], tmp_path)
    assert (found.seen, found.broken, list(found.duplicates)) == ({}, {}, [])
