"""Every documented spelling of a thing is the same thing: applied twice, or in place of another, it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]


@pytest.fixture
def same(module: Module, converges: Module, scratch: Any) -> Callable[..., None]:
    """Make a new entity by each spelling; it reads as expected each time, and the next spelling changes nothing in it.

    As what is there is the same each time, this holds for each spelling over each; the first is also applied twice.
    """

    def check(kind: str, spellings: list[Options], expected: Options) -> None:
        name = f"spelt {kind}"
        for index, spelling in enumerate(spellings):
            options = {"name": scratch.reserve(kind, name), **spelling}
            made = (converges if index == 0 else module)(kind, options)
            assert made["changed"], spelling
            again = module(kind, {"name": name, **spellings[index - 1]})
            assert {key: again["entity"][key] for key in expected} == expected, spelling
            assert again["changed"] is False, (spelling, spellings[index - 1], again["statements"])

    return check


# -- HOST -----------------------------------------------------------------------------------------------------------

HOSTS: dict[str, tuple[Options, list[Options]]] = {
    "loopback is LOCAL": (
        {"local": True},
        [
            {"local": True},
            {"ip": ["127.0.0.1"]},
            {"ip": ["127.0.0.0/8"]},
            {"ip": ["127.5.0.0/255.255.0.0"]},
            {"ip": ["::1"]},
            {"ip": ["::ffff:127.0.0.1"]},
            {"name": ["LocalHost"]},
            {"like": ["localhost"]},
            {"regexp": ["localhost"]},
            {"local": True, "ip": ["127.0.0.1", "::1"], "name": ["localhost"]},
        ],
    ),
    "no bits and match-all are ANY": (
        {"any": True},
        [
            {"any": True},
            {"ip": ["::/0"]},
            {"ip": ["0.0.0.0/0"]},
            {"ip": ["10.1.2.3/0"]},
            {"ip": ["10.1.2.3/0.0.0.0"]},
            {"like": ["%"]},
            {"regexp": [".*"]},
            {"any": True, "local": True, "ip": ["10.0.0.1"], "name": ["a.example"]},
        ],
    ),
    "nothing is NONE": ({"none": True}, [{"none": True}, {}, {"ip": [], "name": []}, {"any": False, "local": False}]),
    "host bits are masked": (
        {"ip": ["192.168.1.0/24"]},
        [{"ip": [text]} for text in ("192.168.1.0/24", "192.168.1.5/24", "192.168.1.5/255.255.255.0")],
    ),
    "a whole mask is an address": (
        {"ip": ["10.0.0.1"]},
        [{"ip": [text]} for text in ("10.0.0.1", "10.0.0.1/32", "10.0.0.1/255.255.255.255")],
    ),
    "IPv6 in its short form": (
        {"ip": ["2001:db8::/32"]},
        [{"ip": [text]} for text in ("2001:db8::/32", "2001:DB8::1/32", "2001:0db8:0:0::5/ffff:ffff::")],
    ),
    "an IPv6 address": (
        {"ip": ["2001:db8::1"]},
        [{"ip": [text]} for text in ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1", "2001:db8::1/128")],
    ),
    "mapped IPv4 stays mapped": ({"ip": ["::ffff:10.0.0.1"]}, [{"ip": ["::ffff:10.0.0.1"]}, {"ip": ["::FFFF:a00:1"]}]),
    "overlapping subnets, any order, repeated": (
        {"ip": ["10.0.0.1", "10.0.0.2", "10.0.0.0/8", "10.0.0.0/16"]},
        [
            {"ip": ["10.0.0.0/16", "10.0.0.0/8", "10.0.0.2", "10.0.0.1"]},
            {"ip": ["10.0.0.1", "10.0.0.1/32", "10.0.0.2", "10.0.9.9/16", "10.0.0.0/8", "10.0.0.0/8"]},
        ],
    ),
    "case and order of names": (
        {"name": ["A.example", "a.example"], "regexp": ["^.*$", "b.*"]},
        [
            {"name": ["a.example", "A.example"], "regexp": ["b.*", "^.*$"]},
            {"name": ["A.example", "a.example", "a.example"], "regexp": ["^.*$", "b.*"]},
        ],
    ),
    "everything at once": (
        {"local": True, "ip": ["10.0.0.1", "65:ff0c::/96"], "name": ["h"], "regexp": ["r\\d"]},
        [
            {"local": True, "ip": ["65:ff0c::/96", "10.0.0.1"], "name": ["h"], "regexp": ["r\\d"]},
            {"regexp": ["r\\d"], "name": ["h", "localhost"], "ip": ["10.0.0.1", "65:FF0C::7/96"]},
        ],
    ),
    "LIKE is no other ANY": (
        {"local": True, "like": ["%%"]},
        [{"like": ["%%"], "local": True}, {"like": ["%%", "localhost"]}],
    ),
}


@pytest.mark.parametrize("case", HOSTS)
def test_hosts(same: Callable[..., None], case: str) -> None:
    """HOST as ClickHouse keeps it, whatever was written."""
    expected, spellings = HOSTS[case]
    same("user", [{"host": spelling} for spelling in spellings], {"host": expected})


def test_several_patterns(same: Callable[..., None], module: Module, version: tuple[int, int]) -> None:
    """LIKE patterns are a set; servers that would drop some of them without a word get none."""
    host = {"regexp": ["r"], "like": ["a%", "b_"]}
    if version < (25, 9):
        with pytest.raises(Exception, match=rf"host\.like: .*{version[0]}\.{version[1]}.*Nothing was changed"):
            module("user", {"name": "spelt user", "host": host})
        return
    same("user", [{"host": host}, {"host": {"like": ["b_", "a%", "b_"], "regexp": ["r", "r"]}}], {"host": host})


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "010.0.0.1", "10.1/16", "a.example", "10.0.0.0/255.0.255.0", "fe80::1%eth0"]
)
def test_no_address(module: Module, scratch: Any, text: str) -> None:
    """What is no address, or would silently mean another, is refused by name."""
    with pytest.raises(Exception, match=r"host\.ip\[1\].*Nothing was changed") as refused:
        module("user", {"name": scratch.reserve("user", "spelt"), "host": {"ip": ["10.0.0.1", text]}})
    assert repr(text) in str(refused.value)


# -- VALID UNTIL ----------------------------------------------------------------------------------------------------


def test_expiry(same: Callable[..., None], admin: Any) -> None:
    """Dates in any form, in any zone."""
    instant = "2040-11-06T05:03:20Z"
    (here,) = admin.lines(f"SELECT toString(parseDateTimeBestEffort('{instant}'), timezone())")
    texts = [here, instant, here + ".7", "06/11/2040 08:03:20 Z+3", "Tue, 06 Nov 2040 05:03:20 GMT", "2235791000"]
    expected = {"authentication": [{"type": "no_password", "valid_until": here}]}
    same("user", [{"valid_until": text} for text in texts], expected)
    on_method = [{"authentication": [{"type": "no_password", "valid_until": text}]} for text in texts[:2]]
    same("user", [*on_method, {"valid_until": here}], expected)


def test_no_expiry_and_the_past(same: Callable[..., None]) -> None:
    """`infinity` and nothing are the same; before 1970 there is only "expired"."""
    never = [{"valid_until": text, "default_database": "d"} for text in ("", "infinity", "INFINITY")]
    same("user", [*never, {"default_database": "d"}], {"authentication": [{"type": "no_password"}]})
    past = [{"valid_until": text} for text in ("1950-01-01 00:00:00", "1969-12-31 10:00:00", "1970-01-01 00:00:01Z")]
    same("user", past[:2], {"authentication": [{"type": "no_password", "valid_until": "1970-01-01 00:00:01"}]})


# -- authentication -------------------------------------------------------------------------------------------------

METHODS: dict[str, tuple[Options, list[Options]]] = {
    "http scheme": (
        {"type": "http", "server": "auth", "scheme": "BASIC"},
        [{"server": "auth"}, {"server": "auth", "scheme": "basic"}, {"server": "auth", "scheme": "BASIC"}],
    ),
    "kerberos realm": ({"type": "kerberos"}, [{}, {"realm": ""}]),
    "common names": (
        {"type": "ssl_certificate", "common_names": ["a", "b"]},
        [{"common_names": ["a", "b"]}, {"common_names": ["b", "a", "b"]}],
    ),
    "subject alternative names": (
        {"type": "ssl_certificate", "subject_alt_names": ["DNS:x.example", "URI:spiffe://a/b"]},
        [
            {"subject_alt_names": ["DNS:x.example", "URI:spiffe://a/b"]},
            {"subject_alt_names": ["URI:spiffe://a/b", "DNS:x.example", "DNS:x.example"]},
        ],
    ),
}


@pytest.mark.parametrize("case", METHODS)
def test_authentication(same: Callable[..., None], case: str) -> None:
    """Order of names and case of the scheme are no difference."""
    expected, spellings = METHODS[case]
    methods = [{"authentication": [{"type": expected["type"], **spelling}]} for spelling in spellings]
    same("user", methods, {"authentication": [expected]})


def test_order_of_methods(same: Callable[..., None], version: tuple[int, int]) -> None:
    """Several methods are a set: any of them lets the user in."""
    if version < (24, 9):
        pytest.skip("before 24.9 a user has one method")
    ldap, realm, names = (
        {"type": "ldap", "server": "one"},
        {"type": "kerberos", "realm": "EXAMPLE"},
        {"type": "ssl_certificate", "common_names": ["cn"]},
    )
    orders = ([ldap, realm, names], [names, ldap, realm], [realm, names, ldap])
    same("user", [{"authentication": order} for order in orders], {})


# -- sets of names --------------------------------------------------------------------------------------------------

NAMES: dict[str, tuple[Options, list[Options]]] = {
    "all": ({"all": True}, [{"all": True}, {"all": True, "except": []}, {"all": True, "names": []}]),
    "none": ({"none": True}, [{"none": True}, {}, {"names": []}, {"all": False}]),
    "list": ({"names": ["one", "two"]}, [{"names": ["one", "two"]}, {"names": ["two", "one", "two"]}]),
    "all except": (
        {"all": True, "except": ["one", "two"]},
        [{"all": True, "except": ["one", "two"]}, {"all": True, "except": ["two", "one", "one"]}],
    ),
}


def _everyone(document: Options, word: str) -> Options:
    return {word if key == "all" else key: value for key, value in document.items()}


@pytest.mark.parametrize("case", NAMES)
def test_sets_of_names(same: Callable[..., None], scratch: Any, case: str) -> None:
    """Default roles, grantees and who a profile applies to: order and repetition do not count, empty means nobody."""
    expected, spellings = NAMES[case]
    for role in ("one", "two"):
        scratch.make("role", role)
    granted = [{"name": "two"}, {"name": "one"}]
    defaults = [{"default_roles": spelling, "roles": granted} for spelling in spellings]
    same("user", defaults, {"default_roles": expected})
    grantees = [{"grantees": _everyone(spelling, "any")} for spelling in spellings]
    same("user", grantees, {"grantees": _everyone(expected, "any")})
    same("settings_profile", [{"apply_to": spelling} for spelling in spellings], {"apply_to": expected})


def test_order_of_roles(same: Callable[..., None], scratch: Any) -> None:
    """Granted roles are a set."""
    for role in ("one", "two"):
        scratch.make("role", role)
    roles = [{"name": "two"}, {"name": "one", "admin_option": True}]
    expected = {"roles": [{"name": "one", "admin_option": True}, {"name": "two", "admin_option": False}]}
    for kind in ("user", "role"):
        same(kind, [{"roles": roles}, {"roles": roles[::-1]}], expected)


def test_order_of_profiles(module: Module, same: Callable[..., None], scratch: Any) -> None:
    """The last profile wins, so their order is a difference; a repeated one stands where it was named last."""
    for profile in ("one", "two"):
        scratch.make("settings_profile", profile)
    for kind in ("user", "role", "settings_profile"):
        orders = [["one", "two"], ["two", "one", "two"], ["one", "one", "two"]]
        same(kind, [{"profiles": order} for order in orders], {"profiles": ["one", "two"]})
        turned = module(kind, {"name": f"spelt {kind}", "profiles": ["two", "one"]})
        assert turned["changed"] and turned["entity"]["profiles"] == ["two", "one"]


# -- settings -------------------------------------------------------------------------------------------------------

# name, canonical value, spellings; one profile takes the first spelling of each, another the second, and so on
SETTINGS: list[tuple[str, str, list[Any]]] = [
    ("max_memory_usage", "10000000", [10000000, "10000000", "10M", "10000k", "10000K", "+10000000", 1e7]),
    ("max_rows_to_read", "10485760", ["10Mi", "10240Ki", "10240ki", 10485760]),
    ("max_bytes_to_read", "2199023255552", ["2Ti", "2048Gi", 2199023255552]),
    ("max_result_rows", "3000000000000", ["3T", "3000G", 3 * 10**12]),
    ("max_result_bytes", "18446744073709551615", [2**64 - 1, "18446744073709551615"]),
    ("log_queries", "1", [True, 1, "1", "true", "True", "TRUE"]),
    ("force_index_by_date", "0", [False, 0, "0", "false", "FALSE"]),
    ("max_execution_time", "60", [60, "60", "60.0", 60.0, "6e1", ".6e2"]),
    ("receive_timeout", "1.5", [1.5, "1.5", "1.50"]),
    ("connect_timeout_with_failover_ms", "7", [7, "7", 7.5]),
    ("read_overflow_mode", "break", ["break", " break "]),
    ("join_algorithm", "parallel_hash,hash", ["parallel_hash,hash", "parallel_hash, hash", " parallel_hash ,hash,"]),
    (
        "additional_table_filters",
        "{'t':'a = \\'x\\''}",
        ["{'t' : 'a = \\'x\\''}", {"t": "a = 'x'"}, " { 't':'a = ''x''' } "],
    ),
    ("max_threads", "8", [8, "8"]),
    ("totals_auto_threshold", "0.25", [0.25, "0.25", ".25", "2.5e-1", "0.250"]),
    ("insert_quorum", "auto", ["auto"]),
    ("replication_wait_for_inactive_replica_timeout", "-1", [-1, "-1"]),
    ("format_csv_delimiter", ";", [";"]),
    ("session_timezone", "Asia/Tokyo", ["Asia/Tokyo"]),
    ("s3queue_default_zookeeper_path", "/a b'c\\d/", ["/a b'c\\d/"]),
    ("distributed_foreground_insert", "1", [True, "1"]),
    ("merge_tree_index_granularity", "4096", [4096, "4096", "4Ki"]),
    ("merge_tree_old_parts_lifetime", "480", [480, "480"]),
    ("readonly", "1", [1, "1"]),
]


@pytest.mark.parametrize("kind", ["settings_profile", "role", "user"])
def test_setting_values(same: Callable[..., None], kind: str) -> None:
    """A value is what its type makes of it: sizes, booleans, enums and lists of them, maps, times, numbers."""
    columns = max(len(spellings) for _name, _value, spellings in SETTINGS)
    same(
        kind,
        [
            {"settings": [{"name": name, "value": texts[n % len(texts)]} for name, _value, texts in SETTINGS]}
            for n in range(columns if kind == "settings_profile" else 2)
        ],
        {
            "settings": sorted(
                ({"name": name, "value": value} for name, value, _other in SETTINGS), key=lambda s: s["name"]
            )
        },
    )


def test_setting_bounds(same: Callable[..., None]) -> None:
    """MIN and MAX are values like any other; the order of settings does not count."""
    spellings = [
        [
            {"name": "max_memory_usage", "value": "10Mi", "min": "1Mi", "max": "1Gi", "writability": "writable"},
            {"name": "max_execution_time", "min": "1.0", "max": 60.0},
            {"name": "max_threads", "writability": "const"},
            {"name": "log_queries", "value": True, "writability": "changeable_in_readonly"},
        ],
        [
            {"name": "log_queries", "value": "1", "writability": "changeable_in_readonly"},
            {"name": "max_threads", "writability": "const"},
            {
                "name": "max_memory_usage",
                "value": 10485760,
                "min": 1048576,
                "max": 1073741824,
                "writability": "writable",
            },
            {"name": "max_execution_time", "min": 1, "max": "60"},
        ],
    ]
    expected = [
        {"name": "log_queries", "value": "1", "writability": "changeable_in_readonly"},
        {"name": "max_execution_time", "min": "1", "max": "60"},
        {
            "name": "max_memory_usage",
            "value": "10485760",
            "min": "1048576",
            "max": "1073741824",
            "writability": "writable",
        },
        {"name": "max_threads", "writability": "const"},
    ]
    same("settings_profile", [{"settings": settings} for settings in spellings], {"settings": expected})


def test_thread_counts(same: Callable[..., None], admin: Any) -> None:
    """`auto` and 0 both mean the server's cores, and that number is what it keeps."""
    (cores,) = admin.lines("SELECT extract(value, '\\\\d+') FROM system.settings WHERE name = 'max_final_threads'")
    spellings = [
        {"settings": [{"name": "max_final_threads", "value": value}]} for value in ("auto", 0, "0", int(cores))
    ]
    same("settings_profile", spellings, {"settings": [{"name": "max_final_threads", "value": cores}]})


def test_setting_aliases(same: Callable[..., None], module: Module, scratch: Any) -> None:
    """An alias is the setting it names; both at once are one setting given twice."""
    names = ("insert_distributed_sync", "distributed_foreground_insert")
    same(
        "settings_profile",
        [{"settings": [{"name": name, "value": value}]} for name in names for value in (True, "1")],
        {"settings": [{"name": names[1], "value": "1"}]},
    )
    with pytest.raises(Exception, match=f"settings\\[1\\].name: setting {names[1]} is given twice"):
        settings = [{"name": name, "value": 1} for name in names]
        module("settings_profile", {"name": scratch.reserve("settings_profile", "spelt"), "settings": settings})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_memory_usage", "1e6"),
        ("max_memory_usage", "10MB"),
        ("max_memory_usage", "0x10"),
        ("max_memory_usage", "1 "),
        ("max_memory_usage", -1),
        ("max_execution_time", "60s"),
        ("connect_timeout_with_failover_ms", "7.5"),
        ("log_queries", "on"),
        ("max_block_size", "many"),
        ("format_csv_delimiter", "ab"),
        ("additional_table_filters", "{t: x}"),
    ],
)
def test_no_value(module: Module, scratch: Any, name: str, value: Any) -> None:
    """What the server would refuse, or read as something else, is refused by name before anything is sent."""
    options = {"name": scratch.reserve("role", "spelt"), "settings": [{"name": name, "value": value}]}
    with pytest.raises(Exception, match=r"settings\[0\]\.value: .*Nothing was changed") as refused:
        module("role", options)
    assert repr(value) in str(refused.value) and name in str(refused.value)


# -- privileges -----------------------------------------------------------------------------------------------------

COLUMN_GROUP = ["ADD", "MODIFY", "DROP", "COMMENT", "CLEAR", "RENAME", "MATERIALIZE"]


def grants(*lines: str) -> Options:
    """Options from lines such as `SELECT ON db.* WITH GRANT OPTION`, or `- SELECT ON db.t` for a partial revoke."""
    options: Options = {"privileges": [], "partial_revokes": []}
    for line in lines:
        text, option, _other = line.lstrip("- ").partition(" WITH GRANT OPTION")
        privileges, scopes = text.rsplit(" ON ", 1)
        entry: Options = {"privilege": _split(privileges), "scope": _split(scopes)}
        if line.startswith("-"):
            options["partial_revokes"].append(entry)
        else:
            options["privileges"].append({**entry, "grant_option": bool(option)})
    return options


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


GRANTS: dict[str, list[tuple[str, ...]]] = {
    "aliases and case": [
        ("TRUNCATE, ALTER UPDATE, ALTER DELETE ON db.t",),
        ("truncate table, Update, DELETE ON db.t",),
        ("TRUNCATE  TABLE ON `db`.`t`", "ALTER  update ON `db`.t", 'DELETE ON "db"."t"'),
    ],
    "all": [("ALL ON *.*",), ("ALL PRIVILEGES ON *.*",), ("all ON *.*", "SELECT ON db.*", "SYSTEM ON *.*")],
    "a group is its members": [
        ("ALTER COLUMN ON db.t",),
        (", ".join(f"ALTER {word} COLUMN" for word in COLUMN_GROUP) + " ON db.t",),
        (*(f"{word} COLUMN ON db.t" for word in COLUMN_GROUP),),
    ],
    "a group at a narrower scope": [("ALTER ON db.t",), ("ALTER TABLE, ALTER VIEW ON db.t",)],
    "CREATE of a database": [
        ("CREATE ON db.*",),
        ("CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY ON db.*",),
    ],
    "SHOW of a database": [
        ("SHOW ON db.*",),
        ("SHOW DATABASES, SHOW TABLES, SHOW COLUMNS, SHOW DICTIONARIES ON db.*",),
    ],
    "what is implied": [
        ("SELECT ON db.*",),
        ("SELECT ON db.*", "SELECT ON db.t"),
        ("SELECT(a, b) ON db.t", "SELECT ON db.t, db.u", "SELECT ON db.*"),
    ],
    "columns": [
        ("SELECT(a, B) ON db.t",),
        ("SELECT(B, a) ON db.t",),
        ("select(a) ON db.t", "select(`B`, a) ON db.t"),
        ("SELECT(a), SELECT(B) ON db.t",),
    ],
    "several scopes": [("SELECT ON db.t, db.u, e.*",), ("SELECT ON e.*", "SELECT ON db.u", "SELECT ON db.t")],
    "grant option is its own right": [
        ("SELECT ON db.* WITH GRANT OPTION",),
        ("SELECT ON db.*", "SELECT ON db.* WITH GRANT OPTION"),
        ("SELECT ON db.* WITH GRANT OPTION", "SELECT ON db.t"),
    ],
    "partial revokes": [
        ("SELECT ON *.*", "- SELECT ON system.*"),
        ("SELECT ON *.*", "- SELECT ON system.*", "- SELECT ON system.one"),
    ],
    "partial revoke of what is not granted": [
        ("SELECT ON db.*",),
        ("SELECT ON db.*", "- INSERT ON db.*"),
        ("SELECT ON db.*", "- SELECT ON other.t"),
    ],
    "all but one, as a group": [("ALL ON db.*", "- SELECT ON db.t"), ("ALL ON db.*", "- SELECT, SELECT(x) ON db.t")],
    "other things": [
        ("SET DEFINER ON someone", "TABLE ENGINE ON Memory", "NAMED COLLECTION ON bucket"),
        ("SET DEFINER ON `someone`", "TABLE ENGINE ON `Memory`", "USE NAMED COLLECTION ON bucket"),
        ("NAMED COLLECTION USAGE ON bucket", "TABLE ENGINE ON Memory", "SET DEFINER ON someone"),
    ],
    "everything of a kind": [("SET DEFINER ON *",), ("SET DEFINER ON *.*",), ("SET DEFINER ON someone, *",)],
    "names that need quotes": [
        ("SELECT ON `tenant-1`.`a.b`",),
        ('SELECT ON "tenant-1"."a.b"',),
    ],
}
WILDCARDS: dict[str, list[tuple[str, ...]]] = {
    "of tables": [
        ("SELECT ON db.pre*",),
        ("SELECT ON db.pre*", "SELECT ON db.prefix"),
        ("SELECT ON `db`.pre*, db.pre1*",),
    ],
    "of databases": [("SELECT ON db*.*",), ("SELECT ON db*.*, db.*", "SELECT ON dbx.t, db1*.*")],
    "and the bare name": [("SELECT ON db.pre",), ("SELECT ON db.`pre`",)],
    "with a hole": [
        ("SELECT ON db.pre*", "- SELECT ON db.prefix"),
        ("SELECT ON db.pre*, db.pre1", "- SELECT ON db.prefix"),
    ],
    "of users": [("CREATE USER ON team_*",), ("CREATE USER ON team_*, team_a", "CREATE USER ON `team_`*")],
}
SOURCES: dict[str, list[tuple[str, ...]]] = {
    "one": [("FILE ON *.*",), ("READ, WRITE ON FILE",), ("READ ON FILE", "SOURCE WRITE ON `FILE`"), ("file ON *.*",)],
    "all": [("SOURCES ON *.*",), ("READ, WRITE ON *",), ("READ ON *", "WRITE ON *.*", "S3 ON *.*")],
    "reading only": [("READ ON S3",), ("SOURCE READ ON S3",), ("READ ON s3",)],
}


@pytest.fixture
def same_rights(module: Module, converges: Module, scratch: Any) -> Callable[[list[tuple[str, ...]]], None]:
    """Like `same`, for the privileges of a role: exact, and then appended."""

    def check(spellings: list[tuple[str, ...]]) -> None:
        first: list[str] = []
        for index, spelling in enumerate(spellings):
            options = {"grantee": scratch.make("role", "spelt"), "mode": "exact", **grants(*spelling)}
            made = (converges if index == 0 else module)("grant", options)
            first = first or made["entity"]["privileges"]
            assert made["changed"] and made["entity"]["privileges"] == first, spelling
            other, mode = spellings[index - 1], ("append", "exact")[index % 2]
            again = module("grant", {"grantee": "spelt", "mode": mode, **grants(*other)})
            assert again["changed"] is False, (mode, spelling, other, again["statements"])

    return check


@pytest.mark.parametrize("case", GRANTS)
def test_privileges(same_rights: Callable[..., None], case: str) -> None:
    """Aliases, groups, what is implied, redundant grants, partial revokes."""
    same_rights(GRANTS[case])


@pytest.mark.parametrize("privilege", ["USAGE", "NONE", "no privileges"])
def test_no_privilege(module: Module, scratch: Any, privilege: str) -> None:
    """The words for nothing grant nothing."""
    result = module("grant", {"grantee": scratch.make("role", "spelt"), **grants(f"{privilege} ON *.*")})
    assert result["changed"] is False and result["entity"]["privileges"] == []


@pytest.mark.parametrize("case", WILDCARDS)
def test_wildcards(same_rights: Callable[..., None], version: tuple[int, int], case: str) -> None:
    """Prefixes of names."""
    if version < (24, 10) or (case == "of users" and version < (25, 5)):
        pytest.skip("this version has no such wildcards")
    same_rights(WILDCARDS[case])


@pytest.mark.parametrize("case", SOURCES)
def test_sources(same_rights: Callable[..., None], version: tuple[int, int], case: str) -> None:
    """Since 25.7 a source is an object of READ and WRITE, and the old names mean both."""
    if version < (25, 7):
        pytest.skip("before 25.7 a source is a privilege of its own")
    same_rights(SOURCES[case])
