"""Content Credentials (C2PA 2.x): a signed statement inside a file, of what was done to which photo.

By `c2pa-python`, of the extra `sign`. What is signed is what the label says: a photo was opened, and edited with a
model. Thumbnails are left out, and nothing is fetched from or sent to the network: there is no time stamp of another.
"""

import io
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sdsr.errors import InputError, OutputError
from sdsr.photos.formats import Format, begins_like
from sdsr.photos.limits import NO_LIMITS
from sdsr.photos.source_types import COMPOSITE
from sdsr.photos.sources import Source, read_source, source_name

if TYPE_CHECKING:
    import c2pa

logger = logging.getLogger(__name__)

MARK = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""How the box of a manifest store begins, in every format (JUMBF, ISO 19566-5, with C2PA's type)."""
MIME: dict[Format, str] = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "JXL": "image/jxl",
}
_PARENT = "parent"
_OFFLINE = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_HOLDS = ("Valid", "Trusted")
_CURVES = {256: "es256", 384: "es384", 521: "es512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A chain of certificates and the first one's private key, both PEM, and C2PA's name of the algorithm."""

    certificate: bytes
    key: bytes = field(repr=False)
    algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What is signed: that `software` in its `version` made a file of a parent, and of which kind its pixels are.

    `parent` is the photo's file; without one, none is named. `source_type` is of IPTC's.
    """

    signer: Signer
    software: str
    version: str
    title: str
    parent: Source | None = None
    source_type: str = COMPOSITE


def read_signer(certificate: Path, key: Path) -> Signer:
    """Return who signs. Raises InputError for files that are none, don't belong together, or can't sign a picture.

    That is tried, so that an expired certificate, or one that isn't for signing documents, is refused before any work.
    """
    from PIL import Image as pillow

    _library()
    chain = read_source(certificate, 1 << 20)
    secret = read_source(key, 1 << 20)
    signer = Signer(certificate=chain, key=secret, algorithm=_algorithm(chain, secret, certificate, key))
    pixel = io.BytesIO()
    pillow.new("L", (1, 1)).save(pixel, "PNG")
    pixel.seek(0)
    try:
        sign(pixel, io.BytesIO(), "PNG", Seal(signer=signer, software="sdsr", version="0", title="trial"))
    except OutputError as error:
        reason = _words(error.__cause__ or error)
        raise InputError(
            f"certificate (={certificate}) can't sign pictures ({reason}); it must be valid now, of an authority whose "
            "certificate follows in the file, and for signing e-mail or documents."
        ) from error
    return signer


def sign(unsigned: io.BufferedIOBase, signed: io.BufferedIOBase, format: Format, seal: Seal) -> None:
    """Write a file with its signed statement, and read that back; raise OutputError unless it holds.

    A parent with a statement of its own brings it along as that of an ingredient; one that can't be read is told of and
    named without.
    """
    c2pa = _library()
    try:
        context = c2pa.Context(settings=c2pa.Settings.from_dict(_OFFLINE))
        info = c2pa.C2paSignerInfo(
            alg=seal.signer.algorithm, sign_cert=seal.signer.certificate, private_key=seal.signer.key, ta_url=None
        )
        with _builder(c2pa, context, seal) as builder, c2pa.Signer.from_info(info) as signer:
            builder.sign(signer, MIME[format], unsigned, signed)
        signed.seek(0)
        with c2pa.Reader(MIME[format], signed, context=context) as reader:
            state = reader.get_validation_state()
    except c2pa.C2paError as error:
        raise OutputError(f"the {format} can't be signed ({_words(error)}); check certificate and key.") from error
    if state not in _HOLDS:
        raise OutputError(f"the signature of the {format} doesn't hold when it is read back (={state}); don't use it.")


def _builder(c2pa: ModuleType, context: object, seal: Seal) -> "c2pa.Builder":
    builder = c2pa.Builder(_manifest(seal), context=context)
    if seal.parent is None:
        return builder
    name = source_name(seal.parent)
    ingredient = {"title": name, "relationship": "parentOf", "label": _PARENT}
    data = read_source(seal.parent, NO_LIMITS.max_file_bytes)
    format = begins_like(data[:64])
    try:
        builder.add_ingredient(json.dumps(ingredient), MIME[format] if format else "", io.BytesIO(data))
    except c2pa.C2paError as error:
        logger.warning("Content Credentials of %s can't be read (%s) and are left out.", name, _words(error))
        builder.close()
        unread = ingredient | {"format": MIME[format] if format else "application/octet-stream"}
        builder = c2pa.Builder(_manifest(seal) | {"ingredients": [unread]}, context=context)
    return builder


def _manifest(seal: Seal) -> dict[str, object]:
    software = {"name": seal.software, "version": seal.version}
    edited = {"action": "c2pa.edited", "softwareAgent": software, "digitalSourceType": seal.source_type}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_PARENT]}}
    created = {"action": "c2pa.created", "softwareAgent": software, "digitalSourceType": seal.source_type}
    actions = [created] if seal.parent is None else [opened, edited]
    return {
        "claim_generator_info": [software],
        "title": seal.title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _algorithm(chain: bytes, secret: bytes, certificate: Path, key: Path) -> str:
    """Return the algorithm of a private key that belongs to the first certificate; raise InputError for another."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        private = serialization.load_pem_private_key(secret, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"key (={key}) is no private key in PEM without a password; convert it by `openssl`."
        ) from error
    try:
        public = x509.load_pem_x509_certificates(chain)[0].public_key()
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"certificate (={certificate}) holds no certificate in PEM; convert it by `openssl`."
        ) from error
    if public != private.public_key():
        raise InputError(f"key (={key}) doesn't belong to the first certificate of {certificate}; give its own.")
    match private:
        case ec.EllipticCurvePrivateKey() if private.key_size in _CURVES:
            return _CURVES[private.key_size]
        case rsa.RSAPrivateKey():
            return "ps256"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
    raise InputError(f"key (={key}) must be of P-256, P-384, P-521, RSA or Ed25519; C2PA knows no other.")


def _library() -> ModuleType:
    try:
        import c2pa
    except ImportError as error:
        raise InputError("signing (=c2pa-python) is not installed; run: pip install 'sdsr[sign]'.") from error
    return c2pa


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
