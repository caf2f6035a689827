"""Time-aware latent augmentation (TALA): late in time, noise is added to the LQ latent, and the target stays HQ's."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sdsr.errors import InputError
from sdsr.tensors import Bool, Float, Float64, Latent, Time

TIMES = 1000
Shape = Literal["power", "linear"]
Draw = Literal["sample", "batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAware:
    """Time-aware latent augmentation: the LQ latent takes the HQ one's place where r < p(t), r uniform in [0, 1).

    ConsisSR, arXiv:2410.13807: p(t) = (t / T)^gamma ("power"), so that sampling, which begins without knowing the HQ
    latent, meets at late times what it was trained on. Where LQ stands, what leads back to HQ, and so the target, is
    eps + sqrt(ab / (1 - ab)) (z_LQ - z_HQ): the noise, and the degradation in units of it.
    "linear" is the paper's ablation, 0 up to 0.6 T and 1 at T: max(2.5 t / T - 1.5, 0). As printed, its formula falls
    with t, which contradicts the text.
    `per` "sample" draws r for each item, as the paper does, "batch" one for all, as its published code.
    Deviation: t is 0 ... 999, as in that code, where the paper counts 1 ... T; so p never reaches 1 (0.990 at 999).
    """

    gamma: float | int = 10.0
    shape: Shape = "power"
    per: Draw = "sample"

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise InputError(f"gamma (={self.gamma}) must be above 0; the paper's is 10.")
        if self.shape not in get_args(Shape):
            raise InputError(f"shape (={self.shape}) must be one of {get_args(Shape)}; the paper's is power.")
        if self.per not in get_args(Draw):
            raise InputError(f"per (={self.per}) must be one of {get_args(Draw)}; the paper's is sample.")

    def __call__(self, hq: Latent, lq: Latent, t: Time, rng: torch.Generator) -> Latent:
        return self.mixed(hq, lq, t, torch.rand(len(t) if self.per == "sample" else 1, generator=rng))

    def mixed(self, hq: Latent, lq: Latent, t: Time, r: Float[Tensor, " draws"]) -> Latent:
        """Return HQ latents, and LQ ones where `replaces` says so."""
        return torch.where(self.replaces(t, r).to(hq.device)[:, None, None, None], lq, hq)

    def replaces(self, t: Time, r: Float[Tensor, " draws"]) -> Bool[Tensor, " b"]:
        """Return where r < p(t); one r, or one for each item."""
        return r < self.probability(t)

    def probability(self, t: Time) -> Float64[Tensor, " b"]:
        """Return p(t), in float64."""
        share = t.double() / TIMES
        return share**self.gamma if self.shape == "power" else (2.5 * share - 1.5).clamp(min=0)
