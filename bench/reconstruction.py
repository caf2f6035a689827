"""The ceiling: photos encoded and decoded by a prior's autoencoder, scored against themselves under realisr-y.

python bench/reconstruction.py PHOTOS... [--prior small] [--jobs 1] [--output FOLDER]

PHOTOS are folders, .tar shards or files; sides are cut to multiples of the autoencoder's factor.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image as pillow

from sdsr.data.photos import open_photos
from sdsr.metrics.benchmark import score
from sdsr.metrics.protocol import PROTOCOLS
from sdsr.metrics.report import markdown
from sdsr.prior.loading import load_prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--prior", default="small")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, help="keep the pictures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.output or Path(temporary)
        psnr = _write(arguments.photos, arguments.prior, folder)
        print(f"{len(psnr)} photos, prior {arguments.prior}, RGB PSNR {np.mean(psnr):.2f} dB\n")
        scores = score(folder / "SR", folder / "HR", protocol=PROTOCOLS["realisr-y"], jobs=arguments.jobs)
        print(markdown({"reconstruction": scores}))


def _write(paths: list[Path], prior_name: str, folder: Path) -> list[float]:
    """Write each photo (HR) and its reconstruction (SR); return their RGB PSNR in dB."""
    prior, photos, figures = load_prior(prior_name), open_photos(paths), []
    for side in ("HR", "SR"):
        (folder / side).mkdir(parents=True, exist_ok=True)
    for index in range(len(photos)):
        height, width = (length // prior.factor * prior.factor for length in photos[index].shape[-2:])
        photo = photos[index][None, :, :height, :width].float() / 255
        with torch.inference_mode():
            result = prior.decode(prior.encode(photo)).clamp(0, 1).cpu()
        figures.append(float(-10 * (result - photo).square().mean().log10()))
        for side, image in (("HR", photo), ("SR", result)):
            pixels = (255 * image[0]).round().byte().permute(1, 2, 0).numpy()
            pillow.fromarray(pixels).save(folder / side / f"{index:04d}.png")
    return figures


if __name__ == "__main__":
    main()
