"""Pixels of a canvas to the cells of its latent and of its noise."""

from dataclasses import replace

from sdsr.region import Region


def latent_region(region: Region, factor: int) -> Region:
    """Return the latent cells of a region of pixels, whose sides lie on them."""
    sides = (region.top, region.left, region.height, region.width)
    assert not any(side % factor for side in sides), f"{region} must lie on multiples of {factor} px"
    top, left, height, width = (side // factor for side in sides)
    return Region(top=top, left=left, height=height, width=width)


def noise_region(region: Region, factor: int) -> Region:
    """Return the cells of noise of a part of a canvas, which are counted from the photo's first pixel.

    So the photo has the same noise whatever is around it. A canvas may begin within a cell.
    """
    cells = latent_region(replace(region, top=0, left=0), factor)
    return replace(cells, top=region.top // factor, left=region.left // factor)
