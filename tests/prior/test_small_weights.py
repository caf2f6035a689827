"""The embedded prior's own weights: that it was trained to listen to its prompt and to the photo's token."""

import pytest
import torch
from torch import Tensor

from sdsr.prior.evidence import Evidence
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior

LEAST_CHANGE = 0.01


@pytest.fixture(scope="module")
def prior() -> Prior:
    return load_prior("small", device="cpu", dtype=torch.float32)


def prediction(prior: Prior, photo: Tensor, prompt: str, *, token: bool) -> Tensor:
    """The noise predicted at t = 400 in the photo's noised latent."""
    table = prior.text
    assert prior.image is not None
    with torch.no_grad():
        latent = prior.encode(photo)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
        tokens = table([prompt], prior.image(photo)) if token else table([prompt])  # type: ignore[call-arg]
        return prior.predict_noise(prior.schedule.noisy(latent, noise, 400), 400, Evidence(prompt=tokens))


@pytest.mark.parametrize(("prompt", "token"), [("degraded", True), ("", True), ("clean", False)])
def test_prompt_and_token_change_the_prediction(prior: Prior, photo: Tensor, prompt: str, token: bool):
    usual = prediction(prior, photo, "clean", token=True)
    other = prediction(prior, photo, prompt, token=token)
    assert (other - usual).norm() / usual.norm() > LEAST_CHANGE


def test_the_prediction_is_better_than_none(prior: Prior, photo: Tensor):
    """An untrained UNet predicts about nothing, which leaves an error of one."""
    latent = prior.encode(photo)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    assert (prediction(prior, photo, "clean", token=True) - noise).square().mean() < 0.7


def test_the_autoencoder_keeps_a_photo(prior: Prior, photo: Tensor):
    with torch.no_grad():
        again = prior.decode(prior.encode(photo)).clamp(0, 1)
    assert -10 * (again - photo).square().mean().log10() > 22
