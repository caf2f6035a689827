"""What was found of a model's trustworthiness, as `trust.json` in its folder: weights of the clues, and promises."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdsr.errors import ModelError
from sdsr.trust.expected_error import ExpectedError
from sdsr.trust.mask import Calibration

FILE = "trust.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far a model can be believed, for photos like those it was calibrated on.

    `passes`: how many the disagreement is of. `source` says which photos and which degradation; `photos_sha256` is
    that of all their files. It holds for the weights that `weights_sha256` stands for, and no others. `checked` has,
    beside each promise, what came out on photos that were not used.
    """

    passes: int
    expected: ExpectedError
    calibrations: tuple[Calibration, ...]
    source: str
    photos_sha256: str
    weights_sha256: str
    checked: tuple[str, ...] = ()


def write_trust(trust: Trust, folder: Path) -> None:
    """Write it into a model's folder, beside the weights."""
    text = json.dumps({"format": FORMAT, **asdict(trust)}, indent=2)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_trust(folder: Path) -> Trust | None:
    """Return what is stored in a model's folder, None where nothing is; ModelError where it can't be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} can't be read ({error}); calibrate the model again with `sdsr study trust`."
        ) from error


def _parsed(stored: dict[str, Any]) -> Trust:
    if stored["format"] != FORMAT:
        raise ValueError(f"its format is {stored['format']}, not {FORMAT}")
    first, second, third, constant = _numbers(stored["expected"]["weights"])
    return Trust(
        passes=int(stored["passes"]),
        expected=ExpectedError(weights=(first, second, third, constant)),
        calibrations=tuple(Calibration(**each) for each in stored["calibrations"]),
        source=str(stored["source"]),
        photos_sha256=str(stored["photos_sha256"]),
        weights_sha256=str(stored["weights_sha256"]),
        checked=tuple(map(str, stored["checked"])),
    )


def _numbers(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values]
