"""Named protocols: which measure reads which plane of a photo, and how a set of photos is summed up.

A figure without its protocol means little: the same results differ by 1.3 dB PSNR between two definitions of Y.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from sdsr.errors import look_up
from sdsr.metrics.edges import combs, edge_width
from sdsr.metrics.measures import color_shift, gmsd, grid, grid_profile, high_frequency, psnr, ssim
from sdsr.metrics.niqe import niqe
from sdsr.metrics.planes import PlaneName

Better = Literal["higher", "lower", "near 1", "at most 1"]


def mean(values: np.ndarray) -> float:
    """The mean over photos; NaN if one of them has no value."""
    return float(np.mean(values))


def median(values: np.ndarray) -> float:
    """The median over photos; NaN if one of them has no value."""
    return float(np.median(values))


def mean_of_defined(values: np.ndarray) -> float:
    """The mean over the photos that have a value; NaN if none has."""
    defined = values[np.isfinite(values)]
    return float(np.mean(defined)) if len(defined) else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One column of a table: `function(result)` or `function(result, truth)` on `plane`, summed up by `over_photos`."""

    name: str
    function: Callable
    plane: PlaneName
    needs_truth: bool
    better: Better
    over_photos: Callable[[np.ndarray], float] = mean
    decimals: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named list of measures; `border_px` is cut from each side of both photos before any of them."""

    name: str
    description: str
    measures: tuple[Measure, ...]
    border_px: int = 0

    def without_truth(self) -> "Protocol":
        """The measures that need no truth, under the same name."""
        return replace(self, measures=tuple(measure for measure in self.measures if not measure.needs_truth))


_PSNR = Measure(name="psnr_y", function=psnr, plane="y", needs_truth=True, better="higher", decimals=2)
_SSIM = Measure(name="ssim_y", function=ssim, plane="y", needs_truth=True, better="higher")
_NIQE = Measure(name="niqe", function=niqe, plane="luma", needs_truth=False, better="lower", decimals=2)
_GMSD = Measure(name="gmsd", function=gmsd, plane="y", needs_truth=True, better="lower")
_SHIFT = Measure(name="color_shift", function=color_shift, plane="rgb", needs_truth=True, better="lower", decimals=2)
_BUSY = Measure(
    name="hf_busy",
    function=partial(high_frequency, busiest=True),
    plane="y",
    needs_truth=True,
    better="near 1",
    over_photos=median,
    decimals=2,
)
_FLAT = replace(_BUSY, name="hf_flat", function=partial(high_frequency, busiest=False))
_GRID = Measure(
    name="grid",
    function=grid_profile,
    plane="y",
    needs_truth=False,
    better="near 1",
    over_photos=grid,
    decimals=2,
)
_EDGE = Measure(
    name="edge",
    function=edge_width,
    plane="luma",
    needs_truth=True,
    better="at most 1",
    over_photos=mean_of_defined,
    decimals=2,
)
_COMBS = replace(_EDGE, name="combs", function=combs, better="lower", decimals=3)

_REALISR_Y = Protocol(
    name="realisr-y",
    description="Y of YCbCr (BT.601, 16-235) unrounded, border 0, SSIM's structure term clamped at 0, "
    "NIQE on full-range luma; reproduces the published scores",
    measures=(_PSNR, _SSIM, _NIQE, _GMSD, _SHIFT, _BUSY, _FLAT, _GRID, _EDGE, _COMBS),
)

PROTOCOLS = {
    "realisr-y": _REALISR_Y,
    "realisr-y-border4": replace(
        _REALISR_Y,
        name="realisr-y-border4",
        description="realisr-y after 4 px were cut from each side",
        border_px=4,
    ),
    "textbook-y": Protocol(
        name="textbook-y",
        description="Y of YCbCr (BT.601, 16-235) unrounded, border 0, PSNR without a floor, SSIM unclamped, NIQE on Y",
        measures=(
            replace(_PSNR, function=partial(psnr, floor=0.0)),
            replace(_SSIM, function=partial(ssim, clamp=False)),
            replace(_NIQE, plane="y"),
            _GMSD,
        ),
    ),
    "rgb": Protocol(
        name="rgb",
        description="RGB, border 0, PSNR of all values without a floor, SSIM unclamped and averaged over channels",
        measures=(
            replace(_PSNR, name="psnr_rgb", function=partial(psnr, floor=0.0), plane="rgb"),
            replace(_SSIM, name="ssim_rgb", function=partial(ssim, clamp=False), plane="rgb"),
        ),
    ),
}


def protocol(name: str) -> Protocol:
    """The protocol of that name; InputError names those that exist."""
    return look_up(PROTOCOLS, name, "protocol")
