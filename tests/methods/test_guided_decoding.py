"""A decoder of a method's own: it paints results, and changes nothing of how they are found."""

from dataclasses import replace

import pytest
import torch

from sdsr.diffusion.noise import CanvasNoise
from sdsr.methods import METHODS
from sdsr.methods.guided_decoding import DECODER, DecoderSettings
from sdsr.methods.settings import with_settings
from sdsr.methods.trained import left_out
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.sample import sample

TINY = DecoderSettings(width=8, blocks=1)
DECODED = [
    name for name, recipe in METHODS.items() if recipe.prior == "small" and getattr(recipe.method, "decoder", None)
]


def test_there_are_some():
    assert {"d3sr-small", "invsr-small", "addsr-small", "seesr-small", "consissr-small", "stablesr-small"} == set(
        DECODED
    )


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


@pytest.mark.parametrize("name", DECODED)
def test_a_stage_without_it_is_read_as_it_was_trained(name):
    """What such a stage leaves out is noted beside its parts, which can't be read by the whole method."""
    recipe = METHODS[name]
    earlier = [stage for stage in recipe.stages if type(stage.method) is type(recipe.method)]
    for stage in (stage for stage in earlier if stage.method.decoder is None):
        assert left_out(stage.method, recipe.method) == {"decoder": None}
        read = with_settings(recipe, {"method.decoder": None}).method.build("tiny").parts.modules
        assert set(read) == set(stage.build("tiny").parts.modules)
        assert DECODER not in read
    assert left_out(recipe.method, recipe.method) == left_out(recipe.stages[-1].method, recipe.method) == {}
