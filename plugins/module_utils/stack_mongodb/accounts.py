# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: how a user of MongoDB differs from what is wanted, and the command that makes it so.

`server` asks and commands; this file decides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
MECHANISM = "SCRAM-SHA-256"


@dataclass(frozen=True)
class Account:
    """A user as it shall be."""

    name: str
    database: str
    """The database it is made in, and logs in by."""
    password: str
    roles: tuple[tuple[str, str], ...] | None = None
    """Each as role and database; None leaves them as they are."""
    client_source: tuple[str, ...] = ()
    server_address: tuple[str, ...] = ()
    iterations: int = 15000
    """Of the password's hash, SCRAM-SHA-256."""

    @property
    def restrictions(self) -> list[Json]:
        """The value of `authenticationRestrictions`, in the form that MongoDB stores."""
        one = {"clientSource": self.client_source, "serverAddress": self.server_address}
        found = {name: sorted(network(text) for text in addresses) for name, addresses in one.items() if addresses}
        return [found] if found else []

    def allows(self, address: str) -> bool:
        """Return whether the user may log in from an address.

        :param address: the client's, as the server sees it
        """
        return not self.client_source or any(
            ipaddress.ip_address(address) in ipaddress.ip_network(text, strict=False) for text in self.client_source
        )


def network(text: str) -> str:
    """Return an address or network in one spelling, such as 10.0.0.1/32.

    :param text: the address or network
    :raises ValueError: if it is none
    """
    return str(ipaddress.ip_network(text, strict=False))


def changes(wanted: Account, current: Mapping[str, Any] | None, prepared: str, is_password_right: bool) -> Json:
    """Return the fields of createUser or updateUser that make a user what it shall be; empty if it is.

    A password is only sent where its stored hash is another, has another number of iterations, or is of another
    mechanism: so `changed` is true.

    :param wanted: the user as it shall be
    :param current: what usersInfo says with showCredentials and showAuthenticationRestrictions; None if there is none
    :param prepared: the password as SCRAM-SHA-256 takes it (SASLprep)
    :param is_password_right: whether the password is known to be right where the stored hash is not to be seen
    """
    roles = None if wanted.roles is None else [{"role": role, "db": database} for role, database in wanted.roles]
    if current is None:
        return {
            "pwd": wanted.password,
            "roles": roles or [],
            "mechanisms": [MECHANISM],
            "authenticationRestrictions": wanted.restrictions,
        }
    found: Json = {}
    credentials = current.get("credentials")
    if isinstance(credentials, Mapping):
        stored = credentials.get(MECHANISM)
        is_kept = list(credentials) == [MECHANISM] and _fits(prepared, stored or {}, wanted.iterations)
    else:
        is_kept = is_password_right
    if not is_kept:
        found["pwd"], found["mechanisms"] = wanted.password, [MECHANISM]
    if roles is not None and _sorted(current.get("roles", ())) != _sorted(roles):
        found["roles"] = roles
    if stored_restrictions(current) != wanted.restrictions:
        found["authenticationRestrictions"] = wanted.restrictions
    return found


def stored_restrictions(current: Mapping[str, Any]) -> list[Json]:
    """Return the restrictions of a user in the form of `Account.restrictions`.

    :param current: what usersInfo says with showAuthenticationRestrictions
    """
    found = []
    for one in current.get("authenticationRestrictions") or ():
        if isinstance(one, Mapping):
            kept = {name: sorted(network(text) for text in one[name]) for name in one if one[name]}
            found += [kept] if kept else []
    return found


def command(name: str, is_new: bool, fields: Mapping[str, Any]) -> Json:
    """Return the command that makes or changes a user.

    :param name: the user's name
    :param is_new: whether the user is made
    :param fields: what `changes` gave
    """
    return {("createUser" if is_new else "updateUser"): name, **fields}


def described(fields: Mapping[str, Any]) -> Json:
    """Return fields of a command as they may be shown.

    :param fields: what `changes` gave
    """
    return {key: ("(hidden)" if key == "pwd" else value) for key, value in sorted(fields.items())}


def _fits(password: str, stored: Mapping[str, Any], iterations: int) -> bool:
    """Whether a password gives a stored credential (RFC 5802, section 3), by the wanted number of iterations: another
    number gives another key.
    """
    salt = base64.b64decode(stored.get("salt", ""))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("utf-8"), salt, iterations)
    key = hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    return hmac.compare_digest(key, base64.b64decode(stored.get("storedKey", "")))


def _sorted(roles: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return sorted((str(role["role"]), str(role["db"])) for role in roles)


def member_hosts(config: Mapping[str, Any]) -> list[str]:
    """Return the members of a replica set, as host:port.

    :param config: what replSetGetConfig says under `config`
    """
    return [str(member["host"]) for member in config.get("members", ())]
