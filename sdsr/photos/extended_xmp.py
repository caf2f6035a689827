"""XMP in JPEG, whose segments hold 64 KB: what is larger goes on in segments of its own.

Source: XMP Specification, part 3, Storage in Files (Adobe): JPEG, extended XMP.
"""

import hashlib
import struct
from collections.abc import Iterable

from sdsr.photos.hostile import first_line
from sdsr.photos.remarks import Remarks
from sdsr.photos.xmp import BROKEN, EMPTY, MAX_BYTES, Element, Packet, escaped, read_packet, utf8_packet

remarks = Remarks(__name__)

NOTE = "http://ns.adobe.com/xmp/note/"
MAIN_BYTES = 65504
"""What the segment of the main packet holds, beside its name."""
_SEGMENT = b"http://ns.adobe.com/xmp/extension/\0"
_HEAD = struct.Struct(">32sII")  # MD5 of the extension in hexadecimal, its size, and where this piece begins
_PIECE_BYTES = 65400
_MARKER = b"\xff\xe1"
_EXTENDED = (NOTE, "HasExtendedXMP")
_BARE = EMPTY[EMPTY.index(b"<x:xmpmeta") : EMPTY.index(b"<?xpacket end")]


def join_xmp(main: bytes | None, segments: Iterable[bytes]) -> bytes | None:
    """Return one packet of a JPEG's main one and of its APP1 segments' contents, of which others than XMP are ignored.

    An extension that is incomplete, or another packet's, is left out with a warning.
    """
    pieces = [segment[len(_SEGMENT) :] for segment in segments if segment.startswith(_SEGMENT)]
    if not main or not pieces:
        return main
    try:
        packet = read_packet(utf8_packet(main))
        return _joined(packet, _assembled(pieces, _digest(packet)))
    except BROKEN as error:
        remarks.warning("the second part of the photo's XMP can't be read (%s) and is left out.", first_line(error))
        return main


def split_xmp(xmp: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the main packet, and the contents of APP1 segments for what it has no room for.

    What describes the picture last, such as its label, stays in the main one. Raises one of `BROKEN` where the packet
    is too large and can't be read.
    """
    if len(xmp) <= MAIN_BYTES:
        return xmp, ()
    packet = read_packet(xmp)
    room = MAIN_BYTES - len(_framed(EMPTY, [_note(packet.about, "0" * 32)]))
    kept: list[bytes] = []
    extended: list[bytes] = []
    for node in reversed(packet.nodes):
        content = packet.alone(node) + b"\n"
        fits = len(content) <= room
        room -= len(content) if fits else 0
        (kept if fits else extended).insert(0, content)
    if not extended:  # it was large by padding, or by what is in no node
        return _framed(EMPTY, kept), ()
    extension = _framed(_BARE, extended)
    digest = _md5(extension)
    return _framed(EMPTY, [*kept, _note(packet.about, digest)]), tuple(
        _SEGMENT + _HEAD.pack(digest.encode(), len(extension), start) + extension[start : start + _PIECE_BYTES]
        for start in range(0, len(extension), _PIECE_BYTES)
    )


def jpeg_xmp(xmp: bytes | None) -> dict[str, bytes]:
    """Return the arguments with which Pillow writes XMP of any size into a JPEG.

    Empty ones, logged, where it is too large for a segment and can't be read to be parted.
    """
    try:
        main, segments = split_xmp(xmp or b"")
    except BROKEN as error:
        remarks.warning("XMP of %d bytes can't be parted (%s) and is left out.", len(xmp or b""), first_line(error))
        return {"xmp": b"", "extra": b""}
    return {"xmp": main, "extra": b"".join(_MARKER + struct.pack(">H", len(part) + 2) + part for part in segments)}


def _assembled(pieces: list[bytes], digest: str) -> bytes:
    """Return the extension of this MD5."""
    found: dict[int, bytes] = {}
    size = 0
    for piece in pieces:
        named, total, start = _HEAD.unpack_from(piece)
        if named.decode("ascii", "replace").upper() == digest:
            found[start] = piece[_HEAD.size :]
            size = total
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes, limit {MAX_BYTES}")
    extension = b"".join(found[start] for start in sorted(found))
    if len(extension) != size or _md5(extension) != digest:
        raise ValueError(f"{len(extension)} bytes of {size}, or others than announced")
    return extension


def _joined(packet: Packet, extension: bytes) -> bytes:
    """Return the packet with the nodes of its extension, and without the note of it."""
    assert packet.rdf is not None, "the note stands in it"
    more = read_packet(utf8_packet(extension))
    edits = [edit for node in packet.nodes for edit in packet.without_attributes(node, [_EXTENDED])]
    edits += [(child.start, child.end, b"") for child in _notes(packet)]
    edits.append(packet.appended(packet.rdf, b"".join(more.alone(node) + b"\n" for node in more.nodes)))
    return read_packet(packet.edited(edits)).data


def _digest(packet: Packet) -> str:
    attributes = [node.attributes[_EXTENDED] for node in packet.nodes if _EXTENDED in node.attributes]
    digests = [*attributes, *(child.text for child in _notes(packet))]
    if not digests:
        raise ValueError("the first part doesn't name it")
    return digests[0].strip().upper()


def _notes(packet: Packet) -> list[Element]:
    return [child for node in packet.nodes for child in node.children if child.name == _EXTENDED]


def _note(about: str, digest: str) -> bytes:
    named = (
        f'<rdf:Description rdf:about="{escaped(about)}" xmlns:xmpNote="{NOTE}" xmpNote:HasExtendedXMP="{digest}"/>\n'
    )
    return named.encode()


def _framed(frame: bytes, nodes: list[bytes]) -> bytes:
    packet = read_packet(frame)
    assert packet.rdf is not None, "the frame has a place for nodes"
    return packet.edited([packet.appended(packet.rdf, b"".join(nodes))])


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()
