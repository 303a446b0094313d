"""Quotas without a server: canonical forms, what is read from rows, and the statements of a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import quota
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Change,
    Current,
    Document,
    Rows,
    Target,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import ordered, plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import Phase, WishError
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server


class Closed:
    """A session that must not be used."""

    def __init__(self, version: str) -> None:
        self.version = version

    def query(self, sql: str, settings: Mapping[str, Any] | None = None) -> NoReturn:
        raise AssertionError(f"asked the server: {sql}")


def server(version: str = "26.9.2.1") -> Server:
    return Server(Closed(version))  # type: ignore[arg-type]


def planned(current: Document | None, target: Target | None = None, name: str = "x", **options: Any) -> Change:
    """The plan for a wish, where this is there."""
    wish = quota.TYPE.wish({"name": name, **options}, server())
    there = None if current is None else Current({**quota.DEFAULTS, **current}, "local_directory")
    return plan(quota.TYPE, wish, {"": there}, target or Target(), server())


def sql(change: Change) -> list[str]:
    return [statement.sql for statement in change.statements]


HOUR = {"duration": 3600, "randomized": False, "queries": 5}
DAY = {"duration": 86400, "randomized": True, "tracking_only": True}


class TestDurations:
    @pytest.mark.parametrize(
        ("wanted", "seconds"),
        [
            (1, 1),
            ("1", 1),
            (3600.0, 3600),
            ("1 hour", 3600),
            ("2hours", 7200),
            (" 90 MINUTES ", 5400),
            ("0.25 minute", 15),
            ("1.5 Day", 129600),
            ("1 week", 604800),
            ("1 month", 2629746),
            ("1 quarter", 7889238),
            ("1 year", 31556952),
            (2**32 - 1, 2**32 - 1),
        ],
    )
    def test_any_spelling_is_seconds(self, wanted: Any, seconds: int) -> None:
        assert quota.duration("d", wanted) == seconds

    @pytest.mark.parametrize(
        "wanted",
        [
            0,
            -1,
            0.5,
            "0.1 second",
            2**32,
            "200 years",
            "",
            " ",
            "hour",
            "1 fortnight",
            "1 hour 5",
            True,
            None,
            [60],
            "१",
        ],
    )
    def test_anything_else_is_refused(self, wanted: Any) -> None:
        with pytest.raises(WishError) as refused:
            quota.duration("intervals[0].duration", wanted)
        assert refused.value.option == "intervals[0].duration"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (3600, "1 hour"),
            (5400, "90 minute"),
            (86400, "1 day"),
            (604800, "1 week"),
            (61, "61 second"),
            (2629746, "1 month"),
            (7889238, "1 quarter"),
            (31556952, "1 year"),
        ],
    )
    def test_statements_say_them_as_clickhouse_does(self, seconds: int, text: str) -> None:
        change = planned(None, intervals=[{"duration": seconds, "tracking_only": True}])
        assert sql(change) == [f"CREATE QUOTA `x` FOR INTERVAL {text} TRACKING ONLY"]


class TestIntervals:
    def test_limits_stand_in_the_order_of_clickhouse(self) -> None:
        options = {name: index for index, name in enumerate(reversed(quota.LIMITS), start=1)}
        (statement,) = sql(planned(None, intervals=[{"duration": 1, **options}]))
        said = statement.partition("MAX ")[2].split(", ")
        assert [part.partition(" = ")[0] for part in said] == list(quota.LIMITS)

    def test_a_limit_of_zero_is_none(self) -> None:
        assert quota.interval("i", {"duration": 1, "queries": 0, "errors": 5}) == {
            "duration": 1,
            "randomized": False,
            "errors": 5,
        }
        assert quota.interval("i", {"duration": 1, "queries": "0"})["tracking_only"]

    def test_all_are_said_and_the_others_end(self) -> None:
        change = planned({"intervals": [HOUR, DAY]}, intervals=[{**HOUR, "queries": 6}])
        assert sql(change) == [
            "ALTER QUOTA `x` FOR INTERVAL 1 hour MAX queries = 6, FOR INTERVAL 1 day NO LIMITS",
        ]

    def test_the_order_of_the_list_says_nothing(self) -> None:
        assert planned({"intervals": [HOUR, DAY]}, intervals=[DAY, HOUR]).statements == ()

    @given(st.floats(0, 18446744073.7))
    def test_what_is_kept_of_seconds_is_kept_for_good(self, seconds: float) -> None:
        """The server stores the nanoseconds of the text we send and shows them: the same, and nothing becomes none."""
        (kept,) = (
            one.get("execution_time", 0)
            for one in [quota.interval("i", {"duration": 1, "execution_time": seconds, "queries": 1})]
        )
        assert abs(kept - seconds) <= max(1e-6, seconds * 1e-14) and bool(kept) == bool(seconds)
        text = sql(planned(None, intervals=[{"duration": 1, "execution_time": seconds, "queries": 1}]))[0]
        sent = float(text.partition("execution_time = ")[2] or 0)
        shown = int(sent * 1e9) / 1e9
        again = quota.read(server(), rows({"max_execution_time": shown, "max_queries": 1}))["x"].document
        assert again["intervals"][0].get("execution_time", 0) == kept


class TestKeys:
    def test_an_address_has_bits_and_nothing_else_has(self) -> None:
        there = {"keyed_by": "ip_address", "ipv4_prefix_bits": 24, "ipv6_prefix_bits": 128}
        other = planned(there, keyed_by="client_key")
        assert sql(other) == ["ALTER QUOTA `x` KEYED BY client_key"]
        assert other.after == {**quota.DEFAULTS, "keyed_by": "client_key"}

    def test_bits_are_said_while_they_mean_something(self) -> None:
        there = {"keyed_by": "ip_address", "ipv4_prefix_bits": 24, "ipv6_prefix_bits": 128}
        for options, clause in (
            ({"ipv4_prefix_bits": 32}, "KEYED BY ip_address IPV4_PREFIX_BITS 32"),
            ({"ipv6_prefix_bits": 64}, "KEYED BY ip_address IPV4_PREFIX_BITS 24 IPV6_PREFIX_BITS 64"),
            ({"keyed_by": "forwarded_ip_address"}, "KEYED BY forwarded_ip_address IPV4_PREFIX_BITS 24"),
        ):
            assert sql(planned(there, **options)) == [f"ALTER QUOTA `x` {clause}"]
        assert sql(planned({}, keyed_by="ip_address")) == ["ALTER QUOTA `x` KEYED BY ip_address"]

    @pytest.mark.parametrize("keys", ["none", "user_name", "client_key_or_ip_address"])
    def test_bits_need_an_address(self, keys: str) -> None:
        for current, options in (({"keyed_by": keys}, {}), ({}, {"keyed_by": keys}), (None, {"keyed_by": keys})):
            with pytest.raises(WishError) as refused:
                planned(current, ipv6_prefix_bits=64, **options)
            assert refused.value.option == "ipv6_prefix_bits" and keys in refused.value.reason


@pytest.mark.parametrize(
    ("options", "option", "version"),
    [
        ({"keyed_by": "normalized_query_hash"}, "keyed_by", "26.3.9.9"),
        (
            {"intervals": [{"duration": 1, "queries_per_normalized_hash": 1}]},
            "intervals[0].queries_per_normalized_hash",
            "25.8.1.1",
        ),
        ({"keyed_by": "ip_address", "ipv4_prefix_bits": 31}, "ipv4_prefix_bits", "26.5.1.1"),
        ({"ipv6_prefix_bits": 0}, "ipv6_prefix_bits", "24.8.1.1"),
    ],
)
def test_what_a_version_lacks(options: dict[str, Any], option: str, version: str) -> None:
    with pytest.raises(WishError) as refused:
        quota.TYPE.wish({"name": "x", **options}, server(version))
    assert refused.value.option == option and version in refused.value.reason
    quota.TYPE.wish({"name": "x", **options}, server("26.6.1.1"))


# -- rows ------------------------------------------------------------------------------------------------------------


def rows(limits: dict[str, Any], **columns: Any) -> Rows:
    """A quota of one interval as a server shows it; `limits` are what is set."""
    row = {"name": "x", "storage": "local_directory", "keys": [], "apply_to_all": 0}
    row |= {"apply_to_list": [], "apply_to_except": [], **columns}
    interval = {"quota_name": "x", "duration": 60, "is_randomized_interval": 0}
    interval |= {f"max_{name}": None for name in quota.LIMITS}
    storages = [
        {"name": "users_xml", "type": "users_xml", "precedence": 1},
        {"name": "local_directory", "type": "local_directory", "precedence": 2},
    ]
    return Rows({"quotas": [row], "quota_limits": [{**interval, **limits}], "user_directories": storages})


def test_rows_in_either_form_of_numbers() -> None:
    """Some settings and versions write UInt64 as text."""
    plain = rows({"max_queries": 2**63, "duration": 60, "is_randomized_interval": 1, "max_execution_time": 1.5})
    texts = rows(
        {"max_queries": str(2**63), "duration": "60", "is_randomized_interval": "1", "max_execution_time": "1.5"}
    )
    for found in (plain, texts):
        assert quota.read(server(), found)["x"].document["intervals"] == [
            {"duration": 60, "randomized": True, "queries": 2**63, "execution_time": 1.5}
        ]


def test_rows_of_a_version_without_the_newer_columns() -> None:
    found = rows({}, keys=["ip_address"])
    del found["quota_limits"][0]["max_queries_per_normalized_hash"]
    document = quota.read(server("24.8.1.1"), found)["x"].document
    assert document == {
        "keyed_by": "ip_address",
        "ipv4_prefix_bits": 32,
        "ipv6_prefix_bits": 128,
        "intervals": [{"duration": 60, "randomized": False, "tracking_only": True}],
        "apply_to": {"none": True},
    }
    exported = {"name": "x", **quota.TYPE.export(document)}
    assert quota.TYPE.wish(exported, server("24.8.1.1")).document == document  # nothing in it is too new


def test_a_quota_of_the_configuration_is_read_only() -> None:
    found = quota.read(server(), rows({}, storage="users_xml"))["x"]
    assert found.read_only
    with pytest.raises(WishError, match="SQL cannot change"):
        wish = quota.TYPE.wish({"name": "x", "intervals": []}, server())
        plan(quota.TYPE, wish, {"": found}, Target(), server())


# -- statements ------------------------------------------------------------------------------------------------------


def test_storage_and_cluster() -> None:
    options = {"storage": "disk `2`", "keyed_by": "user_name", "apply_to": {"all": True, "except": ["a", "b`"]}}
    assert sql(planned(None, Target("c 1"), **options)) == [
        r"CREATE QUOTA `x` IN `disk \`2\`` ON CLUSTER `c 1` KEYED BY user_name TO ALL EXCEPT `a`, `b\``"
    ]
    assert sql(planned({}, Target("c 1"), storage="disk `2`")) == [r"MOVE QUOTA `x` TO `disk \`2\`` ON CLUSTER `c 1`"]
    assert sql(planned({}, Target("c 1"), keyed_by="client_key")) == [
        "ALTER QUOTA `x` ON CLUSTER `c 1` KEYED BY client_key"
    ]
    assert sql(planned({}, Target("c 1"), state="absent")) == ["DROP QUOTA `x` ON CLUSTER `c 1`"]


def test_replicas_that_differ_get_what_harms_none_of_them() -> None:
    """Each statement says what should be, so it is right on every replica; the one that lacks the quota gets it."""
    wish = quota.TYPE.wish({"name": "x", "intervals": [{"duration": 60, "queries": 1}]}, server())
    state = {
        "a": Current({**quota.DEFAULTS, "intervals": [HOUR]}, "local_directory"),
        "b": None,
        "c": Current({**quota.DEFAULTS, "intervals": [DAY]}, "local_directory"),
    }
    change = plan(quota.TYPE, wish, state, Target("c"), server())
    wanted = "FOR INTERVAL 1 minute MAX queries = 1"
    assert set(sql(change)) == {
        f"ALTER QUOTA `x` ON CLUSTER `c` {wanted}, FOR INTERVAL 1 hour NO LIMITS",
        f"CREATE QUOTA IF NOT EXISTS `x` ON CLUSTER `c` {wanted}",
        f"ALTER QUOTA `x` ON CLUSTER `c` {wanted}, FOR INTERVAL 1 day NO LIMITS",
    }


def test_who_is_made_in_the_same_run_needs_no_second_statement() -> None:
    """Users and roles come before quotas in the order of kinds."""
    target = Target(coming=frozenset({("user", "u")}))
    (statement,) = planned(None, target, apply_to={"names": ["u"]}).statements
    assert statement.sql == "CREATE QUOTA `x` TO `u`" and statement.phase == Phase.MAKE


def test_quotas_that_are_alike_share_a_statement() -> None:
    changes = [planned(None, name=name, intervals=[HOUR]) for name in ("a", "b")]
    shared = ordered(changes, {("quota", "a"): (0, 0), ("quota", "b"): (0, 0)})
    assert [one.sql for one in shared] == ["CREATE QUOTA `a`, `b` FOR INTERVAL 1 hour MAX queries = 5"]
