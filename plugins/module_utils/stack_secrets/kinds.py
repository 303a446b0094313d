# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of secrets: how a random one is made, and whether a given one can be what its reader wants. No I/O."""

from __future__ import annotations

import base64
import binascii
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass

MINIMUM_BYTES = 16
"""128 bits: the least that is made."""
KEYFILE_CHARACTERS = (6, 1024)
"""What MongoDB takes in security.keyFile, in characters of base64 (its manual, "Internal Authentication")."""

# No character has a meaning in URLs, XML, YAML, SQL or a shell.
_ALPHABET = string.ascii_letters + string.digits
_LINE = 64


@dataclass(frozen=True)
class Kind:
    """One kind of secret.

    :param smallest: the least size of a random one that has 128 bits
    :param unit: what its size counts, for errors
    :param make: a random one of a size
    :param wrong: why a value of a size cannot be one, empty if it can; the third argument is the least length in
        characters of a text that people chose
    :param bare: the value without what does not count when two are compared
    """

    smallest: int
    unit: str
    make: Callable[[int], str]
    wrong: Callable[[str, int, int], str]
    bare: Callable[[str], str]


def _text(size: int) -> str:
    # With a small and a capital letter and a digit, so that the usual password rules hold; it begins with a letter, so
    # that YAML reads no number. What is left out of the 62^size texts is less than one bit.
    while True:
        text = "".join(secrets.choice(_ALPHABET) for _index in range(size))
        if (
            text[0].isalpha()
            and any(map(str.islower, text))
            and any(map(str.isupper, text))
            and any(map(str.isdigit, text))
        ):
            return text


def _password(size: int) -> str:
    # With a special character, for those who ask for one: the full stop has no meaning in those places either.
    text = _text(size - 1)
    return f"{text[: size // 2]}.{text[size // 2 :]}"


def _wrong_text(value: str, _size: int, minimum: int) -> str:
    if not value.isprintable():
        return "has more than one line, or characters that cannot be printed"
    if value != value.strip():
        return "begins or ends with a space"
    if len(value) < minimum:
        return f"has {len(value)} characters, and at least {minimum} are wanted"
    return ""


def _wrong_hex(value: str, size: int, _minimum: int) -> str:
    if not all(character in string.hexdigits for character in value):
        return "has characters that are no hexadecimal digits"
    return "" if len(value) == 2 * size else f"has {len(value)} hexadecimal digits, and {2 * size} are wanted"


def _base64(size: int) -> str:
    # the form of `openssl rand -base64`
    text = base64.b64encode(secrets.token_bytes(size)).decode()
    return "".join(f"{text[start : start + _LINE]}\n" for start in range(0, len(text), _LINE))


def _wrong_base64(value: str, _size: int, minimum: int) -> str:
    text = _without_spaces(value)
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "is not base64, or not all of it"
    least, most = max(minimum, KEYFILE_CHARACTERS[0]), KEYFILE_CHARACTERS[1]
    return (
        "" if least <= len(text) <= most else f"has {len(text)} characters of base64, and {least} to {most} are wanted"
    )


def _without_spaces(value: str) -> str:
    return "".join(value.split())


KINDS: dict[str, Kind] = {
    # 62^22 is the first power over 2^128
    "text": Kind(22, "characters", _text, _wrong_text, str),
    "password": Kind(23, "characters", _password, _wrong_text, str),
    "hex": Kind(MINIMUM_BYTES, "bytes", secrets.token_hex, _wrong_hex, str.lower),
    "base64": Kind(MINIMUM_BYTES, "bytes", _base64, _wrong_base64, _without_spaces),
}


def content(text: str) -> str:
    """Return what a file or a lookup means: the text without the end of its last line."""
    return text.rstrip("\r\n")


def wrong(kind: str, value: str, size: int, minimum: int) -> str:
    """Say why a value cannot be a secret of this kind; empty if it can. The value is not in what is said.

    :param kind: a key of KINDS
    :param size: in the unit of the kind
    :param minimum: least characters of a text, or of base64
    """
    return "is empty" if not content(value) else KINDS[kind].wrong(content(value), size, minimum)


def is_same(kind: str, one: str, other: str) -> bool:
    """Whether two values are the same secret, in constant time."""
    bare = KINDS[kind].bare
    first, second = (bare(content(value)).encode("utf-8", "surrogateescape") for value in (one, other))
    return secrets.compare_digest(first, second)
