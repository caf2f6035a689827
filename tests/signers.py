"""Who signs in tests: a certificate and a key of their own, made when they are needed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Keys = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerFiles:
    certificate: Path
    key: Path


def issued(subject: str, key: Keys, *, by: Keys, authority: bool = False, days: int = 30) -> x509.Certificate:
    """A certificate of one name, signed by another's key; of an authority, or for signing e-mail."""
    names = [
        x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        for name in (subject, "Authority")
    ]
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject_name=names[0],
        issuer_name=names[1],
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=60),
        not_valid_after=now + timedelta(days=days),
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(by, hashes.SHA256())


def write_signer(folder: Path, key: Keys, *, days: int = 30, password: bytes | None = None) -> SignerFiles:
    """The files of a signer: the chain with its authority's certificate, and the key."""
    above = ec.generate_private_key(ec.SECP256R1())
    chain = (issued("Signer", key, by=above, days=days), issued("Authority", above, by=above, authority=True))
    files = SignerFiles(certificate=folder / "chain.pem", key=folder / "key.pem")
    files.certificate.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden))
    return files


@pytest.fixture(scope="session")
def signer_files(tmp_path_factory: pytest.TempPathFactory) -> SignerFiles:
    """A certificate for signing e-mail, with that of its authority, and the key."""
    return write_signer(tmp_path_factory.mktemp("signer"), ec.generate_private_key(ec.SECP256R1()))
