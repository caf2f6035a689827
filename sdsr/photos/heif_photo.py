"""What a photo in a file of items says of itself: size, alpha, metadata, color, and how it is turned.

Source: ISO/IEC 23008-12 (HEIF), sections 6 and 9, 12.1.5; ISO/IEC 23091-2.
"""

import struct

import numpy as np

from sdsr.errors import InputError
from sdsr.photos.described import of_code_points
from sdsr.photos.formats import Space
from sdsr.photos.heif import Item, Items
from sdsr.photos.reading import turned_upright
from sdsr.photos.remarks import Remarks

remarks = Remarks(__name__)

XMP_TYPE = b"application/rdf+xml"
IDENTITY = 0  # the matrix by which RGB is coded as it is


def required(item: Item, kind: bytes) -> bytes:
    """Return the body of a property. Raises ValueError where there is none."""
    body = item.property(kind)
    if body is None:
        raise ValueError(f"no {kind.decode()} describes the picture")
    return body


def alphas(items: Items) -> list[int]:
    """Return the items that are the photo's alpha."""
    auxiliary = items.referring(b"auxl", items.primary)
    return [one for one in auxiliary if b"alpha" in (items.items[one].property(b"auxC") or b"")]


def metadata(items: Items) -> tuple[bytes | None, bytes | None]:
    """Return EXIF and XMP of the photo."""
    exif = xmp = None
    for number in items.referring(b"cdsc", items.primary):
        item = items.items[number]
        if item.kind == b"Exif" and exif is None:
            body = items.payload(number)
            exif = body[4 + struct.unpack_from(">I", body)[0] :] or None
        elif item.kind == b"mime" and item.content_type == XMP_TYPE and xmp is None:
            xmp = items.payload(number)
    return exif, xmp


def color(photo: Item, space: Space) -> tuple[bytes | None, bytes | None, bool]:
    """Return ICC profile, profile of the numbers that describe color, and whether it was coded losslessly."""
    icc = described = None
    lossless = False
    for body in (body for kind, body in photo.properties if kind == b"colr"):
        if body[:4] in (b"prof", b"rICC"):
            icc = body[4:]
        elif body[:4] == b"nclx":
            primaries, transfer, matrix = struct.unpack_from(">HHH", body, 4)
            lossless = matrix == IDENTITY
            try:
                _, described = of_code_points(struct.pack(">4B", primaries, transfer, 0, 1), space)
            except (ValueError, struct.error) as error:
                if isinstance(error, InputError):
                    raise
                remarks.warning("the color of the photo is unknown (%s); it is read as sRGB.", error)
    return icc, described, lossless


def orientation(photo: Item) -> int:
    """Return the EXIF orientation that turns as the properties do: anticlockwise, then mirrored, in their order."""
    marked = np.arange(6).reshape(2, 3)
    turned = marked
    for kind, body in photo.properties:
        if kind == b"irot":
            turned = np.rot90(turned, body[0] & 3)
        elif kind == b"imir":
            turned = turned[:, ::-1] if body[0] & 1 else turned[::-1]
    return next(value for value in range(1, 9) if np.array_equal(turned_upright(marked, value), turned))
