"""Reading a published checkpoint: safetensors, or a pickle of torch's whose code is never run; mapped, not loaded.

A pickle can name any function to call. Here only tensors and plain values are built; classes of training frameworks,
which Lightning stores beside the weights, become empty stand-ins of ours, and any other name refuses the whole file.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from sdsr.errors import ModelError
from sdsr.prior.weight_files import below, damage_told

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")
_WRAPPERS = ("module.", "_orig_mod.")
_AVERAGES = ("params_ema", "generator_ema", "model_ema", "net_g_ema", "ema_state_dict", "ema")
_PLAIN_CONTAINERS = (
    "state_dict",
    "model_state_dict",
    "params",
    "generator",
    "net_g",
    "netG",
    "model",
    "net",
    "weights",
)
_CONTAINERS = (*_AVERAGES, *_PLAIN_CONTAINERS)
_PREFIXES = tuple(f"{name}." for name in (*_AVERAGES, "module", "_orig_mod", *_PLAIN_CONTAINERS))
_MOST_PREFIXES = 3
log = logging.getLogger(__name__)

_FRAMEWORKS = {"pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "numpy"}
_STANDARD = {"pathlib", "argparse", "typing"}
_PLAIN = {f"builtins.{name}" for name in ("int", "float", "bool", "str", "dict", "list", "tuple", "object")}
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_REMEDY = "give the file that the authors published, or download it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file holds: tensors by name, and everything else (counters, settings, lists of names) by its own."""

    tensors: Mapping[str, Tensor]
    others: Mapping[str, object] = field(default_factory=dict)


class StandIn:
    """Takes the place of a framework's class: accepts whatever it is built from, and keeps none of it."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what a file holds, its tensors mapped from the disk unless torch's old format forbids; raise ModelError.

    The tensors are those of an entry that wraps them ("state_dict", "params_ema", "model" ...) where there is one, an
    average before what it averages, else all; nested ones get dotted names. Prefixes that training wrappers put before
    every name are removed. Of a folder all weight files are read, and names begin
    with their file's, as in `unet/diffusion_pytorch_model/conv_in.weight`.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise ModelError(f"checkpoint (={path}) does not exist; give the path of a file or folder that is there.")
    if not path.is_file():
        raise ModelError(f"checkpoint (={path}) is no file; {_REMEDY}")
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return Checkpoint(tensors=without_wrappers(_read_safetensors(path)))
    if not start.startswith((_ZIP, _PICKLE)):
        raise ModelError(f"checkpoint (={path}) begins with {start!r}, unlike safetensors and torch's files; {_REMEDY}")
    content = _read_pickle(path, zipped=start.startswith(_ZIP))
    if not isinstance(content, Mapping):
        raise ModelError(f"checkpoint (={path}) holds a {type(content).__name__}, not tensors by name; {_REMEDY}")
    checkpoint = _sorted_out(content)
    if not checkpoint.tensors:
        raise ModelError(f"checkpoint (={path}) holds no tensors, only {list(checkpoint.others)}; {_REMEDY}")
    return checkpoint


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that DistributedDataParallel ("module.") and torch.compile ("_orig_mod.") put everywhere."""
    names = list(state)
    while names and names[0].startswith(_WRAPPERS):
        wrapper = next(prefix for prefix in _WRAPPERS if names[0].startswith(prefix))
        if not all(name.startswith(wrapper) for name in names):
            break
        names = [name.removeprefix(wrapper) for name in names]
    return dict(zip(names, state.values(), strict=True))


def unwrapped(state: Mapping[str, Tensor], depth: int = _MOST_PREFIXES) -> Iterator[dict[str, Tensor]]:
    """Yield what a state may be inside a program's prefixes ("generator_ema.", "model."), an average first."""
    for prefix in _PREFIXES:
        if inside := below(state, prefix):
            yield inside
            if depth > 1:
                yield from unwrapped(inside, depth - 1)


def weight_files(path: Path) -> list[Path]:
    """Return the files that hold the weights: the file itself, or those of a folder and its folders."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())


def _read_folder(path: Path) -> Checkpoint:
    files = weight_files(path)
    if not files:
        raise ModelError(f"checkpoint (={path}) holds no weight files ({', '.join(_SUFFIXES)}); {_REMEDY}")
    tensors = {}
    others = {}
    for file in files:
        name = file.relative_to(path).with_suffix("").as_posix()
        held = read_checkpoint(file)
        tensors |= {f"{name}/{inner}": tensor for inner, tensor in held.tensors.items()}
        others |= {f"{name}/{inner}": value for inner, value in held.others.items()}
    return Checkpoint(tensors=tensors, others=others)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with damage_told(path, _REMEDY, what="checkpoint"), safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)


def _read_pickle(path: Path, *, zipped: bool) -> object:
    """The content of a torch file, read by torch's restricted unpickler, to which only names of ours are added."""
    try:
        named = get_unsafe_globals_in_checkpoint(path) if zipped else []
        with safe_globals([(_stand_in(name), name) for name in named if _is_harmless(name)]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged or hostile pickle can end in any
        if refused := _REFUSED.search(str(error)):
            raise ModelError(
                f"checkpoint (={path}) wants {refused[1]} to be run, which no weights need; don't use this file."
            ) from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(f"checkpoint (={path}) can't be read ({reason}); {_REMEDY}") from error


def _is_harmless(name: str) -> bool:
    return name.partition(".")[0] in _FRAMEWORKS | _STANDARD or name in _PLAIN


def _stand_in(name: str) -> type:
    return dict if name.endswith(".AttributeDict") else StandIn  # filled item by item, which torch allows dict alone


def _sorted_out(content: Mapping[object, object]) -> Checkpoint:
    others = {}
    while wrapping := [name for name in _CONTAINERS if isinstance(content.get(name), Mapping) and content[name]]:
        if len(wrapping) > 1:
            log.warning("the file holds %s; %s is taken", ", ".join(wrapping), wrapping[0])
        others |= {str(name): value for name, value in content.items() if name != wrapping[0]}
        inner = content[wrapping[0]]
        assert isinstance(inner, Mapping), "what wraps is one"
        content = inner
    tensors = {}
    for name, value in _flat(content):
        if isinstance(value, Tensor) and value.layout is torch.strided:
            tensors[name] = value.detach()
        else:
            others[name] = value
    return Checkpoint(tensors=without_wrappers(tensors), others=others)


def _flat(content: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    """The entries, those of a dictionary that holds tensors by dotted names."""
    for key, value in content.items():
        if isinstance(value, Mapping) and any(isinstance(inner, Tensor) for inner in value.values()):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield str(key), value
