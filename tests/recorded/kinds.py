"""The kinds of records: how each is computed, kept, and compared."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as pillow

from tests.recorded import access, inputs

SEED = 7
MAX_LEVELS, MEAN_LEVELS = 6, 0.5
"""How far pixels of another processor may be from those recorded, in steps of 1/255; AVX2 was 1 and 0.17 off."""
RENEW = "python -m tests.recorded write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of record.

    `compute(name)` gives what JSON holds; `differences(recorded, found, exact)` says in words what is no longer so.
    """

    name: str
    names: Callable[[], list[str]]
    compute: Callable[[str], Any]
    differences: Callable[[Any, Any, bool], Iterator[str]]

    @property
    def path(self) -> Path:
        return inputs.VALUES / f"{self.name}.json"

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}

    def write(self, records: dict[str, Any]) -> None:
        lines = (f"{json.dumps(name)}: {json.dumps(records[name])}" for name in sorted(records))
        self.path.write_text("{\n" + ",\n".join(lines) + "\n}\n")

    def check(self, name: str, *, exact: bool, found: Any = None) -> list[str]:
        """What of a record is no longer so, one line each."""
        recorded = self.read().get(name)
        if recorded is None:
            return [f"{self.name} {name}: not recorded; {RENEW} {self.name} {name}"]
        found = self.compute(name) if found is None else found
        return [f"{self.name} {name}: {line}" for line in self.differences(recorded, found, exact)]


def unlike(recorded: Any, found: Any, _: bool = True, where: str = "") -> Iterator[str]:
    """Where two values differ."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key in sorted(recorded.keys() | found.keys()):
            yield from unlike(recorded.get(key), found.get(key), where=f"{where}.{key}".strip("."))
    elif recorded != found:
        yield f"{where} was {recorded} and is {found}"


def full_size(name: str) -> dict[str, Any]:
    """What `sdsr complexity` counts: 128 px to 512 px on the method's own prior."""
    return access.counted(name, prior=None, given_px=128)


def tiny_size(name: str) -> dict[str, Any]:
    """The same at 16 px to 64 px on the tiny prior."""
    return access.counted(name, prior="tiny", given_px=16, discriminators=False)


def names_of(format_name: str) -> Iterator[str]:
    """What becomes of each name of a published format: our name, its shape, and the file's name that fills it."""
    state = inputs.published(format_name)
    sources = sorted(state)
    found = access.converted(format_name, state)
    for name, tensor in sorted(found.tensors.items()):
        rows = tensor.reshape(len(tensor), -1)[:, 0] if tensor.ndim else tensor.reshape(1)
        numbers = sorted({float(rows[at]) for at in (0, len(rows) // 2, -1)})
        filled = (sources[int(number) - 1] if number % 1 == 0 else f"{number:.6g}" for number in numbers)
        yield f"{name} {list(tensor.shape)} <- {' '.join(filled)}"
    for fate in ("dropped", "unknown", "missing"):
        yield from (f"{fate} {name}" for name in sorted(getattr(found, fate)))


def digested_names(format_name: str) -> dict[str, Any]:
    """By part (or fate), how many names there are, and the sha256 of their sorted lines."""
    lines = sorted(names_of(format_name))
    places = [line.partition(" ")[0].partition("/")[0] for line in lines]
    counts = Counter(places)
    of_part = {name: [line for line, place in zip(lines, places, strict=True) if place == name] for name in counts}
    digests = {
        name: [counts[name], hashlib.sha256("\n".join(held).encode()).hexdigest()] for name, held in of_part.items()
    }
    return {"becomes": access.becomes(format_name), **digests}


def _picture_path(name: str) -> Path:
    return inputs.VALUES / "pixels" / f"{name}.png"


def recorded_pixels(name: str) -> np.ndarray:
    with pillow.open(_picture_path(name)) as file:
        return np.asarray(file)


def restored(name: str) -> dict[str, Any]:
    """The weights' sha256, and the pixels, which a PNG keeps."""
    return {"weights": access.method_sha256(name), "pixels": access.restored(name, inputs.crop(), seed=SEED)}


def other_pixels(recorded: dict[str, Any], found: dict[str, Any], exact: bool) -> Iterator[str]:
    if recorded["weights"] != found["weights"]:
        yield f"its weights were exchanged since, which this record is of; {RENEW} pixels {recorded['name']}"
        return
    before = recorded_pixels(recorded["name"]).astype(int)
    if before.shape != found["pixels"].shape:
        yield f"the picture was {before.shape} and is {found['pixels'].shape}"
        return
    off = np.abs(before - found["pixels"])
    if off.max() > (0 if exact else MAX_LEVELS) or off.mean() > (0 if exact else MEAN_LEVELS):
        yield f"pixels are off by {off.max()} / 255 at most, {off.mean():.4f} in the mean"


def losses(name: str, steps: int = access.CURVE_STEPS) -> dict[str, Any]:
    return {"weights": access.curve_sha256(), **access.curve(name, inputs.picture, steps)}


EXACT_LOSS, EARLY_LOSS = 1e-5, 1e-3
LATE_LOSS, EARLY_STEPS = (2e-2, 5) if "AVX512" in torch.backends.cpu.get_cpu_capability() else (4e-2, 4)
"""Relative: on one machine; on others for the first steps, and for the later ones, where rounding has grown, more so on
processors of another class than the recording one's."""


def other_losses(recorded: dict[str, Any], found: dict[str, Any], exact: bool) -> Iterator[str]:
    if recorded["weights"] != found["weights"]:
        yield f"the weights that objectives compare by were exchanged since; {RENEW} losses"
        return
    if recorded.keys() != found.keys():
        yield f"it reported {sorted(recorded)} and reports {sorted(found)}"
        return
    for key in sorted(recorded.keys() - {"weights"}):
        before = recorded[key][: len(found[key])]
        scale = max(map(abs, before))  # of the whole curve: a judge's losses cross zero
        for step, (then, now) in enumerate(zip(before, found[key], strict=True)):
            allowed = EXACT_LOSS if exact else EARLY_LOSS if step < EARLY_STEPS else LATE_LOSS
            if not abs(now - then) <= allowed * scale:
                yield f"{key} of step {step} was {then:.7g} and is {now:.7g}"
                break


COMPLEXITY = Kind(name="complexity", names=access.methods, compute=full_size, differences=unlike)
TINY = Kind(name="complexity-tiny", names=access.methods, compute=tiny_size, differences=unlike)
KEYS = Kind(name="keys", names=access.published_formats, compute=digested_names, differences=unlike)
PIXELS = Kind(name="pixels", names=access.embedded, compute=restored, differences=other_pixels)
LOSSES = Kind(name="losses", names=access.stages, compute=losses, differences=other_losses)
KINDS = {kind.name: kind for kind in (KEYS, TINY, PIXELS, LOSSES, COMPLEXITY)}


def keep(kind: Kind, name: str, found: Any) -> None:
    """Write one record, beside those there are."""
    if kind is PIXELS:
        pillow.fromarray(found["pixels"]).save(_picture_path(name), optimize=True)
        found = {"weights": found["weights"], "name": name}
    kind.write({**kind.read(), name: found})


def forget(kind: Kind, names: Iterable[str]) -> None:
    """Drop records of what there is no longer."""
    held = set(names)
    kind.write({name: record for name, record in kind.read().items() if name in held})
    if kind is PIXELS:
        for path in _picture_path("").parent.glob("*.png"):
            if path.stem not in held:
                path.unlink()
