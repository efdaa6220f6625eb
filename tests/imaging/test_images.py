import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from imcswav.errors import DataError
from imcswav.imaging import opening, read
from imcswav.imaging.find import find_files, find_images
from imcswav.imaging.opening import formats
from imcswav.imaging.pixels import fit
from imcswav.imaging.read import decode, decode_many, shorter_side, to_images


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def colours(image: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in image.flatten(1).T.tolist()}


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga", "gif"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    grey = noise(16, 16)
    Image.fromarray(grey).save(tmp_path / f"x.{suffix}")
    assert np.array_equal(decode(tmp_path / f"x.{suffix}", size=16, channels=1)[0], grey)
    colour = decode(tmp_path / f"x.{suffix}", size=16, channels=3)
    assert colour.dtype == torch.uint8
    assert all(np.array_equal(plane, grey) for plane in colour)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_rgb_planes_keep_their_order(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 16), (250, 120, 10)).save(tmp_path / f"x.{suffix}")
    decoded = decode(tmp_path / f"x.{suffix}", size=16, channels=3).float()
    assert (decoded.mean((1, 2)) - torch.tensor([250.0, 120.0, 10.0])).abs().max() < 5


def test_transparency_is_laid_over_white() -> None:
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half.paste((200, 0, 0, 255), (0, 0, 4, 8))
    assert colours(decode(half, size=8)) == {(200, 0, 0), (255, 255, 255)}
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert colours(decode(palette, size=8)) == {(9, 9, 9)}
    palette.info["transparency"] = 1
    assert colours(decode(palette, size=8)) == {(255, 255, 255)}
    assert colours(decode(Image.new("LA", (8, 8), (0, 0)), size=8, channels=1)) == {(255,)}


def test_sixteen_bits_use_the_full_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "x.tif")
    for name in ("x.png", "x.tif"):
        decoded = decode(tmp_path / name, size=16, channels=1)
        assert torch.equal(decoded.flatten(), torch.arange(256, dtype=torch.uint8)), name
    beyond = Image.fromarray(ramp.astype(np.int32) * 2)
    with pytest.raises(DataError, match=r"values 0 … 131070 are outside 0 … 65535"):
        decode(beyond, size=16)


@pytest.mark.parametrize("type_", [np.uint8, np.uint16])
def test_a_transparent_grey_is_laid_over_white(tmp_path: Path, type_: type) -> None:
    grey = np.full((8, 8), 40, type_) * type_(np.iinfo(type_).max // 255)
    grey[:, :4] += type_(1)
    Image.fromarray(grey).save(tmp_path / "x.png", transparency=int(grey[0, 7]))
    assert colours(decode(tmp_path / "x.png", size=8)) == {(255,) * 3, (40 + (type_ == np.uint8),) * 3}


def test_float_images_span_zero_to_one() -> None:
    assert colours(decode(Image.new("F", (8, 8), 0.5), size=8)) == {(128, 128, 128)}
    with pytest.raises(DataError, match=r"floats have to lie in 0 … 1, these span 7 … 7"):
        decode(Image.new("F", (8, 8), 7.0), size=8)


def test_cmyk_and_bilevel() -> None:
    assert colours(decode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), size=8)) == {(255, 0, 0)}
    assert colours(decode(Image.new("1", (8, 8), 1), size=8, channels=1)) == {(255,)}


def test_exif_orientation_is_applied_and_broken_exif_ignored(tmp_path: Path) -> None:
    picture = noise(8, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(picture).save(tmp_path / "x.png", exif=exif)
    decoded = decode(tmp_path / "x.png", size=8)
    assert np.array_equal(decoded.permute(1, 2, 0), np.rot90(picture, k=-1))
    Image.fromarray(picture).save(tmp_path / "y.png", exif=b"Exif\0\0no tiff header")
    assert np.array_equal(decode(tmp_path / "y.png", size=8).permute(1, 2, 0), picture)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new("L", (8, 8), 10), Image.new("L", (8, 8), 200)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert colours(decode(tmp_path / "x.gif", size=8)) == {(10, 10, 10)}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bands_give_what_the_whole_gives(mode: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise(23, 17, 4)
    if mode in ("I;16", "I", "F"):
        types = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        image = Image.fromarray((values[..., 0] / (255 if mode == "F" else 1)).astype(types[mode]))
    else:
        image = Image.fromarray(values).convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    whole = decode(image, size=None, channels=channels)
    for pixels in (1, 17, 100, 17 * 23):
        monkeypatch.setattr(opening, "BAND", pixels)
        assert torch.equal(decode(image, size=None, channels=channels), whole)


def test_what_may_wrap_any_format_is_no_image(tmp_path: Path) -> None:
    """Pillow opens what an IPTC file holds without asking which formats are wanted, so it could be PostScript."""
    (tmp_path / "x.iim").write_bytes(b"\x1c\x03\x3c\0\x02\1\0\x1c\x03\x14\0\2\0\x08\x1c\x03\x1e\0\2\0\x08")
    assert find_images(tmp_path) == []
    assert "IPTC" in Image.OPEN
    assert not {"IPTC", "EPS"} & set(formats().values())


def test_a_huge_jpeg_is_reduced_while_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "PIXEL_LIMIT", 64 * 64)
    Image.new("RGB", (400, 300), (250, 120, 10)).save(tmp_path / "x.jpg")
    Image.new("RGB", (400, 300)).save(tmp_path / "progressive.jpg", progressive=True)
    Image.new("RGB", (400, 300)).save(tmp_path / "x.png")
    decoded = decode(tmp_path / "x.jpg", size=16).float()
    assert (decoded.mean((1, 2)) - torch.tensor([250.0, 120.0, 10.0])).abs().max() < 5
    for name in ("progressive.jpg", "x.png"):
        with pytest.raises(DataError, match=r"its 120,000 pixels are over the limit of 4,096"):
            decode(tmp_path / name, size=16)


def test_pillow_s_own_bomb_check_is_a_reason_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    Image.new("L", (50, 50)).save(tmp_path / "x.png")
    Image.new("L", (50, 50)).save(tmp_path / "x.jpg")
    assert decode_many([tmp_path / "x.png", tmp_path / "x.jpg"], size=8)[1:] == (
        [1],
        [(str(tmp_path / "x.png"), "its pixels are over the limit of 100,000,000")],
    )


def test_broken_files_are_listed_with_their_reason(tmp_path: Path) -> None:
    good = io.BytesIO()
    Image.fromarray(noise(32, 32, 3)).save(good, "PNG")
    (tmp_path / "a good.png").write_bytes(good.getvalue())
    (tmp_path / "b truncated.png").write_bytes(good.getvalue()[:900])
    (tmp_path / "c empty.png").touch()
    (tmp_path / "d text.png").write_text("hello")
    (tmp_path / "e link.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "f pipe.png")
    (tmp_path / "g postscript.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "h.jpg").write_bytes(good.getvalue())  # a PNG by another name
    decoded, kept, skipped = decode_many(find_images(tmp_path), size=32)
    assert kept == [0, 7]
    assert decoded.shape == (2, 3, 32, 32)
    assert torch.equal(decoded[0], decoded[1])
    reasons = {Path(path).name: reason for path, reason in skipped}
    assert reasons.pop("b truncated.png").startswith("decoding fails (")
    assert reasons == {
        "c empty.png": "the file is empty",
        "d text.png": "it is no image that Pillow reads",
        "e link.png": "the file is not there (a broken link?)",
        "f pipe.png": "it is no regular file",
        "g postscript.png": "it is no image that Pillow reads",
    }
    with pytest.raises(DataError, match=r"c empty.png can't be used as an image: the file is empty\."):
        decode(tmp_path / "c empty.png", size=32)


def test_a_file_without_permission_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    monkeypatch.setattr(read, "open", refuse, raising=False)  # root may read anything
    assert decode_many([tmp_path / "x.png"], size=8)[2] == [(str(tmp_path / "x.png"), "reading it is not permitted")]


def test_too_many_images_for_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "physical_memory", lambda: 1e6)
    with pytest.raises(DataError, match=r"1000 images of 3×64×64 need 0.0 GB .* use fewer \(limit\) or smaller"):
        decode_many(["x.png"] * 1000, size=64)


def test_npy_files_have_any_number_of_channels(tmp_path: Path) -> None:
    values = noise(12, 16, 5)
    np.save(tmp_path / "x.npy", values)
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    assert find_images(tmp_path) == [tmp_path / "x.png"]
    assert find_images(tmp_path, channels=5) == [tmp_path / "pickle.npy", tmp_path / "x.npy"]
    assert np.array_equal(decode(tmp_path / "x.npy", size=12, channels=5), values[:, 2:14].transpose(2, 0, 1))
    with pytest.raises(DataError, match=r"unclear which axis of the shape \(1, 12, 16, 5\) holds the channels"):
        decode(tmp_path / "x.npy", size=8, channels=4)
    with pytest.raises(DataError, match="there are 3 channels and 5 are wanted"):
        decode(noise(8, 8, 3), size=8, channels=5)
    with pytest.raises(DataError, match="Python objects in dtype"):
        decode(tmp_path / "pickle.npy", size=8, channels=5)
    with pytest.raises(DataError, match="1 or 3 channels and 5 are wanted"):
        decode(tmp_path / "x.png", size=8, channels=5)


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    st.integers(8, 24),
)
def test_stretching_agrees_with_pillow(picture: np.ndarray, size: int) -> None:
    expected = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
    stretched = decode(Image.fromarray(picture), size=size, resize="stretch").permute(1, 2, 0).numpy()
    assert np.abs(expected.astype(int) - stretched).max() <= 1


def test_crop_takes_the_centre_and_pad_keeps_everything() -> None:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 255
    wide[:, 0] = 99
    assert colours(decode(wide, size=8)) == {(255, 255, 255)}
    padded = decode(wide, size=24, resize="pad")[0]
    assert np.array_equal(padded[8:16], wide)
    assert padded[:8].max() == padded[16:].max() == 0
    assert decode(np.zeros((1, 5000), np.uint8), size=8, channels=1, resize="pad").shape == (1, 8, 8)


def test_fit_treats_a_batch_as_its_images() -> None:
    batch = torch.from_numpy(noise(5, 3, 20, 30))
    for resize in ("crop", "pad", "stretch"):
        assert torch.equal(fit(batch, 16, resize)[2], decode(batch[2], size=16, channels=None, resize=resize))


def test_axes_of_arrays() -> None:
    grey = noise(4, 16, 16)
    rgb = noise(4, 16, 16, 3)
    first = rgb.transpose(0, 3, 1, 2)
    assert np.array_equal(to_images(grey)[:, 0], grey)
    assert np.array_equal(to_images(grey[..., None])[:, 0], grey)
    assert np.array_equal(to_images(rgb), first)
    assert np.array_equal(to_images(torch.from_numpy(first)), first)
    assert to_images(noise(4, 6, 16, 16)).shape == (4, 6, 16, 16)
    assert to_images(noise(4, 16, 16, 4), channels=4).shape == (4, 4, 16, 16)
    assert to_images(noise(4, 3, 3, 3)).shape == (4, 3, 3, 3)
    assert to_images(noise(4, 16, 20, 3)).shape == (4, 3, 16, 16)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_one_colour_image_is_no_stack_of_grey_ones(channels: int | None) -> None:
    with pytest.raises(DataError, match=r"\(9, 8, 3\) is one colour image or several grey ones; give \(1, …\) or"):
        to_images(noise(9, 8, 3), channels=channels)
    assert to_images(noise(9, 8, 3)[None], channels=1).shape == (1, 1, 8, 8)
    assert to_images(noise(9, 8, 3)[..., None], channels=1).shape == (9, 1, 3, 3)


def test_a_single_grey_image_may_be_three_pixels_wide() -> None:
    grey = noise(8, 3)
    for channels in (1, 3):
        assert np.array_equal(decode(grey, size=None, channels=channels)[0], grey)


def test_types_of_values() -> None:
    grey = noise(4, 16, 16)
    for values in (grey / 255, (grey / 255).astype(np.float32), torch.from_numpy(grey).float() / 255):
        assert np.array_equal(to_images(values)[:, 0], grey)
    assert np.array_equal(to_images(grey.astype(np.uint16) * 257)[:, 0], grey)
    assert set(to_images(grey > 100).unique().tolist()) == {0, 255}
    changed = to_images(grey)
    changed.zero_()
    assert grey.any()


def test_channels_follow_the_wish() -> None:
    rgb = noise(16, 16, 3)
    luma = decode(rgb, size=16, channels=1)
    assert np.abs(luma[0].numpy().astype(int) - np.asarray(Image.fromarray(rgb).convert("L"))).max() <= 1
    assert decode(noise(16, 16), size=16, channels=3).shape == (3, 16, 16)


def test_lists_mix_paths_pillow_images_and_arrays(tmp_path: Path) -> None:
    picture = noise(16, 16, 3)
    Image.fromarray(picture).save(tmp_path / "x.png")
    mixed = to_images([str(tmp_path / "x.png"), tmp_path / "x.png", Image.fromarray(picture), picture])
    assert mixed.shape == (4, 3, 16, 16)
    assert (mixed == mixed[0]).all()


NAN = np.full((4, 8, 8), np.nan, np.float32)
BAD = [
    (NAN, "The ndarray can't be taken as images: there are NaN or infinite values; remove them."),
    (np.ones((4, 8, 8)) * 3, "floats have to lie in 0 … 1, these span 3 … 3; rescale them."),
    (np.ones((4, 8, 8)) * -0.5, "these span -0.5 … -0.5"),
    (np.ones((4, 8, 8), np.int64), "values of type int64 are no pixels; give uint8, or floats from 0 to 1."),
    (np.array([["a"]]), "the shape (1, 1) is none of (N, H, W), (N, H, W, C) and (N, C, H, W)."),
    (np.zeros((4, 0, 8), np.uint8), "the shape (4, 0, 8) is none of"),
    (
        np.zeros((4, 32, 32, 4), np.uint8),
        "the last of 4 channels in the shape (4, 32, 32, 4) is alpha; leave it out: images[..., :-1]",
    ),
    (torch.zeros(5), "The Tensor can't be taken as images: the shape (5,) is none of"),
    ([], "There are no images: the list or array is empty; give at least one."),
    (np.zeros((0, 8, 8), np.uint8), "There are no images"),
    ("photos", "A str can't be taken as images; give an array or tensor (N, H, W)"),
    (7, "A int can't be taken as images"),
    ([7, 8], "The int can't be used as an image: it is neither a path, a PIL image, an array nor a tensor."),
    ([np.zeros(5, np.uint8)], "the shape (5,) is none of (H, W), (H, W, C) and (C, H, W)."),
    (["no/such.png"], "no/such.png can't be used as an image: the file is not there (a broken link?)."),
    (
        [Image.new("L", (8, 9)), Image.new("L", (20, 8))],
        "The images differ in shape (C, H, W): (3, 8, 20) and (3, 9, 8); give size=.",
    ),
]


@pytest.mark.parametrize(("source", "message"), BAD, ids=range(len(BAD)))
def test_what_can_t_be_images_is_refused(source: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        to_images(source)
    assert message in str(caught.value)


def test_hidden_files_loops_and_repeated_links(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/10.jpeg", "a/x.webp", ".hidden/x.png", "b/.x.png", "notes.txt", "film.mpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    outside = tmp_path.with_name(tmp_path.name + "-outside")
    outside.mkdir()
    (outside / "y.png").touch()
    (tmp_path / "d").symlink_to(outside)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/x.webp", "b/10.jpeg", "b/2.PNG", "d/y.png"]


def test_a_folder_that_can_t_be_listed_is_no_silent_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"locked can't be listed \(Permission denied\); make it readable"):
        find_images(tmp_path)


def test_names_that_are_no_utf8_can_be_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    skipped = decode_many(find_images(tmp_path), size=8)[2]
    assert skipped == [((tmp_path / "caf").as_posix() + r"\xe9.png", "the file is empty")]
    skipped[0][0].encode("utf-8")


def test_a_file_s_bytes_are_decoded_as_the_file_is(tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg", "x.webp"):
        Image.fromarray(noise(40, 50, 3)).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        for asked in ({"size": 16}, {"size": None}, {"size": 9, "channels": 1, "resize": "pad"}):
            assert torch.equal(decode(content, **asked), decode(tmp_path / name, **asked))
        assert shorter_side(content) == shorter_side(tmp_path / name) == 40
    with pytest.raises(DataError, match=r"The bytes can't be used as an image: it is no image that Pillow reads"):
        decode(b"broken", size=8)
    assert shorter_side(b"broken") is None


def test_files_that_are_no_images_are_told_apart(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.npy", "notes.txt", "IMG_1", ".hidden"):
        (tmp_path / name).touch()
    assert find_files(tmp_path) == ([tmp_path / "b.PNG"], [tmp_path / name for name in ("IMG_1", "a.npy", "notes.txt")])
    assert find_files(tmp_path, channels=2)[0] == [tmp_path / "a.npy"]
