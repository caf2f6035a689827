"""Critics at work: what judges a restored latent and its pixels, and how each side of the game is scored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from sdsr.critics.diffusion_unet import DiffusionCritic
from sdsr.critics.latent_unet import FAKE_LIMIT, LatentUnetCritic
from sdsr.critics.patch import PatchCritic
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.losses.adversarial import approximate_r1, critic_bce, critic_hinge, generator_bce, generator_hinge
from sdsr.objectives.learner import Judged, Outcome
from sdsr.tensors import Image, Latent, Time, Tokens


class NoisedLatents(nn.Module):
    """D3SR's game (arXiv:2410.04224, Eq. 7-8): latents are noised before they are judged.

    Real and fake are noised alike: one time and one noise for both of a pair. `smoothness` scales a finite-difference
    R1 on real latents, which keeps a small critic calm. `precision` is the context that the critic computes in.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        critic: DiffusionCritic,
        *,
        smoothness: float = 0.0,
        precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        super().__init__()
        self.schedule, self.critic, self.smoothness, self.precision = schedule, critic, smoothness, precision

    def forward(self, real: Latent, fake: Latent, t: Time | None, rng: torch.Generator) -> dict[str, Tensor]:
        t, noise = self._draws(real, rng)
        noisy_real, noisy_fake = (self.schedule.noisy(latent, noise, t) for latent in (real, fake))
        losses = {"": critic_bce(self._logits(noisy_real, t), self._logits(noisy_fake, t))}
        if self.smoothness:
            penalty = approximate_r1(lambda x: self._logits(x, t), noisy_real, rng, sigma=0.05)
            losses["_smoothness"] = self.smoothness * penalty
        return losses

    def opinion(self, fake: Latent, t: Time | None, rng: torch.Generator) -> Tensor:
        t, noise = self._draws(fake, rng)
        return generator_bce(self._logits(self.schedule.noisy(fake, noise, t), t))

    def _logits(self, noisy: Latent, t: Time) -> list[Tensor]:
        with self.precision():
            return self.critic(noisy, t.to(noisy.device))

    def _draws(self, like: Latent, rng: torch.Generator) -> tuple[Time, Latent]:
        t = torch.randint(self.schedule.steps, (len(like),), generator=rng)
        return t, torch.randn(like.shape, generator=rng).to(like)


class CleanLatents(nn.Module):
    """InvSR's game (arXiv:2412.09013): latents are judged as they are, told the start's time and the prompt."""

    context: Tokens

    def __init__(self, critic: LatentUnetCritic, context: Tokens) -> None:
        super().__init__()
        self.critic = critic
        self.register_buffer("context", context.detach().clone(), persistent=False)

    def forward(self, real: Latent, fake: Latent, t: Time | None, rng: torch.Generator) -> dict[str, Tensor]:
        return {"": critic_hinge(self._logits(real, t), self._logits(_limited(fake), t))}

    def opinion(self, fake: Latent, t: Time | None, rng: torch.Generator) -> Tensor:
        return generator_hinge(self._logits(_limited(fake), t))

    def _logits(self, latent: Latent, t: Time | None) -> list[Tensor]:
        assert t is not None, "this critic asks at which times the latents were made"
        return self.critic(latent, t.to(latent.device), self.context.expand(len(latent), -1, -1))


def _limited(fake: Latent) -> Latent:
    return fake.clamp(-FAKE_LIMIT, FAKE_LIMIT)


class Pixels(nn.Module):
    """A game on pictures."""

    def __init__(self, critic: PatchCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, real: Image, fake: Image, t: Time | None, rng: torch.Generator) -> dict[str, Tensor]:
        return {"": critic_bce(self.critic(real), self.critic(fake))}

    def opinion(self, fake: Image, t: Time | None, rng: torch.Generator) -> Tensor:
        return generator_bce(self.critic(fake))


class Critics(nn.Module):
    """The critic of latents and, if wanted, one of pictures, each with its game.

    A game's forward gives the losses of its critic, by the end of their names; `opinion` the generator's.
    """

    def __init__(self, latent: NoisedLatents | CleanLatents, image: Pixels | None = None) -> None:
        super().__init__()
        self.latent, self.image = latent, image

    @property
    def sees_images(self) -> bool:
        return self.image is not None

    def forward(self, judged: Judged, rng: torch.Generator) -> Outcome:
        """The critics' own loss."""
        losses = {
            f"{kind}{end}": loss
            for kind, game in self._games().items()
            for end, loss in game(judged.real[kind], judged.fake[kind], judged.t, rng).items()
        }
        return Outcome(
            loss=torch.stack(list(losses.values())).sum(),
            scalars={name: float(loss.detach()) for name, loss in losses.items()},
        )

    def opinion(self, judged: Judged, rng: torch.Generator) -> dict[str, Tensor]:
        """The generator's losses by what is judged, with gradients to the fakes and none to the critics' weights."""
        with still(self):
            return {kind: game.opinion(judged.fake[kind], judged.t, rng) for kind, game in self._games().items()}

    def _games(self) -> Mapping[str, NoisedLatents | CleanLatents | Pixels]:
        return {"latent": self.latent} | ({} if self.image is None else {"image": self.image})


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """While it lasts, what learns in a module gets no gradients."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
