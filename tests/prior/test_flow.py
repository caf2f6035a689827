"""Flow-matching priors: folders in diffusers' layout, prompts read or stored, and what other methods are told."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from sdsr.errors import InputError, ModelError
from sdsr.methods import METHODS
from sdsr.prior.condition import Condition
from sdsr.prior.flow_text import FILE, T5_TOKENS, JointText, StoredPrompts, packed, store_prompts, unpacked
from sdsr.prior.loading import load_prior
from sdsr.prior.shapes_flow import flow_shape_prior
from sdsr.prior.tiny_flow import tiny_flow_prior, tiny_transformer, tiny_vae
from sdsr.studies.complexity import complexity

PROMPTS = ["", "a cat", "noise"]
LENGTH = 8


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A Stable Diffusion 3 in diffusers' layout, of a few thousand parameters, with all three text encoders."""
    folder = tmp_path_factory.mktemp("tiny-sd3")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tiny_vae().save_pretrained(folder / "vae")
        tiny_transformer().save_pretrained(folder / "transformer")
        shape = {"intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
        for name, width, projection in (("text_encoder", 8, 4), ("text_encoder_2", 16, 12)):
            config = CLIPTextConfig(
                **shape, hidden_size=width, projection_dim=projection, max_position_embeddings=LENGTH, eos_token_id=3
            )
            CLIPTextModelWithProjection(config).save_pretrained(folder / name)
        config = T5Config(vocab_size=32, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        T5EncoderModel(config).save_pretrained(folder / "text_encoder_3")
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = ["!", *letters, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    for name in ("tokenizer", "tokenizer_2"):
        CLIPTokenizer(
            str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token="!", model_max_length=LENGTH
        ).save_pretrained(folder / name)
    pieces = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "cat": 3}, unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="<pad>", unk_token="<unk>", model_max_length=T5_TOKENS
    ).save_pretrained(folder / "tokenizer_3")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    return folder


def without(folder: Path, target: Path, *parts: str) -> Path:
    """A copy of the folder that lacks these parts."""
    shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*parts))
    return target


@pytest.mark.parametrize("t5", [True, False], ids=["with T5", "without"])
def test_prompts_and_predictions_are_those_of_diffusers(published, tmp_path, t5):
    folder = published if t5 else without(published, tmp_path / "sd3", "text_encoder_3", "tokenizer_3")
    prior = load_prior(folder, device="cpu", dtype=torch.float32)
    assert isinstance(prior.text, JointText)
    modules: dict = dict(prior.modules.items())
    readers = [*prior.text.clips, *([prior.text.t5] if prior.text.t5 else [])]
    tokenizers = {f"tokenizer{suffix}": None for suffix in ("", "_2", "_3")}
    tokenizers |= {name: reader.tokenizer for name, reader in zip(tokenizers, readers, strict=False)}
    pipeline = StableDiffusion3Pipeline(
        vae=modules["autoencoder"],
        transformer=modules["transformer"],
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        text_encoder=modules["text_encoder"],
        text_encoder_2=modules["text_encoder_2"],
        text_encoder_3=modules.get("text_encoder_3"),
        **tokenizers,
    )
    with torch.no_grad():
        tokens, _, pooled, _ = pipeline.encode_prompt(PROMPTS, None, None, do_classifier_free_guidance=False)
        condition = prior.embed(PROMPTS)
        torch.testing.assert_close(condition, packed(tokens, pooled))
        noisy = torch.randn(3, 16, 8, 6, generator=torch.Generator().manual_seed(0))
        t = torch.tensor([0, 500, 999])
        times = pipeline.scheduler.timesteps.flip(0)[t]
        expected = modules["transformer"](noisy, tokens, pooled, times, return_dict=False)[0]
        torch.testing.assert_close(prior.predict(noisy, t, Condition(prompt=condition)), expected)
        sigma = pipeline.scheduler.sigmas[:1000].flip(0)[t].view(-1, 1, 1, 1)
        torch.testing.assert_close(prior.denoise(noisy, t, Condition(prompt=condition)), noisy - sigma * expected)


def test_the_autoencoder_shifts_and_scales_as_published(published):
    prior, vae = load_prior(published, device="cpu", dtype=torch.float32), tiny_vae()
    vae.load_state_dict(prior.modules["autoencoder"].state_dict())
    image = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = (vae.encode(2 * image - 1).latent_dist.mean - 0.0609) * 1.5305
        torch.testing.assert_close(prior.encode(image), expected, atol=1e-5, rtol=1e-4)
        decoded = vae.decode(expected / 1.5305 + 0.0609).sample
        torch.testing.assert_close(prior.decode(expected), (decoded + 1) / 2, atol=1e-5, rtol=1e-4)


def test_a_folder_tells_its_facts(published):
    prior = load_prior(published, device="cpu", dtype=torch.float32)
    assert (prior.factor, prior.channels, prior.native_px, prior.multiple_px) == (8, 16, 192, 16)
    assert prior.schedule.sigma(999).item() == 1
    assert prior.schedule.sigma(499).item() == pytest.approx(0.75)
    assert not any(parameter.requires_grad for parameter in prior.modules.parameters())


def test_stored_prompts_stand_in_for_text_encoders(published, tmp_path):
    whole = load_prior(published, device="cpu", dtype=torch.float32)
    folder = without(published, tmp_path / "sd3", "text_encoder*", "tokenizer*")
    with pytest.raises(ModelError, match=rf"has neither text encoders nor {FILE}; .* store the embeddings"):
        load_prior(folder, device="cpu")
    store_prompts(whole.text, PROMPTS, folder)
    bare = load_prior(folder, device="cpu", dtype=torch.float32)
    assert isinstance(bare.text, StoredPrompts)
    assert torch.equal(bare.embed(PROMPTS[::-1]), whole.embed(PROMPTS[::-1]))
    assert bare.sha256 == whole.sha256
    with pytest.raises(InputError, match=r"prompt \(='dog'\) is none of the stored ones \['', 'a cat', 'noise'\]"):
        bare.embed("dog")


def test_a_folder_whose_parts_do_not_fit_is_refused(published, tmp_path):
    folder = without(published, tmp_path / "sd3", "text_encoder_3")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "DDPMScheduler", "prediction_type": "epsilon"}))
    with pytest.raises(ModelError, match=r"is no flow-matching model .* predicts epsilon"):
        load_prior(folder, device="cpu")


def test_the_pooled_embedding_travels_as_a_token():
    tokens, pooled = torch.randn(2, 3, 8), torch.randn(2, 5)
    one, other = unpacked(packed(tokens, pooled), 5)
    assert torch.equal(one, tokens)
    assert torch.equal(other, pooled)


def test_the_same_seed_gives_the_same_prior_and_leaves_other_random_numbers_alone():
    before = torch.random.get_rng_state()
    first, second, other = tiny_flow_prior(3), load_prior(tiny_flow_prior(3)), tiny_flow_prior(4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.sha256 == second.sha256 != other.sha256
    assert load_prior("tiny-flow").sha256 == tiny_flow_prior().sha256


def test_a_latent_with_more_places_than_the_network_knows_is_refused():
    prior = tiny_flow_prior()
    condition = Condition(prompt=prior.embed(""))
    assert prior.denoise(torch.zeros(1, 16, 32, 16), 500, condition).shape == (1, 16, 32, 16)
    with pytest.raises(InputError, match=r"latent \(=16 x 34\) must be at most 32 cells a side.*in windows"):
        prior.denoise(torch.zeros(1, 16, 34, 16), 500, condition)


@pytest.mark.parametrize("name", ["consissr-small", "stablesr-small", "addsr-small", "d3sr-small", "osediff"])
def test_methods_that_need_a_unet_say_so(name):
    method = METHODS[name].method
    assert method is not None
    with pytest.raises(InputError, match=r"prior \(=tiny-flow\) predicts by SD3Transformer2DModel, .* needs a UNet's"):
        method.build(tiny_flow_prior())


def test_stable_diffusion_3_has_its_published_size():
    prior = flow_shape_prior()
    count = {name: sum(map(torch.numel, module.parameters())) for name, module in prior.modules.items()}
    assert count == {"autoencoder": 83_819_683, "transformer": 2_028_328_000, "prompts": 0}
    assert (prior.factor, prior.channels, prior.native_px, prior.multiple_px) == (8, 16, 1024, 16)


@pytest.mark.slow
def test_a_method_of_one_step_is_counted_on_it_at_full_size(caplog):
    found = complexity(METHODS["d3sr"], "sd-3-medium")
    sizes = {part.name: part.parameters for part in found.parts}
    assert sizes["transformer"] == 2_028_328_000
    assert sizes["lora"] > 0
    assert not found.discriminators
    assert "generation is counted without its discriminator" in caplog.text
    assert found.macs("image").total > 10**12
