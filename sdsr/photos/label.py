"""What a restored picture says of itself, in XMP: that a model had a part in it, which one, how, and from what.

Standard properties of IPTC Photo Metadata 2025.1 for everybody's programs, and a sequence of steps in a namespace of
our own. Nothing in it depends on clock, host, path or device: equal request, equal bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdsr.photos.hostile import first_line
from sdsr.photos.remarks import Remarks
from sdsr.photos.source_types import COMPOSITE
from sdsr.photos.xmp import BROKEN, EMPTY, RDF, Edit, Element, Name, Packet, escaped, read_packet, utf8_packet

remarks = Remarks(__name__)

IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
OWN = "urn:uuid:a6c2291e-c259-4762-8e77-9fdcbb78f03f#"

_SOURCE_TYPE = (IPTC, "DigitalSourceType")
_SYSTEM = (IPTC, "AISystemUsed")
_VERSION = (IPTC, "AISystemVersionUsed")
_STANDARD: tuple[Name, ...] = (_SOURCE_TYPE, _SYSTEM, _VERSION)
_STEPS: Name = (OWN, "Steps")
_SEQUENCE: Name = (RDF, "Seq")
_WHOLLY_MADE = "trainedAlgorithmicMedia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One restoration: by which software and model, with which settings, from which photo.

    `facts` are written in their order, one property each; a name is letters and digits.
    """

    software: str
    version: str
    model: str
    facts: Mapping[str, str] = field(default_factory=dict)


def labeled(xmp: bytes | None, step: Step) -> bytes:
    """Return the XMP of a photo with a step added to what it says; all else in it stays byte for byte.

    XMP that can't be read is replaced, with a warning.
    """
    if xmp:
        try:
            return _added(read_packet(utf8_packet(xmp)), step)
        except BROKEN as error:
            remarks.warning("the photo's XMP can't be read (%s) and is left out.", first_line(error))
    return _added(read_packet(EMPTY), step)


def source_type(xmp: bytes | None) -> str:
    """Return IPTC's source type of a picture that a model has a part in, after what its XMP says already."""
    if not xmp:
        return COMPOSITE
    try:
        return _source_type(_value(read_packet(utf8_packet(xmp)), _SOURCE_TYPE))
    except BROKEN:
        return COMPOSITE


def last_step(xmp: bytes | None) -> dict[str, str]:
    """Return what the label of the last restoration says, by name; empty where there is none that can be read."""
    if not xmp:
        return {}
    try:
        packet = read_packet(utf8_packet(xmp))
        sequence = _sequence(packet)
        if sequence is None:
            return {}
        steps = read_packet(b'<r:RDF xmlns:r="%s">%s</r:RDF>' % (RDF.encode(), packet.alone(sequence)))
    except BROKEN:
        return {}
    items = steps.root.children[0].children
    return {fact.name[1]: fact.text.strip() for fact in items[-1].children if fact.name[0] == OWN} if items else {}


def is_labeled(xmp: bytes | None) -> bool:
    """Whether the XMP of a picture says that it was restored by this library; what can't be read says nothing."""
    return xmp is not None and OWN.encode() in utf8_packet(xmp) and bool(last_step(xmp))


def _added(packet: Packet, step: Step) -> bytes:
    """Return the packet with the step in it. Raises one of `BROKEN` where what comes out would be no packet."""
    earlier = {name: _value(packet, name) for name in _STANDARD}
    sequence = _sequence(packet)
    edits = [edit for node in packet.nodes for edit in _cut(packet, node, sequence)]
    item = _item(step, earlier[_SOURCE_TYPE])
    if sequence is not None:
        edits.append(packet.appended(sequence, item))
    description = _description(packet, step, earlier, None if sequence is not None else item)
    if packet.rdf is not None:
        edits.append(packet.appended(packet.rdf, description))
    else:
        envelope = b' <rdf:RDF xmlns:rdf="%s">\n%s </rdf:RDF>\n' % (RDF.encode(), description)
        edits.append(packet.appended(packet.root, envelope))
    return read_packet(packet.edited(edits)).data


def _value(packet: Packet, name: Name) -> str:
    """Return what a property says, whichever way it is written; empty where it isn't there."""
    for node in packet.nodes:
        if name in node.attributes:
            return node.attributes[name].strip()
        if (element := node.child(name)) is not None:
            return element.attributes.get((RDF, "resource"), element.text).strip()
    return ""


def _sequence(packet: Packet) -> Element | None:
    """Return the sequence of earlier steps."""
    steps = [child for node in packet.nodes for child in node.children if child.name == _STEPS]
    return next((found for step in steps if (found := step.child(_SEQUENCE)) is not None), None)


def _cut(packet: Packet, node: Element, sequence: Element | None) -> list[Edit]:
    """Return the edits that take out of a node what will be said anew."""
    edits = packet.without_attributes(node, (*_STANDARD, _STEPS))
    said_anew = [child for child in node.children if child.name in _STANDARD]
    said_anew += [child for child in node.children if child.name == _STEPS and sequence not in child.children]
    return edits + [(packet.line_start(child), child.end, b"") for child in said_anew]


def _description(packet: Packet, step: Step, earlier: Mapping[Name, str], item: bytes | None) -> bytes:
    """Return the node with the standard properties, and with the sequence of steps where this is the first."""
    system = f"{step.software} {step.model}"
    version = step.version
    if earlier[_SYSTEM] and not _ends_with(earlier, system, version):
        system = f"{earlier[_SYSTEM]}; {system}"
        version = f"{earlier[_VERSION] or 'unknown'}; {version}"
    elif earlier[_SYSTEM]:
        system = earlier[_SYSTEM]
        version = earlier[_VERSION]
    standard = {"DigitalSourceType": _source_type(earlier[_SOURCE_TYPE]), "AISystemUsed": system}
    standard["AISystemVersionUsed"] = version
    lines = [f"   <Iptc4xmpExt:{name}>{escaped(value)}</Iptc4xmpExt:{name}>" for name, value in standard.items()]
    if item is not None:
        lines.append(f"   <sdsr:Steps><rdf:Seq>{item.decode()}</rdf:Seq></sdsr:Steps>")
    return "\n".join(
        (
            f'  <rdf:Description rdf:about="{escaped(packet.about)}" xmlns:rdf="{RDF}"',
            f'    xmlns:Iptc4xmpExt="{IPTC}" xmlns:sdsr="{OWN}">',
            *lines,
            "  </rdf:Description>\n",
        )
    ).encode()


def _ends_with(earlier: Mapping[Name, str], system: str, version: str) -> bool:
    """Whether the system that was used last is this one, in this version."""
    return (earlier[_SYSTEM].split("; ")[-1], earlier[_VERSION].split("; ")[-1]) == (system, version)


def _source_type(earlier: str) -> str:
    """Return what is said of the picture's origin: edited with a model, unless it said already that one made it all."""
    return earlier if earlier.rpartition("/")[2] == _WHOLLY_MADE else COMPOSITE


def _item(step: Step, source_type: str) -> bytes:
    """Return the step as an item of the sequence, which declares its prefixes itself."""
    facts = {"software": step.software, "version": step.version, "model": step.model, **step.facts}
    if source_type:
        facts["inputDigitalSourceType"] = source_type
    lines = [f"     <sdsr:{name}>{escaped(value)}</sdsr:{name}>" for name, value in facts.items()]
    opening = f'<rdf:li rdf:parseType="Resource" xmlns:rdf="{RDF}" xmlns:sdsr="{OWN}">'
    return "\n".join(("", f"    {opening}", *lines, "    </rdf:li>")).encode()
