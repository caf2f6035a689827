"""What is done in the end: a result that reduces to its photo, places that are the photo's, a label that says so."""

from dataclasses import replace

import numpy as np
import pytest

from sdsr.errors import InputError
from sdsr.images.floats import image, image_array, quantize
from sdsr.images.reducing import reduce_photo
from sdsr.images.resize import resample
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.restoration.protection import protection
from sdsr.tensors import Region

SMALL_WINDOWS = Request(scale=4, memory_bytes=20 * 64**2)
PLACE = Region(top=4, left=6, height=8, width=9)
SMALL = Request(scale=2, consistent=True, protect=(PLACE,))


def gentle(size: tuple[int, int] = (20, 30), dtype: type = np.uint8, *, alpha: bool = False) -> Photo:
    """A photo whose projection needs nothing beyond black or white, so that it can be met."""
    rng = np.random.default_rng(0)
    pixels = (rng.integers(90, 166, (*size, 3)) * (np.iinfo(dtype).max // 255)).astype(dtype)
    return Photo(pixels=pixels, alpha=rng.integers(0, 2, size).astype(dtype) * np.iinfo(dtype).max if alpha else None)


def difference(result: Photo, photo: Photo) -> float:
    """Mean absolute difference of the reduced result to its photo, in levels of 255."""
    return 255 * float(abs(reduce_photo(result, photo.size) - image_array(photo)).mean())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_consistent_result_reduces_to_its_photo(upscaler, dtype):
    photo = gentle(dtype=dtype, alpha=True)
    plain = upscaler.upscale(photo, SMALL_WINDOWS)
    found = upscaler.upscale(photo, replace(SMALL_WINDOWS, consistent=True))
    assert difference(plain, photo) > 2
    assert difference(found, photo) < 0.5
    assert found.pixels.dtype == dtype
    assert np.array_equal(found.alpha, plain.alpha)


@pytest.mark.parametrize("size", [{"width": 47}, {"width": 30, "height": 20}, {"scale": 2.5}])
def test_any_enlargement_can_be_consistent(upscaler, size):
    photo = gentle()
    assert difference(upscaler.upscale(photo, Request(consistent=True, **size)), photo) < 0.5


def test_a_smaller_result_can_not(upscaler):
    with pytest.raises(InputError, match=r"result \(=15 x 10 px\) must be at least as large as its photo"):
        upscaler.job(gentle(), Request(scale=0.5, consistent=True))


def test_protected_places_are_the_photo_and_the_rest_is_restored(upscaler):
    photo = gentle()
    plain = upscaler.upscale(photo)
    found = upscaler.upscale(photo, Request(protect=(PLACE,)))
    share = protection([PLACE], photo.size, plain.size)
    enlarged = quantize(resample(image(photo), plain.size).clamp(0, 1), np.uint8)
    assert np.array_equal(found.pixels[share == 1], enlarged[share == 1])
    assert np.array_equal(found.pixels[share == 0], plain.pixels[share == 0])
    assert not np.array_equal(plain.pixels[share == 1], enlarged[share == 1])


def test_a_place_beyond_the_photo_is_refused_before_any_work(upscaler):
    with pytest.raises(InputError, match=r"protect \(=40,4,9,8\)"):
        upscaler.job(gentle(), Request(protect=(replace(PLACE, left=40),)))


def test_the_label_says_what_was_done(upscaler):
    xmp = upscaler.upscale(gentle(), SMALL).traits.xmp
    assert b"<sdsr:consistent>kernel estimated<" in xmp
    stated = upscaler.upscale(gentle(), replace(SMALL, kernel_width=1.4)).traits.xmp
    assert b"<sdsr:consistent>bicubic x1.4<" in stated
    assert b"<sdsr:protected>6,4,9,8<" in xmp
    assert b"consistent" not in upscaler.upscale(gentle()).traits.xmp


def test_previews_are_final_when_the_finish_is_done(upscaler):
    shown = []
    job = upscaler.job(gentle(), Request(consistent=True))
    result = job.run(on_preview=shown.append)
    last = [preview for preview in shown if preview.final]
    streamed = [preview for preview in job.previews() if preview.final]
    for previews in (last, streamed):
        pixels = np.concatenate([quantize(preview.image, np.uint8) for preview in previews])
        assert np.array_equal(pixels, result.pixels)


def test_a_crop_of_what_is_finished_as_a_whole_makes_the_whole(upscaler):
    photo = gentle((100, 150))
    region = Region(top=0, left=0, height=8, width=8)
    plain = upscaler.crop(upscaler.job(photo, SMALL_WINDOWS), region)
    assert plain.alone
    for more in ({"consistent": True}, {"protect": (PLACE,)}):
        assert not upscaler.crop(upscaler.job(photo, replace(SMALL_WINDOWS, **more)), region).alone


def test_passes_are_finished_like_one(upscaler):
    photo = gentle()
    found = upscaler.passes(photo, SMALL, count=5)
    assert np.array_equal(found.first.pixels, upscaler.upscale(photo, SMALL).pixels)
    assert difference(found.mean, photo) < 0.5
    plain = upscaler.passes(photo, Request(scale=2), count=5)
    assert np.array_equal(found.spread, plain.spread)
    assert b"<sdsr:passes>5<" in found.mean.traits.xmp
    assert b"passes" not in found.first.traits.xmp


def test_the_mean_is_the_result_where_it_is_wanted(upscaler):
    photo = gentle()
    heard: list[float] = []
    found = upscaler.upscale(photo, Request(scale=2, mean_of=3), on_progress=heard.append)
    assert np.array_equal(found.pixels, upscaler.passes(photo, Request(scale=2), count=3).mean.pixels)
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1)
    with pytest.raises(InputError, match=r"passes \(=9\) must be in 2 ... 8"):
        upscaler.upscale(photo, Request(mean_of=9))
