"""A crop: what the whole result shows there, made without the rest."""

from dataclasses import replace

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.photos.photo import Photo
from sdsr.region import Region
from sdsr.request import Request
from sdsr.upscaling import Upscaler


@pytest.fixture(scope="module")
def photo() -> Photo:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (28, 40, 3)).repeat(12, 0).repeat(12, 1)
    pixels = (coarse + rng.integers(-9, 9, coarse.shape)).clip(0, 255).astype(np.uint8)
    return Photo(pixels=pixels, alpha=np.full(pixels.shape[:2], 255, np.uint8))


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler.from_pretrained("d3sr-small", device="cpu")


def small_windows(upscaler: Upscaler) -> Request:
    """As little memory as gives windows of 320 px."""
    return Request(scale=2, memory_bytes=upscaler.restorer.prior.facts.bytes_per_px * 320**2)


@pytest.mark.parametrize(
    "region",
    [
        Region(top=0, left=0, height=60, width=90),
        Region(top=301, left=555, height=47, width=33),
        Region(top=596, left=860, height=76, width=100),
    ],
    ids=["first corner", "middle", "last corner"],
)
def test_a_crop_is_what_the_whole_shows_there(
    upscaler: Upscaler, photo: Photo, whole: np.ndarray, region: Region
) -> None:
    job = upscaler.job(photo, small_windows(upscaler))
    crop = upscaler.crop(job, region)
    assert crop.alone
    assert len(crop.job.windows) < len(job.windows)
    result = crop.run()
    assert result.alpha is None
    expected = whole[region.rows, region.columns].astype(int)
    assert result.pixels.shape == expected.shape
    assert np.abs(result.pixels - expected).max() <= 1  # of 255: the same sums in another order


@pytest.fixture(scope="module")
def whole(upscaler: Upscaler, photo: Photo) -> np.ndarray:
    return upscaler.job(photo, small_windows(upscaler)).run().pixels


def test_a_crop_is_exact_for_each_embedded_decoder(photo: Photo) -> None:
    """StableSR's own decoder looks furthest; InvSR's prior decodes alone."""
    strip = Photo(pixels=np.ascontiguousarray(photo.pixels[:72]))
    for model in ("stablesr-small", "invsr-small"):
        upscaler = Upscaler.from_pretrained(model, device="cpu")
        job = upscaler.job(strip, replace(small_windows(upscaler), steps=1))
        region = Region(top=40, left=40, height=16, width=24)
        crop = upscaler.crop(job, region)
        assert crop.alone
        assert np.abs(crop.run().pixels - job.run().pixels[40:56, 40:64].astype(int)).max() <= 1


def test_windows_that_a_step_before_depends_on_are_kept(upscaler: Upscaler, photo: Photo) -> None:
    job = upscaler.job(photo, small_windows(upscaler))
    region = Region(top=0, left=0, height=8, width=8)
    one = upscaler.crop(job, region)
    two = upscaler.crop(replace(job, plan=replace(job.plan, times=(199, 99))), region)
    assert len(one.job.windows) < len(two.job.windows) < len(job.windows)


def test_where_colors_are_measured_over_the_whole_the_whole_is_made(upscaler: Upscaler, photo: Photo) -> None:
    job = upscaler.job(photo, Request(scale=2, color_fix="adain"))
    crop = upscaler.crop(job, Region(top=3, left=5, height=20, width=30))
    assert not crop.alone
    assert crop.job.windows == job.windows
    assert crop.region == Region(top=3, left=5, height=20, width=30)


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 5, 2000), (668, 0, 8, 8), (0, 0, 0, 5)])
def test_a_region_beyond_the_result_is_refused(upscaler: Upscaler, photo: Photo, region: tuple) -> None:
    job = upscaler.job(photo, Request(scale=2))
    top, left, height, width = region
    with pytest.raises(InputError, match=r"must lie within the result \(960 x 672 px\)"):
        upscaler.crop(job, Region(top=top, left=left, height=height, width=width))
