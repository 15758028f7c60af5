"""Certificates for tests, made with `cryptography`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key(self) -> str:
        return self._key_pem()

    def locked_key(self) -> str:
        """Return the key, encrypted."""
        return self._key_pem(b"a-phrase")

    def _key_pem(self, phrase: bytes = b"") -> str:
        encryption = BestAvailableEncryption(phrase) if phrase else NoEncryption()
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    names: Sequence[str] = (),
    ca: bool = False,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=90),
    rsa_bits: int = 0,
    client_only: bool = False,
    now: datetime | None = None,
) -> Issued:
    """Return a new certificate; it signs itself without an issuer."""
    now = now or datetime.now(UTC)
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signed_by = (issuer.private_key, issuer.certificate.subject) if issuer else (key, subject)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=signed_by, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_alternative(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    if client_only:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return Issued(builder.sign(signer, SHA256()), key)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
