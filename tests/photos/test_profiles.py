import struct

import imagecodecs
import numpy as np
import pytest

from sdsr.photos.profiles import from_srgb, neutral, to_srgb, usable

ADOBE = imagecodecs.cms_profile("adobergb")
GRAY = imagecodecs.cms_profile("gray", gamma=1.8)
SRGB = imagecodecs.cms_profile("srgb")


def test_adobe_rgb_follows_its_published_formula():
    """Adobe RGB (1998) 4.3.5.2 and 4.3.4: gamma 563/256, primaries; sRGB: IEC 61966-2-1. Both D65, so no adaptation."""
    to_xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    from_xyz = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560],
                         [0.0556434, -0.2040259, 1.0572252]])  # fmt: skip
    adobe = np.array([[[0.5, 0.5, 0.5], [0.6, 0.5, 0.4], [0.3, 0.4, 0.5], [0.8, 0.7, 0.75]]])
    linear = (adobe ** (563 / 256)) @ to_xyz.T @ from_xyz.T
    expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    turned = to_srgb(np.rint(adobe * 65535).astype(np.uint16), ADOBE, "RGB") / 65535
    np.testing.assert_allclose(turned, expected, atol=1e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint8, 2), (np.uint16, 16)])
def test_wide_profile_returns_where_srgb_can_follow(dtype, tolerance):
    top = np.iinfo(dtype).max
    inside = np.random.default_rng(0).integers(top // 5, top, (40, 40, 3)).astype(dtype)
    photo = from_srgb(inside, ADOBE, "RGB")
    back = from_srgb(to_srgb(photo, ADOBE, "RGB"), ADOBE, "RGB")
    assert np.abs(back.astype(int) - photo).max() <= tolerance
    assert np.abs(to_srgb(photo, ADOBE, "RGB").astype(int) - photo).max() > top // 50, "the profile must do something"


def test_srgb_profile_touches_nothing():
    photo = np.random.default_rng(0).integers(0, 65536, (9, 9, 3)).astype(np.uint16)
    assert to_srgb(photo, SRGB, "RGB") is photo


@pytest.mark.parametrize("icc", [None, GRAY])
def test_gray_returns_gray(icc):
    levels = np.arange(0, 65536, 7, dtype=np.uint16)[None, :, None]
    color = to_srgb(levels, icc, "GRAY")
    assert color.shape == (1, levels.size, 3)
    assert np.abs(from_srgb(color, icc, "GRAY").astype(int) - levels).max() <= (80 if icc else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_neutral_keeps_every_gray(dtype):
    ramp = np.repeat(np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(neutral(ramp), ramp)
    assert neutral(np.array([[[255, 0, 0]]], np.uint8)).tolist() == [[[76, 76, 76]]]


def test_plain_cmyk_formula():
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    expected = [[[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0], [127, 127, 127]]]
    assert to_srgb(inks, None, "CMYK").tolist() == expected


def test_cmyk_profile_leads_there_and_back(cmyk_profile):
    inks = np.random.default_rng(0).integers(60, 190, (30, 30, 4)).astype(np.uint8)
    color = to_srgb(inks, cmyk_profile, "CMYK")
    assert np.abs(color.astype(int) - to_srgb(inks, None, "CMYK")).max() <= 8, "the profile is one of plain inks"
    back = from_srgb(color, cmyk_profile, "CMYK")
    assert back.shape == inks.shape
    assert np.abs(to_srgb(back, cmyk_profile, "CMYK").astype(int) - color).max() <= 8


@pytest.mark.parametrize("icc", [b"", b"junk" * 50, ADOBE[:300], ADOBE[:128] + bytes(len(ADOBE) - 128), GRAY])
def test_broken_or_alien_profile_is_unusable(icc):
    assert not usable(icc, "RGB")


def test_usable_profiles(cmyk_profile):
    for icc, space in ((ADOBE, "RGB"), (GRAY, "GRAY"), (cmyk_profile, "CMYK")):
        assert usable(icc, space)
        assert usable(icc, space, backwards=True)


def test_a_damaged_table_never_raises():
    rng = np.random.default_rng(0)
    for _ in range(200):
        icc = bytearray(ADOBE)
        struct.pack_into("<I", icc, int(rng.integers(128, len(icc) - 4)), int(rng.integers(2**32)))
        usable(bytes(icc), "RGB")
