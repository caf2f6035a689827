"""A decoder of a method's own: it paints results, and changes nothing of how they are found."""

from dataclasses import replace

import pytest
import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.methods.guided_decoding import DECODER, DecoderSettings
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.sample import sample

TINY = DecoderSettings(width=8, blocks=1)
DECODED = [name for name in METHODS if name.endswith("-small") and getattr(METHODS[name].method, "decoder", None)]


def test_there_are_some():
    assert {"d3sr-small", "invsr-small", "addsr-small", "seesr-small", "consissr-small"} <= set(DECODED)


@pytest.mark.parametrize("name", DECODED)
def test_latents_are_found_without_it(name):
    method = METHODS[name].method
    lq_image = LqImage.of(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)), (64, 64), 16)
    found = []
    for decoder in (None, TINY):
        torch.manual_seed(0)
        restorer = replace(method, decoder=decoder).build("tiny")
        assert (DECODER in restorer.parts.modules) == (decoder is not None)
        plan = replace(method.own_plan, times=method.own_plan.times[:2])
        found.append((restorer, sample(restorer, lq_image, plan, CanvasNoise(seeds=(0,))).clean))
    (plain, expected), (decoded, clean) = found
    assert torch.equal(clean, expected)
    assert torch.equal(decoded.decode_plainly(clean), plain.decode(clean, lq_image))
    assert not torch.equal(decoded.decode(clean, lq_image), plain.decode(clean, lq_image))
