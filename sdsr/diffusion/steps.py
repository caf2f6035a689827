"""Three ways from one time to the next, given the estimate of the clean latent.

Each is `step(schedule, noisy, clean, t, to, noise)`: `noisy` and `clean` belong to time `t`, the result to the smaller
time `to`. `noise` is standard normal, of their shape; a function that draws it is called only by steps that need it.
The last clean estimate of a plan is its result, so no step leads to the end of the schedule. Naming a step, as a plan
does, takes no torch.
"""

from collections.abc import Callable
from typing import Literal, Protocol, TypeVar

from sdsr.tensors import Latent, Tensor

Noise = Latent | Callable[[], Tensor]
Variance = Literal["fixed_small", "fixed_large"]


Array = TypeVar("Array")


class Schedule(Protocol[Array]):
    """What steps ask of a noise schedule: noisy = signal(t) clean + sigma(t) noise, solved for noisy and noise."""

    def signal(self, t: int) -> Array: ...

    def sigma(self, t: int) -> Array: ...

    def noisy(self, clean: Array, noise: Array, t: int) -> Array: ...

    def noise(self, noisy: Array, clean: Array, t: int) -> Array: ...


class Step(Protocol):
    """A rule that leads from time `t` to time `to`."""

    def __call__(
        self, schedule: Schedule[Tensor], noisy: Latent, clean: Latent, t: int, to: int, noise: Noise
    ) -> Latent: ...


def ancestral(
    schedule: Schedule[Tensor],
    noisy: Latent,
    clean: Latent,
    t: int,
    to: int,
    noise: Noise,
    *,
    variance: Variance = "fixed_small",
) -> Latent:
    """Draw from the posterior of time `to`, given `noisy` and `clean` (arXiv:2006.11239, Eq. 6 and 7).

    beta, the variance that is added on the way from `to` to `t`, is that of the chosen list of times. "fixed_small" is
    the posterior's own variance, "fixed_large" is beta. Any curves have such a posterior (arXiv:2107.00630).
    """
    from sdsr.diffusion.schedule import per_item

    signal_to = schedule.signal(to)
    sigma_to = schedule.sigma(to)
    kept = schedule.signal(t) / signal_to
    variance_of_noisy = schedule.sigma(t).square()
    beta = variance_of_noisy - kept.square() * sigma_to.square()
    shrink = sigma_to.square() / variance_of_noisy
    of_clean = per_item(signal_to * beta / variance_of_noisy, noisy)
    of_noisy = per_item(kept * shrink, noisy)
    deviation = per_item((beta if variance == "fixed_large" else beta * shrink).sqrt(), noisy)
    return (of_clean * clean + of_noisy * noisy + deviation * _drawn(noise)).to(noisy.dtype)


def deterministic(schedule: Schedule[Tensor], noisy: Latent, clean: Latent, t: int, to: int, noise: Noise) -> Latent:
    """Keep the noise that is there: DDIM with eta 0 (arXiv:2010.02502, Eq. 12), and Euler's step in sigma."""
    return schedule.noisy(clean, schedule.noise(noisy, clean, t), to)


def renoise(schedule: Schedule[Tensor], noisy: Latent, clean: Latent, t: int, to: int, noise: Noise) -> Latent:
    """Forget the noise that is there and add fresh noise to the estimate (AddSR, arXiv:2404.01717)."""
    return schedule.noisy(clean, _drawn(noise), to)


def _drawn(noise: Noise) -> Tensor:
    return noise() if callable(noise) else noise
