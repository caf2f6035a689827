"""The time-aware encoder: published size, SFT features by factor, what time changes, how it begins."""

from dataclasses import replace

import pytest
import torch

from sdsr.methods.stablesr.encoder import EncoderSettings, TimeAwareEncoder

SMALL = EncoderSettings(widths=(32, 64), blocks=1, attention_at=(2,), map_channels=16, groups=8)


def stirred(settings: EncoderSettings) -> TimeAwareEncoder:
    torch.manual_seed(0)
    encoder = TimeAwareEncoder(settings=settings)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def test_published_size():
    with torch.device("meta"):
        encoder = TimeAwareEncoder()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 52_494_080
    shares = {
        name: sum(parameter.numel() for parameter in part.parameters()) for name, part in encoder.named_children()
    }
    assert shares["time_embedding"] == 1_312_768
    assert shares["conv_in"] + shares["down_blocks"] == 32_419_072
    assert shares["mid_block"] == 11_544_576
    assert shares["outputs"] == 7_217_664


@pytest.mark.parametrize("attention_at", [(), (1,), (2,), (1, 2)])
def test_a_map_for_each_level_with_sizes_rounded_up(attention_at):
    encoder = stirred(replace(SMALL, attention_at=attention_at))
    sft_features = encoder(torch.randn(2, 4, 7, 10), 3)
    assert {factor: each.shape for factor, each in sft_features.items()} == {1: (2, 16, 7, 10), 2: (2, 16, 4, 5)}


def test_each_item_has_its_time():
    encoder = stirred(SMALL)
    latent = torch.randn(1, 4, 8, 8).expand(2, -1, -1, -1)
    together = encoder(latent, torch.tensor([3, 900]))
    for item, t in enumerate((3, 900)):
        for factor, alone in encoder(latent[:1], t).items():
            torch.testing.assert_close(together[factor][item : item + 1], alone, rtol=1e-4, atol=1e-5)
    assert all((each[0] - each[1]).abs().max() > 1e-3 for each in together.values())


def test_the_variant_that_is_not_told_the_time():
    encoder = stirred(replace(SMALL, time_aware=False))
    assert not any("time" in name for name in encoder.state_dict())
    latent = torch.randn(1, 4, 8, 8)
    early, late = encoder(latent, 3), encoder(latent, 900)
    assert all(torch.equal(early[factor], late[factor]) for factor in early)


def test_it_begins_with_what_convolutions_and_skips_pass_on():
    torch.manual_seed(0)
    encoder = TimeAwareEncoder(settings=replace(SMALL, widths=(16, 16), map_channels=16))
    latent = torch.randn(1, 4, 8, 8)
    sft_features = encoder(latent, 3)
    torch.testing.assert_close(sft_features[1], encoder.conv_in(latent))
    torch.testing.assert_close(sft_features[1], encoder(latent, 900)[1])
