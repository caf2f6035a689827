"""A training run as a value, and the files it keeps."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from sdsr.errors import InputError
from sdsr.methods.limits import COUNT, SECONDS, SEED, STEPS, Limit, check_number

CHECKPOINTS_KEPT = 2
SETTINGS = "settings"
_NAMED = 5
_EXCERPT = 60
IDENTITY = ("recipe", "stage", "prior_sha256", "seed")
"""What a resumed run must have in common with its beginning; its length and its data may change.

A stage is its canonical TOML.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How long a run goes on and how often it saves; what it learns is its stage's business.

    `steps` and `minutes` both bound the run, whichever is reached first, and both drive the learning rate: a run that
    was promised 30 minutes ends annealed after 30 minutes. Minutes count training time, over all resumptions. No steps
    are as many as the stage's. What is beyond its limit is an InputError.
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

    def __post_init__(self) -> None:
        check_number("steps", self.steps, Limit(most=STEPS.most))
        if self.minutes is not None:
            check_number("minutes", self.minutes, Limit(open_below=True))
        check_number("save_every", self.save_every_s, SECONDS)
        check_number("validate_every", self.validate_every, COUNT)
        check_number("seed", self.seed, SEED)
        check_number("workers", self.loader_workers, Limit(least=1, most=256))

    def progress(self, step: int, seconds: float) -> float:
        """Return the share of the run that is done, in [0, 1]."""
        by_time = 0.0 if self.minutes is None else seconds / 60 / self.minutes
        return min(1.0, max(step / self.steps, by_time))


@dataclass(slots=True)
class Clock:
    """Where a run stands: steps done and seconds of training spent, over all resumptions."""

    step: int = 0
    seconds: float = 0.0


def write_manifest(folder: Path, metadata: Mapping[str, object]) -> None:
    """Note in `run.json` what is trained; raise InputError where the folder holds a run of something else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    noted = {key: metadata[key] for key in (*IDENTITY, SETTINGS) if key in metadata}
    if not path.exists():
        path.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} can't be read ({error}); name another --run.") from error
    changed = [key for key in IDENTITY if before.get(key) != noted.get(key)]
    if changed:
        raise InputError(
            f"run (={folder}) was begun with {'; '.join(_differences(changed, before, noted))}; name another --run, or "
            "the same settings."
        )


def _differences(changed: Sequence[str], before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    """Yield what differs, in words: of a stage its settings, where both runs noted them."""
    for key in changed:
        then = before.get(SETTINGS)
        current = now.get(SETTINGS)
        if key == "stage" and isinstance(then, dict) and isinstance(current, dict) and then != current:
            yield from _different_settings(then, current)
        else:
            yield f"another {key} (={', not '.join(_excerpts(str(before.get(key)), str(now.get(key))))})"


def _different_settings(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    for name in names[:_NAMED]:
        yield f"another {name} (={', not '.join(_excerpts(before.get(name, 'none'), now.get(name, 'none')))})"
    if len(names) > _NAMED:
        yield f"{len(names) - _NAMED} more settings"


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """Return two texts, cut down to where they first differ if they are long."""
    start = next((place for place, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), 0)
    first = start - _EXCERPT // 3 if start > _EXCERPT // 2 else 0
    return tuple(
        ("..." if first else "") + text[first : first + _EXCERPT] + ("..." if len(text) > first + _EXCERPT else "")
        for text in (one, other)
    )  # pyright: ignore[reportReturnType]


def partial_of(target: Path) -> Path:
    """Return the folder that `atomic_folder` has written into until `target` is complete."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
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


def save_parts(parts: Mapping[str, Mapping[str, Tensor]], folder: Path, metadata: Mapping[str, object]) -> None:
    """Write each part's tensors as `NAME.safetensors`, with the same metadata in each."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    for name, tensors in parts.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors", texts)
