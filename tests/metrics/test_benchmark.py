import math
from dataclasses import replace

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.metrics.benchmark import score, score_pairs
from sdsr.metrics.measures import psnr
from sdsr.metrics.pairs import pair_folders
from sdsr.metrics.planes import plane
from sdsr.metrics.protocol import PROTOCOLS, protocol

COLUMNS = ["psnr_y", "ssim_y", "niqe", "gmsd", "color_shift", "hf_busy", "hf_flat", "grid", "edge", "combs"]


def test_the_set_is_summed_up_as_its_protocol_says(folders):
    scores = score(folders / "out", folders / "HR")
    assert list(scores.values) == COLUMNS
    measures = {measure.name: measure for measure in scores.protocol.measures}
    each = [scores.photo(measures["psnr_y"], index) for index in range(3)]
    assert scores.of(measures["psnr_y"]) == pytest.approx(np.mean(each))
    each = [scores.photo(measures["hf_busy"], index) for index in range(3)]
    assert scores.of(measures["hf_busy"]) == pytest.approx(np.median(each))
    assert 0 < scores.of(measures["hf_busy"]) < 1


def test_truth_against_itself_is_perfect(folders):
    scores = score(folders / "HR", folders / "HR")
    figures = {measure.name: scores.of(measure) for measure in scores.protocol.measures}
    for name, expected in {
        "psnr_y": 80,
        "ssim_y": 1,
        "gmsd": 0,
        "color_shift": 0,
        "hf_busy": 1,
        "hf_flat": 1,
        "edge": 1,
        "combs": 0,
    }.items():
        assert figures[name] == pytest.approx(expected)


def test_results_alone_get_the_measures_that_need_no_truth(folders):
    scores = score(folders / "out")
    assert list(scores.values) == ["niqe", "grid"]
    with pytest.raises(InputError, match="rgb"):
        score(folders / "out", protocol=PROTOCOLS["rgb"])


def test_processes_do_not_change_scores(folders):
    pairs = pair_folders(folders / "out", folders / "HR")
    one, two = (score_pairs(pairs, PROTOCOLS["realisr-y"], jobs=jobs) for jobs in (1, 2))
    for name in COLUMNS:
        np.testing.assert_array_equal(one.values[name], two.values[name])


def test_sizes_must_agree(folders):
    with pytest.raises(InputError, match="Canon_000 is 48x48 and its truth 192x192"):
        score(folders / "LR", folders / "HR")


def test_interval_holds_the_figure_and_follows_the_seed(folders):
    scores = score(folders / "out", folders / "HR")
    measure = scores.protocol.measures[0]
    low, high = scores.interval(measure)
    assert low <= scores.of(measure) <= high
    assert low < high
    assert scores.interval(measure) == (low, high)
    alone = replace(scores, names=scores.names[:1], values={measure.name: scores.values[measure.name][:1]})
    assert math.isnan(alone.interval(measure)[0])


def test_infinite_values_have_no_interval(folders):
    scores = score(folders / "HR", folders / "HR", protocol=PROTOCOLS["rgb"])
    assert scores.of(scores.protocol.measures[0]) == math.inf
    assert math.isnan(scores.interval(scores.protocol.measures[0])[1])


def test_border_is_cut_before_measuring(folders):
    scores = score(folders / "out", folders / "HR", protocol=PROTOCOLS["realisr-y-border4"])
    pair = pair_folders(folders / "out", folders / "HR")[0]
    assert pair.truth is not None
    result, truth = (plane(picture(), "y")[4:-4, 4:-4] for picture in (pair.result, pair.truth))
    assert scores.values["psnr_y"][0] == pytest.approx(psnr(result, truth))


def test_variants_have_their_own_names(folders):
    figures = {
        name: score(folders / "out", folders / "HR", protocol=chosen).values for name, chosen in PROTOCOLS.items()
    }
    assert list(figures["rgb"]) == ["psnr_rgb", "ssim_rgb"]
    assert figures["rgb"]["psnr_rgb"][0] < figures["textbook-y"]["psnr_y"][0]
    assert figures["textbook-y"]["psnr_y"][0] == pytest.approx(figures["realisr-y"]["psnr_y"][0], abs=1e-2)
    assert all(chosen.name == name for name, chosen in PROTOCOLS.items())
    with pytest.raises(InputError, match="realisr-y"):
        protocol("realsr")
