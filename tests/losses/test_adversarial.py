"""Adversarial losses against closed forms and a recording of InvSR's trainer."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.losses.adversarial import discriminator_bce, discriminator_hinge, generator_bce, generator_hinge

GOLDEN = Path(__file__).parents[1] / "golden" / "invsr_discriminator" / "io.safetensors"


def test_hinge_is_that_of_invsr():
    recorded = load_file(GOLDEN)
    for sample in range(2):
        real, fake = ([recorded[f"logits_{kind}_{head}"][sample] for head in range(4)] for kind in ("real", "fake"))
        expected = recorded["hinge_d_loss_per_sample"][sample]
        torch.testing.assert_close(discriminator_hinge(real, fake), expected, atol=1e-5, rtol=0)
        clipped = discriminator_hinge([4 * logit for logit in real], [4 * logit for logit in fake])
        expected = recorded["hinge_d_loss_per_sample_logits_times_4"][sample]
        torch.testing.assert_close(clipped, expected, atol=1e-5, rtol=0)
        expected = recorded["generator_loss_per_sample"][sample]
        torch.testing.assert_close(generator_hinge(fake), expected, atol=1e-5, rtol=0)


def test_bce_of_undecided_and_of_certain_discriminators():
    undecided = [torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 2, 2)]
    certain = [torch.full((2, 1, 4, 4), 100.0)]
    assert float(discriminator_bce(undecided, undecided)) == pytest.approx(2 * math.log(2))
    assert float(generator_bce(undecided)) == pytest.approx(math.log(2))
    assert float(discriminator_bce(certain, [-certain[0]])) == pytest.approx(0)
    assert float(generator_bce([-certain[0]])) == pytest.approx(100)


def test_heads_weigh_equally_whatever_their_size():
    assert float(generator_hinge([torch.full((1, 1, 8, 8), -1.0), torch.full((1, 1, 1, 1), 3.0)])) == -1
