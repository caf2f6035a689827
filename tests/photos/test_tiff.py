"""TIFF of every convention of palettes, extra samples, Lab and floats."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from sdsr.errors import InputError
from sdsr.photos.files import encode_photo, probe, read_photo

UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
HEIGHT, WIDTH = 14, 20


def tiff(samples: np.ndarray, photometric: str, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric=photometric, metadata=None, **options)
    return file.getvalue()


def levels(channels: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(1, top, (HEIGHT, WIDTH, channels), endpoint=True).astype(dtype)


@given(
    photometric=st.sampled_from(["rgb", "minisblack", "miniswhite", "separated"]),
    kinds=st.lists(st.sampled_from([UNSPECIFIED, ASSOCIATED, UNASSOCIATED]), max_size=3),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    planar=st.sampled_from(["contig", "separate"]),
    compression=st.sampled_from([None, "deflate"]),
)
def test_extra_samples_of_every_convention(photometric, kinds, dtype, planar, compression):
    color = {"rgb": 3, "separated": 4}.get(photometric, 1)
    top = np.iinfo(dtype).max
    samples = levels(color + len(kinds), dtype)
    first = next((i for i, kind in enumerate(kinds) if kind), None)
    straight = samples[..., :color].copy()
    if first is not None and kinds[first] == ASSOCIATED:
        alpha = samples[..., color + first, None].astype(float)
        samples[..., :color] = np.rint(straight * (alpha / top))
    stored = np.moveaxis(samples, -1, 0) if planar == "separate" and samples.shape[-1] > 1 else samples
    extra = {"extrasamples": kinds} if kinds else {}
    planarconfig = {"planarconfig": planar} if samples.shape[-1] > 1 else {}
    stored = stored[..., 0] if samples.shape[-1] == 1 else stored
    photo = read_photo(tiff(stored, photometric, compression=compression, **planarconfig, **extra))
    expected = straight.astype(float)
    if photometric == "miniswhite":
        expected = top - expected
    if photometric == "separated":
        expected = (top - expected[..., :3]) * (top - expected[..., 3:]) / top
    assert (photo.alpha is not None) == (first is not None)
    visible = np.ones((HEIGHT, WIDTH), bool)
    if first is not None:
        np.testing.assert_array_equal(photo.alpha, samples[..., color + first])
        visible = samples[..., color + first] > top // 4  # elsewhere premultiplied color is coarse
    coarse = 4 if first is not None and kinds[first] == ASSOCIATED else 1
    assert np.abs(photo.pixels - expected)[visible].max() <= coarse


@pytest.mark.parametrize("kinds", [[0], [0, 0], [2, 0], [0, 1]])
def test_what_is_no_alpha_is_said_to_be_left_out(kinds, caplog):
    read_photo(tiff(levels(3 + len(kinds)), "rgb", extrasamples=kinds))
    assert f"aren't marked as alpha (={len(kinds) - any(kinds)}, " in caplog.text


def test_an_extra_sample_without_its_tag_is_left_out_too(caplog):
    data = bytearray(tiff(levels(4), "rgb", extrasamples=[0]))
    place = data.index(np.array([338, 3], "<u2").tobytes())
    data[place : place + 2] = np.array([337], "<u2").tobytes()  # TargetPrinter: another name for the same place
    np.testing.assert_array_equal(read_photo(bytes(data)).pixels, levels(4)[..., :3])
    assert "aren't marked as alpha" in caplog.text


def test_color_above_its_associated_alpha_is_not_divided(caplog):
    samples = levels(4)
    photo = read_photo(tiff(samples, "rgb", extrasamples=[ASSOCIATED]))
    np.testing.assert_array_equal(photo.pixels, samples[..., :3])
    assert "taken as unassociated" in caplog.text


@given(
    bits=st.sampled_from([8, 16]),
    scale=st.sampled_from([1, 256, 257]),
    alpha=st.sampled_from([None, UNASSOCIATED, UNSPECIFIED]),
    seed=st.integers(0, 99),
)
def test_palettes_of_every_convention(bits, scale, alpha, seed):
    colors = np.random.default_rng(seed).integers(0, 256, (3, 2**bits)).astype(np.uint16)
    dtype = np.uint8 if bits == 8 else np.uint16
    indices = levels(1, dtype, seed)[..., 0]
    if alpha is None:
        data = tiff(indices, "palette", colormap=colors * np.uint16(scale))
    else:
        stack = np.dstack((indices, levels(1, dtype, seed + 1)[..., 0]))
        table = (colors * np.uint16(scale)).ravel()
        gray = tiff(stack, "minisblack", extratags=[(320, 3, table.size, table, True)], extrasamples=[alpha])
        photometric = np.array([262, 3, 1, 0], "<u2").tobytes()
        data = gray.replace(photometric + b"\1", photometric + b"\3")
    photo = read_photo(data)
    visible = photo.alpha > 0 if photo.alpha is not None else ...
    np.testing.assert_array_equal(photo.pixels[visible], np.moveaxis(colors, 0, -1)[indices].astype(np.uint8)[visible])
    assert (photo.alpha is not None) == (alpha == UNASSOCIATED)
    if photo.alpha is not None:
        expected = levels(1, dtype, seed + 1)[..., 0]
        np.testing.assert_array_equal(photo.alpha, expected if bits == 8 else np.rint(expected / 257))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite"])
def test_floats_in_zero_to_one_are_sixteen_bits_and_others_refused(dtype, photometric):
    color = 3 if photometric == "rgb" else 1
    unit = (levels(color, np.uint16) / 65535).astype(dtype).squeeze()
    data = tiff(unit, photometric, compression="deflate", predictor=dtype == np.float32)
    photo = read_photo(data)
    shown = 1 - unit if photometric == "miniswhite" else unit
    assert np.abs(photo.pixels / 65535 - shown.reshape(HEIGHT, WIDTH, color)).max() < (
        1e-3 if dtype == np.float16 else 1e-5
    )
    assert (photo.traits.bits, probe(data).bits) == (16, 16)
    for wrong in (unit * 2, unit - 0.5):
        with pytest.raises(InputError, match=r"\(=-?[\d.]+ ... [\d.]+\) must be in 0 ... 1"):
            read_photo(tiff(wrong, photometric))


@pytest.mark.parametrize("kind", ["cielab", "icclab"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_of_either_encoding(kind, dtype):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / WIDTH
    srgb = np.rint(np.stack((0.2 + 0.6 * x, 0.8 - 0.5 * y, 0.3 + 0.2 * x + 0.3 * y), axis=-1) * 255).astype(np.uint8)
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.applyTransform(Image.fromarray(srgb), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    signed = np.asarray(lab).astype(np.int16)
    signed[..., 1:] = np.asarray(lab)[..., 1:].astype(np.int8)
    light, colors = signed[..., :1] / 255, signed[..., 1:].astype(float)  # 0 ... 1, -128 ... 127
    if kind == "cielab":
        per_color, bottom, white = (1, 0, 255) if dtype == np.uint8 else (256, 0, 65535)
    else:
        per_color, bottom, white = (1, 128, 255) if dtype == np.uint8 else (256, 128 * 256, 0xFF00)
    stored = (
        np.rint(np.concatenate((light * white, colors * per_color + bottom), axis=-1)).astype(np.int32).astype(dtype)
    )
    photo = read_photo(tiff(stored, kind, iccprofile=None))
    assert np.abs(photo.pixels / np.iinfo(dtype).max * 255 - srgb).max() <= 4
    assert photo.traits.bits == 8 * np.dtype(dtype).itemsize
    read_photo(encode_photo(photo, "TIFF"))


@pytest.mark.parametrize("value", [(6, 6), (6, 0)])
def test_an_orientation_of_two_values_turns_the_photo(value):
    data = tiff(levels(3), "rgb", extratags=[(274, 3, 2, value, True), (271, 2, 4, "Cam", True)])
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, np.rot90(levels(3), -1))
    assert b"Cam" in (photo.traits.exif or b"")


@pytest.mark.parametrize(("unit", "dpi"), [(2, (300, 240)), (3, (300 * 2.54, 240 * 2.54)), (1, None)])
def test_resolution_is_kept(unit, dpi):
    data = tiff(levels(3), "rgb", resolution=(300, 240), resolutionunit=unit)
    photo = read_photo(data)
    for format in ("TIFF", "PNG"):
        assert read_photo(encode_photo(photo, format)).traits.dpi == (dpi and pytest.approx(dpi, abs=0.02))


@pytest.mark.parametrize(
    ("description", "kept"),
    [
        ('{"shape": [14, 20, 3]}', False),
        ("ImageJ=1.54f\nimages=1\n", False),
        ('<?xml version="1.0"?><OME><Image><Pixels SizeX="20" SizeY="14"/></Image></OME>', False),
        ("Garden, 1998", True),
    ],
)
def test_a_description_of_the_layout_is_none_of_the_result(description: str, kept: bool) -> None:
    traits = read_photo(tiff(levels(3, np.uint16), "rgb", description=description)).traits
    assert (description.encode() in (traits.exif or b"")) is kept
    assert b"tifffile" in (traits.exif or b""), "the other tags stay"


def test_a_big_tiff_keeps_what_describes_it(caplog):
    file = io.BytesIO()
    tags = [(315, 2, None, "Oma", True), (33432, 2, None, "(c) Oma", True)]
    options = {"photometric": "rgb", "metadata": None, "description": "the garden", "extratags": tags}
    tifffile.imwrite(file, levels(3), bigtiff=True, **options)
    photo = read_photo(file.getvalue())
    back = read_photo(encode_photo(photo, "TIFF"))
    for one in (photo, back):
        exif = Image.Exif()
        exif.load(one.traits.exif)
        assert (exif[315], exif[33432], exif[270]) == ("Oma", "(c) Oma", "the garden")
    assert not caplog.records
