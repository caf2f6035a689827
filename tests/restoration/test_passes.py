"""Passes: turning is undone, equal passes agree, the spread is where they don't."""

from dataclasses import replace

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.restoration.passes import MOST_PASSES, run_passes, swaps, turned, turned_back, turned_region


@pytest.fixture
def small() -> Photo:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Photo(pixels=pixels, alpha=rng.integers(0, 256, (6, 9), dtype=np.uint8))


def doubled(photo: Photo) -> Photo:
    pixels = photo.pixels.repeat(2, 0).repeat(2, 1)
    return Photo(pixels=pixels, alpha=None if photo.alpha is None else photo.alpha.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("number", range(MOST_PASSES))
def test_turning_is_undone(small, number):
    again = turned_back(turned(small, number), number)
    assert np.array_equal(again.pixels, small.pixels)
    assert np.array_equal(again.alpha, small.alpha)
    assert (turned(small, number).size == small.size) != swaps(number)


@pytest.mark.parametrize("number", range(MOST_PASSES))
def test_a_region_is_turned_with_its_picture(small, number):
    region = Region(top=1, left=2, height=4, width=3)
    place = turned_region(region, number, small.size)
    cut = Photo(pixels=small.pixels[region.rows, region.columns])
    assert np.array_equal(turned(cut, number).pixels, turned(small, number).pixels[place.rows, place.columns])


def test_all_turns_differ(small):
    assert len({turned(small, number).pixels.tobytes() for number in range(MOST_PASSES)}) == MOST_PASSES


@pytest.mark.parametrize("count", [2, 5, 8])
def test_a_restorer_that_knows_no_direction_agrees_with_itself(small, count):
    found = run_passes(small, lambda photo, number, swapped: doubled(photo), count)
    assert found.spread.shape == (12, 18)
    assert found.spread.max() < 1e-6
    assert np.array_equal(found.mean.pixels, doubled(small).pixels)


def test_the_spread_is_where_passes_disagree(small):
    def restore(photo: Photo, number: int, swapped: bool) -> Photo:
        result = doubled(photo)
        pixels = result.pixels // 2
        pixels[-4:] += np.uint8(40 * (number % 2))  # the lower rows, and passes 0 and 1 see them below
        return replace(result, pixels=pixels)

    found = run_passes(small, restore, 2)
    assert found.spread[:8].max() < 1e-6
    assert found.spread[8:].min() == pytest.approx(20 / 255, abs=1e-3)
    assert np.array_equal(found.mean.pixels[8:], found.first.pixels[8:] + 20)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_other_counts_are_refused(small, count):
    with pytest.raises(InputError, match=rf"passes \(={count}\) must be in 2 ... 8"):
        run_passes(small, lambda photo, number, swapped: photo, count)
