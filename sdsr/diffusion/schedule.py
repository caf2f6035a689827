"""The noise schedule: noisy = sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise, solved for each of its three unknowns.

DDPM (arXiv:2006.11239), Eq. 4. `t` is an index 0 ... 999, one for the whole batch or a tensor with one for each item.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sdsr.errors import InputError
from sdsr.tensors import Time

Prediction = Literal["epsilon", "v_prediction"]
_BETA_SCHEDULES = ("scaled_linear", "linear")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseSchedule:
    """How much of a photo is left at each time, and what the prior's network predicts.

    `alphas_cumprod` stays in float64 on the CPU; coefficients are gathered there and then cast. Tensors of times are
    best drawn on the CPU too, since one on an accelerator has to be read back. A result has the dtype of the first
    argument, and is computed in at least float32.
    """

    alphas_cumprod: Float64[Tensor, " steps"]
    prediction_type: Prediction = "epsilon"

    @classmethod
    def scaled_linear(cls, start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> "NoiseSchedule":
        """Return the schedule of Stable Diffusion: betas linear in their square root."""
        return cls.from_betas(_betas("scaled_linear", start, end, steps))

    @classmethod
    def from_betas(cls, betas: Float[Tensor, " steps"], prediction_type: Prediction = "epsilon") -> "NoiseSchedule":
        """Return the schedule with these variances of single steps."""
        return cls(alphas_cumprod=torch.cumprod(1 - betas.double().cpu(), dim=0), prediction_type=prediction_type)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NoiseSchedule":
        """Return the schedule that a diffusers `scheduler_config.json` describes; raise InputError for other kinds."""
        prediction_type = config.get("prediction_type", "epsilon")
        if prediction_type not in get_args(Prediction):
            raise InputError(
                f"prediction_type (={prediction_type}) must be one of {get_args(Prediction)}; use another prior."
            )
        if config.get("trained_betas") is not None:
            betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
        else:
            start, end = config.get("beta_start", 0.0001), config.get("beta_end", 0.02)
            betas = _betas(config.get("beta_schedule", "linear"), start, end, config.get("num_train_timesteps", 1000))
        schedule = cls.from_betas(betas, prediction_type)
        return schedule.zero_terminal_snr() if config.get("rescale_betas_zero_snr") else schedule

    def zero_terminal_snr(self) -> "NoiseSchedule":
        """Return this schedule, shifted and scaled so that nothing of the photo is left at the last time.

        arXiv:2305.08891, Algorithm 1.
        """
        root = self.alphas_cumprod.sqrt()
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        return NoiseSchedule(alphas_cumprod=root.square(), prediction_type=self.prediction_type)

    def noisy(
        self, clean: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], t: int | Time
    ) -> Float[Tensor, "b *shape"]:
        """Return `clean` with `noise` added up to time t."""
        signal, sigma = self._roots(t, clean)
        return (signal * clean + sigma * noise).to(clean.dtype)

    def clean(
        self, noisy: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], t: int | Time
    ) -> Float[Tensor, "b *shape"]:
        """Return what `noisy` was made from, if `noise` was added; raise InputError where no signal is left."""
        if not self.alpha_bar(t).all():
            raise InputError(
                f"t (={t}) has no signal left, so noise alone gives no estimate; use velocity or a smaller t."
            )
        signal, sigma = self._roots(t, noisy)
        return ((noisy - sigma * noise) / signal).to(noisy.dtype)

    def noise(
        self, noisy: Float[Tensor, "b *shape"], clean: Float[Tensor, "b *shape"], t: int | Time
    ) -> Float[Tensor, "b *shape"]:
        """Return the noise that leads from `clean` to `noisy`. ConsisSR's TALA target is exactly this."""
        signal, sigma = self._roots(t, noisy)
        return ((noisy - signal * clean) / sigma).to(noisy.dtype)

    def velocity(
        self, clean: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], t: int | Time
    ) -> Float[Tensor, "b *shape"]:
        """Return sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) clean (arXiv:2202.00512, Appendix D)."""
        signal, sigma = self._roots(t, clean)
        return (signal * noise - sigma * clean).to(clean.dtype)

    def noise_from_velocity(
        self, noisy: Float[Tensor, "b *shape"], velocity: Float[Tensor, "b *shape"], t: int | Time
    ) -> Float[Tensor, "b *shape"]:
        """Return the noise in `noisy`, given its velocity."""
        signal, sigma = self._roots(t, noisy)
        return (signal * velocity + sigma * noisy).to(noisy.dtype)

    def clean_from_velocity(
        self, noisy: Float[Tensor, "b *shape"], velocity: Float[Tensor, "b *shape"], t: int | Time
    ) -> Float[Tensor, "b *shape"]:
        """Return what `noisy` was made from, given its velocity; defined also where no signal is left."""
        signal, sigma = self._roots(t, noisy)
        return (signal * noisy - sigma * velocity).to(noisy.dtype)

    def alpha_bar(self, t: int | Time) -> Float64[Tensor, " b"]:
        """Return the share of signal in the variance at each time, float64 on the CPU (b is 1 for a single time)."""
        index = torch.atleast_1d(torch.as_tensor(t, device="cpu", dtype=torch.int64))
        steps = len(self.alphas_cumprod)
        if index.min() < 0 or index.max() >= steps:
            raise InputError(f"t (={t}) must be in 0 ... {steps - 1}; check the plan's times.")
        return self.alphas_cumprod[index]

    def snr(self, t: int | Time) -> Float64[Tensor, " b"]:
        """Return the ratio of the variances of signal and noise at each time, float64 on the CPU."""
        alpha_bar = self.alpha_bar(t)
        return alpha_bar / (1 - alpha_bar)

    def _roots(self, t: int | Time, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = self.alpha_bar(t)
        return per_item(alpha_bar.sqrt(), like), per_item((1 - alpha_bar).sqrt(), like)


def per_item(values: Float64[Tensor, " n"], like: Tensor) -> Tensor:
    """Return one coefficient for each item, or one for all, to broadcast to `like`: on its device, at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return values.to(dtype).to(like.device, non_blocking=True).view(-1, *[1] * (like.ndim - 1))


def _betas(kind: str, start: float, end: float, steps: int) -> Float64[Tensor, " steps"]:
    if kind not in _BETA_SCHEDULES:
        raise InputError(f"beta_schedule (={kind}) must be one of {_BETA_SCHEDULES}; use another prior.")
    if kind == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64).square()
