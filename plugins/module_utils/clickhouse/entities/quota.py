# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quotas: what they are counted by, the limits of each interval, and who they apply to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import canonical
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Current,
    Document,
    EntityType,
    Need,
    Ref,
    Row,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Statement,
    WishError,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

KEYS = (
    "none",
    "user_name",
    "ip_address",
    "forwarded_ip_address",
    "client_key",
    "client_key_or_user_name",
    "client_key_or_ip_address",
    "normalized_query_hash",
)
PREFIX_BITS = {"ipv4_prefix_bits": 32, "ipv6_prefix_bits": 128}
"""How many bits the whole address has: where none are said, each address is counted by itself."""
_IP_KEYS = ("ip_address", "forwarded_ip_address")
"""The keys that ClickHouse takes prefix bits with (ParserCreateQuotaQuery)."""
LIMITS = (
    "queries",
    "query_selects",
    "query_inserts",
    "errors",
    "result_rows",
    "result_bytes",
    "read_rows",
    "read_bytes",
    "execution_time",
    "written_bytes",
    "failed_sequential_authentications",
    "queries_per_normalized_hash",
)
"""In ClickHouse's order."""
_SINCE = {
    "ipv4_prefix_bits": (26, 6),
    "ipv6_prefix_bits": (26, 6),
    "normalized_query_hash": (26, 4),
    "queries_per_normalized_hash": (26, 4),
}
"""The version that brought it, from ClickHouse's changelog (PRs 89270 and 99586)."""
UNITS = {
    "year": 31556952,
    "quarter": 7889238,
    "month": 2629746,
    "week": 604800,
    "day": 86400,
    "hour": 3600,
    "minute": 60,
    "second": 1,
}
"""Seconds, largest first. ClickHouse takes a mean month (IntervalKind::toAvgSeconds)."""
_LONGEST = 2**32 - 1
"""``system.quotas`` shows durations as UInt32; longer ones wrap around there."""
_MOST_SECONDS = 18446744073.7
"""``execution_time`` is kept as nanoseconds in 64 bits."""

DEFAULTS: Document = {"keyed_by": "none", "intervals": [], "apply_to": {"none": True}}
OPTIONS: dict[str, Any] = {
    **common.OPTIONS,
    "keyed_by": {"type": "str", "choices": list(KEYS)},
    **{name: {"type": "int"} for name in PREFIX_BITS},
    "intervals": {
        "type": "list",
        "elements": "dict",
        "options": {
            "duration": {"type": "raw", "required": True},
            "randomized": {"type": "bool", "default": False},
            "tracking_only": {"type": "bool", "default": False},
            **{name: {"type": "raw"} for name in LIMITS},
        },
    },
    "apply_to": common.names_option("all"),
}


# -- options to canonical form --------------------------------------------------------------------------------------


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one quota.

    :raises WishError: for anything the server could not take
    """
    document: Document = {}
    refs: list[Ref] = []
    if options.get("keyed_by") is not None:
        document["keyed_by"] = options["keyed_by"]
        _require(server, "keyed_by", document["keyed_by"])
    for name, whole in PREFIX_BITS.items():
        if options.get(name) is not None:
            document[name] = options[name]
            if not 0 <= document[name] <= whole:
                raise WishError(name, f"{document[name]} is not a number of bits between 0 and {whole}")
            if document[name] < whole:
                _require(server, name, name)
    if options.get("intervals") is not None:
        intervals: dict[int, Document] = {}
        for index, entry in enumerate(options["intervals"]):
            option = f"intervals[{index}]"
            one = interval(option, entry)
            for name in one:
                _require(server, f"{option}.{name}", name)
            seconds = one["duration"]
            if seconds in intervals:
                raise WishError(f"{option}.duration", f"the interval of {_duration_text(seconds)} is given twice")
            intervals[seconds] = one
        document["intervals"] = [intervals[seconds] for seconds in sorted(intervals)]
    common.wish_names(options, "apply_to", "all", ("user", "role"), document, refs)
    return common.base_wish("quota", options, document, refs)


def _require(server: Server, option: str, what: str) -> None:
    if what in _SINCE:
        server.require(option, _SINCE[what], what)


def interval(option: str, wanted: Mapping[str, Any]) -> Document:
    """Return one interval in the form ``system.quota_limits`` shows it.

    A limit of 0 is none for ClickHouse (EnabledQuota), so it is left out.

    :param option: path of the option, for errors
    :param wanted: ``duration``, ``randomized``, ``tracking_only`` and limits (omitted or null: not limited)
    :return: ``duration`` (seconds), ``randomized``, and the limits in ClickHouse's order or ``tracking_only``
    :raises WishError: for a value that is none, and for an interval that says nothing or contradicts itself
    """
    given = [name for name in LIMITS if wanted.get(name) is not None]
    if not given and not wanted.get("tracking_only"):
        raise WishError(option, "an interval needs a limit, or tracking_only: true to count without limits")
    seconds = duration(f"{option}.duration", wanted["duration"])
    limits = _limits({name: _limit(f"{option}.{name}", name, wanted[name]) for name in given})
    if wanted.get("tracking_only") and "tracking_only" not in limits:
        raise WishError(f"{option}.tracking_only", f"{', '.join(given)} beside it: leave one of them out")
    return {"duration": seconds, "randomized": bool(wanted.get("randomized")), **limits}


def _limits(values: Mapping[str, float]) -> Document:
    """Return the limits that limit something, or that none does."""
    return {name: values[name] for name in LIMITS if values.get(name)} or {"tracking_only": True}


def duration(option: str, wanted: Any) -> int:
    """Return an interval's length in seconds.

    :param wanted: a number of seconds, or a number and a unit (``90 minutes``)
    :raises WishError: for anything else, for parts of seconds, and outside 1 second to 136 years
    """
    match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*)\s*([a-z]*?)s?\s*", str(wanted), re.IGNORECASE)
    unit = (match[2].lower() or "second") if match and not isinstance(wanted, bool) else ""
    if match is None or unit not in UNITS:
        raise WishError(option, f"{wanted!r} is no duration: write seconds, or a number and one of {', '.join(UNITS)}")
    seconds = Decimal(match[1]) * UNITS[unit]
    if seconds != int(seconds) or not 1 <= seconds <= _LONGEST:
        # 0 seconds would be taken by older versions, which then crash on the first query that the quota counts
        raise WishError(option, f"{wanted!r} is not a whole number of seconds between 1 and {_LONGEST}")
    return int(seconds)


def _limit(option: str, name: str, value: Any) -> float:
    """Return a limit as a number: integers may carry a suffix (``10M``, ``10Mi``), ``execution_time`` a fraction."""
    if isinstance(value, bool):
        raise WishError(option, f"{value!r} is not a number")
    text = str(value)
    if name == "execution_time" and re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        seconds = float(text)
    else:
        seconds = int(canonical.setting_value(option, value, canonical.SettingType(name, "UInt64")))
    if name != "execution_time":
        return seconds
    if seconds > _MOST_SECONDS:
        raise WishError(option, f"{text} is more than {_MOST_SECONDS} seconds, the most that ClickHouse can hold")
    return _microseconds(seconds)


def _microseconds(seconds: float) -> float:
    """Return seconds without what is lost when ClickHouse keeps them as whole nanoseconds: 8.2 shows as 8.199999999.

    So microseconds are compared, of very large numbers 15 digits, and what is not 0 stays so.
    """
    rounded = min(float(f"{round(seconds, 6):.15g}") or (0.000001 if seconds else 0), _MOST_SECONDS)
    return int(rounded) if rounded == int(rounded) else rounded


# -- rows to canonical form -----------------------------------------------------------------------------------------

NEEDS = (
    Need("quotas", ("name", "storage", "keys", "apply_to_all", "apply_to_list", "apply_to_except", *PREFIX_BITS)),
    Need(
        "quota_limits",
        ("quota_name", "duration", "is_randomized_interval", *(f"max_{name}" for name in LIMITS)),
        ("quota_name",),
    ),
)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the quotas."""
    limits = rows.by("quota_limits", "quota_name")
    quotas = {}
    for row in rows["quotas"]:
        bits = {name: int(row[name]) for name in PREFIX_BITS if row.get(name) is not None}
        document = {
            "keyed_by": "_or_".join(row["keys"]) or "none",
            **bits,
            "intervals": sorted(map(_stored, limits.get(row["name"], ())), key=lambda one: one["duration"]),
            "apply_to": common.read_names(row, "apply_to", "all"),
        }
        quotas[row["name"]] = rows.current(row, _with_bits(document))
    return quotas


def _stored(row: Row) -> Document:
    values: dict[str, float] = {
        name: int(row[f"max_{name}"])
        for name in LIMITS
        if name != "execution_time" and row.get(f"max_{name}") is not None
    }
    if row["max_execution_time"] is not None:
        values["execution_time"] = _microseconds(float(row["max_execution_time"]))
    return {
        "duration": int(row["duration"]),
        "randomized": bool(int(row["is_randomized_interval"])),
        **_limits(values),
    }


def _with_bits(document: Document) -> Document:
    """Return a document with the prefix bits of both versions of IP, if the key is an address, else without them."""
    others = {name: value for name, value in document.items() if name not in PREFIX_BITS}
    if document["keyed_by"] not in _IP_KEYS:
        return others
    return {**others, **{name: document.get(name, whole) for name, whole in PREFIX_BITS.items()}}


# -- canonical form to statements -----------------------------------------------------------------------------------


def after(before: Document | None, wished: Wish, server: Server) -> Document:
    """Return what a quota will be.

    :raises WishError: for prefix bits with a key that is no address
    """
    document = {**(before or DEFAULTS), **wished.document}
    given = [name for name in PREFIX_BITS if name in wished.document]
    if given and document["keyed_by"] not in _IP_KEYS:
        reason = f"needs keyed_by: {' or '.join(_IP_KEYS)}; the quota is keyed by {document['keyed_by']}"
        raise WishError(given[0], reason)
    return _with_bits(document)


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the statement that makes a quota what it should be, if any."""
    was = before or DEFAULTS
    clauses: list[str] = []
    if common.changed(was, after, "keyed_by", *PREFIX_BITS):
        clauses.append(_key_clause(was, after))
    if common.changed(was, after, "intervals"):
        clauses.append(_intervals_clause(was["intervals"], after["intervals"]))
    if common.changed(was, after, "apply_to"):
        clauses.append(common.names_clause("TO", after["apply_to"], "all"))
    if before is not None and not clauses:
        return []
    return [statement(common.head("QUOTA", wished, before is not None, target), *clauses)]


def _key_clause(was: Document, after: Document) -> str:
    """Return KEYED BY, with the prefix bits if they mean something before or after: older versions lack them."""
    bits = "".join(
        f" {name.upper()} {after[name]}"
        for name, whole in PREFIX_BITS.items()
        if name in after and not whole == after[name] == was.get(name, whole)
    )
    return f"KEYED BY {after['keyed_by']}{bits}"


def _intervals_clause(was: Iterable[Document], after: Iterable[Document]) -> str:
    """Return all intervals that should be, and NO LIMITS for those that should not: ClickHouse keeps the others."""
    wanted = {one["duration"]: _interval_text(one) for one in after}
    gone = {
        one["duration"]: f"FOR INTERVAL {_duration_text(one['duration'])} NO LIMITS"
        for one in was
        if one["duration"] not in wanted
    }
    return ", ".join([*wanted.values(), *gone.values()])


def _interval_text(one: Document) -> str:
    limits = ", ".join(f"{name} = {_number_text(one[name])}" for name in LIMITS if name in one)
    head = f"FOR {'RANDOMIZED ' if one['randomized'] else ''}INTERVAL {_duration_text(one['duration'])}"
    return f"{head} {f'MAX {limits}' if limits else 'TRACKING ONLY'}"


def _duration_text(seconds: int) -> str:
    """Return a duration as ClickHouse shows it, in the largest unit that fits."""
    unit = next(unit for unit, length in UNITS.items() if seconds % length == 0 and (seconds or length == 1))
    return f"{seconds // UNITS[unit]} {unit}"


def _number_text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0")


TYPE = EntityType("quota", "QUOTA", OPTIONS, wish, NEEDS, read, after, alter)
