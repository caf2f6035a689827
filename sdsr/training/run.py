"""A training run as a value, and the files it keeps."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from sdsr.errors import InputError

CHECKPOINTS_KEPT = 2
IDENTITY = ("recipe", "stage", "prior_sha256", "seed")
"""What a resumed run must have in common with its beginning; its length and its data may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How long a run goes on and how often it saves; what it learns is its stage's business.

    `steps` and `minutes` both bound the run, whichever is reached first, and both drive the learning rate: a run that
    was promised 30 minutes ends annealed after 30 minutes. Minutes count training time, over all resumptions.
    `shard` spreads what is trained over the processes instead of copying it to each.
    """

    folder: Path
    steps: int
    minutes: float | None = None
    save_every_s: float = 300.0
    validate_every: int = 500
    seed: int = 0
    loader_workers: int = 1
    gradient_checkpointing: bool = False
    shard: bool = False
    compile: bool = False

    def progress(self, step: int, seconds: float) -> float:
        """Return the share of the run that is done, in [0, 1]."""
        by_time = 0.0 if self.minutes is None else seconds / 60 / self.minutes
        return min(1.0, max(step / self.steps, by_time))


@dataclass(slots=True)
class Clock:
    """Where a run stands: steps done and seconds of training spent, over all resumptions."""

    step: int = 0
    seconds: float = 0.0


def note_run(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Note in `run.json` what is trained; raise InputError where the folder holds a run of something else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    noted = {key: metadata[key] for key in IDENTITY if key in metadata}
    if not path.exists():
        path.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in IDENTITY if before.get(key) != noted.get(key)]
    if changed:
        key = changed[0]
        raise InputError(
            f"run (={folder}) was begun with another {key} (={before.get(key)}, not {noted.get(key)}); "
            f"name another --run, or the same settings."
        )


def partial_of(target: Path) -> Path:
    """Return the folder that `appearing` has written into until `target` is complete."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Yield a folder to write into, which takes the name `target` only when everything is in it and on the disk."""
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in partial.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, the oldest first."""
    return sorted((folder / "checkpoints").glob("step-*"))


def drop_old_checkpoints(folder: Path) -> None:
    for old in checkpoints(folder)[:-CHECKPOINTS_KEPT]:
        shutil.rmtree(old)


def save_parts(parts: Mapping[str, Mapping[str, Tensor]], folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write each part's tensors as `NAME.safetensors`, with the same metadata in each."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    for name, tensors in parts.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors", texts)
