"""The plan of a restoration: which times are visited, and which step leads from one to the next."""

from dataclasses import dataclass

from sdsr.diffusion.steps import Step, deterministic
from sdsr.diffusion.times import validate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Descending `times`; the state starts at `start_time`, the first of them unless stated."""

    times: tuple[int, ...]
    step: Step = deterministic
    start: int | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        validate(self.times)

    @property
    def start_time(self) -> int:
        return self.times[0] if self.start is None else self.start
