"""NumPy's arrays and torch's tensors by the same lines, so that a photo is restored by one code with torch and without.

Most names are common to both (`+`, `@`, slices, `.mT`, `.clip`, `.sum`); those that aren't, and that images, windows
and colors need, are here. Nothing here imports torch: what isn't NumPy's is a tensor, so torch is there.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sdsr.tensors import Array, Tensor

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Function = TypeVar("Function", bound=Callable[..., object])


def like(values: object, array: Array) -> Array:
    """Return values, of either kind, as `array` is: its kind, dtype and device; themselves where they are so."""
    if isinstance(array, np.ndarray):
        return np.asarray(values, array.dtype)
    return sys.modules["torch"].as_tensor(values).to(array)


def widen(array: Array) -> Array:
    """Return the array in float32 where its own dtype is narrower, else itself."""
    if isinstance(array, np.ndarray):
        return array.astype(np.promote_types(array.dtype, np.float32), copy=False)
    torch = sys.modules["torch"]
    return array.to(torch.promote_types(array.dtype, torch.float32))


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """Return arrays of one kind side by side."""
    first = arrays[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(arrays, axis)
    return sys.modules["torch"].cat(list(arrays), axis)


def zeros(shape: Sequence[int], array: Array) -> Array:
    """Return zeros of the array's kind, dtype and device."""
    if isinstance(array, np.ndarray):
        return np.zeros(shape, array.dtype)
    return array.new_zeros(tuple(shape))


def take(array: Array, places: np.ndarray, axis: int) -> Array:
    """Return what of an axis stands at these places, in the order of its dimensions in memory, too.

    NumPy's own indexing puts the indexed axis first there, and what computes on it copies all of it once more.
    """
    if isinstance(array, np.ndarray):
        return array.take(places, axis)
    return array.index_select(axis, sys.modules["torch"].as_tensor(places, device=array.device))


def to_numpy(array: np.ndarray | Tensor, dtype: type[np.floating]) -> np.ndarray:
    """Return the values as a NumPy array of this dtype, in host memory; no gradient flows through."""
    if isinstance(array, np.ndarray):
        return array.astype(dtype, copy=False)
    return array.detach().to("cpu", getattr(sys.modules["torch"], dtype.__name__)).numpy()


def full_precision(array: np.ndarray | Tensor) -> AbstractContextManager[object]:
    """Return the context in which autocast does not lower the precision of what is computed with `array`."""
    if isinstance(array, np.ndarray):
        return nullcontext()
    kind, torch = array.device.type, sys.modules["torch"]
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def one_thread(array: np.ndarray | Tensor) -> AbstractContextManager[object]:
    """Return the context in which products of NumPy's arrays wake no other thread of BLAS.

    OpenBLAS's wait for the next one spinning, while others compute: a photo then takes ONNX Runtime a tenth to a fifth
    longer.
    """
    if not isinstance(array, np.ndarray) or os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        return nullcontext()
    return _pools().limit(limits=1, user_api="blas")


@cache
def _pools() -> "ThreadpoolController":
    """The libraries with threads that are loaded, NumPy's among them; found once, which takes a millisecond."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def inference(function: Function) -> Function:
    """Let a function, or a generator, compute without gradients: under `torch.inference_mode` once torch is there."""

    @wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        torch = sys.modules.get("torch")
        return (function if torch is None else torch.inference_mode()(function))(*args, **kwargs)

    return call  # pyright: ignore[reportReturnType]  (it takes and gives what the function does)
