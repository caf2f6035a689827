"""Limits of size: what is accepted unless asked, and how they are raised."""

from sdsr.photos.limits import DEFAULT_LIMITS, limits_of


def test_nothing_asked_is_the_default() -> None:
    assert limits_of(None) == DEFAULT_LIMITS


def test_a_larger_photo_may_be_a_larger_file() -> None:
    limits = limits_of(600.5, 2400)
    assert limits.max_input_pixels == 600_500_000
    assert limits.max_output_pixels == 2_400_000_000
    assert limits.max_file_bytes == 600_500_000 * 8, "four channels of 16 bits"
    assert limits_of(50).max_file_bytes == DEFAULT_LIMITS.max_file_bytes, "a smaller one may be as large as before"
