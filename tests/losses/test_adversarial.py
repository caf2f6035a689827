"""Adversarial losses against closed forms and a recording of InvSR's trainer."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.losses.adversarial import approximate_r1, critic_bce, critic_hinge, generator_bce, generator_hinge, r1

GOLDEN = Path(__file__).parents[1] / "golden" / "invsr_discriminator" / "io.safetensors"


def test_hinge_is_that_of_invsr():
    recorded = load_file(GOLDEN)
    for sample in range(2):
        real, fake = ([recorded[f"logits_{kind}_{head}"][sample] for head in range(4)] for kind in ("real", "fake"))
        expected = recorded["hinge_d_loss_per_sample"][sample]
        torch.testing.assert_close(critic_hinge(real, fake), expected, atol=1e-5, rtol=0)
        clipped = critic_hinge([4 * logit for logit in real], [4 * logit for logit in fake])
        expected = recorded["hinge_d_loss_per_sample_logits_times_4"][sample]
        torch.testing.assert_close(clipped, expected, atol=1e-5, rtol=0)
        expected = recorded["generator_loss_per_sample"][sample]
        torch.testing.assert_close(generator_hinge(fake), expected, atol=1e-5, rtol=0)


def test_bce_of_undecided_and_of_certain_critics():
    undecided = [torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 2, 2)]
    certain = [torch.full((2, 1, 4, 4), 100.0)]
    assert float(critic_bce(undecided, undecided)) == pytest.approx(2 * math.log(2))
    assert float(generator_bce(undecided)) == pytest.approx(math.log(2))
    assert float(critic_bce(certain, [-certain[0]])) == pytest.approx(0)
    assert float(generator_bce([-certain[0]])) == pytest.approx(100)


def test_heads_weigh_equally_whatever_their_size():
    assert float(generator_hinge([torch.full((1, 1, 8, 8), -1.0), torch.full((1, 1, 1, 1), 3.0)])) == -1


def test_r1_of_a_linear_critic_is_its_squared_slope_and_reaches_its_parameters():
    slope = torch.randn(4 * 8 * 8, requires_grad=True)

    def critic(x: torch.Tensor) -> list[torch.Tensor]:
        return [(x.flatten(1) @ slope)[:, None]]

    real, rng = torch.randn(64, 4, 8, 8), torch.Generator().manual_seed(0)
    exact, estimated = r1(critic, real), approximate_r1(critic, real, rng)
    torch.testing.assert_close(exact, slope.square().sum())
    torch.testing.assert_close(estimated, exact, rtol=0.4, atol=0)
    exact.backward()
    torch.testing.assert_close(slope.grad, 2 * slope.detach())
