"""A restorer of random weights that all matter, on a photo whose sides fit nothing."""

import pytest
import torch
from torch import Tensor, nn

from sdsr.prior.condition import Condition
from sdsr.prior.small_autoencoder import SmallAutoencoder
from sdsr.prior.tiny import tiny_prior
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.restorer import Parts, PromptedCondition, Restorer, from_noise


def look(prior, lq_image, latent) -> PromptedCondition:
    return lambda prompt: Condition(prompt=prior.embed(prompt))


@pytest.fixture
def restorer() -> Restorer:
    """The tiny prior, started from noise; its decoder's layers that begin at zero are random, so that all are felt."""
    prior = tiny_prior()
    stir(prior.modules["autoencoder"])
    return Restorer(prior=prior, parts=Parts(conditioner=look, start=from_noise, modules=nn.ModuleDict()))


def stir(autoencoder: nn.Module) -> None:
    """Give the layers that begin at zero random weights, as large as those of the others."""
    assert isinstance(autoencoder, SmallAutoencoder)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in autoencoder.decoder.parameters():
            if not parameter.any() and parameter.ndim == 4:
                parameter.copy_(torch.randn(parameter.shape, generator=rng) / parameter[0].numel() ** 0.5)


@pytest.fixture
def given(photo: Tensor) -> Tensor:
    """A part of the photo (1, 3, 27, 38), which x4 makes 108 x 152: no multiple of a window, a tile or 16."""
    return photo[..., 20:47, 30:68]


@pytest.fixture
def lq_image(given: Tensor) -> LqImage:
    """It on a canvas of four times its size."""
    return LqImage.of(given, (108, 152), 16)
