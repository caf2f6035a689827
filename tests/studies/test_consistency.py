"""Nearness to the LQ photo: a result that reduces to it, one that doesn't, and where the figures stand in a table."""

import numpy as np
import pytest

from sdsr.images.floats import image, quantize
from sdsr.images.resize import resample
from sdsr.metrics.protocol import PROTOCOLS
from sdsr.photos.photo import Photo
from sdsr.studies.consistency import CONSISTENCY, consistency, with_consistency


def test_a_result_is_compared_at_the_size_of_its_lq_photo(photo):
    result = quantize(photo, np.uint8)
    height, width = (side // 4 for side in result.shape[:2])
    lq = quantize(resample(image(Photo(pixels=result)), (height, width)), np.uint8)
    assert 57 < consistency(result, Photo(pixels=lq)) < 65  # rounded to 8 bits: 0.29 of 255 off, and less in Y
    flat = np.full_like(result, 77)
    assert consistency(flat, Photo(pixels=flat[:height, :width].copy())) == 80  # as tables have it
    brighter = np.clip(lq.astype(int) + 8, 0, 255).astype(np.uint8)
    assert consistency(result, Photo(pixels=brighter)) == pytest.approx(31.4, abs=1)  # 8 x 219/255 levels of Y


def test_photos_of_16_bits_count_as_their_8_bits(photo):
    result = quantize(photo, np.uint8)
    lq = quantize(resample(image(Photo(pixels=result)), (16, 24)), np.uint8)
    deep = Photo(pixels=lq.astype(np.uint16) * 257)
    assert consistency(result, deep) == pytest.approx(consistency(result, Photo(pixels=lq)), abs=0.01)


def test_the_measure_stands_behind_the_others():
    protocol = PROTOCOLS["rgb"]
    more = with_consistency(protocol)
    assert more.measures == (*protocol.measures, CONSISTENCY)
    assert more.description.startswith(protocol.description)
