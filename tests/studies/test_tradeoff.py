"""The trade-off of fidelity: one restoration for all fidelities, kept in a file, and the product's own pictures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sdsr.cli.main import app
from sdsr.errors import InputError
from sdsr.images.floats import quantize
from sdsr.methods import METHODS
from sdsr.methods.stablesr.recipes import STABLESR_SMALL
from sdsr.metrics.protocol import PROTOCOLS
from sdsr.photos.photo import Photo
from sdsr.restoration.restorer import Restorer
from sdsr.studies.samples import Sample, evenly_spaced, paired_samples
from sdsr.studies.tradeoff import Tradeoff, compare_fidelities
from sdsr.upscaling import Request, Upscaler

STEPS = 2


def stirred() -> Upscaler:
    """The small StableSR on the tiny prior, whose decoder is random, so that fidelity is felt."""
    rng = torch.Generator().manual_seed(0)
    restorer = STABLESR_SMALL.method.build("tiny", "cpu")
    schedule = restorer.prior.schedule.predicting("v_prediction")
    restorer = replace(restorer, prior=restorer.prior.adapted(schedule=schedule))
    with torch.no_grad():
        for module in (restorer.prior.modules["autoencoder"], restorer.parts.modules["decoder"]):
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return Upscaler(STABLESR_SMALL, restorer)


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return stirred()


@pytest.fixture
def folders(photo, tmp_path) -> tuple[Path, Path]:
    for name, size in (("hr", 64), ("lq", 16)):
        (tmp_path / name).mkdir()
        for index in range(2):
            pixels = quantize(photo[..., 8 * index :, 16 * index :][..., :size, :size], np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path / "lq", tmp_path / "hr"


@pytest.fixture
def restorations(monkeypatch) -> list[int]:
    """The times of all denoising that is done."""
    times, denoise = [], Restorer.denoise

    def counted(self, noisy, t, *rest):
        times.append(t)
        return denoise(self, noisy, t, *rest)

    monkeypatch.setattr(Restorer, "denoise", counted)
    return times


def test_each_row_scores_what_upscale_gives_at_that_fidelity(upscaler, folders, tmp_path):
    samples, wanted = paired_samples(*folders)[:1], Tradeoff(folder=tmp_path, steps=STEPS, seed=3)
    seen: list[np.ndarray] = []
    watched = replace(PROTOCOLS["rgb"].measures[0], function=lambda result, truth: seen.append(result) or 0.0)
    labels = list(compare_fidelities(upscaler, samples, wanted, replace(PROTOCOLS["rgb"], measures=(watched,))))
    assert labels == ["fidelity 0", "fidelity 0.5", "fidelity 1"]
    for fidelity, found in zip((0, 0.5, 1), seen, strict=True):
        request = Request(width=64, height=64, steps=STEPS, seed=3, fidelity=fidelity)
        expected = upscaler.upscale(samples[0].lq(), request).pixels
        assert np.abs(found - expected).max() <= 1  # a latent from elsewhere in memory may round otherwise
    assert not np.array_equal(seen[0], seen[2])


def test_photos_are_restored_once_and_never_again_until_something_changes(upscaler, folders, tmp_path, restorations):
    def run(**changed) -> dict:
        wanted = replace(Tradeoff(folder=tmp_path / "latents", steps=STEPS), **changed)
        (tmp_path / "latents").mkdir(exist_ok=True)
        return compare_fidelities(upscaler, paired_samples(*folders), wanted, PROTOCOLS["rgb"])

    first = run()
    assert len(restorations) == 2 * STEPS
    assert len(list((tmp_path / "latents").iterdir())) == 2
    again = run(fidelities=(0.0, 0.25, 0.5, 1.0))
    assert len(restorations) == 2 * STEPS
    for label, scores in first.items():
        np.testing.assert_allclose(again[label].values["psnr_rgb"], scores.values["psnr_rgb"], rtol=1e-4)
    run(seed=1, fidelities=(1.0,))
    assert len(restorations) == 4 * STEPS
    run(steps=STEPS + 1, fidelities=(1.0,))
    assert len(restorations) == 6 * STEPS + 2


def test_another_decoder_needs_no_restoring_and_another_encoder_does(folders, tmp_path, restorations):
    samples, wanted = paired_samples(*folders)[:1], Tradeoff(folder=tmp_path, steps=STEPS, fidelities=(1.0,))
    upscaler = stirred()
    first = compare_fidelities(upscaler, samples, wanted, PROTOCOLS["rgb"])
    for part, times in (("decoder", STEPS), ("time_aware_encoder", 2 * STEPS)):
        for parameter in upscaler.restorer.parts.modules.get_submodule(part).parameters():
            parameter.data += 0.05
        other = compare_fidelities(upscaler, samples, wanted, PROTOCOLS["rgb"])
        assert len(restorations) == times
        assert other["fidelity 1"].values["psnr_rgb"] != first["fidelity 1"].values["psnr_rgb"]


def test_a_damaged_latent_is_named(upscaler, folders, tmp_path):
    wanted = Tradeoff(folder=tmp_path, steps=STEPS)
    samples = paired_samples(*folders)[:1]
    compare_fidelities(upscaler, samples, wanted, PROTOCOLS["rgb"])
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(b"cut short")
    with pytest.raises(InputError, match="delete it to restore the photo again"):
        compare_fidelities(upscaler, samples, wanted, PROTOCOLS["rgb"])


def test_methods_without_fidelity_say_so_at_once(folders, tmp_path):
    recipe = METHODS["seesr"]
    plain = Upscaler(recipe, recipe.method.build("tiny"))
    with pytest.raises(InputError, match="means nothing to this method"):
        compare_fidelities(plain, paired_samples(*folders), Tradeoff(folder=tmp_path), PROTOCOLS["rgb"])
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_subset_is_evenly_spaced():
    def sample(index: int) -> Sample:
        pixels = np.zeros((8, 8, 3), np.uint8)
        return Sample(name=str(index), lq=lambda: Photo(pixels=pixels), truth=lambda: pixels)

    photos = [sample(index) for index in range(100)]
    assert [each.name for each in evenly_spaced(photos, 4)] == ["12", "37", "62", "87"]
    assert len(evenly_spaced(photos, None)) == len(evenly_spaced(photos, 200)) == 100


def test_the_command_prints_a_row_for_each_fidelity(folders, tmp_path):
    Upscaler(STABLESR_SMALL, STABLESR_SMALL.method.build("tiny", "cpu")).save_pretrained(tmp_path / "model")
    words = ["study", "tradeoff", tmp_path / "model", *folders, "-o", tmp_path / "out", "--photos", 2, "--steps", STEPS]
    words += ["-w", 0, "-w", 1, "--protocol", "rgb", "--csv", tmp_path / "rows.csv", "--json", "--prior", "tiny"]
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    found = json.loads(done.stdout)["results"]
    assert set(found) == {"fidelity 0", "fidelity 1"}
    assert [row["n"] for row in found.values()] == [2, 2]
    assert all(row["lq_psnr_y"] > 5 for row in found.values())
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + 2 * 2


def test_lq_photos_are_made_where_a_degradation_is_named(folders, tmp_path):
    Upscaler(STABLESR_SMALL, STABLESR_SMALL.method.build("tiny", "cpu")).save_pretrained(tmp_path / "model")
    _, truths = folders
    words = [
        "study",
        "tradeoff",
        tmp_path / "model",
        truths,
        "--degraded",
        "photo",
        "-o",
        tmp_path / "out",
        "--steps",
        STEPS,
    ]
    words += ["-w", 0, "-w", 0.5, "--protocol", "rgb", "--json", "--prior", "tiny"]
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert json.loads(done.stdout)["results"]["fidelity 0.5"]["n"] == 2


@pytest.mark.parametrize(("count", "options"), [(1, []), (3, []), (2, ["--degraded", "photo"])])
def test_a_wrong_number_of_folders_is_named(folders, count, options):
    given = [str(folder) for folder in (*folders, folders[0])[:count]]
    done = CliRunner().invoke(app, ["study", "tradeoff", "stablesr-small", *given, *options])
    assert isinstance(done.exception, InputError)
    assert f"folders (={count})" in str(done.exception)
