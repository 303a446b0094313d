# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what keeps mongod from starting with a configuration, a keyfile or a connection string from working.

`config_run` reads files and asks programs; this file decides, by the data in `schema`.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.schema import (
    MECHANISMS,
    PARAMETERS,
    PROTOCOLS,
    SETTINGS,
    VERSIONS,
    Setting,
    Version,
)

Json = dict[str, Any]
SYSTEM_DATABASES = ("admin", "local", "config")
"""Databases of MongoDB's own; an application's data does not belong there."""

_WORD = {"bool": "true or false", "int": "a whole number", "number": "a number", "str": "a text", "list": "a list"}
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "number": (int, float),
    "str": (str,),
    "list": (list,),
}
_DATABASE = re.compile(r'[^/\\. "$*<>:|?\x00]{1,63}')
"""Names that MongoDB takes for a database on every platform (Naming Restrictions, MongoDB Limits and Thresholds)."""


def version_of(text: str) -> Version:
    """Return the release series of a MongoDB version, such as (7, 0) of 7.0.14.

    :param text: `7.0`, `7.0.14`
    :raises ValueError: if it is none, or one that is not supported
    """
    known = ", ".join(_dotted(version) for version in VERSIONS)
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+.*)?", text)
    if not found:
        raise ValueError(f"{text or '(empty)'} is no version of MongoDB; there are: {known}.")
    version = int(found[1]), int(found[2])
    if version not in VERSIONS:
        raise ValueError(f"MongoDB {text} is not known here, so its settings are not either; known are: {known}.")
    return version


# -- mongod.conf -----------------------------------------------------------------------------------------------------


def settings_of(config: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full names and the values of a configuration, without those under `setParameter`.

    :param config: the configuration, as nested dictionaries
    :param name: the name of what it is a part of
    """
    for key, value in config.items():
        full = f"{name}.{key}" if name else str(key)
        if full == "setParameter":
            continue
        if isinstance(value, Mapping):
            yield from settings_of(value, full)
        else:
            yield full, value


def typed(config: Mapping[str, Any], name: str = "") -> Json:
    """Return a configuration with numbers where settings take numbers: older ansible-core makes texts of them.

    :param config: nested dictionaries
    :param name: the name of what it is a part of
    """
    found: Json = {}
    for key, value in config.items():
        full = f"{name}.{key}" if name else str(key)
        known = PARAMETERS.get(str(key)) if name == "setParameter" else SETTINGS.get(full)
        if isinstance(value, Mapping):
            found[str(key)] = typed(value, full)
        elif isinstance(value, str) and known is not None and known.kind != "str":
            found[str(key)] = _typed(value, known.kind)
        else:
            found[str(key)] = value
    return found


def _typed(text: str, kind: str) -> str | bool | int | float:
    """A text as what it stands for; the text itself where it stands for nothing of the kind."""
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in ("int", "number") and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?\d*\.\d+", text):
        return float(text)
    return text


def problems(
    config: Mapping[str, Any], version: Version, enterprise: bool = False, unchecked: Sequence[str] = ()
) -> list[str]:
    """Return what a version of mongod would refuse in a configuration.

    :param config: the content of mongod.conf, as nested dictionaries
    :param version: major and minor number
    :param enterprise: whether it is MongoDB Enterprise
    :param unchecked: parameters under setParameter that are taken as they are
    """
    found: list[str] = []
    for name, value in settings_of(config):
        found += _setting(name, value, SETTINGS, "setting", version, enterprise)
    parameters = config.get("setParameter", {})
    if not isinstance(parameters, Mapping):
        return [*found, "setParameter: this must be parameters with their values."]
    for name, value in parameters.items():
        if name not in unchecked:
            found += [
                f"setParameter.{text}" for text in _setting(name, value, PARAMETERS, "parameter", version, enterprise)
            ]
    return found or [*_net(config), *_security(config, parameters), *_rest(config)]


def _setting(
    name: str, value: Any, known: Mapping[str, Setting], what: str, version: Version, enterprise: bool
) -> Iterator[str]:
    """What is wrong with one setting or parameter."""
    setting = known.get(name)
    if setting is None:
        close = difflib.get_close_matches(name, list(known), 1)
        meant = f" Is {close[0]} meant?" if close else ""
        also = (
            " If MongoDB's documentation has it, name it in stack_mongodb_parameters_unchecked."
            if what == "parameter"
            else ""
        )
        yield f"{name}: MongoDB {_dotted(version)} has no such {what}.{meant}{also}"
    elif not setting.is_in(version):
        when = f"it came with {_dotted(setting.since)}" if version < setting.since else "it was removed"
        yield f"{name}: MongoDB {_dotted(version)} has no such {what}; {when}."
    elif setting.enterprise and not enterprise:
        yield f"{name}: only MongoDB Enterprise has this {what}, and Community does not start with it."
    elif not _is_kind(value, setting.kind):
        yield f"{name}: this is {value!r}, but it must be {_WORD[setting.kind]}."
    elif setting.choices and value not in setting.choices:
        yield f"{name}: this is {value!r}, but it must be one of {', '.join(setting.choices)}."
    elif setting.least is not None and value < setting.least:
        yield f"{name}: this is {value}, but it must be at least {setting.least:g}."
    elif setting.most is not None and value > setting.most:
        yield f"{name}: this is {value}, but it must be at most {setting.most:g}."


def _is_kind(value: Any, kind: str) -> bool:
    """Whether a value is of a kind; Python takes True for a number."""
    return isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))


def _get(config: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The value of a setting by its full name."""
    here: Any = config
    for part in name.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return default
        here = here[part]
    return here


def _net(config: Mapping[str, Any]) -> Iterator[str]:
    """What contradicts itself under `net`."""
    addresses = [text.strip() for text in _get(config, "net.bindIp", "localhost").split(",")]
    if _get(config, "net.bindIpAll") and _get(config, "net.bindIp"):
        yield "net.bindIp: mongod takes this or net.bindIpAll, not both."
    if not all(addresses):
        yield "net.bindIp: there is an empty name in it."
    if any(":" in text for text in addresses) and not _get(config, "net.ipv6"):
        yield "net.bindIp: for an IPv6 address net.ipv6 must be true."
    mode = _get(config, "net.tls.mode", "disabled")
    if mode != "disabled" and not _get(config, "net.tls.certificateKeyFile"):
        yield f"net.tls.certificateKeyFile: with net.tls.mode {mode} mongod needs a certificate and its key."
    if _get(config, "net.tls.clusterCAFile") and not _get(config, "net.tls.CAFile"):
        yield "net.tls.clusterCAFile: this needs net.tls.CAFile."
    disabled = _get(config, "net.tls.disabledProtocols", "")
    names = disabled.split(",") if disabled and disabled != "none" else []
    for name in names:
        if name not in PROTOCOLS:
            yield f"net.tls.disabledProtocols: {name!r} is none of {','.join(PROTOCOLS)}, without spaces."
    if not set(PROTOCOLS).difference(names):
        yield "net.tls.disabledProtocols: no protocol would be left."


def _security(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    """What contradicts itself about authentication."""
    keyfile = _get(config, "security.keyFile")
    mode = _get(config, "security.clusterAuthMode", "keyFile")
    is_authorized = _get(config, "security.authorization") == "enabled" or bool(keyfile)
    if _get(config, "replication.replSetName") and is_authorized and not keyfile and mode != "x509":
        yield (
            "security.keyFile: the members of a replica set with authorization prove themselves by a keyfile (or by"
            " clusterAuthMode x509); mongod does not start without."
        )
    if mode in ("sendX509", "x509") and not _get(config, "net.tls.CAFile"):
        yield f"security.clusterAuthMode: {mode} needs net.tls.CAFile."
    for text in _get(config, "security.clusterIpSourceAllowlist", []):
        yield from wrong_network("security.clusterIpSourceAllowlist", text)
    for name in filter(None, str(parameters.get("authenticationMechanisms", "")).split(",")):
        if name not in MECHANISMS:
            yield f"setParameter.authenticationMechanisms: {name!r} is none of {','.join(MECHANISMS)}, without spaces."


def _rest(config: Mapping[str, Any]) -> Iterator[str]:
    destination = _get(config, "systemLog.destination")
    if destination == "file" and not _get(config, "systemLog.path"):
        yield "systemLog.path: systemLog.destination file needs it."
    if _get(config, "systemLog.logRotate") == "reopen" and not _get(config, "systemLog.logAppend"):
        yield "systemLog.logAppend: systemLog.logRotate reopen needs it to be true."
    name = _get(config, "replication.replSetName")
    if name and _get(config, "storage.journal.enabled") is False:
        yield "storage.journal.enabled: a member of a replica set needs its journal."
    if _get(config, "sharding.clusterRole") and not name:
        yield "sharding.clusterRole: this needs replication.replSetName."
    if _get(config, "processManagement.fork"):
        yield "processManagement.fork: the container ends when its first process goes into the background."


def render(config: Mapping[str, Any], header: str = "") -> str:
    """Return a configuration as YAML. Texts are in double quotes, as JSON has them, so that none means something else.

    :param config: nested dictionaries of texts, numbers, booleans and lists of texts
    :param header: a comment for the first lines
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    return "\n".join([*lines, *_lines(config, "")]) + "\n"


def _lines(config: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key in sorted(config):
        value = config[key]
        if isinstance(value, Mapping):
            if value:
                yield f"{indent}{_key(key)}:"
                yield from _lines(value, indent + "  ")
        elif isinstance(value, (list, tuple)):
            yield f"{indent}{_key(key)}:"
            yield from (f"{indent}  - {_scalar(item)}" for item in value)
        else:
            yield f"{indent}{_key(key)}: {_scalar(value)}"


_OTHER_THAN_TEXT = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""What YAML 1.1 does not take for text, in small letters."""


def _key(name: str) -> str:
    """A setting's name as YAML."""
    return _scalar(name) if name.lower() in _OTHER_THAN_TEXT else name


def _scalar(value: Any) -> str:
    """A value as YAML. JSON is almost the same; YAML takes no pairs of surrogates, and wants a point in 1e-05."""
    if isinstance(value, str):
        return '"' + "".join(json.dumps(c)[1:-1] if c <= "\uffff" else f"\\U{ord(c):08x}" for c in value) + '"'
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return json.dumps(value)


# -- keyfile, users, members -------------------------------------------------------------------------------------------


def keys_of(text: str) -> list[str]:
    """Return the keys of a keyfile: one, or a YAML sequence of them, of which MongoDB uses the first and accepts all.

    MongoDB leaves out white space within a key (manual, Internal Authentication).

    :param text: the file's content
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not any(line.startswith("- ") for line in lines):
        return ["".join("".join(lines).split())]
    keys: list[str] = []
    for line in lines:
        if line.startswith("- "):
            keys.append("")
            line = line[2:]
        if not keys:  # text before the first dash; `wrong_keyfile` says so
            keys.append("-")
        keys[-1] += "".join(line.split())
    return [key[1:-1] if key[:1] in ("'", '"') and key[-1:] == key[:1] else key for key in keys]


def wrong_keyfile(name: str, text: str) -> list[str]:
    """Return what is wrong with a keyfile; the message never holds a key.

    :param name: the file's path
    :param text: its content
    """
    found = []
    keys = keys_of(text)
    for number, key in enumerate(keys, 1):
        which = f"{name}: key {number} of {len(keys)}" if len(keys) > 1 else f"{name}: the key"
        if not re.fullmatch(r"[A-Za-z0-9+/=]*", key):
            found.append(f"{which} has characters that base64 does not have. Make one by `openssl rand -base64 756`.")
        elif not 6 <= len(key) <= 1024:
            found.append(f"{which} has {len(key)} characters, but MongoDB wants 6 to 1024: `openssl rand -base64 756`.")
    if len(set(keys)) < len(keys):
        found.append(f"{name}: a key is in it twice.")
    return found


def wrong_network(name: str, text: Any) -> Iterator[str]:
    """Yield what is wrong with an address or network, as `authenticationRestrictions` takes them.

    :param name: where it stands
    :param text: the address or network
    """
    try:
        ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        yield f"{name}: {text or '(empty)'} is neither an address nor a network such as 10.0.0.0/8."


def wrong_member(name: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a member of a replica set.

    :param name: where it stands
    :param text: `host:port`
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal():
        yield f"{name}: {text or '(empty)'} must be host:port, such as db:27017."
    elif not 0 < int(port) < 65536:
        yield f"{name}: {port} in {text} is no port from 1 to 65535."
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]", host):
        yield f"{name}: {host} in {text} can be no name of a host."


def wrong_members(name: str, members: Sequence[str]) -> list[str]:
    """Return what is wrong with the members of a replica set.

    :param name: where they stand
    :param members: as `host:port`
    """
    found = [problem for member in members for problem in wrong_member(name, member)]
    twice = sorted({member for member in members if list(members).count(member) > 1})
    if twice:
        found.append(f"{name}: {', '.join(twice)} is there more than once; every member needs a name of its own.")
    if len(members) > 7:
        found.append(f"{name}: a replica set has at most 7 voting members, and these are {len(members)}.")
    if not members:
        found.append(f"{name}: there is no member.")
    return found


def wrong_database(name: str, text: str) -> Iterator[str]:
    """Yield what is wrong with the name of the application's database.

    :param name: where it stands
    :param text: the name
    """
    if text in SYSTEM_DATABASES:
        yield f"{name}: {text} is a database of MongoDB's own. Choose another, such as hyperdx."
    elif not _DATABASE.fullmatch(text):
        yield f"{name}: {text or '(empty)'} can be no name of a database."


def wrong_password(path: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a password; the message never holds it.

    :param path: the file that holds it
    :param text: the password
    """
    if not text:
        yield f"{path}: the password is empty."
    elif "\n" in text or "\r" in text or "\x00" in text:
        yield f"{path}: the password is more than one line."


# -- the connection string ---------------------------------------------------------------------------------------------


def connection_string(
    user: str,
    password: str,
    hosts: Iterable[str],
    database: str,
    options: Mapping[str, str | bool | int],
) -> str:
    """Return a connection string (Connection String URI Format); user and password are percent-encoded.

    :param user: the user's name
    :param password: its password
    :param hosts: `host:port`
    :param database: the default database
    :param options: such as authSource; those with an empty value are left out
    """
    pairs = [
        (key, str(value).lower() if isinstance(value, bool) else str(value))
        for key, value in options.items()
        if value != ""
    ]
    query = urlencode(pairs, safe="/,:", quote_via=quote)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"mongodb://{login}@{','.join(hosts)}/{quote(database, safe='')}" + (f"?{query}" if query else "")


def _dotted(version: Version | None) -> str:
    return ".".join(map(str, version or ()))
