"""What is no photo we read is refused by its name, with a word on what to use instead."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdsr.errors import InputError
from sdsr.photos.files import format_of, probe, read_photo
from sdsr.photos.foreign import BY_SUFFIX, known_by_content, known_by_suffix
from sdsr.photos.formats import SUFFIXES

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
IMAGE = Image.fromarray(PIXELS)


def saved(format: str, **options) -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, format, **options)
    return file.getvalue()


def media(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0isommp42" + bytes(99)


def zipped(name: str, content: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("photo.png"))
    return file.getvalue()


def tiff(samples: np.ndarray = PIXELS, photometric: int = 2, extratags: tuple = ()) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, photometric=photometric, extratags=extratags)
    return file.getvalue()


def preview_of_raw() -> bytes:
    """A file as NEF and ARW are built: a preview, with the mosaic in a subfile."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(PIXELS[::4, ::4], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        writer.write(PIXELS[..., 0].astype(np.uint16), photometric="minisblack", metadata=None)
    return file.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "icon": (saved("ICO", sizes=[(16, 16)]), "an icon"),
    "PPM": (saved("PPM"), "a Netpbm"),
    "PCX": (saved("PCX"), "a rare format"),
    "SGI": (saved("SGI"), "a rare format"),
    "DDS": (saved("DDS"), "a texture"),
    "JPEG 2000": (saved("JPEG2000"), "a JPEG 2000"),
    "JPEG 2000 codestream": (bytes(imagecodecs.jpeg2k_encode(PIXELS, codecformat="j2k")), "a JPEG 2000"),
    "JPEG XR": (bytes(imagecodecs.jpegxr_encode(PIXELS)), "a JPEG XR"),
    "JPEG-LS": (bytes(imagecodecs.jpegls_encode(PIXELS)), "a JPEG-LS"),
    "Photoshop": (b"8BPS\0\1" + bytes(99), "a layered picture"),
    "HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "high dynamic range"),
    "EXR": (b"\x76\x2f\x31\x01" + bytes(99), "high dynamic range"),
    "DICOM": (bytes(128) + b"DICM" + bytes(99), "a DICOM"),
    "PDF": (saved("PDF"), "a document"),
    "EPS": (saved("EPS"), "a document"),
    "DOCX": (zipped("[Content_Types].xml"), "a document"),
    "ODT": (zipped("mimetype", b"application/vnd.oasis.opendocument.text"), "a document"),
    "old DOC": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "a document"),
    "ZIP": (zipped("photo.png", b"x"), "an archive"),
    "TAR": (tarred(), "an archive"),
    "GZIP": (gzip.compress(b"x"), "an archive"),
    "SVG": (b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="x">', "a vector drawing"),
    "HTML": (b"\n<!DOCTYPE html><title>404</title>", "a web page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "MP4": (media(b"isom"), "a video"),
    "MOV": (media(b"qt  "), "a video"),
    "old MOV": (b"\0\1\0\0moov" + bytes(99), "a video"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", "a video"),
    "MKV": (b"\x1a\x45\xdf\xa3" + bytes(99), "a video"),
    "MPEG": (b"\0\0\1\xba" + bytes(99), "a video"),
    "MPEG-TS": ((b"\x47" + bytes(187)) * 4, "a video"),
    "M4A": (media(b"M4A "), "a sound file"),
    "WAV": (b"RIFF\0\0\0\0WAVEfmt ", "a sound file"),
    "HEIC of several": (media(b"hevc"), "a HEIC of several pictures"),
    "CR3": (media(b"crx "), "raw file"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "raw file"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "raw file"),
    "ORF": (b"IIRO\x08\0\0\0", "raw file"),
    "RW2": (b"IIU\0\x08\0\0\0", "raw file"),
    "DNG": (tiff(extratags=((50706, 1, 4, (1, 4, 0, 0), True),)), "raw file"),
    "mosaic": (tiff(PIXELS[..., 0], photometric=32803, extratags=((33421, 3, 2, (2, 2), True),)), "raw file"),
    "NEF": (preview_of_raw(), "raw file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_photo_is_refused_by_name(name: str, tmp_path: Path) -> None:
    data, says = FILES[name]
    (tmp_path / "photo.jpg").write_bytes(data)
    for source in (data, tmp_path / "photo.jpg"):
        for action in (probe, read_photo):
            with pytest.raises(InputError) as caught:
                action(source)
            message = str(caught.value)
            assert says in message
            assert ";" in message, "a remedy follows the semicolon"
            assert "\n" not in message


def test_a_raw_file_without_any_sign_but_its_suffix_is_not_read_as_its_preview(tmp_path: Path) -> None:
    for suffix in (".nef", ".ARW", ".pef", ".dng"):
        (tmp_path / f"a{suffix}").write_bytes(tiff())
        with pytest.raises(InputError, match="raw file, which isn't read; develop it"):
            read_photo(tmp_path / f"a{suffix}")


def test_what_only_the_suffix_tells_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.tga").write_bytes(bytes(99))
    with pytest.raises(InputError, match=r"a\.tga ends like a Targa picture, which isn't read; save it as PNG"):
        read_photo(tmp_path / "a.tga")


def test_a_photo_under_a_strange_suffix_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(saved("PNG"))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.gif").pixels, PIXELS)


def test_a_preview_that_comes_first_is_passed_over_for_its_photo() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(PIXELS[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(PIXELS, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(read_photo(file.getvalue()).pixels, PIXELS)


@pytest.mark.parametrize("suffix", [".gif", ".bmp", ".HEIC", ".mp4", ".pdf", ".dng"])
def test_no_such_file_is_written_either(suffix: str) -> None:
    with pytest.raises(InputError, match=r"out\S+ would be an? .*, which isn't written; use one of \.jpg"):
        format_of(Path(f"out{suffix}"))


def test_no_suffix_is_both_a_photo_and_foreign() -> None:
    assert not SUFFIXES.keys() & BY_SUFFIX.keys()
    assert all(known_by_suffix(suffix.upper()) for suffix in BY_SUFFIX)


@given(st.binary(max_size=600))
def test_any_bytes_get_an_answer(head: bytes) -> None:
    known_by_content(head)
    with pytest.raises(InputError) as caught:
        read_photo(head)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 255), st.integers(0, 255))
def test_no_flat_tiff_is_taken_for_a_raw_file(level: int, other: int) -> None:
    pixels = np.full((8, 8, 3), level, np.uint8)
    pixels[:, 1::2] = other
    np.testing.assert_array_equal(read_photo(tiff(pixels)).pixels, pixels)
