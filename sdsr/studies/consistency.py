"""How near a result is to the LQ photo it was made of, once it is reduced to that photo's size again.

A restorer that invents nothing against the photo scores high; so does one that keeps the photo's noise, so it is read
beside the other measures. Where the degradation is a blur or noise, even the truth is far from its LQ photo.
"""

from dataclasses import replace

import numpy as np

from sdsr.images.floats import image, quantize
from sdsr.images.resize import resample
from sdsr.metrics.measures import psnr
from sdsr.metrics.planes import Pixels, eight_bit, plane
from sdsr.metrics.protocol import Measure, Protocol
from sdsr.photos.photo import Photo

CONSISTENCY = Measure(name="lq_psnr_y", function=psnr, plane="y", needs_truth=True, better="higher", decimals=2)


def consistency(result: Pixels, lq: Photo) -> float:
    """Return the PSNR of Y, dB, of a result reduced to its LQ photo's size by antialiased bicubic."""
    reduced = quantize(resample(image(Photo(pixels=result)), lq.size), np.uint8)
    return psnr(plane(reduced, "y"), plane(eight_bit(lq.pixels), "y"))


def with_consistency(protocol: Protocol) -> Protocol:
    """Return the protocol with this measure behind the others."""
    return replace(
        protocol,
        description=f"{protocol.description}; {CONSISTENCY.name} is the PSNR of Y of the result, reduced to the "
        "LQ photo's size by antialiased bicubic, to that photo",
        measures=(*protocol.measures, CONSISTENCY),
    )
