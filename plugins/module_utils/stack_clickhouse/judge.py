# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what keeps ClickHouse from starting with configuration files, or makes them mean something else than they say.

`run` reads files and asks programs; this file decides.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_clickhouse.tree import Node

SERVER_SETTINGS = "config.d/hardened-limits.xml"
"""The file whose elements are all settings of the server, and nothing else."""
NAMED_COLLECTIONS = "config.d/hardened-named-collections.xml"

_PASSWORDS = ("password", "password_sha256_hex", "password_double_sha1_hex", "password_scram_sha256_hex")
_AUTHENTICATION = (
    *_PASSWORDS,
    "no_password",
    "ldap",
    "kerberos",
    "http_authentication",
    "ssl_certificates",
    "ssh_keys",
)
# what RE2 has not, and Python would take: looking around, back references, possessive and conditional groups
_NOT_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|(?<!\\)(?:\\\\)*\\[1-9]")


@dataclass(frozen=True)
class Known:
    """What the ClickHouse that will read the files says of itself: its version (`25.8.2.1`, empty if it was not asked),
    the names of settings and of server settings."""

    version: str = ""
    settings: frozenset[str] = field(default_factory=frozenset)
    server_settings: frozenset[str] = field(default_factory=frozenset)


def problems(config: Node, users: Node, known: Known) -> list[str]:
    """Return what is wrong with the files, each with its place and what to do.

    :param config: what the files in config.d give together
    :param users: what the files in users.d give together
    :param known: what ClickHouse says of itself
    """
    return [
        *_ports(config),
        *_expressions(config),
        *_authenticators(config, users),
        *_users(config, users),
        *_networks(users),
        *_disks(config),
        *_unknown(config, users, known),
        *_too_new(config, known),
    ]


def _ports(config: Node) -> Iterator[str]:
    """Ports that are none, and ports that two listeners share: ClickHouse would not start."""
    taken: dict[int, Node] = {}
    listeners = [node for node in config.children if re.search(r"(?:^|_)port(?:_secure)?$", node.name)]
    listeners += config.all("protocols", "*", "port") + config.all("prometheus", "port")
    for node in listeners:
        number = int(node.text) if node.text.isdecimal() else 0
        if not 0 < number < 65536:
            yield f"{node.place}: <{node.name}> is {node.text or 'empty'}, which is not a port from 1 to 65535."
        elif number in taken:
            yield (
                f"{node.place}: the port {number} of <{node.name}> is already taken by <{taken[number].name}>"
                f" ({taken[number].place}). Give them different ports."
            )
        else:
            taken[number] = node


def expression(pattern: str) -> re.Pattern[str]:
    """Return a regular expression that ClickHouse (RE2) and Python understand in the same way.

    :param pattern: the expression
    :raises ValueError: if one of them does not understand it
    """
    if _NOT_RE2.search(pattern):
        raise ValueError("RE2, which ClickHouse uses, cannot look around and has no back references")
    if "[:" in pattern:
        raise ValueError("classes such as [:digit:] mean something else to Python; write them as [0-9] or \\d")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(str(error)) from error


def _expressions(config: Node) -> Iterator[str]:
    nodes = config.all("password_complexity", "rule", "pattern")
    nodes += config.all("query_masking_rules", "rule", "regexp") + config.all("remote_url_allow_hosts", "host_regexp")
    for node in nodes:
        try:
            expression(node.text)
        except ValueError as error:
            yield f"{node.place}: the regular expression {node.text} cannot be used: {error}."


def broken_rules(config: Node, password: str) -> list[str]:
    """Return the messages of the password rules that a password breaks.

    ClickHouse looks for each pattern anywhere in the password, and says `The password should: <message>`.

    :param config: what the files in config.d give together
    :param password: the password
    """
    found = []
    for rule in config.all("password_complexity", "rule"):
        try:
            if not expression(rule.value("pattern")).search(password):
                found.append(rule.value("message") or f"match {rule.value('pattern')}")
        except ValueError:  # `problems` says so
            continue
    return found


def _authenticators(config: Node, users: Node) -> Iterator[str]:
    """References to authenticators that are not there. Of realm and principal, Kerberos takes one."""
    kinds = (
        ("ldap", "ldap_servers", [*config.all("user_directories", "ldap"), *users.all("users", "*", "ldap")]),
        ("http_authentication", "http_authentication_servers", users.all("users", "*", "http_authentication")),
    )
    for name, section, references in kinds:
        defined = [node.name for node in config.all(section, "*")]
        for node in references:
            if node.value("server") not in defined:
                yield (
                    f"{node.place}: <{name}> names the server {node.value('server') or '(none)'}, which is not in"
                    f" <{section}>; there are: {', '.join(defined) or 'none'}."
                )
    for section, needed in (("ldap_servers", ("host",)), ("http_authentication_servers", ("uri",))):
        for server in config.all(section, "*"):
            yield from (
                f"{server.place}: <{server.name}> in <{section}> has no <{key}>."
                for key in needed
                if not server.value(key)
            )
    kerberos = config.find("kerberos")
    if kerberos and kerberos.find("realm") and kerberos.find("principal"):
        yield f"{kerberos.place}: <kerberos> takes a realm or a principal, not both."


def _users(config: Node, users: Node) -> Iterator[str]:
    """Users with whom ClickHouse would not start: it checks users.xml against the allowed kinds of authentication, and
    takes one kind for each user."""
    forbidden = {
        kind: option
        for kind, option in (("password", "allow_plaintext_password"), ("no_password", "allow_no_password"))
        if config.value(option) in ("0", "false")
    }
    for user in users.all("users", "*"):
        kinds = [node for node in user.children if node.name in _AUTHENTICATION]
        if len(kinds) > 1:
            names = " and ".join(f"<{node.name}>" for node in kinds)
            yield f"{kinds[1].place}: the user {user.name} has {names}; ClickHouse takes one, and would not start."
        elif not kinds and user.name != "default":
            # `default` is in the image's users.xml, and a file may add to it
            yield f"{user.place}: the user {user.name} has no way to log in; give one of {', '.join(_AUTHENTICATION)}."
        for node in kinds:
            if node.name in forbidden:
                yield (
                    f"{node.place}: the user {user.name} has <{node.name}>, but {forbidden[node.name]} is 0, and"
                    " ClickHouse would not start. Use password_sha256_hex."
                )


def _networks(users: Node) -> Iterator[str]:
    for node in users.all("users", "*", "networks", "ip"):
        try:
            ipaddress.ip_network(node.text, strict=False)
        except ValueError:
            text = node.text or "empty"
            yield f"{node.place}: <ip> is {text}, which is neither an address nor a network such as 10.0.0.0/8."


def _disks(config: Node) -> Iterator[str]:
    """A disk stands on one that is named before it; ClickHouse refuses anything else (`The wrapped disk must have been
    announced earlier`, code 36)."""
    announced: list[str] = []
    for disk in config.all("storage_configuration", "disks", "*"):
        below = disk.value("disk")
        if below and below not in announced:
            yield f"{disk.place}: the disk {disk.name} lies on {below}, which must be described before it."
        announced.append(disk.name)
    for node in config.all("storage_configuration", "policies", "*", "volumes", "*", "disk"):
        if node.text not in (*announced, "default"):
            yield f"{node.place}: there is no disk {node.text}; there are: {', '.join(announced) or 'default'}."


def _unknown(config: Node, users: Node, known: Known) -> Iterator[str]:
    """Settings that do not exist. ClickHouse would not start with one in a profile, and would not see the others."""
    if not known.version:
        return
    prefixes = tuple(filter(None, (text.strip() for text in config.value("custom_settings_prefixes").split(","))))
    elements = [node for node in users.all("profiles", "*", "*") if node.name not in ("constraints", "profile")]
    for node in elements + users.all("profiles", "*", "constraints", "*"):
        if node.name not in known.settings and not (prefixes and node.name.startswith(prefixes)):
            yield _no_such(node, "setting", "system.settings", known.settings, known.version)
    for node in config.children:
        if node.file == SERVER_SETTINGS and node.name not in known.settings | known.server_settings:
            yield _no_such(node, "server setting", "system.server_settings", known.server_settings, known.version)
        elif node.name in known.settings - known.server_settings:
            # ClickHouse does not start: "appeared at top level in config", code 137
            yield f"{node.place}: {node.name} is a setting of users; it belongs in users.d, in a profile."


def _no_such(node: Node, what: str, table: str, names: frozenset[str], version: str) -> str:
    close = difflib.get_close_matches(node.name, sorted(names), 1)
    meant = f" Is {close[0]} meant?" if close else ""
    return f"{node.place}: ClickHouse {version} has no {what} {node.name} (see {table}).{meant}"


def _too_new(config: Node, known: Known) -> Iterator[str]:
    """24.8 does not start with `local_encrypted` (`Unknown storage for named collections`, code 318); 25.8 does."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", known.version)[:2])
    node = config.find("named_collections_storage", "type")
    if node and "encrypted" in node.text and () < numbers < (24, 9):
        yield (
            f"{node.place}: ClickHouse {known.version} cannot encrypt named collections. Set"
            " stack_clickhouse_named_collections to false, or use a newer one."
        )


def wrong_key(name: str, text: str, size: int) -> str:
    """Return what is wrong with an encryption key, empty if nothing is.

    :param name: what the key is called in the message; the message never holds the key
    :param text: the key in hexadecimal digits
    :param size: how many bytes the algorithm wants
    """
    if not re.fullmatch(r"[0-9A-Fa-f]*", text):
        return f"{name}: the key must be hexadecimal digits and nothing else."
    if len(text) != 2 * size:
        return f"{name}: the key has {len(text)} hexadecimal digits, but its algorithm wants {2 * size} ({size} bytes)."
    return ""


def without_hashes(content: str) -> str:
    """Return a file's content as it may be shown: without the hashes of passwords.

    :param content: the file's text
    """
    kinds = "|".join(_PASSWORDS)
    return re.sub(rf"(<({kinds})(?:\s[^>]*)?>)[^<]*(</\2>)", r"\1(hidden)\3", content)


def stale(present: Iterable[str], wanted: Iterable[str], prefix: str) -> list[str]:
    """Return the files that were written by a run before and are wanted no longer.

    :param present: paths that are there
    :param wanted: paths that shall be there
    :param prefix: how the names of our files begin
    """
    ours = {path for path in present if path.rpartition("/")[2].startswith(prefix)}
    return sorted(ours.difference(wanted))
