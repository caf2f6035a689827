"""Critics at work: what judges a restored latent and its pixels, and how each side of the game is scored."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sdsr.critics.diffusion_unet import DiffusionCritic
from sdsr.critics.patch import PatchCritic
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.losses.adversarial import approximate_r1, critic_bce, generator_bce
from sdsr.objectives.learner import Judged, Outcome
from sdsr.tensors import Latent


class Critics(nn.Module):
    """A diffusion UNet that judges noised latents (D3SR, arXiv:2410.04224, Eq. 7-8), and, if wanted, one of pixels.

    Real and fake are noised alike: one time and one noise for both of a pair. `smoothness` scales a finite-difference
    R1 on real latents, which keeps a small critic calm.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        latent: DiffusionCritic,
        image: PatchCritic | None = None,
        *,
        smoothness: float = 0.0,
    ) -> None:
        super().__init__()
        self.schedule, self.latent, self.image = schedule, latent, image
        self.smoothness = smoothness

    @property
    def sees_images(self) -> bool:
        return self.image is not None

    def forward(self, judged: Judged, rng: torch.Generator) -> Outcome:
        """The critics' own loss."""
        t, noise = self._draws(judged.real["latent"], rng)
        real, fake = (self._noisy(side["latent"], t, noise) for side in (judged.real, judged.fake))
        loss = critic_bce(self.latent(real, t.to(real.device)), self.latent(fake, t.to(fake.device)))
        scalars = {"latent": float(loss.detach())}
        if self.smoothness:
            penalty = approximate_r1(lambda x: self.latent(x, t.to(x.device)), real, rng, sigma=0.05)
            loss = loss + self.smoothness * penalty
            scalars["smoothness"] = float(penalty.detach())
        if self.image is not None:
            of_pixels = critic_bce(self.image(judged.real["image"]), self.image(judged.fake["image"]))
            loss = loss + of_pixels
            scalars["image"] = float(of_pixels.detach())
        return Outcome(loss=loss, scalars=scalars)

    def opinion(self, fake: Mapping[str, Tensor], rng: torch.Generator) -> dict[str, Tensor]:
        """The generator's losses by what is judged, with gradients to `fake` and none to the critics' weights."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            t, noise = self._draws(fake["latent"], rng)
            noisy = self._noisy(fake["latent"], t, noise)
            losses = {"latent": generator_bce(self.latent(noisy, t.to(noisy.device)))}
            if self.image is not None:
                losses["image"] = generator_bce(self.image(fake["image"]))
            return losses
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)

    def _draws(self, like: Latent, rng: torch.Generator) -> tuple[Tensor, Latent]:
        t = torch.randint(len(self.schedule.alphas_cumprod), (len(like),), generator=rng)
        return t, torch.randn(like.shape, generator=rng).to(like)

    def _noisy(self, latent: Latent, t: Tensor, noise: Latent) -> Latent:
        return self.schedule.noisy(latent, noise, t)
