import pytest
import torch

from sdsr.images.resize import resample
from sdsr.restoration.photograph import LEAST_MULTIPLES, Photograph
from sdsr.tensors import Region


def test_the_canvas_is_the_result_grown_to_multiples(given):
    canvas = Photograph.of(given, (108, 152), 16).region
    assert canvas == Region(top=0, left=0, height=112, width=160)
    assert Photograph.of(given, (64, 96), 16).region == Region.whole(64, 96)


def test_a_tiny_canvas_has_room_for_the_coarsest_maps(given):
    assert Photograph.of(given, (1, 70), 16).region == Region.whole(16 * LEAST_MULTIPLES, 80)


def test_the_whole_is_the_enlarged_photo_with_its_last_row_and_column_repeated(given):
    whole = Photograph.of(given, (108, 152), 16).enlarged()
    assert whole.shape == (1, 3, 112, 160)
    torch.testing.assert_close(whole[..., :108, :152], resample(given, (108, 152)).clamp(0, 1))
    assert torch.equal(whole[..., 108:, :152], whole[..., 107:108, :152].expand(-1, -1, 4, -1))
    assert torch.equal(whole[..., 152:], whole[..., 151:152].expand(-1, -1, -1, 8))
    assert whole.amin() >= 0
    assert whole.amax() <= 1


@pytest.mark.parametrize(
    ("top", "left", "height", "width"),
    [(0, 0, 16, 16), (16, 48, 32, 80), (96, 144, 16, 16), (80, 0, 32, 160), (109, 150, 3, 10)],
)
def test_a_part_is_the_crop_of_the_whole_wherever_it_lies(given, top, left, height, width):
    photograph = Photograph.of(given, (108, 152), 16)
    region = Region(top=top, left=left, height=height, width=width)
    torch.testing.assert_close(photograph.part(region).enlarged(), photograph.enlarged()[region.slices])


def test_a_part_of_a_part_is_relative_to_it(given):
    photograph = Photograph.of(given, (108, 152), 16)
    outer, inner = Region(top=16, left=32, height=64, width=64), Region(top=8, left=4, height=16, width=16)
    nested = photograph.part(outer).part(inner)
    assert nested.region == Region(top=24, left=36, height=16, width=16)
    torch.testing.assert_close(nested.enlarged(), photograph.part(outer).enlarged()[inner.slices])
