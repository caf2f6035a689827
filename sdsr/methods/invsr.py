"""InvSR: the prior as it is, started from the LQ latent and the noise that a small network predicts for this photo.

arXiv:2412.09013 (CVPR 2025). n = mu + exp(log variance / 2) eps, with (mu, log variance) from the photo as it was given
and the start's time; x = sqrt(a) z_LQ + sqrt(1 - a) n; then one to five ordinary steps of the prior. Only the predictor
learns. The published program writes the same state divided by sqrt(a), as Euler's method in sigma does.

The predictor's grid has two pixels of the photo to a cell of the latent, so the photo must be a fourth of its canvas.
Deviation: the published program enlarges by 4 only. For other sizes the photo is resampled to a fourth of the result
first, which for an enlargement below 4 costs the predictor detail that the latent still has.
Deviation: the canvas is filled up by repeating its border, where the published program mirrors it; and the noise is
that of the canvas, where published windows each draw their own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import nn

from sdsr.data.prompts import prompts_of
from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.methods.invsr_plan import plan_for, times_for
from sdsr.methods.invsr_predictor import HALVING, NoisePredictor
from sdsr.methods.recipe import Recipe
from sdsr.prior.evidence import Evidence
from sdsr.prior.loading import load_prior
from sdsr.prior.prior import Prior
from sdsr.restoration.photograph import Photograph
from sdsr.restoration.restorer import Parts, Restorer, Seen, latent_region
from sdsr.tensors import Image, Latent, Time

PART = "noise_predictor"


@dataclass(frozen=True, slots=True)
class PredictedNoise:
    """Starts with the LQ latent, noised up to the start's time by the noise predicted for its photo."""

    predictor: NoisePredictor
    prior: Prior

    def __call__(self, schedule: NoiseSchedule, seen: Seen, t: int | Time, noise: Callable[[], Latent]) -> Latent:
        photo = reduced(seen.photograph, self.prior.factor // HALVING).to(seen.latent)
        with self.prior.precision():
            predicted = self.predictor(photo, t)
        return schedule.noisy(seen.latent, predicted.sample(noise()), t)


def reduced(photograph: Photograph, divisor: int) -> Image:
    """Return this part of the photo with its canvas divided: the pixels as given, where that is how it was enlarged.

    Sizes round up, so that the last pixel may be stretched over up to one more.
    """
    height, width = (-(-side // divisor) for side in photograph.size)
    region = latent_region(photograph.region, divisor)
    return replace(photograph, size=(height, width), multiple=photograph.multiple // divisor, region=region).enlarged()


def system(
    prior: str | Prior,
    device: torch.device | str | None = None,
    *,
    predictor: Callable[..., NoisePredictor] = NoisePredictor,
) -> Restorer:
    """The restorer on any prior, with the published prompt where the prior understands it.

    The predictor begins as plain noise, whatever the photo: its last layer is zero. The rest is the same each time.
    Deviation: the published one begins at random.
    """
    prior = load_prior(prior, device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learns = predictor(latent_channels=prior.channels)
    for parameter in learns.conv_out.parameters():
        nn.init.zeros_(parameter)
    learns.to(prior.device)
    embed, said = cache(prior.embed), prompts_of("invsr", prior.text.vocabulary)

    def tell(prior: Prior, photograph: Photograph, latent: Latent, prompt: str | None) -> Evidence:
        return Evidence(prompt=embed(prompt or "").to(latent.device))

    return Restorer(
        prior=prior,
        parts=Parts(
            conditioner=tell,
            start=PredictedNoise(learns, prior),
            modules=nn.ModuleDict({PART: learns}),
            prompt=said.positive,
            negative_prompt=said.negative,
        ),
    )


small_predictor = partial(NoisePredictor, widths=(64, 128), attention=(False, False, False))
"""1.8 million parameters. Deviation: without attention, which for 1024 px would multiply its operations."""

small_system = partial(system, predictor=small_predictor)

INVSR = Recipe(
    name="invsr",
    paper="arXiv:2412.09013",
    summary="SD-Turbo in one to five steps from a predicted noise; the published predictor fits.",
    prior="sd-turbo",
    system=system,
    plan=plan_for(),
    listens=True,
    times_for=times_for,
)

INVSR_SMALL = replace(
    INVSR,
    name="invsr-small",
    summary="A predicted noise and one to five steps on the embedded prior.",
    prior="small",
    system=small_system,
    listens=False,
)
