"""Which part of a photo a result shows."""

from sdsr.region import Region


def photo_box(
    region: Region | None, photo: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the part of a photo (height, width) that a region of its whole result's `size` was made of.

    (left, top, right, bottom), in the photo's pixels.
    """
    height, width = photo
    if region is None:
        return 0.0, 0.0, float(width), float(height)
    high = height / size[0]
    wide = width / size[1]
    return region.left * wide, region.top * high, region.right * wide, region.bottom * high
