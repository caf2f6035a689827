"""InvSR's discriminator against a recording of the published one, and its published size."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.methods.invsr.discriminator import LatentUnetDiscriminator

GOLDEN = Path(__file__).parents[2] / "golden" / "invsr_discriminator"
SMALL = {
    "widths": (16, 16, 24),
    "attention_heads": (2, 4, 6),
    "context_width": 32,
    "norm_groups": 8,
    "pooling_heads": 8,
}


@pytest.mark.parametrize(("latent", "times"), [("real", None), ("fake", None), ("real_t49", (49, 49))])
def test_logits_are_those_recorded(latent, times):
    discriminator, recorded = LatentUnetDiscriminator(**SMALL).eval(), load_file(GOLDEN / "io.safetensors")
    discriminator.load_state_dict(load_file(GOLDEN / "weights.safetensors"))
    t = recorded["timestep"].long() if times is None else torch.tensor(times)
    with torch.no_grad():
        logits = discriminator(recorded[latent.removesuffix("_t49")], t, recorded["encoder_hidden_states"])
    assert len(logits) == 4
    for head, logit in enumerate(logits):
        torch.testing.assert_close(logit, recorded[f"logits_{latent}_{head}"], atol=2e-5, rtol=0)


def test_published_size():
    with torch.device("meta"):
        discriminator = LatentUnetDiscriminator()
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == 112_082_532
    assert len(discriminator.state_dict()) == 519


def test_odd_sizes_pass():
    logits = LatentUnetDiscriminator(**SMALL)(torch.randn(1, 4, 13, 18), torch.tensor([99]), torch.randn(1, 3, 32))
    assert [tuple(logit.shape[-2:]) for logit in logits] == [(4, 5), (7, 9), (13, 18), (13, 18)]
