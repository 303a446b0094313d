"""Quotas: every key and limit, intervals as a whole, who they apply to; what is exported changes nothing."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import Login, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import quota as quotas
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Current, Target, Wish
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, idents, literal
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Question, Server
from tests.integration.servers import administrator
from tests.integration.test_user import HOSTILE
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]
Version = tuple[int, int]

PREFIX_BITS = (26, 6)
HASHES = (26, 4)
"""The versions that brought them."""


@pytest.fixture
def quota(scratch: Any) -> str:
    """The name of a quota that is not there yet."""
    return str(scratch.reserve("quota", "q one"))


@pytest.fixture
def world(scratch: Any) -> None:
    """A user and roles to apply to."""
    for name in ("q reader", "q writer"):
        scratch.make("role", name)
    scratch.make("user", "q user")


def create(admin: Any, name: str) -> str:
    """What the server says the quota is, without its name."""
    (text,) = admin.lines(f"SHOW CREATE QUOTA {ident(name)}")
    return str(text).partition("QUOTA ")[2].removeprefix(ident(name)).strip()


FULL: Options = {
    "keyed_by": "user_name",
    "intervals": [
        {"duration": "1 month", "randomized": True, "read_bytes": "20Ti"},
        {"duration": 3600, "queries": "1M", "errors": "10k", "execution_time": 900.5},
        {"duration": "1 day", "tracking_only": True},
    ],
    "apply_to": {"names": ["q user", "q reader"]},
}
EMPTY: dict[str, tuple[Any, Any]] = {
    "keyed_by": ("none", "none"),
    "intervals": ([], []),
    "apply_to": ({}, {"none": True}),
}


def test_a_quota_comes_changes_and_goes(converges: Module, module: Module, admin: Any, world: None, quota: str) -> None:
    """Omitted is left alone, empty is cleared, one option at a time; absent is dropped."""
    assert converges("quota", {"name": quota})["entity"] == {key: cleared for key, (_empty, cleared) in EMPTY.items()}
    full = converges("quota", {"name": quota, **FULL})["entity"]
    assert full == {
        "keyed_by": "user_name",
        "intervals": [
            {"duration": 3600, "randomized": False, "queries": 1000000, "errors": 10000, "execution_time": 900.5},
            {"duration": 86400, "randomized": False, "tracking_only": True},
            {"duration": 2629746, "randomized": True, "read_bytes": 20 * 2**40},
        ],
        "apply_to": {"names": ["q reader", "q user"]},
    }
    assert create(admin, quota) == (
        "KEYED BY user_name FOR INTERVAL 1 hour MAX queries = 1000000, errors = 10000, execution_time = 900.5,"
        f" FOR INTERVAL 1 day TRACKING ONLY, FOR RANDOMIZED INTERVAL 1 month MAX read_bytes = {20 * 2**40}"
        " TO `q reader`, `q user`"
    )
    bare = module("quota", {"name": quota})
    assert not bare["changed"] and bare["entity"] == full
    for option in FULL:
        assert not module("quota", {"name": quota, option: FULL[option]})["changed"], option
    for option, (empty, cleared) in EMPTY.items():
        full = {**full, option: cleared}
        assert converges("quota", {"name": quota, option: empty})["entity"] == full
    assert create(admin, quota) == ""
    made_again = converges("quota", {"name": quota, **FULL})
    assert made_again["diff"]["before"] == full
    gone = converges("quota", {"name": quota, "state": "absent"})
    assert gone["entity"] == {} and gone["diff"]["after"] == {}
    converges("quota", {"name": quota, "state": "absent"}, changed=False)


# -- the key ---------------------------------------------------------------------------------------------------------


def known_keys(version: Version) -> list[str]:
    """The keys that this version has."""
    return [key for key in quotas.KEYS if key != "normalized_query_hash" or version >= HASHES]


def test_from_each_key_to_the_next(converges: Module, admin: Any, version: Version, quota: str) -> None:
    """In both directions, and nothing else moves."""
    intervals = FULL["intervals"]
    converges("quota", {"name": quota, "intervals": intervals})
    keys = known_keys(version)
    for key in (*keys[1:], *reversed(keys[:-1])):
        changed = converges("quota", {"name": quota, "keyed_by": key})
        assert changed["entity"]["keyed_by"] == key and len(changed["entity"]["intervals"]) == len(intervals)
        (stored,) = admin.rows(f"SELECT toJSONString(keys) FROM system.quotas WHERE name = {literal(quota)}")
        assert json.loads(stored[0]) == ([] if key == "none" else key.split("_or_"))


def bits_of(admin: Any, name: str) -> list[str]:
    """The stored prefix bits."""
    (row,) = admin.rows(f"SELECT ipv4_prefix_bits, ipv6_prefix_bits FROM system.quotas WHERE name = {literal(name)}")
    return list(row)


def test_prefix_bits(converges: Module, module: Module, admin: Any, version: Version, quota: str) -> None:
    """They come, change one by one, outlive a change of the address they are of, and go with it."""
    if version < PREFIX_BITS:
        pytest.skip("before 26.6 each address is counted by itself")
    both = {"ipv4_prefix_bits": 24, "ipv6_prefix_bits": 64}
    made = converges("quota", {"name": quota, "keyed_by": "ip_address", **both})
    assert made["statements"] == [
        f"CREATE QUOTA {ident(quota)} KEYED BY ip_address IPV4_PREFIX_BITS 24 IPV6_PREFIX_BITS 64"
    ]
    assert not module("quota", {"name": quota, "keyed_by": "ip_address"})["changed"]
    converges("quota", {"name": quota, "ipv4_prefix_bits": 0})
    assert bits_of(admin, quota) == ["0", "64"]
    moved = converges("quota", {"name": quota, "keyed_by": "forwarded_ip_address"})
    assert moved["entity"]["ipv4_prefix_bits"] == 0 and bits_of(admin, quota) == ["0", "64"]
    whole = converges("quota", {"name": quota, "ipv4_prefix_bits": 32, "ipv6_prefix_bits": 128})
    assert (whole["entity"]["ipv4_prefix_bits"], whole["entity"]["ipv6_prefix_bits"]) == (32, 128)
    converges("quota", {"name": quota, "ipv6_prefix_bits": 48})
    other = converges("quota", {"name": quota, "keyed_by": "user_name"})
    assert set(other["entity"]) == {"keyed_by", "intervals", "apply_to"}
    back = converges("quota", {"name": quota, "keyed_by": "ip_address"})
    assert (back["entity"]["ipv4_prefix_bits"], back["entity"]["ipv6_prefix_bits"]) == (32, 128)


def test_whole_addresses_are_said_by_every_version(converges: Module, module: Module, admin: Any, quota: str) -> None:
    """All bits are what ClickHouse does where nothing is said, so to say it changes nothing."""
    made = converges("quota", {"name": quota, "keyed_by": "ip_address", "ipv4_prefix_bits": 32})
    assert made["statements"] == [f"CREATE QUOTA {ident(quota)} KEYED BY ip_address"]
    assert (made["entity"]["ipv4_prefix_bits"], made["entity"]["ipv6_prefix_bits"]) == (32, 128)
    assert not module("quota", {"name": quota, "ipv4_prefix_bits": 32, "ipv6_prefix_bits": 128})["changed"]
    assert create(admin, quota) == "KEYED BY ip_address"


# -- intervals -------------------------------------------------------------------------------------------------------


def known_limits(version: Version) -> list[str]:
    """The limits that this version has."""
    return [name for name in quotas.LIMITS if name != "queries_per_normalized_hash" or version >= HASHES]


def test_nothing_that_the_server_has_is_left_out(admin: Any, version: Version) -> None:
    """The limits are the columns of the server, in its order; the keys are those of its error message."""
    columns = admin.lines(
        "SELECT name FROM system.columns WHERE database = 'system' AND table = 'quota_limits' AND name LIKE 'max\\_%'"
        " ORDER BY position"
    )
    assert columns == [f"max_{name}" for name in known_limits(version)]
    with pytest.raises(ServerSaid) as refused:
        admin.query("CREATE QUOTA q_probe KEYED BY nonsense")
    assert re.findall("'([a-z_]+)'", refused.value.message)[1:] == known_keys(version)


def test_every_limit(converges: Module, admin: Any, version: Version, quota: str) -> None:
    """Each comes, changes and goes without the others: the interval is the whole."""
    names = known_limits(version)
    interval: Options = {"duration": 60}
    for number, name in enumerate(names, start=5):
        for value in (number, f"{number}k"):
            interval = {**interval, name: value}
            converges("quota", {"name": quota, "intervals": [interval]})
    columns = ", ".join(f"toUInt64(max_{name})" for name in names)
    stored = admin.rows(f"SELECT {columns} FROM system.quota_limits WHERE quota_name = {literal(quota)}")
    assert stored == [[str(number * 1000) for number in range(5, 5 + len(names))]]
    for name in names[:-1]:
        del interval[name]
        entity = converges("quota", {"name": quota, "intervals": [interval]})["entity"]
        assert set(entity["intervals"][0]) == {*interval, "randomized"}
    converges("quota", {"name": quota, "intervals": [{"duration": 60, "tracking_only": True}]})
    assert create(admin, quota) == "FOR INTERVAL 1 minute TRACKING ONLY"
    largest = {"duration": 60, "queries": 2**64 - 1, "read_bytes": "16777215Ti", "execution_time": 18446744073}
    converges("quota", {"name": quota, "intervals": [largest]})


def test_the_list_of_intervals_is_the_whole(converges: Module, admin: Any, quota: str) -> None:
    """Those that are not listed are removed, those that are listed are replaced as a whole."""
    hour, day = {"duration": 3600, "queries": 10}, {"duration": 86400, "errors": 5}
    converges("quota", {"name": quota, "intervals": [hour, day]})
    other = converges(
        "quota", {"name": quota, "intervals": [{**day, "randomized": True}, {"duration": 7, "queries": 1}]}
    )
    assert other["statements"] == [
        f"ALTER QUOTA {ident(quota)} FOR INTERVAL 7 second MAX queries = 1,"
        " FOR RANDOMIZED INTERVAL 1 day MAX errors = 5, FOR INTERVAL 1 hour NO LIMITS"
    ]
    assert create(admin, quota) == (
        "FOR INTERVAL 7 second MAX queries = 1, FOR RANDOMIZED INTERVAL 1 day MAX errors = 5"
    )
    converges("quota", {"name": quota, "intervals": [day]})
    assert create(admin, quota) == "FOR INTERVAL 1 day MAX errors = 5"


SPELLINGS: list[tuple[Options, Options]] = [
    ({"duration": 3600, "queries": 10000}, {"duration": "1 hour", "queries": "10k"}),
    ({"duration": 3600, "queries": 10000}, {"duration": "60 Minutes", "queries": "10000", "errors": 0}),
    ({"duration": 3600, "queries": 10000}, {"duration": "3600", "queries": 1e4, "randomized": False}),
    ({"duration": 5400, "result_bytes": 10485760}, {"duration": "1.5 HOUR", "result_bytes": "10Mi"}),
    ({"duration": 2629746, "read_rows": 1}, {"duration": " 1 month ", "read_rows": 1.9}),
    ({"duration": 7889238, "read_rows": 1}, {"duration": "3 months", "read_rows": "1"}),
    ({"duration": 31556952, "read_rows": 1}, {"duration": "4 quarters", "read_rows": "1"}),
    ({"duration": 604800, "read_rows": 1}, {"duration": "7days", "read_rows": "1"}),
    ({"duration": 1, "execution_time": 8.2}, {"duration": "1second", "execution_time": "8.20"}),
    ({"duration": 1, "execution_time": 90}, {"duration": 1, "execution_time": "9e1", "queries": "0"}),
    ({"duration": 1, "execution_time": 1000}, {"duration": 1.0, "execution_time": "1k"}),
    ({"duration": 60, "tracking_only": True}, {"duration": 60, "queries": 0}),
    ({"duration": 60, "tracking_only": True}, {"duration": 60, "queries": 0, "tracking_only": True}),
]


@pytest.mark.parametrize(("plain", "spelled"), SPELLINGS)
def test_another_spelling_is_no_change(
    converges: Module, module: Module, quota: str, plain: Options, spelled: Options
) -> None:
    """Units, suffixes, fractions, zeros: what the server stores counts."""
    made = converges("quota", {"name": quota, "intervals": [plain]})
    assert made["entity"]["intervals"] == [{"randomized": False, **plain}]
    for intervals in ([spelled], made["entity"]["intervals"]):
        assert not module("quota", {"name": quota, "intervals": intervals})["changed"]


@pytest.mark.parametrize("seconds", [8.2, 16.4, 1.001, 0.000001, 1e-7, 123456.789012345, 18446744073.7, 1e10])
def test_execution_times_that_the_server_rounds(converges: Module, admin: Any, quota: str, seconds: float) -> None:
    """It keeps whole nanoseconds and drops the rest: 8.2 shows as 8.199999999. No run takes that for a change."""
    converges("quota", {"name": quota, "intervals": [{"duration": 1, "execution_time": seconds}]})
    shown = admin.query(f"SELECT max_execution_time FROM system.quota_limits WHERE quota_name = {literal(quota)}")
    assert math.isclose(float(shown), max(seconds, 1e-6), rel_tol=1e-12, abs_tol=1e-6)


def test_limits_are_real(module: Module, clickhouse: Any, scratch: Any, quota: str) -> None:
    """The server stops a user at them, and at none where the interval only counts."""
    user = scratch.make("user", "q user", "IDENTIFIED WITH sha256_password BY 'for tests 1'")
    options: Options = {"name": quota, "keyed_by": "user_name", "apply_to": {"names": [user]}}
    module("quota", {**options, "intervals": [{"duration": "1 year", "result_rows": 2}]})
    session = clickhouse.session(user, "for tests 1")
    with pytest.raises(ServerSaid) as refused:
        for _attempt in range(3):
            session.query("SELECT number FROM numbers(5)")
    assert refused.value.code == 201
    module("quota", {**options, "intervals": [{"duration": "1 year", "tracking_only": True}]})
    for _attempt in range(3):
        session.query("SELECT number FROM numbers(5)")


# -- who it applies to -----------------------------------------------------------------------------------------------


def test_apply_to(converges: Module, admin: Any, world: None, quota: str) -> None:
    """Each form, and from each to the next; only TO is said."""
    converges("quota", {"name": quota, **FULL})
    for wished, stored in (
        ({"all": True}, {"all": True}),
        ({"all": True, "except": ["q writer", "q user"]}, {"all": True, "except": ["q user", "q writer"]}),
        ({"names": ["q writer", "q user", "q writer"]}, {"names": ["q user", "q writer"]}),
        ({"none": True}, {"none": True}),
        ({"names": ["q reader"]}, {"names": ["q reader"]}),
    ):
        result = converges("quota", {"name": quota, "apply_to": wished})
        assert result["entity"]["apply_to"] == stored
        (statement,) = result["statements"]
        assert statement.startswith(f"ALTER QUOTA {ident(quota)} TO ")
    assert create(admin, quota).endswith(" TO `q reader`")


@pytest.mark.parametrize(
    ("wished", "option"),
    [
        ({"names": ["q missing"]}, "apply_to.names"),
        ({"all": True, "except": ["q missing"]}, "apply_to.except"),
    ],
)
def test_missing_names(failed: Module, module: Module, admin: Any, quota: str, wished: Options, option: str) -> None:
    """Refused before anything is changed; in check mode an earlier task may only pretend to make them."""
    result = failed("quota", {"name": quota, "apply_to": wished})
    assert result["option"] == option and "q missing does not exist" in result["msg"]
    assert admin.query(f"SELECT count() FROM system.quotas WHERE name = {literal(quota)}") == "0\n"
    predicted = module("quota", {"name": quota, "apply_to": wished}, check=True)
    assert predicted["changed"] and "q missing does not exist" in json.dumps(predicted["warnings"])


def test_for_a_user_and_a_role_of_the_same_run(admin: Any, login: Options, scratch: Any, quota: str) -> None:
    """Users and roles are made before quotas, so TO stands in the statement that makes the quota."""
    user, role = scratch.reserve("user", "q new user"), scratch.reserve("role", "q new role")
    with_server = _server(login)
    options = {"name": quota, "apply_to": {"names": [user, role]}}
    coming = frozenset({("user", user), ("role", role)})
    wish = quotas.TYPE.wish(options, with_server)
    change = plan(quotas.TYPE, wish, {"": None}, Target(coming=coming), with_server)
    for statement in (f"CREATE USER {ident(user)}", f"CREATE ROLE {ident(role)}", *(s.sql for s in change.statements)):
        admin.query(statement)
    assert len(change.statements) == 1 and create(admin, quota) == "TO `q new role`, `q new user`"


# -- names, where quotas live, and what is refused -------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_is_a_name(module: Module, converges: Module, scratch: Any, admin: Any, text: str) -> None:
    """As the name of the quota and of whom it applies to."""
    scratch.make("role", text)
    scratch.reserve("quota", text)
    options = {"name": text, "intervals": [{"duration": 60, "queries": 1}], "apply_to": {"names": [text]}}
    assert converges("quota", options)["entity"]["apply_to"] == {"names": [text]}
    assert converges("quota", {"name": text, "intervals": [], "apply_to": {"all": True, "except": [text]}})
    assert admin.query(f"SELECT apply_to_except = [name] FROM system.quotas WHERE name = {literal(text)}") == "1\n"
    module("quota", {"name": text, "state": "absent"})
    assert admin.query(f"SELECT count() FROM system.quotas WHERE name = {literal(text)}") == "0\n"


def test_storage(converges: Module, module: Module, failed: Module, admin: Any, quota: str) -> None:
    """Made where it is said, moved if it is elsewhere, dropped only from where it is said."""
    (home,) = admin.lines("SELECT name FROM system.user_directories WHERE type = 'local_directory'")
    made = converges("quota", {"name": quota, "storage": home, "keyed_by": "user_name"})
    assert made["statements"] == [f"CREATE QUOTA {ident(quota)} IN `{home}` KEYED BY user_name"]
    moved = module("quota", {"name": quota, "storage": "elsewhere"}, check=True)
    assert moved["statements"] == [f"MOVE QUOTA {ident(quota)} TO `elsewhere`"]
    assert (moved["diff"]["before"]["storage"], moved["diff"]["after"]["storage"]) == (home, "elsewhere")
    refused = failed("quota", {"name": quota, "storage": "elsewhere"})
    assert refused["failed_statement"] == moved["statements"][0] and refused["done"] == []
    assert not module("quota", {"name": quota, "state": "absent", "storage": "elsewhere"})["changed"]
    gone = converges("quota", {"name": quota, "state": "absent", "storage": home})
    assert gone["statements"] == [f"DROP QUOTA {ident(quota)} FROM `{home}`"]


def test_on_cluster(module: Module, failed: Module, admin: Any, world: None, quota: str) -> None:
    """Every statement carries ON CLUSTER, and the server takes it as its own grammar has it."""
    clusters = admin.lines("SELECT DISTINCT cluster FROM system.clusters")
    if not clusters:
        pytest.skip("this server has no cluster")
    clause = f"ON CLUSTER {ident(clusters[0])}"
    options: Options = {"cluster": clusters[0], "name": quota}
    made = module("quota", {**options, **FULL}, check=True)
    assert made["statements"][0].startswith(f"CREATE QUOTA {ident(quota)} {clause} KEYED BY")
    try:
        admin.query(f"DROP QUOTA IF EXISTS q_probe {clause}")
    except ServerSaid as without_keeper:
        # ON CLUSTER goes through Keeper; without one the server says so, and so does the module
        refused = failed("quota", {**options, **FULL})
        assert refused["code"] == without_keeper.code and refused["failed_statement"] == made["statements"][0]
        return
    assert module("quota", {**options, **FULL})["statements"] == made["statements"]
    assert not module("quota", {**options, **FULL})["changed"]
    less = module("quota", {**options, "intervals": []})
    assert less["statements"] == [
        f"ALTER QUOTA {ident(quota)} {clause} FOR INTERVAL 1 hour NO LIMITS, FOR INTERVAL 1 day NO LIMITS,"
        " FOR INTERVAL 1 month NO LIMITS"
    ]
    assert module("quota", {**options, "state": "absent"})["statements"] == [f"DROP QUOTA {ident(quota)} {clause}"]


def test_quotas_of_the_configuration(module: Module, failed: Module, admin: Any) -> None:
    """A quota in users.xml is reported as it is, and not touched."""
    rows = admin.lines("SELECT name FROM system.quotas WHERE storage IN ('users_xml', 'users.xml') LIMIT 1")
    if not rows:
        pytest.skip("no quota in users.xml here")
    known = module("quota", {"name": rows[0]})
    assert known["changed"] is False
    assert not module("quota", {"name": rows[0], **known["entity"]})["changed"]
    for options in ({"intervals": [{"duration": 60, "queries": 77}]}, {"state": "absent"}):
        assert "SQL cannot change" in failed("quota", {"name": rows[0], **options})["msg"]


HOUR: Options = {"duration": 3600, "queries": 1}


@pytest.mark.parametrize(
    ("options", "option", "said"),
    [
        ({"name": ""}, "name", "empty"),
        ({"storage": ""}, "storage", "empty"),
        ({"cluster": ""}, "cluster", "empty"),
        ({"intervals": [{"duration": 60}]}, "intervals[0]", "tracking_only"),
        ({"intervals": [{"duration": 0, "queries": 1}]}, "intervals[0].duration", "whole number"),
        ({"intervals": [HOUR, {"duration": "1 hours", "errors": 1}]}, "intervals[1].duration", "1 hour"),
        ({"intervals": [{**HOUR, "duration": 0.5}]}, "intervals[0].duration", "whole number"),
        ({"intervals": [{**HOUR, "duration": "0.1 second"}]}, "intervals[0].duration", "whole number"),
        ({"intervals": [{**HOUR, "duration": -5}]}, "intervals[0].duration", "-5"),
        ({"intervals": [{**HOUR, "duration": 2**32}]}, "intervals[0].duration", "4294967295"),
        ({"intervals": [{**HOUR, "duration": "137 years"}]}, "intervals[0].duration", "4294967295"),
        ({"intervals": [{**HOUR, "duration": "1 fortnight"}]}, "intervals[0].duration", "quarter"),
        ({"intervals": [{**HOUR, "duration": "hour"}]}, "intervals[0].duration", "'hour'"),
        ({"intervals": [{**HOUR, "duration": True}]}, "intervals[0].duration", "True"),
        ({"intervals": [{**HOUR, "duration": [60]}]}, "intervals[0].duration", "[60]"),
        ({"intervals": [{**HOUR, "tracking_only": True}]}, "intervals[0].tracking_only", "queries"),
        ({"intervals": [{**HOUR, "errors": "many"}]}, "intervals[0].errors", "many"),
        ({"intervals": [{**HOUR, "errors": -1}]}, "intervals[0].errors", "-1"),
        ({"intervals": [{**HOUR, "errors": True}]}, "intervals[0].errors", "True"),
        ({"intervals": [{**HOUR, "errors": 2**64}]}, "intervals[0].errors", "18446744073709551616"),
        ({"intervals": [{**HOUR, "errors": "20000000T"}]}, "intervals[0].errors", "20000000T"),
        ({"intervals": [{**HOUR, "errors": "1.5"}]}, "intervals[0].errors", "1.5"),
        ({"intervals": [{**HOUR, "execution_time": "1m"}]}, "intervals[0].execution_time", "1m"),
        ({"intervals": [{**HOUR, "execution_time": "nan"}]}, "intervals[0].execution_time", "nan"),
        ({"intervals": [{**HOUR, "execution_time": 18446744074}]}, "intervals[0].execution_time", "18446744073"),
        ({"keyed_by": "ip_address", "ipv4_prefix_bits": 33}, "ipv4_prefix_bits", "0 and 32"),
        ({"keyed_by": "ip_address", "ipv6_prefix_bits": -1}, "ipv6_prefix_bits", "0 and 128"),
        ({"keyed_by": "user_name", "ipv4_prefix_bits": 32}, "ipv4_prefix_bits", "ip_address"),
        ({"keyed_by": "client_key_or_ip_address", "ipv6_prefix_bits": 128}, "ipv6_prefix_bits", "ip_address"),
        ({"ipv4_prefix_bits": 32}, "ipv4_prefix_bits", "keyed by none"),
        ({"apply_to": {"all": True, "none": True}}, "apply_to", "all"),
        ({"apply_to": {"names": ["default"], "none": True}}, "apply_to", "none"),
        ({"apply_to": {"except": ["default"]}}, "apply_to", "all"),
    ],
)
def test_refused_by_option(failed: Module, admin: Any, quota: str, options: Options, option: str, said: str) -> None:
    """Before anything is changed, whether or not the quota is there."""
    for _step in ("missing", "there"):
        result = failed("quota", {"name": quota, **options})
        assert result["option"] == option and said in result["msg"] and result["msg"].endswith("Nothing was changed.")
        before = admin.query(f"SELECT count() FROM system.quotas WHERE name = {literal(quota)}")
        assert before == ("0\n" if _step == "missing" else "1\n")
        admin.query(f"CREATE QUOTA IF NOT EXISTS {ident(quota)}")


@pytest.mark.parametrize(
    ("options", "option", "since"),
    [
        ({"keyed_by": "normalized_query_hash"}, "keyed_by", HASHES),
        ({"intervals": [{"duration": 1, "queries_per_normalized_hash": 1}]}, "", HASHES),
        ({"keyed_by": "ip_address", "ipv4_prefix_bits": 24}, "ipv4_prefix_bits", PREFIX_BITS),
        ({"keyed_by": "forwarded_ip_address", "ipv6_prefix_bits": 64}, "ipv6_prefix_bits", PREFIX_BITS),
    ],
)
def test_what_a_version_lacks(
    failed: Module, converges: Module, version: Version, quota: str, options: Options, option: str, since: Version
) -> None:
    """Refused by name, with the version that has it; where it is there, it works."""
    if version >= since:
        converges("quota", {"name": quota, **options})
        return
    result = failed("quota", {"name": quota, **options})
    assert result["option"] == (option or "intervals[0].queries_per_normalized_hash")
    assert f"needs ClickHouse {since[0]}.{since[1]} or newer" in result["msg"]


MANAGER = (
    "GRANT ACCESS MANAGEMENT ON *.* TO {} WITH GRANT OPTION",
    "GRANT SELECT ON system.quota_limits TO {}",
    "GRANT SELECT ON system.user_directories TO {}",
)
"""All that the module needs."""


@pytest.mark.parametrize(
    ("there", "options", "missing"),
    [
        (False, {"keyed_by": "user_name"}, "CREATE QUOTA"),
        (True, {"keyed_by": "user_name"}, "ALTER QUOTA"),
        (True, {"state": "absent"}, "DROP QUOTA"),
    ],
)
def test_a_refused_write(
    module: Module,
    failed: Module,
    clickhouse: Any,
    scratch: Any,
    quota: str,
    there: bool,
    options: Options,
    missing: str,
) -> None:
    """Names the privilege, and says that nothing was done; with it the same task does its work, once."""
    if there:
        scratch.make("quota", quota)
    scratch.reserve("user", "q admin")
    login = administrator(clickhouse, "q admin", *MANAGER, f"REVOKE {missing} ON *.* FROM {{}}")
    predicted = module("quota", {"name": quota, **options}, check=True, **login)
    result = failed("quota", {"name": quota, **options}, **login)
    assert (result["code"], result["error_name"], result["changed"]) == (497, "ACCESS_DENIED", False)
    assert missing in result["msg"]
    assert (result["done"], result["unknown_statement"], result["pending"]) == ([], None, [])
    assert [result["failed_statement"]] == predicted["statements"]
    allowed = administrator(clickhouse, "q admin", *MANAGER)
    assert module("quota", {"name": quota, **options}, **allowed)["changed"]
    assert not module("quota", {"name": quota, **options}, **allowed)["changed"]


@pytest.mark.parametrize("missing", ["SHOW QUOTAS ON *.*", "SELECT ON system.quota_limits"])
def test_a_refused_read(failed: Module, clickhouse: Any, scratch: Any, quota: str, missing: str) -> None:
    """What cannot be seen is never taken for absent, even in check mode."""
    scratch.make("quota", quota)
    scratch.reserve("user", "q admin")
    login = administrator(clickhouse, "q admin", *MANAGER, f"REVOKE {missing} FROM {{}}")
    for check in (True, False):
        result = failed("quota", {"name": quota, "keyed_by": "user_name"}, check=check, **login)
        assert (result["code"], result["error_name"]) == (497, "ACCESS_DENIED")
        assert (missing in result["msg"] or "system.quota" in result["msg"]) and not result.get("changed")


# -- what is exported changes nothing --------------------------------------------------------------------------------

UNITS = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"]
LIMITS = st.dictionaries(
    st.sampled_from(quotas.LIMITS),
    st.one_of(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1)),
    max_size=4,
)
SECONDS = st.one_of(
    st.floats(1e-12, 18446744073), st.decimals(0, 10**6, places=9), st.sampled_from(["8.2", "1e-9", "1e-7"])
)
INTERVALS = st.lists(
    st.tuples(st.integers(1, 130), st.sampled_from(UNITS), st.booleans(), LIMITS, st.none() | SECONDS), max_size=4
)
BITS = st.tuples(st.none() | st.integers(0, 32), st.none() | st.integers(0, 128))
NAMES = ["q user", "q reader", "q 'writer'"]
TO = st.one_of(
    st.sampled_from(["", "TO NONE", "TO ALL"]),
    st.lists(st.sampled_from(NAMES), min_size=1).map(lambda names: f"TO {idents(names)}"),
    st.lists(st.sampled_from(NAMES), min_size=1).map(lambda names: f"TO ALL EXCEPT {idents(names)}"),
)
QUOTAS = st.lists(st.tuples(st.sampled_from(quotas.KEYS), BITS, INTERVALS, TO), min_size=1, max_size=6)


def _clauses(version: Version, key: str, bits: tuple[int | None, int | None], intervals: list[Any], to: str) -> str:
    """A random quota as SQL, without what this version lacks."""
    text = f"KEYED BY {key if key in known_keys(version) else 'none'}"
    if version >= PREFIX_BITS and key in ("ip_address", "forwarded_ip_address"):
        text += "".join(f" IPV{v}_PREFIX_BITS {n}" for v, n in zip((4, 6), bits, strict=True) if n is not None)
    parts = []
    for number, unit, randomized, limits, seconds in intervals:
        values = {**limits, **({"execution_time": seconds} if seconds is not None else {})}
        if seconds is None:
            values.pop("execution_time", None)
        if to.startswith("TO ALL"):
            values = {}  # a server would hold it against the test's own queries
        said = ", ".join(f"{name} = {value}" for name, value in values.items() if name in known_limits(version))
        kind = f"{'RANDOMIZED ' if randomized else ''}INTERVAL {number} {unit}"
        parts.append(f"FOR {kind} {f'MAX {said}' if said else 'TRACKING ONLY'}")
    return " ".join(part for part in (text, ", ".join(parts), to) if part)


def _server(login: Options) -> Server:
    return Server(Session(Login.from_options(login)))


def _read(login: Options, names: list[str]) -> tuple[Server, dict[str, Current]]:
    server = _server(login)
    (rows,) = server.load(Question(quotas.NEEDS, names=frozenset(names))).values()
    return server, quotas.TYPE.read(server, rows)


def test_what_is_exported_changes_nothing(admin: Any, login: Options, version: Version) -> None:
    """Any quota that SQL can make: its export given back is no change, and makes the same quota anew."""
    names, copies = [f"q any {n}" for n in range(6)], [f"q copy {n}" for n in range(6)]
    dropped = f"DROP QUOTA IF EXISTS {idents([*names, *copies])}"

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(QUOTAS)
    def holds(wanted: list[Any]) -> None:
        admin.query(dropped)
        for name, parts in zip(names, wanted, strict=False):
            admin.query(f"CREATE QUOTA {ident(name)} {_clauses(version, *parts)}")
        server, found = _read(login, names)
        assert len(found) == len(wanted)
        for name, copy in zip(found, copies, strict=False):
            exported = json.loads(json.dumps(quotas.TYPE.export(found[name].document)))
            same = plan(quotas.TYPE, _wish(name, exported, server), {"": found[name]}, Target(), server)
            assert same.statements == () and same.after == found[name].document
            anew = plan(quotas.TYPE, _wish(copy, exported, server), {"": None}, Target(), server)
            for statement in anew.statements:
                admin.query(statement.sql)
        _server_again, copied = _read(login, copies)
        originals = [found[name].document for name in found]
        assert [copied[copy].document for copy, _name in zip(copies, found, strict=False)] == originals

    for statement in (
        "DROP ROLE IF EXISTS `q reader`, `q 'writer'`",
        "DROP USER IF EXISTS `q user`",
        "CREATE ROLE `q reader`, `q 'writer'`",
        "CREATE USER `q user`",
    ):
        admin.query(statement)
    try:
        holds()
    finally:
        admin.query(dropped)
        admin.query("DROP ROLE `q reader`, `q 'writer'`")
        admin.query("DROP USER `q user`")


def _wish(name: str, options: Options, server: Server) -> Wish:
    return quotas.TYPE.wish({"name": name, **options}, server)
