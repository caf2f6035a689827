import io
import os
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image as pillow

from sdsr.data.photos import decode, open_pairs, open_photos
from sdsr.errors import InputError
from sdsr.photos.files import Photo, write_photo
from sdsr.photos.formats import FORMATS, Format
from tests.pictures import difference, smooth

SHARED = Path(__file__).parents[2] / "../shared/data"


def encoded(color: int, size: tuple[int, int] = (6, 4), form: str = "PNG", **options) -> bytes:
    stored = io.BytesIO()
    pillow.new("RGB", size, (color, 0, 255 - color)).save(stored, form, **options)
    return stored.getvalue()


def shard(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    (root / "b.png").write_bytes(encoded(20))
    (root / "a.JPG").write_bytes(encoded(10, form="JPEG"))
    (root / "deep/c.webp").write_bytes(encoded(30, form="WEBP", lossless=True))
    (root / "deep/d.tif").write_bytes(encoded(40, form="TIFF"))
    (root / "b.txt").write_text("a red barn\n")
    (root / ".hidden.png").write_bytes(b"junk")
    (root / "notes.md").write_text("not a photo")
    return root


def test_folder_is_read_recursively_and_sorted(folder):
    photos = open_photos(folder)
    assert [entry.key for entry in photos.entries] == ["a", "b", "deep/c", "deep/d"]
    assert [photos[i][0, 0, 0].item() for i in (1, 2, 3)] == [20, 30, 40]
    assert photos[1].shape == (3, 4, 6)
    assert photos[1].dtype == torch.uint8


def test_shard_is_read_at_random(tmp_path):
    members = {f"k{i:02}.{form}": encoded(i, form="PNG") for i, form in enumerate(("png", "jpg", "png", "png"))}
    members |= {"k01.txt": b"one\n", "./sub/x.png": encoded(99), "k02.json": b"{}", "._k02.png": b"junk"}
    photos = open_photos(shard(tmp_path / "s.tar", dict(reversed(members.items()))))
    assert [entry.key for entry in photos.entries] == ["k00", "k01", "k02", "k03", "sub/x"]
    assert [photos[i][0, 0, 0].item() for i in (4, 1, 3, 0, 1)] == [99, 1, 3, 0, 1]


def test_shards_by_url_are_those_of_files_and_indexed_once(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *names, **options: tmp_path / "cache")
    bucket = fsspec.filesystem("memory")
    for name in ("t-1.tar", "t-0.tar"):
        path = shard(tmp_path / name, {f"{name}.png": encoded(7), f"sub/{name}.jpg": encoded(9), f"{name}.txt": b"one"})
        bucket.pipe_file(f"/shards/{name}", path.read_bytes())
    url = Path("memory://shards/t-*.tar")  # as a command line has it
    photos, of_files = open_photos(url), open_photos(f"file://{tmp_path}/t-*.tar")
    assert [entry.key for entry in photos.entries] == [entry.key for entry in of_files.entries]
    assert len(photos) == 4
    assert all(torch.equal(photos[i], of_files[i]) for i in (3, 0, 2, 1))
    with monkeypatch.context() as once:
        once.setattr("sdsr.data.photos._members", lambda path: pytest.fail("indexed again"))
        assert open_photos(url).entries == photos.entries
    bucket.pipe_file("/shards/t-0.tar", bucket.cat_file("/shards/t-0.tar")[:600])  # another file of that name
    with pytest.raises(InputError, match=r"no uncompressed tar file|holds no photo"):
        open_photos(url)
    with pytest.raises(InputError, match="shorter than when it was indexed"):
        photos[0]
    with pytest.raises(InputError, match="matches nothing"):
        open_photos("memory://shards/none-*.tar")
    bucket.store.clear()


def test_folders_shards_files_and_patterns_mix(folder, tmp_path):
    for name in ("t-1.tar", "t-0.tar"):
        shard(tmp_path / name, {f"{name}.png": encoded(1)})
    photos = open_photos([folder, str(tmp_path / "t-*.tar"), folder / "b.png"])
    assert [entry.key for entry in photos.entries] == ["a", "b", "deep/c", "deep/d", "t-0.tar", "t-1.tar", "b"]


def test_cache_keeps_what_fits(folder):
    size = 3 * 4 * 6
    photos = open_photos(folder, cache_bytes=2 * size + 1)
    first = [photos[i] for i in range(4)]
    again = [photos[i] for i in range(4)]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False, False]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert open_photos(folder)[0] is not photos[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(orientation):
    exif = pillow.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255  # a white corner, which each orientation puts elsewhere
    stored = io.BytesIO()
    pillow.fromarray(pixels).save(stored, "PNG", exif=exif)
    upright = decode(stored.getvalue())
    assert upright.shape == ((3, 16, 24) if orientation <= 4 else (3, 24, 16))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    row, column = corner[orientation]
    assert upright[0, row, column] == 255
    assert (upright[0] == 255).sum() == 64


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_8_bit_mode_becomes_rgb(mode):
    stored = io.BytesIO()
    pillow.new("RGB", (5, 3), (255, 255, 255)).convert(mode).save(stored, "TIFF" if mode in ("CMYK", "1") else "PNG")
    assert torch.equal(decode(stored.getvalue()), torch.full((3, 3, 5), 255, dtype=torch.uint8))


def test_16_bit_gray_is_read_as_8():
    stored = io.BytesIO()
    pillow.fromarray(np.full((4, 4), 40000, np.uint16)).save(stored, "PNG")
    assert decode(stored.getvalue()).unique().tolist() == [round(40000 / 257)]


def test_damaged_photos_are_named(folder):
    (folder / "deep/d.tif").write_bytes(encoded(40, (60, 60), "JPEG")[:300])
    (folder / "a.JPG").write_text("text")
    photos = open_photos(folder)
    for index in (0, 3):
        with pytest.raises(InputError, match=rf"{photos.entries[index].key}.* can't be decoded"):
            photos[index]


def test_what_is_gone_or_shrunk_is_named(folder, tmp_path):
    photos = open_photos([folder, shard(tmp_path / "s.tar", {"x.png": encoded(1)})])
    (folder / "a.JPG").unlink()
    os.truncate(tmp_path / "s.tar", 520)
    with pytest.raises(InputError, match=r"a\.JPG can't be read"):
        photos[0]
    with pytest.raises(InputError, match="shorter than when it was indexed"):
        photos[4]


def test_sources_without_photos_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    shard(tmp_path / "packed.tar", {"x.png": encoded(1)}, "w:gz")
    shard(tmp_path / "texts.tar", {"x.txt": b"x"})
    for path, message in (
        ("missing", "doesn't exist"),
        ("empty", "holds no photo"),
        ("texts.tar", "holds no photo"),
        ("packed.tar", "without compression"),
        ("none-*.tar", "matches nothing"),
    ):
        with pytest.raises(InputError, match=message):
            open_photos(tmp_path / path)
    with pytest.raises(InputError, match=r"paths \(=none\)"):
        open_photos([])


def write_pairs(root: Path, names: dict[str, str], scale: int = 4) -> None:
    for side in ("lq", "hq"):
        (root / side).mkdir(exist_ok=True)
    for color, (low, high) in enumerate(names.items()):
        (root / "lq" / low).write_bytes(encoded(color, (5, 3)))
        (root / "hq" / high).write_bytes(encoded(color, (5 * scale, 3 * scale)))


def test_pairs_are_matched_whatever_their_resolution_tags(tmp_path):
    names = {
        "Canon_010_LR4.png": "Canon_010_HR.png",
        "0801x4.png": "0801.png",
        "nikon_003.png": "nikon_003.png",
        "b-lq.png": "b-gt.png",
    }
    write_pairs(tmp_path, names)
    pairs = open_pairs(tmp_path / "lq", tmp_path / "hq")
    assert len(pairs) == 4
    for lq, hq in (pairs[i] for i in range(4)):
        assert (lq.shape, hq.shape) == ((3, 3, 5), (3, 12, 20))
        assert lq[0, 0, 0] == hq[0, 0, 0]


def test_pairs_that_do_not_match_are_named(tmp_path):
    write_pairs(tmp_path, {"a_LR4.png": "a_HR.png", "b_LR4.png": "c_HR.png"})
    with pytest.raises(InputError, match=r"without a partner \(=2: b, c"):
        open_pairs(tmp_path / "lq", tmp_path / "hq")
    (tmp_path / "hq/c_HR.png").rename(tmp_path / "hq/b_HR.png")
    with pytest.raises(InputError, match=r"pair a_HR: HQ \(=20x12\) must be 2 times LQ \(=5x3\)"):
        open_pairs(tmp_path / "lq", tmp_path / "hq", scale=2)[0]
    (tmp_path / "lq/b_LR2.png").write_bytes(encoded(1))
    with pytest.raises(InputError, match=r"LQ photos b_LR2 and b_LR4 have one name \(=b\)"):
        open_pairs(tmp_path / "lq", tmp_path / "hq")


@pytest.mark.skipif(not (SHARED / "photos/val.tar").exists(), reason="needs ../shared/data")
def test_shared_shard_and_pairs():
    photos = open_photos(SHARED / "photos/val.tar")
    assert len(photos) == 48
    assert min(photos[7].shape[1:]) >= 256
    pairs = open_pairs(SHARED / "realsr/LR", SHARED / "realsr/HR")
    assert len(pairs) == 100
    assert pairs[3][1].shape == (3, 512, 512)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", r" \(it is empty\)"), (b"GIF89a", ": the photo is damaged"), (b"%PDF-", ": the photo is a document, which")],
)
def test_what_is_no_photo_is_said_in_words(content: bytes, why: str) -> None:
    with pytest.raises(InputError, match=rf"^a can't be decoded{why}"):
        decode(content, name="a")


@pytest.mark.parametrize(
    ("format", "bits"),
    [(format, bits) for format, facts in FORMATS.items() for bits in (8, 16) if bits in facts.depths],
)
def test_every_format_that_is_restored_is_trained_on(format: Format, bits: int, tmp_path: Path) -> None:
    pixels = smooth(24, 40, dtype=np.uint8 if bits == 8 else np.uint16)
    for suffix in FORMATS[format].suffixes:
        write_photo(Photo(pixels=pixels), tmp_path / f"a{suffix}")
    photos = open_photos(tmp_path)
    assert len(photos) == len(FORMATS[format].suffixes)
    wanted = pixels if bits == 8 else np.rint(pixels / 257).astype(np.uint8)
    assert difference(photos[0].permute(1, 2, 0).numpy(), wanted) <= (1 if FORMATS[format].lossless else 10)
