import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from sdsr.data.degradation import degradation
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import InputError
from sdsr.images.floats import image
from sdsr.methods import METHODS
from sdsr.methods.stablesr.method import StableSR
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import from_noised_photo
from sdsr.restoration.sample import sample
from sdsr.studies import curve_files
from sdsr.studies.curves import CURVE_PROTOCOL, Row, Sweep, curves, estimates, times_of
from sdsr.studies.samples import degraded_samples, paired_samples
from sdsr.upscaling import Request, Upscaler

SOURCE = "LQ of LR"


@pytest.fixture(scope="module")
def upscaler():
    """A random one, of many steps that draw noise: what the curves are about."""
    recipe = METHODS["d3sr-small"]
    assert recipe.method is not None
    restorer = recipe.method.build("tiny")
    torch.nn.init.normal_(restorer.prior.unet.conv_out.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    restorer = replace(restorer, parts=replace(restorer.parts, start=from_noised_photo))
    planning = StableSR(own_plan=Plan(times=(300, 200, 100)))
    return Upscaler(replace(recipe, method=planning), restorer)


@pytest.fixture
def sweep(folders):
    samples = paired_samples(folders / "LR", folders / "HR", 2)
    return Sweep(samples=samples, seeds=(0, 1), protocol=only("psnr_y", "ssim_y"))


def only(*names):
    measures = tuple(measure for measure in CURVE_PROTOCOL.measures if measure.name in names)
    return replace(CURVE_PROTOCOL, measures=measures)


def test_the_last_estimate_is_the_result(folders, upscaler, sweep):
    lq = sweep.samples[0].lq()
    fixed = list(estimates(upscaler, lq, (192, 192), replace(sweep, color_fix=True), 7))
    assert [t for t, _ in fixed] == [300, 200, 100]
    result = upscaler.upscale(lq, Request(scale=4, seed=7)).pixels
    np.testing.assert_array_equal(fixed[-1][1], result)
    assert not np.array_equal(fixed[0][1], result)


def test_an_estimate_is_the_decoded_clean_latent_at_its_time(upscaler, sweep):
    lq = sweep.samples[0].lq()
    found = dict(estimates(upscaler, lq, (192, 192), replace(sweep, stop=2), 0))
    assert list(found) == [300, 200]
    lq_image = upscaler.maker.lq_image(image(lq), (192, 192))
    ended = sample(upscaler.restorer, lq_image, Plan(times=(300, 200)), CanvasNoise(seeds=(0,)))
    with torch.inference_mode():
        decoded = upscaler.restorer.decode(ended.clean, lq_image, fidelity=ended.fidelity)
    place = lq_image.made.relative_to(lq_image.region)
    expected = decoded[place.slices][0].permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(found[200], expected * 255, atol=0.51)


def test_the_plan_can_be_longer_and_cut(upscaler, sweep):
    assert times_of(upscaler, sweep) == (300, 200, 100)
    assert times_of(upscaler, replace(sweep, steps=50, stop=4)) == (999, 979, 958, 938)


def test_spread_is_over_seeds_of_the_mean_over_photos():
    """Means over photos: 2 and 6 at time 9, 4 and 4 at time 1."""
    figures = {("a", 0, 9): 1, ("b", 0, 9): 3, ("a", 1, 9): 4, ("b", 1, 9): 8}
    figures |= {("a", 0, 1): 4, ("b", 0, 1): 4, ("a", 1, 1): 0, ("b", 1, 1): 8}
    rows = [Row(photo=photo, seed=seed, t=t, values={"x": float(v)}) for (photo, seed, t), v in figures.items()]
    first, last = curves(rows)["x"]
    assert (first.t, first.mean, first.deviation) == (9, 4, pytest.approx(math.sqrt(8)))
    assert (last.t, last.mean, last.deviation) == (1, 4, 0)
    (alone,) = curves(rows[:2])["x"]
    assert math.isnan(alone.deviation)


def test_an_interrupted_run_goes_on(tmp_path, upscaler, sweep):
    complete = curve_files.record("one", upscaler, sweep, tmp_path, source=SOURCE)
    path = tmp_path / curve_files.ROWS
    text = path.read_text()
    assert len(text.splitlines()) == 1 + 2 * 2 * 3
    cut = text.rindex("\n", 0, len(text) - 1) - 5
    path.write_text(text[:cut])
    progress = []
    again = curve_files.record(
        "one", upscaler, sweep, tmp_path, source=SOURCE, on_done=lambda *counts: progress.append(counts)
    )
    assert progress == [(3, 4), (4, 4)]
    assert [point.t for point in again["psnr_y"]] == [300, 200, 100]
    for measure, points in complete.items():
        for point, other in zip(points, again[measure], strict=True):
            assert other.mean == pytest.approx(point.mean, abs=1e-5)
            assert other.deviation == pytest.approx(point.deviation, abs=1e-5)
    assert path.read_text().startswith(text[: text.rindex("\n", 0, cut) + 1])
    few = replace(sweep, samples=sweep.samples[:1], seeds=(1,), stop=1)
    (point,) = curve_files.record("one", upscaler, few, tmp_path, source=SOURCE)["psnr_y"]
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if (row["photo"], row["seed"], row["t"]) == KEY]
    assert point.mean == pytest.approx(float(row["psnr_y"]))


KEY = ("Canon_000", "1", "300")


def test_rows_of_another_setup_are_not_mixed_in(tmp_path, upscaler, sweep):
    few = replace(sweep, samples=sweep.samples[:1], seeds=(0,), stop=1)
    curve_files.record("one", upscaler, few, tmp_path, source=SOURCE)
    with pytest.raises(InputError, match="another setup"):
        curve_files.record("one", upscaler, replace(few, steps=50), tmp_path, source=SOURCE)
    with pytest.raises(InputError, match="another setup"):
        curve_files.record("one", upscaler, few, tmp_path, source="LQ of elsewhere")
    with pytest.raises(InputError, match="other columns"):
        curve_files.record("one", upscaler, replace(few, protocol=only("niqe")), tmp_path, source=SOURCE)
    other = curve_files.record("two", upscaler, replace(few, steps=50), tmp_path, source=SOURCE)
    assert [point.t for point in other["psnr_y"]] == [999]


def test_curves_are_a_table_and_a_plot(tmp_path):
    rows = [
        Row(photo="a", seed=seed, t=t, values={"x": float(t + seed), "y": 1.0}) for seed in (0, 1) for t in (9, 5, 1)
    ]
    both = {"with": curves(rows), "without": curves(row for row in rows if row.t != 5)}
    lines = list(csv.DictReader(io.StringIO(curve_files.curves_csv(both))))
    assert [(line["label"], line["t"]) for line in lines] == [
        ("with", "9"),
        ("with", "5"),
        ("with", "1"),
        ("without", "9"),
        ("without", "1"),
    ]
    assert (lines[1]["x"], lines[1]["x_deviation"]) == ("5.500000", "0.707107")
    curve_files.plot(both, tmp_path / "curves.png")
    with PillowImage.open(tmp_path / "curves.png") as picture:
        assert picture.width > 2 * picture.height > 600
        assert len(picture.convert("RGB").getcolors(2**20) or ()) > 20


def test_degraded_samples_are_the_same_each_time_and_differ(folders):
    settings = degradation("photo")
    first, second = degraded_samples(folders / "HR", settings, 2, 70)
    lq, truth = first.lq(), first.truth()
    assert (lq.size, truth.shape) == ((17, 17), (68, 68, 3))
    np.testing.assert_array_equal(lq.pixels, degraded_samples(folders / "HR", settings, 1, 70)[0].lq().pixels)
    assert not np.array_equal(lq.pixels, second.lq().pixels)
    small = np.asarray(PillowImage.fromarray(truth).resize((17, 17), PillowImage.Resampling.BOX))
    assert np.corrcoef(small.ravel(), lq.pixels.ravel())[0, 1] > 0.6


def test_paired_samples_need_their_lq_photo(folders):
    (folders / "LR" / "Canon_001_LR4.png").unlink()
    with pytest.raises(InputError, match="Canon_001"):
        paired_samples(folders / "LR", folders / "HR")
