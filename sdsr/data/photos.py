"""Photos on disk, by index: plain folders, WebDataset shards (.tar), single files, and folders of LQ-HQ pairs.

A photo is a range of bytes in some file, so a shard is read like a folder: its headers are indexed once, and any photo
is then one seek away. That keeps order, shuffling and resuming exact, which a stream of shards can't, and costs one
small record per photo in memory. Compressed shards have no such index and are refused.
"""

import glob
import io
import re
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image as pillow
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from sdsr.data.remote import Members, RemoteFile, remembered, remote_files
from sdsr.errors import InputError, LimitError
from sdsr.photos.depths import eight_bits
from sdsr.photos.files import read_photo
from sdsr.photos.formats import SUFFIXES as PHOTO_SUFFIXES
from sdsr.photos.urls import url_of, without_file_scheme
from sdsr.tensors import UInt8

Pixels = UInt8[Tensor, "3 height width"]
LowPixels = UInt8[Tensor, "3 low_height low_width"]  # Pixels of another size than those beside them

SUFFIXES = frozenset(PHOTO_SUFFIXES)
_INDEXED_AT_ONCE = 16
# most photos come in these, which are decoded without what training takes no notice of
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_RESOLUTION_TAG = re.compile(r"([_-](lr|lq|hr|hq|gt)\d*|[_-]?x\d+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file: all of them where `size` is None."""

    path: Path | RemoteFile
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        """The bytes; raises InputError where the file is gone or shorter than it was."""
        content = self.path.read(self.offset, self.size) if isinstance(self.path, RemoteFile) else self._read(self.path)
        if self.size is not None and len(content) < self.size:
            raise InputError(f"{self.path} is shorter than when it was indexed; copy it again.")
        return content

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                file.seek(self.offset)
                return file.read(-1 if self.size is None else self.size)
        except OSError as error:
            raise InputError(f"{path} can't be read ({error.strerror}); check the file.") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo: its key, and its bytes."""

    key: str
    photo: Span


@dataclass(slots=True)
class _Cache:
    """Decoded photos by index. Two threads that decode one photo at once count it twice, on the safe side."""

    photos: dict[int, Pixels] = field(default_factory=dict)
    used_bytes: int = 0

    def offer(self, index: int, pixels: Pixels, *, limit_bytes: int) -> None:
        if self.used_bytes + pixels.numel() <= limit_bytes:
            self.used_bytes += pixels.numel()
            self.photos[index] = pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSet:
    """Photos by index, decoded upright as 8-bit RGB.

    Up to `cache_bytes` of decoded photos stay in memory; nothing is evicted, as under shuffling no photo is worth more
    than another. Alpha is dropped, and color profiles are ignored where 8 bits of JPEG, PNG, WebP or TIFF are read:
    training photos are taken as they are.
    """

    entries: tuple[Entry, ...]
    cache_bytes: int = 0
    _cache: _Cache = field(default_factory=_Cache, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pixels:
        if (kept := self._cache.photos.get(index)) is not None:
            return kept
        entry = self.entries[index]
        pixels = decode(entry.photo.read(), name=f"{entry.key} ({entry.photo.path})")
        self._cache.offer(index, pixels, limit_bytes=self.cache_bytes)
        return pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSet:
    """Pairs of an LQ photo and its HQ photo, `scale` times as large."""

    lq: PhotoSet
    hq: PhotoSet
    scale: int = 4

    def __len__(self) -> int:
        return len(self.hq)

    def __getitem__(self, index: int) -> tuple[LowPixels, Pixels]:
        """(LQ, HQ); raises InputError where the sizes don't match."""
        lq = self.lq[index]
        hq = self.hq[index]
        (_, low, wide) = lq.shape
        (_, height, width) = hq.shape
        if (low * self.scale, wide * self.scale) != (height, width):
            raise InputError(
                f"pair {self.hq.entries[index].key}: HQ (={width}x{height}) must be {self.scale} times"
                f" LQ (={wide}x{low}); crop one of them or state another scale."
            )
        return lq, hq


def open_photos(paths: str | Path | Iterable[str | Path], *, cache_bytes: int = 0) -> PhotoSet:
    """The photos of folders (with their subfolders), shards, files and patterns such as "train-*.tar", each sorted.

    Shards may be named by URL ("s3://bucket/train-*.tar"). Raises InputError where a path doesn't exist or holds no
    photo.
    """
    listed = (paths,) if isinstance(paths, str | Path) else tuple(paths)
    sources = [source for path in listed for source in _expanded(path)]
    with ThreadPoolExecutor(_INDEXED_AT_ONCE) as pool:  # of shards by URL each takes some time, and no work
        entries = tuple(entry for found in pool.map(_entries, sources) for entry in found)
    if not entries:
        raise InputError("paths (=none) must name at least one folder, shard or photo.")
    return PhotoSet(entries=entries, cache_bytes=cache_bytes)


def open_pairs(
    lq: str | Path | Sequence[str | Path],
    hq: str | Path | Sequence[str | Path],
    *,
    scale: int = 4,
    cache_bytes: int = 0,
) -> PairSet:
    """Pairs matched by key; a resolution tag at its end (_LR4, _HR, x4, ...) doesn't count.

    Raises InputError where two photos of a side share a key or a photo has no partner.
    """
    sides = [_by_name(open_photos(paths), side) for paths, side in ((lq, "LQ"), (hq, "HQ"))]
    alone = sorted(sides[0].keys() ^ sides[1].keys())
    if alone:
        shown = ", ".join(alone[:3])
        raise InputError(f"photos without a partner (={len(alone)}: {shown}, ...) can't be paired; remove them.")
    low, high = (tuple(side[name] for name in sorted(sides[0])) for side in sides)
    return PairSet(
        lq=PhotoSet(entries=low, cache_bytes=cache_bytes // (scale**2 + 1)),
        hq=PhotoSet(entries=high, cache_bytes=cache_bytes - cache_bytes // (scale**2 + 1)),
        scale=scale,
    )


def decode(content: bytes, *, name: str = "photo") -> Pixels:
    """Upright 8-bit RGB of a photo file of any format; `name` is for the InputError of what can't be decoded.

    What Pillow has no 8-bit color or gray of is read as `sdsr upscale` reads it: other formats, 16 bits.
    """
    if not content:
        raise InputError(f"{name} can't be decoded (it is empty); remove it or copy it again.")
    pixels = _plainly(content, name)
    if pixels is None:
        try:
            pixels = eight_bits(read_photo(content).pixels)
        except (InputError, LimitError) as error:
            raise InputError(f"{name} can't be decoded: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _plainly(content: bytes, name: str) -> np.ndarray | None:
    """Return upright 8-bit RGB as Pillow has it; None of what it doesn't read as such."""
    try:
        with pillow.open(io.BytesIO(content), formats=_FORMATS) as opened:
            if opened.mode not in _MODES:
                return None
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError:
        return None
    except Exception as error:  # a damaged file can end in any
        raise InputError(f"{name} can't be decoded ({error}); remove it or save it again.") from error


def _expanded(path: str | Path) -> tuple[Path | RemoteFile, ...]:
    url = url_of(path)
    if url is not None:
        return remote_files(url)
    path = without_file_scheme(Path(path))
    if Path(path).exists() or not glob.has_magic(str(path)):
        return (Path(path),)
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise InputError(f"{path} matches nothing; check the pattern.")
    return tuple(Path(match) for match in found)


def _entries(path: Path | RemoteFile) -> tuple[Entry, ...]:
    if isinstance(path, RemoteFile):
        if not path.url.lower().endswith(".tar"):
            raise InputError(f"{path} is no shard; of URLs, name shards (.tar), such as s3://bucket/train-*.tar.")
        entries = _shard(path)
    elif path.is_dir():
        entries = _folder(path)
    elif path.suffix.lower() == ".tar":
        entries = _shard(path)
    elif path.is_file():
        entries = _folder(path.parent, (path,))
    else:
        raise InputError(f"{path} doesn't exist; name a folder, a .tar shard or a photo.")
    if not entries:
        raise InputError(f"{path} holds no photo ({', '.join(sorted(SUFFIXES))}); name shards as {path}/*.tar.")
    return entries


def _folder(folder: Path, paths: Sequence[Path] | None = None) -> tuple[Entry, ...]:
    found = sorted(folder.rglob("*")) if paths is None else paths
    entries = []
    for path in found:
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            entries.append(Entry(path.relative_to(folder).with_suffix("").as_posix(), Span(path)))
    return tuple(entries)


def _shard(path: Path | RemoteFile) -> tuple[Entry, ...]:
    """The photos of a shard."""
    members = remembered(path, lambda: _members(path)) if isinstance(path, RemoteFile) else _members(path)
    photos = {str(PurePosixPath(name).with_suffix("")): Span(path, offset, size) for name, offset, size in members}
    return tuple(Entry(key, photos[key]) for key in sorted(photos))


def _members(path: Path | RemoteFile) -> Members:
    """The photos in a shard."""
    try:
        file = path.open("rb") if isinstance(path, Path) else path.open()
        with file, tarfile.open(fileobj=file, mode="r:") as shard:
            return [
                (member.name, member.offset_data, member.size)
                for member in shard
                if member.isfile()
                and not (name := PurePosixPath(member.name)).name.startswith(".")
                and name.suffix.lower() in SUFFIXES
            ]
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path} is no uncompressed tar file ({error}); repack it without compression.") from error


def _by_name(photos: PhotoSet, side: str) -> dict[str, Entry]:
    named: dict[str, Entry] = {}
    for entry in photos.entries:
        name = _RESOLUTION_TAG.sub("", entry.key)
        if name in named:
            raise InputError(f"{side} photos {named[name].key} and {entry.key} have one name (={name}); rename one.")
        named[name] = entry
    return named
