"""Data that can't be trained on."""

import numpy as np
from error_case import case

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
NUMPY = '[data]\nname = "numpy"\nfile = "arrays.npz"'


def _arrays(at, **arrays):
    np.savez(at.path / "arrays.npz", **arrays)
    at.edit('[data]\nname = "image_folder"\nroot = "photos"', NUMPY)
    return "run my.toml --out new"


@case("data", "a folder that isn't there", "does not exist")
def _missing(at):
    at.edit("photos", "fotos")
    return "run my.toml"


@case("data", "an empty folder", "no images")
def _empty(at):
    (at.path / "empty").mkdir()
    at.edit("photos", "empty")
    return "run my.toml"


@case("data", "a folder of other files", "only files of other kinds such as notes.txt")
def _others(at):
    at.write("texts/notes.txt", "no image")
    at.edit("photos", "texts")
    return "run my.toml"


@case("data", "a file in place of a folder", "photos/00.png")
def _file(at):
    at.edit("photos", "photos/00.png")
    return "run my.toml"


@case("data", "one image", "at least 2 images")
def _one(at):
    at.write("one/a.png", (at.path / "photos" / "00.png").read_bytes())
    at.edit("photos", "one")
    return "run my.toml"


@case("data", "images none of which can be read", "can")
def _unreadable(at):
    for path in (at.path / "photos").iterdir():
        path.write_bytes(b"no image")
    return "run my.toml --out new"


@case("data", "arrays that aren't there", "No such file")
def _no_arrays(at):
    at.edit('[data]\nname = "image_folder"\nroot = "photos"', NUMPY)
    return "run my.toml"


@case("data", "arrays of unknown names", "set data.images")
def _unknown(at):
    return _arrays(at, first=PIXELS)


@case("data", "an array's name misspelt", "Did you mean 'x_train'?")
def _misspelt(at):
    command = _arrays(at, x_train=PIXELS)
    at.edit('file = "arrays.npz"', 'file = "arrays.npz"\nimages = "x_trian"')
    return command


@case("data", "fewer labels than images", "24 whole numbers")
def _labels(at):
    return _arrays(at, x_train=PIXELS, y_train=np.arange(7))


@case("data", "NaN among the pixels", "NaN")
def _nan(at):
    pixels = PIXELS / 255
    pixels[3, 2, 1, 0] = np.nan
    return _arrays(at, x_train=pixels)


@case("data", "pixels beyond 0 … 1", "rescale")
def _beyond(at):
    return _arrays(at, x_train=PIXELS * 1.0)


@case("data", "an array of the wrong shape", "none of")
def _shape(at):
    return _arrays(at, x_train=PIXELS[:, 0, 0])


@case("data", "whole numbers that are no pixels", "int64")
def _type(at):
    return _arrays(at, x_train=PIXELS.astype(np.int64))


@case("data", "pickled objects", "can't be used")
def _pickled(at):
    return _arrays(at, x_train=np.full((24, 8, 8), None, dtype=object))


@case("data", "a torn archive", "can't be read", vague=r"(?<=\().*(?=\))")
def _torn(at):
    command = _arrays(at, x_train=PIXELS)
    whole = (at.path / "arrays.npz").read_bytes()
    at.write("arrays.npz", whole[: len(whole) // 2])
    return command


@case("data", "images too large for memory", "memory")
def _memory(at):
    command = _arrays(at, x_train=PIXELS)
    at.patch.setattr("imcswav.imaging.read.physical_memory", lambda: 1000.0)
    return command


@case("data", "a test split where there is none", "train")
def _split(at):
    return "check my.toml --set evaluation.train_on=train+test"
