"""Canvases seen from outside: borders of flat photos, results that are made larger, windows of the prior's own size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sdsr.adapters.hybrid_attention import PositionTable
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.images.floats import quantize
from sdsr.images.resize import resample
from sdsr.methods import METHODS
from sdsr.methods.consissr.recipes import CONSISSR
from sdsr.methods.invsr.recipes import INVSR_SMALL
from sdsr.methods.one_step.recipes import D3SR_SMALL
from sdsr.methods.small_canvas import SMALL_CANVAS
from sdsr.methods.stablesr.recipes import STABLESR, STABLESR_768V
from sdsr.photos.photo import Photo
from sdsr.restoration.canvas import Canvas
from sdsr.restoration.coloring import finished_tiles
from sdsr.restoration.sample import sample
from sdsr.upscaling import Request, Upscaler
from tests.methods import contract

BORDER_PX = 16
COLORS = ((255, 255, 255), (128, 128, 128), (0, 0, 0), (200, 90, 40), (40, 90, 200), (0, 255, 0), (0, 0, 255))


def flat(color: tuple[int, int, int]) -> Photo:
    return Photo(pixels=np.broadcast_to(np.array(color, np.uint8), (24, 40, 3)).copy())


def departures(pixels: np.ndarray, color: tuple[int, int, int]) -> tuple[int, int]:
    """The largest departure from a color at the border and inside."""
    away = np.abs(pixels.astype(int) - color).max(-1)
    inside = away[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX].max()
    away[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = 0
    return int(away.max()), int(inside)


@pytest.fixture(scope="module", params=["d3sr-small", "invsr-small"])
def embedded(request) -> Upscaler:
    return Upscaler.from_pretrained(request.param, device="cpu")


@pytest.mark.parametrize("color", COLORS)
def test_a_flat_photo_is_as_flat_at_the_border_as_inside(embedded, color):
    border, inside = departures(embedded.upscale(flat(color)).pixels, color)
    assert border <= inside + 3
    assert border <= 4  # of the default in orange


def test_a_flat_photo_in_windows_has_no_border_either(embedded):
    recipe = replace(embedded.recipe, canvas=replace(embedded.recipe.canvas, window_px=64))
    border, inside = departures(Upscaler(recipe, embedded.restorer).upscale(flat(COLORS[0])).pixels, COLORS[0])
    assert border <= inside + 3


def test_what_is_around_a_photo_moves_nothing_in_its_middle_but_a_little(embedded, photo):
    """The same noise belongs to the same pixels; attention and statistics see a little more."""
    given = Photo(pixels=quantize(photo[..., :48, :64], np.uint8))
    bare = Upscaler(replace(embedded.recipe, canvas=Canvas()), embedded.restorer)
    one, other = (each.upscale(given).pixels.astype(float) for each in (embedded, bare))
    middle = np.abs(one - other)[64:-64, 64:-64]
    assert middle.mean() < 0.5


FULL_SIZE = {name: recipe for name, recipe in METHODS.items() if recipe.prior != "small"}


def test_each_method_says_its_native_size():
    for name, recipe in METHODS.items():
        if name in FULL_SIZE:
            assert recipe.canvas.native_px == (768 if recipe is STABLESR_768V else 512)
            assert recipe.canvas.window_px in (recipe.canvas.native_px, 768)
        else:
            assert replace(recipe.canvas, context_px=SMALL_CANVAS.context_px) == SMALL_CANVAS
    assert CONSISSR.canvas.window_px == 512


@pytest.fixture
def consissr() -> Upscaler:
    recipe = contract.brief(CONSISSR)
    return Upscaler(recipe, contract.built(recipe))


@pytest.mark.parametrize("size", [(5, 9), (12, 16), (16, 16), (40, 23)])
def test_consissrs_tables_meet_native_squares_only(consissr, size):
    """Whatever the photo's size: 64 px are native here, so 8 cells, and 4 below."""
    met = set()
    for module in consissr.restorer.parts.modules.modules():
        if isinstance(module, PositionTable):
            module.register_forward_pre_hook(lambda _, grids: met.add(grids[0]))
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert consissr.upscale(Photo(pixels=pixels)).size == (4 * size[0], 4 * size[1])
    assert met <= {(8, 8), (4, 4)}
    assert met


def test_memory_for_less_than_native_windows_is_an_error(consissr):
    per_px = consissr.maker.facts.bytes_per_px
    least = per_px * 64**2
    assert consissr.maker.windowed((256, 256), least).window_px == 64
    restorer = consissr.restorer
    full = Upscaler(CONSISSR, restorer)
    assert full.maker.windowed((512, 2000), None).window_px == 512
    assert full.maker.least_window_px == 512
    with pytest.raises(InputError, match=rf"memory \(=7 MiB\) must be at least {per_px * 512**2 // 2**20 + 1} MiB"):
        full.maker.windowed((512, 2000), 8_000_000)


def test_a_small_result_is_made_at_the_priors_size_and_shrunk(photo):
    """The tiles that `finished_tiles` gives are the larger picture, decoded and corrected, resampled."""
    recipe = contract.brief(STABLESR)
    upscaler = Upscaler(recipe, contract.built(recipe))
    given = Photo(pixels=quantize(photo[..., :9, :13], np.uint8))
    result = upscaler.upscale(given, Request(scale=2, seed=3, color_fix="none"))
    assert result.size == (18, 26)
    image = torch.from_numpy(given.pixels).permute(2, 0, 1)[None] / 255
    lq_image = upscaler.maker.lq_image(image, (18, 26))
    assert (lq_image.made.height, lq_image.made.width) == (64, 92)
    restorer = upscaler.maker.windowed((lq_image.region.height, lq_image.region.width), None)
    assert restorer.window_px == 64
    done = sample(restorer, lq_image, upscaler.plan(), CanvasNoise(seeds=(3,)))
    (tile,) = finished_tiles(restorer, replace(lq_image, wanted=None), done, "none")
    expected = resample(tile.image.clamp(0, 1), (18, 26), kernel=recipe.canvas.shrink)
    assert np.abs(quantize(expected, np.uint8).astype(int) - result.pixels).max() <= 1


@pytest.mark.parametrize("name", ["stablesr", "consissr", "invsr", "osediff", "d3sr-small"])
def test_previews_and_tiles_lie_on_the_result(name, photo):
    recipe = contract.brief(METHODS[name])
    upscaler = Upscaler(recipe, contract.built(recipe))
    given = Photo(pixels=quantize(photo[..., :9, :13], np.uint8))
    previews = list(upscaler.job(given, Request(scale=3)).previews())
    assert previews[-1].final
    for preview in previews:
        region = preview.region
        assert preview.image.shape == (1, 3, region.height, region.width)
        assert min(region.top, region.left) >= 0
        assert region.bottom <= 27
        assert region.right <= 39
    assert sum(each.region.height * each.region.width for each in previews if each.final) == 27 * 39


@pytest.mark.parametrize("recipe", [INVSR_SMALL, D3SR_SMALL], ids=lambda recipe: recipe.name)
def test_a_canvas_is_a_setting(recipe, photo):
    narrow = replace(recipe, canvas=replace(recipe.canvas, margin_px=0))
    restorer = contract.built(recipe)
    given = Photo(pixels=quantize(photo[..., :24, :24], np.uint8))
    one, other = (Upscaler(each, restorer).upscale(given).pixels for each in (recipe, narrow))
    assert one.shape == other.shape
    assert not np.array_equal(one, other)
