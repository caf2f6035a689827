"""The checkpoints that authors published: converted, checked, and what to note of the folders that they become."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from sdsr.checkpoints.converted import Converted, Finding
from sdsr.checkpoints.reading import unwrapped, weight_files
from sdsr.digests import combined_sha256, file_sha256
from sdsr.errors import InputError, ModelError
from sdsr.method_folders import DESCRIPTION, read_description
from sdsr.prior.sources import SOURCES, resolve
from sdsr.prior.stable_diffusion import weight_digests
from sdsr.prior.weight_files import check_finite

_NAMED = 5
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Conversion(TypedDict):
    """What a recipe doesn't say of a checkpoint that fits it: fields of `Published`."""

    convert: Callable[[Mapping[str, Tensor]], Converted]
    parts: tuple[str, ...]
    examine: NotRequired[Callable[..., tuple[Finding, ...]]]
    completes: NotRequired[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published checkpoint: the recipe that it fits, how to convert it, the parts to keep, and what to ask of it.

    `prior` and `times` are the recipe's. `examine(state, converted, prior=folder, image_encoder=folder)` gives
    findings; folders may be None. `completes` are the recipes that it is only a part of: it joins the folder that
    another checkpoint of theirs became.
    """

    recipe: str
    prior: str
    times: tuple[int, ...]
    convert: Callable[[Mapping[str, Tensor]], Converted]
    parts: tuple[str, ...]
    examine: Callable[..., tuple[Finding, ...]] = lambda *_, **__: ()
    completes: tuple[str, ...] = ()

    def kept(self, converted: Converted) -> dict[str, dict[str, Tensor]]:
        return {part: converted.parts[part] for part in self.parts if part in converted.parts}


def check_complete(converted: Converted, path: Path) -> None:
    """Raise ModelError where the file holds what no rule knows, or lacks what a part needs; it tells of both."""
    problems = []
    for names, problem in ((converted.unknown, "holds unknown tensors"), (converted.missing, "lacks tensors")):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            problems.append(f"{problem}: {', '.join(names[:_NAMED])}{more}")
    if problems:
        there = [name for name, is_there in converted.files.items() if is_there]
        absent = [name for name, is_there in converted.files.items() if not is_there]
        if absent:
            has = f"has {', '.join(there)} of the published files, not" if there else "has none of the published files"
            problems.append(f"{has} {', '.join(absent)}")
        raise ModelError(
            f"checkpoint (={path}) {'; it '.join(problems)}; name its own method, or look at it with --partial."
        )


def fitting(table: Mapping[str, Published], state: Mapping[str, Tensor], path: Path) -> list[str]:
    """Return the published checkpoints, by name, that these tensors are one of; their values are not looked at."""
    shapes = {name: tensor if tensor.numel() == 1 else tensor.to("meta") for name, tensor in state.items()}
    found = []
    for name, published in table.items():
        with suppress(ModelError):
            check_complete(converted_from(published, shapes, path)[0], path)
            found.append(name)
    return found


def converted_from(
    published: Published, state: Mapping[str, Tensor], path: Path
) -> tuple[Converted, dict[str, Tensor]]:
    """Return the parts of a checkpoint, and its tensors by the names that they have inside a program's prefixes.

    The prefixes are those that leave the least unknown or missing; what stands outside of them is dropped. Raise
    ModelError where the tensors can't be converted, have other shapes than the parts, or are not finite.
    """
    found = _converted(published, state, path)
    inside = dict(state)
    for other in unwrapped(state) if _unfit(found) else ():
        again = _converted(published, other, path)
        if _unfit(again) < _unfit(found):
            kept = {id(tensor) for tensor in other.values()}
            outside = tuple(name for name, tensor in state.items() if id(tensor) not in kept)
            found = replace(again, dropped=(*again.dropped, *outside))
            inside = other
    check_fit(found, path)
    return found, inside


def _unfit(converted: Converted) -> int:
    return len(converted.unknown) + len(converted.missing)


def _converted(published: Published, state: Mapping[str, Tensor], path: Path) -> Converted:
    try:
        return published.convert(state)
    except (RuntimeError, ValueError, IndexError) as error:  # of tensors that can't be cut, merged or reshaped
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"checkpoint (={path}) has tensors of shapes that {published.recipe} can't have ({reason}); name its own "
            "method, or give the file that the authors published."
        ) from error


def check_fit(converted: Converted, path: Path) -> None:
    """Raise ModelError where a tensor is of another shape than its part's, of no floating type, or not finite."""
    for part, tensors in converted.parts.items():
        wanted = converted.shapes.get(part, {})
        odd = [name for name, tensor in tensors.items() if name in wanted and not _is_like(tensor, wanted[name])]
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise ModelError(
                f"checkpoint (={path}) does not fit: {part}'s {odd[0]} is {tuple(tensors[odd[0]].shape)} instead of "
                f"{_shape(wanted[odd[0]])}{more}; name its own method, or give a file of the published size and rank."
            )
        strange = [name for name, tensor in tensors.items() if tensor.dtype not in _DTYPES]
        if strange:
            raise ModelError(
                f"checkpoint (={path}) holds {tensors[strange[0]].dtype} in {strange[0]}; give one of float16, "
                "bfloat16, float32 or float64, not a quantized one."
            )
        check_finite({name: tensor for name, tensor in tensors.items() if not tensor.is_meta}, path)


def _is_like(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    return tensor.ndim == len(shape) and all(
        side is None or side == own for side, own in zip(shape, tensor.shape, strict=True)
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"


def description(published: Published, file: Path, prior: str | None) -> dict[str, object]:
    """Return what to note of the parts: recipe, source, and the prior that they belong to.

    That is the given one, or else the recipe's, which need not be on this machine, since its published files are known
    by their sha256; where they are not, it is a ModelError.
    """
    name, sha256 = _published_prior(published.prior) if prior is None else _given_prior(prior)
    return {
        "recipe": published.recipe,
        "prior": name,
        "prior_sha256": sha256,
        "times": list(published.times),
        "source": file.name,
        "source_sha256": _source_sha256(file),
    }


def joined(published: Published, file: Path, folder: Path) -> dict[str, object]:
    """Return what to note of a folder that these parts join; raise InputError where it is not of their method."""
    noted = read_description(folder) if (folder / DESCRIPTION).is_file() else {}
    if noted.get("recipe") not in published.completes:
        raise InputError(
            f"folder (={folder}) must hold one of {', '.join(published.completes)}, which this checkpoint completes; "
            "convert that one's first, into the same folder."
        )
    return {**noted, "joined": file.name, "joined_sha256": file_sha256(file)}


def _source_sha256(source: Path) -> str:
    """The sha256 of a file, or of all weight files of a folder."""
    return combined_sha256(map(file_sha256, weight_files(source))) if source.is_dir() else file_sha256(source)


def _given_prior(prior: str) -> tuple[str, str]:
    folder = resolve(prior)
    return prior if prior in SOURCES else folder.name, combined_sha256(weight_digests(folder).values())


def _published_prior(name: str) -> tuple[str, str]:
    sha256 = SOURCES[name].sha256
    if sha256 is None:
        raise ModelError(f"prior (={name}) has files whose sha256 sdsr does not know; name its folder with --prior.")
    return name, sha256
