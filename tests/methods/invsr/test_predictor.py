"""InvSR's noise predictor against a recording of the published one, its published size, and its attention."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.methods.invsr.convert import convert
from sdsr.methods.invsr.predictor import Gaussian, NoisePredictor
from sdsr.methods.invsr.recipes import SMALL_METHOD

GOLDEN = Path(__file__).parents[2] / "golden" / "invsr_noise_predictor"


@pytest.fixture(scope="module")
def recorded() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "io.safetensors")


@pytest.fixture(scope="module")
def predictor() -> NoisePredictor:
    """The recorded predictor, its weights read as those of a published file."""
    predictor = NoisePredictor(widths=(16, 32), norm_groups=8, head_width=8).eval()
    converted = convert(load_file(GOLDEN / "weights.safetensors"))
    assert (converted.unknown, converted.missing) == ((), ())
    predictor.load_state_dict(converted.parts["noise_predictor"])
    return predictor


@pytest.mark.parametrize("case", ["t199", "t99", "tmix"])
def test_the_gaussian_is_that_recorded(predictor, recorded, case):
    with torch.no_grad():
        predicted = predictor(recorded["lr_image"], recorded[f"timestep_{case}"].long().expand(2))
    for name, value in (
        ("mean", predicted.mean),
        ("logvar", predicted.log_variance),
        ("sample", predicted.sample(recorded["posterior_noise"])),
    ):
        torch.testing.assert_close(value, recorded[f"{name}_{case}"], atol=2e-5, rtol=0)


def test_one_time_serves_the_whole_batch(predictor, recorded):
    with torch.no_grad():
        predicted = predictor(recorded["lr_image"], 199)
    torch.testing.assert_close(predicted.mean, recorded["mean_t199"], atol=2e-5, rtol=0)


def test_stages_are_those_recorded(predictor, recorded):
    stages = {
        "conv_in": predictor.conv_in,
        "down_block_0": predictor.down_blocks[0],
        "down_block_1": predictor.down_blocks[1],
        "mid_block": predictor.mid_block,
    }
    seen = {}
    hooks = [
        stage.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, stage in stages.items()
    ]
    with torch.no_grad():
        predictor(recorded["lr_image"], 199)
    for hook in hooks:
        hook.remove()
    for name, out in seen.items():
        features = out[0] if isinstance(out, tuple) else out
        torch.testing.assert_close(features, recorded[f"feat_t199_{name}"], atol=1e-4, rtol=0)
    assert set(seen) == set(stages)


def test_published_size():
    with torch.device("meta"):
        predictor = NoisePredictor()
        predicted = predictor(torch.empty(1, 3, 128, 128), 199)
    assert sum(parameter.numel() for parameter in predictor.parameters()) == 33_837_576
    assert len(predictor.state_dict()) == 164
    assert predicted.mean.shape == (1, 4, 64, 64)


def test_the_small_one_is_small():
    with torch.device("meta"):
        predictor = NoisePredictor(**asdict(SMALL_METHOD.predictor), latent_channels=16)
    assert 2 * sum(parameter.numel() for parameter in predictor.parameters()) < 10e6


def test_the_log_variance_is_bounded(predictor, recorded):
    assert predictor.conv_out.bias is not None
    before = predictor.conv_out.bias.detach().clone()
    try:
        predictor.conv_out.bias.data[4:] += torch.tensor([100.0, -100.0, 0.0, 0.0])
        with torch.no_grad():
            log_variance = predictor(recorded["lr_image"], 199).log_variance
    finally:
        predictor.conv_out.bias.data.copy_(before)
    assert float(log_variance[:, 0].min()) == 20
    assert float(log_variance[:, 1].max()) == -30


def test_a_sample_has_the_mean_and_the_variance(rng):
    mean, log_variance = torch.full((1, 1, 200, 200), 3.0), torch.full((1, 1, 200, 200), 1.4)
    sample = Gaussian(mean=mean, log_variance=log_variance).sample(torch.randn(mean.shape, generator=rng))
    assert float(sample.mean()) == pytest.approx(3, abs=0.03)
    assert float(sample.var().log()) == pytest.approx(1.4, abs=0.03)


def test_in_half_precision_the_result_is_close(predictor, recorded):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        predicted = predictor(recorded["lr_image"], 199)
    assert predicted.mean.dtype == torch.float32
    error = (predicted.mean - recorded["mean_t199"]).norm() / recorded["mean_t199"].norm()
    assert 0 < float(error) < 0.03
