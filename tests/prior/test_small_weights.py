"""The embedded prior's own weights: that it was trained to listen to its prompt and to the photo's token."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sdsr
from sdsr.images.floats import image
from sdsr.photos.files import read_photo
from sdsr.prior.condition import Condition
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.prior.small import PromptTable, SmallLatents
from sdsr.tensors import Region

LEAST_CHANGE = 0.01
SAMPLE = Path(sdsr.__file__).parent / "assets" / "sample_hq.jpg"


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A real photo: the network was trained on nothing else."""
    return image(read_photo(SAMPLE), Region(top=0, left=0, height=256, width=256))


@pytest.fixture(scope="module")
def prior() -> Prior:
    return load_prior("small", device="cpu", dtype=torch.float32)


def prediction(prior: Prior, photo: Tensor, prompt: str, seen: Tensor) -> Tensor:
    """The noise predicted at t = 400 in the photo's noised latent, with the token of the photo `seen`."""
    assert prior.image is not None
    assert isinstance(prior.text, PromptTable)
    with torch.no_grad():
        latent = prior.encode(photo)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
        tokens = prior.text([prompt], prior.image(seen))
        noisy = prior.schedule.noisy(latent, noise, 400)
        return prior.schedule.noise(noisy, prior.denoise(noisy, 400, Condition(prompt=tokens)), 400)


@pytest.mark.parametrize("prompt", ["degraded", ""])
def test_the_prompt_changes_the_prediction(prior: Prior, photo: Tensor, prompt: str):
    assert change(prior, photo, prompt, photo) > LEAST_CHANGE


def test_the_token_changes_the_prediction(prior: Prior, photo: Tensor):
    assert change(prior, photo, "clean", 1 - photo) > LEAST_CHANGE


def change(prior: Prior, photo: Tensor, prompt: str, seen: Tensor) -> float:
    usual = prediction(prior, photo, "clean", photo)
    return float((prediction(prior, photo, prompt, seen) - usual).norm() / usual.norm())


def test_the_prediction_is_better_than_none(prior: Prior, photo: Tensor):
    """An untrained UNet predicts about nothing, which leaves an error of one."""
    latent = prior.encode(photo)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    assert (prediction(prior, photo, "clean", photo) - noise).square().mean() < 0.7


def test_the_autoencoder_keeps_a_photo(prior: Prior, photo: Tensor):
    with torch.no_grad():
        again = prior.decode(prior.encode(photo)).clamp(0, 1)
    assert -10 * (again - photo).square().mean().log10() > 22


def test_an_enlarged_photo_is_encoded_by_the_lapped_transform_alone(prior: Prior, photo: Tensor):
    """What the convolutions add is detail finer than an enlarged photo has: `d3sr-small` goes without them."""
    assert isinstance(prior.autoencoder, SmallLatents)
    linear = prior.adapted(autoencoder=prior.autoencoder.linearly)
    small = F.interpolate(photo, scale_factor=0.25, mode="bicubic", antialias=True)
    enlarged = F.interpolate(small, scale_factor=4, mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        missing = (linear.encode(enlarged) - prior.encode(enlarged)).square().mean()
    assert missing < 1e-3  # latents have unit variance
