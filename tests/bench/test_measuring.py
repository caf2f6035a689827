"""What benchmarks share: rows in turn, ratios, tables; laws; that the fast path's picture is the plain one's."""

import time

import numpy as np
import pytest
import torch

from bench.measuring import Timing, heading, in_turn, machine, table
from bench.same_picture import MOST, MOST_MEAN, compared
from bench.scaling import law
from sdsr.methods import METHODS
from sdsr.photos.photo import Photo
from sdsr.prior.tiny import tiny_prior
from sdsr.processor import processor_class
from sdsr.request import Request
from sdsr.upscaling import Upscaler


def test_rows_take_turns_and_the_first_round_does_not_count():
    told: list[str] = []
    timings = in_turn({"a": lambda: told.append("a"), "b": lambda: (told.append("b"), time.sleep(0.02))}, 2)
    assert told == list("ababab")
    assert timings["b"].wall > 0.019 > timings["a"].wall


def test_ratios_are_of_processor_time_unless_something_else_computes():
    busy = Timing(wall=4.0, cpu=1.0, fastest=4.0)
    assert Timing(wall=2.0, cpu=2.0, fastest=2.0) / busy == 2
    card = Timing(wall=4.0, cpu=0.01, fastest=4.0)
    assert Timing(wall=2.0, cpu=2.0, fastest=2.0) / card == 0.5


def test_a_table_is_told_with_the_class_of_the_processor():
    assert processor_class() in heading(machine())
    assert table(["row", "s"], [["a", 0.12345], ["b", 12345.6]]).splitlines()[2:] == ["| a | 0.123 |", "| b | 12346 |"]


def test_a_law_is_a_line_held_against_the_last_point():
    found = law([1, 2, 3, 10], [12, 14, 16, 30])
    assert (found["slope"], found["intercept"]) == (pytest.approx(2), pytest.approx(10))
    assert found["error"] == pytest.approx(0)
    assert law([1, 2, 10], [12, 14, 60])["error"] == pytest.approx(-0.5)


@pytest.mark.parametrize("name", ["d3sr-small", "invsr-small", "addsr-small", "seesr-small"])
def test_the_fast_path_gives_the_same_picture(name, photo):
    """As in bench/same_picture.py: bfloat16, attention by rows and guidance in one batch, against plain float32.

    Networks of random weights multiply rounding, so twice the largest difference is granted to them.
    """
    recipe = METHODS[name]
    assert recipe.method is not None
    steps = 1 if recipe.most_steps > 1 else None
    pair = []
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(0)
        pair.append(Upscaler(recipe, recipe.method.build(tiny_prior(dtype=dtype), "cpu")))
    pixels = (255 * photo[0, :, 20:36, 20:36].permute(1, 2, 0).numpy()).astype(np.uint8)
    told = compared(pair[0], pair[1], Photo(pixels=pixels), Request(scale=4, steps=steps))
    assert told["mean"] < MOST_MEAN
    assert 0 < told["max"] <= 2 * MOST
