import io
import struct

import numpy as np
import pytest
from PIL import Image

from sdsr.photos.metadata import block_of, resized_exif, upright_exif, upright_metadata, upright_xmp

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


def odd_block(kind: int, values: int, packed: bytes, order: str = "<") -> bytes:
    """A block whose orientation (tag 0x0112) is of any type and number, before and after two tags that are sound."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, 3)
    far = len(packed) > 4
    place = struct.pack(order + "I", 50) if far else packed.ljust(4, b"\0")
    return (
        head
        + struct.pack(order + "HHI4s", 0x010F, 2, 4, b"Cam\0")
        + struct.pack(order + "HHI", 0x0112, kind, values)
        + place
        + struct.pack(order + "HHI4s", 0x013B, 2, 4, b"Ann\0")
        + bytes(4)
        + (packed if far else b"")
    )


ODD = [
    (3, 2, "2H", (6, 6)),
    (3, 4, "4H", (6, 0, 0, 0)),
    (4, 1, "I", (6,)),
    (1, 1, "B", (6,)),
    (1, 4, "4B", (6, 0, 0, 0)),
    (7, 1, "B", (6,)),
    (8, 1, "h", (6,)),
    (9, 1, "i", (6,)),
    (2, 2, "2s", (b"6\0",)),
    (5, 1, "2I", (6, 1)),
    (10, 1, "2i", (12, 2)),
    (11, 1, "f", (6.0,)),
    (12, 1, "d", (6.0,)),
]
SENSELESS = [
    (3, 1, "H", (9,)),
    (3, 1, "H", (0,)),
    (9, 1, "i", (-6,)),
    (5, 1, "2I", (6, 0)),
    (11, 1, "f", (float("nan"),)),
    (12, 1, "d", (float("inf"),)),
    (2, 4, "4s", (b"top\0",)),
    (3, 0, "H", (6,)),
    (99, 1, "H", (6,)),
    (3, 1 << 30, "H", (6,)),
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("odd", "expected"), [(odd, 6) for odd in ODD] + [(odd, 1) for odd in SENSELESS])
def test_one_odd_tag_keeps_the_rest(odd, expected, order):
    kind, values, pattern, numbers = odd
    block = odd_block(kind, values, struct.pack(order + pattern, *numbers), order)
    orientation, kept = upright_exif(block)
    assert orientation == expected
    exif = read(kept or b"")
    assert (exif[0x010F], exif[0x013B]) == ("Cam", "Ann")
    assert exif[0x0112] == 1
    assert upright_exif(kept)[0] == 1, "once turned, it stays so"


@pytest.mark.parametrize("left", [0, 1, 2])
def test_of_a_directory_cut_short_the_whole_entries_are_left(left, caplog):
    block = odd_block(3, 1, struct.pack("<H", 6))
    orientation, kept = upright_exif(block[: 10 + 12 * left + 5])
    assert orientation == (6 if left > 1 else 1)
    assert (kept is None) == (left == 0)
    if kept:
        assert dict(read(kept)) == {0x010F: "Cam", 0x0112: 1} if left > 1 else {0x010F: "Cam"}
    assert "cut" in caplog.text


def test_a_damaged_thumbnail_costs_nothing_else():
    whole = with_thumbnail(exif_block(), b"thumbnail" * 9)
    place = whole.rindex(struct.pack("<HHI", 0x0202, 4, 1))
    for change in (b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0"):
        for at in (place + 8, place - 4):
            _, kept = upright_exif(whole[:at] + change + whole[at + 4 :])
            assert read(kept or b"")[0x010F] == "Maker"


@pytest.mark.parametrize("tag", [0x9003, 0x829A, 0x927C, 0xA005])
def test_an_odd_tag_of_a_tiff_keeps_the_rest(tag, caplog):
    exif = Image.Exif()
    exif.load(exif_block())
    exif[0x8298] = object()
    exif.get_ifd(0x8769)[tag] = object()
    kept = read(block_of(exif) or b"")
    assert kept[0x010F] == "Maker"
    assert kept.get_ifd(0x8769)[0xA002] == 640
    assert kept.get_ifd(0x8825)[1] == "N"
    assert tag not in kept.get_ifd(0x8769)
    assert "is left out" in caplog.text


@pytest.mark.parametrize("odd", ODD)
def test_sizes_are_set_beside_odd_ones(odd):
    kind, values, pattern, numbers = odd
    _, block = upright_exif(exif_block())
    changed = bytearray(block or b"")
    place = changed.index(struct.pack("<HHI", 0xA002, 3, 1))
    if struct.calcsize("<" + pattern) <= 4:
        struct.pack_into("<HHI4s", changed, place, 0xA002, kind, values, struct.pack("<" + pattern, *numbers))
    directory = read(resized_exif(bytes(changed), 700, 500)).get_ifd(0x8769)
    assert (directory[0xA002], directory[0xA003]) == (700, 500)
