"""Text: found where it stands, nothing found where there is none, protected where it is asked for."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sdsr.errors import InputError
from sdsr.methods import METHODS
from sdsr.photos.photo import Photo
from sdsr.request import Request
from sdsr.restoration.protection import protection
from sdsr.trust import text as module
from sdsr.trust.text import find_text
from sdsr.upscaling import Upscaler

WORDS = "AB 12 Hello"


def sign(size: tuple[int, int] = (120, 60), dtype: type = np.uint8) -> tuple[Photo, tuple[int, int, int, int]]:
    """A photo of a sign, and where its words stand: left, top, right, bottom."""
    picture = Image.new("RGB", size, (120, 140, 110))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(14)
    draw.text((15, 20), WORDS, font=font, fill=(20, 20, 30))
    left, top, right, bottom = map(int, draw.textbbox((15, 20), WORDS, font=font))
    pixels = np.asarray(picture).astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    return Photo(pixels=pixels), (left, top, right, bottom)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_words_are_found_where_they_stand(dtype):
    photo, (left, top, right, bottom) = sign(dtype=dtype)
    (place,) = find_text(photo)
    assert place.left <= left
    assert place.top <= top
    assert place.right >= right
    assert place.bottom >= bottom
    assert place.height * place.width < 3 * (right - left) * (bottom - top)


def test_nothing_is_found_where_nothing_is_written():
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    assert find_text(Photo(pixels=noise)) == ()
    assert find_text(Photo(pixels=noise[:5])) == ()


@pytest.mark.parametrize("size", [(10, 3000), (3000, 20), (25, 3000)])
def test_strips_too_thin_for_the_detector_are_passed_over(size: tuple[int, int]):
    assert find_text(Photo(pixels=np.full((*size, 3), 128, np.uint8))) == ()


def test_small_letters_are_found():
    large = Image.new("RGB", (640, 480), (120, 140, 110))
    font = ImageFont.load_default(20)
    ImageDraw.Draw(large).text((80, 200), "Market Street 12", font=font, fill=(20, 20, 30))
    (place,) = find_text(Photo(pixels=np.asarray(large.resize((160, 120), Image.Resampling.BICUBIC))))
    assert place.left <= 20
    assert place.top <= 50 < 55 <= place.bottom
    assert place.right > 50


def test_a_line_that_fills_its_photo_is_found():
    plate = Image.new("RGB", (90, 24), (230, 230, 220))
    ImageDraw.Draw(plate).text((6, 3), "AB 1234", font=ImageFont.load_default(15.6), fill=(20, 20, 30))
    (place,) = find_text(Photo(pixels=np.asarray(plate)))
    assert place.width > 55


@pytest.mark.parametrize("side", [64, 96, 128])
def test_a_small_photo_is_not_one_line(side: int):
    coarse = np.clip(128 + 50 * np.random.default_rng(0).normal(size=(6, 6, 3)), 0, 255).astype(np.uint8)
    blurred = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    assert find_text(Photo(pixels=np.asarray(blurred))) == ()


def test_text_is_protected_where_it_is_found():
    photo, _ = sign((64, 48))
    recipe = METHODS["d3sr-small"]
    assert recipe.method is not None
    upscaler = Upscaler(recipe, recipe.method.build("tiny"))
    job = upscaler.job(photo, Request(scale=2, protect=("text",)))
    assert job.finish.places == find_text(photo) != ()
    plain = upscaler.upscale(photo, Request(scale=2))
    changed = (job.run().pixels != plain.pixels).any(-1)
    assert changed.any()
    assert not changed[protection(job.finish.places, photo.size, plain.size) == 0].any()


def test_without_the_detector_nothing_is_passed_over(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"text detector \(=rapidocr\) is not installed; run: pip install 'sdsr\[text\]'"
    ):
        find_text(sign()[0])
