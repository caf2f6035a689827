import io
import logging
import os
import stat
from dataclasses import replace

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image, ImageOps

from sdsr.errors import InputError, LimitError, OutputError
from sdsr.photos.files import (
    Header,
    Limits,
    Photo,
    Traits,
    check_output,
    encode_photo,
    probe,
    read_photo,
    write_photo,
)
from sdsr.photos.layout import lay_out
from sdsr.photos.limits import NO_LIMITS
from sdsr.photos.profiles import from_srgb
from tests.pictures import difference, smooth

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}
LOSSY = 6  # levels of 255 that quality 95 may cost on smooth colors
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="1" dc:rights="Ann"/></x:xmpmeta>'


def saved(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **({"quality": 95} if format in ("JPEG", "WEBP") else {}) | options)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset_and_exif_kept(tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x013B] = orientation, "Maker", "Ann"
    exif.get_ifd(0x8769)[0x9003] = "2021:03:04 05:06:07"
    exif.get_ifd(0x8825)[1] = "N"
    stored = Image.fromarray(smooth(24, 40))
    data = saved(stored, format, exif=exif.tobytes())
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photo(data)
    header = probe(data)
    assert (header.height, header.width) == photo.size == expected.shape[:2]
    assert difference(photo.pixels, expected) <= 1
    target = tmp_path / f"out{SUFFIX[format]}"
    write_photo(photo, target)
    with Image.open(target) as image:
        kept = image.getexif()
        assert kept.get(0x0112, 1) == 1
        assert (kept[0x010F], kept[0x013B]) == ("Maker", "Ann")
        assert kept.get_ifd(0x8769)[0x9003] == "2021:03:04 05:06:07"
        assert kept.get_ifd(0x8825)[1] == "N"
        assert difference(np.asarray(image.convert("RGB")), expected) <= LOSSY


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_metadata_crosses_formats(source, target):
    exif = Image.Exif()
    exif[0x010E] = "a description longer than four bytes"
    adobe = imagecodecs.cms_profile("adobergb")
    first = "JPEG" if source == "PNG" else source  # Pillow writes no XMP into PNG, so ours is the source there
    if first == "TIFF":
        exif[700] = XMP
    data = saved(Image.fromarray(smooth(20, 30)), first, exif=exif, xmp=XMP, icc_profile=adobe, dpi=(300, 300))
    if source == "PNG":
        data = encode_photo(read_photo(data), "PNG")
    with Image.open(io.BytesIO(encode_photo(read_photo(data), target))) as image:
        assert image.getexif()[0x010E] == "a description longer than four bytes"
        assert image.info["icc_profile"] == adobe
        assert image.info["xmp"] == XMP
        if source != "WEBP":  # Pillow writes no resolution into WebP
            dpi = image.info["dpi"] if target != "WEBP" else [image.getexif()[tag] for tag in (0x011A, 0x011B)]
            assert np.allclose(np.asarray(dpi, float), 300, atol=0.01)


@pytest.mark.parametrize("dpi", [(300.0, 300.0), (72.0, 96.0), (240.0, 1200.0)])
@pytest.mark.parametrize("exif", [None, "<", ">"])
@pytest.mark.parametrize("format", FORMATS)
def test_resolution_is_kept_in_every_format(format, exif, dpi):
    block = None
    if exif:
        made = Image.Exif()
        made.endian, made[0x010F] = exif, "Maker"
        made.get_ifd(0x8769)[0x927C] = b"maker note"
        block = made.tobytes()[6:]
    photo = Photo(pixels=smooth(8, 9), traits=Traits(dpi=dpi, exif=block))
    again = read_photo(encode_photo(read_photo(encode_photo(photo, format)), format))
    assert again.traits.dpi == pytest.approx(dpi, abs=0.02)
    if block:
        kept = Image.Exif()
        kept.load(again.traits.exif or b"")
        assert (kept[0x010F], kept.get_ifd(0x8769)[0x927C]) == ("Maker", b"maker note")


@pytest.mark.parametrize("format", FORMATS)
def test_adobe_rgb_is_read_in_srgb_and_returned(format):
    adobe = imagecodecs.cms_profile("adobergb")
    srgb = smooth(40, 60) // 2 + 64
    file_pixels = from_srgb(srgb, adobe, "RGB")
    assert difference(file_pixels, srgb) > 3 * LOSSY
    photo = read_photo(saved(Image.fromarray(file_pixels), format, icc_profile=adobe))
    assert difference(photo.pixels, srgb) <= (3 if format in ("PNG", "TIFF") else 3 * LOSSY)
    with Image.open(io.BytesIO(encode_photo(photo, format))) as image:
        assert image.info["icc_profile"] == adobe
        assert difference(np.asarray(image.convert("RGB")), file_pixels) <= 2 * LOSSY


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiff_is_exact(tmp_path, channels, order):
    samples = np.random.default_rng(0).integers(1, 65536, (33, 47, channels)).astype(np.uint16)
    file = io.BytesIO()
    kinds = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    photometric = "rgb" if channels > 2 else "minisblack"
    tifffile.imwrite(file, samples.squeeze(), photometric=photometric, byteorder=order,
                     compression="deflate", predictor=True, metadata=None, **kinds)  # fmt: skip
    photo = read_photo(file.getvalue())
    assert (photo.traits.bits, photo.traits.gray, photo.alpha is not None) == (16, channels < 3, channels in (2, 4))
    write_photo(photo, tmp_path / "out.tiff")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tiff").reshape(samples.shape), samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_is_exact(tmp_path, channels):
    samples = np.random.default_rng(0).integers(1, 65536, (33, 47, channels)).astype(np.uint16)
    photo = read_photo(imagecodecs.png_encode(samples.squeeze()))
    assert (photo.traits.bits, photo.traits.gray) == (16, channels < 3)
    write_photo(photo, tmp_path / "out.png")
    back = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())
    np.testing.assert_array_equal(back.reshape(samples.shape), samples)


def test_sixteen_bit_tiff_keeps_profile_and_exif_of_either_byte_order():
    for endian in "<>":
        exif = Image.Exif()
        exif.endian = endian
        exif[0x010F] = "Maker of cameras"
        exif.get_ifd(0x8769)[0x927C] = b"maker note"
        traits = Traits(exif=exif.tobytes()[6:], icc=imagecodecs.cms_profile("adobergb"), xmp=XMP, dpi=(240.0, 72.0))
        data = encode_photo(Photo(pixels=smooth(30, 20, dtype=np.uint16), traits=traits), "TIFF")
        photo = read_photo(data)
        assert difference(photo.pixels, smooth(30, 20, dtype=np.uint16)) <= 40
        assert (photo.traits.icc, photo.traits.xmp, photo.traits.dpi) == (traits.icc, XMP, (240, 72))
        with Image.open(io.BytesIO(data)) as image:
            assert image.getexif()[0x010F] == "Maker of cameras"
            assert image.getexif().get_ifd(0x8769)[0x927C] == b"maker note"


def test_sixteen_bits_are_rounded_for_jpeg_and_the_log_says_so(caplog):
    photo = Photo(pixels=smooth(16, 16, dtype=np.uint16))
    with caplog.at_level(logging.INFO, logger="sdsr"):
        data = encode_photo(photo, "JPEG", 100)
    assert "16 are rounded" in caplog.text
    assert difference(read_photo(data).pixels, smooth(16, 16)) <= LOSSY


def test_sixteen_bits_are_rounded_to_the_nearest_level():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    photo = Photo(pixels=np.repeat(levels[..., None], 3, axis=2))
    rounded = np.concatenate([strip for _, strip in lay_out(photo, "WEBP").strips()])
    np.testing.assert_array_equal(rounded, np.rint(photo.pixels / 257))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_hard_edges_of_alpha_survive_and_hidden_colors_are_continued(format):
    samples = np.zeros((32, 32, 4), np.uint8)
    samples[8:24, 4:20] = (220, 40, 90, 255)
    photo = read_photo(saved(Image.fromarray(samples), format, **({"lossless": True} if format == "WEBP" else {})))
    np.testing.assert_array_equal(photo.alpha, samples[..., 3])
    assert (photo.pixels == (220, 40, 90)).all(), "no black may bleed into the edge"
    with Image.open(io.BytesIO(encode_photo(photo, format))) as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 3], samples[..., 3])
        assert difference(np.asarray(image)[8:24, 4:20, :3], samples[8:24, 4:20, :3]) <= LOSSY


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("space", ["GRAY", "RGB"])
@pytest.mark.parametrize("format", ["WEBP", "AVIF", "JXL"])
def test_opaque_alpha_does_not_trouble_encoders_that_drop_it(format, space, lossless):
    pixels = smooth(9, 9) if space == "RGB" else np.repeat(smooth(9, 9, 1), 3, axis=2)
    traits = Traits(format=format, lossless=lossless, space=space)
    photo = Photo(pixels=pixels, alpha=np.full((9, 9), 255, np.uint8), traits=traits)
    assert difference(read_photo(encode_photo(photo, format)).pixels, pixels) <= 2 * LOSSY


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_alpha_that_hides_nothing_forbids_no_format(depth):
    opaque = Photo(pixels=smooth(9, 9, dtype=depth), alpha=np.full((9, 9), np.iinfo(depth).max, depth))
    assert not opaque.transparent
    with Image.open(io.BytesIO(encode_photo(opaque, "JPEG"))) as image:
        assert image.mode == "RGB"
        assert difference(np.asarray(image), smooth(9, 9)) <= LOSSY
    assert read_photo(encode_photo(opaque, "PNG")).alpha is not None, "it stays where it can"
    opaque.alpha[4, 4] -= 1
    with pytest.raises(
        InputError, match="has transparency, which JPEG can't hold; write one of PNG, WebP, TIFF, AVIF, JPEG XL"
    ):
        encode_photo(opaque, "JPEG")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("exact", [False, True])
def test_lossless_webp_stays_lossless_unless_a_quality_is_asked_for(channels, exact):
    samples = np.random.default_rng(0).integers(0, 256, (33, 47, channels), np.uint8)
    samples[:9, :9, 3:] = 0
    photo = read_photo(saved(Image.fromarray(samples), "WEBP", lossless=True, exact=exact))
    assert photo.traits.lossless
    data = encode_photo(photo, "WEBP")
    back = read_photo(data)
    assert back.traits.lossless
    np.testing.assert_array_equal(back.pixels, photo.pixels)
    if channels == 4:
        np.testing.assert_array_equal(back.alpha, samples[..., 3])
    asked = encode_photo(photo, "WEBP", 80)
    assert len(asked) < len(data) / 2
    assert not read_photo(asked).traits.lossless
    assert not read_photo(encode_photo(read_photo(encode_photo(photo, "PNG")), "WEBP")).traits.lossless


def test_a_lossless_webp_carries_metadata_too():
    traits = Traits(format="WEBP", lossless=True, xmp=XMP, icc=imagecodecs.cms_profile("adobergb"), exif=None)
    with Image.open(io.BytesIO(encode_photo(Photo(pixels=smooth(20, 30), traits=traits), "WEBP"))) as image:
        assert (image.info["xmp"], image.info["icc_profile"]) == (XMP, traits.icc)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3)])
def test_extreme_shapes(tmp_path, format, size):
    pixels = smooth(*size)
    data = saved(Image.fromarray(pixels), format)
    photo = read_photo(data)
    write_photo(photo, tmp_path / f"out{SUFFIX[format]}")
    assert difference(read_photo(tmp_path / f"out{SUFFIX[format]}").pixels, pixels) <= LOSSY


def test_cmyk_jpeg_without_profile_becomes_srgb():
    inks = smooth(24, 24, 4)
    data = saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    photo = read_photo(data)
    paper = 255 - inks.astype(float)
    assert difference(photo.pixels, np.rint(paper[..., :3] * paper[..., 3:] / 255).astype(np.uint8)) <= LOSSY
    assert (photo.traits.space, photo.traits.icc) == ("RGB", None)
    with Image.open(io.BytesIO(encode_photo(photo, "JPEG"))) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_with_profile_returns_as_cmyk(format, cmyk_profile):
    inks = smooth(24, 24, 4)
    data = saved(Image.fromarray(inks, "CMYK"), format, icc_profile=cmyk_profile)
    photo = read_photo(data)
    written = encode_photo(photo, format)
    with Image.open(io.BytesIO(written)) as image:
        assert (image.mode, image.info["icc_profile"]) == ("CMYK", cmyk_profile)
    assert difference(read_photo(written).pixels, photo.pixels) <= 2 * LOSSY
    with Image.open(io.BytesIO(encode_photo(photo, "PNG"))) as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
        assert difference(np.asarray(image), photo.pixels) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "RGB"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_modes_read_as_pillow_shows_them(mode, format):
    image = Image.fromarray(smooth(20, 28)).convert(mode)
    photo = read_photo(saved(image, format))
    np.testing.assert_array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    assert photo.traits.gray == (mode in ("1", "L", "LA"))
    assert (photo.alpha is not None) == (mode in ("LA", "RGBA"))


@pytest.mark.parametrize("format", FORMATS)
def test_gray_stays_gray_whatever_a_method_makes_of_it(format):
    photo = read_photo(saved(Image.fromarray(smooth(20, 28)).convert("L"), "PNG"))
    with Image.open(io.BytesIO(encode_photo(replace(photo, pixels=smooth(40, 56)), format))) as image:
        assert image.mode == ("RGB" if format == "WEBP" else "L")
        written = np.asarray(image.convert("RGB")).astype(int)
    assert np.ptp(written, axis=2).max() <= 1
    luma = smooth(40, 56).astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(written[..., 0] - luma).max() <= LOSSY


def test_palette_with_transparency():
    image = Image.fromarray(smooth(20, 28)).quantize(8)
    photo = read_photo(saved(image, "PNG", transparency=0))
    np.testing.assert_array_equal(photo.alpha == 0, np.asarray(image) == 0)


@pytest.mark.parametrize(("bits", "top"), [(4, 255), (12, 65535)])
def test_odd_depths_are_stretched(bits, top):
    levels = np.arange(2**bits, dtype=np.uint16 if bits > 8 else np.uint8).reshape(4, -1)
    packed = np.unpackbits(levels.astype(">u2").view(np.uint8).reshape(*levels.shape, 2), axis=-1)[..., 16 - bits :]
    rows = np.packbits(packed.reshape(4, -1), axis=1).tobytes()
    photo = read_photo(raw_tiff(levels.shape, bits, rows))
    np.testing.assert_array_equal(photo.pixels[..., 0], np.rint(levels.astype(float) * top / (2**bits - 1)))


def raw_tiff(shape: tuple[int, int], bits: int, rows: bytes) -> bytes:
    entries = {256: shape[1], 257: shape[0], 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: shape[0], 279: len(rows)}
    directory = b"".join(np.array([tag, 4], "<u2").tobytes() + np.array([1, value], "<u4").tobytes()
                         for tag, value in entries.items())  # fmt: skip
    padded = rows + bytes(len(rows) % 2)
    start = np.array([8 + len(padded)], "<u4").tobytes()
    return b"II*\0" + start + padded + np.array([len(entries)], "<u2").tobytes() + directory + bytes(4)


def test_main_picture_of_a_phone_with_several():
    file = io.BytesIO()
    main, other = Image.fromarray(smooth(30, 40)), Image.new("RGB", (8, 8))
    main.save(file, "MPO", save_all=True, append_images=[other], quality=95)
    photo = read_photo(file.getvalue())
    assert photo.traits.format == "JPEG"
    assert difference(photo.pixels, smooth(30, 40)) <= LOSSY


def test_broken_profile_is_read_as_srgb_with_a_warning(caplog):
    data = saved(Image.fromarray(smooth(20, 30)), "PNG", icc_profile=b"junk" * 99)
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, smooth(20, 30))
    assert photo.traits.icc is None
    assert "ICC profile" in caplog.text


def test_header_says_what_reading_gives():
    data = saved(Image.fromarray(smooth(20, 30, 4)), "PNG")
    assert probe(data) == Header(format="PNG", width=30, height=20, bits=8, gray=False, alpha=True)


def test_output_is_checked_before_any_work():
    header = Header(format="JPEG", width=300, height=200, bits=8, gray=False, alpha=False)
    check_output(header, (65535, 6000), "JPEG")
    for size, format, limits, words in (
        ((10, 65536), "JPEG", Limits(), "JPEG holds"),
        ((16384, 10), "WEBP", Limits(), "WEBP holds"),
        ((20001, 20000), "TIFF", Limits(), "81.64 times fits\\), or allow it by --max-output-megapixels 401 "),
        ((40_000, 36_000), "TIFF", NO_LIMITS, "may exceed what TIFF holds \\(4.23 GB\\); write PNG"),
    ):
        with pytest.raises(LimitError, match=words):
            check_output(header, size, format, limits)
    check_output(replace(header, gray=True), (40_000, 36_000), "TIFF", NO_LIMITS)
    check_output(replace(header, alpha=True), (400, 600), "JPEG")  # it may hide nothing


@pytest.mark.parametrize("overwrite", [False, True])
def test_permissions_follow_the_umask(tmp_path, overwrite):
    if os.name != "posix":
        pytest.skip("permissions of POSIX")
    before = os.umask(0o027)
    try:
        write_photo(Photo(pixels=smooth(4, 4)), tmp_path / "a.png", overwrite=overwrite)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_existing_file_is_only_replaced_when_asked(tmp_path):
    target = tmp_path / "Größe ü 写真.PNG"
    target.write_bytes(b"precious")
    photo = Photo(pixels=smooth(4, 4))
    with pytest.raises(OutputError, match="exists already"):
        write_photo(photo, target)
    assert target.read_bytes() == b"precious"
    write_photo(photo, target, overwrite=True)
    np.testing.assert_array_equal(read_photo(target).pixels, photo.pixels)
    assert list(tmp_path.iterdir()) == [target]


def test_quality_changes_the_size():
    noise = Photo(pixels=np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for format in ("JPEG", "WEBP"):
        assert len(encode_photo(noise, format, 30)) < len(encode_photo(noise, format, 95)) / 2
    with pytest.raises(InputError, match=r"quality \(=0\)"):
        encode_photo(noise, "JPEG", 0)


def test_jpeg_keeps_color_at_full_resolution():
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    assert difference(read_photo(encode_photo(Photo(pixels=stripes), "JPEG")).pixels, stripes) < 30


@pytest.mark.parametrize("format", FORMATS)
def test_the_hundredth_photo_takes_no_more_memory_than_the_tenth(format):
    traits = Traits(icc=imagecodecs.cms_profile("adobergb"), dpi=(300.0, 300.0))
    data, process = encode_photo(Photo(pixels=smooth(250, 250), traits=traits), format), psutil.Process()
    for number in range(100):
        read_photo(data)
        if number == 9:
            before = process.memory_info().rss
    assert process.memory_info().rss - before < 6 << 20, "a photo takes 0.2 MiB, and 90 must leave nothing"
