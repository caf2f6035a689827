"""The sampling loop, once for all methods."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Generic

from sdsr.array_api import inference
from sdsr.diffusion.noise import CanvasNoise
from sdsr.restoration.cells import noise_region
from sdsr.restoration.lq_image import LqImage
from sdsr.restoration.plan import Plan, Refinement
from sdsr.restoration.protocol import Known, Restoring
from sdsr.tensors import Image, Latent, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled(Generic[Known]):
    """Where sampling stands after the step at time `t`: the clean estimate, and the encoded LQ.

    `fidelity` is the plan's, for decoding.
    """

    t: int
    clean: Latent
    encoded: Known
    last: bool
    fidelity: float = 0.0


@inference
def trajectory(
    restorer: Restoring[Latent, Known], lq_image: LqImage, plan: Plan, noise: CanvasNoise, *, prompt: str | None = None
) -> Iterator[Sampled[Known]]:
    """Yield the clean estimate after each of the plan's times; the last one is the restored latent."""
    encoded = restorer.encode_lq(lq_image, prompt, noise)
    noisy = restorer.start(encoded, plan.start_time, noise)
    canvas = noise_region(lq_image.region, restorer.factor)
    for index, (t, to) in enumerate(pairwise((*plan.times, None))):
        assert t is not None, "only the end of the plan has no time"
        clean = restorer.denoise(noisy, t, encoded, plan.guidance)
        yield Sampled(t=t, clean=clean, encoded=encoded, last=to is None, fidelity=plan.fidelity)
        if to is not None:
            if plan.refinement is not None:
                encoded = refreshed(restorer, lq_image, plan.refinement, clean, encoded)
            drawn = partial(noise.at, "step", index, canvas, restorer.channels)
            noisy = plan.step(restorer.schedule, noisy, clean, t, to, lambda like=noisy, drawn=drawn: drawn().to(like))


def refreshed(
    restorer: Restoring[Latent, Known], lq_image: LqImage, refinement: Refinement, clean: Latent, encoded: Known
) -> Known:
    """The encoded LQ, renewed from its mixture with a clean estimate, decoded part by part.

    By the prior's own decoder: what the conditioner looked at while it learned.
    """

    def mixture(region: Region) -> Image:
        lq = lq_image.placed(region).enlarged()
        cells = region.relative_to(lq_image.region)
        return refinement.blend(restorer.decode_plainly(clean, cells), lq.to(clean.device))

    return restorer.refresh(encoded, mixture)


def sample(
    restorer: Restoring[Latent, Known], lq_image: LqImage, plan: Plan, noise: CanvasNoise, *, prompt: str | None = None
) -> Sampled[Known]:
    """Restore a photo's latent: the last clean estimate along the plan's times."""
    *_, last = trajectory(restorer, lq_image, plan, noise, prompt=prompt)
    return last
