from itertools import combinations

import pytest
import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.tensors import Region

NOISE = CanvasNoise(seeds=(7, 8))
CANVAS = Region.whole(150, 200)


@pytest.mark.parametrize(
    "region",
    [
        Region(top=0, left=0, height=64, width=64),
        Region(top=63, left=63, height=2, width=2),
        Region(top=40, left=30, height=100, width=150),
        Region(top=149, left=199, height=1, width=1),
        Region(top=64, left=128, height=64, width=64),
    ],
)
def test_a_region_is_a_part_of_the_canvas(region):
    canvas = NOISE.at("start", 0, CANVAS, 4)
    assert torch.equal(NOISE.at("start", 0, region, 4), canvas[region.slices])


def test_a_photo_depends_on_its_own_seed_only():
    both = NOISE.at("start", 0, CANVAS, 4)
    assert both.shape == (2, 4, 150, 200)
    assert torch.equal(both[1:], CanvasNoise(seeds=(8,)).at("start", 0, CANVAS, 4))


def test_it_is_standard_normal():
    noise = CanvasNoise(seeds=(1,)).at("start", 0, Region.whole(256, 256), 4)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.var().item() == pytest.approx(1, abs=0.01)
    assert noise.pow(4).mean().item() == pytest.approx(3, abs=0.1)
    assert (noise.abs() < 1.959964).float().mean().item() == pytest.approx(0.95, abs=0.003)


def test_cells_steps_purposes_and_seeds_are_independent():
    block = Region.whole(64, 64)
    draws = [
        CanvasNoise(seeds=(1,)).at("start", 0, block, 4),
        CanvasNoise(seeds=(2,)).at("start", 0, block, 4),
        CanvasNoise(seeds=(1,)).at("step", 0, block, 4),
        CanvasNoise(seeds=(1,)).at("start", 1, block, 4),
        CanvasNoise(seeds=(1,)).at("start", 0, Region(top=64, left=0, height=64, width=64), 4),
        CanvasNoise(seeds=(1,)).at("start", 0, Region(top=0, left=64, height=64, width=64), 4),
    ]
    for first, second in combinations(draws, 2):
        assert (first * second).mean().abs().item() < 5 / first.numel() ** 0.5


def test_neighbors_are_independent_across_blocks():
    noise = CanvasNoise(seeds=(1,)).at("start", 0, Region.whole(512, 512), 4)
    for dim in (-1, -2):
        shifted = noise.roll(1, dim)
        assert (noise * shifted).mean().abs().item() < 5 / noise.numel() ** 0.5


def test_it_is_the_same_next_year():
    first = CanvasNoise(seeds=(0,)).at("start", 0, Region.whole(1, 4), 1).flatten().tolist()
    assert first == pytest.approx([-0.9957975, 0.5043637, 0.6012817, 0.0360791], abs=1e-6)


@pytest.mark.parametrize(("height", "width", "channels"), [(0, 4, 4), (4, -1, 4), (4, 4, 0)])
def test_empty_noise_is_an_error(height, width, channels):
    with pytest.raises(InputError, match="at least 1"):
        NOISE.at("start", 0, Region(top=0, left=0, height=height, width=width), channels)


def test_seeds_come_from_generators():
    def generator(seed):
        return torch.Generator().manual_seed(seed)

    one = CanvasNoise.from_generator(generator(0), photos=3)
    assert len(set(one.seeds)) == 3
    assert one == CanvasNoise.from_generator(generator(0), photos=3)
    each = CanvasNoise.from_generator([generator(0), generator(1)], photos=2)
    assert each.seeds[0] == one.seeds[0]
    with pytest.raises(InputError, match="one for each photo"):
        CanvasNoise.from_generator([generator(0)], photos=2)
