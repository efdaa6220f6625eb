"""Images that can't be used, to commands that name the file; where there are others, they are left out and listed."""

import os
import struct
import zlib

import numpy as np
from error_case import case
from PIL import Image


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width, height):
    """A PNG of a hundred bytes that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = _chunk(b"IDAT", zlib.compress(b"\0" * 999))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + rows + _chunk(b"IEND", b"")


def _only(at, name, content):
    at.write(name, content)
    return f"predict run {name}"


@case("images", "a torn file", "decoding fails", vague=r"(?<=decoding fails \().*(?=\))")
def _torn(at):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(at.path / "a.png")
    return _only(at, "a.png", (at.path / "a.png").read_bytes()[:5000])


@case("images", "a file of no bytes", "the file is empty")
def _empty(at):
    return _only(at, "a.png", b"")


@case("images", "text that is called an image", "no image that Pillow reads")
def _text(at):
    return _only(at, "a.jpg", "no image")


@case("images", "a decompression bomb", "over the limit")
def _bomb(at):
    return _only(at, "a.png", bomb(100_000, 100_000))


@case("images", "a picture of no pixels", "a.png")
def _flat(at):
    return _only(at, "a.png", bomb(0, 10))


@case("images", "a vector drawing", "no image")
def _svg(at):
    return _only(at, "a.svg", "<svg/>")


@case("images", "PostScript that is called a PNG", "no image that Pillow reads")
def _eps(at):
    return _only(at, "a.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


@case("images", "a link to nothing", "no file or folder")
def _link(at):
    (at.path / "a.png").symlink_to("gone.png")
    return "predict run a.png"


@case("images", "a link that leads to itself", "no file or folder")
def _loop(at):
    (at.path / "a.png").symlink_to("a.png")
    return "predict run a.png"


@case("images", "a pipe", "no regular file")
def _pipe(at):
    os.mkfifo(at.path / "a.png")
    return "predict run a.png"


@case("images", "an image that isn't there", "gone.png")
def _gone(at):
    return "predict run gone.png"


@case("images", "an image that may not be read", "not permitted")
def _forbidden(at):
    at.write("a.png", "secret")
    whole = open

    def refused(path, *more, **others):
        if str(path).endswith("a.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *more, **others)

    at.patch.setattr("imcswav.imaging.read.open", refused, raising=False)
    return "predict run a.png"


@case("images", "a folder without any image to cluster", "no images")
def _nothing(at):
    at.write("texts/notes.txt", "no image")
    return "cluster texts -k 2 --from-scratch"


@case("images", "a folder whose images are all broken", "can")
def _broken(at):
    for path in (at.path / "photos").iterdir():
        path.write_bytes(b"no image")
    return "cluster photos -k 2 --from-scratch"
