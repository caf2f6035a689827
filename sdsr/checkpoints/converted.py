"""What a conversion gives, and what it found: tensors by part, and the names that it did not need or did not find."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

Shapes = Mapping[str, tuple[int | None, ...]]
"""Of tensors, by name; a side that is None may be any."""


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a module's tensors, by name; it may be on "meta"."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A published checkpoint as our parts.

    `parts` are state dicts by the name of the part. `dropped` are names of the file that nothing needs (buffers, frozen
    copies), `unknown` are those that no rule knows, `missing` are names that a part needs and the file lacks. `shapes`
    are what the tensors of a part must have, by part and name; a side that is None may be any. `files` tells of a
    checkpoint of several files which of them are there, by their published names.
    """

    parts: Mapping[str, dict[str, Tensor]]
    dropped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    shapes: Mapping[str, Shapes] = field(default_factory=dict)
    files: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question put to a checkpoint: whether it holds (None: can't be told), the figure, and what that means."""

    name: str
    holds: bool | None
    figure: str
    meaning: str


def taken(
    state: Mapping[str, Tensor],
    names: Mapping[str, Mapping[str, str]],
    *,
    optional: Collection[str] = (),
    needless: tuple[str, ...] = (),
) -> Converted:
    """Return the parts of a checkpoint from our and the published names of their tensors.

    Parts that are `optional` may be absent as a whole; names that begin like a `needless` one are dropped.
    """
    parts = {
        part: {own: state[theirs] for own, theirs in table.items() if theirs in state} for part, table in names.items()
    }
    parts = {part: tensors for part, tensors in parts.items() if tensors or part not in optional}
    needed = {theirs: None for part in parts for theirs in names[part].values()}
    return Converted(
        parts=parts,
        dropped=tuple(name for name in state if name.startswith(needless)),
        unknown=tuple(name for name in state if name not in needed and not name.startswith(needless)),
        missing=tuple(theirs for theirs in needed if theirs not in state),
    )
