"""The two curves of a noise schedule, signal(t) and sigma(t), of Stable Diffusion's kind and of flow matching.

Both curves are float64 on the CPU, and b is 1 for a single time. Times on an accelerator have to be read back.
"""

from dataclasses import dataclass
from typing import Protocol, TypedDict

import torch
from torch import Tensor

from sdsr.errors import InputError
from sdsr.tensors import Float, Float64, Times

_BETA_SCHEDULES = ("scaled_linear", "linear")


class SchedulerConfig(TypedDict, total=False):
    """A diffusers `scheduler_config.json`, as far as schedules depend on it."""

    _class_name: str
    prediction_type: str
    num_train_timesteps: int
    beta_schedule: str
    beta_start: float
    beta_end: float
    trained_betas: list[float] | None
    rescale_betas_zero_snr: bool
    shift: float


class Curves(Protocol):
    """How much of the clean latent and of the noise is in a noisy one; times are 0 ... `steps` - 1."""

    @property
    def steps(self) -> int: ...

    def signal(self, t: Times) -> Float64[Tensor, " b"]: ...

    def sigma(self, t: Times) -> Float64[Tensor, " b"]: ...

    def timestep(self, t: Times) -> Float64[Tensor, " b"]:
        """Return what a network of this schedule is told of the time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariancePreserving:
    """signal^2 + sigma^2 = 1; signal^2 is DDPM's `alphas_cumprod` (arXiv:2006.11239, Eq. 4), at whole times."""

    alphas_cumprod: Float64[Tensor, " steps"]

    @classmethod
    def scaled_linear(cls, start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> "VariancePreserving":
        """Return the curves of Stable Diffusion: betas linear in their square root."""
        return cls.from_betas(_betas("scaled_linear", start, end, steps))

    @classmethod
    def from_betas(cls, betas: Float[Tensor, " steps"]) -> "VariancePreserving":
        """Return the curves with these variances of single steps."""
        return cls(alphas_cumprod=torch.cumprod(1 - betas.double().cpu(), dim=0))

    @classmethod
    def from_config(cls, config: SchedulerConfig) -> "VariancePreserving":
        """Return the curves that diffusers' `scheduler_config.json` describes; raise InputError for other kinds."""
        trained = config.get("trained_betas")
        if trained is not None:
            betas = torch.tensor(trained, dtype=torch.float64)
        else:
            start = config.get("beta_start", 0.0001)
            end = config.get("beta_end", 0.02)
            betas = _betas(config.get("beta_schedule", "linear"), start, end, config.get("num_train_timesteps", 1000))
        curves = cls.from_betas(betas)
        return curves.zero_terminal_snr() if config.get("rescale_betas_zero_snr") else curves

    def zero_terminal_snr(self) -> "VariancePreserving":
        """Return these curves, shifted and scaled so that nothing of the photo is left at the last time.

        arXiv:2305.08891, Algorithm 1.
        """
        root = self.alphas_cumprod.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        return VariancePreserving(alphas_cumprod=root.square())

    @property
    def steps(self) -> int:
        return len(self.alphas_cumprod)

    def signal(self, t: Times) -> Float64[Tensor, " b"]:
        return self._alpha_bar(t).sqrt()

    def sigma(self, t: Times) -> Float64[Tensor, " b"]:
        return (1 - self._alpha_bar(t)).sqrt()

    def timestep(self, t: Times) -> Float64[Tensor, " b"]:
        return _checked(t, self.steps)

    def _alpha_bar(self, t: Times) -> Float64[Tensor, " b"]:
        times = _checked(t, self.steps)
        index = times.long()
        if not torch.equal(index.double(), times):
            raise InputError(f"t (={t}) must be whole in a schedule of single steps; round it.")
        return self.alphas_cumprod[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatching:
    """signal + sigma = 1: a straight way from the clean latent to noise (arXiv:2210.02747; arXiv:2403.03206, Eq. 13).

    sigma is s u / (1 + (s - 1) u) at u = (t + 1) / `steps`, with s the `shift` (arXiv:2403.03206, Eq. 23), so that
    whole times are diffusers' `sigmas`, the smallest first. Times may be any real numbers from -1, where nothing is
    noise, to `steps` - 1, where all is.
    """

    shift: float = 1.0
    steps: int = 1000

    @classmethod
    def from_config(cls, config: SchedulerConfig) -> "FlowMatching":
        """Return the curves of diffusers' FlowMatchEulerDiscreteScheduler; raise InputError for its other kinds."""
        kinds = (
            "use_dynamic_shifting",
            "use_karras_sigmas",
            "use_exponential_sigmas",
            "use_beta_sigmas",
            "invert_sigmas",
        )
        for kind in kinds:
            if config.get(kind):
                raise InputError(f"{kind} (=True) of the scheduler must be off; use another prior.")
        return cls(shift=config.get("shift", 1.0), steps=config.get("num_train_timesteps", 1000))

    def signal(self, t: Times) -> Float64[Tensor, " b"]:
        u = self._share(t)
        return (1 - u) / (1 + (self.shift - 1) * u)

    def sigma(self, t: Times) -> Float64[Tensor, " b"]:
        u = self._share(t)
        return self.shift * u / (1 + (self.shift - 1) * u)

    def timestep(self, t: Times) -> Float64[Tensor, " b"]:
        return self.sigma(t) * self.steps

    def _share(self, t: Times) -> Float64[Tensor, " b"]:
        return (_checked(t, self.steps, first=-1) + 1) / self.steps


def _checked(t: Times, steps: int, first: int = 0) -> Float64[Tensor, " b"]:
    """Return the times in float64; raise InputError where one is outside of the schedule."""
    times = torch.atleast_1d(torch.as_tensor(t, device="cpu", dtype=torch.float64))
    if not (times.min() >= first and times.max() <= steps - 1):
        raise InputError(f"t (={t}) must be in {first} ... {steps - 1}; check the plan's times.")
    return times


def _betas(kind: str, start: float, end: float, steps: int) -> Float64[Tensor, " steps"]:
    if kind not in _BETA_SCHEDULES:
        raise InputError(f"beta_schedule (={kind}) must be one of {_BETA_SCHEDULES}; use another prior.")
    if kind == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64).square()
