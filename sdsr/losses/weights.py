"""Weight files of the loss networks: read, checked against a hash, never unpickled without restriction."""

import hashlib
import io
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from sdsr.errors import ModelError


def read_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors or torch file by name; ModelError if missing, damaged, or not the file asked for."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"weights (={path}) can't be read ({error.strerror}); give the path of the file.") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ModelError(f"weights (={path}, sha256 {digest}) must have sha256 {sha256}; fetch them again.")
    try:
        if path.suffix == ".safetensors":
            return load(content)
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"weights (={path}) are damaged or no table of tensors; fetch them again.") from error
    tensors = tensors.get("state_dict", tensors)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copies `tensors` into `module`; ModelError names the parameters that are missing, unknown or of another shape."""
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    foreign = sorted(tensors.keys() - wanted.keys())
    misshapen = sorted(name for name in wanted.keys() & tensors.keys() if wanted[name].shape != tensors[name].shape)
    for what, names in (("lack", missing), ("have unknown", foreign), ("have other shapes for", misshapen)):
        if names:
            listed = f"{', '.join(names[:3])} ({len(names)} in all)"
            raise ModelError(f"weights (={path}) {what} {listed}; choose the file of this network.")
    module.load_state_dict(tensors)
