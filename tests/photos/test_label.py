"""What a restored picture says of itself, read back by other programs than the one that wrote it."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from sdsr.images.arrays import as_photo
from sdsr.photos.files import Photo, Traits, encode_photo, read_photo
from sdsr.photos.formats import FORMATS, SUFFIX_OF
from sdsr.photos.label import IPTC, OWN, Step, is_labeled, labeled, last_step
from sdsr.photos.probe import probe
from sdsr.photos.source_types import COMPOSITE, SOURCE_TYPES
from sdsr.photos.xmp import EMPTY, MAX_BYTES, RDF, read_packet, utf8_packet

STEP = Step(software="sdsr", version="0.1.0", model="d3sr-small", facts={"seed": "3", "inputSha256": "ab" * 32})
OTHER = replace(STEP, model="invsr-small", version="0.2.0")
DC = "http://purl.org/dc/elements/1.1/"
CAPTURE = SOURCE_TYPES + "digitalCapture"
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def packet(body: str, about: str = "", attributes: str = "") -> bytes:
    """A packet as editors write it, with room to grow, around the properties of one node."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Another Program 1.0"><!-- a comment -->'
        f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="{about}" xmlns:dc="{DC}" xmlns:e="{IPTC}"'
        f" {attributes}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>{' ' * 300}\n"
        '<?xpacket end="w"?>'
    ).encode()


TITLE = "<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>Ann &amp; Bob 写真</rdf:li></rdf:Alt></dc:title>"


def nodes(xmp: bytes) -> list[ET.Element]:
    root = ET.fromstring(xmp)
    rdf = root if root.tag == f"{{{RDF}}}RDF" else root.find(f"{{{RDF}}}RDF")
    assert rdf is not None
    return list(rdf)


def values(xmp: bytes, name: str, namespace: str = IPTC) -> list[str]:
    """All values of a property, written as an attribute or as an element."""
    tag = f"{{{namespace}}}{name}"
    attributes = [node.attrib[tag] for node in nodes(xmp) if tag in node.attrib]
    return attributes + [(found.text or "").strip() for node in nodes(xmp) for found in node.findall(tag)]


def steps(xmp: bytes) -> list[dict[str, str]]:
    (sequence,) = (found for node in nodes(xmp) for found in node.findall(f"{{{OWN}}}Steps/{{{RDF}}}Seq"))
    return [{part.tag.partition("}")[2]: part.text or "" for part in item} for item in sequence]


def test_a_photo_without_xmp_gets_a_packet_that_says_all_of_it():
    xmp = labeled(None, STEP)
    assert values(xmp, "DigitalSourceType") == [COMPOSITE]
    assert values(xmp, "AISystemUsed") == ["sdsr d3sr-small"]
    assert values(xmp, "AISystemVersionUsed") == ["0.1.0"]
    assert steps(xmp) == [
        {"software": "sdsr", "version": "0.1.0", "model": "d3sr-small", "seed": "3", "inputSha256": "ab" * 32}
    ]
    assert xmp == labeled(None, STEP) == labeled(b"", STEP)
    assert xmp.startswith(b"<?xpacket begin")
    assert xmp.endswith(b'<?xpacket end="w"?>')


def test_what_the_photo_brought_stays_byte_for_byte():
    before = packet(TITLE, about="uuid:faf5bdd5")
    head, tail = before.split(b"</rdf:RDF>")
    after = labeled(before, STEP)
    assert after.startswith(head)
    assert after.endswith(b"</rdf:RDF>" + tail)
    assert {node.attrib[f"{{{RDF}}}about"] for node in nodes(after)} == {"uuid:faf5bdd5"}


@pytest.mark.parametrize(
    ("body", "attributes"),
    [
        (f"<e:DigitalSourceType>{CAPTURE}</e:DigitalSourceType>", ""),
        (f"<e:DigitalSourceType rdf:resource='{CAPTURE}'/>", ""),
        ("", f'e:DigitalSourceType = "{CAPTURE}"'),
        ("", f"dc:format='1>2' e:DigitalSourceType='{CAPTURE}'\n dc:source='e:DigitalSourceType=\"no\"'"),
    ],
)
def test_a_source_type_is_replaced_and_told_of_in_the_step(body, attributes):
    before = packet(TITLE + body, attributes=attributes)
    after = labeled(before, STEP)
    assert values(after, "DigitalSourceType") == [COMPOSITE]
    assert steps(after)[0]["inputDigitalSourceType"] == CAPTURE
    for name in ("title", "format", "source"):
        assert values(after, name, DC) == values(before, name, DC)
    assert "Ann & Bob 写真" in "".join(nodes(after)[0].itertext())


def test_a_picture_that_a_model_made_all_of_stays_one():
    made = SOURCE_TYPES + "trainedAlgorithmicMedia"
    body = f"<e:DigitalSourceType>{made}</e:DigitalSourceType><e:AISystemUsed>Another; one</e:AISystemUsed>"
    after = labeled(packet(body), STEP)
    assert values(after, "DigitalSourceType") == [made]
    assert values(after, "AISystemUsed") == ["Another; one; sdsr d3sr-small"]
    assert values(after, "AISystemVersionUsed") == ["unknown; 0.1.0"]


def test_properties_of_other_things_in_the_picture_are_none_of_its_own():
    body = f"<e:ArtworkOrObject><rdf:Bag><rdf:li e:DigitalSourceType='{CAPTURE}'/></rdf:Bag></e:ArtworkOrObject>"
    after = labeled(packet(body), STEP)
    assert body.encode() in after
    assert "inputDigitalSourceType" not in steps(after)[0]


def test_a_photo_restored_again_carries_every_step():
    once = labeled(packet(TITLE), STEP)
    twice = labeled(once, OTHER)
    thrice = labeled(twice, OTHER)
    assert [step["model"] for step in steps(twice)] == ["d3sr-small", "invsr-small"]
    assert [step["model"] for step in steps(thrice)] == ["d3sr-small", "invsr-small", "invsr-small"]
    assert steps(thrice)[:1] == steps(once)
    for xmp in (twice, thrice):
        assert values(xmp, "DigitalSourceType") == [COMPOSITE]
        assert values(xmp, "AISystemUsed") == ["sdsr d3sr-small; sdsr invsr-small"]
        assert values(xmp, "AISystemVersionUsed") == ["0.1.0; 0.2.0"]
    assert TITLE.encode() in thrice


def test_a_packet_without_rdf_and_with_undeclared_prefixes_keeps_what_it_says():
    odd = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="1" dc:rights="Ann"/></x:xmpmeta>'
    after = labeled(odd, STEP)
    assert after.startswith(odd[: odd.index(b"</x:xmpmeta>")])
    assert b"d3sr-small" in after
    for empty in (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        f'<rdf:RDF xmlns:rdf="{RDF}"/>'.encode(),
        f'<q:RDF xmlns:q="{RDF}"><q:Description q:about=""/></q:RDF>'.encode(),
    ):
        assert values(labeled(empty, STEP), "AISystemUsed") == ["sdsr d3sr-small"]


def test_steps_that_are_no_sequence_are_replaced():
    after = labeled(packet(f"<s:Steps xmlns:s='{OWN}'>nonsense</s:Steps>"), STEP)
    assert len(steps(after)) == 1
    assert b"nonsense" not in after


ENTITIES = (
    b'<!DOCTYPE x [<!ENTITY a "'
    + b"a" * 1000
    + b'">'
    + b"".join(b'<!ENTITY %c "%s">' % (b, b"&%c;" % (b - 1) * 10) for b in range(ord("b"), ord("k")))
    + b"]>"
)
HOSTILE = {
    "cut short": packet(TITLE)[:-400],
    "no xml": b"\x00\x01\x02 no packet",
    "empty": b"   ",
    "another document": b"<html><body/></html>",
    "two roots": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/><x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    "entity bomb": ENTITIES + b'<x:xmpmeta xmlns:x="adobe:ns:meta/">&j;</x:xmpmeta>',
    "external entity": b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x:xmpmeta xmlns:x="adobe:ns:meta/">&x;</x:xmpmeta>',
    "deep": b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</x:xmpmeta>",
    "many": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"' + b"".join(b' a%d=""' % n for n in range(100_001)) + b"/>",
    "many prefixes": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"'
    + b"".join(b' xmlns:a%d="u"' % n for n in range(1001))
    + b"/>",
    "long namespace": b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:a="' + b"u" * 1001 + b'"/>',
    "huge": b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b" " * MAX_BYTES + b"</x:xmpmeta>",
    "unknown encoding": b'<?xml version="1.0" encoding="no-such"?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    "another encoding": b'<?xml version="1.0" encoding="windows-1251"?><x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    "half of UTF-16": packet(TITLE).decode().encode("utf-16")[:-401],
    "broken UTF-8": packet(TITLE).replace("写".encode(), b"\xff\xfe"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_xmp_that_cannot_be_read_is_replaced_and_the_log_says_so(kind, caplog):
    assert labeled(HOSTILE[kind], STEP) == labeled(None, STEP)
    assert "can't be read" in caplog.text
    assert len(caplog.text) < 400


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig"])
def test_other_encodings_of_unicode_are_kept(encoding):
    text = packet(TITLE).decode().partition("?>\n")[2].partition("<?xpacket")[0]
    for declaration in ("", '<?xml version="1.0"?>'):
        after = labeled((declaration + text).encode(encoding), STEP)
        assert "Ann & Bob 写真" in "".join(nodes(after)[0].itertext())
        assert values(after, "AISystemUsed") == ["sdsr d3sr-small"]


def test_latin_1_that_says_so_is_kept():
    text = packet(TITLE.replace("写真", "é")).decode().partition("?>\n")[2]
    after = labeled(b'<?xml version="1.0" encoding="ISO-8859-1"?>' + text.encode("latin-1"), STEP)
    assert "Ann & Bob é" in "".join(nodes(after)[0].itertext())


def test_trailing_zeros_are_no_fault():
    after = labeled(packet(TITLE) + bytes(20), STEP)
    assert TITLE.encode() in after
    assert after.endswith(bytes(20))


@given(st.text(), st.text())
@example("]]>", "<a/>&amp;\r\n\t\x00\x0b\ud800\ufffe\U0010ffff\"'")
def test_any_text_can_be_said(model, prompt):
    xmp = labeled(None, replace(STEP, model=model, facts={"prompt": prompt}))
    told = steps(xmp)[0]["prompt"]
    assert len(told) == len(prompt)
    allowed = [(one, two) for one, two in zip(prompt, told, strict=True) if two != "\ufffd"]
    assert all(one == two for one, two in allowed)
    assert labeled(xmp, OTHER).count(b"<rdf:li") == 2


names = st.sampled_from(["dc:a", "e:DigitalSourceType", "e:AISystemUsed", "s:Steps", "rdf:Seq", "rdf:li", "none:b"])
blank = st.sampled_from(["", " ", "\n  "])


def elements(children):
    attributes = st.dictionaries(names, st.text("<>&'\"=/ ab", max_size=6), max_size=2)
    return st.builds(
        lambda name, given, inside, around: (
            f"{around}<{name}{''.join(f' {key}={quoted(value)}' for key, value in given.items())}>"
            f"{''.join(inside)}</{name}>"
            if inside
            else f"{around}<{name}{''.join(f' {key}={quoted(value)}' for key, value in given.items())}/>"
        ),
        names,
        attributes,
        st.lists(children, max_size=3),
        blank,
    )


def quoted(value: str) -> str:
    escaped = value.replace("&", "&amp;").replace("<", "&lt;")
    return f"'{escaped.replace(chr(39), '&apos;')}'" if '"' in escaped else f'"{escaped}"'


bodies = st.recursive(st.sampled_from(["", "text", "<!-- > -->", "<![CDATA[</x>]]>", "&amp;"]), elements, max_leaves=12)


@given(st.lists(bodies, max_size=4).map("".join))
def test_whatever_a_packet_holds_it_is_labeled_once_and_nothing_else_is_lost(body):
    before = packet(f"<q:w xmlns:q='urn:q' xmlns:s='{OWN}'/>{body}").replace(
        b"xmlns:dc=", b'xmlns:none="urn:none" xmlns:s="%s" xmlns:dc=' % OWN.encode()
    )
    after = labeled(before, STEP)
    assert values(after, "DigitalSourceType") in ([COMPOSITE], [SOURCE_TYPES + "trainedAlgorithmicMedia"])
    assert len(values(after, "AISystemUsed")) == len(values(after, "AISystemVersionUsed")) == 1
    assert steps(after)[-1]["model"] == "d3sr-small"

    def others(xmp: bytes) -> list[str]:
        ours = {f"{{{IPTC}}}{name}" for name in ("DigitalSourceType", "AISystemUsed", "AISystemVersionUsed")}
        ours.add(f"{{{OWN}}}Steps")
        kept = [part for part in nodes(xmp)[0] if part.tag not in ours]
        return [ET.tostring(part, encoding="unicode").strip() for part in kept]

    assert others(after) == others(before)
    assert labeled(after, STEP).count(b">d3sr-small<") == after.count(b">d3sr-small<") + 1


@given(st.binary(max_size=60), st.integers(0, len(packet(TITLE))), st.integers(0, 40))
def test_damage_anywhere_gives_a_label_all_the_same(damage, place, cut):
    whole = packet(TITLE)
    after = labeled(whole[:place] + damage + whole[place + cut :], STEP)
    assert read_packet(after).rdf is not None
    assert b">sdsr d3sr-small<" in after
    assert labeled(damage, STEP) == labeled(None, STEP)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_carries_it_beside_exif_and_profile(format):
    exif = Image.Exif()
    exif[0x010E] = "a description longer than four bytes"
    adobe = imagecodecs.cms_profile("adobergb") if FORMATS[format].profiles else None
    xmp = labeled(packet(TITLE), STEP)
    traits = Traits(exif=exif.tobytes()[6:], xmp=xmp, icc=adobe, dpi=(300.0, 300.0))
    data = encode_photo(Photo(pixels=PIXELS, traits=traits), format)
    if format in ("JPEG", "PNG", "WEBP", "TIFF"):
        with Image.open(io.BytesIO(data)) as image:
            assert image.info["xmp"] == xmp
            assert image.info["icc_profile"] == adobe
            assert image.getexif()[0x010E] == "a description longer than four bytes"
    assert (read_photo(data).traits.xmp, read_photo(data).traits.icc) == (xmp, adobe)
    assert probe(data).labeled
    assert not probe(encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=packet(TITLE))), format)).labeled


def test_the_file_a_photo_came_from_is_known_through_every_door(tmp_path):
    target = tmp_path / "photo.png"
    target.write_bytes(encode_photo(Photo(pixels=PIXELS), "PNG"))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    with Image.open(target) as untouched:
        assert as_photo(untouched).source_sha256 == digest
    assert read_photo(target).source_sha256 == read_photo(target.read_bytes()).source_sha256 == digest
    assert as_photo(PIXELS).source_sha256 is None


def test_orientation_in_utf_16_is_applied_and_reset():
    turned = packet("", attributes='xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"')
    xmp = turned.decode().partition("?>\n")[2].partition("<?xpacket")[0].encode("utf-16")
    data = encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=xmp)), "PNG")
    photo = read_photo(data)
    assert photo.size == (32, 24)
    assert b'tiff:Orientation="1"' in (photo.traits.xmp or b"")
    assert utf8_packet(EMPTY) == EMPTY


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not here")
@pytest.mark.parametrize("format", FORMATS)
def test_exiftool_reads_it_back(format, tmp_path):
    xmp = labeled(labeled(packet(TITLE), STEP), OTHER)
    target = tmp_path / f"photo{SUFFIX_OF[format]}"
    target.write_bytes(encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=xmp)), format))
    told = exiftool(target)
    assert told["XMP-iptcExt:DigitalSourceType"] == COMPOSITE
    assert told["XMP-iptcExt:AISystemUsed"] == "sdsr d3sr-small; sdsr invsr-small"
    assert told["XMP-iptcExt:AISystemVersionUsed"] == "0.1.0; 0.2.0"
    assert [step["Model"] for step in told["XMP-sdsr:Steps"]] == ["d3sr-small", "invsr-small"]
    assert [step["InputSha256"] for step in told["XMP-sdsr:Steps"]] == ["ab" * 32] * 2
    assert told["XMP-dc:Title"] == "Ann & Bob 写真"
    assert "ExifTool:Warning" not in told


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not here")
def test_a_label_that_exiftool_laid_out_anew_is_added_to(tmp_path):
    target = tmp_path / "photo.jpg"
    target.write_bytes(encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=labeled(None, STEP))), "JPEG"))
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP-dc:Title=Ann", target], check=True, timeout=60)
    xmp = labeled(read_photo(target).traits.xmp, OTHER)
    assert [step["model"] for step in steps(xmp)] == ["d3sr-small", "invsr-small"]
    assert steps(xmp)[0]["inputSha256"] == "ab" * 32
    assert b"Ann" in xmp


def exiftool(target) -> dict:
    shown = subprocess.run(
        ["exiftool", "-json", "-struct", "-G1", "-n", target], capture_output=True, check=True, timeout=60
    )
    return json.loads(shown.stdout)[0]


@pytest.mark.parametrize("before", [None, packet("<dc:title>x</dc:title>"), labeled(None, OTHER)])
def test_the_last_step_is_read_back(before):
    told = last_step(labeled(before, STEP))
    assert told == {"software": "sdsr", "version": "0.1.0", "model": "d3sr-small"} | dict(STEP.facts) | (
        {"inputDigitalSourceType": COMPOSITE} if before and b"Steps" in before else {}
    )


def test_a_step_is_read_through_another_programs_prefixes():
    told = re.sub(rb"\bsdsr(?=[:=])", b"own", re.sub(rb"\brdf(?=[:=])", b"r", labeled(None, STEP)))
    assert last_step(told)["seed"] == "3"


@pytest.mark.parametrize("xmp", [None, b"", b"no xml", EMPTY, packet("<dc:title>x</dc:title>"), b"<!DOCTYPE a><a/>"])
def test_no_step_is_read_where_there_is_none(xmp):
    assert last_step(xmp) == {}
    assert not is_labeled(xmp)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32-be"])
def test_a_label_is_found_in_each_encoding(encoding):
    assert is_labeled(labeled(packet(TITLE), STEP).decode().encode(encoding))


@pytest.mark.parametrize(
    "broken",
    [
        labeled(None, STEP)[:-100],
        b"<!DOCTYPE a>" + labeled(None, STEP),
        packet(f"<dc:title>{OWN}</dc:title>"),
        packet(f'<o:Steps xmlns:o="{OWN}"/>'),
        labeled(None, STEP) + b" " * MAX_BYTES,
        b"<a>" * 300 + OWN.encode(),
    ],
    ids=["cut off", "document type", "only named", "no steps", "too large", "too deep"],
)
def test_what_only_looks_like_a_label_is_none(broken):
    assert not is_labeled(broken)
