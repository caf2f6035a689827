"""Which times InvSR visits: published lists, free starts and their errors, fidelity, and the automatic choice."""

import numpy as np
import pytest
import torch

from sdsr.errors import InputError
from sdsr.images.resize import resample
from sdsr.methods.invsr.times import PLAN, TRAINED_STARTS, automatic_start, start_for_fidelity, times_for


@pytest.mark.parametrize(
    ("steps", "start", "counted"),
    [
        (1, None, (200,)),
        (2, None, (200, 100)),
        (3, None, (200, 100, 50)),
        (4, None, (200, 150, 100, 50)),
        (5, None, (250, 200, 150, 100, 50)),
        (3, 250, (250, 150, 50)),
        (3, 200, (200, 100, 50)),
        (3, 150, (150, 100, 50)),
        (1, 100, (100,)),
        (2, 120, (120, 60)),
        (5, 5, (5, 4, 3, 2, 1)),
        (1, 1000, (1000,)),
    ],
)
def test_lists_are_indices_below_the_papers_count(steps, start, counted):
    assert times_for(steps, start) == tuple(t - 1 for t in counted)


def test_the_default_is_one_step_of_the_released_program():
    assert PLAN.times == times_for(1, 200) == (199,)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"steps": 0}, r"steps \(=0\) of InvSR must be in 1 \.\.\. 5; "),
        ({"steps": 6}, r"steps \(=6\) of InvSR must be in 1 \.\.\. 5; "),
        ({"steps": 1, "start": 0}, r"start \(=0\) must be in 1 \.\.\. 1000; "),
        ({"steps": 1, "start": 1001}, r"start \(=1001\) must be in 1 \.\.\. 1000; "),
        ({"steps": 5, "start": 4}, r"start \(=4\) leaves no room for 5 steps; start at one of"),
    ],
)
def test_what_does_not_fit_is_an_error_of_one_line_with_a_remedy(wanted, message):
    with pytest.raises(InputError, match=message) as error:
        times_for(**wanted)
    assert "\n" not in str(error.value)


def test_more_fidelity_never_starts_higher():
    starts = [start_for_fidelity(float(fidelity)) for fidelity in np.linspace(0, 1, 41)]
    assert starts == sorted(starts, reverse=True)
    assert set(starts) == set(TRAINED_STARTS)
    assert start_for_fidelity(0.5) == PLAN.start_time + 1
    with pytest.raises(InputError, match=r"fidelity \(=1\.1\) must be in 0 \.\.\. 1; "):
        start_for_fidelity(1.1)


def test_noise_lowers_the_start_and_keeps_one_step(photo, rng):
    noise = torch.randn(photo.shape, generator=rng)
    choices = [automatic_start((photo + sigma / 255 * noise).clamp(0, 1)) for sigma in (0, 2, 12, 25, 50)]
    starts = [choice.start for choice in choices]
    assert starts == sorted(starts, reverse=True)
    assert (starts[0], starts[-1]) == (200, 100)
    assert {choice.steps for choice in choices} == {1}


def test_blur_raises_the_start_and_in_the_end_the_steps(photo):
    height, width = photo.shape[-2:]
    choices = [automatic_start(resample(photo, (height * n, width * n)).clamp(0, 1)) for n in (2, 4, 6)]
    starts, steps = [choice.start for choice in choices], [choice.steps for choice in choices]
    assert starts == [200, 250, 250]
    assert steps == sorted(steps)
    assert steps[-1] == 3
    assert times_for(steps[-1], starts[-1]) == (249, 149, 49)
    assert "blurred" in choices[-1].reason


def test_noise_counts_before_blur_and_no_edge_is_no_blur(photo, rng):
    blurred = resample(photo, (480, 640)).clamp(0, 1)
    noisy = (blurred + 0.1 * torch.randn(blurred.shape, generator=rng)).clamp(0, 1)
    assert (automatic_start(noisy).start, automatic_start(noisy).steps) == (100, 1)
    assert automatic_start(torch.full((1, 3, 40, 40), 0.5)).start == 200
