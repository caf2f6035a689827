"""What numbers a setting may take: by its name, since a name means the same wherever it stands.

A number that is not listed is finite and not negative, which fits weights of terms and parameters of noise.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from sdsr.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A range from `least` to `most`; of an open end, the value itself is not in it. NaN is in none."""

    least: float | int = 0
    most: float | int = math.inf
    open_below: bool = False
    open_above: bool = False
    infinite: bool = False

    def holds(self, value: float | int) -> bool:
        """Return whether the value is in the range; infinity only where it is `infinite`."""
        if value in (math.inf, -math.inf) and not self.infinite:
            return False
        above = value > self.least if self.open_below else value >= self.least
        return above and (value < self.most if self.open_above else value <= self.most)

    def __str__(self) -> str:
        if math.isinf(self.most):
            finite = "" if self.infinite else ", and finite"
            return f"{'above' if self.open_below else 'at least'} {self.least:g}{finite}"
        return f"in {self.least:g} ... {self.most:g}{', less than its end' if self.open_above else ''}"


ANY = Limit()
COUNT = Limit(least=1)
STEPS = Limit(least=1, most=1e9)
PIXELS = Limit(least=1, most=8192)
SHARE = Limit(most=1)
SECONDS = Limit(infinite=True)
SEED = Limit(most=2**63 - 1)

_LIMITS: Mapping[str, Limit] = {
    **dict.fromkeys(("batch", "accumulate", "draws", "uses", "versions"), Limit(least=1, most=4096)),
    **dict.fromkeys(("sampling_steps", "preview_steps"), Limit(least=1, most=999)),
    "steps": STEPS,
    "crop_px": PIXELS,
    **dict.fromkeys(("flips", "ema_decay", "decay_from", "final_share", "adversarial_from", "alone", "clearer"), SHARE),
    **dict.fromkeys(("degraded_share", "prompt_dropout", "token_dropout", "fidelity"), SHARE),
    "betas": Limit(most=1, open_above=True),
    "clip_norm": Limit(open_below=True, infinite=True),
    "start": Limit(most=999),
}


def limit_of(name: str) -> Limit:
    """Return the limit of the setting of this name, the last part of its path."""
    return _LIMITS.get(name, ANY)


def check_number(name: str, value: float | int, limit: Limit) -> None:
    """Raise InputError where the value is not within the limit."""
    if not limit.holds(value):
        raise InputError(f"{name} (={value}) must be {limit}; choose such a number, or leave it out.")


def check_numbers(value: object, path: str = "") -> None:
    """Raise InputError where a number of a dataclass, or of one inside of it or in its tuples, is beyond its limit."""
    name = path.rpartition(".")[2]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            check_numbers(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
    elif isinstance(value, tuple):
        for part in value:
            check_numbers(part, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        check_number(path, value, limit_of(name))
