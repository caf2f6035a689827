"""InvSR's published predictor read under its own names."""

import pytest
import torch

from sdsr.checkpoints.reading import read_checkpoint
from sdsr.methods.invsr.convert import PREFIX, convert
from sdsr.methods.invsr.predictor import NoisePredictor

SMALL = {"widths": (16, 32), "norm_groups": 8, "head_width": 8}


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    return {PREFIX + name: tensor for name, tensor in NoisePredictor(**SMALL).state_dict().items()}


def test_every_tensor_is_used(published):
    converted = convert(published)
    assert (converted.unknown, converted.missing, converted.dropped) == ((), (), ())
    part = converted.parts["noise_predictor"]
    assert len(part) == 164
    NoisePredictor(**SMALL).load_state_dict(part)
    assert all(part[name.removeprefix(PREFIX)] is tensor for name, tensor in published.items())


def test_what_is_absent_or_unknown_is_named(published):
    del published["encoder.conv_in.bias"]
    converted = convert(published | {"conv_in.bias": torch.zeros(16), "decoder.weight": torch.zeros(1)})
    assert converted.missing == ("encoder.conv_in.bias",)
    assert converted.unknown == ("conv_in.bias", "decoder.weight")
    assert "conv_in.bias" not in converted.parts["noise_predictor"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_of_the_published_kind_is_read(published, tmp_path, nested):
    path = tmp_path / "noise_predictor_sd_turbo_v5.pth"
    torch.save({"state_dict": published, "iters_start": 7} if nested else published, path)
    converted = convert(read_checkpoint(path).tensors)
    assert (converted.unknown, converted.missing) == ((), ())
    assert torch.equal(converted.parts["noise_predictor"]["conv_out.bias"], published["encoder.conv_out.bias"])
