"""Which times InvSR visits: published lists, free starts and their errors, fidelity, and the automatic choice."""

import logging

import numpy as np
import pytest
import torch

from sdsr.diffusion.steps import ancestral, deterministic
from sdsr.errors import InputError
from sdsr.images.resize import resample
from sdsr.methods.invsr.times import (
    TRAINED_STARTS,
    automatic_start,
    is_untrained,
    plan_for,
    start_for_fidelity,
    times_for,
)


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


def test_either_of_steps_and_start_may_be_left_out():
    assert plan_for().times == plan_for(1, 200).times == (199,)
    assert plan_for(start=150).times == (149,)
    assert plan_for(5).times == (249, 199, 149, 99, 49)
    assert plan_for(times=(100, 80, 60, 40, 20)).times == (99, 79, 59, 39, 19)
    assert plan_for(2, 100, times=(100, 30)).start_time == 99


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"steps": 0}, r"steps \(=0\) of InvSR must be in 1 \.\.\. 5; "),
        ({"steps": 6}, r"steps \(=6\) of InvSR must be in 1 \.\.\. 5; "),
        ({"start": 0}, r"start \(=0\) must be in 1 \.\.\. 1000; "),
        ({"start": 1001}, r"start \(=1001\) must be in 1 \.\.\. 1000; "),
        ({"steps": 5, "start": 4}, r"start \(=4\) leaves no room for 5 steps; start at one of"),
        ({"times": (200, 100), "start": 100}, r"start \(=100\) must be the first of times \(=\(200, 100\)\); leave"),
        ({"times": (200, 100), "steps": 3}, r"steps \(=3\) must be the number of times \(=2\); leave"),
        ({"times": (100, 200)}, r"times \(=\(100, 200\)\) must descend strictly; try"),
        ({"times": ()}, r"times \(=\(\)\) must descend strictly; try"),
        ({"times": (100, 0)}, r"times \(=0\) must be in 1 \.\.\. 1000; "),
    ],
)
def test_what_does_not_fit_is_an_error_of_one_line_with_a_remedy(wanted, message):
    with pytest.raises(InputError, match=message) as error:
        plan_for(**wanted)
    assert "\n" not in str(error.value)


def test_an_untrained_start_is_taken_and_told(caplog):
    with caplog.at_level(logging.WARNING):
        for start in TRAINED_STARTS:
            assert not is_untrained(plan_for(start=start))
        assert caplog.records == []
        assert is_untrained(plan_for(start=220))
    assert "start (=220)" in caplog.text


def test_the_two_rules_are_values():
    assert plan_for(3).step is deterministic
    assert plan_for(3, rule="stochastic").step is ancestral


def test_more_fidelity_never_starts_higher():
    starts = [start_for_fidelity(float(fidelity)) for fidelity in np.linspace(0, 1, 41)]
    assert starts == sorted(starts, reverse=True)
    assert set(starts) == set(TRAINED_STARTS)
    assert start_for_fidelity(0.5) == plan_for().start_time + 1
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
    assert choices[-1].plan.times == (249, 149, 49)
    assert "blurred" in choices[-1].reason


def test_noise_counts_before_blur_and_no_edge_is_no_blur(photo, rng):
    blurred = resample(photo, (480, 640)).clamp(0, 1)
    noisy = (blurred + 0.1 * torch.randn(blurred.shape, generator=rng)).clamp(0, 1)
    assert (automatic_start(noisy).start, automatic_start(noisy).steps) == (100, 1)
    assert automatic_start(torch.full((1, 3, 40, 40), 0.5)).start == 200
