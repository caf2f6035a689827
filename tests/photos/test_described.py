"""Colors that PNG chunks describe are those that the formulas of the specifications give."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdsr.errors import InputError
from sdsr.images.arrays import as_photo
from sdsr.photos.files import encode_photo, read_photo
from tests.pictures import chunk

D65 = (0.3127, 0.3290)
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
TRANSFERS = {
    1: lambda v: np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45)),
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    7: lambda v: np.where(v < 0.0912, v / 4, ((v + 0.1115) / 1.1115) ** (1 / 0.45)),
    8: lambda v: v,
    13: lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4),
}
TOLERANCE = 2e-3  # of full range: half a level of 8 bits


def colors(dtype=np.uint16) -> np.ndarray:
    """Colors of little saturation, which every space here holds."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.15, 0.95, (12, 16, 1)) + rng.uniform(-0.05, 0.05, (12, 16, 3))
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def png(samples: np.ndarray, *chunks: bytes) -> bytes:
    data = bytes(imagecodecs.png_encode(samples))
    return data[:33] + b"".join(chunks) + data[33:]


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(primaries, white=D65) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for pair in (white, *primaries) for v in pair)))


def cicp(*points: int) -> bytes:
    return chunk(b"cICP", bytes(points))


def to_xyz(primaries, white=D65) -> np.ndarray:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    x, y = white
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def expected(values: np.ndarray, curve, primaries) -> np.ndarray:
    linear = curve(values) @ (np.linalg.inv(to_xyz(PRIMARIES[1])) @ to_xyz(primaries)).T
    return np.where(linear > 0.0031308, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055, 12.92 * linear).clip(0, 1)


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("primaries", PRIMARIES)
def test_code_points_follow_their_formulas(primaries, transfer):
    samples = colors()
    photo = read_photo(png(samples, cicp(primaries, transfer, 0, 1), gama(1.0)))  # gAMA doesn't count beside cICP
    right = expected(samples / 65535, TRANSFERS[transfer], PRIMARIES[primaries])
    np.testing.assert_allclose(photo.pixels / 65535, right, atol=TOLERANCE)
    assert (photo.traits.icc, photo.traits.bits) == (None, 16)


@given(gamma=st.floats(0.2, 1.5), primaries=st.sampled_from([None, *PRIMARIES]), eight=st.booleans())
def test_gamma_and_chromaticities_follow_their_formulas(gamma, primaries, eight):
    samples = colors(np.uint8 if eight else np.uint16)
    gamma = round(gamma, 5)
    data = png(samples, gama(gamma), *([chrm(PRIMARIES[primaries])] if primaries else []))
    photo = read_photo(data)
    top = np.iinfo(samples.dtype).max
    near = abs(gamma / 0.45455 - 1) < 0.05 and primaries in (None, 1)
    curve = TRANSFERS[13] if near else lambda v: v ** (1 / gamma)
    right = expected(samples / top, curve, PRIMARIES[primaries or 1])
    np.testing.assert_allclose(photo.pixels / top, right, atol=2.2 / 255 if eight else TOLERANCE)
    if near:
        np.testing.assert_array_equal(photo.pixels, samples)
    if eight:
        loaded = Image.open(io.BytesIO(data))
        loaded.load()
        np.testing.assert_array_equal(as_photo(loaded).pixels, photo.pixels)
    again = read_photo(encode_photo(photo, "PNG"))
    np.testing.assert_array_equal(again.pixels, photo.pixels)


@pytest.mark.parametrize("extra", [gama(1.0), cicp(1, 8, 0, 1), cicp(9, 8, 0, 1)])
def test_gray_and_alpha(extra):
    gray = colors()[..., :2].copy()
    photo = read_photo(png(gray, extra))
    linear = gray[..., 0] / 65535
    right = 1.055 * linear ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(photo.pixels[..., 1] / 65535, right, atol=TOLERANCE)
    np.testing.assert_array_equal(photo.alpha, gray[..., 1])
    assert photo.traits.gray


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk(b"sRGB", b"\0"), gama(1.0), chrm(PRIMARIES[9])),
        (chunk(b"sRGB", b"\1"), gama(0.45455), chrm(PRIMARIES[1])),
        (gama(0.45455), chrm(PRIMARIES[1])),
        (gama(0.45),),
        (chrm(PRIMARIES[1]),),
        (cicp(1, 13, 0, 1), gama(1.0)),
        (cicp(2, 2, 0, 1),),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_srgb_is_left_untouched(chunks, dtype):
    np.testing.assert_array_equal(read_photo(png(colors(dtype), *chunks)).pixels, colors(dtype))


def test_a_profile_counts_before_gamma_and_after_code_points():
    adobe = chunk(b"iCCP", b"a\0\0" + zlib.compress(imagecodecs.cms_profile("adobergb")))
    by_profile = read_photo(png(colors(), adobe)).pixels
    np.testing.assert_array_equal(read_photo(png(colors(), adobe, gama(1.0))).pixels, by_profile)
    np.testing.assert_array_equal(read_photo(png(colors(), cicp(2, 2, 0, 1), adobe)).pixels, by_profile)
    by_points = read_photo(png(colors(), cicp(12, 13, 0, 1))).pixels
    np.testing.assert_array_equal(read_photo(png(colors(), cicp(12, 13, 0, 1), adobe)).pixels, by_points)
    broken = chunk(b"iCCP", b"a\0\0" + zlib.compress(b"junk" * 99))
    by_gamma = read_photo(png(colors(), gama(1.0))).pixels
    np.testing.assert_array_equal(read_photo(png(colors(), broken, gama(1.0))).pixels, by_gamma)


@pytest.mark.parametrize("white", [(0.310, 0.316), (0.314, 0.351), (0.3457, 0.3585)])
def test_white_of_another_light_stays_white(white):
    samples = np.full((4, 4, 3), 65535, np.uint16)
    photo = read_photo(png(samples, gama(0.5), chrm(PRIMARIES[12], white)))
    assert photo.pixels.min() > 65535 * 0.997


@pytest.mark.parametrize(
    ("points", "says"),
    [((9, 16, 0, 1), r"HDR \(=PQ\)"), ((9, 18, 0, 1), r"HDR \(=HLG\)"), ((1, 13, 0, 0), "narrow range")],
)
def test_high_dynamic_range_and_video_levels_are_refused_in_words(points, says):
    for picture in (png(colors(), cicp(*points)), png(colors(np.uint8), cicp(*points))):
        with pytest.raises(InputError, match=says):
            read_photo(picture)
        with pytest.raises(InputError, match=says):
            as_photo(Image.open(io.BytesIO(picture)))


@pytest.mark.parametrize(
    "senseless",
    [
        gama(0.0),
        chunk(b"gAMA", b""),
        chunk(b"gAMA", b"\xff" * 4),
        chrm(((0, 0), (0, 0), (0, 0))),
        chrm(((0.3, 0.3), (0.3, 0.3), (0.3, 0.3))),
        chrm(((0.64, 0.33), (0.3, 0.6), (0.47, 0.465))),
        chrm(PRIMARIES[1], (0.9, 0.05)),
        chunk(b"cHRM", b"\0" * 31),
        chunk(b"cHRM", b"\xff" * 32),
        cicp(99, 13, 0, 1),
        cicp(1, 99, 0, 1),
        cicp(1, 13, 9, 1),
        chunk(b"cICP", b"\1"),
    ],
)
def test_numbers_that_describe_no_color_are_left_out_with_a_warning(senseless, caplog):
    np.testing.assert_array_equal(read_photo(png(colors(), senseless)).pixels, colors())
    assert "is left out" in caplog.text
