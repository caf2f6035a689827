"""How far a restorer's estimates are off in each channel of the latent, beside the LQ latent itself.

python bench/channels.py MODEL PHOTOS... [--photos 16] [--crop 192] [--times 100 250 800] [--most 6]

The photos' middle squares are degraded by the table `photo`; HQ latents are noised to each time and estimated under the
method's own prompt. Mean square errors; channels by how much they move the picture, the first moves it most.
"""

import argparse
from pathlib import Path

import torch

from sdsr.data.photos import open_photos
from sdsr.diffusion.noise import CanvasNoise
from sdsr.objectives.noise_matching import weight_in_pixels
from sdsr.objectives.pairs import lq_image_of
from sdsr.training.samples import validation_samples
from sdsr.upscaling import Upscaler


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path, nargs="+", metavar="PHOTOS")
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--times", type=int, nargs="+", default=(100, 250, 800))
    parser.add_argument("--most", type=int, default=6)
    arguments = parser.parse_args()
    upscaler = Upscaler.from_pretrained(arguments.model)
    restorer, prior = upscaler.restorer, upscaler.restorer.prior
    (sample,) = validation_samples(
        open_photos(arguments.data),
        upscaler.recipe.stages[-1],
        crop_px=arguments.crop,
        limit=arguments.photos,
        batch=arguments.photos,
    )
    noise = CanvasNoise(seeds=tuple(range(len(sample.hq))))
    encoded, hq = restorer.encode_lq(lq_image_of(restorer, sample), None, noise), prior.encode(sample.hq)
    columns = {"LQ itself": encoded.latent - hq}
    for time in arguments.times:
        rng = torch.Generator().manual_seed(time)
        noisy = prior.schedule.noisy(hq, torch.randn(hq.shape, generator=rng).to(hq), time)
        columns[f"t = {time}"] = restorer.denoise(noisy, time, encoded) - hq
    errors = {name: column.square().mean((0, 2, 3)) for name, column in columns.items()}
    weights = weight_in_pixels(prior).flatten()
    print(f"| channel | weight | {' | '.join(errors)} |\n|{'---|' * (2 + len(errors))}")
    for channel in weights.argsort(descending=True)[: arguments.most].tolist():
        cells = " | ".join(f"{error[channel]:.3f}" for error in errors.values())
        print(f"| {channel} | {weights[channel]:.2f} | {cells} |")
    print(f"| all |  | {' | '.join(f'{error.mean():.3f}' for error in errors.values())} |")


if __name__ == "__main__":
    main()
