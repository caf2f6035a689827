"""Seams on synthetic pictures: known steps, no steps, and content that must not matter."""

import numpy as np
import pytest

from bench.seams import Borders, borders_of, seam
from sdsr.errors import InputError
from sdsr.images.windows import cover
from sdsr.tensors import Region

SIZE = (512, 768)
BORDERS = Borders(rows=(256,), columns=(256, 512))


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """1/f noise around 120, whose mean gradient of about 4.5 is a photo's."""
    height, width = size
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(rng.normal(size=size)) / np.maximum(frequency, 1 / width)
    picture = np.fft.irfft2(spectrum, s=size)
    return 120 + 10 * picture / picture.std()


def chopped(picture: np.ndarray, step: float, seed: int = 0) -> np.ndarray:
    """The picture in tiles of 256 px, each brighter or darker than its neighbors by at least `step`."""
    rows, columns = (side // 256 for side in picture.shape)
    sign = np.where(np.add.outer(np.arange(rows), np.arange(columns)) % 2, 1, -1)
    strength = 0.5 + np.random.default_rng(seed).random((rows, columns))
    return picture + np.kron(sign * strength * step, np.ones((256, 256)))


def test_borders_are_where_windows_begin_and_end():
    found = borders_of(cover(64, 100, window=48, overlap=16), (64, 100))
    assert found == Borders(rows=(16, 48), columns=(32, 48, 52, 80))
    tiles = [Region(top=top, left=left, height=32, width=50) for top in (0, 32) for left in (0, 50)]
    assert borders_of(tiles, (60, 100)) == Borders(rows=(32,), columns=(50,))


def test_the_ratio_is_that_of_the_gradients():
    """On a ramp of slope 2, a step of 3 makes the gradient 5; to both, half a level is added."""
    ramp = np.broadcast_to(2 * np.arange(200.0), (40, 200)).copy()
    ramp[:, 100:] += 3
    found = seam(ramp, Borders(columns=(100,)))
    assert found.ratio == pytest.approx(5.5 / 2.5)
    assert found.spread == pytest.approx(0, abs=1e-9)
    assert seam(ramp.T, Borders(rows=(100,))) == found
    assert seam(ramp, Borders(columns=(101,))).ratio == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_without_seams_it_is_1_and_with_them_clearly_more(seed):
    picture = texture(seed)
    found = [seam(chopped(picture, step), BORDERS) for step in (0, 1, 2, 5)]
    assert abs(found[0].ratio - 1) < 3 * found[0].spread < 0.3
    ratios = [each.ratio for each in found]
    assert ratios == sorted(ratios)
    assert found[-1].ratio > 1.5
    assert found[-1].ratio > 1 + 5 * found[-1].spread


@pytest.mark.parametrize("seed", range(4))
def test_beside_a_reference_content_does_not_matter(seed):
    """Edges under the borders lead the plain ratio astray; faint noise is what another restoration adds."""
    picture = texture(seed)
    picture[:, 512:] += 60
    picture[256:, :] -= 60
    assert seam(picture, BORDERS).ratio > 2
    again = picture + np.random.default_rng(seed + 100).normal(scale=0.3, size=SIZE)
    assert seam(again, BORDERS, picture).ratio == pytest.approx(1, abs=0.01)
    assert seam(picture, BORDERS, picture).ratio == 1
    assert seam(chopped(texture(seed), 3), BORDERS, texture(seed)).ratio > 1.2


def test_neither_a_grid_of_cells_nor_a_flat_picture_is_a_seam():
    grid = texture(0)
    grid[:, ::8] += 8
    grid[::8] += 8
    assert abs(seam(grid, BORDERS).ratio - 1) < 0.1
    assert seam(np.full(SIZE, 255.0), BORDERS).ratio == pytest.approx(1)


def test_places_on_other_borders_are_left_out():
    ramp = np.broadcast_to(np.arange(200.0), (40, 200)).copy()
    ramp[:, 100:] += 4
    ramp[:, 108:] += 4
    assert seam(ramp, Borders(columns=(100, 108))).ratio == pytest.approx(5.5 / 1.5)
    with pytest.raises(InputError, match="larger picture"):
        seam(ramp[:, :16], Borders(columns=(8,)))
