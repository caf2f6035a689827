import json
import logging
import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from sdsr.digests import combined_sha256
from sdsr.errors import ModelError
from sdsr.prior.condition import Condition
from sdsr.prior.group_statistics import imposed, recorded
from sdsr.prior.loading import choose_device, choose_dtype, load_prior
from sdsr.prior.offloading import Offloading
from sdsr.prior.posterior import decode_around
from sdsr.prior.sources import SOURCES
from sdsr.prior.stable_diffusion import (
    CLIP_MEAN,
    CLIP_STD,
    PublishedLatents,
    load_image_encoder,
    load_network,
    weight_digests,
)
from sdsr.tensors import Region

LENGTH = 8


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A Stable Diffusion in diffusers' layout, of a few thousand parameters."""
    folder = tmp_path_factory.mktemp("tiny-sd")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKL(
            block_out_channels=(4, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=2,
            latent_channels=4,
            scaling_factor=0.18215,
        ).save_pretrained(folder / "vae")
        UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ).save_pretrained(folder / "unet")
        shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        CLIPTextModel(CLIPTextConfig(**shape, vocab_size=64, max_position_embeddings=LENGTH)).save_pretrained(
            folder / "text_encoder"
        )
        CLIPVisionModelWithProjection(
            CLIPVisionConfig(**shape, projection_dim=12, image_size=16, patch_size=8)
        ).save_pretrained(folder / "image_encoder")
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = ["!", *letters, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token="!", model_max_length=LENGTH
    ).save_pretrained(folder / "tokenizer")
    DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(
        folder / "scheduler"
    )
    return folder


@pytest.fixture
def copy(published, tmp_path):
    """A copy of it that a test may damage; weights that it does not touch are links."""
    for path in published.rglob("*"):
        target = tmp_path / path.relative_to(published)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    return tmp_path


@pytest.fixture
def prior(published):
    return load_prior(published, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("copied", [deepcopy, lambda prior: pickle.loads(pickle.dumps(prior))])
def test_a_copy_embeds_and_decodes_with_its_own_networks(prior, copied):
    """Of prompts and latents that the first one remembers, too."""
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = prior.embed("a photo"), prior.decode(latent)
    twin = copied(prior)
    with torch.no_grad():
        for tensor in prior.modules.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(0.5)
    assert torch.equal(twin.embed("a photo"), wanted[0])
    assert torch.equal(twin.decode(latent), wanted[1])
    assert twin.text.model is twin.modules["text_encoder"] or twin.text.model in list(twin.modules.modules())


def change(path, **tensors):
    changed = load_file(path) | tensors
    path.unlink()
    save_file(changed, path, metadata={"format": "pt"})


def step(image):
    """How much the colors of columns change at a third and two thirds, over how much from cell to cell elsewhere."""
    change = image.mean(dim=2).diff(dim=-1).abs().mean(dim=(0, 1))[3::4]
    borders = (torch.arange(1, len(change) + 1) * 3) % (len(change) + 1) == 0
    return float(change[borders].mean() / change[~borders].mean())


def test_shapes_and_facts_of_the_prior(prior, published):
    assert (prior.factor, prior.channels, prior.native_px) == (4, 4, 32)
    assert prior.name == published.name
    assert prior.schedule.signal(999).item() == pytest.approx(0.0046600**0.5, rel=1e-4)
    assert prior.sha256 == combined_sha256(weight_digests(published).values())
    assert len(weight_digests(published)) == 3
    assert not any(parameter.requires_grad for parameter in prior.modules.parameters())
    assert not any(module.training for module in prior.modules.modules())


def test_encode_is_the_scaled_mode_or_a_posterior_sample_of_the_given_noise(prior, published):
    vae = AutoencoderKL.from_pretrained(published / "vae")
    image, noise = torch.rand(2, 3, 32, 24), torch.randn(2, 4, 8, 6)
    with torch.no_grad():
        posterior = vae.encode(2 * image - 1).latent_dist
        decoded = vae.decode(noise / 0.18215).sample / 2 + 0.5
    torch.testing.assert_close(prior.encode(image), posterior.mean * 0.18215)
    torch.testing.assert_close(prior.encode(image, noise), (posterior.mean + posterior.std * noise) * 0.18215)
    torch.testing.assert_close(prior.decode(noise), decoded)


@pytest.mark.parametrize(
    "config", [{"shift_factor": 0.5}, {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 3.0, 4.0]}]
)
def test_shifted_and_whitened_latents(published, config):
    vae = AutoencoderKL.from_pretrained(published / "vae", **config).requires_grad_(False)
    latents, image = PublishedLatents(vae), torch.rand(1, 3, 16, 16)
    mean = torch.tensor(config.get("latents_mean", [0.5])).view(1, -1, 1, 1)
    std = torch.tensor(config.get("latents_std", [1.0])).view(1, -1, 1, 1)
    expected = (vae.encode(2 * image - 1).latent_dist.mean - mean) * 0.18215 / std
    torch.testing.assert_close(latents.posterior(image).mean, expected)
    raw = vae.decode(expected * std / 0.18215 + mean).sample
    torch.testing.assert_close(latents.decode(expected), (raw + 1) / 2)


def test_a_latent_of_one_window_is_decoded_whole(prior, rng):
    latent, cells = torch.randn(1, 4, 9, 128, generator=rng), Region(top=2, left=100, height=3, width=28)
    with torch.no_grad():
        assert torch.equal(prior.decode_part(latent, cells), prior.decode(latent)[cells.scaled(4).slices])


@pytest.mark.usefixtures("plain_convolutions")
def test_the_margin_is_as_far_as_the_decoder_looks_and_not_a_cell_farther(published):
    """The middle pixels' gradient marks the cells that they depend on; the largest weights, so that none cancels."""
    vae = AutoencoderKL.from_pretrained(published / "vae", mid_block_add_attention=False, low_cpu_mem_usage=False)
    for parameter in vae.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.0)
    latents, latent = PublishedLatents(vae), torch.rand(1, 4, 1, 41).requires_grad_()
    with recorded(vae.decoder) as statistics:
        latents.decode(latent)
    with imposed(statistics):
        latents.decode(latent)[..., 80:84].sum().backward()
    assert latent.grad is not None
    columns = latent.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    assert max(20 - int(columns.min()), int(columns.max()) - 20) == latents.margin


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_of_a_large_latent_share_their_tone(published, rng, dtype):
    """The halves differ in color and contrast; parts that are decoded each by itself end in a step."""
    prior = load_prior(published, device="cpu", dtype=dtype)
    latents = PublishedLatents(prior.modules["autoencoder"], tile_cells=64)
    prior = prior.adapted(autoencoder=latents)
    torch.nn.init.zeros_(latents.model.decoder.mid_block.attentions[0].to_out[0].weight)  # it sees the part alone
    across = torch.linspace(-1, 1, 144)
    latent = torch.sigmoid(20 * across) * 2 - 1 + (across > 0) * 0.5 * torch.randn(1, 4, 20, 144, generator=rng)
    regions = [Region(top=0, left=left, height=20, width=48) for left in (0, 48, 96)]
    with torch.inference_mode():
        whole = prior.decode(latent)
        together = torch.cat([prior.decode_part(latent, region) for region in regions], dim=-1)
        alone = torch.cat(
            [decode_around(prior.decode, latent, region, margin=latents.margin, factor=4) for region in regions], dim=-1
        )
        assert torch.equal(prior.decode(latent), whole)
    error = (together - whole).abs().mean() / whole.std()
    assert step(together) == pytest.approx(step(whole), rel=0.06)
    assert step(alone) > 1.5 * step(whole)
    assert error < 0.05


def test_statistics_are_measured_once_in_the_life_of_a_latent_and_on_a_bounded_part(published, rng, monkeypatch):
    latents = PublishedLatents(AutoencoderKL.from_pretrained(published / "vae"), tile_cells=32)
    decode, sizes = latents.model.decode, []
    monkeypatch.setattr(
        latents.model, "decode", lambda z, **rest: sizes.append(tuple(z.shape[2:])) or decode(z, **rest)
    )
    region = Region(top=40, left=0, height=8, width=8)
    with torch.inference_mode():
        for _ in range(2):
            latent = torch.randn(1, 4, 90, 70, generator=rng)
            for _ in range(2):
                latents.decode_part(latent, region)
    wide = (8 + 2 * latents.margin, 8 + latents.margin)
    assert sizes == [(32, 32), wide, wide] * 2
    del latent
    assert not len(latents._statistics)


def test_pixels_of_half_precision_are_as_fine_as_the_decoder_gives_them(published, monkeypatch):
    half = load_prior(published, device="cpu", dtype=torch.bfloat16)
    decoded = torch.linspace(-1, 1, 3000).view(1, 3, 1, 1000).bfloat16()
    monkeypatch.setattr(half.modules["autoencoder"], "decode", lambda latent, return_dict: (decoded,))
    pixels = half.decode(torch.zeros(1, 4, 1, 250))
    assert torch.equal(2 * pixels - 1, decoded.float())
    assert len(pixels.unique()) > 256


def test_prompts_are_padded_cut_and_remembered(prior, published, caplog):
    tokenizer = CLIPTokenizer.from_pretrained(published / "tokenizer")
    model = CLIPTextModel.from_pretrained(published / "text_encoder").eval()
    ids = torch.tensor([tokenizer("ab").input_ids + [0] * (LENGTH - 4)])
    with torch.no_grad():
        expected = model(ids).last_hidden_state
    both = prior.embed(["ab", ""])
    assert both.shape == (2, LENGTH, 16)
    torch.testing.assert_close(both[:1], expected)
    assert torch.equal(both[1:], prior.embed(""))
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert prior.embed("a b c d e f g h i j").shape == (1, LENGTH, 16)
    assert "only the first 8 are used" in caplog.text


def test_a_remembered_prompt_can_be_used_by_autograd_after_inference_mode(prior):
    with torch.inference_mode():
        prior.embed("clean")
    weight = torch.ones(16, 16, requires_grad=True)
    (prior.embed("clean") @ weight).sum().backward()
    assert weight.grad is not None


def test_image_encoder_sees_the_whole_photo_squashed_and_normalised(prior, published):
    model = CLIPVisionModelWithProjection.from_pretrained(published / "image_encoder").eval()
    image = torch.rand(2, 3, 40, 24)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    pixels = (F.interpolate(image, (16, 16), mode="bicubic", antialias=False) - mean) / std
    with torch.no_grad():
        expected = model(pixels).image_embeds
    assert prior.image is not None
    torch.testing.assert_close(prior.image(image), expected)
    torch.testing.assert_close(load_image_encoder(published / "image_encoder")(image), expected)


def test_half_precision_keeps_norms_precise_and_follows_full_precision(prior, published, rng):
    half = load_prior(published, device="cpu", dtype=torch.bfloat16)
    assert half.unet.conv_in.weight.dtype == torch.bfloat16
    assert half.unet.conv_norm_out.weight.dtype == torch.float32
    image = torch.rand(1, 3, 32, 32, generator=rng)
    latent = prior.encode(image)
    residuals = tuple(torch.zeros(1, *shape) for shape in [(8, 8, 8), (8, 8, 8), (8, 4, 4), (16, 4, 4)])
    condition = Condition(prompt=prior.embed("x"), residuals=(residuals, torch.zeros(1, 16, 4, 4)))
    for one, other in (
        (half.encode(image), latent),
        (half.decode(latent), prior.decode(latent)),
        (half.predict(latent, 9, condition), prior.predict(latent, 9, condition)),
        (half.embed("x"), prior.embed("x")),
    ):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.1 * other.norm()
        assert not torch.equal(one, other)


def test_the_same_folder_of_half_precision_files_is_read(published, tmp_path):
    for part, kind in (("vae", AutoencoderKL), ("unet", UNet2DConditionModel), ("text_encoder", CLIPTextModel)):
        kind.from_pretrained(published / part).half().save_pretrained(tmp_path / part, variant="fp16")
    for part in ("tokenizer", "scheduler"):
        (tmp_path / part).symlink_to(published / part)
    prior = load_prior(tmp_path, device="cpu", dtype=torch.float32)
    assert prior.unet.dtype == torch.float32
    assert prior.image is None
    assert all(".fp16." in path for path in weight_digests(tmp_path))


def test_a_named_source_is_verified(copy, monkeypatch):
    monkeypatch.setenv("SDSR_MODELS", str(copy.parent))
    (copy.parent / "sd-2.1-base").symlink_to(copy)
    monkeypatch.chdir(copy)
    with pytest.raises(
        ModelError, match=rf"must be {SOURCES['sd-2.1-base'].weights['vae/diffusion_pytorch_model.safetensors']}"
    ):
        load_prior("sd-2.1-base", device="cpu")


def test_damaged_weights_are_one_line_errors_with_a_remedy(copy):
    unet = copy / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(unet)
    change(unet, **{"conv_in.bias": torch.full((8,), torch.nan)})
    with pytest.raises(ModelError, match=r"hold NaN or infinite values in conv_in.bias"):
        load_prior(copy, device="cpu")
    save_file({name: tensor for name, tensor in whole.items() if name != "conv_in.bias"}, unet, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, conv_in.bias first; download them again"):
        load_prior(copy, device="cpu")
    unet.write_bytes(unet.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"unet\) can't be loaded .*; download them again") as raised:
        load_prior(copy, device="cpu")
    assert "\n" not in str(raised.value)
    unet.unlink()
    with pytest.raises(ModelError, match=r"has no weights \(\*.safetensors\) in unet; download them again"):
        load_prior(copy, device="cpu")
    (copy / "vae" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no vae/config.json; give a folder in diffusers' layout"):
        load_prior(copy, device="cpu")


def test_another_kind_of_model_is_refused(copy):
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    for path in (copy / "text_encoder").iterdir():
        path.unlink()
    CLIPTextModel(CLIPTextConfig(**shape, vocab_size=64, max_position_embeddings=LENGTH)).save_pretrained(
        copy / "text_encoder"
    )
    with pytest.raises(ModelError, match=r"token widths 8 and 16"):
        load_prior(copy, device="cpu")


def test_precision_is_never_float16_by_itself():
    assert choose_dtype(torch.device("mps")) == torch.float32
    assert choose_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)
    assert choose_device().type in ("cpu", "cuda", "mps", "xpu")


@pytest.mark.parametrize(
    ("able", "keeps_to", "chosen"),
    [
        (True, "AVX512", "bfloat16"),
        (True, "AVX2", "float32"),
        (True, "DEFAULT", "float32"),
        (False, "AVX512", "float32"),
    ],
)
def test_a_processor_computes_in_what_it_has_and_torch_keeps_to(able, keeps_to, chosen, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: keeps_to)
    assert choose_dtype(torch.device("cpu")) == getattr(torch, chosen)


@pytest.mark.parametrize("by_layer", [False, True])
def test_weights_that_come_in_turn_serve_prompts_and_large_latents(published, by_layer, monkeypatch):
    """Text is read and statistics are imposed, which use a normalisation's weights after its forward."""
    monkeypatch.setattr("sdsr.prior.offloading.STAYS_BELOW_BYTES", 0)
    prior = load_prior(published, device="cpu")
    prior = prior.adapted(autoencoder=PublishedLatents(prior.modules["autoencoder"], tile_cells=16))
    latent = torch.randn(1, 4, 20, 24, generator=torch.Generator().manual_seed(0))
    image = torch.rand(1, 3, 80, 96, generator=torch.Generator().manual_seed(0))

    def run(prior):
        with torch.inference_mode():
            part = prior.decode_part(latent.clone(), Region(top=2, left=3, height=16, width=16))
            posterior = prior.posterior_of(lambda region: image[region.slices], (80, 96))
            return torch.cat([each.flatten() for each in (prior.embed("a bee"), part, posterior.mean)])

    plain = run(prior)
    again = load_prior(published, device="cpu")  # which remembers no prompt
    again = again.adapted(autoencoder=PublishedLatents(again.modules["autoencoder"], tile_cells=16))
    Offloading(
        {name: [module] for name, module in again.modules.items()}, torch.device("cpu"), by_layer=by_layer
    ).attach()
    assert torch.equal(run(again), plain)
    meta = load_prior(published, device="cpu", dtype=torch.float32)
    Offloading(
        {name: [module] for name, module in meta.modules.items()}, torch.device("meta"), by_layer=by_layer
    ).attach()
    assert meta.embed("a bee").device.type == "meta"
    assert meta.decode(latent.to("meta")).device.type == "meta"


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_weights_are_cast_once_from_what_the_file_has_and_nothing_of_it_stays_mapped(copy, stored, wanted):
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    held = {name: tensor.to(stored) for name, tensor in load_file(file).items()}
    file.unlink()
    save_file(held, file, metadata={"format": "pt"})
    unet = load_network(UNet2DConditionModel, copy, "unet", wanted)
    for name, tensor in unet.state_dict().items():
        kept = torch.float32 if ".norm" in name or "norm_out" in name else wanted
        assert tensor.dtype == kept, name
        assert torch.equal(tensor, held[name].float().to(kept)), name
    maps = Path("/proc/self/maps")
    del held
    assert not maps.exists() or str(file) not in maps.read_text()
