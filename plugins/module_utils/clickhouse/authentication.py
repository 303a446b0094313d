# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authentication methods: what was asked, what SHOW CREATE USER says, and whether a password is the same. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    HIDDEN,
    Secret,
    WishError,
    check_name,
    check_text,
    literal,
    literals,
    unquote,
)

MethodDocument = dict[str, Any]

ALL_AT_ONCE = "ClickHouse sets all methods of a user at once: give password or password_hash for every one"
_SCRAM_ITERATIONS = 4096  # ClickHouse: AuthenticationData::Util::encodeScramSHA256


@dataclass(frozen=True)
class Method:
    """What one authentication type takes.

    :param parameters: options that are part of what the server shows
    :param required: those of them without which there is no method
    :param hash_type: the SQL word that takes a ready hash, for password types
    :param hash_pattern: what such a hash looks like
    :param salted: whether the hash can carry a salt
    """

    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    password: bool = False
    hash_type: str = ""
    hash_pattern: str = ""
    salted: bool = False


METHODS: dict[str, Method] = {
    "no_password": Method(),
    "no_authentication": Method(),
    "plaintext_password": Method(password=True),
    "sha256_password": Method(password=True, hash_type="sha256_hash", hash_pattern=r"[0-9A-F]{64}", salted=True),
    "double_sha1_password": Method(password=True, hash_type="double_sha1_hash", hash_pattern=r"[0-9A-F]{40}"),
    "bcrypt_password": Method(
        password=True, hash_type="bcrypt_hash", hash_pattern=r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"
    ),
    "scram_sha256_password": Method(
        password=True, hash_type="scram_sha256_hash", hash_pattern=r"[0-9A-F]{64}", salted=True
    ),
    "ldap": Method(parameters=("server",), required=("server",)),
    "kerberos": Method(parameters=("realm",)),
    "ssl_certificate": Method(parameters=("common_names", "subject_alt_names")),
    "ssh_key": Method(parameters=("ssh_keys",), required=("ssh_keys",)),
    "http": Method(parameters=("server", "scheme"), required=("server",)),
}
_SECRET_OPTIONS = ("password", "password_hash", "salt")


@dataclass(frozen=True)
class Credential:
    """One wished password: as text, or as hash and salt; with neither, the stored one is kept. Never printed.

    :param type: the authentication type
    :param password: the text, if that was given
    :param hash: the hash as the server shows it (hexadecimal in upper case, or bcrypt's own form), if that was given
    :param salt: its salt; empty for none
    """

    type: str
    password: str | None = field(default=None, repr=False)
    hash: str | None = field(default=None, repr=False)
    salt: str = field(default="", repr=False)

    @property
    def kept(self) -> bool:
        """Whether the stored secret stays as it is, whatever it is."""
        return self.password is None and self.hash is None

    def matches(self, shown: ShownSecret) -> bool:
        """Whether a stored secret is this password.

        :raises WishError: if checking bcrypt needs the bcrypt library and it is not installed
        """
        if self.hash is not None:
            return hmac.compare_digest((self.hash + self.salt).encode(), (shown.hash + shown.salt).encode())
        password = (self.password or "").encode()
        bcrypt = _bcrypt("authentication") if self.type == "bcrypt_password" else None
        try:
            if bcrypt:
                return bool(bcrypt.checkpw(password[:72], shown.hash.encode()))
            expected = self.password if self.type == "plaintext_password" else digest(self.type, password, shown.salt)
        except ValueError:
            return False  # a stored hash or salt that cannot be one belongs to no password
        return hmac.compare_digest((expected or "").encode(), shown.hash.encode())

    def clause(self) -> tuple[str | Secret, ...]:
        """The method with its secret, hashed here wherever the type has a hash form.

        :raises WishError: if there is none because the stored one is kept
        """
        if self.kept:
            raise WishError("authentication", ALL_AT_ONCE)
        if self.type == "plaintext_password":
            return ("plaintext_password BY ", Secret(self.password or ""))
        method = METHODS[self.type]
        hashed, salt = self.hash, self.salt
        if hashed is None:
            password = (self.password or "").encode()
            if self.type == "bcrypt_password":
                bcrypt = _bcrypt("authentication")
                hashed = bcrypt.hashpw(password, bcrypt.gensalt(12, prefix=b"2a")).decode()
            else:
                salt = secrets.token_hex(32).upper() if method.salted else ""
                hashed = digest(self.type, password, salt)
        clause: tuple[str | Secret, ...] = (f"{method.hash_type} BY ", Secret(hashed))
        return (*clause, " SALT ", Secret(salt)) if salt else clause


@dataclass(frozen=True)
class ShownSecret:
    """A stored secret, where the server shows it: hash (or plain text) and salt."""

    type: str
    hash: str = field(repr=False)
    salt: str = field(default="", repr=False)


def digest(method: str, password: bytes, salt: str) -> str:
    """Hash a password as ClickHouse's AuthenticationData does; hexadecimal in upper case.

    :param method: ``sha256_password``, ``double_sha1_password`` or ``scram_sha256_password``
    :param salt: appended to the password (sha256) or base64 text (scram); empty for none
    """
    if method == "double_sha1_password":
        return hashlib.sha1(hashlib.sha1(password).digest()).hexdigest().upper()
    if method == "scram_sha256_password":
        key = base64.b64decode(salt + "=" * (-len(salt) % 4))
        return hashlib.pbkdf2_hmac("sha256", password, key, _SCRAM_ITERATIONS).hex().upper()
    return hashlib.sha256(password + salt.encode()).hexdigest().upper()


def _bcrypt(option: str) -> Any:
    try:
        import bcrypt  # an optional requirement: only this one method needs it
    except ImportError:
        raise WishError(
            option,
            "bcrypt_password from a text needs the Python library bcrypt (pip install bcrypt); or give password_hash",
        ) from None
    return bcrypt


# -- what was asked -------------------------------------------------------------------------------------------------


def wished(
    option: str, methods: Sequence[Mapping[str, Any]], times: Mapping[str, str], default_valid_until: str | None
) -> tuple[list[MethodDocument], list[Credential]]:
    """Return the wished methods as documents, and their passwords apart.

    :param option: path of the option, for errors
    :param methods: the option's value
    :param times: canonical form of every VALID UNTIL text that occurs
    :param default_valid_until: canonical expiry for methods without their own; ``None`` if that was not said either
    :return: documents in the order given, and one credential for each password method, in the same order
    :raises WishError: for a method that lacks something, or has something that is not its own; what ClickHouse would
        store although it cannot work is for :func:`check_new` to refuse, because it may be stored already
    """
    if not methods:
        raise WishError(option, "an empty list would leave the user without authentication: say type: no_password")
    documents: list[MethodDocument] = []
    credentials: list[Credential] = []
    for index, entry in enumerate(methods):
        path = f"{option}[{index}]"
        kind = entry["type"]
        method = METHODS[kind]
        allowed = {"type", "valid_until", *method.parameters, *(_SECRET_OPTIONS if method.password else ())}
        for key in sorted(key for key, value in entry.items() if value is not None and key not in allowed):
            raise WishError(f"{path}.{key}", f"type {kind} does not take it")
        for key in method.required:
            if entry.get(key) in (None, []):
                raise WishError(f"{path}.{key}", f"type {kind} needs it")
        document: MethodDocument = {"type": kind, **_parameters(path, kind, entry)}
        if method.password:
            credentials.append(_credential(path, kind, method, entry))
            document["password"] = HIDDEN
        valid_until = times[entry["valid_until"]] if entry.get("valid_until") is not None else default_valid_until
        if valid_until is not None:
            document["valid_until"] = valid_until
        documents.append(document)
    if len(documents) > 1 and any(document["type"] == "no_password" for document in documents):
        raise WishError(option, "no_password cannot stand beside other methods")
    return documents, credentials


def _parameters(path: str, kind: str, entry: Mapping[str, Any]) -> MethodDocument:
    if kind == "ssl_certificate":
        common_names, alt_names = entry.get("common_names") or (), entry.get("subject_alt_names") or ()
        if bool(common_names) == bool(alt_names):
            raise WishError(path, "ssl_certificate needs either common_names or subject_alt_names")
        key, values = ("common_names", common_names) if common_names else ("subject_alt_names", alt_names)
        return {key: sorted({check_text(f"{path}.{key}", value) for value in values})}
    if kind == "ssh_key":
        keys = []
        for index, ssh_key in enumerate(entry["ssh_keys"]):
            where = f"{path}.ssh_keys[{index}]"
            keys.append({part: check_name(f"{where}.{part}", ssh_key[part]) for part in ("key", "type")})
        return {"ssh_keys": sorted(keys, key=lambda item: (item["type"], item["key"]))}
    document = {key: check_text(f"{path}.{key}", entry[key]) for key in METHODS[kind].parameters if entry.get(key)}
    if "server" in METHODS[kind].parameters:
        document.setdefault("server", "")
    if kind == "http":
        document["scheme"] = document.get("scheme", "basic").upper()
    return document


def check_new(
    option: str, before: Sequence[MethodDocument], methods: Sequence[MethodDocument], kept: Collection[int] = ()
) -> None:
    """Refuse wished methods that could never let anybody in, unless the user has them already.

    ClickHouse stores them without a word (seen on 25.8 and 26.9), so an export may hold them.

    :param option: path of the option, for errors
    :param before: the current methods
    :param methods: the wished ones, as :func:`wished` makes them
    :param kept: the indexes of those whose secret is kept
    :raises WishError: naming the method
    """
    pairs = paired(before, methods, kept)
    for index, document in enumerate(methods):
        if pairs[index] is None:
            _check_sense(f"{option}[{index}]", document)


def _check_sense(path: str, document: MethodDocument) -> None:
    if document.get("server") == "":
        raise WishError(f"{path}.server", f"type {document['type']} needs it")
    for name in document.get("common_names", ()):
        check_name(f"{path}.common_names", name)
    for name in document.get("subject_alt_names", ()):
        if not re.match(r"(DNS|URI):.", name):
            raise WishError(f"{path}.subject_alt_names", f"{name!r} must begin with DNS: or URI:")
    for item in document.get("ssh_keys", ()):
        if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", item["key"]):
            raise WishError(f"{path}.ssh_keys", "give the base64 part of a public key alone as key")


def _credential(path: str, kind: str, method: Method, entry: Mapping[str, Any]) -> Credential:
    password, hashed, salt = (entry.get(key) for key in _SECRET_OPTIONS)
    if password is not None and hashed is None:
        if salt is not None:
            raise WishError(f"{path}.salt", "goes with password_hash; with password the module makes a random salt")
        return _credential_from_text(path, kind, password)
    if hashed is not None and password is None:
        return _credential_from_hash(path, kind, method, hashed, salt or "")
    if hashed is not None:
        raise WishError(path, f"{kind} takes either password or password_hash")
    if salt:
        raise WishError(f"{path}.salt", "goes with password_hash")
    return Credential(kind)


def _credential_from_text(path: str, kind: str, password: str) -> Credential:
    check_text(f"{path}.password", password, secret=True)
    if kind == "bcrypt_password":
        _bcrypt(f"{path}.password")
        if len(password.encode()) > 72:
            raise WishError(f"{path}.password", "bcrypt takes at most 72 bytes")
        if "\0" in password:
            raise WishError(f"{path}.password", "bcrypt cannot take a NUL character")
    return Credential(kind, password=password)


def _credential_from_hash(path: str, kind: str, method: Method, hashed: str, salt: str) -> Credential:
    if not method.hash_type:
        raise WishError(f"{path}.password_hash", f"{kind} has no hash form: give password")
    canonical = hashed if kind == "bcrypt_password" else hashed.upper()
    if not re.fullmatch(method.hash_pattern, canonical):
        raise WishError(f"{path}.password_hash", f"is not a hash of {kind}: expected {method.hash_pattern}")
    if salt and not method.salted:
        raise WishError(f"{path}.salt", f"{kind} takes no salt")
    if kind == "scram_sha256_password":
        if not salt:
            raise WishError(f"{path}.salt", "a hash of scram_sha256_password needs its salt")
        try:
            base64.b64decode(salt + "=" * (-len(salt) % 4), validate=True)
        except ValueError:
            raise WishError(f"{path}.salt", "the salt of scram_sha256_password must be base64") from None
    return Credential(kind, hash=canonical, salt=check_text(f"{path}.salt", salt, secret=True))


# -- what the server says -------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[A-Za-z0-9_+/=.:$-]+|[(),]|\S", re.DOTALL)
_BY_HASH = {method.hash_type: name for name, method in METHODS.items() if method.hash_type}


def _unquote(token: str) -> str:
    return unquote(token) if token[:1] in ("'", "`") else token


def shown_methods(create: str) -> tuple[list[MethodDocument], list[ShownSecret]]:
    """Read the authentication methods out of ``SHOW CREATE USER``.

    No system table shows ssh keys, an HTTP authenticator's server, secrets, or (in older versions) an expiry, so for
    these the statement is read token by token; names and strings are whole tokens, whatever they contain.

    :param create: the statement as the server prints it: one user, and the methods right behind its name
    :return: documents as :func:`wished` makes them, and the secrets that are shown, in order
    """
    tokens = deque(_TOKEN.findall(create)[3:])  # CREATE USER name
    kind = "no_password"  # 24.8 leaves it out, or says NOT IDENTIFIED
    if tokens and tokens[0] in ("IDENTIFIED", "NOT"):
        first = tokens.popleft()
        word = tokens.popleft()
        if first == "IDENTIFIED":
            kind = tokens.popleft() if word == "WITH" else word
    documents: list[MethodDocument] = []
    shown: list[ShownSecret] = []
    while True:
        document: MethodDocument = {"type": _BY_HASH.get(kind, kind)}
        values = _shown_parameters(tokens)
        _fill(document, values)
        if METHODS.get(document["type"], Method()).password:
            document["password"] = HIDDEN
            if "BY" in values:
                secret = values["BY"][0]
                if document["type"] == "bcrypt_password":
                    secret = secret.rstrip("\0")  # ClickHouse keeps it in a buffer that is longer, and shows all of it
                shown.append(ShownSecret(document["type"], secret, values.get("SALT", [""])[0]))
        documents.append(document)
        if not tokens or tokens.popleft() != ",":
            return documents, shown
        kind = tokens.popleft()


def _shown_parameters(tokens: deque[str]) -> dict[str, list[str]]:
    """Take what belongs to one method off the tokens: the values behind each word, ssh keys as KEY and TYPE."""
    values: dict[str, list[str]] = {}
    while tokens and tokens[0] in ("BY", "SALT", "SERVER", "SCHEME", "REALM", "CN", "SAN", "VALID", "GRANTS"):
        word = tokens.popleft()
        if word == "GRANTS":  # system.users.auth_grants has them, and they are not ours
            depth = 0
            while (token := tokens.popleft()) != ")" or depth > 1:
                depth += {"(": 1, ")": -1}.get(token, 0)
        elif word == "VALID":
            tokens.popleft()
            values["UNTIL"] = [_unquote(tokens.popleft())]
        elif tokens[0] == "KEY":
            while True:
                for _pair in ("KEY", "TYPE"):
                    values.setdefault(tokens.popleft(), []).append(_unquote(tokens.popleft()))
                if list(islice(tokens, 2)) != [",", "KEY"]:
                    break
                tokens.popleft()
        else:
            values[word] = [_unquote(tokens.popleft())]
            while len(tokens) > 1 and tokens[0] == "," and tokens[1][0] == "'":
                tokens.popleft()
                values[word].append(_unquote(tokens.popleft()))
    return values


def _fill(document: MethodDocument, values: Mapping[str, list[str]]) -> None:
    if "server" in METHODS.get(document["type"], Method()).parameters:
        document["server"] = values.get("SERVER", [""])[0]
    for word, key in (("REALM", "realm"), ("SCHEME", "scheme")):
        if values.get(word, [""])[0]:
            document[key] = values[word][0]
    for word, key in (("CN", "common_names"), ("SAN", "subject_alt_names")):
        if word in values:
            document[key] = sorted(values[word])
    if "KEY" in values:
        pairs = zip(values["KEY"], values["TYPE"], strict=True)
        document["ssh_keys"] = sorted(
            ({"key": key, "type": kind} for key, kind in pairs), key=lambda item: (item["type"], item["key"])
        )
    if "UNTIL" in values:
        document["valid_until"] = values["UNTIL"][0]


def row_methods(
    types: Sequence[str], parameters: Sequence[Mapping[str, Any]], valid_until: Sequence[str]
) -> list[MethodDocument]:
    """Build method documents from a row of ``system.users``.

    :param types: ``auth_type``
    :param parameters: ``auth_params``, decoded
    :param valid_until: ``valid_until`` as text, empty for never; may be shorter than ``types`` on versions without it
    """
    documents = []
    for index, kind in enumerate(types):
        document: MethodDocument = {"type": kind}
        if "server" in METHODS.get(kind, Method()).parameters:
            document["server"] = parameters[index].get("server", "")
        if parameters[index].get("realm"):
            document["realm"] = parameters[index]["realm"]
        for key in ("common_names", "subject_alt_names"):
            if parameters[index].get(key):
                document[key] = sorted(parameters[index][key])
        if METHODS.get(kind, Method()).password:
            document["password"] = HIDDEN
        if index < len(valid_until) and valid_until[index]:
            document["valid_until"] = valid_until[index]
        documents.append(document)
    return documents


# -- the wished methods and the current ones ------------------------------------------------------------------------


def credentials_of(methods: Sequence[MethodDocument], credentials: Iterable[Credential]) -> list[Credential | None]:
    """Return the credential of each method, ``None`` for those that have none.

    :param credentials: one for each password method, in the same order
    """
    left = iter(credentials)
    return [next(left) if "password" in method else None for method in methods]


def kept(methods: Sequence[MethodDocument], credentials: Iterable[Credential]) -> frozenset[int]:
    """Return the indexes of the wished methods whose stored secret is kept."""
    wanted = enumerate(credentials_of(methods, credentials))
    return frozenset(index for index, credential in wanted if credential is not None and credential.kept)


def paired(
    before: Sequence[MethodDocument], methods: Sequence[MethodDocument], keeping: Collection[int] = ()
) -> list[int | None]:
    """Return which current method each wished one stands for: one of the same type and parameters.

    Those that keep a secret choose first, because they need one; among several the one with the wished expiry is
    taken, or where none is wished one that nobody else asks for, and then the first.

    :param before: the current methods
    :param methods: the wished ones
    :param keeping: the indexes of those whose secret is kept
    :return: an index into ``before`` for each of ``methods``; ``None`` for one that is new
    """
    said = {method["valid_until"] for method in methods if "valid_until" in method}
    current = [(_comparable(method), method.get("valid_until", "")) for method in before]
    left = list(range(len(before)))
    pairs: list[int | None] = [None] * len(methods)
    for index in sorted(range(len(methods)), key=lambda item: item not in keeping):
        comparable, own = _comparable(methods[index]), methods[index].get("valid_until")
        likes = [item for item in left if current[item][0] == comparable]
        fits = [item for item in likes if (current[item][1] not in said if own is None else current[item][1] == own)]
        if likes:
            pairs[index] = (fits or likes)[0]
            left.remove((fits or likes)[0])
    return pairs


def check_kept(
    option: str, before: Sequence[MethodDocument], methods: Sequence[MethodDocument], keeping: Collection[int]
) -> None:
    """Refuse to keep what is not there, and to take a method away beside one that is kept.

    ``IDENTIFIED`` replaces all methods and needs every secret; only ``ADD IDENTIFIED`` leaves the others as they are.

    :param option: path of the option, for errors
    :param before: the current methods; empty if there is no user
    :param methods: the wished ones
    :param keeping: the indexes of those whose secret is kept
    :raises WishError: naming the method
    """
    pairs = paired(before, methods, keeping)
    for index in sorted(keeping):
        if pairs[index] is None:
            kind = methods[index]["type"]
            needed = "password or password_hash" if METHODS[kind].hash_type else "password"
            raise WishError(f"{option}[{index}].password", f"there is no stored {kind} to keep: give {needed}")
    if keeping and len(before) > sum(pair is not None for pair in pairs):
        raise WishError(option, f"a method would go while another keeps its secret; {ALL_AT_ONCE}")


def with_expiries(
    before: Sequence[MethodDocument], methods: Sequence[MethodDocument], keeping: Collection[int] = ()
) -> list[MethodDocument]:
    """Return wished methods with the expiry they will have.

    Where none was said, a method keeps the expiry of the current one it stands for; a method that is new gets the one
    that all current ones share, if they do. Said and empty means never, which a document does not mention.

    :param before: the current methods
    :param methods: the wished ones, ``valid_until`` missing where nothing was said
    :param keeping: the indexes of those whose secret is kept
    """
    shared = {method.get("valid_until", "") for method in before}
    result = []
    for method, pair in zip(methods, paired(before, methods, keeping), strict=True):
        like = before[pair] if pair is not None else {"valid_until": min(shared) if len(shared) == 1 else ""}
        expiry = method.get("valid_until", like.get("valid_until", ""))
        document = {key: value for key, value in method.items() if key != "valid_until"}
        if "grants" in like:
            document["grants"] = like["grants"]
        result.append({**document, "valid_until": expiry} if expiry else document)
    return result


def export_authentication(documents: Iterable[MethodDocument]) -> list[MethodDocument]:
    """Return the current methods as the option ``authentication`` takes them, without secrets.

    Given back, every method keeps its secret and what it is limited to, so nothing changes.

    :param documents: the methods as they are read from a server
    """
    return [
        {key: value for key, value in document.items() if key not in ("password", "grants")} for document in documents
    ]


# -- SQL ------------------------------------------------------------------------------------------------------------


def method_clause(document: MethodDocument, credential: Credential | None) -> tuple[str | Secret, ...]:
    """One method as it stands after IDENTIFIED WITH."""
    kind = document["type"]
    if credential is not None:
        parts = list(credential.clause())
    else:
        text = kind
        if "server" in document:
            text += f" SERVER {literal(document['server'])}"
        if "scheme" in document:
            text += f" SCHEME {literal(document['scheme'])}"
        if "realm" in document:
            text += f" REALM {literal(document['realm'])}"
        if "common_names" in document:
            text += f" CN {literals(document['common_names'])}"
        if "subject_alt_names" in document:
            text += f" SAN {literals(document['subject_alt_names'])}"
        if "ssh_keys" in document:
            keys = (f"KEY {literal(item['key'])} TYPE {literal(item['type'])}" for item in document["ssh_keys"])
            text += f" BY {', '.join(keys)}"
        parts = [text]
    if "valid_until" in document:
        parts.append(f" VALID UNTIL {literal(document['valid_until'])}")
    return tuple(parts)


def without_secrets_and_expiry(documents: Sequence[MethodDocument]) -> list[str]:
    """What two lists of methods are compared by: types and parameters, in any order."""
    return sorted(map(_comparable, documents))


def _comparable(document: MethodDocument) -> str:
    return repr(
        sorted((key, value) for key, value in document.items() if key not in ("password", "valid_until", "grants"))
    )
