"""Passwords as ClickHouse keeps and checks them (AuthenticationData, Authentication)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import bcrypt

from .model import AuthMethod, ServerError
from .statements import Method

TYPES = {
    "sha256_hash": "sha256_password",
    "double_sha1_hash": "double_sha1_password",
    "bcrypt_hash": "bcrypt_password",
    "scram_sha256_hash": "scram_sha256_password",
}
"""Spellings that give a hash, and the type each makes."""
HASH_OF = {kind: spelling for spelling, kind in TYPES.items()}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest().upper()


def _double_sha1(text: str) -> str:
    return hashlib.sha1(hashlib.sha1(text.encode("utf-8", "surrogateescape")).digest()).hexdigest().upper()


def _scram(text: str, salt: str) -> str:
    """The salted password of SCRAM-SHA-256, 4096 rounds as ClickHouse does; the salt is base64."""
    key = base64.b64decode(salt + "=" * (-len(salt) % 4))
    return hashlib.pbkdf2_hmac("sha256", text.encode("utf-8", "surrogateescape"), key, 4096).hex().upper()


def _bcrypt(text: str, factor: int) -> str:
    hashed = bcrypt.hashpw(text.encode("utf-8", "surrogateescape")[:72], bcrypt.gensalt(min(max(factor, 4), 31), b"2a"))
    return hashed.decode()


def store(method: Method, default_type: str, bcrypt_factor: int) -> AuthMethod:
    """The method as the server keeps it: a password becomes its hash.

    `default_type`: for IDENTIFIED BY without a type, which leaves sha256 without salt; WITH sha256_password makes one.
    Raises ServerError 36 for a hash of the wrong form.
    """
    kind = method.type or default_type
    if kind in TYPES:
        secret = method.secret
        if kind in ("sha256_hash", "double_sha1_hash"):
            length = 64 if kind == "sha256_hash" else 40
            if len(secret) != length:
                raise ServerError(
                    36,
                    "BAD_ARGUMENTS",
                    f"Password hash for the '{TYPES[kind].upper()}' authentication type has "
                    f"length {len(secret) // 2} but must be exactly {length // 2} bytes.",
                )
            secret = secret.upper()
        if kind == "bcrypt_hash" and len(secret) not in (59, 60):
            raise ServerError(
                36,
                "BAD_ARGUMENTS",
                f"Password hash for the 'BCRYPT_PASSWORD' authentication type has length "
                f"{len(secret)} but must be 59 or 60 bytes.",
            )
        return AuthMethod(TYPES[kind], secret.upper() if kind == "scram_sha256_hash" else secret, method.salt)
    result = AuthMethod(kind)
    if kind == "plaintext_password":
        result.secret = method.secret
    elif kind == "sha256_password":
        result.salt = secrets.token_hex(32).upper() if method.type else ""
        result.secret = _sha256(method.secret + result.salt)
    elif kind == "scram_sha256_password":
        result.salt = secrets.token_hex(32).upper()
        result.secret = _scram(method.secret, result.salt)
    elif kind == "double_sha1_password":
        result.secret = _double_sha1(method.secret)
    elif kind == "bcrypt_password":
        result.secret = _bcrypt(method.secret, bcrypt_factor)
    return result


def verify(method: AuthMethod, password: str) -> bool:
    """Whether this password fits the method; False for methods that take none."""
    if method.type == "no_password":
        return True
    if method.type == "bcrypt_password":
        try:
            return bcrypt.checkpw(password.encode("utf-8", "surrogateescape")[:72], method.secret.encode())
        except ValueError:
            return False
    made = {
        "plaintext_password": lambda: password,
        "sha256_password": lambda: _sha256(password + method.salt),
        "double_sha1_password": lambda: _double_sha1(password),
        "scram_sha256_password": lambda: _scram(password, method.salt),
    }.get(method.type)
    return made is not None and hmac.compare_digest(
        made().encode("utf-8", "surrogateescape"), method.secret.encode("utf-8", "surrogateescape")
    )
