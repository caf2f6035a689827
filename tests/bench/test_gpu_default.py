"""The default's training as a graph can hold it: the stage's own losses, rehearsed on the CPU."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image as pillow
from safetensors.torch import load_file, save_file

from bench.gpu import default
from bench.gpu.captured_step import Batch, DefaultStep
from bench.gpu.captured_training import CapturedTraining
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.losses.real_esrgan import RealEsrgan
from sdsr.losses.terms import weighted_sum
from sdsr.methods.one_step.recipes import D3SR_SMALL
from sdsr.objectives.pairs import lq_image_of
from sdsr.objectives.training_step import Sample
from sdsr.tensors import Region

SIDE = 128


@pytest.fixture(scope="module")
def parts(photo_batch):
    torch.manual_seed(0)
    stage = D3SR_SMALL.stage("whole")
    stage = replace(stage, objective=replace(stage.objective, crop_px=SIDE))
    restorer = stage.build("small", torch.device("cpu"))
    teacher = RealEsrgan(width=4, growth=2, blocks=1).requires_grad_(False)
    lq = torch.nn.functional.interpolate(photo_batch, scale_factor=0.25, mode="area")
    sample = Sample(hq=photo_batch, lq=lq, teacher=teacher(lq))
    enlarged = lq_image_of(restorer, sample).enlarged()
    batch = Batch(hq=photo_batch, lq=lq, enlarged=enlarged, latent=restorer.prior.encode(enlarged))
    step = DefaultStep(restorer, teacher, load_efficientnet_lite("lite1"))
    return stage, restorer, sample, batch, step


@pytest.fixture(scope="module")
def photo_batch():
    torch.manual_seed(1)
    coarse = torch.rand(2, 3, SIDE // 8, SIDE // 8)
    fine = torch.rand(2, 3, SIDE, SIDE)
    return (0.8 * torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic") + 0.2 * fine).clamp(0, 1)


def test_its_losses_are_those_of_the_stage(parts):
    stage, restorer, sample, batch, step = parts
    own = stage.objective.training_step(restorer, stage.discriminator(restorer))
    record = own.rule.take(sample, torch.Generator().manual_seed(0))
    record = replace(record, window=Region(top=3, left=5, height=SIDE - 8, width=SIDE - 8), turn=0)
    _, expected = weighted_sum(own.terms, record)
    terms, _, _ = step.losses(batch, (3, 5))
    compared = [name for name in expected if name in terms]
    assert {
        "taught_image",
        "taught",
        "taught_energy",
        "features",
        "edges",
        "lattice",
        "spectral_peaks",
        "gradient",
    } <= set(compared)
    for name in compared:
        torch.testing.assert_close(terms[name].detach(), expected[name], rtol=2e-4, atol=1e-6, msg=name)


def test_a_state_put_back_goes_on_as_before(parts):
    *_, batch, step = parts
    training = CapturedTraining(step, batch, [(0, 0), (2, 6)], rate=1e-3)
    training.replay(0)
    kept = training.state()
    training.replay(1)
    first = training.told()
    moved = [each.clone() for each in training.averages]
    training.restore(kept)
    training.replay(1)
    assert training.told() == pytest.approx(first, rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(training.averages, moved, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(training.averages, kept, strict=False))


def test_it_trains_and_branches_on_a_cpu(tmp_path, photo):
    save_file(RealEsrgan(width=4, growth=2, blocks=1).state_dict(), tmp_path / "teacher.safetensors")
    (tmp_path / "photos").mkdir()
    pillow.fromarray((photo[0].permute(1, 2, 0) * 255).byte().numpy()).save(tmp_path / "photos" / "a.png")
    given = ["--teacher", str(tmp_path / "teacher.safetensors"), "--photos", str(tmp_path / "photos")]
    small = ["--batch", "1", "--crop-px", "64", "--offsets", "1", "--repeats", "1"]
    branches = ["--branch", "a=0.1", "b=0.1,adversarial=0.5"]
    default.main(["--rehearse", *given, "--to", str(tmp_path / "out"), "--seconds", "0.1", *small, *branches])
    log = [json.loads(line) for line in (tmp_path / "out" / "leg.jsonl").read_text().splitlines()]
    assert [line["part"] for line in log if "steps" in line] == ["main", "a", "b"]
    a, b = (
        {k: v for path in sorted((tmp_path / "out").glob(f"{name}-*")) for k, v in load_file(path).items()}
        for name in "ab"
    )
    assert a.keys() == b.keys()
    assert any(not torch.equal(a[name], b[name]) for name in a)
