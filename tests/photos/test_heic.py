"""HEIC is read as its container says: turned, with its metadata, profile and alpha; a PNG is made of it."""

import io
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from sdsr.errors import InputError, LimitError
from sdsr.photos.files import probe, read_photo
from tests.pictures import difference, smooth

PIXELS = smooth(48, 80)
PHOTO = Image.fromarray(PIXELS)
LOSSY = 8


def heic(picture: Image.Image = PHOTO, **options: object) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(picture).save(file, **({"quality": 90} | options))
    return file.getvalue()


def turned(orientation: int) -> bytes:
    """A HEIC whose container turns as an EXIF orientation does."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    return heic(exif=exif.tobytes())


def test_a_heic_is_a_photo_of_which_a_png_is_made(tmp_path: Path) -> None:
    profile = imagecodecs.cms_profile("adobergb")
    (tmp_path / "IMG.HEIC").write_bytes(heic(PHOTO, icc_profile=profile, xmp=b"<x/>"))
    photo = read_photo(tmp_path / "IMG.HEIC")
    assert difference(read_photo(heic()).pixels, PIXELS) <= LOSSY
    assert photo.traits.icc == profile
    assert difference(photo.pixels, PIXELS) > 5 * LOSSY, "colors are its profile's"
    assert (photo.traits.format, photo.traits.bits, photo.traits.gray, photo.alpha) == ("PNG", 8, False, None)
    assert photo.traits.xmp == b"<x/>"


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_it_is_turned_once_as_its_container_says(orientation: int, turns: int) -> None:
    data = turned(orientation)
    upright = np.rot90(PIXELS, turns)
    header = probe(data)
    assert (header.height, header.width) == upright.shape[:2]
    photo = read_photo(data)
    assert difference(photo.pixels, upright) <= LOSSY
    kept = Image.Exif()
    kept.load(photo.traits.exif or b"")
    assert (kept[0x010F], kept.get(0x0112, 1)) == ("Maker", 1)


def test_gray_clear_and_deep_ones_are_read_as_they_are() -> None:
    assert read_photo(heic(PHOTO.convert("L"))).traits.gray
    clear = PHOTO.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 16, 16))
    photo = read_photo(heic(clear))
    assert photo.traits.format == "PNG"
    assert photo.alpha is not None
    assert photo.alpha[4, 4] < 16 < 240 < photo.alpha[40, 40]
    samples = smooth(48, 80, 3, np.uint16)
    file = io.BytesIO()
    pillow_heif.from_bytes(mode="RGB;16", size=(80, 48), data=samples.tobytes()).save(file, quality=95)
    deep = read_photo(file.getvalue())
    assert (deep.traits.format, deep.traits.bits) == ("PNG", 10)
    assert difference(deep.pixels, samples) <= LOSSY * 257


def test_color_that_was_multiplied_by_alpha_is_freed_of_it() -> None:
    half = np.dstack([PIXELS // 2, np.full((48, 80), 128, np.uint8)])
    file = io.BytesIO()
    pillow_heif.from_bytes(mode="RGBa", size=(80, 48), data=half.tobytes()).save(file, quality=95)
    photo = read_photo(file.getvalue())
    assert photo.alpha is not None
    assert difference(photo.alpha, np.full((48, 80), 128, np.uint8)) <= LOSSY
    assert difference(photo.pixels, PIXELS) <= 3 * LOSSY


def test_what_cannot_be_read_is_refused() -> None:
    data = heic()
    for end in (20, 100, len(data) // 2, len(data) - 9):
        with pytest.raises(InputError):
            read_photo(data[:end])
    with pytest.raises(InputError, match=r"coded as b'unci', limit HEVC; export it as PNG"):
        read_photo(data.replace(b"hvc1", b"unci"))
    primaries = data.index(b"nclx") + 4
    bright = data[:primaries] + struct.pack(">HHH", 9, 16, 9) + data[primaries + 6 :]
    with pytest.raises(InputError, match="PQ"):
        read_photo(bright)


def test_a_giant_is_refused_from_its_header() -> None:
    data = bytearray(heic())
    extent = data.index(b"ispe") + 8
    crop = data.index(b"clap") + 4
    struct.pack_into(">II", data, extent, 20000, 20000)
    struct.pack_into(">II", data, crop, 20000, 1)
    struct.pack_into(">II", data, crop + 8, 20000, 1)
    for action in (probe, read_photo):
        with pytest.raises(LimitError, match=r"20000x20000 \(400 MP\), limit 200 MP"):
            action(bytes(data))


def test_a_gain_map_is_told_to_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    data = heic(PHOTO.convert("RGBA")).replace(b"urn:mpeg:hevc:2015:auxid:1", b"urn:com:apple:p:hdrgainmap")
    assert read_photo(data).alpha is None
    assert "a gain map (HDR)" in caplog.text


def test_without_the_library_its_name_and_what_else_helps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"a HEIC, .* run: pip install 'sdsr\[heic\]', or export the photo as JPEG"):
        read_photo(data)
