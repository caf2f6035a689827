"""Weights in 8 bits: what is stored, how near what is read is to it, and damaged files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdsr.errors import InputError, ModelError
from sdsr.prior.eight_bits import LEAST_ELEMENTS, check_bits, quantize, round_to_eight_bits
from sdsr.prior.weight_files import read_tensors

NAME = "conv.weight"
SIZES = torch.tensor([1e-6, 1e-2, 1.0, 300.0]).repeat(16)[:, None, None, None]
"""How large the values of each channel are."""


@pytest.fixture
def weight() -> Tensor:
    made = torch.randn(64, 8, 3, 3, generator=torch.Generator().manual_seed(0)) * SIZES
    made[5] = 0
    made[6, 0, 0, 0] = 1e-42  # alone above zero, and not normal
    made[6].flatten()[1:] = 0
    return made


@pytest.fixture
def path(weight: Tensor, tmp_path: Path) -> Path:
    save_file({**quantize({NAME: weight}), "conv.bias": torch.ones(64).half()}, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_integers_and_scales_are_stored_as_is_common(weight: Tensor, path: Path) -> None:
    stored = load_file(path)
    assert (stored[NAME].dtype, stored[NAME].shape) == (torch.int8, weight.shape)
    assert (stored[f"{NAME}_scale"].dtype, stored[f"{NAME}_scale"].shape) == (torch.float32, (64,))
    largest = weight.flatten(1).abs().amax(1)
    torch.testing.assert_close(stored[f"{NAME}_scale"], largest / 127, rtol=1e-5, atol=1e-37)


def test_what_is_read_is_within_half_a_step_of_what_was_stored(weight: Tensor, path: Path) -> None:
    read = read_tensors(path)
    assert read.keys() == {NAME, "conv.bias"}
    assert read[NAME].dtype == torch.float32
    step = weight.flatten(1).abs().amax(1)[:, None, None, None] / 127
    assert ((read[NAME] - weight).abs() <= 0.5001 * step + 1e-38).all()
    rounded = round_to_eight_bits(NAME, weight)
    assert rounded is not None
    assert torch.equal(rounded, read[NAME])
    assert read[NAME][5].count_nonzero() == 0


def test_what_was_read_is_stored_as_it_was(path: Path) -> None:
    before, again = load_file(path), quantize(read_tensors(path))
    for name, tensor in again.items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("small.weight", (64, LEAST_ELEMENTS // 64 - 1)),
        ("norm.weight", (LEAST_ELEMENTS,)),
        ("token_embedding.weight", (64, LEAST_ELEMENTS)),
        ("tokens", (64, LEAST_ELEMENTS)),
    ],
)
def test_small_ones_norms_and_embeddings_stay(name: str, shape: tuple[int, ...]) -> None:
    assert not quantize({name: torch.ones(shape)})
    assert round_to_eight_bits(name, torch.ones(shape)) is None
    assert quantize({NAME: torch.ones(64, LEAST_ELEMENTS)}).keys() == {NAME, f"{NAME}_scale"}
    assert not quantize({NAME: torch.ones(64, LEAST_ELEMENTS)}, but=[NAME])


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (lambda scale: None, r"hold conv\.weight in 8 bits and no conv\.weight_scale; download it again"),
        (lambda scale: scale[:-1].clone(), r"conv\.weight_scale as torch\.float32 \(63,\) instead of floats \(64,\)"),
        (lambda scale: scale[None], r"conv\.weight_scale as torch\.float32 \(1, 64\) instead"),
        (lambda scale: scale.to(torch.int32), r"conv\.weight_scale as torch\.int32 \(64,\) instead"),
        (lambda scale: scale / 0, r"NaN or infinite values in conv\.weight; download"),
        (lambda scale: torch.full_like(scale, 3e38), r"NaN or infinite values in conv\.weight; download"),
    ],
)
def test_damaged_scales_are_errors(scale: Callable[[Tensor], Tensor | None], says: str, path: Path) -> None:
    tensors = load_file(path)
    made = scale(tensors.pop(f"{NAME}_scale"))
    save_file(tensors if made is None else {**tensors, f"{NAME}_scale": made}, path)
    with pytest.raises(ModelError, match=rf"weights \(=.*a\.safetensors\).*{says}"):
        read_tensors(path)


def test_a_file_without_integers_is_read_as_it_is(tmp_path: Path) -> None:
    """Also where a tensor is called like a scale."""
    tensors = {"a.weight": torch.rand(2, 3).half(), "a.weight_scale": torch.rand(5), "count": torch.tensor(3)}
    save_file(tensors, tmp_path / "a.safetensors")
    read = read_tensors(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    assert all(read[name].dtype == tensor.dtype and torch.equal(read[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("bits", [4, 0, -8, 32])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match=rf"bits \(={bits}\) must be 16 or 8"):
        check_bits(bits)
