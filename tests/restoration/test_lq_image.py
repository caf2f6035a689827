import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sdsr.images.resize import resample
from sdsr.restoration.canvas import LEAST_MULTIPLES
from sdsr.restoration.lq_image import LqImage, mirrored
from sdsr.tensors import Region


def test_the_canvas_is_the_result_grown_to_multiples(given):
    canvas = LqImage.of(given, (108, 152), 16).region
    assert canvas == Region(top=0, left=0, height=112, width=160)
    assert LqImage.of(given, (64, 96), 16).region == Region.whole(64, 96)


def test_a_tiny_canvas_has_room_for_the_coarsest_maps(given):
    assert LqImage.of(given, (1, 70), 16).region == Region.whole(16 * LEAST_MULTIPLES, 80)


def test_the_whole_is_the_enlarged_photo_mirrored_beyond_its_last_row_and_column(given):
    whole = LqImage.of(given, (108, 152), 16).enlarged()
    assert whole.shape == (1, 3, 112, 160)
    torch.testing.assert_close(whole[..., :108, :152], resample(given, (108, 152)).clamp(0, 1))
    assert torch.equal(whole, F.pad(whole[..., :108, :152], (0, 8, 0, 4), mode="reflect"))
    assert whole.amin() >= 0
    assert whole.amax() <= 1


@pytest.mark.parametrize(
    ("top", "left", "height", "width"),
    [(0, 0, 16, 16), (16, 48, 32, 80), (96, 144, 16, 16), (80, 0, 32, 160), (109, 150, 3, 10)],
)
def test_a_part_is_the_crop_of_the_whole_wherever_it_lies(given, top, left, height, width):
    lq_image = LqImage.of(given, (108, 152), 16)
    region = Region(top=top, left=left, height=height, width=width)
    torch.testing.assert_close(lq_image.part(region).enlarged(), lq_image.enlarged()[region.slices])


def test_a_part_of_a_part_is_relative_to_it(given):
    lq_image = LqImage.of(given, (108, 152), 16)
    outer, inner = Region(top=16, left=32, height=64, width=64), Region(top=8, left=4, height=16, width=16)
    nested = lq_image.part(outer).part(inner)
    assert nested.region == Region(top=24, left=36, height=16, width=16)
    torch.testing.assert_close(nested.enlarged(), lq_image.part(outer).enlarged()[inner.slices])


@pytest.mark.parametrize("length", [2, 3, 30, 128])
def test_lines_are_mirrored_again_and_again(length):
    """As padding that reflects all lines but one does, repeated until there are enough."""
    line, before = torch.arange(float(length)).view(1, 1, length), 0
    while line.shape[-1] < 400:
        more = line.shape[-1] - 1
        line, before = F.pad(line, (more, more), mode="reflect"), before + more
    assert mirrored(slice(-before, line.shape[-1] - before), length).tolist() == line.flatten().tolist()


def test_a_single_line_is_repeated():
    assert not mirrored(slice(-50, 70), 1).any()


def test_what_is_mirrored_lies_in_memory_as_it_is_counted():
    """Else what computes on it copies all of it once more."""
    image = LqImage.of(np.zeros((1, 3, 9, 12), np.float32), (108, 152), 16).enlarged()
    assert isinstance(image, np.ndarray)
    assert image.shape[-2:] == (112, 160)
    assert image.flags.c_contiguous
