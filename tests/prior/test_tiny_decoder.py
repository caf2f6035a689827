"""A tiny decoder in the prior's place: its conventions are diffusers' and TAESD's, its parts are the whole's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import nn

from sdsr.errors import ModelError
from sdsr.prior.running import computing
from sdsr.prior.tiny import tiny_prior
from sdsr.prior.tiny_decoder import TinyDecoder, decoded_by, load_tiny_decoder
from sdsr.tensors import Region

BLOCKS = (1, 1, 1, 1)


def published(**config: object) -> AutoencoderTiny:
    """A published model of random weights: as many sizes as TAESD's, fewer and narrower blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths = (8, 8, 8, 8)
        shape = {"encoder_block_out_channels": widths, "decoder_block_out_channels": widths}
        return AutoencoderTiny(num_encoder_blocks=BLOCKS, num_decoder_blocks=BLOCKS, **shape, **config).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published().save_pretrained(tmp_path / "taesd")
    return tmp_path / "taesd"


@pytest.fixture
def latent(rng: torch.Generator) -> torch.Tensor:
    return 2 * torch.randn(1, 4, 40, 24, generator=rng)


def test_a_scaled_latent_is_decoded_as_diffusers_pipelines_do_and_given_in_0_to_1(folder, latent):
    """They call `vae.decode(latents / vae.config.scaling_factor)`, and take [-1, 1] to [0, 1]."""
    for config in ({}, {"scaling_factor": 0.5}):
        model = published(**config)
        model.save_pretrained(folder)
        with torch.no_grad():
            expected = model.decode(latent / model.config["scaling_factor"]).sample / 2 + 0.5
            decoded = load_tiny_decoder(folder)(latent)
        torch.testing.assert_close(decoded, expected)
    assert published().config["scaling_factor"] == 1, "TAESD takes latents as the diffusion model has them"


def test_the_networks_own_range_is_0_to_1(latent):
    """Of TAESD itself: the layers give [0, 1] (here a constant), and what comes before them keeps latents below 3."""
    decoder = TinyDecoder(4, width=8, blocks=BLOCKS)
    last = decoder.network.layers[-1]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.constant_(last.bias, 0.25)
    torch.testing.assert_close(decoder(latent), torch.full((1, 3, 320, 192), 0.25))
    seen: list[torch.Tensor] = []
    decoder.network.layers[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    decoder(100 * latent)
    assert float(seen[0].abs().max()) == pytest.approx(3, abs=1e-3)


def test_files_of_taesd_and_of_a_run_are_the_same_decoder(folder, latent, tmp_path):
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    own = {name.removeprefix("decoder.layers."): t for name, t in tensors.items() if name.startswith("decoder.")}
    original = {f"{int(name.partition('.')[0]) + 1}.{name.partition('.')[2]}": t for name, t in own.items()}
    save_file(original, tmp_path / "taesd_decoder.safetensors")
    torch.save(original, tmp_path / "taesd_decoder.pth")
    save_file({f"network.layers.{name}": t for name, t in own.items()}, tmp_path / "tiny_decoder.safetensors")
    with torch.no_grad():
        expected = load_tiny_decoder(folder)(latent)
        for file in ("taesd_decoder.safetensors", "taesd_decoder.pth", "tiny_decoder.safetensors"):
            assert torch.equal(load_tiny_decoder(tmp_path / file)(latent), expected)


def test_parts_are_the_wholes(folder, latent, plain_convolutions):
    prior = decoded_by(tiny_prior(), load_tiny_decoder(folder))
    whole = prior.decode(latent)
    cells = Region(top=16, left=8, height=4, width=8)
    torch.testing.assert_close(prior.decode_part(latent, cells), whole[cells.scaled(8).slices], atol=1e-5, rtol=0)
    decoder = prior.modules["tiny_decoder"]
    assert isinstance(decoder, TinyDecoder)
    reach = decoder.margin - 1
    moved = latent.clone()
    moved[..., 20, 12] += 5
    changed = (prior.decode(moved) - whole).abs().amax((0, 1)) > 0
    rows, columns = changed.nonzero(as_tuple=True)
    assert rows.min() >= 8 * (20 - reach)
    assert columns.max() < 8 * (13 + reach)
    assert rows.max() > 8 * 24, "it looks around"


def test_the_prior_is_what_it_was_but_for_decoding(folder, photo):
    plain = tiny_prior()
    prior = decoded_by(plain, load_tiny_decoder(folder))
    assert prior.sha256 == plain.sha256
    image = photo[..., :64, :64]
    assert torch.equal(prior.encode(image), plain.encode(image))
    assert not torch.equal(prior.decode(plain.encode(image)), plain.decode(plain.encode(image)))
    assert prior.facts.part_px >= plain.facts.part_px
    assert not any(parameter.requires_grad for parameter in prior.modules.parameters())
    half = replace(prior, dtype=torch.bfloat16)
    with torch.no_grad(), computing(prior.device, torch.bfloat16):
        assert half.decode(plain.encode(image)).dtype == torch.float32


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "diffusion_pytorch_model.safetensors").unlink(), "has no diffusion_pytorch_model"),
        (lambda folder: (folder / "config.json").write_text("{}"), "must be an AutoencoderTiny"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (
            lambda folder: save_file({"conv.weight": torch.zeros(1)}, folder / "diffusion_pytorch_model.safetensors"),
            "no AutoencoderTiny or TAESD",
        ),
    ],
)
def test_what_is_no_decoder_is_refused(folder, spoil, says):
    spoil(folder)
    with pytest.raises(ModelError, match=says):
        load_tiny_decoder(folder)


def test_a_decoder_of_other_latents_is_refused():
    with pytest.raises(ModelError, match="16 channels and 8 px"):
        decoded_by(tiny_prior(), TinyDecoder(16, width=8, blocks=BLOCKS))
    with pytest.raises(ModelError, match="4 channels and 4 px"):
        decoded_by(tiny_prior(), TinyDecoder(4, width=8, blocks=(1, 1, 1)))
