"""The expected error: cells and their borders, weights that were put in come out, the three clues."""

import numpy as np
import pytest

from sdsr.photos.photo import Photo
from sdsr.trust.consistency import measure_consistency
from sdsr.trust.expected_error import Clues, ExpectedError, cell_means, fit, true_error


def clues(seed: int) -> Clues:
    rng = np.random.default_rng(seed)
    maps = [rng.lognormal(np.log(0.05), 0.7, (9, 11)).astype(np.float32) for _ in range(3)]
    return Clues(disagreement=maps[0], consistency=maps[1], busyness=maps[2])


def test_cells_at_the_border_are_means_of_what_there_is():
    values = np.arange(19 * 10, dtype=np.float32).reshape(19, 10)
    found = cell_means(values)
    assert found.shape == (3, 2)
    assert found[0, 0] == pytest.approx(values[:8, :8].mean())
    assert found[2, 1] == pytest.approx(values[16:, 8:].mean())


def test_weights_come_out_as_they_were_put_in():
    known = ExpectedError(weights=(0.6, 0.1, 0.3, 0.2))
    seen = [clues(seed) for seed in range(5)]
    found = fit(seen, [known.map(each) for each in seen])
    assert found.weights == pytest.approx(known.weights, abs=0.02)


def test_clues_of_a_result():
    rng = np.random.default_rng(0)
    pixels = np.full((40, 56, 3), 128, np.uint8)
    pixels[:, 32:] = rng.integers(0, 256, (40, 24, 3))
    result = Photo(pixels=pixels)
    small = Photo(pixels=np.full((10, 14, 3), 128, np.uint8))
    spread = np.zeros((40, 56), np.float32)
    spread[:8, :8] = 0.1
    found = Clues.of(result, spread, measure_consistency(result, small))
    assert found.disagreement[0, 0] == pytest.approx(0.1)
    assert found.disagreement[1:].max() == 0
    assert found.busyness[:, :3].max() < 0.01 < found.busyness[:, 5:].min()
    assert found.consistency.shape == found.busyness.shape == (5, 7)
    assert found.consistency[:, :3].max() < 0.01 < found.consistency[:, 5:].mean()


def test_the_true_error_is_of_luma():
    truth = Photo(pixels=np.zeros((16, 16, 3), np.uint8))
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[8:, 8:] = 51
    assert true_error(Photo(pixels=pixels), truth) == pytest.approx(np.array([[0, 0], [0, 0.2]]), abs=1e-6)
