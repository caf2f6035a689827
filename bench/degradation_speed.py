"""Degradation for training: images per second and core, beside a plain version of the same operations.

python bench/degradation_speed.py [--table realesrgan] [--crop 256] [--batch 8] [--rounds 5] [--json FILE]

The plain version is NumPy and Pillow, an image at a time, as recipes of the field do on the host: a blur by a kernel
of 21 x 21, a resize, Gaussian noise and JPEG, twice, and a last blur, resize and JPEG. Its resizes only shrink, where
a table's may enlarge. Leaves with 1 where ours is less than three times as fast.
"""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as pillow

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.measuring import heading, in_turn, machine, table, write_json
from sdsr.data.degradation import degradation, degrade

LEAST = 3.0
KERNEL = 21
ROUNDS_OF_SPOILING = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="realesrgan")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    shape = (arguments.batch, 3, arguments.crop, arguments.crop)
    images = torch.from_numpy(rng.random(shape, np.float32))
    settings = degradation(arguments.table)
    rows = {
        "sdsr": lambda: degrade(images, settings, range(arguments.batch)),
        "plain": lambda: [plain(image, rng) for image in images.permute(0, 2, 3, 1).numpy()],
    }
    timings = in_turn(rows, arguments.rounds)
    rates = {name: arguments.batch / timing.cpu for name, timing in timings.items()}
    told: dict[str, Any] = {"machine": machine(), "table": arguments.table, "images per second and core": rates}
    print(f"{arguments.table}, {arguments.crop} px, {heading(told['machine'])}\n")
    print(table(["version", "images/s per core", "ratio"], [[n, r, r / rates["plain"]] for n, r in rates.items()]))
    write_json(arguments.json, told)
    sys.exit(rates["sdsr"] < LEAST * rates["plain"])


def plain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Degrade one image (rows, columns, 3) in [0, 1], to a quarter of its size."""
    side = image.shape[0]
    for sized in np.linspace(1, 0.5, ROUNDS_OF_SPOILING + 1)[1:]:
        image = _compressed(_noised(_resized(_blurred(image, rng), round(side * sized)), rng), rng)
    return _compressed(_resized(_blurred(image, rng), side // 4), rng)


def _blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convolve with an anisotropic Gaussian, as a product of spectra: NumPy's fastest way for such a kernel."""
    places = np.arange(KERNEL) - KERNEL // 2
    rows, columns = np.exp(-(places**2) / (2 * rng.uniform(0.5, 3, (2, 1)) ** 2))
    kernel = np.outer(rows, columns) / (rows.sum() * columns.sum())
    padded = np.pad(image, ((KERNEL // 2,) * 2, (KERNEL // 2,) * 2, (0, 0)), mode="reflect")
    size = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel.astype(np.float32), size)[..., None]
    return np.fft.irfft2(spectrum, size, axes=(0, 1))[KERNEL - 1 :, KERNEL - 1 :].astype(np.float32)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    picture = pillow.fromarray(_bytes(image)).resize((side, side), pillow.Resampling.BICUBIC)
    return np.asarray(picture, np.float32) / 255


def _noised(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, rng.uniform(0, 0.1), image.shape).astype(np.float32)


def _compressed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    pillow.fromarray(_bytes(image)).save(file, "JPEG", quality=int(rng.integers(30, 95)))
    return np.asarray(pillow.open(file), np.float32) / 255


def _bytes(image: np.ndarray) -> np.ndarray:
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)


if __name__ == "__main__":
    main()
