"""How far from the photo results are at each fidelity; no truth is needed."""

from collections.abc import Mapping
from dataclasses import replace

from sdsr.images.floats import image
from sdsr.images.resize import resample
from sdsr.metrics.tables import csv_text
from sdsr.photos.photo import Photo
from sdsr.upscaling import Request, Upscaler

FIDELITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


def distances(upscaler: Upscaler, photo: Photo, request: Request) -> dict[float, float]:
    """Return how far a result is from the photo enlarged, at each of `FIDELITIES`: the root mean square, of 255."""
    width, height = request.size(photo.size[1], photo.size[0])
    enlarged = resample(image(photo), (height, width)).clamp(0, 1)
    found = {}
    for fidelity in FIDELITIES:
        result = image(upscaler.upscale(photo, replace(request, fidelity=fidelity)))
        found[fidelity] = 255 * float((result - enlarged).square().mean().sqrt())
    return found


def distances_csv(of: Mapping[str, Mapping[float, float]]) -> str:
    """A line for each photo and fidelity."""
    lines = [[name, str(fidelity), distance] for name, found in of.items() for fidelity, distance in found.items()]
    return csv_text([["photo", "fidelity", "distance"], *lines])
