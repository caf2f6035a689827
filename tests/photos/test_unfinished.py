"""A JPEG that lacks nothing but its end marker is read; one that lacks more is refused."""

import io
import logging
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdsr.errors import InputError
from sdsr.photos.files import read_photo

KINDS: dict[str, dict] = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
    "best": {"quality": 100},
    "worst": {"quality": 5},
}
MODES = ("RGB", "L", "CMYK")


def jpeg(size: tuple[int, int], mode: str, seed: int, **options) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (37, 23), (64, 40)])
def test_without_its_end_marker_the_picture_is_the_same(kind, mode, size, caplog):
    whole = jpeg(size, mode, 1, **KINDS[kind])
    expected = read_photo(whole).pixels
    assert not caplog.records
    for tail in (b"", b"\xff", b"\0" * 512):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="sdsr"):
            np.testing.assert_array_equal(read_photo(whole[:-2] + tail).pixels, expected)
        assert "lacks its end marker and nothing else" in caplog.text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere_it_is_refused_or_the_same_picture(kind, mode):
    whole = jpeg((48, 40), mode, 2, **KINDS[kind])
    expected, read = read_photo(whole).pixels.astype(int), 0
    for size in range(len(whole) - 1, 2, -7):
        try:
            pixels = read_photo(whole[:size]).pixels
        except InputError:
            continue
        read += 1
        assert np.abs(pixels - expected).max() <= 1, f"{size} of {len(whole)} bytes give another picture"
    assert read <= 2


def test_a_progressive_file_that_ends_after_a_whole_scan_is_refused():
    whole = jpeg((48, 40), "RGB", 3, progressive=True)
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    tables = [whole.rfind(b"\xff\xc4", 0, at) for at in scans[1:]]
    for end in {*scans[1:], *tables}:
        with pytest.raises(InputError, match="damaged or cut short"):
            read_photo(whole[:end])


def test_a_cut_file_that_was_filled_with_zeros_is_refused():
    whole = jpeg((64, 64), "RGB", 4, quality=95)
    for percent in (60, 80, 95):
        with pytest.raises(InputError, match="damaged or cut short"):
            read_photo(whole[: len(whole) * percent // 100].ljust(len(whole) - 2, b"\0"))


@given(st.binary(max_size=64), st.integers(2, 400), st.sampled_from(sorted(KINDS)))
def test_any_rest_gives_a_photo_or_a_typed_error(rest, keep, kind):
    data = jpeg((24, 24), "RGB", 5, **KINDS[kind])
    with suppress(InputError):
        assert read_photo(data[:-keep] + rest).size == (24, 24)
