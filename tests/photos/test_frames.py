"""Formats that can move: a file of one single frame is a photo."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdsr.errors import InputError
from sdsr.photos.files import probe, read_photo
from tests.pictures import difference, smooth

PIXELS = smooth(24, 40)
PALETTED = Image.fromarray(PIXELS).quantize(64)


def gif(picture: Image.Image = PALETTED, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, "GIF", **options)
    return file.getvalue()


def webp(*, frames: int = 1, width: int = 40) -> bytes:
    """An animated WebP of a canvas so wide, of frames of 40 x 24 px."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "WEBP", lossless=True)
    canvas, own = ((size - 1).to_bytes(3, "little") + (24 - 1).to_bytes(3, "little") for size in (width, 40))
    frame = bytes(6) + own + bytes(4) + file.getvalue()[12:]
    chunks = [(b"VP8X", struct.pack("<I", 2) + canvas), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames]
    body = b"".join(struct.pack("<4sI", kind, len(part)) + part for kind, part in chunks)
    return struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body


def avif(frames: int) -> bytes:
    """An AVIF sequence of two frames that says it has so many."""
    file = io.BytesIO()
    pictures = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    pictures[0].save(file, "AVIF", save_all=True, append_images=pictures[1:])
    data = bytearray(file.getvalue())
    struct.pack_into(">I", data, data.index(b"stsz") + 12, frames)
    assert data[8:12] == b"avis"
    return bytes(data)


def test_a_gif_of_one_frame_is_a_photo() -> None:
    photo = read_photo(gif(comment=b"Oma 1998"))
    np.testing.assert_array_equal(photo.pixels, np.asarray(PALETTED.convert("RGB")))
    assert (photo.alpha, photo.traits.format, photo.traits.bits, photo.traits.gray) == (None, "PNG", 8, False)
    assert photo.traits.notes.comments == (b"Oma 1998",)


def test_a_gif_is_gray_or_clear_as_it_says() -> None:
    gray = Image.fromarray(PIXELS).convert("L")
    photo = read_photo(gif(gray))
    assert photo.traits.gray
    np.testing.assert_array_equal(photo.pixels[..., 0], np.asarray(gray))
    clear = read_photo(gif(transparency=PALETTED.getpixel((0, 0))))
    assert clear.alpha is not None
    np.testing.assert_array_equal(clear.alpha == 0, np.asarray(PALETTED) == PALETTED.getpixel((0, 0)))
    header = probe(gif())
    assert (header.format, header.width, header.height) == ("PNG", 40, 24)


@pytest.mark.parametrize("end", [10, 30, 400, -200])
def test_a_gif_that_is_cut_short_is_refused(end: int) -> None:
    with pytest.raises(InputError, match="is damaged or cut short"):
        read_photo(gif()[:end])


def test_a_gif_named_so_that_is_none_is_no_photo(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"nothing at all")
    with pytest.raises(InputError, match=r"a\.gif is no photo in a known format"):
        read_photo(tmp_path / "a.gif")


def test_a_webp_of_one_frame_is_a_photo() -> None:
    np.testing.assert_array_equal(read_photo(webp()).pixels, PIXELS)
    with pytest.raises(InputError, match="whose only frame covers a part of it"):
        read_photo(webp(width=50))
    with pytest.raises(InputError, match=r"the WebP is an animation \(=2 frames\)"):
        read_photo(webp(frames=2))


def test_an_avif_sequence_of_one_frame_is_a_photo() -> None:
    assert difference(read_photo(avif(1)).pixels, PIXELS) <= 8
    with pytest.raises(InputError, match=r"the AVIF is an animation \(=2 frames\)"):
        read_photo(avif(2))
