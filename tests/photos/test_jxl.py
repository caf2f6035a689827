"""JPEG XL in and out: depths, alpha, color, metadata and orientation; the heads of codestreams are written here."""

import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdsr.errors import InputError, LimitError
from sdsr.photos.boxes import box, boxes
from sdsr.photos.files import Limits, Photo, Traits, encode_photo, probe, read_photo
from sdsr.photos.jxl_header import Distribution, read_head
from sdsr.photos.reading import turned_upright
from tests.pictures import difference, smooth

CONTAINER = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf dc:rights="Ann"/></x:xmpmeta>'
SIDE: Distribution = ((1, 9), (1, 13), (1, 18), (1, 30))
LOSSY = 6


class Bits:
    """Writes what the reader reads: the lowest bit of each byte first."""

    def __init__(self) -> None:
        self.value, self.count = 0, 0

    def add(self, value: int, count: int) -> "Bits":
        self.value |= int(value) << self.count
        self.count += count
        return self

    def enum(self, value: int) -> "Bits":
        if value < 2:
            return self.add(value, 2)
        return self.add(2, 2).add(value - 2, 4) if value < 18 else self.add(3, 2).add(value - 18, 6)

    def side(self, value: int) -> "Bits":
        way = next(way for way in range(4) if value - 1 < 1 << SIDE[way][1])  # pyright: ignore[reportIndexIssue]
        return self.add(way, 2).add(value - 1, SIDE[way][1])  # pyright: ignore[reportIndexIssue]

    def encoded(self) -> bytes:
        return self.value.to_bytes(-(-self.count // 8), "little")


def codestream_of(data: bytes) -> bytes:
    if data[:2] == b"\xff\x0a":
        return data
    return next(data[start:end] for kind, start, end in boxes(data) if kind == b"jxlc")


def coded(samples: np.ndarray, **options) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(samples.squeeze(), **{"lossless": True} | options))


def told(color: tuple[int, int, int] | None = None, *, gamma: float | None = None, profile: bool = False) -> Bits:
    """Return the bits of a color encoding: white, primaries, transfer."""
    if color is None and not profile:
        return Bits().add(1, 1)
    bits = Bits().add(0, 1).add(profile, 1).enum(0)
    if color is not None:
        bits.enum(color[0]).enum(color[1])
        bits = bits.add(1, 1).add(round(gamma * 1e7), 24) if gamma else bits.add(0, 1).enum(color[2])
        bits.enum(1)
    return bits


def plain_head(codestream: bytes, height: int, width: int) -> bytes:
    """Return the head that the encoder gave a lossless codestream of 8-bit RGB."""
    for small in (True, False):
        for ratio in range(8):
            bits = Bits().add(0x0AFF, 16).add(small, 1)
            bits = bits.add(height // 8 - 1, 5) if small and height % 8 == 0 else bits.side(height)
            bits.add(ratio, 3)
            if ratio == 0:
                bits = bits.add(width // 8 - 1, 5) if small and width % 8 == 0 else bits.side(width)
            bits.add(0, 2).add(0, 3).add(1, 1).add(0, 2).add(0, 1).add(1, 1).add(0, 2).add(1, 1)
            if codestream.startswith(bits.encoded()):
                return bits.encoded()
    raise AssertionError("the encoder writes another head than this test takes off")


def with_head(
    samples: np.ndarray, color: Bits | None = None, *, orientation: int = 1, animated: bool = False, size=None
) -> bytes:
    """Return a lossless codestream of 8-bit RGB under another head."""
    height, width = size or samples.shape[:2]
    codestream = codestream_of(coded(samples))
    plain = plain_head(codestream, *samples.shape[:2])
    color, extra = color or told(), orientation != 1 or animated
    bits = Bits().add(0x0AFF, 16).add(0, 1).side(height).add(0, 3).side(width).add(0, 1).add(extra, 1)
    if extra:
        bits.add(orientation - 1, 3).add(0, 1).add(0, 1).add(animated, 1)
    bits.add(0, 3).add(1, 1).add(0, 2).add(0, 1).add(color.value, color.count)
    if extra:
        bits.add(1, 1)
    bits.add(0, 2).add(1, 1)
    return bits.encoded() + codestream[len(plain) :]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("lossless", [False, True])
def test_each_depth_comes_back_as_it_went(bits, channels, lossless):
    samples = smooth(33, 47, channels, np.uint8 if bits == 8 else np.uint16)
    color, deep = [0, 0, 0] if channels < 3 else [0, 1, 2], bits > 8
    photo = Photo(
        pixels=np.ascontiguousarray(samples[..., color]),
        alpha=np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None,
        traits=Traits(format="JXL", bits=bits, lossless=lossless, space="GRAY" if channels < 3 else "RGB"),
    )
    data = encode_photo(photo, "JXL")
    back = read_photo(data)
    assert (back.traits.bits, back.traits.gray, back.traits.lossless) == (16 if deep else 8, channels < 3, lossless)
    assert difference(back.pixels, photo.pixels) <= (0 if lossless else LOSSY * (257 if deep else 1))
    if photo.alpha is not None:
        assert back.alpha is not None
        np.testing.assert_array_equal(back.alpha, photo.alpha)
    shown = imagecodecs.jpegxl_decode(data)
    assert read_head(codestream_of(data)).color.transfer == 13, "any other reader takes it as sRGB"
    assert difference(shown.reshape(samples.shape), samples) <= (0 if lossless else LOSSY * (257 if deep else 1))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_each_depth_of_others_is_read_in_sRGB(bits):
    full = smooth(20, 30, 3, np.uint8 if bits == 8 else np.uint16)
    samples = full if bits in (8, 16) else full >> (16 - bits)
    data = coded(samples, bitspersample=None if bits in (8, 16) else bits)
    photo = read_photo(data)
    assert (photo.traits.bits, photo.traits.lossless) == (bits, True)
    if bits > 8:  # the encoder calls these linear
        light = full / 65535
        full = np.rint(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 65535)
    assert np.abs(photo.pixels - full.astype(float)).max() <= (1 if bits == 8 else 70)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_the_codestream_alone_says_it(orientation):
    samples = smooth(24, 40)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "Maker"
    data = CONTAINER + box(b"Exif", bytes(4) + exif.tobytes()[6:])
    data += box(b"jxlc", with_head(samples, orientation=orientation))
    photo, header = read_photo(data), probe(data)
    expected = turned_upright(samples, orientation)
    assert (header.height, header.width) == photo.size == expected.shape[:2]
    np.testing.assert_array_equal(photo.pixels, expected)
    back = read_photo(encode_photo(photo, "JXL"))
    np.testing.assert_array_equal(back.pixels, expected)


def test_metadata_stays_and_packed_metadata_is_unpacked():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    block, samples = exif.tobytes()[6:], smooth(20, 30)
    parts = CONTAINER + box(b"Exif", struct.pack(">I", 6), b"Exif\0\0", block)
    packed = box(b"brob", b"xml ", bytes(imagecodecs.brotli_encode(XMP)))
    photo = read_photo(parts + packed + box(b"jxlc", coded(samples)))
    assert (photo.traits.exif, photo.traits.xmp) == (block, XMP)
    for format in ("JXL", "AVIF", "PNG"):
        back = read_photo(encode_photo(photo, format))
        assert (back.traits.exif, back.traits.xmp) == (block, XMP)


def test_a_packed_bomb_in_the_metadata_is_left_out(caplog):
    bomb = box(b"brob", b"xml ", bytes(imagecodecs.brotli_encode(bytes(64 << 20))))
    assert read_photo(CONTAINER + bomb + box(b"jxlc", coded(smooth(20, 30)))).traits.xmp is None
    assert "can't be unpacked" in caplog.text


def test_a_codestream_in_parts_is_read():
    samples = smooth(20, 30)
    whole = codestream_of(coded(samples))
    parts = box(b"jxlp", struct.pack(">I", 0), whole[:40]) + box(b"jxlp", struct.pack(">I", 1 << 31 | 1), whole[40:])
    np.testing.assert_array_equal(read_photo(CONTAINER + parts).pixels, samples)


@pytest.mark.parametrize(
    ("color", "gamma", "expected"),
    [
        (None, None, (200, 60, 60)),
        ((1, 1, 13), None, (200, 60, 60)),
        ((1, 11, 13), None, (217, 44, 55)),  # Display P3
        ((1, 1, 8), None, (228, 133, 133)),  # linear light
        ((1, 1, 0), 1 / 2.2, (201, 57, 57)),
        ((1, 9, 1), None, (252, 11, 70)),  # BT.2020
    ],
)
def test_colors_in_numbers_are_shown_in_sRGB(color, gamma, expected):
    samples = np.full((16, 16, 3), (200, 60, 60), np.uint8)
    photo = read_photo(with_head(samples, told(color, gamma=gamma)))
    assert np.abs(photo.pixels[8, 8].astype(int) - expected).max() <= 3, photo.pixels[8, 8]
    assert photo.traits.icc is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (with_head(smooth(16, 16), told((1, 9, 16))), r"HDR \(=PQ\)"),
        (with_head(smooth(16, 16), told((1, 9, 18))), r"HDR \(=HLG\)"),
        (with_head(smooth(16, 16), told(profile=True)), "has an ICC profile, which can't be read yet; save it as PNG"),
        (with_head(smooth(16, 16), animated=True), r"is an animation \(=one frame or more\)"),
        (coded(smooth(16, 16).astype(np.float32) / 255), "samples in floating point"),
    ],
)
def test_what_is_no_photo_is_refused_in_words(data, says):
    for action in (probe, read_photo):
        with pytest.raises(InputError, match=says):
            action(data)


def test_limits_are_met_from_the_head():
    giant = with_head(smooth(16, 16), size=(60000, 60000))
    for action in (read_photo, probe):
        with pytest.raises(LimitError, match="60000x60000 \\(3600 MP\\), limit 200 MP"):
            action(giant)
    with pytest.raises(LimitError, match="allow it by --max-megapixels"):
        probe(coded(smooth(9, 9)), Limits(max_input_pixels=80))


def test_a_profile_that_has_no_place_is_named(caplog):
    traits = Traits(icc=imagecodecs.cms_profile("adobergb"))
    with caplog.at_level("INFO", logger="sdsr"):
        data = encode_photo(Photo(pixels=smooth(20, 30), traits=traits), "JXL", 100)
    assert "written without the photo's ICC profile, in sRGB" in caplog.text
    assert difference(read_photo(data).pixels, smooth(20, 30)) <= LOSSY


def test_quality_changes_the_size():
    noise = Photo(pixels=np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    sizes = [len(encode_photo(noise, "JXL", quality)) for quality in (1, 10, 29, 30, 60, 95, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 8


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_any_size_is_read_from_the_head(height, width, alpha):
    samples = np.zeros((height, width, 4 if alpha else 3), np.uint8)
    header = probe(bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=1)))
    assert (header.height, header.width, header.alpha) == (height, width, alpha)


@given(st.binary(max_size=64))
def test_any_bytes_after_the_mark_give_a_typed_error(rest):
    with pytest.raises(InputError) as caught:
        read_photo(b"\xff\x0a" + rest, Limits(max_input_pixels=1 << 16))
    assert "\n" not in str(caught.value)
