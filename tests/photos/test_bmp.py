"""BMP is read as it says: gray or not, clear or not, with its profile; what is made of it is a PNG."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from sdsr.errors import InputError, LimitError
from sdsr.photos.files import probe, read_photo
from tests.pictures import saved, smooth

PIXELS = smooth(24, 40)
COLOR = Image.fromarray(PIXELS)


def bmp(pixels: np.ndarray, *, masks: bool = True, more: bytes = b"", **fields: int) -> bytes:
    """A BMP of 32 bits a pixel, [B, G, R, A], whose header is of version 5; `fields` by their offset, "at56"."""
    height, width = pixels.shape[:2]
    header = bytearray(124)
    struct.pack_into("<IiiHHIIii", header, 0, 124, width, height, 1, 32, 3 if masks else 0, pixels.size, 11811, 11811)
    struct.pack_into("<IIII", header, 40, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for name, value in fields.items():
        struct.pack_into("<I", header, int(name.removeprefix("at")), value)
    body = pixels[::-1].tobytes()
    return struct.pack("<2sIII", b"BM", 138 + len(body) + len(more), 0, 138) + bytes(header) + body + more


def test_a_bmp_is_a_photo_of_which_a_png_is_made(tmp_path: Path) -> None:
    (tmp_path / "scan.bmp").write_bytes(saved(COLOR, "BMP", dpi=(300, 300)))
    photo = read_photo(tmp_path / "scan.bmp")
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert (photo.alpha, photo.traits.format, photo.traits.gray) == (None, "PNG", False)
    assert photo.traits.dpi == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize("picture", [COLOR.convert("L"), COLOR.convert("1"), COLOR.quantize(16), COLOR.quantize(200)])
def test_few_colors_are_read_as_they_are(picture: Image.Image) -> None:
    data = saved(picture, "BMP")
    gray = picture.mode != "P"
    assert probe(data).gray == gray
    np.testing.assert_array_equal(read_photo(data).pixels, np.asarray(picture.convert("RGB")))


def test_runs_of_equal_pixels_are_read() -> None:
    runs = b"\x03\x01\x02\x00\x00\x00" + b"\x00\x05\x00\x01\x02\x01\x00\x00\x00\x00" + b"\x00\x01"  # RLE8, upwards
    palette = bytes((0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0))
    header = struct.pack("<IiiHHIIiiII", 40, 5, 2, 1, 8, 1, len(runs), 0, 0, 3, 0)
    data = struct.pack("<2sIII", b"BM", 66 + len(runs), 0, 66) + header + palette + runs
    found = read_photo(data).pixels
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    np.testing.assert_array_equal(found, colors[[[0, 1, 2, 1, 0], [1, 1, 1, 0, 0]]])


def test_alpha_counts_unless_it_hides_everything() -> None:
    pixels = np.dstack([PIXELS[..., ::-1], np.full((24, 40), 255, np.uint8)])
    pixels[3, 5, 3] = 7
    photo = read_photo(bmp(pixels))
    assert photo.alpha is not None
    assert photo.alpha[3, 5] == 7
    pixels[..., 3] = 0
    left_out = read_photo(bmp(pixels))
    assert left_out.alpha is None or left_out.alpha.all()
    np.testing.assert_array_equal(left_out.pixels, PIXELS)
    np.testing.assert_array_equal(read_photo(bmp(pixels, masks=False)).pixels, PIXELS)


def test_its_profile_is_honored() -> None:
    profile = imagecodecs.cms_profile("adobergb")
    pixels = np.dstack([PIXELS[..., ::-1], np.full((24, 40), 255, np.uint8)])
    embedded = int.from_bytes(b"DEBM", "little")
    data = bmp(pixels, more=profile, at56=embedded, at112=124 + pixels.size, at116=len(profile))
    assert read_photo(data).traits.icc == profile
    read_photo(bmp(pixels, at56=embedded, at112=2**32 - 1, at116=2**32 - 1))  # a profile that isn't there


def test_what_it_says_wrongly_is_refused() -> None:
    data = saved(COLOR, "BMP")
    for end in (13, 30, 53, len(data) - 1):
        with pytest.raises(InputError):
            read_photo(data[:end])
    for offset, value in ((14, 41), (18, 0), (28, 7), (30, 4)):  # header, width, bits, coded as JPEG
        with pytest.raises(InputError):
            read_photo(data[:offset] + struct.pack("<I", value) + data[offset + 4 :])
    giant = data[:18] + struct.pack("<ii", 60000, 60000) + data[26:]
    with pytest.raises(LimitError, match=r"60000x60000 \(3600 MP\), limit 200 MP"):
        probe(giant)
