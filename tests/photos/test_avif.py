"""AVIF in and out: depths, alpha, color, metadata and orientation, against Pillow's reader and writer."""

import io
import struct
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from sdsr.errors import InputError, LimitError
from sdsr.photos.av1 import sequence_size
from sdsr.photos.boxes import box
from sdsr.photos.files import Limits, Photo, Traits, encode_photo, probe, read_photo
from sdsr.photos.heif import Item, read_items, write_items
from tests.pictures import difference, exif_block, smooth

BRANDS = b"avif\0\0\0\0avifmif1miaf"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf dc:rights="Ann"/></x:xmpmeta>'
LOSSY = 6


def saved(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", **{"quality": 95, "subsampling": "4:4:4"} | options)
    return file.getvalue()


def coded(samples: np.ndarray, level: int = 95, **options) -> bytes:
    return bytes(imagecodecs.avif_encode(samples, level, **{"pixelformat": "444", "speed": 8} | options))


def changed(data: bytes, **properties: bytes | None) -> bytes:
    """Return an AVIF of one item with properties of the photo replaced or, by None, removed."""
    items = read_items(data)
    photo = items.items[items.primary]
    photo.properties = [(kind, body) for kind, body in photo.properties if kind.decode() not in properties]
    photo.properties += [(kind.encode(), body) for kind, body in properties.items() if body is not None]
    return write_items(BRANDS, [(photo, items.payload(items.primary))])


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_each_depth_comes_back_as_it_went(bits, channels):
    full = smooth(33, 47, channels, np.uint8 if bits == 8 else np.uint16)
    samples = full if bits == 8 else (full >> (16 - bits))
    photo = read_photo(coded(samples.squeeze(), bitspersample=bits))
    assert (photo.traits.bits, photo.traits.gray, photo.alpha is not None) == (bits, channels < 3, channels in (2, 4))
    scale = 1 if bits == 8 else 257
    assert difference(photo.pixels, full[..., [0, 0, 0] if channels < 3 else [0, 1, 2]]) <= LOSSY * scale
    back = encode_photo(photo, "AVIF")
    assert probe(back) == replace(probe(coded(samples.squeeze(), bitspersample=bits)))
    assert difference(read_photo(back).pixels, photo.pixels) <= LOSSY * scale
    if photo.alpha is not None:
        alpha = read_photo(back).alpha
        assert alpha is not None
        assert difference(alpha, photo.alpha) <= scale


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_written_reads_the_same_elsewhere(channels):
    samples, adobe = smooth(33, 47, channels), imagecodecs.cms_profile("adobergb")
    gray = np.repeat(samples[..., :1], 3, axis=2)
    traits = Traits(space="GRAY" if channels == 1 else "RGB", exif=exif_block()[6:], xmp=XMP)
    traits = replace(traits, icc=None if channels == 1 else adobe)
    alpha = np.ascontiguousarray(samples[..., 3]) if channels == 4 else None
    photo = Photo(pixels=gray if channels == 1 else np.ascontiguousarray(samples[..., :3]), alpha=alpha, traits=traits)
    data = encode_photo(photo, "AVIF")
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        assert (image.info.get("icc_profile"), image.info["xmp"]) == (traits.icc, XMP)
        assert image.getexif()[0x010F] == "Maker"
        if channels == 4:
            assert difference(np.asarray(image)[..., 3], samples[..., 3]) <= 1
        plain = np.asarray(image.convert("RGB"))
    read = read_photo(data)
    assert (read.traits.icc, read.traits.xmp, read.traits.exif) == (traits.icc, XMP, traits.exif)
    if channels == 1:
        assert difference(plain, gray) <= LOSSY
    assert difference(read.pixels, photo.pixels) <= 2 * LOSSY


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(orientation):
    data = saved(Image.fromarray(smooth(24, 40)), exif=exif_block(orientation))
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    photo, header = read_photo(data), probe(data)
    assert (header.height, header.width) == photo.size == expected.shape[:2]
    assert difference(photo.pixels, expected) <= LOSSY
    with Image.open(io.BytesIO(encode_photo(photo, "AVIF"))) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "Maker"
        assert difference(np.asarray(image), expected) <= LOSSY


def test_exif_alone_turns_nothing():
    items = read_items(coded(smooth(24, 40)))
    exif = Item(kind=b"Exif", references={b"cdsc": (1,)})
    photo = (items.items[items.primary], items.payload(items.primary))
    data = write_items(BRANDS, [photo, (exif, bytes(4) + exif_block(6)[6:])])
    assert read_photo(data).size == (24, 40), "HEIF, 6.5.10: only properties turn"
    assert read_photo(data).traits.exif is not None


def test_premultiplied_alpha_is_divided_out():
    samples = smooth(24, 40, 4)
    samples[..., 3] = 128
    photo = read_photo(saved(Image.fromarray(samples), alpha_premultiplied=True))
    assert difference(photo.pixels, samples[..., :3]) <= 2 * LOSSY


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_lossless_stays_lossless_unless_a_quality_is_asked_for(bits):
    samples = np.random.default_rng(0).integers(0, 2**bits, (33, 47, 3)).astype(np.uint8 if bits == 8 else np.uint16)
    photo = read_photo(coded(samples, 100, bitspersample=bits, matrix=0))
    assert photo.traits.lossless
    assert difference(photo.pixels >> (0 if bits == 8 else 16 - bits), samples) == 0
    back = read_photo(encode_photo(photo, "AVIF"))
    assert (back.traits.lossless, back.traits.bits) == (True, bits)
    np.testing.assert_array_equal(back.pixels, photo.pixels)
    assert len(encode_photo(photo, "AVIF", 50)) < len(encode_photo(photo, "AVIF")) / 2


def test_quality_changes_the_size_and_gray_is_lossless_at_any():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_photo(Photo(pixels=noise), "AVIF", 30)) < len(encode_photo(Photo(pixels=noise), "AVIF", 95)) / 2
    gray = Photo(pixels=np.repeat(noise[..., :1], 3, axis=2), traits=Traits(space="GRAY"))
    np.testing.assert_array_equal(read_photo(encode_photo(gray, "AVIF", 30)).pixels, gray.pixels)


@pytest.mark.parametrize(("primaries", "red"), [(1, 200), (12, 220)])
def test_colors_in_numbers_are_those_of_a_profile(primaries, red):
    samples = np.full((16, 16, 3), (200, 60, 60), np.uint8)
    nclx = b"nclx" + struct.pack(">HHHB", primaries, 13, 6, 128)
    photo = read_photo(changed(coded(samples), colr=nclx))
    assert abs(int(photo.pixels[8, 8, 0]) - red) <= 12
    assert (photo.pixels[8, 8, 0] > 210) == (primaries == 12), "Display P3's red is beyond sRGB's"


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused(transfer, name):
    nclx = b"nclx" + struct.pack(">HHHB", 9, transfer, 9, 128)
    with pytest.raises(InputError, match=rf"HDR \(={name}\)"):
        read_photo(changed(coded(smooth(16, 16)), colr=nclx))


def test_what_is_no_single_photo_is_refused_in_words():
    frames = [Image.fromarray(smooth(16, 16)), Image.fromarray(smooth(16, 16)[::-1])]
    with pytest.raises(InputError, match="the AVIF is an animation"):
        read_photo(saved(frames[0], save_all=True, append_images=frames[1:]))
    items = read_items(coded(smooth(16, 16)))
    photo, payload = items.items[items.primary], items.payload(items.primary)
    photo.kind = b"hvc1"
    with pytest.raises(InputError, match="the AVIF is coded as b'hvc1', limit AV1"):
        read_photo(write_items(BRANDS, [(photo, payload)]))
    with pytest.raises(InputError, match="cropped by its container"):
        read_photo(changed(coded(smooth(16, 16)), clap=struct.pack(">8I", 8, 1, 8, 1, 0, 1, 0, 1)))


def test_a_size_that_lies_is_refused_before_decoding():
    data = coded(smooth(64, 96))
    for width, height in ((8, 8), (60000, 60000), (96, 65)):
        lying = changed(data, ispe=struct.pack(">III", 0, width, height))
        with pytest.raises(InputError, match="announces"):
            probe(lying)
    with pytest.raises(LimitError, match="96x64"):
        probe(data, Limits(max_input_pixels=64 * 96 - 1))


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (255, 257)])
def test_sizes_are_read_from_container_and_bitstream(size):
    data = coded(smooth(*size))
    items = read_items(data)
    assert sequence_size(items.payload(items.primary)) == (size[1], size[0])
    assert difference(read_photo(encode_photo(read_photo(data), "AVIF")).pixels, smooth(*size)) <= 2 * LOSSY


def test_brands_of_heif_with_avif_inside_are_read_and_heic_is_not():
    data = coded(smooth(16, 16))
    head = int.from_bytes(data[:4], "big")
    shift = box(b"ftyp", b"mif1\0\0\0\0mif1avifmiaf") + box(b"free", bytes(head - 28 - 8)) if head >= 36 else None
    other = shift or box(b"ftyp", b"mif1\0\0\0\0avif" + data[20:head])
    assert len(other) == head, "offsets hold"
    assert read_photo(other + data[head:]).size == (16, 16)
    with pytest.raises(InputError, match="the HEIC is coded as b'av01', limit HEVC"):
        read_photo(box(b"ftyp", b"mif1\0\0\0\0mif1heic") + data[head:])
