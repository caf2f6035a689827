"""XMP that is too large for one segment of a JPEG: parted and joined, here and by exiftool."""

import hashlib
import io
import json
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdsr.photos.extended_xmp import MAIN_BYTES, NOTE, join_xmp, split_xmp
from sdsr.photos.files import Photo, Traits, encode_photo, read_photo
from sdsr.photos.label import Step, labeled
from sdsr.photos.xmp import MAX_BYTES, RDF

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
STEP = Step(software="sdsr", version="0.1.0", model="d3sr-small")
PREFIX = b"http://ns.adobe.com/xmp/extension/\0"


def packet(*sizes: int, padding: int = 0) -> bytes:
    """A packet of nodes, each with a text of so many characters, on prefixes that are declared high up."""
    nodes = "".join(
        f'<rdf:Description rdf:about="x" q:source{number}="{number}"><q:text{number}>{"ä" * size}</q:text{number}>'
        "</rdf:Description>"
        for number, size in enumerate(sizes)
    )
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:q="urn:q?a=1&amp;b=2"><rdf:RDF xmlns:rdf="{RDF}">'
        f"{nodes}</rdf:RDF></x:xmpmeta>{' ' * padding}"
    ).encode()


def said(xmp: bytes) -> list[str]:
    """Everything a packet says, in any order."""
    rdf = ET.fromstring(xmp).find(f"{{{RDF}}}RDF")
    assert rdf is not None
    attributes = [f"{name}={value}" for node in rdf for name, value in node.attrib.items() if "HasExtended" not in name]
    return sorted({*attributes, *(ET.tostring(part, encoding="unicode").strip() for node in rdf for part in node)})


@pytest.mark.parametrize(
    "sizes", [(40_000,), (100_000, 10), (10, 100_000), (20_000, 20_000, 20_000), (500_000,), (31_000, 2_000)]
)
def test_what_is_parted_says_the_same_once_joined(sizes):
    xmp = labeled(packet(*sizes), STEP)
    main, segments = split_xmp(xmp)
    assert len(main) <= MAIN_BYTES
    assert b">sdsr d3sr-small<" in main
    assert all(len(segment) <= 65533 for segment in segments)
    joined = join_xmp(main, [b"Exif\0\0...", *reversed(segments)])
    assert joined is not None
    assert said(joined) == said(xmp)
    assert b"HasExtendedXMP" not in joined
    assert b"HasExtendedXMP" in main


def test_what_fits_is_left_alone():
    for xmp in (labeled(None, STEP), b"no packet at all", b""):
        assert split_xmp(xmp) == (xmp, ())
    assert join_xmp(None, [PREFIX]) is None
    assert join_xmp(b"no packet", [b"Exif\0\0"]) == b"no packet"


def test_blanks_alone_need_no_second_part():
    xmp = packet(10, padding=70_000)
    main, segments = split_xmp(xmp)
    assert segments == ()
    assert said(main) == said(xmp)


def test_a_jpeg_keeps_more_than_a_segment_and_says_so_to_others():
    xmp = labeled(packet(150_000, 5), STEP)
    data = encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=xmp)), "JPEG")
    assert said(read_photo(data).traits.xmp) == said(xmp)
    assert data == encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=xmp)), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        assert b">sdsr d3sr-small<" in image.info["xmp"]
    assert encode_photo(read_photo(encode_photo(read_photo(data), "PNG")), "PNG")


def test_xmp_of_no_use_that_is_too_large_is_left_out_and_the_log_says_so(caplog):
    data = encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=b"no packet " * 9000)), "JPEG")
    assert read_photo(data).traits.xmp is None
    assert "left out" in caplog.text


def broken_segments() -> dict[str, list[bytes]]:
    _, segments = split_xmp(labeled(packet(150_000), STEP))
    head = len(PREFIX)
    huge = struct.pack(">32sII", segments[0][head : head + 32], MAX_BYTES + 1, 0)
    return {
        "one is missing": list(segments[1:]),
        "one is another's": [PREFIX + b"0" * 32 + segment[head + 32 :] for segment in segments],
        "one is cut": [*segments[:-1], segments[-1][:-1]],
        "one is changed": [*segments[:-1], segments[-1][:-1] + b"?"],
        "only a name": [PREFIX],
        "too large": [PREFIX + huge],
    }


@pytest.mark.parametrize("kind", broken_segments())
def test_a_broken_second_part_is_left_out_and_the_log_says_so(kind, caplog):
    main, _ = split_xmp(labeled(packet(150_000), STEP))
    assert join_xmp(main, broken_segments()[kind]) == main
    assert "can't be read" in caplog.text
    assert join_xmp(b"<no packet", broken_segments()[kind]) == b"<no packet"


@given(st.lists(st.integers(0, 90_000), max_size=5), st.randoms(use_true_random=False))
def test_any_sizes_and_any_order_of_segments(sizes, random):
    xmp = labeled(packet(*sizes), STEP)
    main, segments = split_xmp(xmp)
    shuffled = list(segments)
    random.shuffle(shuffled)
    joined = join_xmp(main, shuffled)
    assert joined is not None
    assert said(joined) == said(xmp)


def test_what_another_program_parted_is_joined():
    extension = packet(70_000)
    digest = hashlib.md5(extension).hexdigest().upper()
    note = f'<rdf:Description xmlns:n="{NOTE}"><n:HasExtendedXMP>{digest}</n:HasExtendedXMP></rdf:Description>'
    main = packet(7).replace(b"</rdf:RDF>", note.encode() + b"</rdf:RDF>")
    pieces = [(start, extension[start : start + 60_000]) for start in range(0, len(extension), 60_000)]
    segments = [PREFIX + struct.pack(">32sII", digest.encode(), len(extension), start) + part for start, part in pieces]
    joined = join_xmp(main, segments)
    assert joined is not None
    assert set(said(packet(7))) | set(said(extension)) <= set(said(joined))
    assert digest.encode() not in joined


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not here")
def test_exiftool_joins_it_too(tmp_path):
    xmp = labeled(packet(100_000), STEP)
    target = tmp_path / "photo.jpg"
    target.write_bytes(encode_photo(Photo(pixels=PIXELS, traits=Traits(xmp=xmp)), "JPEG"))
    command = ["exiftool", "-json", "-b", "-G1", "-XMP:all", "-warning", target]
    shown = subprocess.run(command, capture_output=True, check=True, timeout=60)
    told = json.loads(shown.stdout)[0]
    assert told["XMP-q:Text0"] == "ä" * 100_000
    assert told["XMP-iptcExt:AISystemUsed"] == "sdsr d3sr-small"
    assert "ExifTool:Warning" not in told
