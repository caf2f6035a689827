"""The same photo through command line, standard input, a folder and `Upscaler`: the same pixels and metadata."""

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from sdsr.cli import main as cli
from sdsr.photos.files import Photo, Traits, encode_photo, read_photo
from sdsr.photos.notes import Notes, kept_resources, text_chunk
from sdsr.upscaling import Upscaler
from tests.pictures import chunk, saved

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
IIM = b"\x1c\x02x\0\x09A caption"


@pytest.fixture(scope="module")
def loaded(model: Path) -> Upscaler:
    return Upscaler.from_pretrained(model, device="cpu")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*words: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["sdsr", *map(str, words)])
        try:
            cli.main()
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    return run


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif.get_ifd(0x8769)[0x927C] = b"maker note"
    return exif.tobytes()


def photos() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(60, 190, (10, 16, 3), np.uint8)
    image, adobe = Image.fromarray(pixels), imagecodecs.cms_profile("adobergb")
    notes = Notes(texts=(text_chunk("parameters", "a tree"),), resources=kept_resources(IIM))
    traits = Traits(xmp=XMP, dpi=(300.0, 300.0), notes=notes, icc=adobe, exif=exif_block(1)[6:])
    png = encode_photo(Photo(pixels=pixels), "PNG")
    phone = saved(image, "JPEG", quality=95, exif=exif_block(6), icc_profile=adobe, comment=b"seen", dpi=(240, 240))
    return {
        "phone.jpg": phone,
        "gray.jpg": saved(image.convert("L"), "JPEG"),
        "everything.png": encode_photo(Photo(pixels=pixels, alpha=pixels[..., 0].copy(), traits=traits), "PNG"),
        "linear.png": png[:33] + chunk(b"gAMA", struct.pack(">I", 100_000)) + png[33:],
        "p3.png": png[:33] + chunk(b"cICP", bytes((12, 13, 0, 1))) + png[33:],
        "deep gray.png": bytes(imagecodecs.png_encode(pixels[..., 0].astype(np.uint16) * 250)),
        "palette.png": saved(image.quantize(16), "PNG", transparency=3),
        "turned.webp": saved(image, "WEBP", lossless=True, exif=exif_block(8)),
        "mirrored.tif": saved(image, "TIFF", exif=exif_block(5), dpi=(200, 100)),
    }


PHOTOS = photos()


@pytest.mark.parametrize("name", PHOTOS)
def test_every_door_gives_the_same_picture(name, typed, model, loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(Upscaler, "from_pretrained", lambda *_, **__: loaded)  # it is loaded once for all doors
    source = tmp_path / "in" / name
    source.parent.mkdir()
    source.write_bytes(PHOTOS[name])
    options = ("--model", model, "--scale", "2", "--format", "png", "--quiet")
    assert typed("upscale", source, "-o", tmp_path / "one.png", *options) == 0
    assert typed("upscale", source.parent, "-o", tmp_path / "out", *options) == 0
    piped = io.TextIOWrapper(io.BytesIO())
    with monkeypatch.context() as pipes:
        pipes.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PHOTOS[name])))
        pipes.setattr(sys, "stdout", piped)
        assert typed("upscale", "-", "-o", "-", *options) == 0
    with Image.open(source) as image:
        loaded(image, scale=2).images[0].save(tmp_path / "python.png")
    one = (tmp_path / "one.png").read_bytes()
    (of_folder,) = (path for path in (tmp_path / "out").iterdir() if path.suffix == ".png")
    assert of_folder.read_bytes() == one
    piped.buffer.seek(0)
    assert piped.buffer.read() == one
    typed_photo, python_photo = read_photo(one), read_photo(tmp_path / "python.png")
    np.testing.assert_array_equal(python_photo.pixels, typed_photo.pixels)
    assert (python_photo.alpha is None) == (typed_photo.alpha is None)
    if typed_photo.alpha is not None:
        np.testing.assert_array_equal(python_photo.alpha, typed_photo.alpha)
    assert python_photo.traits == typed_photo.traits
    given = read_photo(PHOTOS[name])
    height, width = given.size
    assert typed_photo.size == (2 * height, 2 * width)
    for kept in ("icc", "exif", "bits", "space"):
        assert getattr(typed_photo.traits, kept) == getattr(given.traits, kept)
    assert typed_photo.traits.dpi == (given.traits.dpi and pytest.approx(given.traits.dpi, abs=0.02))
    assert typed_photo.traits.notes.iptc == given.traits.notes.iptc
    assert set(given.traits.notes.all_comments) <= set(typed_photo.traits.notes.all_comments)
