"""A random two-level prior for tests and doctests: on the CPU, in well under a second, with the parts of the small one.

Its autoencoder is the Karhunen-Loève transform of smooth random blocks, so that flat and smooth images survive it; its
UNet and encoders are random, so what it restores means nothing.
"""

import copy
from functools import cache

import torch
from torch import Tensor

from sdsr.diffusion.schedule import NoiseSchedule
from sdsr.prior.prior import Prior
from sdsr.prior.small import PromptTable, SmallImageEncoder, small_unet
from sdsr.prior.small_autoencoder import FACTOR, SmallAutoencoder
from sdsr.prior.small_storage import SmallParts
from sdsr.prior.weight_files import module_sha256

LATENT_CHANNELS = 4
NATIVE_SIZE_PX = 512  # as of the small prior; a random one has no size of its own
_BLOCKS = 2048
_PIXEL_CORRELATION = 0.97
_COLOR_CORRELATION = 0.5
_STD = 0.5


def tiny_prior(seed: int = 0, dtype: torch.dtype = torch.float32) -> Prior:
    """Return the random prior that `seed` gives; the same one each time, and no other random state is touched.

    >>> prior = tiny_prior()
    >>> prior.encode(torch.rand(1, 3, 64, 48)).shape
    torch.Size([1, 4, 8, 6])
    """
    parts, sha256 = _made(seed)
    return copy.deepcopy(parts).prior(
        name="tiny",
        sha256=sha256,
        native_px=NATIVE_SIZE_PX,
        schedule=NoiseSchedule.scaled_linear(),
        dtype=dtype,
    )


@cache
def _made(seed: int) -> tuple[SmallParts, str]:
    """The parts and their sha256, to be copied: tests ask for them hundreds of times."""
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = SmallParts(
            autoencoder=SmallAutoencoder(LATENT_CHANNELS, widths=(8, 8, 8), depths=(1, 1, 1)),
            unet=small_unet(LATENT_CHANNELS, widths=(32, 32)),
            prompts=PromptTable(),
            image_encoder=SmallImageEncoder(widths=(8, 8, 16, 16)),
        )
        parts.autoencoder.begin_as_block_transform(_smooth_blocks())
    return parts, module_sha256(parts.modules)


def _smooth_blocks() -> Tensor:
    """Random blocks (n, 192) whose neighboring pixels and whose colors are correlated, in pixel_unshuffle's order."""
    steps = torch.arange(FACTOR, dtype=torch.float64)
    line = _PIXEL_CORRELATION ** (steps[:, None] - steps).abs()
    color = torch.eye(3, dtype=torch.float64).lerp(torch.ones(3, 3, dtype=torch.float64), _COLOR_CORRELATION)
    root = torch.linalg.cholesky(torch.kron(color, torch.kron(line, line)))
    return _STD * torch.randn(_BLOCKS, len(root), dtype=torch.float64) @ root.T
