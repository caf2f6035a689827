"""Taggers: the tokens they give, at full size by shape."""

import torch

from sdsr.adapters.tagger import MEAN, STD, SmallTagger, SwinTagger
from sdsr.prior.small import SmallImageEncoder
from sdsr.prior.tiny import tiny_prior

SWIN = {"image_size": 32, "window_size": 2, "embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2)}


def test_the_full_tagger_has_rams_size():
    with torch.device("meta"):
        tagger = SwinTagger()
    assert sum(parameter.numel() for parameter in tagger.visual_encoder.parameters()) == 195_198_516
    assert tagger.image_proj.weight.shape == (512, 1536)
    linear = [layer for name, layer in tagger.named_modules() if name.endswith(("q_proj", "v_proj"))]
    updates = sum(8 * (layer.in_features + layer.out_features) for layer in linear)
    assert updates == 577_536  # DAPE's, at rank 8


@torch.no_grad()
def test_tokens_are_the_mean_and_then_the_places(rng):
    tagger = SwinTagger(swin=SWIN, width=6).eval()
    image = torch.rand(2, 3, 40, 50, generator=rng)
    tokens = tagger(image)
    assert tokens.shape == (2, 1 + 4 * 4, 6)
    assert tagger.width == 6
    torch.testing.assert_close(tokens[:, 0], tokens[:, 1:].mean(1))
    native = torch.rand(1, 3, 32, 32, generator=rng)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    seen = tagger.visual_encoder((native - mean) / std).last_hidden_state
    torch.testing.assert_close(tagger(native)[:, 1:], tagger.image_proj(seen))


@torch.no_grad()
def test_the_small_one_shows_the_places_its_encoder_averages(photo):
    encoder = tiny_prior().image
    assert isinstance(encoder, SmallImageEncoder)
    tagger = SmallTagger(encoder)
    tokens = tagger(photo)
    assert tokens.shape == (1, 17, tagger.width)
    quarters = tokens[:, 1:].view(1, 2, 2, 2, 2, tagger.width).mean((2, 4)).permute(0, 3, 1, 2)
    torch.testing.assert_close(encoder.out(quarters.flatten(1)), encoder(photo))
