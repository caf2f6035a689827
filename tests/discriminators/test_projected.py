"""The projected discriminator: frozen where it is to be, any size, and quick to tell blurred from sharp."""

import pytest
import torch

from sdsr.discriminators.projected import ProjectedDiscriminator
from sdsr.losses.adversarial import discriminator_hinge
from sdsr.losses.efficientnet import load_efficientnet_lite
from sdsr.losses.filters import gaussian_blur


@pytest.fixture(scope="module")
def discriminator() -> ProjectedDiscriminator:
    torch.manual_seed(0)
    return ProjectedDiscriminator(load_efficientnet_lite("lite1"))


def test_logits_of_any_size(discriminator):
    shapes = [tuple(logit.shape) for logit in discriminator(torch.rand(2, 3, 80, 112))]
    assert shapes == [(2, 1, 40, 56), (2, 1, 20, 28), (2, 1, 10, 14), (2, 1, 5, 7)]


def test_only_the_heads_learn(discriminator):
    learning = {name.split(".")[0] for name, parameter in discriminator.named_parameters() if parameter.requires_grad}
    assert learning == {"heads"}


def test_the_mixing_is_the_seed_s():
    network = load_efficientnet_lite("lite1")
    first, again, other = (ProjectedDiscriminator(network, seed=seed).across[0].weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_learns_to_tell_blurred_photos(photo):
    torch.manual_seed(0)
    discriminator = ProjectedDiscriminator(load_efficientnet_lite("lite1"))
    real = photo[..., :64, :64]
    fake = gaussian_blur(real, 1.5)
    optimizer = torch.optim.Adam([p for p in discriminator.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(12):
        loss = discriminator_hinge(discriminator(real), discriminator(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], losses


def test_gradients_reach_the_picture(discriminator, photo):
    image = photo[..., :64, :64].clone().requires_grad_()
    sum(logit.mean() for logit in discriminator(image)).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
