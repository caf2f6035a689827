"""Content Credentials: signed with a certificate made here, read back by C2PA's own reader, in every format."""

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sdsr.errors import InputError, OutputError
from sdsr.photos.credentials import MIME, Seal, Signer, read_signer
from sdsr.photos.files import Photo, Traits, encode_photo, read_photo, write_photo
from sdsr.photos.formats import FORMATS, SUFFIX_OF, Format
from sdsr.photos.source_types import COMPOSITE
from tests.signers import Keys, SignerFiles, write_signer

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def signer(signer_files: SignerFiles) -> Signer:
    return read_signer(signer_files.certificate, signer_files.key)


@pytest.fixture
def seal(signer: Signer, tmp_path: Path) -> Seal:
    photo = tmp_path / "photo.jpg"
    write_photo(Photo(pixels=PIXELS), photo)
    return Seal(signer=signer, software="sdsr d3sr-small", version="0.1.0", title="photo_x4.jpg", parent=photo)


def stated(data: bytes, format: Format) -> tuple[str, dict]:
    """Whether the statement in a file holds, and what it says."""
    with c2pa.Reader(MIME[format], io.BytesIO(data)) as reader:
        state = reader.get_validation_state()
        manifest = reader.get_active_manifest()
    assert state is not None
    assert manifest is not None
    return state, manifest


def actions(manifest: dict) -> list[dict]:
    (found,) = (each for each in manifest["assertions"] if each["label"].startswith("c2pa.actions"))
    return found["data"]["actions"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_what_was_done_and_to_what(seal: Seal, tmp_path: Path, format: Format) -> None:
    target = tmp_path / f"a{SUFFIX_OF[format]}"
    traits = Traits(xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
    write_photo(Photo(pixels=PIXELS, traits=traits), target, seal=seal)
    state, manifest = stated(target.read_bytes(), format)
    assert state == "Valid"
    assert manifest["claim_generator_info"][0]["name"] == "sdsr d3sr-small"
    (parent,) = manifest["ingredients"]
    assert (parent["title"], parent["relationship"]) == ("photo.jpg", "parentOf")
    opened, edited = actions(manifest)
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"] == COMPOSITE
    assert opened["parameters"]["ingredients"]
    assert "thumbnail" not in manifest
    again = read_photo(target)
    assert again.traits.credentials
    assert again.traits.xmp
    unsigned = encode_photo(Photo(pixels=PIXELS, traits=traits), format)
    assert np.array_equal(again.pixels, read_photo(unsigned).pixels)
    assert not list(tmp_path.glob(".*"))


def test_bytes_are_signed_like_files(seal: Seal) -> None:
    data = encode_photo(
        Photo(pixels=PIXELS), "PNG", seal=replace(seal, parent=encode_photo(Photo(pixels=PIXELS), "PNG"))
    )
    assert stated(data, "PNG")[0] == "Valid"


def test_a_changed_picture_is_found_out(seal: Seal) -> None:
    data = bytearray(encode_photo(Photo(pixels=PIXELS), "JPEG", seal=seal))
    data[-10] ^= 1  # of the picture, which ends the file
    assert stated(bytes(data), "JPEG")[0] == "Invalid"


def test_a_statement_of_the_photo_comes_along_as_an_ingredient(seal: Seal, tmp_path: Path) -> None:
    first = tmp_path / "first.jpg"
    write_photo(Photo(pixels=PIXELS), first, seal=seal)
    data = encode_photo(read_photo(first), "PNG", seal=replace(seal, parent=first, title="second.png"))
    state, manifest = stated(data, "PNG")
    assert state == "Valid"
    assert manifest["ingredients"][0]["active_manifest"]
    with c2pa.Reader("image/png", io.BytesIO(data)) as reader:
        assert reader.json().count('"photo.jpg"') >= 1, "the parent's parent is told of"


def test_a_photos_statement_is_left_out_with_a_word_where_nobody_signs(
    seal: Seal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = tmp_path / "first.jpg"
    write_photo(Photo(pixels=PIXELS), first, seal=seal)
    photo = read_photo(first)
    with caplog.at_level(logging.WARNING):
        data = encode_photo(photo, "JPEG")
    assert "Content Credentials (C2PA) hold for its own pixels" in caplog.text
    with pytest.raises(c2pa.C2paError, match="ManifestNotFound"):
        c2pa.Reader("image/jpeg", io.BytesIO(data))


def test_a_broken_statement_is_left_out_with_a_word(
    seal: Seal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = tmp_path / "first.png"
    write_photo(Photo(pixels=PIXELS), first, seal=seal)
    data = first.read_bytes()
    place = data.index(b"jumdc2pa") + 40
    first.write_bytes(data[:place] + bytes(200) + data[place + 200 :])
    with caplog.at_level(logging.WARNING):
        signed = encode_photo(Photo(pixels=PIXELS), "PNG", seal=replace(seal, parent=first))
    state, manifest = stated(signed, "PNG")
    assert state == "Valid"
    assert manifest["ingredients"][0]["title"] == "first.png"
    assert "active_manifest" not in manifest["ingredients"][0]


@pytest.mark.parametrize(
    "made",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["P-384", "RSA", "Ed25519"],
)
def test_other_keys_sign_too(made: Callable[[], Keys], tmp_path: Path) -> None:
    files = write_signer(tmp_path, made())
    signer = read_signer(files.certificate, files.key)
    data = encode_photo(
        Photo(pixels=PIXELS), "PNG", seal=Seal(signer=signer, software="sdsr", version="0.1.0", title="a.png")
    )
    state, manifest = stated(data, "PNG")
    assert state == "Valid"
    assert actions(manifest)[0]["action"] == "c2pa.created"


def test_a_key_shows_nowhere(signer: Signer) -> None:
    assert signer.key not in repr(signer).encode()
    assert "BEGIN" not in repr(signer).replace(repr(signer.certificate), "")


def test_an_expired_certificate_is_refused_before_any_work(tmp_path: Path) -> None:
    files = write_signer(tmp_path, ec.generate_private_key(ec.SECP256R1()), days=-1)
    with pytest.raises(InputError, match=r"certificate \(=.*chain.pem\) can't sign pictures \((?!the PNG)[^.]*\); it"):
        read_signer(files.certificate, files.key)


def test_a_key_of_another_certificate_is_refused(signer_files: SignerFiles, tmp_path: Path) -> None:
    other = write_signer(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(InputError, match=r"key \(=.*\) doesn't belong to the first certificate"):
        read_signer(signer_files.certificate, other.key)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    files = write_signer(tmp_path, ec.generate_private_key(ec.SECP256R1()), password=b"secret")
    with pytest.raises(InputError, match=r"key \(=.*\) is no private key in PEM without a password"):
        read_signer(files.certificate, files.key)


def test_files_that_are_none_are_refused(signer_files: SignerFiles, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no PEM")
    with pytest.raises(InputError, match="is no private key"):
        read_signer(signer_files.certificate, nothing)
    with pytest.raises(InputError, match="holds no certificate"):
        read_signer(nothing, signer_files.key)
    with pytest.raises(InputError, match="can't be read"):
        read_signer(tmp_path / "missing.pem", signer_files.key)


def test_a_file_that_can_not_be_signed_is_not_left(seal: Seal, tmp_path: Path) -> None:
    broken = replace(seal, signer=replace(seal.signer, key=b"no key"))
    with pytest.raises(OutputError, match="can't be signed"):
        write_photo(Photo(pixels=PIXELS), tmp_path / "a.png", seal=broken)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
