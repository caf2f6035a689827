"""What priors and methods say of their needs is what is counted."""

from collections.abc import Callable

import pytest
import torch

from bench import window_memory as bench
from bench.running import taking
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.shapes import shape_prior


def small() -> Prior:
    return load_prior("small", device="cpu", dtype=torch.float32)


def stable_diffusion() -> Prior:
    return shape_prior(image_encoder=False)


@pytest.mark.parametrize("make", [small, stable_diffusion])
def test_what_a_prior_says_covers_what_is_counted(make: Callable[[], Prior]) -> None:
    prior, side = make(), 256
    for said, counted in (
        (prior.facts.bytes_per_px, bench.bytes_per_px(prior, side)),
        (prior.facts.part_bytes_per_px, bench.part_bytes_per_px(prior, side)),
    ):
        assert 0.98 * counted < said < 1.25 * counted


def test_by_products_encoding_needs_no_more_than_decoding() -> None:
    """What a map's convolution needs beside comes when the map before, four times as large, is let go."""
    prior, side = small(), 544
    image = torch.zeros(1, 3, side, side)
    with torch.inference_mode(), taking(True, prior.device), bench.Alive() as alive:
        prior.encode(image)
    assert alive.most < 1.15 * prior.facts.part_bytes_per_px * side**2


def test_the_tensors_that_are_alive_at_once_are_counted() -> None:
    with bench.Alive() as alive:
        first = torch.ones(1000)
        second = first + 1
        del first
        third = second.view(10, 100).T  # the same memory
        torch.ones(200)
    assert third.sum() == 2000
    assert alive.most == 8000
    assert alive.now == 4000


def test_priors_state_their_sizes() -> None:
    facts = shape_prior(image_encoder=False).facts
    assert (facts.factor, facts.channels, facts.multiple_px, facts.native_px) == (8, 4, 64, 512)
    assert facts.bytes_per_px > 3 * load_prior("tiny").facts.bytes_per_px
    assert shape_prior(image_encoder=False).schedule.steps == 1000


def test_half_precision_counts() -> None:
    wide = load_prior("tiny").facts
    assert load_prior("tiny", dtype=torch.bfloat16).facts.bytes_per_px < 0.6 * wide.bytes_per_px
