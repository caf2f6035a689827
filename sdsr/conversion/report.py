"""What a conversion gives, and what it found: tensors by part, and the names that it did not need or did not find."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A published checkpoint as our parts.

    `parts` are state dicts by the name of the part. `dropped` are names of the file that nothing needs (buffers, frozen
    copies), `unknown` are those that no rule knows, `missing` are names that a part needs and the file lacks.
    """

    parts: Mapping[str, dict[str, Tensor]]
    dropped: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question put to a checkpoint: whether it holds (None: can't be told), the figure, and what that means."""

    name: str
    holds: bool | None
    figure: str
    meaning: str
