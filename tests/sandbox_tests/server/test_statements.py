"""Access control as a whole: a long session of statements by several users, on 26.9 and on 25.8's own server.

Every answer must be the same, except where DIFFERENT says why not: what a newer version changed, and no more.
"""

# ruff: noqa: E501 - a statement is one line

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.sandbox import Sandbox, ServerSaid, start

# One statement a line, run in order; `@user` or `@user:password` in front of one that somebody else runs
SCRIPT = r"""
SELECT currentUser(), user(), current_user()
CREATE USER u IDENTIFIED BY 'x' SETTINGS max_threads = 3 MAX 5, readonly = 0
CREATE ROLE r SETTINGS max_memory_usage = 1000000000 MIN 1000 CONST
GRANT r TO u
GRANT SELECT(a) ON db.t TO r
SHOW GRANTS FOR u
SHOW GRANTS FOR r
CREATE DATABASE db
CREATE TABLE db.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a
INSERT INTO db.t VALUES (1, 'x'), (2, 'u'), (3, 'z')
@u:x SELECT a FROM db.t
@u:x SELECT b FROM db.t
@u:x SELECT value FROM system.settings WHERE name = 'max_threads'
@u:x SELECT value FROM system.settings WHERE name = 'max_memory_usage'
@u:x SET max_threads = 6
@u:x SET max_threads = 4
@u:x SELECT 1 SETTINGS max_threads = 6
@u:x SET max_memory_usage = 5
@u:x SELECT currentUser(), currentRoles(), enabledRoles(), defaultRoles()
@u:x SHOW GRANTS
@u:x SHOW DATABASES
@u:x SHOW TABLES FROM db
@u:x CREATE TABLE db.x (a Int8) ENGINE = Memory
@u:x INSERT INTO db.t VALUES (1, 'x')
@u:x SELECT name FROM system.users
@u:x SELECT * FROM system.grants
@u:x SELECT query FROM system.processes
@u:x SELECT count() FROM system.tables WHERE database = 'db'
@u:x SHOW USERS
@u:x SHOW CREATE USER
@u:x SHOW CREATE USER default
@u:x SET ROLE NONE
@u:x SET ROLE r
@u:x SET ROLE nosuch
@u:x ALTER USER u IDENTIFIED BY 'z'
@u:x SELECT * FROM system.enabled_roles
@u:x SELECT * FROM system.current_roles
@u:x CREATE USER z
@u:x DROP USER default
@u:x SELECT * FROM url('http://localhost:1/', TSV, 'a Int8')
@u:x SELECT * FROM file('x.tsv', TSV, 'a Int8')
SHOW GRANTS FOR nosuch
CREATE ROW POLICY p ON db.t FOR SELECT USING a > 1 TO u
@u:x SELECT a FROM db.t ORDER BY a
@u:x SELECT count() FROM db.t
GRANT SELECT ON db.t TO u
CREATE ROW POLICY p2 ON db.t AS RESTRICTIVE FOR SELECT USING b = user() TO u
@u:x SELECT a, b FROM db.t
DROP ROW POLICY p2 ON db.t
GRANT INSERT ON db.t TO u
@u:x INSERT INTO db.t VALUES (4, 'by u')
@u:x SELECT a, b FROM db.t ORDER BY a
SELECT count() FROM db.t
CREATE SETTINGS PROFILE pr SETTINGS max_block_size = 100 TO u
@u:x SELECT value FROM system.settings WHERE name = 'max_block_size'
@u:x SELECT currentProfiles(), enabledProfiles()
ALTER USER u SETTINGS readonly = 1
@u:x SET max_block_size = 5
@u:x INSERT INTO db.t VALUES (1, 'x')
@u:x CREATE TEMPORARY TABLE tt (a Int8)
@u:x SELECT a FROM db.t ORDER BY a
ALTER USER u SETTINGS readonly = 2
@u:x SET max_block_size = 5
@u:x SET readonly = 0
@u:x SELECT 1 SETTINGS max_block_size = 7
ALTER USER u SETTINGS max_execution_time = 5 CHANGEABLE_IN_READONLY, readonly = 1
@u:x SELECT 1 SETTINGS max_rows_to_read = 7
ALTER USER u SETTINGS allow_ddl = 0
@u:x CREATE TABLE db.x (a Int8) ENGINE = Memory
ALTER USER u DEFAULT DATABASE db SETTINGS NONE
@u:x SELECT currentDatabase()
@u:x SELECT count() FROM t
SET ROLE r
SET ROLE NONE
SHOW CREATE USER u
SHOW CREATE ROLE r
SHOW CREATE SETTINGS PROFILE pr
SHOW CREATE ROW POLICY p ON db.t
SHOW ROW POLICIES
SHOW PROFILES
SELECT name, storage, auth_type, host_ip FROM system.users ORDER BY name
SELECT user_name, access_type, database, table, column, is_partial_revoke, grant_option FROM system.grants WHERE user_name = 'u' OR role_name = 'r' ORDER BY ALL
SELECT user_name, role_name, granted_role_name, granted_role_is_default, with_admin_option FROM system.role_grants ORDER BY ALL
SELECT profile_name, user_name, role_name, index, setting_name, value, min, max, writability, inherit_profile FROM system.settings_profile_elements ORDER BY ALL
SELECT name, short_name, database, table, select_filter, is_restrictive, apply_to_list FROM system.row_policies
SELECT name, type, precedence FROM system.user_directories
SELECT `name` FROM `system`.`users` ORDER BY 1
SELECT 'system.users', name FROM "system" . "users" ORDER BY ALL
SELECT users.name, r.name FROM system.users AS users JOIN system.roles AS r ON 1 WHERE users.name = 'u'
SELECT name FROM (SELECT * FROM system.users) WHERE name IN (SELECT name FROM system.users) ORDER BY name
WITH w AS (SELECT name FROM system.users) SELECT * FROM w ORDER BY name
SELECT name FROM system.users ORDER BY name FORMAT JSONEachRow
EXISTS TABLE system.users
CREATE TABLE db.copy (name String) ENGINE = MergeTree ORDER BY name
INSERT INTO db.copy SELECT name FROM system.users
SELECT * FROM db.copy ORDER BY name
DROP USER default
ALTER USER default SETTINGS max_threads = 1
CREATE USER default
CREATE USER IF NOT EXISTS default
CREATE USER IF NOT EXISTS u
CREATE USER OR REPLACE u IDENTIFIED BY 'q'
@u:q SELECT a FROM db.t
ALTER USER u RENAME TO v
SHOW USERS
GRANT SELECT ON *.* TO v WITH GRANT OPTION
REVOKE SELECT ON db.* FROM v
SHOW GRANTS FOR v
@v:q SELECT count() FROM db.t
@v:q SELECT count() > 0 FROM system.users
@v:q GRANT SELECT ON db.t TO r
@v:q GRANT SELECT ON other.* TO r
@v:q GRANT INSERT ON other.* TO r
@v:q CREATE ROLE r9
GRANT INSERT ON db.t TO v, r
GRANT CREATE USER, DROP USER ON *.* TO v
@v:q CREATE USER made_by_v
@v:q CREATE USER made_by_w SETTINGS PROFILE 'nosuch'
@v:q ALTER USER made_by_v IDENTIFIED BY 'x'
@v:q DROP USER made_by_v
DROP ROLE r
DROP SETTINGS PROFILE pr
DROP ROW POLICY p ON db.t
DROP USER v
DROP USER v
DROP USER IF EXISTS v
DROP DATABASE db
SELECT 1; DROP USER x
SELECT 'a;b' AS `x;y`; -- c
CREATE USER x IDENTIFIED WITH sha256_password BY 'a', plaintext_password BY 'b'
SHOW CREATE USER x
ALTER USER x RESET AUTHENTICATION METHODS TO NEW
@x:a SELECT 1
@x:b SELECT 1
ALTER USER x ADD IDENTIFIED WITH plaintext_password BY 'c'
@x:c SELECT 1
DROP USER x
CREATE USER z GRANTEES NONE DEFAULT ROLE NONE
SHOW CREATE USER z
CREATE USER z2 IN users_xml
CREATE USER z2 IN nosuch
CREATE USER z2 IDENTIFIED WITH sha256_hash BY 'ab'
CREATE USER z2 VALID UNTIL 'x'
CREATE USER z2 SETTINGS nosuch = 1
CREATE USER z2 SETTINGS max_threads = 'x'
CREATE USER z2 SETTINGS PROFILE 'nosuch'
CREATE USER z2 DEFAULT ROLE nosuch
CREATE USER z2 HOST IP 'nosuch'
CREATE USER z2 IDENTIFIED WITH ldap SERVER 'l' HOST REGEXP '['
DROP USER z2
GRANT nosuch TO z
GRANT SELECT ON *.* TO nosuch
GRANT nosuchpriv ON *.* TO z
GRANT CREATE DATABASE ON a.b TO z
REVOKE SELECT ON *.* FROM z
GRANT CURRENT GRANTS ON *.* TO z
SHOW GRANTS FOR z
SET DEFAULT ROLE NONE TO z
SYSTEM RELOAD CONFIG
DROP USER z
SHOW USERS
SHOW ROLES
"""
DIFFERENT = {
    "@u:x SELECT b FROM db.t": "26.9's engine names the missing privilege without the columns",
    "@u:x INSERT INTO db.t VALUES (1, 'x')": "likewise",
    "@u:x SELECT name FROM system.users": "the text names the privilege without the columns",
    "@u:x SELECT * FROM system.grants": "likewise",
    "@u:x SELECT query FROM system.processes": "likewise",
    "@u:x SHOW USERS": "likewise: SHOW USERS gives the right to read system.users",
    "@u:q SELECT a FROM db.t": "likewise",
    "@v:q SELECT count() FROM db.t": "likewise",
}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Sandbox, Sandbox]]:
    """A fresh server of either version."""
    with start("26.9") as ours, start("25.8") as theirs:
        yield ours, theirs


def answer(server: Sandbox, line: str) -> str:
    """What a line of the script gets, without what belongs to the moment."""
    match = re.fullmatch(r"(?:@(\w+)(?::(\w+))? )?(.*)", line)
    assert match
    try:
        text = server.session(match[1], match[2] or "").query(match[3])
    except ServerSaid as error:
        text = f"{error.status} {error.code} {error.name} {error.message}"
    text = text.rsplit(" (version", 1)[0]
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text).strip()


def code(text: str) -> str:
    """Status, code and name of an answer that is an error."""
    return " ".join(text.split()[:3])


def test_a_long_session_of_statements(pair: tuple[Sandbox, Sandbox]) -> None:
    different = {}
    for line in SCRIPT.strip().splitlines():
        ours, theirs = (answer(server, line) for server in pair)
        if ours != theirs:
            different[line] = (ours, theirs)
    unexpected = {line: found for line, found in different.items() if line not in DIFFERENT}
    assert not unexpected
    assert different.keys() == DIFFERENT.keys(), "differences that are no more"
    for ours, theirs in different.values():  # these differ in their words only
        assert code(ours) == code(theirs)


def test_long_statements(server: Sandbox, real: Sandbox) -> None:
    """A statement may be as long as max_query_size, however many quotes and names it has, and takes no time to speak
    of."""
    names = [f"long {n:04} {'`' * 40}{'x' * 40}" for n in range(1000)]
    listed = ", ".join("`" + name.replace("`", "``") + "`" for name in names)
    assert 130_000 < len(listed) < 262_144
    for where in (server, real):
        admin = where.session()
        began = time.monotonic()
        for sql in (f"CREATE ROLE {listed}", f"GRANT SELECT ON d.* TO {listed}", f"DROP ROLE {listed}"):
            admin.query(sql)
        assert time.monotonic() - began < 20
        for size, setting in ((262_145, {}), (1001, {"max_query_size": "1000"})):
            start = "DROP ROLE IF EXISTS "
            with pytest.raises(ServerSaid, match="Max query size exceeded") as caught:
                admin.query(start + "r" * (size - len(start)), **setting)
            assert (caught.value.code, caught.value.status) == (62, 400)
            admin.query(start + "r" * (size - len(start) - 1), **setting)
