"""Reading weight files: safetensors and torch's, pinned by their sha256, nothing but tensors by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.prior.weight_files import fill, own_tensors, read_tensors


def test_a_torch_file_gives_the_tensors_that_training_wrapped(tmp_path: Path) -> None:
    tensor = torch.rand(2, 3)
    for name, content in (
        ("plain.pth", {"a.weight": tensor}),
        ("wrapped.pth", {"state_dict": {"module.a.weight": torch.nn.Parameter(tensor)}, "epoch": 3}),
    ):
        torch.save(content, tmp_path / name)
        read = read_tensors(tmp_path / name)
        assert list(read) == ["a.weight"]
        torch.testing.assert_close(read["a.weight"], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("content", [torch.ones(2), {"a": 3}, {3: torch.ones(2)}, {"state_dict": [torch.ones(2)]}])
def test_what_is_not_tensors_by_name_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="not tensors by name"):
        read_tensors(tmp_path / "odd.pt")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_damaged_file_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"a\..* (are damaged|can't be read)"):
        read_tensors(tmp_path / name)


def test_a_file_is_pinned_by_its_hash_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(1)}, path)
    assert read_tensors(path, file_sha256(path)).keys() == {"a"}
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="must have sha256 0000"):
        read_tensors(path, "0" * 64)


class Both(nn.Module):
    """A tensor of each kind, one of them registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.norm = nn.GroupNorm(2, 4)
        self.again = self.conv
        self.register_buffer("table", torch.rand(3).half())
        self.register_buffer("count", torch.tensor(2))


def test_a_filled_module_keeps_nothing_of_the_file(tmp_path):
    """A file that is cut short while it is mapped ends the process at the next look at it."""
    path = tmp_path / "part.safetensors"
    save_file({"weight": torch.rand(3, 2), "bias": torch.rand(3).half()}, path)
    tensors = read_tensors(path)
    module = nn.Linear(2, 3, device="meta")
    fill(module, tensors, path)
    mapped = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
    assert not mapped & {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
    assert torch.equal(module.weight, tensors["weight"])
    assert module.bias.dtype == torch.float32


def test_a_module_s_own_tensors_are_copies_in_the_wanted_precision():
    module = Both()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    parameter = module.conv.weight
    pointers = {tensor.data_ptr() for tensor in module.state_dict().values()}
    own_tensors(module, lambda layer: torch.float32 if isinstance(layer, nn.GroupNorm) else torch.bfloat16)
    assert module.conv.weight is parameter
    assert module.again.weight is parameter
    assert not pointers & {tensor.data_ptr() for tensor in module.state_dict().values()}
    assert parameter.is_contiguous(memory_format=torch.channels_last)
    dtypes = {name: tensor.dtype for name, tensor in module.state_dict().items() if "again" not in name}
    half, full = torch.bfloat16, torch.float32
    assert dtypes == {
        "conv.weight": half, "conv.bias": half, "norm.weight": full, "norm.bias": full, "table": full,
        "count": torch.int64,
    }  # fmt: skip
    assert all(torch.equal(tensor, before[name].to(tensor.dtype)) for name, tensor in module.state_dict().items())
