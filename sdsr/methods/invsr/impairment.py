"""How noisy and how blurred a photo is, measured on its pixels alone."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sdsr.region import Region
from sdsr.tensors import Float, Image, Plane

LOOK_PX = 1024
"""Of a larger photo only the middle is measured, so wide and so high at most."""

_FINE = 1.0
_COARSE = 2.0
_DIFFERENCE_VARIANCE = 1 / 3  # what the central difference itself blurs, px^2
_TILE_PX = 16
_CALM_SHARE = 0.25
_EDGE_SHARE = 0.02
_NORMAL_MAD = 0.6745
_DIFFERENCE = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6


def noise_sigma(image: Image) -> float:
    """Return the standard deviation of white noise in the photos, in the range's unit; 0 below 16 x 16 px.

    Immerkær's difference of two Laplacians (Computer Vision and Image Understanding 64(2), 1996) answers to noise and
    hardly to structure; its median magnitude is taken in tiles, and the calmest quarter of these speaks for all, so
    that texture isn't counted. Tiles with blown out or black pixels are left out where others remain.
    """
    image = _middle(image)
    if min(image.shape[-2:]) < _TILE_PX + 2:
        return 0.0
    planes = image.flatten(0, 1)[:, None]
    answer = F.conv2d(planes, _DIFFERENCE.to(image)[None, None]).abs()
    spread = _tiles(answer).median(1).values / _NORMAL_MAD
    inside = _tiles(planes[..., 1:-1, 1:-1])
    sound = ((inside > 0) & (inside < 1)).float().mean(1) > 0.9
    return float((spread[sound] if sound.any() else spread).quantile(_CALM_SHARE))


def blur_sigma(image: Image) -> float:
    """Return the width (sigma, in px) of the Gaussian that would blur ideal edges as the photo's strongest ones are.

    At an edge of width s, Gaussians of widths a and b leave gradients whose ratio is sqrt((s^2 + b^2) / (s^2 + a^2));
    re-blurring twice makes the measure bear noise (after Zhuo and Sim, Pattern Recognition 44(9), 2011). The median of
    the strongest 2 % of the places is taken; fine texture counts as sharp, and a photo without any edge as infinitely
    blurred.
    """
    gray = _middle(image).mean(1, keepdim=True)
    fine, coarse = (_gradient(_blurred(gray, sigma)) for sigma in (_FINE, _COARSE))
    strongest = fine.flatten(1).topk(max(1, round(_EDGE_SHARE * fine[0].numel()))).indices
    ratio = fine.flatten(1).gather(1, strongest) / coarse.flatten(1).gather(1, strongest).clamp(min=1e-6)
    squared = float(ratio.median()) ** 2
    if squared <= 1:
        return math.inf
    own = (_COARSE**2 - squared * _FINE**2) / (squared - 1) - _DIFFERENCE_VARIANCE
    return math.sqrt(max(0.0, own))


def _middle(image: Image) -> Float[Tensor, "b 3 _ _"]:
    return image[Region.middle((image.shape[-2], image.shape[-1]), (LOOK_PX, LOOK_PX)).slices].float()


def _tiles(planes: Tensor) -> Tensor:
    """Return the tiles (tiles, pixels) of planes (n, 1, h, w), without what is left at the right and bottom."""
    return F.unfold(planes, _TILE_PX, stride=_TILE_PX).mT.flatten(0, 1)


def _blurred(gray: Plane, sigma: float) -> Plane:
    radius = math.ceil(3 * sigma)
    taps = torch.softmax(-0.5 * (torch.arange(-radius, radius + 1) / sigma).square(), 0).to(gray)
    padded = F.pad(gray, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))


def _gradient(gray: Plane) -> Plane:
    """Return the magnitude of the gradient by central differences, the border repeated."""
    padded = F.pad(gray, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return torch.hypot(across, down) / 2
