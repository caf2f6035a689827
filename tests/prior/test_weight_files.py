"""Reading weight files: safetensors and torch's, pinned by their sha256, nothing but tensors by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.prior.weight_files import read_tensors


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
