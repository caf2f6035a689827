"""The teacher: the published names and size, files in each wrapping, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file

from sdsr.errors import ModelError
from sdsr.losses.real_esrgan import RealEsrgan, load_real_esrgan


@pytest.fixture
def network() -> RealEsrgan:
    torch.manual_seed(0)
    return RealEsrgan(width=8, growth=4, blocks=2).eval()


def test_published_size_and_names():
    with torch.device("meta"):
        state = RealEsrgan().state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 16_697_987
    assert {"conv_first.weight", "body.22.rdb3.conv5.bias", "conv_body.weight", "conv_hr.weight"} <= state.keys()
    assert state["body.0.rdb1.conv5.weight"].shape == (64, 192, 3, 3)


def test_it_enlarges_four_times(network):
    answer = network(torch.rand(2, 3, 9, 7))
    assert answer.shape == (2, 3, 36, 28)
    assert answer.min() >= 0
    assert answer.max() <= 1


@pytest.mark.parametrize("wrapper", ["", "params.", "params_ema."])
def test_files_as_published(network, tmp_path, wrapper):
    path = tmp_path / "teacher.safetensors"
    save_file({wrapper + name: tensor.half() for name, tensor in network.state_dict().items()}, path)
    lq = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_real_esrgan(path)(lq), network(lq), atol=2e-3, rtol=0)


def test_a_torch_file_and_the_averaged_weights_first(network, tmp_path):
    path = tmp_path / "teacher.pth"
    noise = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    torch.save(
        {f"params.{name}": tensor for name, tensor in noise.items()}
        | {f"params_ema.{name}": tensor for name, tensor in network.state_dict().items()},
        path,
    )
    lq = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_real_esrgan(path)(lq), network(lq))


@pytest.mark.parametrize(
    "tensors", [{}, {"conv_first.weight": torch.zeros(8, 3, 3, 3)}, {"unet.weight": torch.zeros(1)}]
)
def test_what_is_no_teacher_is_refused(tmp_path, tensors):
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    with pytest.raises(ModelError, match="don't fit"):
        load_real_esrgan(path)
