"""The trained parts of a method as a folder: `method.json` and a safetensors file per part, in float16 or 8 bits.

`method.json` names the recipe, the prior and its sha256 (parts on another prior are refused), the sha256 of each file,
and the tensors that are in no file because they are still the prior's (of a ControlNet that began as its UNet), or
because the base, a folder beside it, has the same (SeeSR's ControlNet is AddSR's too).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sdsr import __version__
from sdsr.digests import file_sha256
from sdsr.errors import ModelError
from sdsr.method_folders import DESCRIPTION, FORMAT, Base, MethodDescription, read_description
from sdsr.prior.eight_bits import quantize, round_to_eight_bits
from sdsr.prior.prior import Prior
from sdsr.prior.running import lay_out
from sdsr.prior.weight_files import check_finite, damage_told, fill, read_tensors
from sdsr.restoration.plan import Plan
from sdsr.restoration.restorer import Restorer

METHOD = "method"
"""Where parts and folders note which settings of the recipe's method were changed, by their names."""

_HALVES = (torch.float16, torch.bfloat16)


class Restores(Protocol):
    """A recipe, as far as trained parts note it."""

    @property
    def name(self) -> str: ...

    @property
    def plan(self) -> Plan | None: ...


def save_method(
    restorer: Restorer,
    folder: Path,
    recipe: Restores,
    facts: Mapping[str, object],
    *,
    base: Path | None = None,
    bits: int = 16,
) -> None:
    """Write a restorer's trained parts, in half precision or large weights in 8 `bits`, and what they belong to.

    `facts` say how they came to be; "times", those that they were trained at where the recipe's were changed, and
    "method" the changed settings of its method, without which the folder can't be read. What the
    method in folder `base` has in its files, too, is left to them; the folders must stay beside each other. What is the
    base's or the prior's is so once stored.
    """
    assert recipe.plan is not None, f"{recipe.name} restores nothing: it has no plan"
    modules = restorer.parts.modules
    of_prior = {name: _of_prior(module, restorer.prior, bits) for name, module in modules.items()}
    of_base = {name: _of_base(base, name, module, bits) if base else [] for name, module in modules.items()}
    parts = {
        name: {
            key: tensor for key, tensor in module.state_dict().items() if key not in {*of_prior[name], *of_base[name]}
        }
        for name, module in modules.items()
    }
    noted = {
        "recipe": recipe.name,
        "prior": restorer.prior.name,
        "prior_sha256": restorer.prior.sha256,
        "of_prior": {name: keys for name, keys in of_prior.items() if keys},
        "times": list(recipe.plan.times),
        **facts,
    }
    write_parts(parts, folder, noted | ({} if base is None else {"base": _base(base, of_base)}), bits=bits)


def write_parts(
    parts: Mapping[str, Mapping[str, Tensor]],
    folder: Path,
    noted: Mapping[str, object],
    *,
    keep_precision: bool = False,
    bits: int = 16,
) -> None:
    """Write each part's tensors, and a description with `noted` in it, which says what they belong to.

    Files that `noted` names already are kept there. Tensors in half precision stay as they are, all others become
    float16 unless they are to keep theirs; with `bits` = 8, large weights become integers with a scale instead. Raises
    ModelError for what is not finite, or too large for float16.
    """
    assert bits == 16 or not keep_precision, "8 bits keep no precision"
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, tensors in parts.items():
        path = folder / f"{name}.safetensors"
        check_finite(tensors, path)
        stored = {key: _stored(tensor, keep_precision=keep_precision) for key, tensor in tensors.items()}
        stored |= quantize(tensors) if bits == 8 else {}
        broken = [key for key, tensor in stored.items() if not tensor.isfinite().all()]
        if broken:
            raise ModelError(
                f"tensor (={broken[0]}) of {name} exceeds what float16 holds (65504); keep a published one's float32 "
                "with --keep-precision, or train again at a lower rate."
            )
        save_file(stored, path)
        digests[path.name] = file_sha256(path)
    before = noted.get("files", {})
    assert isinstance(before, dict), "files are noted by name"
    files = {**before, **digests}
    description = {"format": FORMAT, **noted, "files": files, "version": __version__}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def fill_restorer(restorer: Restorer, folder: Path) -> None:
    """Put the parts of a folder into a restorer; raise ModelError where they are damaged or another prior's."""
    description = read_description(folder)
    if not restorer.prior.fits(description["prior_sha256"]):
        raise ModelError(
            f"method (={folder.name}) was trained on the prior with sha256 {description['prior_sha256'][:12]}, not on "
            f"{restorer.prior.name} ({restorer.prior.sha256[:12]}); use that prior, or parts trained on this one."
        )
    for name, module in restorer.parts.modules.items():
        fill(module, described_part(folder, name, module, description), folder / f"{name}.safetensors")
    lay_out(restorer.parts.modules.eval().requires_grad_(False), restorer.prior.device)


def described_part(folder: Path, name: str, module: nn.Module, description: MethodDescription) -> dict[str, Tensor]:
    """Return all tensors of a part: of its file, the base's, or the prior's, which `module` still has.

    Raise ModelError where the file is damaged, or not the described one.
    """
    path = folder / f"{name}.safetensors"
    tensors = read_tensors(path)
    _check_file(path, description)
    kept = description.get("of_prior", {}).get(name, ())
    own = module.state_dict()
    return {key: own[key] for key in kept if key in own} | _base_tensors(description, folder, name) | tensors


def check_files(folder: Path) -> None:
    """Raise ModelError where a method's own files are missing, damaged, or not the described ones; none is loaded."""
    description = read_description(folder)
    for name in description["files"]:
        if not (folder / name).is_file():
            raise ModelError(f"weights (={folder / name}) are missing; copy all files of the folder.")
        _check_file(folder / name, description)


def _check_file(path: Path, description: MethodDescription) -> None:
    if file_sha256(path) != description["files"].get(path.name):
        raise ModelError(f"weights (={path}) are not those of {DESCRIPTION} (sha256 differs); reinstall them.")


def _of_base(base: Path, name: str, module: nn.Module, bits: int) -> list[str]:
    """Return the names of tensors of a part that a method's file of that part has, with the same values once stored."""
    path = base / f"{name}.safetensors"
    stored = read_tensors(path) if path.is_file() else {}
    return [
        key
        for key, tensor in module.state_dict().items()
        if key in stored
        and (
            torch.equal(stored[key], tensor.detach().cpu().to(stored[key].dtype))
            or _is_rounded(stored[key], key, tensor, bits)
        )
    ]


def _is_rounded(stored: Tensor, name: str, tensor: Tensor, bits: int) -> bool:
    """Whether a stored tensor is what is read of another where that is stored in 8 bits, as it is to be."""
    rounded = round_to_eight_bits(name, tensor) if bits == 8 and stored.shape == tensor.shape else None
    return rounded is not None and torch.equal(stored.detach().to("cpu", torch.float32), rounded)


def _base(base: Path, shared: Mapping[str, list[str]]) -> Base:
    """What is noted of the folder that has some of the tensors."""
    files = {f"{name}.safetensors": keys for name, keys in shared.items() if keys}
    return {
        "folder": base.resolve().name,
        "files": {file: file_sha256(base / file) for file in files},
        "tensors": files,
    }


def _base_tensors(description: MethodDescription, folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a part that are in the base's files."""
    base = description.get("base")
    file = f"{name}.safetensors"
    if base is None or file not in base["tensors"]:
        return {}
    path = folder.resolve().parent / base["folder"] / file
    if not path.is_file():
        raise ModelError(
            f"method (={folder.name}) shares weights with {base['folder']}, which is not beside it; put that folder "
            f"into {folder.resolve().parent}."
        )
    tensors = read_tensors(path, base["files"][file])
    return {key: tensors[key] for key in base["tensors"][file]}


def _stored(tensor: Tensor, *, keep_precision: bool) -> Tensor:
    dtype = tensor.dtype if keep_precision or tensor.dtype in _HALVES else torch.float16
    return tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)


def _of_prior(module: nn.Module, prior: Prior, bits: int) -> list[str]:
    """Return the names of tensors that a part has in common with the prior's network, in name and in value."""
    if module is prior.network:
        return []
    own = prior.network.state_dict()
    return [
        name
        for name, tensor in module.state_dict().items()
        if name in own
        and tensor.shape == own[name].shape
        and (torch.equal(tensor.float(), own[name].float()) or _is_rounded(own[name], name, tensor, bits))
    ]


def fill_from_run(restorer: Restorer, parts: Path) -> dict[str, object]:
    """Put the parts of a training run into a restorer, and return the facts that the run noted in them."""
    for name, module in restorer.parts.modules.items():
        path = parts / f"{name}.safetensors"
        fill(module, read_tensors(path), path)
    noted = run_metadata(parts)
    return {**run_facts(parts), **{key: json.loads(noted[key]) for key in ("times", METHOD) if key in noted}}


def run_facts(parts: Path) -> dict[str, str]:
    """Return what a training run noted beside its tensors about how they came to be."""
    noted = run_metadata(parts)
    return {key: noted[key] for key in ("stage", "steps", "step", "seconds", "seed") if key in noted}


def run_metadata(parts: Path) -> dict[str, str]:
    """Return all metadata of a training run's parts; raise ModelError where there are none or they can't be read."""
    first = next(iter(sorted(parts.glob("*.safetensors"))), None)
    if first is None:
        raise ModelError(f"parts (={parts}) hold no weights; give the parts folder of a training run.")
    with damage_told(first, "take those of another checkpoint."), safe_open(first, "pt") as file:
        return file.metadata() or {}
