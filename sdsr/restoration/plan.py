"""The plan of a restoration: which times are visited, and which step leads from one to the next."""

from dataclasses import dataclass, field

from sdsr.diffusion.steps import Step, deterministic
from sdsr.diffusion.times import validate
from sdsr.tensors import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Prediction-based self-refinement (AddSR, arXiv:2404.01717): between steps the LQ is photo and result mixed.

    `weight` is the share of the result; 0.5 is its documentation's, 0.4 what the published program computes with.
    """

    weight: float = 0.5

    def blend(self, restored: Image, lq: Image) -> Image:
        """Return what is to be looked at instead of `lq`."""
        return lq.lerp(restored.clamp(0, 1), self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Descending `times`; the state starts at `start_time`, the first of them unless stated.

    `fidelity` is how much of the photo a method's own decoder takes over (StableSR's w, there 0.5 by default): with 0
    the prior decodes alone. `refinement`: how the encoded LQ is renewed between steps, None for not at all.
    `reason` says why it is this plan, where the photo decided.
    """

    times: tuple[int, ...]
    step: Step = deterministic
    start: int | None = None
    guidance: float = 1.0
    fidelity: float = 0.5
    refinement: Refinement | None = None
    reason: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        validate(self.times)

    @property
    def draws_noise(self) -> bool:
        """Whether its steps draw noise; where it starts may be drawn all the same."""
        return len(self.times) > 1 and self.step is not deterministic

    @property
    def start_time(self) -> int:
        return self.times[0] if self.start is None else self.start
