"""Image attention: there with tokens under its name only, gone without a trace, safe under gradient checkpointing."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sdsr.adapters.control import photo_control, residuals
from sdsr.adapters.image_attention import ImageAttention
from sdsr.prior.condition import Condition
from sdsr.prior.prior import Prior
from sdsr.prior.tiny import tiny_prior

WIDTH = 12


@pytest.fixture
def prior() -> Prior:
    return tiny_prior()


@pytest.fixture
def noisy() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def image_condition(prior: Prior, *, seed: int = 2, **more) -> Condition:
    tokens = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(seed))
    return Condition(prompt=prior.embed("clean"), tokens=tokens, **more)


def seeded(network: nn.Module, seed: int = 0, **more) -> ImageAttention:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageAttention(network, token_width=WIDTH, **more)


def test_detached_and_without_tokens_the_network_is_the_stock_one(prior, noisy):
    condition = image_condition(prior)
    before, names = prior.predict(noisy, 300, condition), list(prior.unet.state_dict())
    attention = seeded(prior.unet)
    assert torch.equal(prior.predict(noisy, 300, condition), before)
    attention.attach(prior.unet)
    assert list(prior.unet.state_dict()) == names
    assert not torch.allclose(prior.predict(noisy, 300, condition), before, atol=1e-3)
    silent = Condition(prompt=condition.prompt)
    assert torch.equal(prior.predict(noisy, 300, silent), before)
    attention.detach(prior.unet)
    assert torch.equal(prior.predict(noisy, 300, condition), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in prior.unet.modules())


def test_tokens_of_one_photo_are_for_all_latents(prior, noisy):
    seeded(prior.unet).attach(prior.unet)
    condition = image_condition(prior)
    one = Condition(prompt=condition.prompt, tokens=condition.tokens[:1])
    both = Condition(prompt=condition.prompt, tokens=condition.tokens[:1].expand(2, -1, -1))
    assert torch.equal(prior.predict(noisy, 300, one), prior.predict(noisy, 300, both))
    other = prior.predict(noisy, 300, image_condition(prior, seed=3))
    assert not torch.allclose(prior.predict(noisy, 300, condition), other, atol=1e-4)


def test_begun_at_nothing_it_changes_nothing_and_narrow_it_is_light(prior, noisy):
    condition, before = image_condition(prior), prior.predict(noisy, 300, Condition(prompt=prior.embed("clean")))
    attention = seeded(prior.unet, init_scale=0.0, head_width=2)
    attention.attach(prior.unet)
    torch.testing.assert_close(prior.predict(noisy, 300, condition), before, atol=1e-6, rtol=0)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (attention, seeded(prior.unet))]
    assert 4 * sizes[0] < sizes[1]


def test_attention_hears_nothing_of_the_tokens_it_does_not_know(prior, noisy, caplog):
    """diffusers warns of unknown arguments, at every block."""
    seeded(prior.unet).attach(prior.unet)
    with caplog.at_level("WARNING"):
        prior.predict(noisy, 300, image_condition(prior))
    assert not caplog.records


def test_the_voice_says_which_of_two_attends(prior, noisy):
    alone = {}
    for seed, adapter in ((0, ""), (1, "teacher")):
        attention = seeded(prior.unet, seed, adapter=adapter)
        attention.attach(prior.unet)
        alone[adapter] = prior.predict(noisy, 300, image_condition(prior, adapter=adapter))
        attention.detach(prior.unet)
    for seed, adapter in ((0, ""), (1, "teacher")):
        seeded(prior.unet, seed, adapter=adapter).attach(prior.unet)
    for adapter, prediction in alone.items():
        assert torch.equal(prior.predict(noisy, 300, image_condition(prior, adapter=adapter)), prediction)
    assert not torch.allclose(alone[""], alone["teacher"], atol=1e-3)


@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "whole call"])
def test_checkpointing_reruns_the_student_although_the_teacher_spoke_last(noisy, whole):
    """The teacher predicts between the student's forward and its backward; UNet and ControlNet both."""

    def gradients(checkpointed: bool) -> list[Tensor]:
        prior = tiny_prior()
        prior.unet.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            controlnet = photo_control(prior.unet, widths=(8, 8, 8, 16)).train()
        for convolution in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            nn.init.ones_(convolution.weight)
        parts = [
            seeded(net, seed, adapter=v) for net in (prior.unet, controlnet) for seed, v in ((0, ""), (1, "teacher"))
        ]
        for part, network in zip(parts, (prior.unet, prior.unet, controlnet, controlnet), strict=True):
            part.attach(network)
        if checkpointed and not whole:
            for network in (prior.unet, controlnet, *(layer for part in parts for layer in part._layers().values())):
                network.enable_gradient_checkpointing()
        hint = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))

        def predicted(latent: Tensor, adapter: str) -> Tensor:
            condition = image_condition(prior, adapter=adapter)
            controls = residuals(controlnet, latent, 300, condition, hint)
            more = Condition(prompt=condition.prompt, tokens=condition.tokens, adapter=adapter, residuals=controls)
            return prior.predict(latent, 300, more)

        given = noisy.clone().requires_grad_()
        if checkpointed and whole:
            output = checkpoint(predicted, given, "", use_reentrant=False)
        else:
            output = predicted(given, "")
        with torch.no_grad():
            predicted(noisy, "teacher")
        output.square().sum().backward()
        student, teacher = (parts[0], parts[2]), (parts[1], parts[3])
        assert all(parameter.grad is None for part in teacher for parameter in part.parameters())
        return [parameter.grad for part in student for parameter in part.parameters()]

    plain, again = gradients(False), gradients(True)
    assert all(gradient.any() for gradient in plain)
    for mine, theirs in zip(again, plain, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
