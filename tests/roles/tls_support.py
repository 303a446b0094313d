"""What the tests of stack_tls make themselves: certificates with a fault, and pictures of files to compare."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def pem(thing: Any, passphrase: str = "") -> str:
    """A certificate or key as text."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM).decode()
    lock: Any = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else None
    return thing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock or serialization.NoEncryption()
    ).decode()


def load(file: Path) -> x509.Certificate:
    """The first certificate of a file."""
    return x509.load_pem_x509_certificate(file.read_bytes())


def key_of(file: Path, passphrase: str = "") -> Any:
    return serialization.load_pem_private_key(file.read_bytes(), passphrase.encode() or None)


def names_of(certificate: x509.Certificate) -> set[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def again(certificate: x509.Certificate, issuer_key: Any, days: float) -> x509.Certificate:
    """The same certificate, but it ends in some days."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - 400 * DAY)
        .not_valid_after(now() + days * DAY)
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(issuer_key, hashes.SHA256())


class Issuer:
    """An authority that a user brings: it signs with any fault that is asked for."""

    def __init__(self, name: str, days: float = 1000, above: Issuer | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        maker, subject = (above.key, above.name) if above else (self.key, self.name)
        self.certificate = (
            self._builder(self.name, subject, self.key, now() - 2 * DAY, now() + days * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(maker, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: Any, begin: Any, end: Any
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    def leaf(
        self,
        names: Sequence[str],
        begin: float = -1,
        days: float = 300,
        usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
    ) -> tuple[str, str]:
        """A server's certificate and key, as text."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = self._builder(subject, self.name, key, now() + begin * DAY, now() + days * DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), False)
        return pem(builder.sign(self.key, hashes.SHA256())), pem(key)


def picture(folder: Path) -> dict[str, tuple[bytes, int, int, int, int]]:
    """Every file below a folder: content, time of change, number, owner and mode."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (
            content,
            state.st_mtime_ns if path.is_file() else 0,
            state.st_ino,
            state.st_uid,
            state.st_mode,
        )
    return found
