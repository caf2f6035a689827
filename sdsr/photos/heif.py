"""Files of items, as AVIF is built: which item is the photo, what describes it, and where its bytes are.

Source: ISO/IEC 23008-12 (HEIF), sections 6 and 9; ISO/IEC 14496-12, 8.11.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from sdsr.photos.boxes import box, boxes, full_box

Property = tuple[bytes, bytes]
"""The kind of a property, and its body."""


@dataclass(slots=True, kw_only=True)
class Item:
    """An item: its kind, what describes it, references to other items by kind, and where its bytes are."""

    kind: bytes
    content_type: bytes = b""
    properties: list[Property] = field(default_factory=list)
    references: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    extents: list[tuple[int, int]] = field(default_factory=list)

    def property(self, kind: bytes) -> bytes | None:
        """Return the body of the first property of a kind."""
        return next((body for found, body in self.properties if found == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The items of a file by number, and which is the photo."""

    data: bytes
    primary: int
    items: dict[int, Item]

    def payload(self, number: int) -> bytes:
        """Return the bytes of an item. Raises ValueError where they lie behind the end."""
        extents = self.items[number].extents
        if not extents or any(start + length > len(self.data) for start, length in extents):
            raise ValueError(f"the bytes of item {number} lie behind the end")
        return b"".join(self.data[start : start + (length or len(self.data))] for start, length in extents)

    def referring(self, kind: bytes, number: int) -> list[int]:
        """Return the items that refer to one in a way."""
        return [other for other, item in self.items.items() if number in item.references.get(kind, ())]


def read_items(data: bytes) -> Items:
    """Return the items of a file. Raises ValueError, KeyError or struct.error where they make no sense."""
    top = {kind: (start, end) for kind, start, end in reversed(list(boxes(data)))}
    start, end = top[b"meta"]
    meta = {kind: (begin, stop) for kind, begin, stop in boxes(data, start + 4, end)}
    items = _infos(data, *meta[b"iinf"])
    _locate(data, *meta[b"iloc"], items, meta.get(b"idat", (0, 0))[0])
    if b"iref" in meta:
        _refer(data, *meta[b"iref"], items)
    if b"iprp" in meta:
        _describe(data, *meta[b"iprp"], items)
    begin, _ = meta[b"pitm"]
    (primary,) = struct.unpack_from(">I" if data[begin] else ">H", data, begin + 4)
    return Items(data=data, primary=primary, items=items)


def _infos(data: bytes, start: int, end: int) -> dict[int, Item]:
    items: dict[int, Item] = {}
    for kind, begin, stop in boxes(data, start + (8 if data[start] else 6), end):
        if kind != b"infe" or data[begin] < 2:
            continue
        wide = data[begin] > 2
        (number,) = struct.unpack_from(">I" if wide else ">H", data, begin + 4)
        begin += 10 if wide else 8
        names = data[begin + 4 : stop].split(b"\0")
        items[number] = Item(kind=data[begin : begin + 4], content_type=names[1] if len(names) > 1 else b"")
    return items


def _locate(data: bytes, start: int, end: int, items: dict[int, Item], idat: int) -> None:
    """Note where the bytes of each item are."""
    version = data[start]
    sizes = data[start + 4] >> 4, data[start + 4] & 15, data[start + 5] >> 4, data[start + 5] & 15
    offset_bytes, length_bytes, base_bytes, index_bytes = sizes
    at = start + 6

    def number(count: int) -> int:
        nonlocal at
        if at + count > end:
            raise ValueError("the places of items are cut short")
        at += count
        return int.from_bytes(data[at - count : at], "big")

    for _ in range(number(4 if version == 2 else 2)):
        item = items.get(number(4 if version == 2 else 2), Item(kind=b""))
        method = number(2) & 15 if version else 0
        number(2)  # of another file, which there is none of
        base = number(base_bytes) + (idat if method == 1 else 0)
        for _ in range(number(2)):
            number(index_bytes if version else 0)
            item.extents.append((base + number(offset_bytes), number(length_bytes)))
        if method > 1:
            item.extents.clear()


def _refer(data: bytes, start: int, end: int, items: dict[int, Item]) -> None:
    pattern = "I" if data[start] else "H"
    for kind, begin, _ in boxes(data, start + 4, end):
        source, count = struct.unpack_from(f">{pattern}H", data, begin)
        begin += struct.calcsize(f">{pattern}H")
        if source in items:
            items[source].references[kind] = struct.unpack_from(f">{count}{pattern}", data, begin)


def _describe(data: bytes, start: int, end: int, items: dict[int, Item]) -> None:
    """Give each item its properties, in their order."""
    parts = {kind: (begin, stop) for kind, begin, stop in boxes(data, start, end)}
    described = [(kind, data[begin:stop]) for kind, begin, stop in boxes(data, *parts[b"ipco"])]
    at, _ = parts[b"ipma"]
    identifier = ">I" if data[at] else ">H"
    wide = data[at + 3] & 1
    (entries,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(entries):
        (number,) = struct.unpack_from(identifier, data, at)
        at += struct.calcsize(identifier) + 1
        count = data[at - 1]
        indices = struct.unpack_from(f">{count}{'H' if wide else 'B'}", data, at)
        at += count * (2 if wide else 1)
        for index in (value & (0x7FFF if wide else 0x7F) for value in indices):
            if index and number in items:
                items[number].properties.append(described[index - 1])


_ESSENTIAL = (b"av1C", b"irot", b"imir", b"clap")


def write_items(brands: bytes, items: Sequence[tuple[Item, bytes]]) -> bytes:
    """Return a file of items and their bytes, numbered from 1; the first is the photo."""
    properties = list(dict.fromkeys(one for item, _ in items for one in item.properties))
    infos = []
    references = []
    associations = []
    for number, (item, _) in enumerate(items, 1):
        content_type = item.content_type + b"\0" if item.kind == b"mime" else b""
        infos.append(full_box(b"infe", struct.pack(">HH4s", number, 0, item.kind), b"\0", content_type, version=2))
        for kind, targets in item.references.items():
            references.append(box(kind, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets)))
        indices = bytes(properties.index(one) + 1 | (128 if one[0] in _ESSENTIAL else 0) for one in item.properties)
        associations.append(struct.pack(">HB", number, len(indices)) + indices)
    described = box(
        b"iprp",
        box(b"ipco", *(box(kind, body) for kind, body in properties)),
        full_box(b"ipma", struct.pack(">I", len(items)), *associations),
    )
    head = box(b"ftyp", brands)
    fixed = (
        full_box(b"iinf", struct.pack(">H", len(items)), *infos),
        full_box(b"iref", *references) if references else b"",
        described,
    )
    empty = _meta(fixed, items, 0)
    meta = _meta(fixed, items, len(head) + len(empty) + 8)
    return head + meta + box(b"mdat", *(payload for _, payload in items))


def _meta(fixed: tuple[bytes, ...], items: Sequence[tuple[Item, bytes]], start: int) -> bytes:
    """Return the box that says all of the items, whose bytes begin at `start`."""
    places = []
    for number, (_, payload) in enumerate(items, 1):
        places.append(struct.pack(">HHHII", number, 0, 1, start, len(payload)))
        start += len(payload)
    return full_box(
        b"meta",
        full_box(b"hdlr", b"\0\0\0\0pict", bytes(13)),
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iloc", struct.pack(">HH", 0x4400, len(items)), *places),
        *fixed,
    )
