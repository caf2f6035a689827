"""What is special in ConsisSR: all of it learns at once, the two readings, guidance that changes words only."""

from dataclasses import replace

import pytest
import torch

from sdsr.adapters.hybrid_attention import HybridSettings
from sdsr.diffusion.noise import CanvasNoise
from sdsr.errors import ModelError
from sdsr.methods.consissr.method import ConsisSR, PhotoEncoders, photo_encoder
from sdsr.methods.consissr.recipes import (
    ABLATIONS,
    CONSISSR,
    CONSISSR_PUBLISHED,
    CONSISSR_SMALL,
)
from sdsr.prior.condition import condition_at
from sdsr.prior.posterior import Posterior
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.sample import sample
from tests.tensors import pair


@pytest.fixture
def lq_image(photo) -> LqImage:
    return LqImage.of(photo[..., :16, :24], (64, 96), 16)


@pytest.mark.parametrize("recipe", [CONSISSR, CONSISSR_SMALL], ids=lambda recipe: recipe.name)
def test_every_trained_parameter_has_a_gradient_by_the_second_step(recipe, photo):
    torch.manual_seed(0)
    stage = recipe.stage("restoration")
    training_step = stage.objective.training_step(stage.build("tiny"), None)
    named = [
        (f"{part}.{name}", p)
        for part, module in training_step.trainable_modules.items()
        for name, p in module.named_parameters()
    ]
    trained = {name: parameter for name, parameter in named if parameter.requires_grad}
    optimizer, sample = torch.optim.Adam(trained.values(), lr=1e-3), pair(photo)
    for step in range(2):
        optimizer.zero_grad()
        training_step(sample, torch.Generator().manual_seed(step), 0.0).loss.backward()
        optimizer.step()
    assert [name for name, parameter in trained.items() if not parameter.grad.any()] == []
    frozen = [parameter for _, parameter in named if not parameter.requires_grad]
    assert frozen
    assert all(parameter.grad is None for parameter in frozen)


def test_what_the_paper_keeps_fixed_does_not_learn():
    controlnet = CONSISSR.stage("restoration").build("tiny").parts.modules["controlnet"]
    fixed = {name for name, parameter in controlnet.named_parameters() if not parameter.requires_grad}
    in_blocks = {name for name, _ in controlnet.named_parameters() if ".transformer_blocks." in name}
    assert fixed == {name for name in in_blocks if ".attn2." in name or ".norm2." in name}
    assert fixed


def test_untrained_it_predicts_what_the_prior_does(lq_image):
    restorer, prior = ConsisSR().build("tiny"), tiny_prior()
    latent = prior.encode(lq_image.enlarged())
    condition = condition_at(restorer.parts.conditioner(restorer.prior, lq_image, latent)("clean"), latent, 500)
    plain = prior.predict(latent, 500, replace(condition, tokens=None, residuals=None))
    torch.testing.assert_close(restorer.prior.predict(latent, 500, condition), plain, atol=1e-5, rtol=1e-5)


def test_both_sides_of_guidance_know_the_photo(lq_image):
    restorer = ConsisSR().build("tiny")
    latent = restorer.prior.encode(lq_image.enlarged())
    condition_for = restorer.parts.conditioner(restorer.prior, lq_image, latent)
    clean, degraded = (
        condition_at(condition_for(prompt), latent, 500)
        for prompt in (restorer.parts.prompt, restorer.parts.negative_prompt)
    )
    assert not torch.equal(clean.prompt, degraded.prompt)
    assert torch.equal(clean.tokens, degraded.tokens)


@pytest.mark.parametrize("stochastic", [False, True])
def test_guided_steps_look_at_the_photo_once(lq_image, monkeypatch, stochastic):
    """The autoencoder is asked once, and where the latent is a sample, its mode is the hint."""
    restorer, posteriors, embedded, hints = ConsisSR().build("tiny"), [], [], []
    autoencoder = restorer.prior.autoencoder
    encode, encoder = autoencoder.posterior, restorer.parts.modules["image_encoder"]
    restorer.parts.modules["controlnet"].controlnet_cond_embedding.conv_in.register_forward_pre_hook(
        lambda _, inputs: hints.append(inputs[0])
    )

    def posterior(image):
        posteriors.append(encode(image).mean)
        return Posterior(mean=posteriors[-1], std=torch.ones_like(posteriors[-1]) if stochastic else None)

    monkeypatch.setattr(autoencoder, "posterior", posterior)
    encoder.register_forward_pre_hook(lambda _, photos: embedded.append(photos))
    with torch.inference_mode():  # as jobs do
        encoded = sample(restorer, lq_image, replace(CONSISSR.plan, times=(999, 500)), CanvasNoise(seeds=(4,))).encoded
    assert len(embedded) == len(posteriors) == len(hints) == 1
    assert torch.equal(hints[0], posteriors[0])
    assert torch.equal(encoded.latent, posteriors[0]) != stochastic


def test_tags_can_be_told_instead_of_an_embedding(lq_image):
    restorer = ConsisSR(hybrid=HybridSettings(image="none"), tokens="tags").build("tiny")
    modules = restorer.parts.modules
    assert {"attention", "control_attention"} < set(modules.keys())
    assert not any("to_out_ip" in name for name in modules.state_dict())
    latent = restorer.prior.encode(lq_image.enlarged())
    condition_for = restorer.parts.conditioner(restorer.prior, lq_image, latent)("clean")
    condition = condition_at(condition_for, latent, 500)
    shown = restorer.prior.predict(latent, 500, condition)
    withheld = restorer.prior.predict(latent, 500, replace(condition, tokens=None))
    assert (shown - withheld).abs().max() > 1e-4
    positions = modules["hybrid"].down_blocks
    for parameter in positions.parameters():
        parameter.data.add_(0.1)
    assert not torch.equal(restorer.prior.predict(latent, 500, condition), shown)


def test_the_published_network_has_projections_of_its_own():
    paper, published = (one.method.build("tiny").parts.modules["hybrid"] for one in (CONSISSR, CONSISSR_PUBLISHED))
    own = {name for name, _ in published.named_parameters()} - {name for name, _ in paper.named_parameters()}
    assert own
    assert all("_ip.weight" in name for name in own)


def test_a_prior_without_an_image_encoder_waits_for_weights_or_asks_for_clip(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SDSR_MODELS", str(tmp_path))
    blind = replace(tiny_prior(), image=None)
    assert photo_encoder(blind, deferred=True).width == 1024
    assert next(ConsisSR().build(blind).parts.modules["image_encoder"].parameters()).is_meta
    with pytest.raises(ModelError, match="clip-vit-h"):
        PhotoEncoders().build(blind)


@pytest.mark.parametrize("table", ["consissr-prompts", "consissr-tala"])
def test_each_row_of_the_tables_can_be_trained(table, photo):
    for name, variant in ABLATIONS[table].items():
        stage = variant.trained({})
        training_step = stage.objective.training_step(stage.build("tiny"), None)
        assert training_step(pair(photo), torch.Generator().manual_seed(0), 0.0).loss.isfinite(), name
