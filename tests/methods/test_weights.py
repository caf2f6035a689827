"""The folder of a method's parts: precision, and what half precision can't hold."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdsr.errors import ModelError
from sdsr.methods.weights import read_description, write_parts
from sdsr.prior.weight_files import file_sha256


@pytest.mark.parametrize(
    ("dtype", "keep", "expected"),
    [
        (torch.float32, False, torch.float16),
        (torch.float32, True, torch.float32),
        (torch.bfloat16, False, torch.bfloat16),
        (torch.float16, False, torch.float16),
    ],
)
def test_precision(dtype: torch.dtype, keep: bool, expected: torch.dtype, tmp_path: Path) -> None:
    write_parts({"part": {"a": torch.rand(3, 2, dtype=dtype).T}}, tmp_path, {}, keep_precision=keep)
    assert load_file(tmp_path / "part.safetensors")["a"].dtype == expected


@pytest.mark.parametrize(
    ("value", "why"), [(1e6, "exceeds what float16 holds.*--keep-precision"), (float("nan"), "NaN")]
)
def test_what_half_precision_cannot_hold_is_an_error(value: float, why: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=why):
        write_parts({"part": {"a": torch.tensor([value])}}, tmp_path, {})


def test_parts_join_those_that_are_there(tmp_path: Path) -> None:
    write_parts({"one": {"a": torch.rand(2)}}, tmp_path, {"recipe": "mine"})
    write_parts({"other": {"b": torch.rand(2)}}, tmp_path, read_description(tmp_path))
    noted = read_description(tmp_path)
    assert noted["recipe"] == "mine"
    assert noted["files"] == {
        f"{part}.safetensors": file_sha256(tmp_path / f"{part}.safetensors") for part in ("one", "other")
    }
