"""StableSR's checkpoints through the conversion: all names of the full size, and what the networks gave."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.diffusion.steps import ancestral
from sdsr.diffusion.times import spaced
from sdsr.methods.stablesr.convert import convert, convert_cfw
from sdsr.methods.stablesr.encoder import EncoderSettings, TimeAwareEncoder
from sdsr.methods.stablesr.feature_wrapping import FeatureWrapping, noted
from sdsr.methods.stablesr.modulation import Modulation
from sdsr.prior.condition import Condition

GOLDEN = Path(__file__).parents[2] / "golden"
LAYOUT = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 24,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
ENCODER = EncoderSettings(widths=(32, 32, 64, 64), blocks=1, map_channels=32, groups=8)
AUTOENCODER = {
    "block_out_channels": (32, 32, 32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}


def recorded(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"stablesr_{name}/io.safetensors")


def weights(name: str, prefix: str = "") -> dict[str, Tensor]:
    stored = load_file(GOLDEN / f"stablesr_{name}/weights.safetensors")
    return {prefix + key: tensor.float() for key, tensor in stored.items()}


def checkpoint() -> dict[str, Tensor]:
    return weights("unet_sft", "model.diffusion_model.") | weights("time_aware_encoder", "structcond_stage_model.")


def sft_features_of(io: dict[str, Tensor]) -> dict[int, Tensor]:
    return {24 // width: io[f"struct_cond_w{width}"] for width in (24, 12, 6, 3)}


@pytest.fixture(scope="module")
def parts():
    return convert(checkpoint(), layout=LAYOUT, encoder=ENCODER).parts


@pytest.fixture(scope="module")
def encoder(parts) -> TimeAwareEncoder:
    encoder = TimeAwareEncoder(settings=ENCODER).eval()
    encoder.load_state_dict(parts["time_aware_encoder"])
    return encoder


@pytest.fixture(scope="module")
def unet(parts) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(**LAYOUT).eval()
    unet.load_state_dict(parts["unet"])
    modulation = Modulation(unet, map_channels=32, hidden=16)
    modulation.load_state_dict(parts["modulation"])
    modulation.attach(unet)
    return unet


@torch.no_grad()
def test_the_published_maps(encoder):
    io = recorded("time_aware_encoder")
    sft_features, expected = encoder(io["lr_latent"], io["timesteps"].long()), sft_features_of(io)
    assert sft_features.keys() == expected.keys()
    for factor, each in sft_features.items():
        torch.testing.assert_close(each, expected[factor], rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("together", [False, True])
def test_the_published_prediction(unet, encoder, together):
    io, times = recorded("unet_sft"), recorded("unet_sft")["timesteps"].long()
    sft_features = encoder(recorded("time_aware_encoder")["lr_latent"], times) if together else sft_features_of(io)
    with Condition(prompt=io["context"], sft_features=sft_features).at_hand():
        found = unet(io["x"], times, io["context"]).sample
    torch.testing.assert_close(found, io["eps"], rtol=0, atol=5e-5)


@pytest.fixture(scope="module")
def wrapped() -> tuple[AutoencoderKL, FeatureWrapping]:
    state = weights("cfw_encoder") | weights("cfw")
    parts = convert_cfw(state, layout=AUTOENCODER, blocks=1).parts
    model = AutoencoderKL(**AUTOENCODER).eval()
    model.load_state_dict(parts["autoencoder"])
    wrapping = FeatureWrapping(model, blocks=1, groups=8)
    wrapping.load_state_dict(parts["feature_wrapping"])
    return model, wrapping


@torch.no_grad()
def test_the_published_features(wrapped):
    io, (model, _) = recorded("cfw_encoder"), wrapped
    with noted(model) as features:
        moments = model.encode(io["lr_image"]).latent_dist.parameters
    torch.testing.assert_close(moments, io["moments"], rtol=0, atol=5e-5)
    torch.testing.assert_close(features[2], io["enc_fea_0"], rtol=0, atol=5e-5)
    torch.testing.assert_close(features[4], io["enc_fea_1"], rtol=0, atol=5e-5)


@torch.no_grad()
@pytest.mark.parametrize(("name", "fidelity"), [("output_w0", 0.0), ("output_w05", 0.5), ("output_w1", 1.0)])
def test_the_published_decoding(wrapped, name, fidelity):
    io, (model, wrapping) = recorded("cfw"), wrapped
    with wrapping.fused(model, {2: io["enc_fea_0"], 4: io["enc_fea_1"]}, fidelity):
        found = model.decode(io["latent"]).sample
    torch.testing.assert_close(found, io[name], rtol=0, atol=5e-5)


def full_size(name: str) -> dict[str, Tensor]:
    lines = (GOLDEN / f"keys/{name}").read_text().splitlines()
    named = (line.split(" ", maxsplit=1) for line in lines if line)
    return {key: torch.empty(json.loads(shape), device="meta") for key, shape in named}


def check_shapes(part: dict[str, Tensor], module: torch.nn.Module) -> None:
    assert {name: each.shape for name, each in part.items()} == {
        name: each.shape for name, each in module.state_dict().items()
    }


def test_every_name_of_the_full_size_is_accounted_for():
    state = full_size("keys_stablesr.txt")
    found = convert(state)
    assert (found.unknown, found.missing) == ((), ())
    assert {part: len(tensors) for part, tensors in found.parts.items()} == {
        "modulation": 176,
        "time_aware_encoder": 228,  # from 200: seven joint projections are three each here
        "unet": 686,
    }
    assert len(found.dropped) == len(state) - 176 - 200 - 686
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
        )
        check_shapes(found.parts["unet"], unet)
        check_shapes(found.parts["modulation"], Modulation(unet))
        check_shapes(found.parts["time_aware_encoder"], TimeAwareEncoder())


def test_a_file_cut_down_to_what_was_trained():
    state = checkpoint()
    trained = {name: each for name, each in state.items() if "spade" in name or "structcond" in name}
    found = convert(trained, layout=LAYOUT, encoder=ENCODER)
    assert set(found.parts) == {"modulation", "time_aware_encoder"}
    assert (found.unknown, found.missing, found.dropped) == ((), (), ())


def test_what_is_missing_and_unknown_is_named():
    state = checkpoint() | {"structcond_stage_model.extra": torch.zeros(1), "betas": torch.zeros(1)}
    absent = [
        "structcond_stage_model.middle_block.1.qkv.weight",
        "model.diffusion_model.input_blocks.1.0.spade.mlp_gamma.bias",
    ]
    for name in absent:
        del state[name]
    found = convert(state, layout=LAYOUT, encoder=ENCODER)
    assert set(found.missing) == set(absent)
    assert (found.unknown, found.dropped) == (("structcond_stage_model.extra",), ("betas",))


def test_every_name_of_the_full_size_wrapping_is_accounted_for():
    state = full_size("keys_stablesr_cfw.txt")
    found = convert_cfw(state | {"loss.discriminator.main.0.weight": torch.zeros(1)})
    assert (found.unknown, found.missing, found.dropped) == ((), (), ("loss.discriminator.main.0.weight",))
    assert {part: len(tensors) for part, tensors in found.parts.items()} == {
        "feature_wrapping": 156,
        "autoencoder": 248,
    }
    trained = {name: each for name, each in state.items() if "fusion_layer" in name}
    assert set(convert_cfw(trained).parts) == {"feature_wrapping"}
    assert convert_cfw(trained).missing == ()


@pytest.mark.parametrize("count", [4, 50])
def test_the_published_sampler(count):
    """From the noised LQ latent, by ancestral steps over evenly spaced times."""
    io, schedule, times = recorded("sampler"), NoiseSchedule.scaled_linear(), spaced(count)
    assert times == tuple(io[f"timesteps_ascending_{count}"].long().flip(0).tolist())
    noisy = schedule.noisy(io["lr_latent"], io["start_noise"], 999)
    torch.testing.assert_close(noisy, io["x_T"], rtol=0, atol=1e-5)
    rows = zip(io[f"trajectory_{count}"], io[f"noises_{count}"], pairwise((*times, None)), strict=True)
    for expected, noise, (t, to) in rows:
        assert t is not None
        clean = schedule.clean(0.3 * noisy + 0.1 * io["lr_latent"], noisy, t)
        noisy = clean if to is None else ancestral(schedule, noisy, clean, t, to, noise[None])
        torch.testing.assert_close(noisy[0], expected, rtol=0, atol=5e-4)


def test_the_published_coefficients_of_200_steps():
    io, schedule = recorded("sampler"), NoiseSchedule.scaled_linear()
    assert spaced(200) == tuple(io["timesteps_ascending_200"].long().flip(0).tolist())
    alpha_bar = schedule.signal(io["timesteps_ascending_200"].long()).square().float()
    torch.testing.assert_close(alpha_bar, io["alphas_cumprod_200"], rtol=2e-5, atol=0)
