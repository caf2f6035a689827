"""NumPy's arrays and torch's tensors by the same lines, so that a photo is restored by one code with torch and without.

Most names are common to both (`+`, `@`, slices, `.mT`, `.clip`, `.sum`); those that aren't, and that images, windows
and colors need, are here. Nothing here imports torch: what isn't NumPy's is a tensor, so torch is there.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., object])


def like(values: Any, array: Any) -> Any:
    """Return values, of either kind, as `array` is: its kind, dtype and device."""
    if isinstance(array, np.ndarray):
        return np.asarray(values, array.dtype)
    return sys.modules["torch"].as_tensor(values).to(array)


def cast(array: Any, dtype: Any) -> Any:
    """Return the array in this dtype, itself if it has it."""
    return array.astype(dtype, copy=False) if isinstance(array, np.ndarray) else array.to(dtype)


def wide_dtype(array: Any) -> Any:
    """Return the array's own dtype, or float32 where that is narrower."""
    if isinstance(array, np.ndarray):
        return np.promote_types(array.dtype, np.float32)
    torch = sys.modules["torch"]
    return torch.promote_types(array.dtype, torch.float32)


def concatenate(arrays: Sequence[Any], axis: int) -> Any:
    """Return arrays of one kind side by side."""
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, axis)
    return sys.modules["torch"].cat(list(arrays), axis)


def zeros(shape: Sequence[int], array: Any, dtype: Any = None) -> Any:
    """Return zeros of the array's kind and device, and of its dtype unless another is given."""
    if isinstance(array, np.ndarray):
        return np.zeros(shape, dtype or array.dtype)
    return array.new_zeros(tuple(shape), dtype=dtype or array.dtype)


def to_numpy(array: Any, dtype: Any) -> np.ndarray:
    """Return the values as a NumPy array of this dtype, in host memory; no gradient flows through."""
    if isinstance(array, np.ndarray):
        return array.astype(dtype, copy=False)
    torch = sys.modules["torch"]
    return array.detach().to("cpu", getattr(torch, np.dtype(dtype).name)).numpy()


def full_precision(array: Any) -> AbstractContextManager[object]:
    """Return the context in which autocast does not lower the precision of what is computed with `array`."""
    if isinstance(array, np.ndarray):
        return nullcontext()
    return sys.modules["torch"].autocast(array.device.type, enabled=False)


def inference(function: Function) -> Function:
    """Let a function, or a generator, compute without gradients: under `torch.inference_mode` once torch is there."""

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        torch = sys.modules.get("torch")
        return (function if torch is None else torch.inference_mode()(function))(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]  (it takes and gives what the function does)
