"""The patch discriminator: size, maps, spectral norm, blindness to color, no grid."""

import pytest
import torch

from sdsr.discriminators.patch import PatchDiscriminator


def test_size_and_maps():
    discriminator = PatchDiscriminator()
    assert 300_000 < sum(parameter.numel() for parameter in discriminator.parameters()) < 700_000
    logits = discriminator(torch.rand(2, 3, 40, 56))
    assert [tuple(logit.shape) for logit in logits] == [(2, 1, 20, 28), (2, 1, 10, 14), (2, 1, 5, 7)]


def test_detail_is_blind_to_a_constant_shift_and_the_image_is_not():
    torch.manual_seed(0)
    image = 0.5 * torch.rand(1, 3, 32, 32)
    for sees, blind in (("detail", True), ("image", False)):
        discriminator = PatchDiscriminator(sees=sees).eval()
        shift = (discriminator(image)[0] - discriminator(image + 0.3)[0]).abs().max()
        assert (shift < 1e-4) == blind


def test_weights_have_spectral_norm_one():
    discriminator = PatchDiscriminator()
    for _ in range(60):
        discriminator(torch.rand(1, 3, 16, 16))
    weight = discriminator.stages[1][1].weight
    assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)


def test_gradient_has_no_grid():
    torch.manual_seed(1)
    discriminator = PatchDiscriminator().eval()
    x = torch.rand(8, 3, 64, 64).requires_grad_()
    torch.stack([logit.mean() for logit in discriminator(x)]).sum().backward()
    energy = x.grad.square().mean(dim=(0, 1))[8:-8, 8:-8]
    for period in (2, 4, 8):
        phases = energy.unflatten(0, (-1, period)).unflatten(2, (-1, period)).mean(dim=(0, 2))
        assert phases.max() / phases.min() < 1.8, (period, phases)
