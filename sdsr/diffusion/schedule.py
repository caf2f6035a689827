"""The noise schedule: noisy = signal(t) clean + sigma(t) noise, solved for what a network predicts and what it means.

`t` is one time for the whole batch or a tensor with one for each item. A result has the dtype of the first argument,
and is computed in at least float32.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from sdsr.diffusion.curves import Curves, FlowMatching, SchedulerConfig, VariancePreserving
from sdsr.errors import InputError, look_up
from sdsr.tensors import Bool, Float, Float64, Times

Prediction = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]
"""diffusers' names. What a network predicts of `noisy`, as signal and sigma weigh noise and clean latent:

"epsilon": the noise; "v_prediction": the velocity signal noise - sigma clean (arXiv:2202.00512, Appendix D);
"sample": the clean latent; "flow_prediction": noise - clean (arXiv:2403.03206, Eq. 8).
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseSchedule:
    """How much of a photo is left at each time, and what the prior's network predicts."""

    curves: Curves
    prediction_type: Prediction = "epsilon"

    @classmethod
    def scaled_linear(cls) -> "NoiseSchedule":
        """Return the schedule of Stable Diffusion, whose network predicts noise."""
        return cls(curves=VariancePreserving.scaled_linear())

    @classmethod
    def flow(cls, shift: float = 1.0) -> "NoiseSchedule":
        """Return the schedule of flow matching, whose network predicts the flow; 3 is Stable Diffusion 3's shift."""
        return cls(curves=FlowMatching(shift=shift), prediction_type="flow_prediction")

    @classmethod
    def from_config(cls, config: SchedulerConfig) -> "NoiseSchedule":
        """Return the schedule that a diffusers `scheduler_config.json` describes; raise InputError for other kinds."""
        if "shift" in config or str(config.get("_class_name", "")).startswith("FlowMatch"):
            return cls(curves=FlowMatching.from_config(config), prediction_type="flow_prediction")
        predicts: dict[str, Prediction] = {kind: kind for kind in get_args(Prediction)}
        named = config.get("prediction_type", "epsilon")
        prediction_type = look_up(predicts, named, "prediction_type", "; use another prior")
        return cls(curves=VariancePreserving.from_config(config), prediction_type=prediction_type)

    def predicting(self, prediction_type: Prediction) -> "NoiseSchedule":
        """Return this schedule for a network that predicts something else."""
        return replace(self, prediction_type=prediction_type)

    @property
    def steps(self) -> int:
        return self.curves.steps

    def signal(self, t: Times) -> Float64[Tensor, " b"]:
        """Return how much of the clean latent is in a noisy one, float64 on the CPU (b is 1 for a single time)."""
        return self.curves.signal(t)

    def sigma(self, t: Times) -> Float64[Tensor, " b"]:
        """Return how much of the noise is in a noisy latent, float64 on the CPU (b is 1 for a single time)."""
        return self.curves.sigma(t)

    def noisy(
        self, clean: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], t: Times
    ) -> Float[Tensor, "b *shape"]:
        """Return `clean` with `noise` added up to time t."""
        signal, sigma = self._curves(t, clean)
        return (signal * clean + sigma * noise).to(clean.dtype)

    def noise(
        self, noisy: Float[Tensor, "b *shape"], clean: Float[Tensor, "b *shape"], t: Times
    ) -> Float[Tensor, "b *shape"]:
        """Return the noise that leads from `clean` to `noisy`; raise InputError where there is none.

        ConsisSR's TALA target is the target of this.
        """
        _check(self.sigma(t) > 0, t, "no noise, so none can be told from a latent; use a larger t")
        signal, sigma = self._curves(t, noisy)
        return ((noisy - signal * clean) / sigma).to(noisy.dtype)

    def clean(
        self, prediction: Float[Tensor, "b *shape"], noisy: Float[Tensor, "b *shape"], t: Times
    ) -> Float[Tensor, "b *shape"]:
        """Return what `noisy` was made from, by what the network predicts of it.

        Raises InputError where a prediction says nothing of it: noise, at a time with no signal left.
        """
        signal, sigma = self._curves(t, noisy)
        match self.prediction_type:
            case "epsilon":
                remedy = (
                    "no signal left, so noise gives no estimate; use a prior that predicts velocity, or a smaller t"
                )
                _check(self.signal(t) > 0, t, remedy)
                clean = (noisy - sigma * prediction) / signal
            case "v_prediction":
                clean = (signal * noisy - sigma * prediction) / (signal.square() + sigma.square())
            case "flow_prediction":
                clean = (noisy - sigma * prediction) / (signal + sigma)
            case "sample":
                clean = prediction
        return clean.to(noisy.dtype)

    def target(
        self, clean: Float[Tensor, "b *shape"], noise: Float[Tensor, "b *shape"], t: Times
    ) -> Float[Tensor, "b *shape"]:
        """Return what the network is to predict of `clean` with this noise added."""
        signal, sigma = self._curves(t, clean)
        match self.prediction_type:
            case "epsilon":
                return noise.to(clean.dtype)
            case "v_prediction":
                return (signal * noise - sigma * clean).to(clean.dtype)
            case "flow_prediction":
                wide = torch.promote_types(clean.dtype, torch.float32)
                return (noise.to(wide) - clean).to(clean.dtype)
            case "sample":
                return clean

    def _curves(self, t: Times, like: Tensor) -> tuple[Tensor, Tensor]:
        return per_item(self.signal(t), like), per_item(self.sigma(t), like)


def per_item(values: Float64[Tensor, " n"], like: Tensor) -> Tensor:
    """Return one coefficient for each item, or one for all, to broadcast to `like`: on its device, at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return values.to(dtype).to(like.device, non_blocking=True).view(-1, *[1] * (like.ndim - 1))


def _check(fine: Bool[Tensor, " b"], t: Times, why: str) -> None:
    if not fine.all():
        raise InputError(f"t (={t}) has {why}.")
