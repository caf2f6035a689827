"""Two variants of d3sr-small on the tiny prior, a few steps each."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.data.photos import open_photos
from sdsr.errors import InputError
from sdsr.images.floats import image, quantize
from sdsr.methods import METHODS, ablations
from sdsr.methods.variant import Variant
from sdsr.metrics.planes import resized
from sdsr.photos.photo import Photo
from sdsr.prior.loading import load_prior
from sdsr.studies import ablation
from sdsr.studies.ablation import PROTOCOL, AblationSettings, Result, ablate, results_csv, summary
from sdsr.training.samples import validation_samples

SMALL = {"batch": "1", "crop_px": "64", "ema_decay": "0.5", "optimizer.warmup_steps": "1"}
D3SR = METHODS["d3sr-small"]
TABLE = {
    "T_L = 99": Variant(recipe=D3SR, stage="fidelity"),
    "T_L = 399": Variant(recipe=D3SR, stage="fidelity", changes={"objective.plan.times": (399,)}),
}


pytestmark = pytest.mark.usefixtures("fresh_accelerate")


@pytest.fixture
def settings(folders) -> AblationSettings:
    """One photo of 192 px, two steps of training."""
    photos = (folders / "HR",)
    return AblationSettings(
        data=photos, validation=photos, steps=2, photos=1, photo_px=192, prior="tiny", changes=SMALL, precision="no"
    )


def test_variants_are_trained_alike_scored_and_not_done_twice(settings, tmp_path, monkeypatch):
    run = tmp_path / "run"
    first, second = results = list(ablate(TABLE, run, settings))
    assert [(row.variant, row.seed, row.step) for row in results] == [("T_L = 99", 0, 2), ("T_L = 399", 0, 2)]
    assert set(first.figures) == {"psnr_y", "ssim_y", "niqe", "hf_busy", "hf_flat", "small_perceptual"}
    assert first.figures["psnr_y"] != second.figures["psnr_y"]
    weights = [load_file(run / name / "seed-0" / "parts" / "unet.safetensors") for name in ("t_l-99", "t_l-399")]
    assert any(not tensor.equal(weights[1][key]) for key, tensor in weights[0].items())
    with (run / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(TABLE)
    assert float(rows[1]["psnr_y"]) == pytest.approx(second.figures["psnr_y"], abs=1e-5)

    monkeypatch.setattr(ablation, "launch", lambda *_: pytest.fail("what is scored is not trained again"))
    assert list(ablate(TABLE, run, settings)) == results
    (run / "results.csv").unlink()
    assert list(ablate({"T_L = 399": TABLE["T_L = 399"]}, run, settings)) == [second]
    with (run / "results.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows, "what earlier calls scored stays in the file"


def test_what_is_scored_is_what_was_trained_at_its_own_time(settings, tmp_path):
    """The restorer that is scored has the run's averaged parts and visits the time that its stage was trained at."""
    (result,) = ablate({"late": TABLE["T_L = 399"]}, tmp_path / "run", settings)
    parts = tmp_path / "run" / "late" / "seed-0" / "parts"
    stage = TABLE["T_L = 399"].trained(SMALL)
    upscaler = ablation._upscaler(D3SR, stage, [parts], settings, seed=0)
    assert upscaler.plan(None).times == (399,)
    trained = load_file(parts / "unet.safetensors")
    assert all(tensor.equal(trained[key]) for key, tensor in upscaler.restorer.prior.unet.state_dict().items())
    assert ablation._scored(upscaler, stage, settings) == result.figures


def test_clip_i_and_what_is_gained_over_bicubic_are_measured_too(settings, tmp_path):
    settings = replace(settings, clip="small", steps=1)
    (result,) = ablate({"one": TABLE["T_L = 99"]}, tmp_path / "run", settings)
    (sample,) = validation_samples(
        open_photos(settings.validation), TABLE["T_L = 99"].trained(SMALL), crop_px=192, limit=1
    )
    encode = load_prior("small", device="cpu", dtype=torch.float32).image
    given, truth = (quantize(batch, np.uint8) for batch in (sample.lq, sample.hq))
    seen = [encode(image(Photo(pixels=photo))) for photo in (resized(given, (192, 192)), truth)]
    of_bicubic = torch.nn.functional.cosine_similarity(*seen).item()
    figures = result.figures
    assert figures["clip_i_small"] - figures["delta_clip_i_small"] == pytest.approx(of_bicubic, abs=1e-5)
    assert summary([result], settings.measures)[0][-2:] == ["clip_i_small ↑", "delta_clip_i_small ↑"]


def test_a_stopped_ablation_goes_on_where_it_was(settings, tmp_path, monkeypatch):
    """Told to stop in the second run, it scores nothing unfinished; the same call does the rest."""
    run, trained, launch = tmp_path / "run", [], ablation.launch

    def interrupted(recipe, launched, limits):
        trained.append(limits.folder)
        return launch(recipe, launched, replace(limits, steps=1) if len(trained) == 2 else limits)

    with monkeypatch.context() as patch:
        patch.setattr(ablation, "launch", interrupted)
        patch.setattr(ablation, "run_metadata", unfinished(ablation.run_metadata))
        assert [row.variant for row in ablate(TABLE, run, settings)] == ["T_L = 99"]
    assert not (run / "t_l-399" / "seed-0" / "scores.json").exists()
    steps = []
    monkeypatch.setattr(ablation, "launch", lambda *given: steps.append(given[2].folder.parent.name) or launch(*given))
    assert [(row.variant, row.step) for row in ablate(TABLE, run, settings)] == [("T_L = 99", 2), ("T_L = 399", 2)]
    assert steps == ["t_l-399"]


def unfinished(metadata):
    """A run of one step is one that was told to stop."""

    def read(parts):
        noted = metadata(parts)
        return noted | ({"finished": "false"} if noted["step"] == "1" else {})

    return read


def test_what_would_make_the_rows_unequal_is_an_error(settings, tmp_path):
    with pytest.raises(InputError, match=r"budget \(=none\) must be equal for all variants; give --minutes or --steps"):
        next(ablate(TABLE, tmp_path / "run", replace(settings, steps=None)))
    (tmp_path / "begun").mkdir()
    ablation._note(tmp_path / "begun", settings)
    with pytest.raises(InputError, match=r"was begun with steps \(=2\), not 3; name another --run"):
        next(ablate(TABLE, tmp_path / "begun", replace(settings, steps=3)))
    ablation._note(tmp_path / "begun", replace(settings, seeds=(0, 1)))  # more seeds may follow


def test_the_table_shows_means_over_seeds_and_their_spread():
    rows = [
        Result(variant=name, seed=seed, step=2, seconds=1, figures={m.name: value for m in PROTOCOL.measures})
        for name, seed, value in (("a", 0, 1.0), ("b", 0, 5.0), ("a", 1, 2.0))
    ]
    head, first, second = summary(rows, PROTOCOL.measures)
    assert head[:3] == ["variant", "seeds", "psnr_y ↑"]
    assert first[:3] == ["a", "2", "1.50 ± 0.71"]
    assert second[:3] == ["b", "1", "5.00"]
    assert results_csv(rows, PROTOCOL.measures).splitlines()[3].startswith("a,1,2,1,2.000000,")


def test_the_command_prints_the_table(settings, tmp_path, monkeypatch):
    monkeypatch.setitem(ablations.ABLATIONS, "made-up", {"one": TABLE["T_L = 99"], "two": TABLE["T_L = 399"]})
    photos = str(settings.data[0])
    arguments = ["made-up", "--data", photos, "--validation", photos, "--run", str(tmp_path / "run"), "--steps", "1"]
    options = ["--photos", "1", "--photo-px", "192", "--prior", "tiny", "--precision", "no", "--seeds", "0,1"]
    changes = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, ["study", "ablation", *arguments, *options, *changes, "--only", "one"])
    assert done.exit_code == 0, done.output
    assert "| one " in done.output
    assert "| two " not in done.output
    astray = CliRunner().invoke(app, ["study", "ablation", *arguments, *options, "--only", "three"])
    assert astray.exit_code == 2
    assert "must be one of one, two" in " ".join(astray.output.split())
    assert "±" in done.output
    assert json.loads((tmp_path / "run" / "one" / "seed-1" / "scores.json").read_text())["seed"] == 1
    wrong = CliRunner().invoke(app, ["study", "ablation", "made-up-too", *arguments[1:], *options])
    assert isinstance(wrong.exception, InputError)
    assert "table (=made-up-too) must be one of" in str(wrong.exception)
