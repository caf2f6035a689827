"""Measures of one result against the truth, and of its periodic traces. Planes are on the scale 0 ... 255.

The high-frequency ratios and the grid figure are this project's own: PSNR and NIQE together can be led by bicubic
enlargement with film grain, so detail, noise and a periodic grid are each measured for themselves.
"""

import numpy as np

from sdsr.metrics.planes import Plane, Reduced, Values, blocks, blurred, filtered, gaussian
from sdsr.tensors import Float

RUN_PX = 16
SHIFT_PX = 32
Profile = Float[np.ndarray, "2 16"]


def psnr(result: Plane | Values, truth: Plane | Values, floor: float = 1e-8) -> float:
    """Peak signal-to-noise ratio in dB; `floor`, of the squared peak, is added to the error: at most 80 dB.

    The floor is the convention of the published scores: it moves 36 dB by 1.7e-4 dB. 0 gives the textbook's value.
    """
    error = np.mean((result - truth) ** 2) / 255**2 + floor
    with np.errstate(divide="ignore"):
        return float(-10 * np.log10(error))


def ssim(result: Plane | Values, truth: Plane | Values, clamp: bool = True) -> float:
    """Structural similarity (Wang et al. 2004): 11x11 Gaussian of 1.5 px over the valid area; channels averaged.

    `clamp` sets a negative contrast-structure term to 0, as the published scores do; the textbook doesn't.
    Smaller than 11 px on a side: NaN.
    """
    if result.ndim == 3:
        return float(np.mean([ssim(result[..., k], truth[..., k], clamp) for k in range(3)]))
    if min(truth.shape) < 11:
        return float("nan")
    taps = gaussian(1.5, 5)
    mean_result = filtered(result, taps)
    mean_truth = filtered(truth, taps)
    variance_result = filtered(result**2, taps) - mean_result**2
    variance_truth = filtered(truth**2, taps) - mean_truth**2
    covariance = filtered(result * truth, taps) - mean_result * mean_truth
    c1 = (0.01 * 255) ** 2
    c2 = (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (variance_result + variance_truth + c2)
    luminance = (2 * mean_result * mean_truth + c1) / (mean_result**2 + mean_truth**2 + c1)
    return float(np.mean(luminance * (np.maximum(structure, 0) if clamp else structure)))


def gmsd(result: Plane, truth: Plane) -> float:
    """Gradient magnitude similarity deviation (arXiv:1308.3052): 0 for equal photos, higher is worse."""
    strength = _gradient_magnitude(result)
    reference = _gradient_magnitude(truth)
    similarity = (2 * strength * reference + 170) / (strength**2 + reference**2 + 170)
    return float(np.std(similarity))


def _gradient_magnitude(image: Plane) -> Reduced:
    """Prewitt gradients of the 2x2 means (Section II of the paper), the border repeated."""
    height, width = (length - length % 2 for length in image.shape)
    small = image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    padded = np.pad(small, 1, mode="edge")
    across = (padded[:, 2:] - padded[:, :-2]) / 3
    down = (padded[2:] - padded[:-2]) / 3
    return np.hypot(across[:-2] + across[1:-1] + across[2:], down[:, :-2] + down[:, 1:-1] + down[:, 2:])


def color_shift(result: Values, truth: Values) -> float:
    """Mean absolute difference of the channels' means over blocks of 32 px, in levels of 255: 0 for the truth.

    Diffusion and adversarial training shift the colors and the brightness of whole places, which detail hides from
    other measures. No whole block: NaN.
    """
    differences = [blocks(result[..., k] - truth[..., k], SHIFT_PX).mean((1, 2)) for k in range(3)]
    return float(np.mean(np.abs(differences))) if len(differences[0]) else float("nan")


def high_frequency(result: Plane, truth: Plane, *, busiest: bool) -> float:
    """Strength of the high-pass y - Gauss(1.5 px) relative to the truth's, where the truth is busiest or flattest.

    The place is the fifth of the truth's 16x16 blocks with most (or least) high-pass energy; 1 is the truth itself.
    Above 1 in flat places is noise or invented texture, below 1 in busy ones is lost detail. No whole block: NaN.
    """
    energy, reference = (_high_pass_energy(image) for image in (result, truth))
    if not len(reference):
        return float("nan")
    order = np.argsort(reference, kind="stable")
    count = max(1, len(order) // 5)
    chosen = order[-count:] if busiest else order[:count]
    return float(np.sqrt((energy[chosen].mean() + 1e-3) / (reference[chosen].mean() + 1e-3)))


def _high_pass_energy(image: Plane) -> Float[np.ndarray, " n"]:
    return (blocks(image - blurred(image, 1.5), RUN_PX) ** 2).mean((1, 2))


def grid_profile(result: Plane) -> Profile:
    """How strongly the photo bends at each of 16 positions, along its columns and along its rows; mean 1 each.

    |second difference| averaged over the other axis, cut into runs of 16 px, each divided by its mean, median over
    the runs. A photo has no clock of its own: a profile that isn't flat is a trace of the software that made it.
    """
    return np.stack([_bending(result), _bending(result.T)])


def _bending(image: Plane) -> Float[np.ndarray, " 16"]:
    bend = np.abs(np.diff(image, n=2, axis=1)).mean(0)
    runs = bend[: len(bend) // RUN_PX * RUN_PX].reshape(-1, RUN_PX)
    runs = runs[runs.mean(1) > 0]
    if not len(runs):
        return np.full(RUN_PX, np.nan)
    profile = np.median(runs / runs.mean(1, keepdims=True), axis=0)
    return profile / profile.mean()


def grid(profiles: Float[np.ndarray, "n 2 16"]) -> float:
    """The strongest phase of period 4, 8 or 16 px in the median profile of some photos: 1 is no grid at all."""
    profile = np.median(profiles, axis=0)
    return float(max(profile.reshape(2, RUN_PX // k, k).mean(1).max() for k in (4, 8, 16)))
