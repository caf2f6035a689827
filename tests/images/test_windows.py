from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from sdsr.errors import InputError
from sdsr.images.windows import blend, cover
from sdsr.tensors import Region
from tests.published_windows import gaussian_weight, published_weight

GOLDEN = load_file(Path(__file__).parents[1] / "golden/color_fix/io.safetensors")
CANVAS = {"height": st.integers(1, 90), "width": st.integers(1, 90)}
GRID = st.integers(12, 64).flatmap(
    lambda window: st.fixed_dictionaries({**CANVAS, "window": st.just(window), "overlap": st.integers(0, window // 2)})
)


def counted(size, windows):
    counts = torch.zeros(size, dtype=torch.int64)
    for region in windows:
        counts[region.slices] += 1
    return counts


@pytest.mark.parametrize(("height", "width"), [(100, 150), (64, 64), (96, 64)])
def test_the_published_grid(height, width):
    published = GOLDEN[f"tile_offsets_yx_h{height}_w{width}"].int().tolist()
    windows = cover(height, width, window=64, overlap=32)
    assert [[region.top, region.left] for region in windows] == sorted(published)


@settings(max_examples=60, deadline=None)
@given(GRID)
def test_every_cell_is_covered_from_within(grid):
    size, windows = (grid["height"], grid["width"]), cover(**grid)
    assert counted(size, windows).min() >= 1
    for region in windows:
        assert region == region.expand(0, within=size)
        assert min(region.top, region.left) >= 0
    assert len(set(windows)) == len(windows)


def test_the_count_is_minimal_and_the_last_ends_at_the_border():
    assert len(cover(64, 64, window=64, overlap=32)) == 1
    assert len(cover(64, 65, window=64, overlap=32)) == 2
    assert len(cover(64, 96, window=64, overlap=32)) == 2
    assert len(cover(64, 97, window=64, overlap=32)) == 3
    assert cover(64, 97, window=64, overlap=32)[-1].right == 97


def test_a_canvas_smaller_than_a_window_is_one_window():
    assert cover(5, 9, window=64, overlap=32) == (Region.whole(5, 9),)


@pytest.mark.parametrize("overlap", [-1, 64, 100])
def test_an_impossible_overlap_is_an_error(overlap):
    with pytest.raises(InputError, match="try 32"):
        cover(100, 100, window=64, overlap=overlap)


def test_an_empty_canvas_is_an_error():
    with pytest.raises(InputError, match="0 x 5"):
        cover(0, 5, window=64, overlap=32)


@pytest.mark.parametrize(("name", "size"), [("64x64", (64, 64)), ("width48_height32", (32, 48))])
def test_the_published_weights(name, size):
    expected = GOLDEN[f"tile_weights_{name}"].numpy()
    np.testing.assert_allclose(gaussian_weight(*size, published=True), expected, rtol=1e-6, atol=0)


def test_our_weights_are_symmetric():
    weight = gaussian_weight(33, 48)
    np.testing.assert_allclose(weight, weight[::-1, ::-1], rtol=1e-5)
    assert weight.argmax().item() // 48 == 16
    published = gaussian_weight(32, 48, published=True)
    assert not np.allclose(published, published[::-1], rtol=1e-3)


def test_the_published_stitching():
    windows = sorted(cover(100, 150, window=64, overlap=32), key=lambda region: (region.left, region.top))
    values = ((region, torch.full((1, 1, 64, 64), float(index))) for index, region in enumerate(windows))
    result = blend(values, (100, 150), weight=published_weight)
    torch.testing.assert_close(result[0, 0], GOLDEN["stitched_tile_index_h100_w150"], rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(GRID, st.floats(-10, 10, width=32))
def test_a_constant_stays_constant(grid, constant):
    size, windows = (grid["height"], grid["width"]), cover(**grid)
    values = [(region, torch.full((1, 2, region.height, region.width), constant)) for region in windows]
    torch.testing.assert_close(blend(values, size), torch.full((1, 2, *size), constant), rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(GRID, st.randoms(use_true_random=False))
def test_crops_of_a_canvas_give_it_back_in_any_order(grid, random):
    size, windows = (grid["height"], grid["width"]), cover(**grid)
    canvas = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    shuffled = random.sample(windows, len(windows))
    for order in (windows, shuffled):
        result = blend(((region, canvas[region.slices]) for region in order), size)
        torch.testing.assert_close(result, canvas, rtol=0, atol=1e-6)


def test_order_does_not_matter_where_windows_disagree():
    windows = cover(50, 70, window=32, overlap=16)
    rng = torch.Generator().manual_seed(0)
    values = [(region, torch.rand(1, 3, 32, 32, generator=rng)) for region in windows]
    torch.testing.assert_close(blend(values, (50, 70)), blend(values[::-1], (50, 70)), rtol=0, atol=1e-6)


def test_half_precision_is_summed_in_full():
    windows = cover(50, 70, window=32, overlap=24)
    values = [(region, torch.full((1, 3, 32, 32), 0.1, dtype=torch.bfloat16)) for region in windows]
    result = blend(values, (50, 70))
    assert torch.equal(result, torch.full((1, 3, 50, 70), 0.1, dtype=torch.bfloat16))


def test_a_region_of_a_latent_is_one_of_its_image():
    region = Region(top=3, left=5, height=7, width=9)
    image = torch.arange(20 * 20).view(20, 20).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal(image[region.scaled(8).slices][::8, ::8], torch.arange(20 * 20).view(20, 20)[region.slices])


def test_a_gap_is_noticed():
    with pytest.raises(AssertionError, match="uncovered"):
        blend([(Region.whole(4, 4), torch.ones(1, 1, 4, 4))], (4, 5))


def test_one_window_fades_into_the_next_across_the_overlap():
    windows = cover(40, 70, window=40, overlap=10)
    faded = blend(((w, torch.full((1, 1, 40, 40), float(i))) for i, w in enumerate(windows)), (40, 70))[0, 0]
    near, far = torch.arange(1, 11).square(), torch.arange(10, 0, -1).square()
    torch.testing.assert_close(faded[5, 30:40], near / (near + far))
    assert (faded[:, :30] == 0).all()
    assert (faded[:, 40:] == 1).all()
    torch.testing.assert_close(faded[3], faded[37])
