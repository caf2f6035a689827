"""The column of a table that says how near results are to the LQ photos they were made of (`trust.consistency`).

A restorer that invents nothing against the photo scores high; so does one that keeps the photo's noise, so it is read
beside the other measures. Where the degradation is a blur or noise, even the truth is far from its LQ photo.
"""

from dataclasses import replace

from sdsr.metrics.measures import psnr
from sdsr.metrics.planes import Pixels
from sdsr.metrics.protocol import Measure, Protocol
from sdsr.photos.photo import Photo
from sdsr.trust.consistency import measure_consistency

CONSISTENCY = Measure(name="lq_psnr_y", function=psnr, plane="y", needs_truth=True, better="higher", decimals=2)
MOST_DB = 80.0
"""Of every PSNR in a table, so that a mean is finite."""


def consistency(result: Pixels, lq: Photo) -> float:
    """Return the PSNR-Y, dB, of a result reduced to its LQ photo's size, to that photo."""
    return min(measure_consistency(Photo(pixels=result), lq).psnr_db, MOST_DB)


def with_consistency(protocol: Protocol) -> Protocol:
    """Return the protocol with this measure behind the others."""
    return replace(
        protocol,
        description=f"{protocol.description}; {CONSISTENCY.name} is the PSNR of Y of the result, reduced to the "
        "LQ photo's size by antialiased bicubic, to that photo",
        measures=(*protocol.measures, CONSISTENCY),
    )
