"""A small image in every format that is read, as bytes, and the same with a header that lies about its size."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

from imcswav.imaging.opening import formats, header

WIDTH, HEIGHT = 43, 37
MODES = {
    "PNG": ("RGB", "RGBA", "P", "I;16", "1"), "GIF": ("P",), "TIFF": ("RGB", "CMYK", "F", "I;16", "1"), "XBM": ("1",),
    "MSP": ("1",), "BLP": ("P",), "DDS": ("RGBA", "L"), "SPIDER": ("F",), "PPM": ("RGB", "L", "1"),
}  # fmt: skip
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
"""To be turned by a quarter."""
MORE = {
    "JPEG": [{"progressive": True}, {"exif": EXIF}],
    "TIFF": [{"compression": name} for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")],
    "WEBP": [{"lossless": True}, {"save_all": True}],
    "ICO": [{"bitmap_format": "bmp", "sizes": [(16, 16)]}],
    "SGI": [{"bpc": 2}],
    "DDS": [{"pixel_format": "DXT1"}],
    "TGA": [{"compression": "tga_rle"}],
    "JPEG2000": [{"no_jp2": True}],
}  # fmt: skip


@cache
def seeds():
    """(extension, bytes) of readable images, all formats with at least one."""
    found = []
    for extension, name in first_extensions().items():
        if name in BY_HAND:
            found.append((extension, BY_HAND[name]()))
            continue
        for mode in MODES.get(name, ("RGB",)):
            found += [(extension, saved(name, mode))]
        for options in MORE.get(name, []):
            found.append((extension, saved(name, "RGB", **options)))
    array = io.BytesIO()
    np.save(array, np.arange(12 * 11 * 3, dtype=np.uint8).reshape(12, 11, 3))
    return [*found, (".npy", array.getvalue())]


def first_extensions():
    """One extension of every format."""
    found = {}
    for extension, name in formats().items():
        found.setdefault(name, extension)
    return {extension: name for name, extension in found.items()}


def picture(mode="RGB"):
    """Something that compresses neither to nothing nor not at all."""
    pixels = np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3).astype(np.uint8)
    grey = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(pixels.astype(np.uint16) * 200)
    if mode == "F":
        return Image.fromarray(pixels.astype(np.float32) / 255)
    image = grey.convert("RGB").convert("RGBA" if mode == "RGBA" else mode)
    if mode == "RGBA":
        image.putalpha(grey)
    return image


def saved(name, mode, **options):
    """What Pillow writes."""
    file = io.BytesIO()
    picture(mode).save(file, name, **options)
    return file.getvalue()


def _cur():
    icon = bytearray(saved("ICO", "RGB", bitmap_format="bmp", sizes=[(16, 16)]))
    icon[2] = 2
    return bytes(icon)


def _dcx():
    return struct.pack("<III", 0x3ADE68B1, 12, 0) + saved("PCX", "RGB")


def _fits():
    cards = {"SIMPLE": "T", "BITPIX": 8, "NAXIS": 2, "NAXIS1": WIDTH, "NAXIS2": HEIGHT}
    text = "".join(f"{key:8}= {value!s:>20}".ljust(80) for key, value in cards.items()) + "END".ljust(80)
    return text.ljust(2880).encode() + picture("L").tobytes()


def _fli():
    header = struct.pack("<IHHHHHHI", 0, 0xAF12, 1, WIDTH, HEIGHT, 8, 3, 50).ljust(128, b"\0")
    rows = b"".join(b"\x01" + struct.pack("bB", WIDTH, row % 256) for row in range(HEIGHT))
    chunk = struct.pack("<IH", 6 + len(rows), 15) + rows
    return header + struct.pack("<IHH8x", 16 + len(chunk), 0xF1FA, 1) + chunk


def _ftex():
    data = picture().tobytes()
    return b"FTEX" + struct.pack("<iiiiiiii", 0, WIDTH, HEIGHT, 1, 1, 1, 32, len(data)) + data + b"\0\0\0\0"


def _gbr():
    return (
        struct.pack(">IIIII", 30, 2, WIDTH, HEIGHT, 1)
        + b"GIMP"
        + struct.pack(">I", 9)
        + b"a\0"
        + picture("L").tobytes()
    )


def _pcd():
    return b"\0" * 2048 + b"PCD_".ljust(2048, b"\0")


def _pixar():
    header = bytearray(b"\200\350\000\000".ljust(1024, b"\0"))
    struct.pack_into("<HH4xHH", header, 416, HEIGHT, WIDTH, 14, 2)
    return bytes(header) + picture().tobytes()


def _psd():
    planes = b"".join(band.tobytes() for band in picture().split())
    return b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, HEIGHT, WIDTH, 8, 3) + struct.pack(">IIIH", 0, 0, 0, 0) + planes


def _sun():
    data = Image.merge("RGB", picture().split()[::-1]).crop((0, 0, WIDTH + 1, HEIGHT)).tobytes()
    return struct.pack(">IIIIIIII", 0x59A66A95, WIDTH + 1, HEIGHT, 24, len(data), 1, 0, 0) + data


def _xpm():
    rows = "".join(f'"{"ab" * (WIDTH // 2)}a",\n' for _ in range(HEIGHT))
    head = f'"{WIDTH} {HEIGHT} 2 1",\n"a c #ff0000",\n"b c #00ff00",\n'
    return f"/* XPM */\nstatic char *x[] = {{\n{head}{rows}}};\n".encode()


BY_HAND = {
    "CUR": _cur, "DCX": _dcx, "FITS": _fits, "FLI": _fli, "FTEX": _ftex, "GBR": _gbr, "PCD": _pcd, "PIXAR": _pixar,
    "PSD": _psd, "SUN": _sun, "XPM": _xpm,
}  # fmt: skip
"""Of formats that Pillow reads and doesn't write."""
FIXED = {".ico", ".cur", ".icns", ".pcd", ".msp", ".npy"}
"""A size of at most 1,024 pixels a side, or one by a check sum, or none at all."""


def with_checksums(content):
    """A PNG whose chunks have the check sums of what is in them now; all else as it is."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return content
    made, at = content[:8], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        body = content[at + 4 : at + 8 + length]
        if at + 12 + length > len(content):
            break
        made += content[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return made + content[at:]


def lying(extension, content):
    """The same bytes, but the header says that the image is huge; None where that can't be said."""
    for big in (60_000, 16_383):
        for code in (">I", "<I", ">H", "<H", ">f", "<f", "text", "padded"):
            for less in (0, 1):
                changed = content
                for number in (WIDTH, HEIGHT, WIDTH + 1):
                    old, new = _coded(code, number - less), _coded(code, big - less)
                    changed = changed.replace(old, new)
                changed = with_checksums(changed)
                if changed != content and _says(changed, extension) >= 16_000**2:
                    return changed
    return None


def _coded(code, number):
    if code in ("text", "padded"):
        return str(number).rjust(5 if code == "padded" else 0).encode()
    return struct.pack(code, number)


def _says(content, extension):
    """Pixels by the header."""
    try:
        image = header(io.BytesIO(content), extension)
        return image.width * image.height
    except Image.DecompressionBombError:
        return 2**31
    except Exception:  # mutated bytes may raise anything: they hold no pixels
        return 0
