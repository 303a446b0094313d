# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wanted values in the form the ClickHouse server stores them, so that spelling never counts as a difference. Pure."""

from __future__ import annotations

import ipaddress
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    WishError,
    check_name,
    check_text,
    literal,
    unquote,
)

HostDocument = dict[str, Any]
NamesDocument = dict[str, Any]
SettingDocument = dict[str, Any]

IPAddress: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
IPNetwork: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

# -- hosts ----------------------------------------------------------------------------------------------------------


def host(option: str, wanted: Mapping[str, Any]) -> HostDocument:
    """Return a HOST clause in ClickHouse's normal form.

    The rules are those of ClickHouse's AllowedClientHosts: loopback in any spelling is LOCAL, a mask of zero bits (and
    LIKE ``%``, REGEXP ``.*``) is ANY, ANY swallows everything beside it, host bits are masked away, nothing is NONE.

    :param option: path of the option, for errors
    :param wanted: ``any``, ``none`` and ``local`` as booleans; ``ip``, ``name``, ``regexp`` and ``like`` as lists
    :return: only the keys that say something: ``{"any": True}``, ``{"none": True}``, or ``local`` and sorted lists
    :raises WishError: for an address that is none, and for ``none`` beside something that admits a client
    """
    any_host = bool(wanted.get("any"))
    local = bool(wanted.get("local"))
    networks: set[IPNetwork] = set()
    texts: dict[str, set[str]] = {"name": set(), "regexp": set(), "like": set()}
    for index, text in enumerate(wanted.get("ip") or ()):
        network = _network(f"{option}.ip[{index}]", text)
        if network.prefixlen == 0:
            any_host = True
        elif _is_loopback(network):
            local = True
        else:
            networks.add(network)
    for kind, values in texts.items():
        for index, text in enumerate(wanted.get(kind) or ()):
            text = check_name(f"{option}.{kind}[{index}]", text)
            if text.lower() == "localhost":
                local = True
            elif (kind, text) in (("like", "%"), ("regexp", ".*")):
                any_host = True
            else:
                values.add(text)
    admits = any_host or local or bool(networks) or any(texts.values())
    if wanted.get("none") and admits:
        raise WishError(option, "none: true admits nobody, so nothing else can stand beside it")
    if any_host:
        return {"any": True}
    if not admits:
        return {"none": True}
    document: HostDocument = {"local": True} if local else {}
    if networks:
        document["ip"] = [_network_text(network) for network in sorted(networks, key=_network_order)]
    document.update({kind: sorted(values) for kind, values in texts.items() if values})
    return document


def stored_host(
    ip: Iterable[str], names: Iterable[str], names_regexp: Iterable[str], names_like: Iterable[str]
) -> HostDocument:
    """Return the ``host_*`` columns of ``system.users`` in the form :func:`host` gives.

    A subnet that nobody can wish for here (``10.0.0.0/255.0.255.0``) is kept as the server shows it.
    """
    known: list[str] = []
    odd: list[str] = []
    for text in ip:
        try:
            _network("ip", text)
            known.append(text)
        except WishError:
            odd.append(text)
    lists = {"name": names, "regexp": names_regexp, "like": names_like}
    document = host("host", {"ip": known, **{kind: [text for text in texts if text] for kind, texts in lists.items()}})
    if odd and "any" not in document:
        document = {**document, "ip": [*document.get("ip", ()), *sorted(odd)]}
        document.pop("none", None)
    return document


def _network(option: str, text: str) -> IPNetwork:
    """Parse an address or subnet.

    :raises WishError: if it is none
    """
    try:
        return _parsed(text)
    except ValueError:
        hint = ""
        if re.match(r"(\d+\.)*0\d", text):
            hint = "; ClickHouse would read the leading zero as octal, so it is refused here"
        raise WishError(option, f"{text!r} is no IP address or subnet like 10.0.0.0/8 or 2001:db8::/32{hint}") from None


@lru_cache(maxsize=1 << 17)
def _parsed(text: str) -> IPNetwork:
    """Parse ``address``, ``address/bits`` or ``address/netmask``; host bits are dropped, as ClickHouse does.

    What is wished is as a rule what is stored, so each text comes twice, and parsing is slow.
    """
    address, slash, mask = text.strip().partition("/")
    if address.lower() == "::ffff:":
        address += "0.0.0.0"  # ClickHouse leaves these zeros out when it shows an address
    if "%" in address:
        raise ValueError("ClickHouse has no zones")
    parsed = ipaddress.ip_address(address)
    if slash and not mask.isdigit():
        mask = str(_mask_bits(ipaddress.ip_address(mask), parsed.version))
    bits = int(mask) if slash else parsed.max_prefixlen
    if isinstance(parsed, ipaddress.IPv4Address):
        return ipaddress.IPv4Network((int(parsed), bits), strict=False)
    return ipaddress.IPv6Network((int(parsed), bits), strict=False)


def _mask_bits(mask: IPAddress, version: int) -> int:
    width = mask.max_prefixlen
    bits = bin(int(mask)).count("1")
    if mask.version != version or int(mask) != ((1 << bits) - 1) << (width - bits):
        raise ValueError("not a contiguous netmask")
    return bits


@lru_cache(maxsize=1 << 17)
def _is_loopback(network: IPNetwork) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return network.subnet_of(_LOOPBACK_V4)
    return network.subnet_of(_LOOPBACK_MAPPED) or network == _LOOPBACK


_LOOPBACK = ipaddress.IPv6Network("::1/128")
_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_MAPPED = ipaddress.IPv6Network("::ffff:127.0.0.0/104")


def _network_order(network: IPNetwork) -> tuple[bool, int, int, int]:
    """Addresses before subnets, as ClickHouse lists them; then by value."""
    return network.prefixlen != network.max_prefixlen, network.version, int(network.network_address), network.prefixlen


def _network_text(network: IPNetwork) -> str:
    address = network.network_address
    text = str(address)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        text = f"::ffff:{address.ipv4_mapped}"
    return text if network.prefixlen == network.max_prefixlen else f"{text}/{network.prefixlen}"


def host_admits(document: HostDocument, address: str) -> bool | None:
    """Say whether a HOST document admits a client, as far as an address alone can tell.

    :param document: as :func:`host` returns it
    :param address: the client's address as the server sees it
    :return: ``True`` or ``False``; ``None`` where a name decides (NAME, REGEXP, LIKE), which the server resolves, or a
        subnet that cannot be read here
    """
    if document.get("any"):
        return True
    client = ipaddress.ip_address(address)
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    if document.get("local") and client.is_loopback:
        return True
    undecided = any(document.get(kind) for kind in ("name", "regexp", "like"))
    for text in document.get("ip", ()):
        try:
            network = _network("ip", text)
        except WishError:
            undecided = True
            continue
        mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}", strict=False)
        if client.version == network.version and client in network:
            return True
    return None if undecided else False


# -- sets of names: default roles, grantees, who a profile applies to -------------------------------------------------


def names(option: str, wanted: Mapping[str, Any], everyone: str) -> NamesDocument:
    """Return a set of users and roles in normal form.

    :param option: path of the option, for errors
    :param wanted: ``everyone`` as a boolean with ``except`` as a list, or ``names`` as a list, or nothing (nobody)
    :param everyone: the word for all of them in this clause: ``all`` or ``any``
    :return: ``{everyone: True}``, with a sorted ``except`` if there is one; ``{"names": [...]}``; or ``{"none": True}``
    :raises WishError: for ``names`` beside ``everyone``, or ``except`` without it
    """
    listed = _names(f"{option}.names", wanted.get("names"))
    excluded = _names(f"{option}.except", wanted.get("except"))
    if wanted.get(everyone):
        if listed or wanted.get("none"):
            raise WishError(
                option, f"{everyone}: true already names everybody: leave names and none out, or use except"
            )
        return {everyone: True, "except": excluded} if excluded else {everyone: True}
    if excluded:
        raise WishError(option, f"except needs {everyone}: true")
    if listed and wanted.get("none"):
        raise WishError(option, "none: true and names contradict each other")
    return {"names": listed} if listed else {"none": True}


def _names(option: str, values: Iterable[str] | None) -> list[str]:
    return sorted({check_name(f"{option}[{index}]", value) for index, value in enumerate(values or ())})


# -- settings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SettingType:
    """What ``system.settings`` says of a setting.

    :param name: the setting's own name (aliases are followed)
    :param type: the type's name, ``UInt64`` or ``OverflowMode``; empty for a custom setting
    :param default: the server's default as text; ``auto(2)`` for thread counts
    """

    name: str
    type: str
    default: str = ""


_SUFFIX = {"": 1, "k": 1000, "ki": 1024}  # ClickHouse: readIntText and parseReadableSize in SettingsFields.cpp
for _power, _letter in enumerate("KMGT", start=1):
    _SUFFIX[_letter] = 1000**_power
    _SUFFIX[_letter + "i"] = 1024**_power

WRITABILITY = ("writable", "const", "changeable_in_readonly")
CUSTOM = ""
"""The type of a setting that the server does not know: allowed by ``custom_settings_prefixes``, kept as typed."""


def setting(option: str, wanted: Mapping[str, Any], kind: SettingType) -> SettingDocument:
    """Return one element of SETTINGS in the form ``system.settings_profile_elements`` shows it.

    :param option: path of the option, for errors
    :param wanted: ``value``, ``min``, ``max`` (omitted or null: not set) and ``writability``
    :param kind: the setting's type
    :return: ``name`` and what is set, values as canonical text (custom settings keep their type)
    :raises WishError: for a value the type cannot hold, or an element that says nothing
    """
    document: SettingDocument = {"name": kind.name}
    for key in ("value", "min", "max"):
        if wanted.get(key) is not None:
            document[key] = setting_value(f"{option}.{key}", wanted[key], kind)
    if wanted.get("writability"):
        document["writability"] = wanted["writability"]
    if len(document) == 1:
        raise WishError(option, f"setting {kind.name} has neither value, min, max nor writability")
    return document


def setting_value(option: str, value: Any, kind: SettingType) -> Any:
    """Return a setting's value as the server stores it.

    :raises WishError: if the type cannot hold the value
    """
    if isinstance(value, str):
        check_text(option, value)
    if kind.type == CUSTOM:
        if isinstance(value, (Mapping, list)):
            raise WishError(option, f"{value!r} is neither a number nor a text")
        return value
    convert = _CONVERTERS.get(kind.type, _enumeration)
    try:
        text = convert(value, kind)
    except (TypeError, ValueError, OverflowError):
        raise WishError(option, f"{value!r} is not a value of {kind.name}, whose type is {kind.type}") from None
    return check_text(option, text)


def _number(value: Any, low: int, high: int) -> str:
    """An integer: as number, or as text with a size suffix (``10M`` is decimal, ``10Mi`` binary).

    A text outside the range is refused, where ClickHouse would silently wrap it around.
    """
    if isinstance(value, str):
        match = re.fullmatch(r"([+-]?[0-9]+)([KkMGT]i?)?", value)
        if not match:
            raise ValueError(value)
        number = int(match[1]) * _SUFFIX[match[2] or ""]
    else:
        number = int(value)
    if not low <= number <= high:
        raise ValueError(value)
    return str(number)


def _integer(low: int, high: int) -> Callable[[Any, SettingType], str]:
    return lambda value, kind: _number(value, low, high)


def _real(value: Any) -> float:
    """A finite number, in what ClickHouse and Python both read as one."""
    if isinstance(value, str) and not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _single(number: float) -> float:
    """The nearest number that the type Float, which has 32 bits, can hold."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


def _shortest(number: float, rounded: Callable[[float], float]) -> str:
    """The fewest digits that still mean the number, as ClickHouse writes them: ``0.1``, ``1e-7``, ``1e21``."""
    texts = (f"{number:.{digits}e}" for digits in range(17))
    mantissa, _e, exponent = next(text for text in texts if rounded(float(text)) == number).partition("e")
    power = int(exponent)
    if number == 0:
        return "0"
    if not -7 < power < 21:
        return f"{mantissa}e{power}"
    return f"{Decimal(f'{mantissa}e{power}'):f}"


def _float(value: Any, kind: SettingType) -> str:
    rounded = _single if kind.type.startswith("Float") else float
    return _shortest(rounded(_real(value)), rounded)


def _bool(value: Any, kind: SettingType) -> str:
    text = str(int(value) if isinstance(value, (bool, float)) and value == int(value) else value).lower()
    if text not in ("0", "1", "false", "true"):
        raise ValueError(value)
    return "1" if text in ("1", "true") else "0"


def _seconds(value: Any, kind: SettingType) -> str:
    """Seconds, kept as a whole number of microseconds in 64 bits; less than none means nothing, so it is refused."""
    microseconds = int(Decimal(repr(_real(value))) * 1_000_000)
    if not 0 <= microseconds < 2**63:
        raise ValueError(value)
    return f"{Decimal(microseconds).scaleb(-6):f}".rstrip("0").rstrip(".")


def _threads(value: Any, kind: SettingType) -> str:
    """``auto`` and 0 mean the server's cores, and that number is what it then shows (its default reads ``auto(8)``)."""
    if isinstance(value, str) and not re.fullmatch(r"auto|[+]?[0-9]+", value):
        raise ValueError(value)  # no size suffixes here
    number = "0" if value == "auto" else _number(value, 0, 2**64 - 1)
    if number == "0":
        match = re.search(r"\d+", kind.default)
        return match[0] if match else "0"
    return number


def _auto(convert: Callable[[Any, SettingType], str]) -> Callable[[Any, SettingType], str]:
    return lambda value, kind: "auto" if value == "auto" else convert(value, kind)


def _text(value: Any, kind: SettingType) -> str:
    if isinstance(value, (Mapping, list)):
        raise TypeError(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def _char(value: Any, kind: SettingType) -> str:
    """One byte; none at all is NUL."""
    text = _text(value, kind) or "\0"
    if len(text.encode()) > 1:
        raise ValueError(value)
    return text


_MAP_TEXT = r"\s*('(?:[^'\\]|\\.|'')*')\s*"
_MAP_PAIR = re.compile(_MAP_TEXT + ":" + _MAP_TEXT, re.DOTALL)
_MAP = re.compile(rf"\s*\{{(?:\s*|{_MAP_PAIR.pattern}(?:,{_MAP_PAIR.pattern})*(?:,\s*)?)\}}\s*", re.DOTALL)


def _map(value: Any, kind: SettingType) -> str:
    """A map of texts, as the server writes it: ``{'t' : 'x'}`` is ``{'t':'x'}``."""
    if isinstance(value, Mapping):
        pairs = [(str(key), _text(item, kind)) for key, item in value.items()]
    elif value == "" or _MAP.fullmatch(value):
        pairs = [(unquote(match[1]), unquote(match[2])) for match in _MAP_PAIR.finditer(value)]
    else:
        raise ValueError(value)
    return "{" + ",".join(f"{literal(key)}:{literal(item)}" for key, item in pairs) + "}"


def _enumeration(value: Any, kind: SettingType) -> str:
    """An enum, or a list of them: case counts, blanks and empty or repeated parts of the list do not.

    Which words a type has, no system table says: the server refuses an unknown one when the statement runs.
    """
    return ",".join(dict.fromkeys(part for part in map(str.strip, _text(value, kind).split(",")) if part))


_UINT64 = _integer(0, 2**64 - 1)
_CONVERTERS: dict[str, Callable[[Any, SettingType], str]] = {
    "UInt64": _UINT64,
    "NonZeroUInt64": _integer(1, 2**64 - 1),
    "Int64": _integer(-(2**63), 2**63 - 1),
    "UInt32": _integer(0, 2**32 - 1),
    "Int32": _integer(-(2**31), 2**31 - 1),
    "Float": _float,
    "Double": _float,
    "Bool": _bool,
    "Seconds": _seconds,
    "Milliseconds": _integer(0, (2**63 - 1) // 1000),  # kept as microseconds
    "TotalsMode": _enumeration,
    "MaxThreads": _threads,
    "UInt64Auto": _auto(_UINT64),
    "BoolAuto": _auto(_bool),
    "FloatAuto": _auto(_float),
    "DoubleAuto": _auto(_float),
    "String": _text,
    "Char": _char,
    "URI": _text,
    "Timezone": _text,
    "Map": _map,
}
_BARE = {
    "UInt64",
    "NonZeroUInt64",
    "Int64",
    "UInt32",
    "Int32",
    "Bool",
    "Seconds",
    "Milliseconds",
    "MaxThreads",
}

_DUMP = re.compile(r"(U?Int(?:8|16|32|64|128|256)|Float(?:32|64)|Bool)_(.*)", re.DOTALL)


def stored_value(text: str | None, kind: SettingType) -> Any:
    """Return a value of ``system.settings_profile_elements`` in the form :func:`setting_value` gives.

    Custom settings (and those of MergeTree tables) are shown as dumps with their type: ``UInt64_5``, ``'text'``.
    """
    if text is None:
        return None
    if kind.type == CUSTOM:
        return _undump(text)
    try:
        return setting_value("stored", _undump(text) if kind.name.startswith("merge_tree_") else text, kind)
    except WishError:
        return text


def _undump(text: str) -> Any:
    match = _DUMP.fullmatch(text)
    if match:
        kind, value = match.groups()
        if kind == "Bool":
            return value in ("1", "true")
        return float(value) if kind.startswith("Float") else int(value)
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return unquote(text)
    return text


def is_bare(kind: SettingType, value: Any) -> bool:
    """Whether a canonical value is written without quotes in SQL."""
    if kind.type == CUSTOM:
        return isinstance(value, (bool, int, float))
    return kind.type in _BARE and bool(re.fullmatch(r"-?\d+(\.\d+)?", str(value)))
