import io
import struct

import numpy as np
import pytest
from PIL import Image

from sdsr.images.metadata import resized_exif, upright_exif, upright_metadata, upright_xmp

MAKER, DATE = b"maker note with offsets of its own", "2021:03:04 05:06:07"


def exif_block(orientation: int = 6, endian: str = "<") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x0112], exif[0x010F], exif[0x0132] = orientation, "Maker", DATE
    exif.get_ifd(0x8769).update({0xA002: 640, 0xA003: 480, 0x927C: MAKER})
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 12.5)})
    return exif.tobytes()


def with_thumbnail(block: bytes, thumbnail: bytes) -> bytes:
    """Append a thumbnail directory, as cameras do."""
    block = bytearray(block.removeprefix(b"Exif\0\0"))
    (count,) = struct.unpack_from("<H", block, 8)
    start = len(block)
    struct.pack_into("<I", block, 10 + 12 * count, start)
    size = 2 + 24 + 4
    block += struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, start + size, 0x0202, 4, 1, len(thumbnail), 0)
    return bytes(block) + thumbnail


def read(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(block)
    return exif


@pytest.mark.parametrize("endian", ["<", ">"])
def test_orientation_is_read_and_reset_and_the_rest_kept(endian):
    orientation, block = upright_exif(exif_block(8, endian))
    exif = read(block)
    assert orientation == 8
    assert (exif[0x0112], exif[0x010F], exif[0x0132]) == (1, "Maker", DATE)
    assert exif.get_ifd(0x8769)[0x927C] == MAKER
    assert exif.get_ifd(0x8825)[2] == (51.0, 30.0, 12.5)


def test_thumbnail_is_gone():
    secret = b"\xff\xd8" + b"face of somebody cropped away" * 9
    _, block = upright_exif(with_thumbnail(exif_block(), secret))
    assert b"somebody" not in block
    assert read(block)[0x010F] == "Maker"
    assert not read(block).get_ifd(1)


def test_sizes_follow_the_photo():
    _, block = upright_exif(exif_block())
    directory = read(resized_exif(block, 70000, 1920)).get_ifd(0x8769)
    assert (directory[0xA002], directory[0xA003]) == (70000, 1920)


@pytest.mark.parametrize("quote", ['="6"', "='6'", ">6<"])
def test_orientation_in_xmp_is_reset(quote):
    orientation, packet = upright_xmp(b"<x tiff:Orientation" + quote.encode() + b" dc:title='6'/>")
    assert orientation == 6
    assert packet == b"<x tiff:Orientation" + quote.replace("6", "1").encode() + b" dc:title='6'/>"


def test_exif_speaks_before_xmp():
    xmp = b'<x tiff:Orientation="3"/>'
    assert upright_metadata(exif_block(6), xmp)[0] == 6
    assert upright_metadata(None, xmp)[0] == 3
    assert upright_metadata(None, None) == (1, None, None)


def test_no_broken_block_raises():
    rng, whole = np.random.default_rng(0), bytearray(with_thumbnail(exif_block(), b"thumbnail"))
    for length in range(0, len(whole), 3):
        upright_exif(bytes(whole[:length]))
    for _ in range(300):
        block = bytearray(whole)
        for position in rng.integers(0, len(block), 4):
            block[position] = rng.integers(256)
        _, kept = upright_exif(bytes(block))
        if kept:
            resized_exif(kept, 10, 10)


def test_block_survives_a_jpeg_of_another_program():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\0\0" + upright_exif(exif_block())[1])
    with Image.open(file) as image:
        assert image.getexif().get_ifd(0x8769)[0x927C] == MAKER
