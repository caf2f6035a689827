"""A light encoder trained on photos alone: the stand-in for LPIPS, DISTS, DINO and CLIP weights that can't be had.

It stands in for them by value at small scale, frozen and pinned by its hash. It is never a reported metric for a model
trained with it.
"""

from pathlib import Path

from torch import Tensor

from sdsr.losses.light_trunk import LightTrunk
from sdsr.prior.weight_files import fill, read_tensors
from sdsr.tensors import Image

WIDTHS = (16, 32, 64, 128, 192)  # channels at H, H/2, H/4, H/8, H/16; 847,296 parameters, 0.25 GMAC per 128x128
EMBEDDED = Path(__file__).parents[1] / "assets" / "small-perceptual" / "perceptual.safetensors"


class SmallPerceptual(LightTrunk):
    """Five stages at H, H/2, H/4, H/8, H/16 of an image in [0, 1] (any size from 16 px)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__(3, widths, halved=range(1, len(widths)))

    def forward(self, image: Image) -> list[Tensor]:
        return super().forward((image - 0.5) / 0.25)


def load_small_perceptual(path: Path = EMBEDDED, sha256: str | None = None) -> SmallPerceptual:
    """The frozen network in the safetensors file `path`; ModelError if it is missing, altered or of another shape."""
    network = SmallPerceptual()
    fill(network, read_tensors(path, sha256), path)
    return network.eval().requires_grad_(False)
