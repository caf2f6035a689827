"""XMP packets: found in them what stands where, so that parts are cut out and put in and all else stays byte for byte.

Read by expat, never by an entity: a document type is refused. Source: ISO 16684-1 (XMP), sections 7.3 to 7.9.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat

from sdsr.photos.hostile import HOSTILE

Name = tuple[str | None, str]
"""Namespace (None where it was never declared) and local name."""
Edit = tuple[int, int, bytes]
"""From and to which byte of a packet, and what takes the place of these bytes."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
BROKEN: tuple[type[Exception], ...] = (expat.ExpatError, *HOSTILE)
"""What reading a packet from anywhere may raise."""
EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    b' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    b" </rdf:RDF>\n"
    b"</x:xmpmeta>\n"
    b'<?xpacket end="w"?>'
)
MAX_BYTES = 16 << 20
_MAX_DEPTH = 256
_KEPT_DEPTH = 5  # the envelope, RDF, its nodes, their properties, and an array's container
_MAX_KEPT = 100_000  # elements so high up, and attributes of all
_MAX_PREFIXES = 1000
_MAX_URI = 1000
_MAX_TEXT = 4096
_START_TAG = re.compile(rb"<(?>[^\"'>]+|\"[^\"]*\"|'[^']*')*+>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_PREFIX = re.compile(rb"(?<=[\s</])([^\s<>/\"'=:]++):")
_DECLARATION = re.compile(r"^\ufeff?<\?xml\s[^>]*\?>\s*")
_NARROW = re.compile(rb"<\?xml\s[^>]*encoding\s*=\s*[\"'](iso-8859-1|latin-?1|windows-1252)[\"']", re.IGNORECASE)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)


@dataclass(slots=True, kw_only=True, eq=False)
class Element:
    """An element and where it stands: it starts, its start tag ends (`opened`), its end tag starts, and it ends.

    The last three are the same where it is empty. `attributes` are without declarations of prefixes; `text` is the
    first 4096 characters or more of its own, without its children's.
    """

    name: Name
    tag: str
    start: int
    opened: int
    namespaces: dict[str, str]
    attributes: dict[Name, str]
    closed: int = 0
    end: int = 0
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def child(self, name: Name) -> "Element | None":
        """Return the first child of that name."""
        return next((child for child in self.children if child.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet's bytes in UTF-8, and what stands in them."""

    data: bytes
    root: Element
    rdf: Element | None

    @property
    def nodes(self) -> list[Element]:
        """What RDF describes, each node with properties of the one resource that a packet is about."""
        return self.rdf.children if self.rdf else []

    @property
    def about(self) -> str:
        """The name of that resource, usually empty."""
        return next((node.attributes[RDF, "about"] for node in self.nodes if (RDF, "about") in node.attributes), "")

    def edited(self, edits: Iterable[Edit]) -> bytes:
        """Return the bytes with parts exchanged that don't overlap."""
        parts = []
        position = 0
        for start, end, put in sorted(edits):
            assert start >= position, "edits overlap"
            parts += [self.data[position:start], put]
            position = end
        return b"".join((*parts, self.data[position:]))

    def appended(self, element: Element, content: bytes) -> Edit:
        """Return the edit that puts more at the end of what an element holds."""
        if element.opened < element.end:
            return element.closed, element.closed, content
        tag = self.data[element.start : element.end].removesuffix(b"/>")
        return element.start, element.end, tag + b">" + content + b"</" + element.tag.encode() + b">"

    def line_start(self, element: Element) -> int:
        """Return where the blanks before an element begin."""
        start = element.start
        while self.data[start - 1 : start].isspace():
            start -= 1
        return start

    def without_attributes(self, element: Element, names: Iterable[Name]) -> list[Edit]:
        """Return the edits that cut attributes of these names out of an element's start tag."""
        wanted = set(names) & element.attributes.keys()
        first = element.start + 1 + len(element.tag.encode())
        found = _ATTRIBUTE.finditer(self.data, first, element.opened) if wanted else ()
        return [
            (match.start(), match.end(), b"")
            for match in found
            if resolved(match[1].decode(), element.namespaces, attribute=True) in wanted
        ]

    def alone(self, element: Element) -> bytes:
        """Return an element's bytes, to stand elsewhere: with declarations of the prefixes that are used in it."""
        content = self.data[element.start : element.end]
        behind = 1 + len(element.tag.encode())
        own = {match[1] for match in _ATTRIBUTE.finditer(content, behind, element.opened - element.start)}
        used = {b"", *_PREFIX.findall(content)}
        missing = b"".join(
            b' %s="%s"' % (name, escaped(uri).encode())
            for prefix, uri in element.namespaces.items()
            if prefix.encode() in used and (name := f"xmlns:{prefix}".encode().removesuffix(b":")) not in own
        )
        return content[:behind] + missing + content[behind:]


def read_packet(xmp: bytes) -> Packet:
    """Return what stands where in a packet in UTF-8; raise one of `BROKEN` for what is none.

    That is what isn't well-formed, has a document type, is larger than 16 MiB or deeper than 256 levels, or has another
    root than XMP's envelope or RDF. Prefixes that were never declared do no harm.
    """
    if len(xmp) > MAX_BYTES:
        raise ValueError(f"{len(xmp)} bytes, limit {MAX_BYTES}")
    reader = _Reader(data=xmp)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.XmlDeclHandler = _refuse_encoding
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = lambda tag, given: reader.start(tag, given, parser.CurrentByteIndex)
    parser.EndElementHandler = lambda _: reader.end(parser.CurrentByteIndex)
    parser.CharacterDataHandler = reader.text
    parser.Parse(xmp.rstrip(b"\0"), True)
    root = reader.root
    assert root is not None, "a document has a root"
    if root.name == (RDF, "RDF"):
        return Packet(data=xmp, root=root, rdf=root)
    if root.name not in ((META, "xmpmeta"), (META, "xapmeta")):
        raise ValueError(f"root {root.tag[:40]}, not x:xmpmeta or rdf:RDF")
    return Packet(data=xmp, root=root, rdf=root.child((RDF, "RDF")))


def utf8_packet(xmp: bytes) -> bytes:
    """Return a packet of UTF-16, UTF-32 or Latin-1 in UTF-8, without XML declaration; any other as it is."""
    encoding = next((name for mark, name in _WIDE if xmp.startswith(mark)), None)
    if encoding is None and (declared := _NARROW.match(xmp)):
        encoding = declared[1].decode()
    if encoding is None:
        return xmp
    try:
        text = xmp.decode(encoding)
    except UnicodeDecodeError:
        return xmp
    return _DECLARATION.sub("", text).encode("utf-8", "replace")


def escaped(text: str) -> str:
    """Return text for XML in ASCII; what no XML may hold becomes the replacement character."""
    allowed = _FORBIDDEN.sub("\ufffd", text)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;")):
        allowed = allowed.replace(character, entity)
    return allowed.encode("ascii", "xmlcharrefreplace").decode()


def resolved(name: str, namespaces: dict[str, str], *, attribute: bool = False) -> Name:
    """Return a prefixed name's namespace and local name; attributes without prefix have none."""
    prefix, colon, local = name.rpartition(":")
    return (namespaces.get(prefix) if colon or not attribute else None), local


def _refuse_document_type(*_: object) -> None:
    raise ValueError("a document type, which no XMP has")


def _refuse_encoding(_: str, encoding: str | None, __: int) -> None:
    if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise ValueError(f"encoding {encoding[:40]}")


@dataclass(slots=True, kw_only=True)
class _Reader:
    """What expat tells, as elements."""

    data: bytes
    root: Element | None = None
    open: list[Element] = field(default_factory=list)
    depth: int = 0
    kept: int = 0

    def start(self, tag: str, given: dict[str, str], index: int) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} levels")
        if self.depth > _KEPT_DEPTH:
            return
        self.kept += 1 + len(given)
        if self.kept > _MAX_KEPT:
            raise ValueError(f"more than {_MAX_KEPT} elements and attributes")
        declared = {name: uri for name, uri in given.items() if name.partition(":")[0] == "xmlns"}
        namespaces = self._namespaces(declared)
        match = _START_TAG.match(self.data, index)
        if match is None:
            raise ValueError("no start tag where one is announced")
        element = Element(
            name=resolved(tag, namespaces),
            tag=tag,
            start=index,
            opened=match.end(),
            namespaces=namespaces,
            attributes={
                resolved(name, namespaces, attribute=True): value
                for name, value in given.items()
                if name not in declared
            },
        )
        if self.open:
            self.open[-1].children.append(element)
        self.root = self.root or element
        self.open.append(element)

    def _namespaces(self, declared: dict[str, str]) -> dict[str, str]:
        """Return what prefixes mean inside an element: what they mean around it, and what it declares (`xmlns:...`)."""
        around = self.open[-1].namespaces if self.open else {}
        if any(len(uri) > _MAX_URI for uri in declared.values()):
            raise ValueError(f"the name of a namespace has more than {_MAX_URI} characters")
        namespaces = around | {name[6:]: uri for name, uri in declared.items()} if declared else around
        if len(namespaces) > _MAX_PREFIXES:
            raise ValueError(f"more than {_MAX_PREFIXES} prefixes")
        return namespaces

    def end(self, index: int) -> None:
        self.depth -= 1
        if self.depth >= _KEPT_DEPTH:
            return
        element = self.open.pop()
        if self.data.endswith(b"/>", element.start, element.opened):
            element.closed = element.end = element.opened
        else:
            element.closed = index
            element.end = self.data.index(b">", index) + 1

    def text(self, text: str) -> None:
        if self.depth == len(self.open) and self.open and len(self.open[-1].text) < _MAX_TEXT:
            self.open[-1].text += text
