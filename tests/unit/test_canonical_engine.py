"""Canonical forms held against the engines: what ClickHouse makes of a spelling is what canonical.py makes of it.

Settings and hosts come in by users.xml, where the engine stores them as it stores those of an access statement, and by
SETTINGS of a query, where it says what it refuses.
"""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import canonical
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError, ident, literal
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server
from tests.sandbox.engine import VERSIONS, Engine, EngineError

Servers = Callable[[str], Server]
Engines = Callable[[str], Engine]

NOWHERE_TO_WRITE = 514
"""What the engine says of a CREATE with nothing wrong in it, having no storage that can be written."""

TEXTS: dict[str, list[str]] = {
    # UInt64, NonZeroUInt64, Int64, Int32
    "max_memory_usage": ["0", "10M", "10Mi", "10K", "10k", "10Ki", "10ki", "3G", "3Gi", "2T", "2Ti", "+5", "007"],
    "max_insert_block_size": ["1", "1M", "18446744073709551615"],
    "network_zstd_compression_level": ["-1", "+3", "1K", "-9223372036854775808"],
    "os_thread_priority": ["-5", "5", "-2147483648"],
    # Bool, Seconds, Milliseconds
    "use_uncompressed_cache": ["0", "1", "true", "false", "True", "FALSE"],
    "max_execution_time": ["60", "1.5", "60.", "60.0", "1.1234567", "1.9999999", "0.0000001", "9223372036854", "1e3"],
    "connect_timeout_with_failover_ms": ["50", "1K", "9223372036854775"],
    # Float has 32 bits, Double 64
    "totals_auto_threshold": ["0.5", ".5", "1.", "1e-3", "+0.1", "123456.789", "0.3333333333", "16777217", "1e20"],
    "log_queries_probability": ["0.1", "1e-7", "1e-6", "0.00001", "1"],
    # enums, and lists of them
    "read_overflow_mode": ["throw", "break"],
    "union_default_mode": ["", "ALL", "DISTINCT"],
    "join_algorithm": ["hash", "parallel_hash, hash", "hash , direct", "hash,hash", "hash,,direct,", "default"],
    "default_table_engine": ["Memory", "None"],
    # texts
    "log_comment": ["", "10M", "true", "it's", 'a"b\\n', "é😀 %s"],
    "format_csv_delimiter": [";", "'", "\\", ""],
    "session_timezone": ["", "Europe/Berlin"],
}
LATER_TEXTS: dict[str, list[str]] = {  # settings and types that 24.8 has not
    "insert_quorum": ["auto", "2", "1K"],
    "query_plan_join_swap_table": ["auto", "true", "0"],
    "max_bytes_ratio_before_external_group_by": ["0.1", "1e-7", "123456789012345678", "1e300", "0.3333333333333333"],
    "http_response_headers": [
        "",
        "{}",
        "{ }",
        "{'t' : 'x'}",
        "{'a':'b','c' : 'd' , }",
        "{'a''b':'it\\'s \\\\ \\x41'}",
        "{'k':'tab\there\\n\\0 ü'}",
        "{'b':'1','a':'{x : y}','b':'2'}",
    ],
}
NUMBERS: dict[str, list[int | float]] = {
    "max_memory_usage": [0, 5, 1e6, 1.5, 2**64 - 1],
    "network_zstd_compression_level": [-1, 3],
    "use_uncompressed_cache": [0, 1, True, False],
    "max_execution_time": [60, 1.5, 1.1234567],
    "connect_timeout_with_failover_ms": [7.5, 50],
    "totals_auto_threshold": [0.1, 1, 1e-7, 1e20, 0.3333333333],
    "max_threads": [4, 2.7],
}
REFUSED: dict[str, list[Any]] = {
    "max_memory_usage": [
        "",
        "1e6",
        "60s",
        "10MB",
        "0x10",
        "on",
        "1 ",
        " 1",
        "1.5",
        "-1",
        "10m",
        "10P",
        "1_000",
        "٣",
        -1,
    ],
    "max_insert_block_size": ["0", 0],
    "use_uncompressed_cache": ["on", "yes", "2", "", " 1", 2, -1],
    "max_execution_time": ["60s", "10K", "", "1 ", "inf", "nan", "1_000", "٣", 9223372036855],
    "totals_auto_threshold": ["1 ", "x", "", "0x1", "1_000"],
    "max_threads": ["", "-1"],
    "format_csv_delimiter": ["ab", "é", "\\t"],
}
LATER_REFUSED: dict[str, list[Any]] = {  # 24.8 takes some of these
    "connect_timeout_with_failover_ms": ["7.5"],
    "max_insert_block_size": ["0"],
    "totals_auto_threshold": ["inf", "nan", "1e400", "3.5e38"],
    "max_threads": ["4K", "Auto", "many"],
    "http_response_headers": ["x", "{'a':1}", "{1:2}", '{"a":"b"}', "{'a' 'b'}", "{'a':'b'"],
}
STRICTER_HERE: dict[str, list[Any]] = {
    "max_memory_usage": ["18446744073709551616", "100000000000000000000"],  # the engine wraps them around
    "network_zstd_compression_level": ["9223372036854775808"],
    "max_execution_time": ["-1", -1.5],  # a time that means nothing
    "max_threads": ["auto(4)", "'auto'"],  # the engine reads them as auto
    "use_uncompressed_cache": [0.5],
    "http_response_headers": ["{'a':'b'}x"],
}
LEFT_TO_THE_SERVER: dict[str, list[str]] = {  # no table says what these types take
    "read_overflow_mode": ["Throw", "nonsense", ""],
    "join_algorithm": ["HASH"],
    "session_timezone": ["Mars/Olympus"],
}


def cases(*tables: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for table in tables for name, values in table.items() for value in values]


def kind_of(server: Server, name: str) -> canonical.SettingType:
    kind = server.setting_types([name])[name]
    assert kind.type != canonical.CUSTOM, f"this version has no setting {name}"
    return kind


def rows_of(engine: Engine, sql: str) -> list[list[Any]]:
    answer = engine.query(sql, "JSONCompactEachRow").decode()
    return [json.loads(line) for line in answer.split("\n") if line]


def as_query_setting(engine: Engine, name: str, text: str) -> str:
    """The value the engine gives a setting that is written so. Raises EngineError."""
    sql = f"SELECT value FROM system.settings WHERE name = {literal(name)} SETTINGS {ident(name)} = {text}"
    return str(rows_of(engine, sql)[0][0])


def written(value: Any) -> str:
    """A value as somebody would write it in SQL."""
    return literal(value) if isinstance(value, str) else str(int(value)) if isinstance(value, bool) else repr(value)


# -- settings in users.xml


@pytest.fixture(scope="module", params=["26.9", "25.8"])
def configured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose users.xml has one profile for each spelling of TEXTS, p0, p1, ..., and one user for each host."""
    folder = tmp_path_factory.mktemp("configured")
    profiles = "".join(
        f"<p{n}><{name}>{escape(value)}</{name}><constraints><{name}><min>{escape(value)}</min></{name}></constraints></p{n}>"
        for n, (name, value) in enumerate(cases(TEXTS, LATER_TEXTS))
    )
    common_part = "<profile>default</profile><quota>default</quota><password/>"
    users = "".join(
        f"<u{n}>{common_part}<networks>{''.join(f'<ip>{text}</ip>' for text in texts)}</networks></u{n}>"
        for n, texts in enumerate(SUBNETS)
    )
    (folder / "users.xml").write_text(
        f"<clickhouse><profiles><default/>{profiles}<threads><max_threads>0</max_threads></threads></profiles>"
        f"<quotas><default/></quotas><users>{users}<default>{common_part}<networks><ip>::/0</ip></networks>"
        "<access_management>1</access_management></default></users></clickhouse>"
    )
    (folder / "config.xml").write_text(
        f"<clickhouse><user_directories><users_xml><path>{folder}/users.xml</path></users_xml></user_directories>"
        "</clickhouse>"
    )
    with Engine(request.param, f"{folder}/data?config-file={folder}/config.xml") as engine:
        yield engine


def test_stored_settings(configured: Engine, server: Servers) -> None:
    rows = rows_of(
        configured, "SELECT profile_name, value, min FROM system.settings_profile_elements WHERE profile_name LIKE 'p%'"
    )
    stored = {name: (value, low) for name, value, low in rows}
    wrong = []
    for n, (name, value) in enumerate(cases(TEXTS, LATER_TEXTS)):
        kind = kind_of(server(configured.version), name)
        wanted = canonical.setting_value("value", value, kind)
        if stored[f"p{n}"] != (wanted, wanted) or canonical.stored_value(stored[f"p{n}"][0], kind) != wanted:
            wrong.append((name, value, wanted, stored[f"p{n}"]))
    assert not wrong


def test_automatic_threads_are_stored_as_the_number_of_cores(configured: Engine, server: Servers) -> None:
    kind = kind_of(server(configured.version), "max_threads")
    stored = rows_of(configured, "SELECT value FROM system.settings_profile_elements WHERE profile_name = 'threads'")
    for spelling in ("auto", "0", 0):
        assert canonical.setting_value("value", spelling, kind) == canonical.stored_value(stored[0][0], kind)


# -- settings in SQL


@pytest.mark.parametrize("version", VERSIONS)
def test_numbers_and_what_is_sent_for_any_value(version: str, engine: Engines, server: Servers) -> None:
    wrong = []
    texts = cases(TEXTS) if version == "24.8" else cases(TEXTS, LATER_TEXTS)
    for name, value in texts + cases(NUMBERS):
        if name == "max_insert_block_size":
            continue  # its value is bounded anew in each query
        kind = kind_of(server(version), name)
        wanted = canonical.setting_value("value", value, kind)
        meant = as_query_setting(engine(version), name, written(value))
        sent = as_query_setting(engine(version), name, common._setting_literal(kind, wanted))
        if not wanted == meant == sent:
            wrong.append((name, value, wanted, meant, sent))
    assert not wrong


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_engine_refuses_is_refused_here(version: str, engine: Engines, server: Servers) -> None:
    wrong = []
    for name, value in cases(REFUSED) if version == "24.8" else cases(REFUSED, LATER_REFUSED):
        if version == "24.8" and name == "max_insert_block_size":
            continue  # there its type is UInt64
        with suppress(EngineError):
            wrong.append((name, value, "the engine", as_query_setting(engine(version), name, written(value))))
        try:
            wrong.append((name, value, "we", canonical.setting_value("value", value, kind_of(server(version), name))))
        except WishError as error:
            assert error.option == "value"
    assert not wrong


@pytest.mark.parametrize(("name", "value"), cases(STRICTER_HERE))
def test_some_is_refused_here_that_the_engine_takes(name: str, value: Any, engine: Engines, server: Servers) -> None:
    as_query_setting(engine("26.9"), name, written(value))
    with pytest.raises(WishError):
        canonical.setting_value("value", value, kind_of(server("26.9"), name))


@pytest.mark.parametrize(("name", "value"), cases(LEFT_TO_THE_SERVER))
def test_some_is_left_to_the_server_to_refuse(name: str, value: str, engine: Engines, server: Servers) -> None:
    text = common._setting_literal(kind := kind_of(server("26.9"), name), canonical.setting_value("value", value, kind))
    with pytest.raises(EngineError):
        as_query_setting(engine("26.9"), name, text)


def test_an_alias_is_the_setting_it_stands_for(server: Servers) -> None:
    assert server("26.9").setting_types(["insert_distributed_sync"])["insert_distributed_sync"].name == (
        "distributed_foreground_insert"
    )
    assert server("26.9").setting_types(["custom_x"])["custom_x"].type == canonical.CUSTOM
    kind = server("26.9").setting_types(["merge_tree_old_parts_lifetime"])["merge_tree_old_parts_lifetime"]
    assert (kind.name, kind.type) == ("merge_tree_old_parts_lifetime", "Seconds")


# -- hosts


def some_subnets() -> list[list[str]]:
    """Addresses and subnets in many spellings, one list for each user, always the same."""
    dice = random.Random(7)
    found = [
        ["10.0.0.1/255.255.255.0"], ["0.0.0.0/0"], ["1.2.3.4/0.0.0.0"], ["127.0.0.1/8"], ["127.5.6.7"], ["127.0.0.0/7"],
        ["::1/128"], ["::1/120"], ["::ffff:127.0.0.1"], ["::ffff:127.0.0.0/104"], ["::ffff:127.9.9.9/120"],
        ["::ffff:0:0/96"], ["::ffff:0.0.0.0"], ["::ffff:10.0.0.1/95"], ["2001:DB8:0:0:1:0:0:1"], ["1:0:0:2::3"],
        ["2001:db8::1/ffff:ffff::"], ["10.1.2.3/08"], ["0:0:1::"], ["64:ff9b::1.2.3.4"], ["::ffff:0:1.2.3.4"], ["::"],
        ["192.168.1.1", "127.0.0.1", "192.168.0.0/16", "192.168.1.1/32"], ["10.0.0.1", "::/0"],
    ]  # fmt: skip
    for _unused in range(150):
        # of ::/96 and ::ffff:0.0.0.0/104 the engine does not show all
        four = ipaddress.IPv4Address(dice.getrandbits(32) | 1 << 24)
        words = [dice.choice((0, 0, 1, dice.getrandbits(16))) for _unused in range(8)]
        words[0] = words[0] or 0x2001
        six = ipaddress.IPv6Address(":".join(f"{word:x}" for word in words))
        found += [
            [f"{four}/{dice.randint(0, 32)}", str(ipaddress.IPv4Address(dice.getrandbits(32)))],
            [f"{four}/{ipaddress.IPv4Network((0, dice.randint(0, 32))).netmask}"],
            [f"{six.exploded.upper()}/{dice.randint(0, 128)}", str(six)],
            [f"::ffff:{four}/{dice.randint(97, 128)}"],
        ]
    return found


SUBNETS = some_subnets()


def test_stored_hosts(configured: Engine) -> None:
    rows = rows_of(
        configured,
        "SELECT name, host_ip, host_names, host_names_regexp, host_names_like FROM system.users WHERE name LIKE 'u%'",
    )
    stored = {name: canonical.stored_host(*columns) for name, *columns in rows}
    wrong = [
        (texts, stored[f"u{n}"], wanted)
        for n, texts in enumerate(SUBNETS)
        if stored[f"u{n}"] != (wanted := canonical.host("host", {"ip": texts}))
    ]
    assert not wrong
    assert len({repr(document) for document in stored.values()}) > 400


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.0/", "::1/129", "fe80::1%lo", "1.2.3.256", "x", "1.2.3.4/-1"])
def test_hosts_that_the_engine_refuses(configured: Engine, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        configured.query(f"CREATE USER nobody HOST IP {literal(text)}")
    assert caught.value.code != NOWHERE_TO_WRITE
    with pytest.raises(WishError):
        canonical.host("host", {"ip": [text]})


@pytest.mark.parametrize("text", ["010.0.0.1", "1.2.3", "10.0.0.1/255.0.255.0", "10.0.0.0/ffff::", "0x7f.1.1.1", ""])
def test_hosts_that_the_engine_takes_for_something_else(configured: Engine, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        configured.query(f"CREATE USER nobody HOST IP {literal(text)}")
    assert caught.value.code == NOWHERE_TO_WRITE
    with pytest.raises(WishError):
        canonical.host("host", {"ip": [text]})


# -- dates


@pytest.mark.parametrize("version", VERSIONS)
def test_dates_in_the_form_they_are_stored_in(version: str, server: Servers) -> None:
    dates = {
        "infinity": "",
        "": "",
        "2040-01-01": "2040-01-01 00:00:00",
        "2040-12-31 23:59:59": "2040-12-31 23:59:59",
        "1960-01-01": "1970-01-01 00:00:01",
    }
    found = server(version).times("valid_until", dates)
    assert {text: found[text] for text in dates} == dates
    zones = server(version).times("valid_until", ["06/11/2040 08:03:20 Z+3", "2040-11-06 05:03:20Z"])
    assert zones["06/11/2040 08:03:20 Z+3"] == zones["2040-11-06 05:03:20Z"]
    with pytest.raises(WishError, match="valid_until: 'tomorrow' is not a date"):
        server(version).times("valid_until", ["tomorrow"])
