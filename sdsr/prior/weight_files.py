"""Weight files: their sha256, and reading them strictly into a module, with errors that a user can act on.

Files are mapped while they are read, and each tensor is copied once, alone, in the precision and layout that it is to
have: beside a module's own memory there are pages of the file, which the system takes back where it needs them. No
module goes on with the mapped tensors: a file that is overwritten in place, or cut short, would end the process at the
next look at them (SIGBUS), and Windows lets nobody replace a file that is mapped.
"""

import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.prior.eight_bits import dequantize

_REMEDY = "download it again, or reinstall sdsr where it is an embedded one."
_NAMED_KEYS = 3


def module_sha256(module: nn.Module) -> str:
    """Return the sha256 of a module's tensors and their names, for weights that are in no file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def damage_told(path: Path, remedy: str = _REMEDY, *, what: str = "weights") -> Iterator[None]:
    """Let what fails in reading a safetensors file raise ModelError."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{what} (={path}) can't be read ({error}); {remedy}") from error


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a torch file, which may run nothing.

    They are mapped: whoever keeps one, or writes into it, makes a copy of it first. What is in 8 bits comes as float32.
    Raise ModelError where it is missing, damaged, not finite, or not the file of this `sha256`.
    """
    if not path.is_file():
        raise ModelError(f"weights (={path}) are missing; {_REMEDY}")
    if sha256 is not None and (digest := file_sha256(path)) != sha256:
        raise ModelError(f"weights (={path}, sha256 {digest}) must have sha256 {sha256}; {_REMEDY}")
    with damage_told(path):
        tensors = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    tensors = dequantize(tensors, path, _REMEDY)
    check_finite(tensors, path)
    return tensors


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return those tensors whose names begin with a prefix, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _unpickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch file, without what training wraps around them and their names."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"weights (={path}) are damaged, or not only tensors; {_REMEDY}") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(tensors, dict) or not all(map(_is_named_tensor, tensors.items())):
        raise ModelError(f"weights (={path}) are not tensors by name; {_REMEDY}")
    return {name.removeprefix("module."): tensor.detach() for name, tensor in tensors.items()}


def _is_named_tensor(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ModelError where any of the tensors, which `path` held, is NaN or infinite."""
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"weights (={path}) hold NaN or infinite values in {_some(broken)}; {_REMEDY}")


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put float32 copies of `tensors`, which `path` held, in place of a module's own, which may be on "meta".

    Raise ModelError where names or shapes differ.
    """
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(own[name])}"
        for name in own
        if name in tensors and tensors[name].shape != own[name]
    ]
    if problems:
        raise ModelError(f"weights (={path}) don't fit this model: {_some(problems)}; give its own file, {_REMEDY}")
    for prefix, layer in module.named_modules(remove_duplicate=False):
        names = {name: f"{prefix}.{name}" if prefix else name for name in (*layer._parameters, *layer._buffers)}
        held = {name: tensors[full].to(torch.float32, copy=True) for name, full in names.items() if full in tensors}
        layer.load_state_dict(held, strict=False, assign=True)  # what was there before goes as this comes


def own_tensors(module: nn.Module, wanted: Callable[[nn.Module], torch.dtype]) -> None:
    """Put copies in place of a module's tensors, which may be a file's.

    Parameters get the dtype that is `wanted` of their layer, what else floats is float32, and four-dimensional ones are
    laid out channels_last. What is registered twice stays one.
    """
    copies: dict[int, Tensor] = {}
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            if id(parameter) not in copies:
                copies[id(parameter)] = parameter.data = _copied(parameter.detach(), wanted(layer))
        for name, buffer in layer.named_buffers(recurse=False):
            if id(buffer) not in copies:
                copies[id(buffer)] = _copied(buffer, torch.float32 if buffer.is_floating_point() else buffer.dtype)
            layer._buffers[name] = copies[id(buffer)]


def _copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    copied = torch.empty_like(tensor, dtype=dtype, memory_format=layout)
    return copied.copy_(tensor)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED_KEYS
    return ", ".join(names[:_NAMED_KEYS]) + (f" and {more} more" if more > 0 else "")
