"""Words that belong to a photo, besides EXIF and XMP: PNG's text chunks, JPEG's comments, IPTC.

They come back into formats that have a place for them, byte for byte where it is the same format. Sources: PNG
specification, third edition, 11.3.3; Photoshop file format, image resources; IPTC-IIM 4.2; exiftool's "raw profiles".
"""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sdsr.photos.formats import Format

IPTC = 0x0404
_COMMENT = b"Comment"
_RESOURCE = b"8BIM"
_KEPT_RESOURCES = (IPTC, 0x040A, 0x040B, 0x0425)  # IPTC, copyright flag, its address, IPTC's digest
_IIM_MARK = b"\x1c"
_MAX_BYTES = 16 << 20
_COMMENTS: tuple[Format, ...] = ("JPEG", "PNG")
_IPTC: tuple[Format, ...] = ("JPEG", "PNG", "TIFF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """`texts` are PNG chunks (kind, body); `comments` JPEG's; `resources` Photoshop's image resources with IPTC."""

    texts: tuple[tuple[bytes, bytes], ...] = ()
    comments: tuple[bytes, ...] = ()
    resources: bytes | None = None

    @property
    def all_comments(self) -> tuple[bytes, ...]:
        """JPEG's comments, and in UTF-8 those of PNG's keyword Comment, each once."""
        texts = tuple(text_of(*chunk) for chunk in self.texts if keyword_of(chunk[1]) == _COMMENT)
        return tuple(dict.fromkeys((*self.comments, *(text.encode() for text in texts if text))))

    @property
    def iptc(self) -> bytes | None:
        """The IPTC-IIM records themselves."""
        return next((body for number, body in resources_of(self.resources or b"") if number == IPTC), None)

    def lost_in(self, format: Format) -> str | None:
        """Return what a format has no place for, in words."""
        lost = []
        if format != "PNG" and any(keyword_of(body) != _COMMENT for _, body in self.texts):
            keywords = dict.fromkeys(keyword_of(body).decode("latin-1") for _, body in self.texts)
            lost.append(f"text ({', '.join(keywords)[:100]})")
        if format not in _COMMENTS and self.all_comments:
            lost.append("comments")
        if format not in _IPTC and self.resources:
            lost.append("IPTC")
        return " and ".join(lost) or None


def keyword_of(body: bytes) -> bytes:
    """Return the keyword of a PNG text chunk."""
    return body.partition(b"\0")[0]


def text_of(kind: bytes, body: bytes) -> str | None:
    """Return the text of a PNG chunk; None where it can't be unpacked."""
    rest = body.partition(b"\0")[2]
    try:
        match kind:
            case b"tEXt":
                return rest.decode("latin-1")
            case b"zTXt":
                return inflate(rest[1:]).decode("latin-1")
        packed = rest[0]
        text = rest[2:].split(b"\0", 2)[2]
        return (inflate(text) if packed else text).decode("utf-8", "replace")
    except (IndexError, ValueError, zlib.error):
        return None


def inflate(packed: bytes) -> bytes:
    """Unpack metadata. Raises ValueError for what is cut short or unpacks to more than 16 MiB, zlib.error."""
    inflater = zlib.decompressobj()
    plain = inflater.decompress(packed, _MAX_BYTES)
    if not inflater.eof:
        raise ValueError(f"it is cut short or unpacks to more than {_MAX_BYTES} bytes")
    return plain


def note_chunks(notes: Notes) -> Iterator[tuple[bytes, bytes]]:
    """Yield notes as PNG chunks. JPEG's comments have no encoding: they are UTF-8 where they can be, else Latin-1."""
    yield from notes.texts
    for comment in notes.comments:
        try:
            text = comment.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            text = comment.rstrip(b"\0").decode("latin-1")
        yield text_chunk(_COMMENT.decode(), text.replace("\0", " "))
    if notes.resources:
        yield raw_profile_chunk("iptc", notes.resources)


def raw_profile(text: str) -> bytes:
    """Return what the text of a "Raw profile type ..." holds: a name, a length and hexadecimal digits."""
    found = re.fullmatch(r"\s*\S*\s+(\d+)\s+([0-9a-fA-F\s]*)", text)
    if found is None:
        raise ValueError("no raw profile")
    return bytes.fromhex(found[2])[: int(found[1])]


def raw_profile_chunk(name: str, profile: bytes) -> tuple[bytes, bytes]:
    """Return the zTXt chunk that holds a raw profile, as exiftool and ImageMagick read it."""
    digits = profile.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    packed = zlib.compress(f"\n{name}\n{len(profile):8}\n{lines}\n".encode())
    return b"zTXt", f"Raw profile type {name}".encode() + b"\0\0" + packed


def resources_of(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, body) of Photoshop's image resources, as far as they make sense."""
    start = 0
    while block.startswith(_RESOURCE, start) and start + 12 <= len(block):
        number, name = struct.unpack_from(">HB", block, start + 4)
        start += 6 + name + 1 + (name + 1) % 2
        if start + 4 > len(block):
            return
        (size,) = struct.unpack_from(">I", block, start)
        start += 4
        if start + size > len(block):
            return
        yield number, block[start : start + size]
        start += size + size % 2


def kept_resources(block: bytes) -> bytes | None:
    """Return the image resources that are words, laid out anew; no previews, paths or sizes. None without any.

    Bare IPTC-IIM records count as their resource.
    """
    if block.startswith(_IIM_MARK):
        return _resource(IPTC, block)
    kept = [(number, body) for number, body in resources_of(block) if number in _KEPT_RESOURCES]
    return b"".join(_resource(*resource) for resource in kept) or None


def text_chunk(keyword: str, text: str) -> tuple[bytes, bytes]:
    """Return the PNG chunk of a text. Raises UnicodeEncodeError for a keyword outside Latin-1."""
    name = keyword.encode("latin-1")
    try:
        return b"tEXt", name + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", name + bytes(5) + text.encode("utf-8", "replace")


def resource_block(resources: Mapping[int, bytes]) -> bytes | None:
    """Return image resources (number: body) as a block, of those that are words."""
    return kept_resources(b"".join(_resource(number, body) for number, body in resources.items()))


def _resource(number: int, body: bytes) -> bytes:
    return _RESOURCE + struct.pack(">HHI", number, 0, len(body)) + body + bytes(len(body) % 2)
