"""What an estimate owes to the latent that was noised: the HQ one, as plain training has it, or the LQ one.

python bench/sources.py MODEL... --data PHOTOS... [--photos 16] [--crop 256] [--times 999 946 ...]

The photos' middle squares are degraded by the table `photo`. Both latents are noised to each time with the same noise,
and estimated under the method's own prompt, without guidance: RGB PSNR of the decoded estimates on the photo. Where
both columns agree, the network takes from the photo's conditions, not from what shines through the noise, and TALA
(ConsisSR, arXiv:2410.13807), which closes the gap between the two, has nothing to close.
"""

import argparse
from pathlib import Path

import torch

from sdsr.data.photos import open_photos
from sdsr.diffusion.noise import CanvasNoise
from sdsr.objectives.pairs import lq_image_of, nearness
from sdsr.training.samples import validation_samples
from sdsr.upscaling import Upscaler

TIMES = (999, 946, 894, 841, 789, 736, 684, 631, 421, 210)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="PHOTOS")
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--times", type=int, nargs="+", default=TIMES)
    arguments = parser.parse_args()
    rows = {f"t = {time}": [f"t = {time}"] for time in arguments.times}
    for model in arguments.models:
        for time, figures in gaps(model, arguments).items():
            rows[time] += [f"{figure:.2f}" for figure in figures]
    heads = [f"{Path(model).name}: {source}" for model in arguments.models for source in ("HQ", "LQ")]
    print(f"| noised | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for row in rows.values():
        print(f"| {' | '.join(row)} |")


def gaps(model: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return the PSNR of estimates from the noised HQ and the noised LQ latent, time by time."""
    upscaler = Upscaler.from_pretrained(model)
    restorer, prior = upscaler.restorer, upscaler.restorer.prior
    photos = open_photos(arguments.data)
    samples = validation_samples(
        photos, upscaler.recipe.stages[-1], crop_px=arguments.crop, limit=arguments.photos, batch=arguments.photos
    )
    (sample,) = samples
    encoded = restorer.encode_lq(lq_image_of(restorer, sample), None, CanvasNoise(seeds=tuple(range(len(sample.hq)))))
    found = {}
    for time in arguments.times:
        noise = torch.randn(encoded.latent.shape, generator=torch.Generator().manual_seed(time)).to(encoded.latent)
        pictures = [
            restorer.decode(
                restorer.denoise(prior.schedule.noisy(source, noise, time), time, encoded), encoded.lq_image
            )
            for source in (prior.encode(sample.hq), encoded.latent)
        ]
        found[f"t = {time}"] = [nearness(picture.clamp(0, 1), sample.hq)["psnr"] for picture in pictures]
    return found


if __name__ == "__main__":
    main()
