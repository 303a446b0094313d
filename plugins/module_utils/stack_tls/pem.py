# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: certificates and keys out of PEM, as values that can be compared. The only file here that knows cryptography,
from 3.4 (Ubuntu 22.04) to the newest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_USAGES = ("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")


class Unreadable(ValueError):
    """What was given is no certificate or no key; the argument says why."""


@dataclass(frozen=True)
class Certificate:
    """A certificate. `usages` is None without the extension; `public` and `fingerprint` are bytes to compare;
    `permitted`
    are an authority's name constraints, `path_length` how many authorities may follow it, None for any number.
    """

    pem: str
    common_name: str
    organization: str
    unit: str
    begin: datetime
    end: datetime
    names: frozenset[str]
    usages: frozenset[str] | None
    key_usages: frozenset[str] | None
    is_authority: bool
    path_length: int | None
    permitted: tuple[str, ...]
    public: bytes
    fingerprint: bytes
    signature_hash: str
    raw: Any = field(compare=False, repr=False)

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return self.common_name or ", ".join(sorted(self.names)) or "(no name)"


@dataclass(frozen=True)
class Key:
    """A private key: `ecdsa` with a curve's name, `rsa` with its bits, or another kind; `public` belongs to it."""

    kind: str
    size: str
    public: bytes
    is_encrypted: bool


@dataclass(frozen=True)
class Request:
    """A certificate signing request: what it asks for, `others` the extensions besides those, by their numbers."""

    common_name: str
    organization: str
    unit: str
    names: frozenset[str]
    usages: frozenset[str]
    key_usages: frozenset[str]
    is_authority: bool
    others: tuple[str, ...]
    is_signed: bool


def read_certificates(content: bytes) -> list[Certificate]:
    """Return the certificates of a PEM file, in its order. Raises Unreadable, also if there is none.

    :param content: the file
    """
    blocks = [match.group(0) for match in _BLOCK.finditer(content) if match.group(1) == b"CERTIFICATE"]
    if content.count(b"-----BEGIN CERTIFICATE-----") != len(blocks):
        raise Unreadable("a certificate in it has no end")
    if not blocks:
        raise Unreadable("there is no certificate in PEM in it")
    try:
        return [_certificate(x509.load_pem_x509_certificate(block + b"\n"), block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable("a certificate in it is damaged") from error


def read_key(content: bytes, passphrase: str | None = None) -> Key:
    """Return the private key of a PEM file. Raises Unreadable.

    :param content: the file
    :param passphrase: what it is encrypted with; None if it must not be
    """
    secret = passphrase.encode() if passphrase else None
    is_encrypted = b"ENCRYPTED" in content
    try:
        key = serialization.load_pem_private_key(content, secret if is_encrypted else None)
    except TypeError as error:
        raise Unreadable("it is encrypted, and whoever reads it knows no passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        why = "the passphrase is wrong, or it is damaged" if is_encrypted else "it is no private key in PEM"
        raise Unreadable(why) from error
    kind, size = type(key).__name__.lstrip("_").lower().removesuffix("privatekey"), ""
    if isinstance(key, rsa.RSAPrivateKey):
        kind, size = "rsa", str(key.key_size)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        kind, size = "ecdsa", key.curve.name
    return Key(kind, size, _spki(key.public_key()), is_encrypted)


def is_signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Return whether an issuer's key signed a certificate, and both say so.

    :param certificate: what is signed
    :param issuer: whose signature it may be
    """
    below, above = certificate.raw, issuer.raw.public_key()
    if below.issuer != issuer.raw.subject:
        return False
    data, algorithm = (below.signature, below.tbs_certificate_bytes), below.signature_hash_algorithm
    try:
        if isinstance(above, ec.EllipticCurvePublicKey):
            above.verify(*data, ec.ECDSA(algorithm))
        elif isinstance(above, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            above.verify(*data)
        elif isinstance(above, rsa.RSAPublicKey):
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
            if below.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
                scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            above.verify(*data, scheme, algorithm)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def _spki(key: Any) -> bytes:
    content: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return content


def read_request(content: bytes) -> Request:
    """Return a certificate signing request of a PEM file. Raises Unreadable.

    :param content: the file
    """
    try:
        raw = x509.load_pem_x509_csr(content)
        found = {extension.value.__class__: extension.value for extension in raw.extensions}
        numbers = {extension.value.__class__: extension.oid.dotted_string for extension in raw.extensions}
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unreadable("this is no certificate request in PEM") from error
    known = (x509.SubjectAlternativeName, x509.ExtendedKeyUsage, x509.KeyUsage, x509.BasicConstraints)
    constraints = found.get(x509.BasicConstraints)
    return Request(
        *_subject(raw),
        names=frozenset(_texts(found.get(x509.SubjectAlternativeName) or ())),
        usages=_usages(found.get(x509.ExtendedKeyUsage)) or frozenset(),
        key_usages=_key_usages(found.get(x509.KeyUsage)) or frozenset(),
        is_authority=bool(constraints and constraints.ca),
        others=tuple(sorted(number for kind, number in numbers.items() if kind not in known)),
        is_signed=raw.is_signature_valid,
    )


def _certificate(raw: Any, block: bytes) -> Certificate:
    def extension(kind: Any) -> Any:
        try:
            return raw.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    constraints = extension(x509.BasicConstraints)
    limits = extension(x509.NameConstraints)
    algorithm = raw.signature_hash_algorithm
    return Certificate(
        block.decode("ascii", "replace") + "\n",
        *_subject(raw),
        begin=_time(raw, "not_valid_before"),
        end=_time(raw, "not_valid_after"),
        names=frozenset(_texts(extension(x509.SubjectAlternativeName) or ())),
        usages=_usages(extension(x509.ExtendedKeyUsage)),
        key_usages=_key_usages(extension(x509.KeyUsage)),
        is_authority=bool(constraints and constraints.ca),
        path_length=constraints.path_length if constraints else None,
        permitted=tuple(_texts(limits.permitted_subtrees or ())) if limits else (),
        public=_spki(raw.public_key()),
        fingerprint=raw.fingerprint(hashes.SHA256()),
        signature_hash=algorithm.name if algorithm else "",
        raw=raw,
    )


def _subject(raw: Any) -> tuple[str, str, str]:
    """Common name, organization and unit, empty where there are none."""
    oids = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)
    first, second, third = (
        "".join(str(found.value) for found in raw.subject.get_attributes_for_oid(oid)[:1]) for oid in oids
    )
    return first, second, third


def _usages(extension: Any) -> frozenset[str] | None:
    known = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}
    return None if extension is None else frozenset(known.get(usage, usage.dotted_string) for usage in extension)


def _key_usages(extension: Any) -> frozenset[str] | None:
    return None if extension is None else frozenset(use for use in _USAGES if getattr(extension, use))


def _texts(names: Any) -> list[str]:
    """Names as `DNS:` and `IP:`; those of other kinds with their class' name."""
    kinds: dict[Any, str] = {x509.DNSName: "DNS", x509.IPAddress: "IP"}
    return [f"{kinds.get(type(name), type(name).__name__)}:{name.value}" for name in names]


def _time(raw: Any, name: str) -> datetime:
    """A time of a certificate, with UTC said. cryptography has that since 42."""
    found: datetime | None = getattr(raw, f"{name}_utc", None)
    if found is None:
        found = getattr(raw, name).replace(tzinfo=timezone.utc)
    return found
