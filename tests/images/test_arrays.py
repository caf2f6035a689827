"""Pictures in memory are read as their files are, or refused in words that name what was seen."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from sdsr.errors import InputError
from sdsr.images.arrays import as_output, as_photo
from sdsr.photos.files import encode_photo, read_photo
from sdsr.photos.photo import Photo, Traits
from tests.pictures import exif_block, saved, smooth

ADOBE = imagecodecs.cms_profile("adobergb")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf dc:rights="Ann"/></x:xmpmeta>'
LOADED = (False, True)


def opened(data: bytes, loaded: bool) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    if loaded:
        image.load()
    return image


def same(left: Photo, right: Photo) -> None:
    np.testing.assert_array_equal(left.pixels, right.pixels)
    assert (left.alpha is None) == (right.alpha is None)
    if left.alpha is not None:
        np.testing.assert_array_equal(left.alpha, right.alpha)


@pytest.mark.parametrize("loaded", LOADED)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_read_as_its_file_is(format, orientation, loaded):
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = saved(Image.fromarray(smooth(24, 40)), format, exif=exif_block(orientation), icc_profile=ADOBE, **lossless)
    with opened(data, loaded) as image:
        photo = as_photo(image)
    of_file = read_photo(data)
    same(photo, of_file)
    assert photo.traits.icc == of_file.traits.icc == ADOBE
    kept = Image.Exif()
    kept.load(photo.traits.exif or b"")
    assert (kept.get(0x0112, 1), kept[0x010F]) == (1, "Maker")


@pytest.mark.parametrize("loaded", LOADED)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_every_mode_of_a_file_is_read_through_both_doors(mode, loaded):
    format = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    image = Image.fromarray(smooth(20, 28, 1, np.uint16)[..., 0]) if mode == "I;16" else None
    data = saved(image or Image.fromarray(smooth(20, 28)).convert(mode), format)
    photo, of_file = as_photo(opened(data, loaded)), read_photo(data)
    same(photo, of_file)
    assert (photo.traits.bits, photo.traits.space) == (of_file.traits.bits, of_file.traits.space)


def test_sixteen_bits_of_color_survive_where_the_file_is_still_at_hand():
    deep = smooth(9, 12, 3, np.uint16)
    photo = as_photo(opened(bytes(imagecodecs.png_encode(deep)), loaded=False))
    np.testing.assert_array_equal(photo.pixels, deep)


@pytest.mark.parametrize("loaded", LOADED)
def test_transparency_by_one_color_counts(loaded):
    for image, clear in (
        (Image.fromarray(smooth(8, 8)[..., 0]), 60),
        (Image.fromarray(smooth(8, 8)), tuple(smooth(8, 8)[3, 3])),
        (Image.fromarray(smooth(8, 8, 1, np.uint16)[..., 0]), int(smooth(8, 8, 1, np.uint16)[0, 3, 0])),
        (Image.fromarray(smooth(8, 8)).quantize(8), 3),
    ):
        data = saved(image, "PNG", transparency=tuple(map(int, clear)) if isinstance(clear, tuple) else clear)
        same(as_photo(opened(data, loaded)), read_photo(data))


@pytest.mark.parametrize("change", ["crop", "draft", "convert", "turned", "put"])
def test_a_change_made_to_an_image_counts(change):
    data = saved(Image.fromarray(smooth(64, 96)), "JPEG", exif=exif_block(6), quality=95)
    image: Image.Image = opened(data, loaded=False)
    match change:
        case "crop":
            image = image.crop((0, 0, 20, 10))
        case "draft":
            image.draft("RGB", (48, 32))
        case "convert":
            image = image.convert("L")
        case "turned":
            image = ImageOps.exif_transpose(image)
        case "put":
            image.putpixel((0, 0), (255, 0, 0))
    expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = as_photo(image)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.traits.gray == (change == "convert")


def test_an_orientation_that_was_taken_out_by_hand_is_not_applied():
    image = opened(saved(Image.fromarray(smooth(24, 40)), "JPEG", exif=exif_block(6)), loaded=True)
    image.getexif()[0x0112] = 1
    assert as_photo(image).size == (24, 40)


def test_lab_is_shown_as_lcms_shows_it():
    lab = ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    image = ImageCms.applyTransform(Image.fromarray(smooth(20, 30)), to_lab)
    assert image is not None
    assert image.mode == "LAB"
    assert np.abs(as_photo(image).pixels.astype(int) - smooth(20, 30)).max() <= 4


def test_premultiplied_and_hsv_and_palette_with_alpha():
    rgba = Image.fromarray(smooth(20, 30, 4) | 1)
    assert np.abs(as_photo(rgba.convert("RGBa")).pixels.astype(int) - as_photo(rgba).pixels).max() <= 8
    hsv = as_photo(Image.fromarray(smooth(20, 30)).convert("HSV"))
    assert np.abs(hsv.pixels.astype(int) - smooth(20, 30)).max() <= 5
    assert as_photo(Image.fromarray(smooth(20, 30)).convert("P").convert("PA")).alpha is not None


@pytest.mark.parametrize("dtype", ["<u2", ">u2", np.uint8, bool])
def test_types_of_full_range_are_taken_as_they_are(dtype):
    wide = smooth(6, 9, 3, np.uint8 if np.dtype(dtype).itemsize == 1 else np.uint16)
    given = (wide > 90) if dtype is bool else wide.astype(dtype)
    expected = given * np.uint8(255) if dtype is bool else wide
    np.testing.assert_array_equal(as_photo(given).pixels, expected)


def test_wide_integers_are_sixteen_bits_where_nothing_else_can_be_meant():
    levels = smooth(6, 9, 1, np.uint16)[..., 0]
    photo = as_photo(Image.fromarray(levels.astype(np.int32)))
    np.testing.assert_array_equal(photo.pixels[..., 0], levels)
    assert (photo.traits.bits, photo.traits.gray) == (16, True)
    for wrong, says in ((levels.astype(np.int32) - 20_000, "must be in 0 ... 65535"), (levels.astype(np.int32) // 257,
                        "8 bits or a nearly black picture")):  # fmt: skip
        with pytest.raises(InputError, match=rf"mode I, \(={wrong.min()} ... {wrong.max()}\).*{says}"):
            as_photo(Image.fromarray(wrong))


CASES = st.tuples(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([(0, 255), (-1, 1), (0, 65535), (-0.5, 0.5), (0, 1.01), (-128, 127), (0, 1)]),
    st.sampled_from(["array", "tensor", "F"]),
    st.integers(1, 4),
)


@given(CASES)
def test_floats_are_in_zero_to_one_or_an_error_that_names_their_range(case):
    dtype, (low, high), kind, channels = case
    if kind == "F":
        channels = 1
    if dtype == np.float16:
        high = min(high, 60000)
    unit = smooth(5, 7, channels).astype(np.float64)
    unit = (unit - unit.min()) / np.ptp(unit)
    values = (low + unit * (high - low)).astype(dtype)
    picture: Any = values
    if kind == "tensor":
        picture = torch.from_numpy(values).permute(2, 0, 1)
    elif kind == "F":
        picture = Image.fromarray(values[..., 0].astype(np.float32))
    if (low, high) != (0, 1):
        with pytest.raises(InputError, match=r"\(=-?[\d.]+ ... -?[\d.]+\) must be in 0 ... 1"):
            as_photo(picture)
        return
    photo = as_photo(picture)
    assert photo.traits.gray == (channels < 3)
    assert (photo.alpha is None) == (channels in (1, 3))
    shown = np.abs(photo.pixels[..., 0] / 65535 - values[..., 0])
    assert shown[photo.alpha > 0 if photo.alpha is not None else ...].max() < 1e-3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_counted(value):
    picture = np.full((4, 5, 3), 0.5, np.float32)
    picture[1, 2, 0] = value
    with pytest.raises(InputError, match=r"NaN or infinity \(=1 values\)"):
        as_photo(picture)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros((4, 5, 3), np.int64), r"array \(=int64, 0 ... 0\) must hold uint8"),
        (np.zeros((4, 5, 3), np.complex64), r"array \(=complex64\)"),
        (np.zeros((4, 5, 3), object), r"array \(=object\)"),
        (np.zeros((3, 40, 50), np.uint8), r"use array.transpose\(1, 2, 0\)"),
        (np.zeros((2, 40, 50, 3), np.uint8), r"\(=\(2, 40, 50, 3\)\).*one photo"),
        (np.zeros((40, 50, 7), np.uint8), r"1 to 4 channels"),
        (np.zeros((0, 5, 3), np.uint8), r"has no pixels"),
        (np.zeros(5, np.uint8), r"array \(=\(5,\)\)"),
        (torch.zeros(40, 50, 3), r"use tensor.permute\(2, 0, 1\)"),
        (torch.zeros(2, 3, 40, 50), r"one photo"),
        (torch.zeros(3, 4, 5, dtype=torch.int32), r"tensor \(=int32, 0 ... 0\)"),
        (torch.zeros(3, 4, 5, device="meta"), r"must be dense and hold values"),
        (torch.zeros(3, 4, 5).to_sparse(), r"must be dense and hold values"),
    ],
)
def test_what_cannot_be_told_is_refused_in_words(picture, says):
    with pytest.raises(InputError, match=says):
        as_photo(picture)


@pytest.mark.parametrize(
    "picture",
    [
        smooth(6, 9, 1)[..., 0],
        smooth(6, 9, 1),
        smooth(6, 9, 1)[None],
        torch.from_numpy(smooth(6, 9, 1)[..., 0]),
        torch.from_numpy(smooth(6, 9, 1)).permute(2, 0, 1),
        Image.fromarray(smooth(6, 9, 1)[..., 0]),
    ],
)
def test_gray_comes_back_gray_through_every_door(picture):
    photo = as_photo(picture)
    assert photo.traits.gray
    colored = Photo(pixels=smooth(12, 18), traits=photo.traits)  # what a method may make of it
    assert as_output(colored, "pil")[0].mode == "L"
    assert np.ptp(as_output(colored, "np"), axis=-1).max() == 0
    assert np.ptp(as_output(colored, "pt").numpy(), axis=1).max() == 0


@pytest.mark.parametrize(
    ("picture", "mode"),
    [
        (smooth(6, 9, 1, np.uint16), "I;16"),
        (smooth(6, 9, 2, np.uint16), "LA"),
        (smooth(6, 9, 2), "LA"),
        (smooth(6, 9, 4), "RGBA"),
        (smooth(6, 9, 3, np.uint16), "RGB"),
        (Image.fromarray(smooth(6, 9, 1, np.uint16)[..., 0]), "I;16"),
        (Image.fromarray(smooth(6, 9, 4), "CMYK"), "RGB"),
    ],
)
def test_depth_and_alpha_come_back_as_far_as_pillow_holds_them(picture, mode):
    assert as_output(as_photo(picture), "pil")[0].mode == mode


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_result_carries_its_metadata_and_saves_it(format, tmp_path):
    traits = Traits(icc=ADOBE, exif=exif_block()[6:], xmp=XMP, dpi=(300.0, 300.0))
    photo = Photo(pixels=smooth(20, 30), traits=traits)
    (image,) = as_output(photo, "pil")
    path: Path = tmp_path / f"restored.{format.lower()}"
    image.save(path)
    back, written = read_photo(path), read_photo(encode_photo(photo, "PNG"))
    assert (back.traits.icc, back.traits.xmp) == (ADOBE, XMP)
    assert b"Maker" in (back.traits.exif or b"")
    assert back.traits.dpi == pytest.approx((300, 300), abs=0.01)
    assert np.abs(back.pixels.astype(int) - written.pixels).max() <= (0 if format in ("PNG", "TIFF") else 40)
    image.save(path, icc_profile=None)
    assert read_photo(path).traits.icc is None


def test_a_result_is_an_image_like_any_other():
    (image,) = as_output(as_photo(smooth(6, 9)), "pil")
    assert isinstance(image, Image.Image)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(image))), smooth(6, 9))
    assert image.resize((3, 2)).size == (3, 2)


def test_cmyk_with_a_profile_comes_back_as_cmyk(cmyk_profile):
    data = saved(Image.fromarray(smooth(24, 24, 4), "CMYK"), "JPEG", icc_profile=cmyk_profile)
    for loaded in LOADED:
        (image,) = as_output(as_photo(opened(data, loaded)), "pil")
        assert (image.mode, image.info["icc_profile"]) == ("CMYK", cmyk_profile)


def test_damaged_pictures_are_refused_in_words():
    data = saved(Image.fromarray(smooth(64, 64)), "PNG")[:-300]
    with pytest.raises(InputError, match="the photo is damaged or cut short"):
        as_photo(Image.open(io.BytesIO(data)))
    with pytest.raises(InputError, match="no pixels"):
        as_photo(Image.new("RGB", (0, 4)))


@pytest.mark.parametrize("loaded", LOADED)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_of_two_values_turns_every_door_without_a_remark(format, loaded):
    odd = b"II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x04\0\0\0Cam\0\x12\x01\x03\0\x02\0\0\0\x06\0\x06\0\0\0\0\0"
    image = Image.fromarray(smooth(16, 24))
    if format == "TIFF":
        file = io.BytesIO()
        tags = [(274, 3, 2, (6, 6), True), (271, 2, 4, "Cam", True)]
        tifffile.imwrite(file, smooth(16, 24), photometric="rgb", metadata=None, extratags=tags)
        data = file.getvalue()
    else:
        data = saved(image, format, exif=b"Exif\0\0" + odd, **({"lossless": True} if format == "WEBP" else {}))
    of_file = read_photo(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, when it is the user who opens
        picture = opened(data, loaded)
    photo = as_photo(picture)
    same(photo, of_file)
    assert photo.size == (24, 16)
    assert b"Cam" in (photo.traits.exif or b"")
