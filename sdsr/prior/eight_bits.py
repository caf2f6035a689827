"""Weights in 8 bits: integers and a scale for each output channel, which a file's names and types tell by themselves.

`NAME` is I8 in the tensor's own shape, `NAME_scale` F32 of its first side; the weight is their product. Values are
symmetric and rounded to nearest. A channel's scale is its largest magnitude / 127 (the scale of least squared error
would take 0.3 % off the error, measured on the small models), to 17 significant bits: so products are exact in float32,
and what was read is stored as it was. Biases, norms, embeddings and what is small are not worth it.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sdsr.errors import InputError, ModelError

BITS = (16, 8)
LEAST_ELEMENTS = 4096
_LARGEST = 127
_SCALE_BITS = 17  # 24 of float32, less the 7 of an integer


def check_bits(bits: int) -> None:
    """Raise InputError for a number of bits that weights are not stored in."""
    if bits not in BITS:
        raise InputError(f"bits (={bits}) must be 16 or 8: half precision, or integers with a scale; give one of them.")


def scale_name(name: str) -> str:
    """Return what the scale of integers is called."""
    return f"{name}_scale"


def quantize(tensors: Mapping[str, Tensor], but: Collection[str] = ()) -> dict[str, Tensor]:
    """Return integers and scales of those tensors that 8 bits suit, of none that is named in `but`; they are finite."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name not in but and _suits(name, tensor):
            assert scale_name(name) not in tensors, f"{scale_name(name)} has another meaning"
            stored[name], stored[scale_name(name)] = _quantized(tensor)
    return stored


def dequantize(tensors: Mapping[str, Tensor], path: Path, remedy: str) -> dict[str, Tensor]:
    """Return a file's tensors, integers of 8 bits times their scale as float32, all others as they are.

    Raise ModelError, with this remedy, for integers without a scale, or with one that isn't theirs.
    """
    integers = {name: scale_name(name) for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    for name, scale in integers.items():
        if scale not in tensors:
            raise ModelError(f"weights (={path}) hold {name} in 8 bits and no {scale}; {remedy}")
        shape, wanted = tuple(tensors[scale].shape), tuple(tensors[name].shape[:1])
        if shape != wanted or not tensors[scale].is_floating_point():
            raise ModelError(
                f"weights (={path}) hold {scale} as {tensors[scale].dtype} {shape} instead of floats {wanted}; {remedy}"
            )
    scales = set(integers.values())
    return {
        name: _product(tensor, tensors[integers[name]]) if name in integers else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }


def round_to_eight_bits(name: str, tensor: Tensor) -> Tensor | None:
    """Return a tensor on the CPU as it is read where it was stored in 8 bits; None for one that these don't suit."""
    return _product(*_quantized(tensor)) if _suits(name, tensor) else None


def _suits(name: str, tensor: Tensor) -> bool:
    weight = name.endswith("weight") and not name.endswith("embedding.weight")
    return weight and tensor.ndim >= 2 and tensor.numel() >= LEAST_ELEMENTS


def _quantized(tensor: Tensor) -> tuple[Tensor, Tensor]:
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    largest = values.flatten(1).abs().amax(1)
    mantissa, exponent = torch.frexp((largest / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny))
    scale = torch.ldexp((mantissa * 2**_SCALE_BITS).round() / 2**_SCALE_BITS, exponent)
    integers = (values / _column(scale, values)).round().clamp(-_LARGEST, _LARGEST).to(torch.int8)
    return integers, scale


def _product(integers: Tensor, scale: Tensor) -> Tensor:
    return integers.to(torch.float32).mul_(_column(scale.to(torch.float32), integers))


def _column(scale: Tensor, values: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (values.ndim - 1))
