"""Results that any method has to beat, or to be told from: bicubic enlargement, and the same with film grain."""

import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sdsr.metrics.benchmark import Scores, score_pairs
from sdsr.metrics.pairs import Pair, given_and_true, read_pixels
from sdsr.metrics.planes import Pixels, blurred, resized
from sdsr.metrics.protocol import Protocol
from sdsr.photos.depths import eight_bits

SCALE = 4


def bicubic(path: Path) -> Pixels:
    """The photo enlarged four times by Pillow's bicubic filter, 8 bit."""
    pixels = eight_bits(read_pixels(path))
    return resized(pixels, (SCALE * pixels.shape[1], SCALE * pixels.shape[0]))


def grain(path: Path) -> Pixels:
    """Bicubic, an unsharp mask (1.0, 1.5 px) and gray film grain (sigma 2, 0.6 px), seeded by the file's name.

    Worthless as a restoration, and ahead of most papers by PSNR, SSIM and NIQE: the warning beside every table.
    """
    smooth = bicubic(path).astype(np.float64)
    soft = np.stack([blurred(smooth[..., channel], 1.5) for channel in range(3)], axis=-1)
    noise = blurred(
        np.random.default_rng(zlib.crc32(path.stem.encode(errors="surrogateescape"))).normal(size=smooth.shape[:2]), 0.6
    )
    noise *= 2 / noise.std()
    return (2 * smooth - soft + noise[..., None]).round().clip(0, 255).astype(np.uint8)


def score_anchors(
    lq: Path, truth: Path, protocol: Protocol, *, names: Sequence[str] = (), jobs: int = 1
) -> dict[str, Scores]:
    """Scores of bicubic, of the truth itself and of the grain, for these photos (none named: all) of two folders."""
    given, original = given_and_true(lq, truth, names or None)
    pictures = {
        "bicubic": {name: partial(bicubic, given[name]) for name in original},
        "truth itself": {name: partial(read_pixels, path) for name, path in original.items()},
        "bicubic, unsharp mask, film grain": {name: partial(grain, given[name]) for name in original},
    }
    return {
        label: score_pairs(
            [
                Pair(name=name, result=result, truth=partial(read_pixels, original[name]))
                for name, result in results.items()
            ],
            protocol,
            jobs=jobs,
        )
        for label, results in pictures.items()
    }
