"""Edge widths against closed forms; combs against pictures that have them, and pictures that only look like it."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from sdsr.metrics.edges import alternation, combs, edge_width

SIDE_PX = 128
VISIBLE = 0.1


def distances(angle: float) -> np.ndarray:
    """Signed distances, px, from a line through the middle whose normal has this angle, degrees."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    return x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))


def step(angle: float, sigma: float, moved: float = 0.0) -> np.ndarray:
    """A step from 60 to 180 gray levels, blurred by a Gaussian of `sigma` px: its exact values."""
    scaled = (distances(angle) - moved) / (sigma * math.sqrt(2))
    return 120 + 60 * np.vectorize(math.erf)(scaled)


def combed(truth: np.ndarray, angle: float, *, amplitude: float, period: float, along: float = 0.0) -> np.ndarray:
    """The truth with a wave beside its edge, whose own normal is turned by `along` degrees; it fades within 10 px."""
    wave = np.sin(2 * np.pi * distances(angle + along) / period)
    return truth + amplitude * wave * np.exp(-((distances(angle) / 10) ** 2))


def grain(sigma: float) -> np.ndarray:
    """Film grain as the anchors have it: noise of 0.6 px."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(SIDE_PX, SIDE_PX)), 0.6)
    return sigma * noise / noise.std()


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 137])
@pytest.mark.parametrize(("result", "truth"), [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (1.0, 2.0)])
def test_widths_are_those_of_the_blur(angle, result, truth):
    assert edge_width(step(angle, result), step(angle, truth)) == pytest.approx(result / truth, rel=0.16)


def test_width_ignores_contrast_and_displacement():
    truth = step(30, 1.0)
    assert edge_width(120 + 0.5 * (truth - 120), truth) == pytest.approx(1, abs=0.13)
    assert edge_width(step(30, 1.0, moved=2.0), truth) == pytest.approx(1, abs=0.13)


@pytest.mark.parametrize("measure", [edge_width, combs])
@pytest.mark.parametrize("shape", [(64, 64), (1, 40), (40, 1), (1, 1)])
def test_without_an_edge_there_is_no_value(measure, shape):
    assert math.isnan(measure(np.full(shape, 100.0), np.full(shape, 100.0)))


def test_a_photo_hardly_larger_than_the_reach_has_values():
    small = gaussian_filter(grain(40.0), 1.0)[:40, :40]
    assert edge_width(small, small) == 1
    assert combs(small, small) == 0


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135, 160])
@pytest.mark.parametrize("period", [3.5, 4.0, 5.0, 16 / 3, 6.5, 8.0])
def test_combs_are_found_at_any_period_and_angle(angle, period):
    truth = step(angle, 1.5)
    assert combs(truth, truth) == 0
    assert combs(combed(truth, angle, amplitude=8, period=period, along=90), truth) > VISIBLE


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135, 160])
@pytest.mark.parametrize("period", [3.5, 16 / 3, 6.5, 8.0])
def test_repeated_contours_are_found(angle, period):
    truth = step(angle, 1.5)
    assert combs(combed(truth, angle, amplitude=10, period=period), truth) > VISIBLE


def test_combs_grow_with_their_amplitude():
    truth = step(0, 1.5)
    found = [combs(combed(truth, 0, amplitude=each, period=4, along=90), truth) for each in (0, 1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[4] == pytest.approx(2 * found[3], rel=0.3)


def test_a_mesh_is_found():
    truth = step(0, 1.5)
    mesh = combed(combed(truth, 0, amplitude=4, period=4), 0, amplitude=4, period=4, along=90)
    assert combs(mesh, truth) > VISIBLE


@pytest.mark.parametrize(
    "result",
    [
        step(20, 4.0),
        step(20, 0.5),
        step(20, 1.0, moved=4.0),
        step(20, 1.0, moved=-7.0),
        step(20, 1.0) + grain(1.0),
        step(20, 1.0) + 60 * np.exp(-(((distances(20) - 7) / 1.0) ** 2)),
        3 * step(20, 1.0) - 2 * step(20, 2.0),
    ],
    ids=["blurred", "sharper", "displaced", "displaced far", "grain", "a line beside it", "sharpened with a halo"],
)
def test_what_is_no_comb_is_not_taken_for_one(result):
    assert combs(result, step(20, 1.0)) < VISIBLE / 2


def test_the_truths_own_railing_is_no_comb_even_displaced():
    railing = 120 + 60 * np.sign(np.sin(2 * np.pi * distances(0) / 6)) * (distances(90) > 0)
    truth = gaussian_filter(railing, 1.0)
    assert alternation(truth).max() > 10
    assert combs(shift(truth, (1.5, 1.5), mode="nearest"), truth) < VISIBLE
    elsewhere = truth + combed(np.zeros_like(truth), 90, amplitude=40, period=4)
    assert combs(elsewhere, truth) > VISIBLE


def test_alternation_of_a_wave_is_its_amplitude_and_turns_with_the_picture():
    wave = 10 * np.sin(2 * np.pi * distances(0) / 4 + 0.7)
    crests = alternation(wave)[32:-32, 32:-32].max()
    assert crests == pytest.approx(10, rel=0.1)
    picture = gaussian_filter(grain(40.0), 1.0)
    for turned in (picture.T, picture[::-1], picture[:, ::-1]):
        assert alternation(turned).mean() == pytest.approx(alternation(picture).mean(), rel=0.05)
    np.testing.assert_allclose(alternation(-picture), alternation(picture), atol=1e-9)
