"""The algebra of privileges without a server: reading, errors, descriptions, and the way from one state to another."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    GRANT,
    REVOKE,
    REVOKE_OPTION,
    Grant,
    GrantError,
    PrivilegeCatalogue,
    Rights,
    Scope,
    Step,
    as_options,
    difference,
    parse_privilege,
    render_elements,
    rights_after,
    split_show_grants,
    statements,
)

# A few rows of system.privileges, each kind of privilege once: name, aliases, level, group.
ROWS: list[tuple[str, list[str], str | None, str | None]] = [
    ("SHOW DATABASES", [], "DATABASE", "SHOW"),
    ("SHOW TABLES", [], "TABLE", "SHOW"),
    ("SHOW COLUMNS", [], "COLUMN", "SHOW"),
    ("SHOW", [], None, "ALL"),
    ("SELECT", [], "COLUMN", "ALL"),
    ("INSERT", [], "COLUMN", "ALL"),
    ("ALTER VIEW MODIFY QUERY", ["ALTER TABLE MODIFY QUERY"], "VIEW", "ALTER VIEW"),
    ("ALTER VIEW MODIFY REFRESH", ["ALTER TABLE MODIFY QUERY"], "VIEW", "ALTER VIEW"),
    ("ALTER VIEW", [], None, "ALL"),
    ("CREATE DATABASE", [], "DATABASE", "CREATE"),
    ("CREATE TABLE", [], "TABLE", "CREATE"),
    ("CREATE TEMPORARY TABLE", [], "GLOBAL", "CREATE ARBITRARY TEMPORARY TABLE"),
    ("CREATE ARBITRARY TEMPORARY TABLE", [], "GLOBAL", "CREATE"),
    ("CREATE", [], None, "ALL"),
    ("TRUNCATE", ["TRUNCATE TABLE"], "TABLE", "ALL"),
    ("CREATE USER", [], "USER_NAME", "ACCESS MANAGEMENT"),
    ("CREATE QUOTA", [], "GLOBAL", "ACCESS MANAGEMENT"),
    ("CREATE ROW POLICY", ["CREATE POLICY"], "TABLE", "ACCESS MANAGEMENT"),
    ("ACCESS MANAGEMENT", [], None, "ALL"),
    ("CREATE NAMED COLLECTION", [], "NAMED_COLLECTION", "NAMED COLLECTION ADMIN"),
    ("NAMED COLLECTION", ["NAMED COLLECTION USAGE"], "NAMED_COLLECTION", "NAMED COLLECTION ADMIN"),
    ("NAMED COLLECTION ADMIN", ["NAMED COLLECTION CONTROL"], "NAMED_COLLECTION", "ALL"),
    ("TABLE ENGINE", [], "TABLE_ENGINE", "ALL"),
    ("SET DEFINER", [], "DEFINER", "ALL"),
    ("dictGet", ["dictHas"], "DICTIONARY", "ALL"),
    ("READ", ["SOURCE READ"], "SOURCE", "ALL"),
    ("WRITE", ["SOURCE WRITE"], "SOURCE", "ALL"),
    ("FILE", [], "GLOBAL", "ALL"),
    ("S3", [], "GLOBAL", "ALL"),
    ("SOURCES", [], "GLOBAL", "ALL"),
    ("ALL", ["ALL PRIVILEGES"], None, None),
    ("NONE", ["USAGE", "NO PRIVILEGES"], None, None),
]
NEW = PrivilegeCatalogue.from_rows(
    {"privilege": name, "aliases": aliases, "level": level, "parent_group": group}
    for name, aliases, level, group in ROWS
)
# Before 25.7: sources are privileges of their own, in a group.
OLD = PrivilegeCatalogue.from_rows(
    {
        "privilege": name,
        "aliases": aliases,
        "level": None if name == "SOURCES" else level,
        "parent_group": "SOURCES" if name in ("FILE", "S3") else group,
    }
    for name, aliases, level, group in ROWS
    if level != "SOURCE"
)


def rights(*statements: str, catalogue: PrivilegeCatalogue = NEW) -> Rights:
    """Rights after statements such as `GRANT SELECT ON db.*` or `REVOKE GRANT OPTION FOR ...`."""
    result = Rights(catalogue)
    for text in statements:
        match = re.fullmatch(
            r"(GRANT|REVOKE GRANT OPTION FOR|REVOKE) (.*) ON (.*?)( WITH GRANT OPTION)?", text, re.DOTALL
        )
        assert match, text
        for privilege in re.split(r", (?![^(]*\))", match[2]):
            result.apply(Step(match[1], catalogue.grant(privilege, match[3], bool(match[4]))))
    return result


# ---- reading


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("select", "SELECT"),
        ("  truncate   table ", "TRUNCATE"),
        ("DICTHAS", "dictGet"),
        ("Create Policy", "CREATE ROW POLICY"),
        ("usage", "NONE"),
        ("all privileges", "ALL"),
        ("alter table modify query", "ALTER VIEW MODIFY REFRESH"),
    ],
)
def test_privileges_answer_to_all_their_names(text: str, name: str) -> None:
    assert NEW.resolve(text) == name


def test_an_unknown_privilege_is_named_with_its_neighbours() -> None:
    with pytest.raises(GrantError, match=r"'selct'.*SELECT"):
        NEW.resolve("selct")
    with pytest.raises(GrantError, match=r"system\.privileges"):
        NEW.resolve("\0" * 10_000)


def test_columns_are_split_from_the_privilege() -> None:
    assert parse_privilege('select ( a, `b c`,"d""e" )') == ("select", ("a", "b c", 'd"e'))
    assert parse_privilege("alter update") == ("alter update", ())


@pytest.mark.parametrize(
    "text", ["", "SELECT(", "SELECT()", "SELECT(a", "SELECT(a))", "SELECT, INSERT", "SELECT ON t", "'x'"]
)
def test_unreadable_privileges_are_refused(text: str) -> None:
    with pytest.raises(GrantError):
        parse_privilege(text)


@pytest.mark.parametrize(
    ("text", "scope", "sql"),
    [
        ("*.*", Scope(), "*.*"),
        ("otel.*", Scope("otel"), "`otel`.*"),
        ("otel*.*", Scope("otel", None, True), "`otel`*.*"),
        (" otel . logs ", Scope("otel", "logs"), "`otel`.`logs`"),
        ("otel.pre*", Scope("otel", "pre", True), "`otel`.`pre`*"),
        ("`my-db`.t", Scope("my-db", "t"), "`my-db`.`t`"),
        ('"my-db".*', Scope("my-db"), "`my-db`.*"),
        (r"`my\`db`.`a``b`", Scope("my`db", "a`b"), r"`my\`db`.`a\`b`"),
        (r"`\x41\0\n\%`.*", Scope("A\0\n\\%"), r"`A\0\n\\%`.*"),
        ("db.`*`", Scope("db", "*"), "`db`.`*`"),
        ("S3", Scope(object="S3"), "`S3`"),
        ("u*", Scope(object="u", wildcard=True), "`u`*"),
        ("*", Scope(object=""), "*"),
        ("S3('s3://b/.*')", Scope(object="S3", filter="s3://b/.*"), "`S3`('s3://b/.*')"),
    ],
)
def test_scopes_are_read_and_written(text: str, scope: Scope, sql: str) -> None:
    assert Scope.parse(text) == scope
    assert scope.render() == sql
    assert Scope.parse(sql) == scope


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("db*.t", "silently"),
        ("*.t", "every database"),
        ("my-db.t", "backquotes"),
        ("", "name"),
        ("a.b.c", "the end"),
        ("`a", "backquotes"),
    ],
)
def test_scopes_that_mislead_are_refused(text: str, hint: str) -> None:
    with pytest.raises(GrantError, match=hint):
        Scope.parse(text)


names = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["\0", "\x01", "\x01\0", "a\0", "`", '"', "\\", "'", "a`b\\", "\N{CLOUD}", "*", ".", "a" * 10_000]
)
scopes = st.one_of(
    st.just(Scope()),
    st.builds(Scope, names, st.none(), st.booleans()),
    st.builds(Scope, names, names, st.booleans()),
    st.builds(lambda name, star: Scope(object=name, wildcard=star), names, st.booleans()),
    st.just(Scope(object="")),
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(scopes)
def test_any_name_survives_quoting(scope: Scope) -> None:
    assert Scope.parse(scope.render()) == scope


@settings(derandomize=True, max_examples=200, deadline=None)
@given(names, names)
def test_a_scope_holds_another_exactly_when_its_prefix_does(one: str, two: str) -> None:
    assert Scope(two).prefix.startswith(Scope(one).prefix) is (one == two)
    assert Scope(two).prefix.startswith(Scope(one, None, True).prefix) is two.startswith(one)
    assert Scope(two, "t").prefix.startswith(Scope(two).prefix)


# ---- levels


@pytest.mark.parametrize(
    ("privilege", "scope", "hint"),
    [
        ("create database", "db.t", r"CREATE DATABASE.*table.*database\.\*"),
        ("create quota", "db.*", r"CREATE QUOTA.*database.*`\*\.\*`"),
        ("truncate(a)", "db.t", r"TRUNCATE.*column.*`database\.table`"),
        ("select", "t", "SELECT.*current database"),
        ("select", "*", "SELECT.*current database"),
        ("select(a)", "db.*", "SELECT.*one table"),
        ("usage(a)", "db.pre*", "one table"),
        ("select(a)", "db.pre*", "one table"),
        ("create user", "db.*", "CREATE USER.*name"),
        ("s3", "db.*", r"S3.*`\*\.\*`"),
        ("access management", "u", "current database"),
    ],
)
def test_what_cannot_apply_is_refused_by_name(privilege: str, scope: str, hint: str) -> None:
    with pytest.raises(GrantError, match=hint):
        NEW.grant(privilege, scope)


def test_groups_drop_what_cannot_apply() -> None:
    assert rights("GRANT CREATE ON db.t") == rights("GRANT CREATE TABLE ON db.t")
    assert rights("GRANT SHOW ON db.*") == rights(
        "GRANT SHOW DATABASES ON db.*", "GRANT SHOW TABLES ON db.*", "GRANT SHOW COLUMNS ON db.*"
    )
    assert rights("GRANT ALL(a) ON db.t") == rights(
        "GRANT SHOW COLUMNS(a) ON db.t", "GRANT SELECT(a) ON db.t", "GRANT INSERT(a) ON db.t"
    )


# ---- the same rights, written differently


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["GRANT TRUNCATE TABLE ON a.*"], ["GRANT truncate ON a.*"]),
        (["GRANT SELECT ON a.*", "GRANT SELECT ON a.t"], ["GRANT SELECT ON a.*"]),
        (["GRANT SELECT ON a.t", "GRANT SELECT ON *.*"], ["GRANT SELECT ON *.*"]),
        (["GRANT SELECT ON a.* WITH GRANT OPTION", "GRANT SELECT ON a.*"], ["GRANT SELECT ON a.* WITH GRANT OPTION"]),
        (["GRANT SELECT ON a*.*", "GRANT SELECT ON ab.t"], ["GRANT SELECT ON a*.*"]),
        (["GRANT SELECT(b, a) ON a.t"], ["GRANT SELECT(a) ON a.t", "GRANT SELECT(b) ON a.t"]),
        (["GRANT CREATE USER ON *.*"], ["GRANT CREATE USER ON *"]),
        (["GRANT FILE ON *.*"], ["GRANT READ ON FILE", "GRANT WRITE ON file"]),
        (["GRANT SOURCES ON *.*"], ["GRANT READ ON *", "GRANT WRITE ON *"]),
        (["GRANT NONE ON *.*"], []),
        (["REVOKE SELECT ON a.*"], []),
        (["GRANT SELECT ON a.*", "REVOKE ALL ON *.*"], []),
        (["GRANT SELECT ON a.*", "REVOKE ALL ON a.t"], ["GRANT SELECT ON a.*", "REVOKE SELECT ON a.t"]),
        (["GRANT SELECT ON *.*", "REVOKE SELECT ON a.t", "GRANT SELECT ON a.*"], ["GRANT SELECT ON *.*"]),
        (["GRANT READ ON S3('a')"], ["GRANT READ ON S3"]),
        (
            ["GRANT CREATE NAMED COLLECTION ON n", "GRANT NAMED COLLECTION ON n"],
            ["GRANT NAMED COLLECTION CONTROL ON n"],
        ),
    ],
)
def test_equal_rights_are_equal_however_written(one: list[str], other: list[str]) -> None:
    assert rights(*one) == rights(*other)
    assert rights(*one).describe() == rights(*other).describe()
    assert not difference(rights(*one), rights(*other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["GRANT SELECT ON a.pre"], ["GRANT SELECT ON a.pre*"]),
        (["GRANT SELECT ON a.*"], ["GRANT SELECT ON a*.*"]),
        (["GRANT SELECT ON a.*"], ["GRANT SELECT ON a.* WITH GRANT OPTION"]),
        (["GRANT SELECT ON *.*"], ["GRANT SELECT ON *.*", "REVOKE SELECT ON a.*"]),
        (
            ["GRANT SELECT ON a.* WITH GRANT OPTION"],
            ["GRANT SELECT ON a.* WITH GRANT OPTION", "REVOKE GRANT OPTION FOR SELECT ON a.t"],
        ),
        (["GRANT CREATE TEMPORARY TABLE ON *.*"], ["GRANT CREATE ARBITRARY TEMPORARY TABLE ON *.*"]),
        (["GRANT CREATE USER ON a"], ["GRANT NAMED COLLECTION ON a"]),
    ],
)
def test_different_rights_differ(one: list[str], other: list[str]) -> None:
    assert rights(*one) != rights(*other)
    assert rights(*one).describe() != rights(*other).describe()


def test_covers_looks_at_the_whole_scope_and_the_option() -> None:
    have = rights("GRANT SELECT ON *.*", "REVOKE SELECT ON system.*", "GRANT INSERT ON a.* WITH GRANT OPTION")
    covered = {("select", "a.t", False), ("insert(x)", "a.t", True), ("select", "b*.*", False), ("usage", "*.*", False)}
    missing = {
        ("select", "*.*", False),
        ("select", "sys*.*", False),
        ("select", "a.t", True),
        ("select", "system.one", False),
    }
    assert {wish for wish in covered | missing if have.covers(NEW.grant(*wish))} == covered


def test_a_copy_is_independent() -> None:
    one = rights("GRANT SELECT ON a.*")
    other = one.copy()
    other.revoke(NEW.grant("select", "a.*"))
    assert one and not other
    one.revoke_grant_option(NEW.grant("select", "a.*"))
    assert one == rights("GRANT SELECT ON a.*")


# ---- what servers show


def row(
    access_type: str, object_: str = "", *where: str | None, revoke: int = 0, option: int = 0, star: int = 0
) -> dict[str, Any]:
    database, table, column = (*where, None, None, None)[:3]
    return {
        "access_type": access_type, "access_object": object_, "database": database, "table": table, "column": column,
        "is_partial_revoke": revoke, "grant_option": option, "is_wildcard": star,
    }  # fmt: skip


def test_rows_give_rights_in_any_order() -> None:
    shown = [
        row("SELECT", "", "system", revoke=1),
        row("SELECT"),
        row("SELECT", "", "system", "one"),
        row("INSERT", "", "a`b", "t", "c\0", option=1),
        row("SHOW", "", "pre", star=1),
        row("READ", "S3", star=1),
        row("FILE"),
        row("CREATE DATABASE", "", "a", "t"),
    ]
    wanted = rights(
        "GRANT SELECT ON *.*", "REVOKE SELECT ON system.*", "GRANT SELECT ON system.one", "GRANT SHOW ON pre*.*",
        r"GRANT INSERT(`c\0`) ON `a\`b`.t WITH GRANT OPTION", "GRANT READ ON S3*",
    )  # fmt: skip
    assert Rights.from_rows(NEW, shown) == wanted == Rights.from_rows(NEW, shown[::-1])


def test_rows_without_wildcards_are_not_believed() -> None:
    old = {key: value for key, value in row("SELECT", "", "a", "pre").items() if key != "is_wildcard"}
    with pytest.raises(GrantError, match="SHOW GRANTS"):
        Rights.from_rows(NEW, [old])


def test_lines_of_show_grants_give_rights() -> None:
    lines = [
        "GRANT `ON`, r2 TO u WITH ADMIN OPTION",
        r"GRANT SHOW, SELECT(a, `b\`c`) ON db.t TO `TO``x`",
        "GRANT INSERT ON db.pre* TO u WITH GRANT OPTION",
        "GRANT INSERT ON `WITH GRANT OPTION`.* TO `WITH GRANT OPTION`",
        "GRANT S3 ON *.* TO u",
        "GRANT SELECT, FILE, SOURCES ON x.* TO u",
        "REVOKE GRANT OPTION FOR INSERT ON db.prefix FROM u",
        "REVOKE SHOW ON db.t FROM u",
    ]
    wanted = rights(
        r"GRANT SELECT(a, `b\`c`) ON db.t", "GRANT INSERT ON db.pre* WITH GRANT OPTION", "GRANT S3 ON *.*",
        "GRANT INSERT ON `WITH GRANT OPTION`.*", "GRANT SELECT ON x.*", "REVOKE GRANT OPTION FOR INSERT ON db.prefix",
    )  # fmt: skip
    assert Rights.from_show_grants(NEW, lines) == wanted
    only_read = rights("GRANT READ ON S3", "GRANT SELECT ON x.*")
    found = Rights.from_show_grants(
        NEW, ["GRANT S3 ON *.* TO u", "GRANT SELECT ON x.* TO u"], [row("READ", "S3"), row("SELECT", "", "x")]
    )
    assert found == only_read
    assert Rights.from_show_grants(OLD, ["GRANT FILE, S3 ON *.* TO u"]) == rights("GRANT SOURCES ON *.*", catalogue=OLD)
    with pytest.raises(GrantError, match="TO"):
        Rights.from_show_grants(NEW, ["GRANT SELECT ON x.* AND u"])


SHOWN = [
    "GRANT SELECT ON *.* TO u",
    "GRANT r1, r2 TO u WITH ADMIN OPTION",
    "GRANT SELECT ON db.* TO OPTION WITH GRANT OPTION",
    "GRANT ON TO ON",
    "GRANT TO, ON TO TO WITH ADMIN OPTION",
    "REVOKE GRANT OPTION FOR SELECT ON db.t FROM OPTION",
    r"GRANT SELECT ON `a TO b`.` TO ` TO `x TO y`",
    r"GRANT SELECT(`c FROM d`) ON TO.FROM TO `\`q WITH GRANT OPTION`",
    r"GRANT SELECT ON `\` TO `.t TO `back\\\\` WITH GRANT OPTION",
    r"GRANT READ ON S3('a TO `b` ') TO `new\nline`",
    "GRANT SELECT ON FROM.TO TO FROM",
    "REVOKE SELECT ON FROM.* FROM FROM",
    "GRANT SELECT ON a.b TO `raw\nline`",
    "GRANT SELECT ON db.* TO u",
]


def test_show_grants_of_many_are_split_by_grantee() -> None:
    assert split_show_grants(SHOWN) == {
        "u": [SHOWN[0], SHOWN[1], SHOWN[13]],
        "OPTION": [SHOWN[2], SHOWN[5]],
        "ON": [SHOWN[3]],
        "TO": [SHOWN[4]],
        "x TO y": [SHOWN[6]],
        "`q WITH GRANT OPTION": [SHOWN[7]],
        "back\\\\": [SHOWN[8]],
        "new\nline": [SHOWN[9]],
        "FROM": [SHOWN[10], SHOWN[11]],
        "raw\nline": [SHOWN[12]],
    }
    assert split_show_grants([]) == {}
    for line in ("GRANT SELECT ON db.*", "", "GRANT r TO a, b", "GRANT r TO u EXTRA"):
        with pytest.raises(GrantError, match="one grantee"):
            split_show_grants([line])


def test_lines_about_roles_and_words_as_names_are_told_apart() -> None:
    found = {name: Rights.from_show_grants(NEW, lines) for name, lines in split_show_grants(SHOWN).items()}
    assert found["u"] == rights("GRANT SELECT ON *.*")
    assert found["OPTION"] == rights("GRANT SELECT ON db.* WITH GRANT OPTION", "REVOKE GRANT OPTION FOR SELECT ON db.t")
    assert not found["ON"] and not found["TO"]
    assert found["x TO y"] == rights("GRANT SELECT ON `a TO b`.` TO `")
    assert found["back\\\\"] == rights("GRANT SELECT ON `\\` TO `.t WITH GRANT OPTION")
    assert found["FROM"] == rights("GRANT SELECT ON FROM.TO")


# ---- what is wished, without an order


def entries(*lines: str) -> tuple[list[Grant], list[Grant]]:
    """`privileges` and `partial_revokes` from lines such as `SELECT ON db.*`; `-` before revokes, `-option` takes the
    grant option only."""
    found: tuple[list[Grant], list[Grant]] = ([], [])
    for line in lines:
        match = re.fullmatch(r"(-option |-|)(.*) ON (.*?)( WITH GRANT OPTION)?", line)
        assert match, line
        option = bool(match[4]) or match[1] == "-option "
        found[bool(match[1])].append(NEW.grant(match[2], match[3], option))
    return found


@pytest.mark.parametrize(
    ("had", "wish", "then"),
    [
        (
            [],
            ["SELECT ON db.t", "-SELECT ON db.*", "SELECT ON *.*"],
            ["GRANT SELECT ON *.*", "REVOKE SELECT ON db.*", "GRANT SELECT ON db.t"],
        ),
        (
            [],
            ["SELECT ON *.*", "-SELECT ON db*.*", "SELECT ON db.*", "-SELECT ON db.t", "SELECT(a) ON db.t"],
            [
                "GRANT SELECT ON *.*",
                "REVOKE SELECT ON db*.*",
                "GRANT SELECT ON db.*",
                "REVOKE SELECT ON db.t",
                "GRANT SELECT(a) ON db.t",
            ],
        ),
        ([], ["SELECT ON db.*", "-SELECT ON *.*"], ["GRANT SELECT ON db.*"]),
        ([], ["SELECT ON db.*", "-SELECT ON db.*"], []),
        ([], ["ALL ON db.*", "-SELECT ON db.*"], ["GRANT ALL ON db.*", "REVOKE SELECT ON db.*"]),
        (
            [],
            ["SELECT ON *.* WITH GRANT OPTION", "-option SELECT ON db.*", "SELECT ON db.t WITH GRANT OPTION"],
            [
                "GRANT SELECT ON *.* WITH GRANT OPTION",
                "REVOKE GRANT OPTION FOR SELECT ON db.*",
                "GRANT SELECT ON db.t WITH GRANT OPTION",
            ],
        ),
        ([], ["SELECT ON *.* WITH GRANT OPTION", "SELECT ON db.*"], ["GRANT SELECT ON *.* WITH GRANT OPTION"]),
        (
            ["GRANT SELECT ON db.t", "GRANT INSERT ON db.t"],
            ["SELECT ON *.*", "-SELECT ON db.*"],
            ["GRANT SELECT ON *.*", "REVOKE SELECT ON db.*", "GRANT INSERT ON db.t"],
        ),
        (
            ["GRANT SELECT ON *.* WITH GRANT OPTION"],
            ["-option SELECT ON db.*", "-SELECT ON db.t"],
            [
                "GRANT SELECT ON *.* WITH GRANT OPTION",
                "REVOKE GRANT OPTION FOR SELECT ON db.*",
                "REVOKE SELECT ON db.t",
            ],
        ),
        ([], ["S3 ON *.*", "-READ ON *", "READ ON S3*"], ["GRANT WRITE ON S3", "GRANT READ ON S3*"]),
    ],
)  # fmt: skip
def test_where_wishes_overlap_the_narrower_scope_counts(had: list[str], wish: list[str], then: list[str]) -> None:
    start = rights(*had)
    for order in (wish, wish[::-1]):
        assert rights_after(start, *entries(*order)) == rights(*then)
    assert start == rights(*had)


def test_rights_become_few_readable_entries() -> None:
    state = rights(
        "GRANT SELECT ON a.*", "GRANT INSERT ON a.*", "GRANT SELECT ON b.*", "GRANT INSERT ON b.*",
        "REVOKE SELECT ON a.secret", "REVOKE SELECT ON b.secret", "GRANT TABLE ENGINE ON Memory",
        "GRANT CREATE USER ON *", "GRANT CREATE QUOTA ON *.*", "GRANT READ ON S3", "GRANT WRITE ON S3",
        "GRANT SELECT(x, `y z`) ON `c-1`.t", "GRANT CREATE ON d*.* WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR CREATE TABLE ON d1.*", "GRANT SET DEFINER ON `o\\`1`*",
    )  # fmt: skip
    assert as_options(state) == {
        "privileges": [
            {"privilege": ["CREATE QUOTA", "CREATE USER"], "scope": ["*.*"], "grant_option": False},
            {"privilege": ["TABLE ENGINE"], "scope": ["Memory"], "grant_option": False},
            {"privilege": ["READ", "WRITE"], "scope": ["S3"], "grant_option": False},
            {"privilege": ["SELECT", "INSERT"], "scope": ["a.*", "b.*"], "grant_option": False},
            {"privilege": ["SELECT(x, `y z`)"], "scope": ["`c-1`.t"], "grant_option": False},
            {"privilege": ["SET DEFINER"], "scope": ["`o\\`1`*"], "grant_option": False},
            {"privilege": ["CREATE"], "scope": ["d*.*"], "grant_option": True},
        ],
        "partial_revokes": [
            {"privilege": ["SELECT"], "scope": ["a.secret", "b.secret"], "grant_option": False},
            {"privilege": ["CREATE TABLE"], "scope": ["d1.*"], "grant_option": True},
        ],
    }
    # one privilege with many scopes that others share only in part
    assert as_options(rights(*(f"GRANT SELECT ON {d}.*" for d in "abc"), *(f"GRANT INSERT ON {d}.*" for d in "bcd")))[
        "privileges"
    ] == [
        {"privilege": ["SELECT"], "scope": ["a.*", "b.*", "c.*"], "grant_option": False},
        {"privilege": ["INSERT"], "scope": ["b.*", "c.*", "d.*"], "grant_option": False},
    ]
    assert as_options(Rights(NEW)) == {"privileges": [], "partial_revokes": []}


# ---- what people read


def test_descriptions_are_short_and_in_order() -> None:
    assert rights("GRANT ALL ON *.*").describe() == ["GRANT ALL ON *.*"]
    assert rights("GRANT ALL ON otel.*").describe() == ["GRANT ALL ON otel.*"]
    assert rights(
        "GRANT INSERT ON otel.*", "GRANT SELECT ON otel.*", "GRANT CREATE ON `a-b`.*", "REVOKE SELECT ON otel.secret",
        "GRANT TABLE ENGINE ON Memory", "GRANT CREATE USER ON *", "GRANT CREATE QUOTA ON *.* WITH GRANT OPTION",
        "GRANT SELECT(b, a) ON z.t", "GRANT CREATE ROW POLICY ON *.*",
    ).describe() == [
        "GRANT CREATE ROW POLICY ON *.*",
        "GRANT CREATE USER ON *",
        "GRANT CREATE QUOTA ON *.* WITH GRANT OPTION",
        "GRANT TABLE ENGINE ON Memory",
        "GRANT CREATE ON `a-b`.*",
        "GRANT SELECT, INSERT ON otel.*",
        "REVOKE SELECT ON otel.secret",
        "GRANT SELECT(a, b) ON z.t",
    ]  # fmt: skip


def test_statements_join_neighbours() -> None:
    steps = [
        Step(GRANT, Grant("SELECT", Scope("a"))),
        Step(GRANT, Grant("INSERT", Scope("a"))),
        Step(GRANT, Grant("CREATE USER", Scope(object=""))),
        Step(GRANT, Grant("SELECT", Scope("b"), (), True)),
        Step(REVOKE, Grant("SELECT", Scope("c", "t"), ("x",))),
        Step(REVOKE_OPTION, Grant("SELECT", Scope("d"))),
    ]
    assert statements(steps, "`u`") == [
        "GRANT SELECT, INSERT ON `a`.*, CREATE USER ON * TO `u`",
        "GRANT SELECT ON `b`.* TO `u` WITH GRANT OPTION",
        "REVOKE SELECT(`x`) ON `c`.`t` FROM `u`",
        "REVOKE GRANT OPTION FOR SELECT ON `d`.* FROM `u`",
    ]
    assert render_elements([]) == ""


# ---- from one state to another

words = st.sampled_from([name for name, *_unused in ROWS])
small = st.sampled_from(["a", "ab", "b", "a`\0"])
places = st.one_of(
    st.just(Scope()),
    st.builds(Scope, small, st.none(), st.booleans()),
    st.builds(Scope, small, small, st.booleans()),
    st.builds(lambda name, star: Scope(object=name, wildcard=star), small, st.booleans()),
)
columns = st.lists(small, max_size=2, unique=True).map(tuple)


def applies(step: Step) -> bool:
    try:
        NEW.targets(step.grant)
    except GrantError:
        return False
    return True


wishes = st.builds(Grant, words, places, st.just(()) | columns, st.booleans())
steps = st.lists(
    st.builds(Step, st.sampled_from([GRANT, GRANT, REVOKE, REVOKE_OPTION]), wishes).filter(applies), max_size=8
)


def after(start: Rights, todo: list[Step]) -> Rights:
    result = start.copy()
    for step in todo:
        result.apply(step)
    return result


@settings(derandomize=True, max_examples=300, deadline=None)
@given(steps, steps)
def test_difference_leads_from_any_rights_to_any_other(first: list[Step], second: list[Step]) -> None:
    current, desired = after(Rights(NEW), first), after(Rights(NEW), second)
    todo = difference(current, desired)
    assert after(current, todo) == desired
    assert bool(todo) is (current != desired)
    verbs = [step.verb for step in todo]
    late = [step for step in todo[verbs.index(REVOKE) :] if step.verb == GRANT] if REVOKE in verbs else []
    revoked = [step.grant.scope.prefix for step in todo if step.verb != GRANT]
    assert all(any(step.grant.scope.prefix.startswith(wide) for wide in revoked) for step in late)


def test_a_privilege_that_brings_another_along_goes_with_it() -> None:
    arbitrary = "CREATE ARBITRARY TEMPORARY TABLE ON *.*"
    both = rights(f"GRANT {arbitrary} WITH GRANT OPTION")
    for word in ("", "GRANT OPTION FOR "):
        less = rights(f"GRANT {arbitrary} WITH GRANT OPTION", f"REVOKE {word}CREATE TEMPORARY TABLE ON *.*")
        assert less == (rights(f"GRANT {arbitrary}") if word else Rights(NEW))
        assert [step.grant.privilege for step in difference(both, less)] == ["CREATE ARBITRARY TEMPORARY TABLE"]
    assert rights(f"GRANT {arbitrary}", "REVOKE CREATE ON db.*") == rights(f"GRANT {arbitrary}")
    fewer = rights("GRANT ALL ON *.*", "REVOKE CREATE TEMPORARY TABLE ON *.*")
    assert (
        after(Rights(NEW), difference(Rights(NEW), fewer)) == fewer == rights("GRANT ALL ON *.*", f"REVOKE {arbitrary}")
    )


@settings(derandomize=True, max_examples=200, deadline=None)
@given(steps)
def test_the_description_says_it_all(todo: list[Step]) -> None:
    state = after(Rights(NEW), todo)
    assert rights(*state.describe()) == state
    shown = [
        line.replace(" WITH GRANT OPTION", "") + " TO u" + " WITH GRANT OPTION" * line.endswith("OPTION")
        for line in state.describe()
    ]
    assert Rights.from_show_grants(NEW, shown) == state


@settings(derandomize=True, max_examples=200, deadline=None)
@given(steps, wishes.filter(lambda wish: applies(Step(GRANT, wish))))
def test_a_grant_given_is_covered_and_taken_is_not(todo: list[Step], wish: Grant) -> None:
    state = after(Rights(NEW), [*todo, Step(GRANT, wish)])
    assert state.covers(wish)
    state.revoke(wish)
    assert not state.covers(wish) or wish.privilege == "NONE"


def order(step: Step) -> tuple[int, int]:
    return len(step.grant.scope.prefix), [GRANT, REVOKE, REVOKE_OPTION].index(step.verb)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(steps, steps.filter(lambda found: not any(step.grant.columns for step in found)), st.randoms())
def test_a_wish_has_no_order_and_is_done_once(first: list[Step], wish: list[Step], dice: Any) -> None:
    had = after(Rights(NEW), first)
    dice.shuffle(wish)
    given_ = [step.grant for step in wish if step.verb == GRANT]
    taken = [replace(step.grant, grant_option=step.verb == REVOKE_OPTION) for step in wish if step.verb != GRANT]
    result = rights_after(had, given_, taken)
    # sources have a narrower place of their own: S3 ON *.* is READ and WRITE on S3
    if not any(NEW.is_retired(step.grant.privilege) for step in wish):
        assert result == after(had, sorted(wish, key=order))
    assert rights_after(result, given_, taken) == result
    assert had == after(Rights(NEW), first)
