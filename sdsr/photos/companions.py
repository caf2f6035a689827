"""What phones put beside the picture in a JPEG: gain maps for HDR screens, videos. A restored photo has none of them.

They are named, so that their loss is said, and what the XMP says of them is cut out, so that no viewer looks for them.
Sources: Ultra HDR image format 1.1; ISO 21496-1; Motion Photo format 1.0; Apple's auxiliary image types.
"""

from sdsr.photos.xmp import BROKEN, Edit, Element, Name, Packet, read_packet

_ADOBE_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_APPLE_GAIN_MAP = "http://ns.apple.com/HDRGainMap/1.0/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_MARKS = (
    _ADOBE_GAIN_MAP.encode(),
    _APPLE_GAIN_MAP.encode(),
    b"urn:iso:std:iso:ts:21496:-1",
    b"urn:com:apple:photo:2020:aux:hdrgainmap",
)
_VIDEO_MARKS = (b"MotionPhoto_Data",)

GAIN_MAP = "a gain map (HDR)"
VIDEO = "a video (motion photo)"


def companions(data: bytes, xmp: bytes | None) -> tuple[tuple[str, ...], bytes | None]:
    """Return what a JPEG holds beside its picture, in words, and its XMP without what it says of that."""
    claims = _claims(xmp) if xmp else []
    names = {name for name, _ in claims}
    gain_map = any(data.count(mark) > (xmp.count(mark) if xmp else 0) for mark in _MARKS)
    gain_map = gain_map or any(space in (_ADOBE_GAIN_MAP, _APPLE_GAIN_MAP) for space, _ in names)
    video = any(mark in data for mark in _VIDEO_MARKS) or any(space == _CAMERA for space, _ in names)
    lost = (GAIN_MAP,) * gain_map + (VIDEO,) * video
    if not claims or xmp is None:
        return lost, xmp
    return lost, read_packet(xmp).edited({edit for _, edit in claims})


def _claims(xmp: bytes) -> list[tuple[Name, Edit]]:
    """Return the names of what a packet says of gain maps, videos and where they lie, and the edits that cut it out."""
    try:
        packet = read_packet(xmp)
    except BROKEN:
        return []
    return [claim for node in packet.nodes for claim in _claims_of(packet, node)]


def _claims_of(packet: Packet, node: Element) -> list[tuple[Name, Edit]]:
    names = [name for name in node.attributes if _is_claim(name)]
    claims = [(name, edit) for name in names for edit in packet.without_attributes(node, [name])]
    elements = [child for child in node.children if _is_claim(child.name)]
    return claims + [(child.name, (packet.line_start(child), child.end, b"")) for child in elements]


def _is_claim(name: Name) -> bool:
    space, local = name
    if space == _CAMERA:
        return local.startswith(("MotionPhoto", "MicroVideo"))
    return space in (_ADOBE_GAIN_MAP, _APPLE_GAIN_MAP) or (space, local) == (_CONTAINER, "Directory")
