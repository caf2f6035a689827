"""The tiny decoder learns from the prior's own, and what a run leaves restores in its place."""

import pytest
import torch
from safetensors.torch import save_file

from sdsr.embedded.recipes import TINY_DECODER
from sdsr.embedded.tiny_decoder import DecoderDistillation, NewTinyDecoder
from sdsr.errors import InputError
from sdsr.methods import METHODS
from sdsr.objectives.training_step import Sample
from sdsr.prior.tiny import tiny_prior
from sdsr.upscaling import Upscaler, tiny_decoded


def test_it_comes_near_to_the_priors_own_and_restores_in_its_place(photo, tmp_path):
    torch.manual_seed(0)
    model = NewTinyDecoder(width=16, blocks=(1, 1, 1, 1)).build(tiny_prior(), "cpu")
    step = DecoderDistillation().training_step(model, None)
    sample = Sample(hq=photo[..., 32:64, 32:64])
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(step.trainable_modules["tiny_decoder"].parameters(), lr=1e-2)
    before = step.measure(sample, rng)
    for _ in range(25):
        optimizer.zero_grad()
        step(sample, rng).loss.backward()
        optimizer.step()
    after = step.measure(sample, rng)
    assert after["psnr_to_own"] > before["psnr_to_own"] + 3
    assert after["psnr_of_own"] == pytest.approx(before["psnr_of_own"]), "the teacher learns nothing"
    assert set(step.pictures(sample, rng)) == {"photo", "own decoder", "tiny decoder"}

    file = tmp_path / "tiny_decoder.safetensors"
    tensors = step.trainable_modules["tiny_decoder"].state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    recipe = METHODS["d3sr"]
    assert recipe.method is not None
    plain = recipe.method.build("tiny", "cpu")
    given = photo[0, :, :16, :16].permute(1, 2, 0).numpy()
    tiny = Upscaler(recipe, tiny_decoded(plain, recipe.name, file))(given, scale=2, output_type="np").images
    own = Upscaler(recipe, plain)(given, scale=2, output_type="np").images
    assert tiny.shape == own.shape
    assert 0.001 < abs(tiny - own).mean() < 0.2


def test_a_method_with_a_decoder_of_its_own_refuses_another(tmp_path):
    method = METHODS["d3sr-small"].method
    assert method is not None
    with pytest.raises(InputError, match="d3sr-small decodes by one of its own"):
        tiny_decoded(method.build("tiny", "cpu"), "d3sr-small", tmp_path)


def test_the_recipe_is_of_the_published_shape():
    method = TINY_DECODER.stage(None).method
    decoder = method.build(tiny_prior(), "cpu").decoder
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 1_222_531
