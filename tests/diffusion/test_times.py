from pathlib import Path

import pytest
from safetensors.torch import load_file

from sdsr.diffusion.times import spaced, trailing, uniform, validate
from sdsr.errors import InputError

GOLDEN = load_file(Path(__file__).parents[1] / "golden/spaced_sampler/io.safetensors")


@pytest.mark.parametrize("count", [4, 50])
def test_spaced_is_the_published_list(count):
    published = GOLDEN[f"timesteps_ascending_{count}"].int().tolist()
    assert spaced(count) == tuple(reversed(published))


def test_spaced_keeps_both_ends():
    assert spaced(1) == (999,)
    assert spaced(2) == (999, 0)
    assert spaced(1000) == tuple(range(999, -1, -1))
    assert spaced(200)[:3] + spaced(200)[-3:] == (999, 994, 989, 10, 5, 0)


def test_halves_are_rounded_to_even():
    assert spaced(3, steps=2 + 4) == (5, 2, 0)
    assert spaced(3, steps=1000) == (999, 500, 0)


def test_trailing_is_addsr():
    assert trailing(1) == (999,)
    assert trailing(4) == (999, 749, 499, 249)
    assert trailing(1000)[-1] == 0


def test_uniform_is_invsr():
    assert uniform(249, 1) == (249,)
    assert uniform(249, 10) == (249, 224, 199, 174, 149, 124, 99, 74, 49, 24)
    assert uniform(249, 6) == (249, 207, 165, 124, 82, 40)


@pytest.mark.parametrize("make", [spaced, trailing, lambda count: uniform(249, count)])
@pytest.mark.parametrize("count", [1, 2, 7, 33, 100, 250])
def test_every_list_is_valid(make, count):
    assert len(validate(make(count))) == count


@pytest.mark.parametrize("make", [spaced, trailing, lambda count: uniform(249, count)])
@pytest.mark.parametrize("count", [0, -3, 1001])
def test_impossible_counts_are_errors(make, count):
    with pytest.raises(InputError, match=r"count of steps \(="):
        make(count)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((), "at least one"),
        ((1000, 5), r"must be in 0 \.\.\. 999, 1000 is not"),
        ((5, -1), "-1 is not"),
        ((5, 5), r"try \(5,\)"),
        ([3, 7, 1], r"try \(7, 3, 1\)"),
    ],
)
def test_invalid_times_say_what_to_do(times, message):
    with pytest.raises(InputError, match=message):
        validate(times)
