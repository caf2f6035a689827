import math

import numpy as np
import pytest
from PIL import Image as PillowImage

from sdsr.metrics import niqe as module
from sdsr.metrics.niqe import niqe


@pytest.mark.parametrize(("draw", "shape", "scale"), [("normal", 2.0, math.sqrt(2)), ("laplace", 1.0, 1.0)])
def test_aggd_recovers_shape_and_scale(draw, shape, scale):
    samples = getattr(np.random.default_rng(0), draw)(size=(4, 300, 300))
    fitted, left, right = module._fit_aggd(samples)
    assert fitted == pytest.approx(shape, rel=0.03)
    assert left == pytest.approx(scale, rel=0.03)
    assert right == pytest.approx(scale, rel=0.03)


def test_aggd_tells_left_from_right():
    samples = np.random.default_rng(0).normal(size=(1, 300, 300))
    _, left, right = module._fit_aggd(np.where(samples < 0, 3 * samples, samples))
    assert left / right == pytest.approx(3, rel=0.03)


def test_halving_is_antialiased_bicubic():
    image = np.random.default_rng(0).uniform(0, 255, (64, 96))
    reference = PillowImage.fromarray(image.astype(np.float32)).resize((48, 32), PillowImage.Resampling.BICUBIC)
    np.testing.assert_allclose(module._halved(image)[2:-2, 2:-2], np.asarray(reference)[2:-2, 2:-2], atol=1e-3)


def test_noise_is_far_from_pristine_photos():
    noise = np.random.default_rng(0).uniform(0, 255, (200, 200))
    assert niqe(noise) > 10


def test_what_is_left_beside_whole_blocks_does_not_matter():
    image = np.random.default_rng(0).normal(128, 30, (250, 210))
    assert niqe(image) == pytest.approx(niqe(image[:192, :192]))


@pytest.mark.parametrize("image", [np.full((300, 300), 128.0), np.random.default_rng(0).uniform(0, 255, (96, 180))])
def test_flat_and_small_photos_have_no_value(image):
    assert math.isnan(niqe(image))
