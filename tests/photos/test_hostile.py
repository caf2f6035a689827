import errno
import io
import os
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sdsr.errors import InputError, LimitError, OutputError
from sdsr.photos import files
from sdsr.photos.files import Limits, Photo, encode_photo, probe, read_photo, write_photo
from tests.pictures import saved, tiff

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
PHOTO = Photo(pixels=PIXELS)


def valid_files() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    adobe, deep = imagecodecs.cms_profile("adobergb"), PIXELS.astype(np.uint16) * 257
    traits = files.Traits(icc=adobe, exif=exif.tobytes()[6:], xmp=b"<x/>", dpi=(300.0, 300.0))
    rgba = Photo(pixels=PIXELS, alpha=PIXELS[..., 0].copy(), traits=traits)
    image = Image.fromarray(PIXELS)
    return {
        "jpeg": encode_photo(Photo(pixels=PIXELS, traits=traits), "JPEG"),
        "cmyk jpeg": saved(image.convert("CMYK"), "JPEG"),
        "progressive jpeg": saved(image, "JPEG", progressive=True, exif=exif),
        "png": encode_photo(rgba, "PNG"),
        "palette png": saved(image.quantize(16), "PNG", transparency=3),
        "16-bit png": encode_photo(Photo(pixels=deep), "PNG"),
        "webp": encode_photo(rgba, "WEBP"),
        "lossless webp": saved(image, "WEBP", lossless=True),
        "tiff": encode_photo(rgba, "TIFF"),
        "16-bit tiff": encode_photo(Photo(pixels=deep, traits=traits), "TIFF"),
        "avif": encode_photo(rgba, "AVIF"),
        "10-bit avif": encode_photo(Photo(pixels=deep, traits=files.Traits(bits=10, xmp=b"<x/>")), "AVIF"),
        "gray avif": saved(image.convert("L"), "AVIF"),
        "jxl": encode_photo(rgba, "JXL"),
        "bare jxl": encode_photo(Photo(pixels=PIXELS), "JXL"),
        "16-bit jxl": encode_photo(Photo(pixels=deep, traits=traits), "JXL"),
        "bmp": saved(image, "BMP"),
        "palette bmp": saved(image.quantize(16), "BMP"),
        "plain tiff": saved(image, "TIFF", exif=exif),
        "lzw tiff": saved(image, "TIFF", compression="tiff_lzw"),
        "packbits tiff": saved(image.convert("L"), "TIFF", compression="packbits"),
        "jpeg tiff": saved(image, "TIFF", compression="jpeg"),
        "jpeg tiff, directory first": tiff(PIXELS, photometric="ycbcr", compression="jpeg", metadata=None),
        "tiled tiff": tiff(PIXELS, photometric="rgb", tile=(16, 16), metadata=None),
    }


VALID = valid_files()


def refusal(data: bytes | Path, kind: type[InputError] = InputError, limits: Limits | None = None) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(kind) as caught:
        read_photo(data, limits or Limits())
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message, "a remedy follows the semicolon"
    return message


@pytest.mark.parametrize("name", VALID)
def test_valid_files_are_read(name):
    assert read_photo(VALID[name]).size in ((40, 56), (56, 40))


@pytest.mark.parametrize("name", VALID)
def test_truncation_at_every_percent_is_refused(name):
    whole = VALID[name]
    for percent in range(100):
        refusal(whole[: len(whole) * percent // 100])


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(VALID)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    head=st.booleans(),
    keep=st.floats(0.9, 1),
)
def test_flipped_bytes_give_a_photo_or_a_typed_error(name, flips, head, keep):
    data = bytearray(VALID[name])
    for place, value in flips:
        data[int(place * (min(len(data), 400) if head else len(data)))] ^= value
    with suppress(InputError):
        photo = read_photo(bytes(data[: int(len(data) * keep)]), Limits(max_input_pixels=1_000_000))
        assert photo.pixels.dtype in (np.uint8, np.uint16)


def test_empty_and_text_and_absent(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert "empty.jpg is empty" in refusal(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("this is no photo")
    assert "text.jpg is no photo" in refusal(tmp_path / "text.jpg")
    assert str(tmp_path) not in refusal(tmp_path / "absent.jpg")
    refusal(tmp_path)


def test_content_counts_not_the_suffix(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(VALID["png"])
    assert read_photo(tmp_path / "photo.jpg").traits.format == "PNG"


def giant(name: str) -> bytes:
    """Let the header of a valid file announce 60000x60000."""
    data = bytearray(VALID[name])
    if name == "png":
        struct.pack_into(">II", data, 16, 60000, 60000)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    elif name == "cmyk jpeg":
        start = data.index(b"\xff\xc0") + 5
        struct.pack_into(">HH", data, start, 60000, 60000)
    elif name == "tiff":
        for tag in (256, 257):
            struct.pack_into(">I", data, data.rindex(struct.pack(">HHI", tag, 4, 1)) + 8, 60000)
    return bytes(data)


@pytest.mark.parametrize("name", ["png", "cmyk jpeg", "tiff"])
def test_a_giant_is_refused_from_its_header(name):
    for action in (read_photo, probe):
        with pytest.raises(LimitError, match="60000x60000 \\(3600 MP\\), limit 200 MP"):
            action(giant(name))


def test_a_width_that_is_no_number_is_refused():
    data = bytearray(VALID["plain tiff"])
    struct.pack_into("<I", data, data.index(struct.pack("<HHI", 256, 4, 1)) + 4, 2)
    refusal(bytes(data))


def test_limits_are_the_callers():
    limits = Limits(max_input_pixels=40 * 56 - 1)
    assert "allow it by --max-megapixels 1 of `sdsr upscale` (in Python: Limits)" in refusal(
        VALID["png"], LimitError, limits
    )
    assert "allow it by --max-megapixels 200 " in refusal(VALID["png"], LimitError, Limits(max_file_bytes=99))
    with pytest.raises(InputError):
        read_photo(VALID["webp"][:12] + struct.pack("<4sI", b"VP8X", 10) + b"\0\0\0\0" + b"\xff" * 6)


def test_a_packed_bomb_in_the_metadata_is_left_out(caplog):
    bomb = zlib.compress(bytes(64 << 20), 9)
    body = b"ICC\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    plain = encode_photo(PHOTO, "PNG")
    assert read_photo(plain[:33] + chunk + plain[33:]).traits.icc is None
    assert "is left out" in caplog.text


def test_what_opens_but_is_no_photo_is_refused_with_the_reason():
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])
    several = {"save_all": True, "append_images": [second]}
    assert "animation (=2 frames)" in refusal(saved(first, "PNG", **several))
    assert "animation (=2 frames)" in refusal(saved(first, "WEBP", **several))
    assert "several pages" in refusal(saved(first, "TIFF", **several))
    assert "the GIF is an animation (=2 frames), limit 1; save its frames" in refusal(saved(first, "GIF", **several))
    assert "must be in 0 ... 1" in refusal(tiff(PIXELS.astype(np.float32), photometric="rgb"))
    assert "no photo" in refusal(tiff(PIXELS[..., 0].astype(np.int16), photometric="minisblack"))
    assert "color space" in refusal(saved(first.convert("YCbCr"), "TIFF"))


def test_a_thumbnail_beside_the_photo_is_no_second_page():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(PIXELS, photometric="rgb", metadata=None)
        writer.write(PIXELS[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_photo(file.getvalue()).pixels, PIXELS)


def write_refusal(target: Path, kind: type[Exception] = OutputError, photo: Photo = PHOTO, **options) -> str:
    """Return the one line with which writing fails; nothing new may lie in the folder."""
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else None
    with pytest.raises(kind) as caught:
        write_photo(photo, target, **options)
    if before is not None:
        assert sorted(target.parent.iterdir()) == before
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message
    return message


def test_targets_that_cannot_be_written(tmp_path):
    assert "create it first" in write_refusal(tmp_path / "absent" / "a.png")
    assert "use one of .jpg" in write_refusal(tmp_path / "a.xyz", InputError)
    (tmp_path / "folder.png").mkdir()
    assert "exists already" in write_refusal(tmp_path / "folder.png")
    assert "a folder has this one" in write_refusal(tmp_path / "folder.png", overwrite=True)
    clear = Photo(pixels=PIXELS, alpha=PIXELS[..., 0].copy())
    assert "write one of PNG, WebP, TIFF, AVIF, JPEG XL" in write_refusal(tmp_path / "a.jpg", InputError, clear)
    wide = Photo(pixels=np.zeros((1, 16384, 3), np.uint8))
    assert "WEBP holds (16383 px" in write_refusal(tmp_path / "a.webp", LimitError, wide)


def test_read_only_folder(tmp_path, monkeypatch):
    if os.geteuid():
        tmp_path.chmod(0o500)
    else:  # root may write everywhere

        def refuse(path, *_):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        monkeypatch.setattr(Path, "open", refuse)
    assert "a folder you may write to" in write_refusal(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "jxl"])
def test_full_disk(tmp_path, monkeypatch, suffix):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / f"a.{suffix}").write_bytes(b"old")
    assert "free some space" in write_refusal(tmp_path / f"a.{suffix}", overwrite=True)
    assert (tmp_path / f"a.{suffix}").read_bytes() == b"old"


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a disk that fills up")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "jxl"])
def test_disk_that_fills_up(small_disk, suffix):
    noise = Photo(pixels=np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    assert "free" in write_refusal(small_disk / f"a.{suffix}", photo=noise)
    write_photo(PHOTO, small_disk / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "jxl"])
def test_what_reads_back_otherwise_is_not_published(tmp_path, monkeypatch, suffix):
    encode = files.encode

    def encode_black(file, layout):
        black = Photo(pixels=np.zeros_like(layout.photo.pixels))
        encode(file, files.lay_out(black, layout.format))

    monkeypatch.setattr(files, "encode", encode_black)
    assert "another picture" in write_refusal(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "jxl"])
def test_what_was_cut_on_the_way_is_not_published(tmp_path, monkeypatch, suffix):
    encode = files.encode

    def encode_half(file, layout):
        encode(file, layout)
        file.truncate(file.seek(0, 2) // 2)

    monkeypatch.setattr(files, "encode", encode_half)
    assert "can't be read back" in write_refusal(tmp_path / f"a.{suffix}")


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_photo(PHOTO, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_many_writers_one_wins(tmp_path, monkeypatch, hard_links):
    if not hard_links:

        def refuse(*_):
            raise PermissionError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)

    def attempt(_) -> bool:
        try:
            write_photo(PHOTO, tmp_path / "a.png")
        except OutputError:
            return False
        return True

    with ThreadPoolExecutor(4 if hard_links else 1) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_reading_in_many_threads_gives_each_its_own():
    expected = {name: read_photo(data).pixels for name, data in VALID.items()}
    names = [*VALID] * 4
    with ThreadPoolExecutor(4) as pool:
        for name, photo in zip(names, pool.map(lambda n: read_photo(VALID[n]), names), strict=True):
            np.testing.assert_array_equal(photo.pixels, expected[name])
