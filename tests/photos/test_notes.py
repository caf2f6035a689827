"""Words beside the picture are kept where a format has a place for them, and named where not."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin
from PIL.PngImagePlugin import PngImageFile

from sdsr.images.arrays import as_output, as_photo
from sdsr.photos.companions import GAIN_MAP, VIDEO
from sdsr.photos.files import Photo, Traits, encode_photo, read_photo
from sdsr.photos.notes import IPTC, Notes, kept_resources, raw_profile_chunk, resources_of, text_chunk, text_of
from tests.pictures import chunk

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
IIM = b"\x1c\x02x\0\x09A caption" + b"\x1c\x02P\0\x03Ann"
PREVIEW = b"face of somebody cropped away"
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


def resource(number: int, body: bytes, name: bytes = b"") -> bytes:
    named = bytes([len(name)]) + name
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + named
        + bytes(len(named) % 2)
        + struct.pack(">I", len(body))
        + body
        + bytes(len(body) % 2)
    )


BLOCK = resource(0x03ED, bytes(16)) + resource(IPTC, IIM, b"odd") + resource(0x040C, PREVIEW) + resource(0x040A, b"\1")


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">HH", marker, len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    data = encode_photo(Photo(pixels=PIXELS), "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    data = encode_photo(Photo(pixels=PIXELS), "PNG")
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def texts_of(data: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, PngImageFile)
        return dict(image.text)


@given(st.lists(st.tuples(st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"packed iTXt"]), WORDS), max_size=5))
def test_text_of_every_kind_comes_back_byte_for_byte(given_texts):
    chunks = []
    for number, (kind, words) in enumerate(given_texts):
        keyword = f"key {number}".encode()
        latin = words.encode("latin-1", "replace")
        body = {
            b"tEXt": keyword + b"\0" + latin,
            b"zTXt": keyword + b"\0\0" + zlib.compress(latin),
            b"iTXt": keyword + b"\0\0\0de\0Wort\0" + words.encode(),
            b"packed iTXt": keyword + b"\0\1\0\0\0" + zlib.compress(words.encode()),
        }[kind]
        chunks.append((kind[-4:], body))
        expected = words if kind.endswith(b"iTXt") else latin.decode("latin-1")
        assert text_of(*chunks[-1]) == expected
    photo = read_photo(png(*chunks))
    assert photo.traits.notes.texts == tuple(chunks)
    assert texts_of(encode_photo(photo, "PNG")) == texts_of(png(*chunks))


@pytest.mark.parametrize("target", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
def test_iptc_crosses_formats_and_previews_do_not(source, target):
    first = read_photo(jpeg(segment(0xFFED, b"Photoshop 3.0\0" + BLOCK)))
    data = encode_photo(read_photo(encode_photo(first, source)), target)
    assert b"somebody" not in data
    assert read_photo(data).traits.notes.iptc == IIM
    with Image.open(io.BytesIO(data)) as image:
        if target != "PNG":
            info = IptcImagePlugin.getiptcinfo(image)
            assert info is not None
            assert (info[2, 120], info[2, 80]) == (b"A caption", b"Ann")


def test_iptc_larger_than_a_segment_is_parted_and_joined():
    large = b"".join(b"\x1c\x02\x19\x7f\xff" + bytes([65 + i]) * 0x7FFF for i in range(5))
    first = encode_photo(Photo(pixels=PIXELS, traits=Traits(notes=Notes(resources=kept_resources(large)))), "JPEG")
    assert read_photo(first).traits.notes.iptc == large


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=4, unique=True))
def test_comments_come_back(comments):
    data = jpeg(*(segment(0xFFFE, comment) for comment in comments))
    photo = read_photo(data)
    assert photo.traits.notes.comments == tuple(comments)
    assert read_photo(encode_photo(photo, "JPEG")).traits.notes.comments == tuple(comments)


def test_comments_cross_between_jpeg_and_png():
    photo = read_photo(jpeg(segment(0xFFFE, "schön".encode()), segment(0xFFFE, b"sch\xf6n too")))
    across = encode_photo(photo, "PNG")
    assert texts_of(across)["Comment"] in ("schön", "schön too")
    back = read_photo(encode_photo(read_photo(across), "JPEG")).traits.notes.comments
    assert back == ("schön".encode(), "schön too".encode())


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("JPEG", r"JPEG has no place for text \(parameters\)"),
        ("TIFF", "and comments"),
        ("WEBP", "and comments and IPTC"),
    ],
)
def test_what_a_format_has_no_place_for_is_said(target, says, caplog):
    notes = Notes(texts=(text_chunk("parameters", "a tree"),), comments=(b"c",), resources=kept_resources(IIM))
    encode_photo(Photo(pixels=PIXELS, traits=Traits(notes=notes)), target)
    assert pytest.approx(1) == len(caplog.messages)
    assert caplog.messages[0].startswith(f"{target} has no place for text (parameters)")
    assert says.replace("\\", "") in caplog.messages[0]


def test_raw_profiles_count_and_are_not_left_to_contradict():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    chunks = [raw_profile_chunk("exif", exif.tobytes()), raw_profile_chunk("xmp", xmp), raw_profile_chunk("iptc", IIM)]
    photo = read_photo(png(*chunks, text_chunk("Title", "Ann")))
    np.testing.assert_array_equal(photo.pixels, np.rot90(PIXELS, -1))
    assert b"Maker" in (photo.traits.exif or b"")
    assert (photo.traits.xmp, photo.traits.notes.iptc) == (xmp, IIM)
    assert set(texts_of(encode_photo(photo, "PNG"))) == {"Title", "Raw profile type iptc", "XML:com.adobe.xmp"}


@given(st.binary(max_size=80), st.integers(0, len(BLOCK)))
def test_broken_resources_never_raise(tail, cut):
    block = BLOCK[:cut] + tail
    assert list(resources_of(kept_resources(block) or b"")) is not None
    read_photo(jpeg(segment(0xFFED, b"Photoshop 3.0\0" + block)))


@pytest.mark.parametrize(
    "body", [b"", b"no end", b"key\0\0broken", b"k" * 90 + b"\0text", b"Raw profile type exif\0\0junk"]
)
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_broken_texts_never_raise(kind, body):
    encode_photo(read_photo(png((kind, body))), "JPEG")


@pytest.mark.parametrize("loaded", [False, True])
def test_the_python_door_keeps_them_too(loaded, tmp_path):
    for name, data in {
        "a.png": png(text_chunk("parameters", "a tree, 木"), text_chunk("Title", "Ann")),
        "b.jpg": jpeg(segment(0xFFED, b"Photoshop 3.0\0" + BLOCK), segment(0xFFFE, b"comment")),
    }.items():
        image = Image.open(io.BytesIO(data))
        if loaded:
            image.load()
        (result,) = as_output(as_photo(image), "pil")
        result.save(tmp_path / name)
        kept, given_notes = read_photo(tmp_path / name).traits.notes, read_photo(data).traits.notes
        assert {text_of(*each) for each in kept.texts} == {text_of(*each) for each in given_notes.texts}
        assert (kept.comments, kept.iptc) == (given_notes.comments, given_notes.iptc)


HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
ULTRA = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:hdrgm="{HDRGM}" xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" hdrgm:Version="1.0" dc:source="kept">
<Container:Directory><rdf:Seq/></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>""".encode()
MOTION = ULTRA.replace(b"hdrgm:Version", b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto')
APPLE = b"urn:com:apple:photo:2020:aux:hdrgainmap"


def with_xmp(xmp: bytes) -> bytes:
    return segment(0xFFE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jpeg(with_xmp(ULTRA)), GAIN_MAP),
        (jpeg(segment(0xFFE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4))), GAIN_MAP),
        (jpeg() + jpeg(with_xmp(b"<x>" + APPLE + b"</x>")), GAIN_MAP),
        (jpeg() + jpeg(with_xmp(ULTRA)), GAIN_MAP),
        (jpeg(with_xmp(MOTION)) + bytes(99), VIDEO),
        (jpeg() + b"MotionPhoto_Data", VIDEO),
    ],
)
def test_what_lies_beside_the_picture_is_said_to_be_lost(data, what, caplog):
    photo = read_photo(data)
    assert f"the photo holds {what}, which can't be kept" in caplog.text
    caplog.clear()
    written = encode_photo(photo, "JPEG")
    again = read_photo(written)
    assert not caplog.messages, "what is written claims nothing that isn't there"
    if photo.traits.xmp:
        assert b'dc:source="kept"' in (again.traits.xmp or b"")
        assert b"hdrgm:Version" not in written
        assert b"Container:Directory" not in written


def test_a_plain_photo_says_nothing(caplog):
    read_photo(jpeg(with_xmp(b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')))
    assert not caplog.messages
