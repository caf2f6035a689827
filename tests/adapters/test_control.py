"""ControlNets: copies that say nothing at first, hints of the latent's size, what they tell a UNet."""

from collections.abc import Callable

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from sdsr.adapters.control import hint_features, latent_control, photo_control, residuals
from sdsr.prior.condition import Condition
from sdsr.prior.tiny import tiny_prior

PROMPT = "clean"


def stirred(make: Callable[[UNet2DConditionModel], ControlNetModel], unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet with random weights, also where it begins at zero."""
    torch.manual_seed(0)
    controlnet = make(unet)
    rng = torch.Generator().manual_seed(2)
    for parameter in controlnet.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
    return controlnet


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_sizes_on_stable_diffusion_2_1():
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024,
            use_linear_projection=True,
            sample_size=64,
        )
        controlnet = latent_control(unet)
    assert sum(parameter.numel() for parameter in controlnet.parameters()) == 364_228_384
    assert sum(parameter.numel() for parameter in controlnet.controlnet_cond_embedding.parameters()) == 1_086_624


def test_is_a_copy_of_the_encoder_and_middle_in_float32():
    unet = tiny_prior().unet
    controlnet = latent_control(unet.to(torch.bfloat16))
    state, decoder = controlnet.state_dict(), ("up_blocks", "conv_norm_out", "conv_out")
    copied = {name: tensor for name, tensor in unet.state_dict().items() if not name.startswith(decoder)}
    assert copied.keys() == {name for name in state if not name.startswith("controlnet_")}
    assert all(torch.equal(state[name], copied[name].float()) for name in copied)
    assert {parameter.dtype for parameter in controlnet.parameters()} == {torch.float32}
    heads = {name: module.heads for name, module in unet.named_modules() if isinstance(module, Attention)}
    for name, module in controlnet.named_modules():
        assert not isinstance(module, Attention) or module.heads == heads[name] == 4


def test_says_nothing_until_trained():
    prior = tiny_prior()
    noisy, condition = noise(2, 4, 8, 8), Condition(prompt=prior.embed(PROMPT))
    expected = prior.predict(noisy, 399, condition)
    told = residuals(latent_control(prior.unet), noisy, 399, condition, noise(2, 4, 8, 8, seed=2))
    assert not any(tensor.any() for tensor in (*told[0], told[1]))
    condition = Condition(prompt=condition.prompt, residuals=told)
    torch.testing.assert_close(prior.predict(noisy, 399, condition), expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(8, 8), (8, 14)])
def test_hint_of_the_latents_size_reaches_the_unet(size: tuple[int, int]):
    prior = tiny_prior()
    controlnet, condition = stirred(latent_control, prior.unet), Condition(prompt=prior.embed(PROMPT))
    noisy = noise(2, 4, *size)
    told = [residuals(controlnet, noisy, 399, condition, noise(2, 4, *size, seed=seed)) for seed in (2, 3)]
    first, second = (prior.predict(noisy, 399, Condition(prompt=condition.prompt, residuals=each)) for each in told)
    assert (first - second).abs().max() > 1e-3


@pytest.mark.usefixtures("plain_convolutions")
def test_each_cell_of_the_hint_is_seen_near_its_place():
    controlnet = stirred(latent_control, tiny_prior().unet)
    hint = noise(1, 4, 40, 40)
    changed = hint.clone()
    changed[..., 12, 20] += 1
    difference = controlnet.controlnet_cond_embedding(hint) - controlnet.controlnet_cond_embedding(changed)
    rows, columns = difference[0].abs().amax(0).nonzero().T
    assert (int(rows.min()), int(rows.max())) == (4, 20)  # eight convolutions of 3 x 3
    assert (int(columns.min()), int(columns.max())) == (12, 28)


def test_photo_hint_is_eight_times_the_latent():
    prior = tiny_prior()
    controlnet, condition = stirred(photo_control, prior.unet), Condition(prompt=prior.embed(PROMPT))
    skips, bottleneck = residuals(controlnet, noise(1, 4, 8, 8), 399, condition, torch.rand(1, 3, 64, 64))
    assert bottleneck.shape == (1, 32, 4, 4)
    assert skips[0].shape == (1, 32, 8, 8)


def test_one_prompt_and_hint_serve_a_batch_and_scale_is_linear():
    prior = tiny_prior()
    controlnet, condition = stirred(latent_control, prior.unet), Condition(prompt=prior.embed(PROMPT))
    noisy, hint = noise(2, 4, 8, 8), noise(1, 4, 8, 8, seed=2)
    together = residuals(controlnet, noisy, torch.tensor([399, 20]), condition, hint)
    alone = residuals(controlnet, noisy[1:], 20, condition, hint, scale=0.5)
    for both, one in zip((*together[0], together[1]), (*alone[0], alone[1]), strict=True):
        assert (both[1:] - 2 * one).norm() < 1e-5 * both.norm()


def test_features_of_a_hint_stand_for_it_and_are_the_stock_layers():
    prior = tiny_prior()
    controlnet, condition = stirred(latent_control, prior.unet), Condition(prompt=prior.embed(PROMPT))
    noisy, hint = noise(1, 4, 8, 8), noise(1, 4, 8, 8, seed=2)
    features = hint_features(controlnet, hint)
    whole, known = (residuals(controlnet, noisy, 399, condition, each) for each in (hint, features))
    torch.testing.assert_close(known, whole, rtol=0, atol=0)
    stock = ControlNetModel.from_unet(prior.unet, conditioning_channels=4).controlnet_cond_embedding
    for layer in stock.blocks:
        layer.stride = (1, 1)
    stock.load_state_dict(controlnet.controlnet_cond_embedding.state_dict())
    torch.testing.assert_close(stock(hint), features, rtol=0, atol=0)


def test_a_hint_that_is_begun_tells_photos_apart_at_once(photo):
    """The usual initialisation of four narrow levels makes the same of all photos."""
    torch.manual_seed(0)
    unet, photos = tiny_prior().unet, torch.stack([photo[0, :, :128, :128], 1 - photo[0, :, :128, :128]])

    def told(init_scale: float) -> Tensor:
        hint = photo_control(unet, widths=(16, 24, 32, 48), init_scale=init_scale).controlnet_cond_embedding
        with torch.no_grad():
            return hint(photos)

    assert not told(0.0).any()
    whole, tenth = (told(init_scale).std(0).mean() for init_scale in (1.0, 0.1))
    assert 0.02 < whole < 1
    assert 0.02 < tenth / whole < 0.5
