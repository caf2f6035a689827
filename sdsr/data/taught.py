"""Pairs with a teacher's answer, kept on disk: a teacher that takes a second per crop is asked once, not at every use.

A folder holds shards of `PAIRS_PER_SHARD` pairs, `00000.safetensors` and so on: `lq` (n, 3, h, w), `hq` and `teacher`
(n, 3, scale h, scale w), all uint8, with the facts of their making as metadata. Pair i of a folder is sample i of
`Crops` with the folder's seed, so a folder can grow, and can be made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sdsr.data.degradation import LowImage
from sdsr.errors import InputError
from sdsr.tensors import Image, UInt8

PAIRS_PER_SHARD = 32
KEYS = ("lq", "hq", "teacher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """How many pairs are made, of HQ crops of which size, degraded by which table, and drawn by which seed."""

    pairs: int
    crop_px: int
    degradation: str
    seed: int = 0

    @property
    def shards(self) -> int:
        return -(-self.pairs // PAIRS_PER_SHARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtBatch:
    """Whole pairs with the teacher's answers and their numbers in the set."""

    lq: LowImage
    hq: Image
    teacher: Image
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtPairs:
    """The shards of some folders, one after another."""

    shards: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.shards) * PAIRS_PER_SHARD

    def pair(self, number: int) -> dict[str, UInt8[Tensor, "3 _ _"]]:
        """The pair of that number, its tensors by the name in `KEYS`."""
        shard, place = divmod(number, PAIRS_PER_SHARD)
        with safe_open(self.shards[shard], framework="pt") as file:
            return {key: file.get_slice(key)[place] for key in KEYS}

    def batch(self, numbers: Sequence[int]) -> TaughtBatch:
        """These pairs as one batch, in [0, 1]."""
        pairs = [self.pair(number) for number in numbers]
        lq, hq, teacher = (torch.stack([pair[key] for pair in pairs]).float() / 255 for key in KEYS)
        return TaughtBatch(lq=lq, hq=hq, teacher=teacher, numbers=tuple(numbers))


def open_taught(folders: Sequence[Path]) -> TaughtPairs:
    """Return the pairs of these folders. Raises InputError where there are none, or a shard is damaged or too short."""
    shards = tuple(path for folder in folders for path in sorted(folder.glob("[0-9]*.safetensors")))
    if not shards:
        names = ", ".join(map(str, folders))
        raise InputError(f"pairs (={names}) hold no shards (00000.safetensors, ...); make them with --teacher FILE.")
    for path in shards:
        _check(path)
    return TaughtPairs(shards=shards)


def _check(path: Path) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            missing = [key for key in KEYS if key not in file.keys()]  # noqa: SIM118  (no mapping)
            counts = [] if missing else [file.get_slice(key).get_shape()[0] for key in KEYS]
    except (SafetensorError, OSError) as error:
        raise InputError(f"shard (={path}) can't be read ({error}); delete it, and it is made again.") from error
    if missing or set(counts) != {PAIRS_PER_SHARD}:
        found = f"lacks {', '.join(missing)}" if missing else f"holds {counts} of {', '.join(KEYS)}"
        raise InputError(f"shard (={path}) {found}, not {PAIRS_PER_SHARD} of each; delete it, and it is made again.")
