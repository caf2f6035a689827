"""NIQE, the natural image quality evaluator (Mittal, Soundararajan, Bovik 2013): distance to undistorted photos.

Each block of 96 px is described by 18 figures of its locally normalized luminance at two scales: the shape of an
asymmetric generalized Gaussian (AGGD) fitted to the values and to the products of neighbors in four directions. The
blocks' mean and covariance are compared with those of pristine photos. Lower is better; film grain lowers it too.
"""

from functools import cache
from math import gamma
from pathlib import Path

import numpy as np

from sdsr.metrics.planes import Plane, Reduced, blocks, filtered, gaussian
from sdsr.tensors import Float

BLOCK_PX = 96
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))


def niqe(image: Plane) -> float:
    """NIQE of one plane on the scale 0 ... 255, rounded first; NaN where fewer than two blocks can be described."""
    height, width = (length // BLOCK_PX * BLOCK_PX for length in image.shape)
    if height * width < 2 * BLOCK_PX**2:
        return float("nan")
    large = np.round(image[:height, :width])
    features = np.concatenate([_features(large, BLOCK_PX), _features(_halved(large), BLOCK_PX // 2)], axis=1)
    described = features[~np.isnan(features).any(1)]
    if len(described) < 2:
        return float("nan")
    mean, covariance = _pristine()
    difference = np.nanmean(features, axis=0) - mean
    pooled = (np.cov(described, rowvar=False) + covariance) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


@cache
def _pristine() -> tuple[Float[np.ndarray, " 36"], Float[np.ndarray, "36 36"]]:
    with np.load(Path(__file__).with_name("niqe_pristine.npz"), allow_pickle=False) as statistics:
        return statistics["mu_pris_param"].ravel(), statistics["cov_pris_param"]


def _features(image: Plane, block_px: int) -> Float[np.ndarray, "n 18"]:
    """Eq. 1-9: two figures of the normalized luminance, four of the products with each of four neighbors."""
    normalized = blocks(_normalized(image), block_px)
    shape, left, right = _fit_aggd(normalized)
    columns = [shape, (left + right) / 2]
    for shift in _NEIGHBORS:
        shape, left, right = _fit_aggd(normalized * np.roll(normalized, shift, axis=(1, 2)))
        columns += [shape, (right - left) * _gamma_ratio(shape), left, right]
    return np.stack(columns, axis=1)


def _normalized(image: Plane) -> Plane:
    """Luminance less its local mean, over its local deviation + 1 (Eq. 1), in a 7x7 Gaussian window of 7/6 px."""
    taps = gaussian(7 / 6, 3)
    padded = np.pad(image, 3, mode="edge")
    mean = filtered(padded, taps)
    deviation = np.sqrt(np.abs(filtered(padded**2, taps) - mean**2))
    return (image - mean) / (deviation + 1)


def _fit_aggd(
    samples: Float[np.ndarray, "n height width"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Shape, left and right scale of each block's AGGD by matching moments (Lasmar et al. 2009); NaN if flat."""
    flat = samples.reshape(len(samples), -1)
    square = flat**2
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt((square * (flat < 0)).sum(1) / (flat < 0).sum(1))
        right = np.sqrt((square * (flat > 0)).sum(1) / (flat > 0).sum(1))
        skew = left / right
        moment = np.abs(flat).mean(1) ** 2 / square.mean(1)
    target = moment * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, ratios, scales = _aggd_table()
    nearest = np.abs(ratios - target[:, None]).argmin(1)
    shape = np.where(np.isnan(target), np.nan, shapes[nearest])
    return shape, left * scales[nearest], right * scales[nearest]


@cache
def _aggd_table() -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Shapes 0.2 ... 10, each with its ratio of moments and with its scale over its deviation."""
    shapes = np.arange(200, 10001) / 1000
    first, second, third = (np.array([gamma(k / shape) for shape in shapes]) for k in (1, 2, 3))
    return shapes, second**2 / (first * third), np.sqrt(first / third)


def _gamma_ratio(shape: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.array([gamma(2 / value) / gamma(1 / value) for value in shape])


def _halved(image: Plane) -> Reduced:
    """Half size by the antialiased bicubic kernel (a = -0.5, widened to eight pixels), mirrored at the border."""
    distance = np.abs(np.arange(8) - 3.5) / 2
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = np.where(distance < 1, near, far)
    return filtered(np.pad(image, 3, mode="symmetric"), taps / taps.sum())[::2, ::2]
