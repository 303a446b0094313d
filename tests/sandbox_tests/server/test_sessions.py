"""What sessions may do, on the sandbox's 26.9 and on ClickHouse 25.8's own server: a request a line, the same answers.

Errors are compared by HTTP status, code and name; the 26.9 engine words some of them otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.sandbox import Sandbox, ServerSaid, start

# `@user:password` who asks (default: default), `{a=b&c=d}` URL parameters, `GET ` the method
SCRIPTS = {
    "logins": """
        CREATE USER u IDENTIFIED BY 'x'
        CREATE USER e IDENTIFIED WITH plaintext_password BY 'x' VALID UNTIL '2001-01-01'
        CREATE USER h IDENTIFIED BY 'x' HOST IP '10.0.0.1'
        CREATE USER m IDENTIFIED WITH plaintext_password BY 'a', sha256_password BY 'b' VALID UNTIL '2001-01-01'
        CREATE USER np
        CREATE USER dd IDENTIFIED WITH double_sha1_password BY 'x'
        CREATE USER sc IDENTIFIED WITH scram_sha256_password BY 'x'
        CREATE USER cert IDENTIFIED WITH ssl_certificate CN 'x'
        CREATE USER noh HOST NONE
        @u:x SELECT 1
        @u:y SELECT 1
        @u: SELECT 1
        @nosuch:x SELECT 1
        @e:x SELECT 1
        @h:x SELECT 1
        @m:a SELECT 1
        @m:b SELECT 1
        @np:x SELECT 1
        @dd:x SELECT 1
        @sc:x SELECT 1
        @cert:x SELECT 1
        @noh: SELECT 1
        {user=u&password=x} SELECT currentUser()
        {user=u&password=z} SELECT currentUser()
        @u:x {user=u&password=x} SELECT currentUser()
        {user=u} SELECT 1
    """,
    "roles": """
        CREATE ROLE r1, r2, r3
        CREATE USER u IDENTIFIED BY 'x' DEFAULT ROLE r1, r2
        CREATE DATABASE db
        CREATE TABLE db.t (a UInt32, b String, c Int8) ENGINE = MergeTree ORDER BY a
        INSERT INTO db.t VALUES (1, 'x', 1), (2, 'u', 2), (3, 'z', 3)
        GRANT r3 TO r2
        GRANT SELECT(a) ON db.t TO r1
        GRANT SELECT(b) ON db.t TO r3
        @u:x SELECT a, b FROM db.t ORDER BY a
        @u:x SELECT * FROM db.t
        @u:x SELECT count() FROM db.t
        @u:x SELECT a FROM db.t WHERE c = 1
        @u:x {session_id=s} SET ROLE r1
        @u:x {session_id=s} SELECT currentRoles(), enabledRoles(), defaultRoles()
        @u:x {session_id=s} SELECT a, b FROM db.t
        @u:x {session_id=s} SET ROLE NONE
        @u:x {session_id=s} SELECT a FROM db.t
        @u:x {session_id=s} SET ROLE ALL EXCEPT r1
        @u:x {session_id=s} SELECT currentRoles(), enabledRoles(), defaultRoles()
        @u:x {session_id=s} SET ROLE DEFAULT
        @u:x {session_id=s} SET ROLE r3
        @u:x {session_id=s} SET ROLE r1, nosuch
        @u:x {session_id=s} SHOW ENABLED ROLES
        @u:x {role=r1} SELECT currentRoles()
        @u:x {role=nosuch} SELECT currentRoles()
        @u:x {role=r3} SELECT currentRoles()
        @u:x SELECT * FROM system.enabled_roles ORDER BY ALL
        ALTER USER u DEFAULT ROLE ALL EXCEPT r2
        @u:x {role=r2} SHOW ENABLED ROLES
        @u:x SHOW GRANTS FOR r1
        @u:x SHOW GRANTS FOR r3
        @u:x CHECK GRANT SELECT(a) ON db.t
        @u:x CHECK GRANT SELECT(c) ON db.t
        @u:x CHECK GRANT SELECT ON db.*
        @u:x SHOW TABLES FROM db
        @u:x DESCRIBE TABLE db.t
        @u:x SHOW CREATE TABLE db.t
        @u:x SELECT name FROM system.columns WHERE database = 'db' ORDER BY ALL
        GRANT r2 TO u WITH ADMIN OPTION
        GRANT CREATE USER ON *.* TO u
        @u:x {role=r2} CREATE USER v1 DEFAULT ROLE r2
        @u:x {role=r1} CREATE USER v2 DEFAULT ROLE r1
        @u:x CREATE USER v3 DEFAULT ROLE r3
        @u:x {role=r2} GRANT r2 TO v1
        @u:x GRANT r3 TO v1
        DROP DATABASE db
    """,
    "rights": """
        CREATE USER u IDENTIFIED BY 'x'
        CREATE DATABASE db
        CREATE TABLE db.t (a UInt32) ENGINE = MergeTree ORDER BY a
        @u:x SELECT * FROM db.t
        @u:x CREATE DATABASE x
        @u:x ALTER TABLE db.t ADD COLUMN z Int8
        @u:x ALTER TABLE db.t DELETE WHERE a = 1
        @u:x RENAME TABLE db.t TO db.tt
        @u:x TRUNCATE TABLE db.t
        @u:x OPTIMIZE TABLE db.t
        @u:x KILL QUERY WHERE query_id = 'nosuch'
        @u:x SYSTEM SHUTDOWN
        @u:x SELECT * FROM s3('http://localhost:1/x', 'CSV', 'a Int8')
        @u:x CREATE FUNCTION f AS (x) -> x
        @u:x CREATE NAMED COLLECTION nc AS a = 1
        @u:x SHOW ACCESS
        @u:x SHOW ROLES
        @u:x SHOW PROFILES
        @u:x SHOW QUOTAS
        @u:x SHOW QUOTA
        @u:x SHOW ROW POLICIES
        @u:x SHOW CREATE USER
        @u:x SELECT name FROM system.users
        @u:x SELECT * FROM system.role_grants
        @u:x SELECT count() > 0 FROM system.functions
        @u:x SHOW PROCESSLIST
        @u:x SELECT table_name FROM information_schema.tables
        GRANT SELECT ON system.* TO u
        @u:x SELECT count() FROM system.users WHERE name = 'u'
        @u:x SHOW USERS
        @u:x SHOW CREATE USER default
        REVOKE SELECT ON system.* FROM u
        GRANT SHOW USERS ON *.* TO u
        @u:x SELECT count() FROM system.users WHERE name = 'u'
        @u:x SHOW USERS
        @u:x SHOW GRANTS FOR default
        @u:x SELECT count() FROM system.grants WHERE user_name = 'u'
        GRANT SHOW ACCESS ON *.* TO u
        @u:x SHOW QUOTAS
        GRANT ALL ON *.* TO u
        REVOKE SELECT ON db.* FROM u
        @u:x SELECT * FROM db.t
        @u:x INSERT INTO db.t VALUES (1)
        @u:x GRANT INSERT ON db.t TO default
        @u:x CREATE USER q
        @u:x DROP USER q
        DROP DATABASE db
    """,
    "row policies": """
        CREATE ROLE a
        CREATE USER u IDENTIFIED BY 'x' DEFAULT ROLE a
        CREATE DATABASE db
        CREATE TABLE db.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a
        INSERT INTO db.t VALUES (1, 'x'), (2, 'u'), (3, 'z'), (4, 'x')
        CREATE TABLE db.t2 (a UInt32) ENGINE = MergeTree ORDER BY a
        INSERT INTO db.t2 VALUES (1), (2), (3)
        GRANT SELECT, INSERT ON db.* TO u
        CREATE ROW POLICY p1 ON db.t USING a = 1 TO u
        @u:x SELECT a FROM db.t ORDER BY a
        CREATE ROW POLICY p2 ON db.t USING a = 2 TO u
        @u:x SELECT a FROM db.t ORDER BY a
        CREATE ROW POLICY p3 ON db.t USING b = 'x' AS RESTRICTIVE TO u
        @u:x SELECT a FROM db.t ORDER BY a
        CREATE ROW POLICY p4 ON db.* USING a <= 3 TO u
        @u:x SELECT a FROM db.t ORDER BY a
        @u:x SELECT a FROM db.t2 ORDER BY a
        CREATE ROW POLICY p5 ON db.* USING a >= 2 AS RESTRICTIVE TO u
        @u:x SELECT a FROM db.t2 ORDER BY a
        @u:x SELECT a FROM db.t ORDER BY a
        CREATE TABLE db.t3 (a UInt32) ENGINE = MergeTree ORDER BY a
        INSERT INTO db.t3 VALUES (1), (2), (3), (4)
        @u:x SELECT a FROM db.t3 ORDER BY a
        SELECT a FROM db.t ORDER BY a
        DROP ROW POLICY p1, p2 ON db.t
        @u:x SELECT a FROM db.t ORDER BY a
        DROP ROW POLICY p4, p5 ON db.*
        @u:x SELECT a FROM db.t ORDER BY a
        ALTER ROW POLICY p3 ON db.t TO NONE
        @u:x SELECT a FROM db.t ORDER BY a
        ALTER ROW POLICY p3 ON db.t TO a
        @u:x SELECT a FROM db.t ORDER BY a
        ALTER ROW POLICY p3 ON db.t AS PERMISSIVE TO ALL EXCEPT u
        @u:x SELECT a FROM db.t ORDER BY a
        SELECT a FROM db.t ORDER BY a
        ALTER ROW POLICY p3 ON db.t TO ALL EXCEPT a
        @u:x SELECT a FROM db.t ORDER BY a
        ALTER ROW POLICY p3 ON db.t USING currentUser() = b TO u
        @u:x SELECT a FROM db.t
        ALTER ROW POLICY p3 ON db.t USING a IN (SELECT a FROM db.t2 WHERE a < 3)
        @u:x SELECT a FROM db.t ORDER BY a
        ALTER ROW POLICY p3 ON db.t USING NONE
        @u:x SELECT a FROM db.t ORDER BY a
        DROP DATABASE db
    """,
    "quotas": """
        CREATE USER u IDENTIFIED BY 'x'
        CREATE QUOTA q FOR INTERVAL 1 year MAX queries = 3 TO u
        @u:x SELECT 1
        @u:x SELECT 2
        @u:x SELECT 3
        @u:x SELECT 4
        ALTER QUOTA q FOR INTERVAL 1 year MAX result_rows = 5
        @u:x SELECT * FROM numbers(10)
        DROP QUOTA q
        @u:x SELECT 1
    """,
    "settings": """
        CREATE USER u IDENTIFIED BY 'x'
        CREATE SETTINGS PROFILE p SETTINGS max_threads = 3 MIN 2 MAX 5, max_block_size = 100 CONST TO u
        @u:x SELECT getSetting('max_threads')
        @u:x {max_threads=4} SELECT getSetting('max_threads')
        @u:x {max_threads=6} SELECT 1
        @u:x {max_block_size=101} SELECT 1
        @u:x {max_block_size=100} SELECT 1
        @u:x SELECT 1 SETTINGS max_threads = 9
        @u:x SET max_threads = 5, max_block_size = 2
        @u:x {session_id=z} SET max_threads = 5
        @u:x {session_id=z} SELECT getSetting('max_threads')
        @u:x {nosuch=1} SELECT 1
        CREATE SETTINGS PROFILE b SETTINGS max_execution_time = 7
        CREATE SETTINGS PROFILE q SETTINGS INHERIT b, max_threads = 4
        @u:x {profile=q} SELECT getSetting('max_threads'), getSetting('max_execution_time')
        @u:x {profile=q&max_threads=2} SELECT getSetting('max_threads')
        @u:x {profile=nosuch} SELECT 1
        @u:x {session_id=y} SET profile = 'q'
        @u:x {session_id=y} SELECT getSetting('max_threads')
        @u:x SET profile = 'nosuch'
        GRANT CREATE USER, ALTER USER ON *.* TO u
        @u:x CREATE USER z SETTINGS max_threads = 9
        @u:x CREATE USER z SETTINGS max_threads = 4
        @u:x ALTER USER default SETTINGS max_threads = 4
        @u:x ALTER USER z SETTINGS max_block_size = 5
        ALTER USER u SETTINGS readonly = 1
        @u:x {max_execution_time=1} SELECT 1
        @u:x {max_execution_time=0} SELECT 1
        @u:x SELECT 1 SETTINGS max_execution_time = 1
        @u:x {readonly=0} SELECT 1
        @u:x {readonly=1} SELECT 1
        @u:x CREATE TEMPORARY TABLE x (a Int8)
        @u:x CREATE USER y
        @u:x {wait_end_of_query=1} SELECT 1
        @u:x {database=system} SELECT 1
        ALTER USER u SETTINGS readonly = 2
        @u:x {max_execution_time=1} SELECT 1
        @u:x {readonly=0} SELECT 1
        @u:x SET readonly = 1
        ALTER USER u SETTINGS readonly = 1, max_execution_time = 5 CHANGEABLE_IN_READONLY MAX 10
        @u:x {max_execution_time=6} SELECT getSetting('max_execution_time')
        @u:x {max_execution_time=11} SELECT 1
        ALTER USER u SETTINGS NONE
        @u:x GET SELECT 1
        @u:x GET SET max_threads = 3
        @u:x {max_execution_time=1} GET SELECT getSetting('max_execution_time'), getSetting('readonly')
        @u:x {readonly=0} GET SELECT 1
        GET CREATE USER q
        {readonly=1} CREATE USER q
        {readonly=2} CREATE USER q
        {readonly=1} DROP USER u
        {readonly=1} SHOW USERS
        {allow_ddl=0} CREATE USER q
    """,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Sandbox, Sandbox]]:
    """A fresh server of either version."""
    with start("26.9") as ours, start("25.8") as theirs:
        yield ours, theirs


def ask(server: Sandbox, line: str) -> str:
    """What a line gets: rows, or the error's status, code and name."""
    match = re.fullmatch(r"(?:@(\w+):(\w*) )?(?:\{(.*?)\} )?(GET )?(.*)", line)
    assert match
    user, password, given, get, sql = match.groups()
    parameters = dict(pair.split("=", 1) for pair in given.split("&")) if given else {}
    client = server.session(user, password or "")
    if get:
        answer = client.request(method="GET", parameters={**parameters, "query": sql})
    else:
        answer = client.request(sql, parameters=parameters)
    text = answer.body.decode()
    if answer.status != 200 or "x-clickhouse-exception-code" in answer.headers:
        said = ServerSaid(answer.status, text)
        return f"{said.status} {said.code} {said.name}"
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_as_clickhouse(servers: tuple[Sandbox, Sandbox], name: str) -> None:
    different = {}
    for line in (line.strip() for line in SCRIPTS[name].strip().splitlines()):
        ours, theirs = (ask(server, line) for server in servers)
        if ours != theirs:
            different[line] = (ours, theirs)
    for server in servers:
        for kind, kinds in (
            ("USER", "USERS"),
            ("ROLE", "ROLES"),
            ("SETTINGS PROFILE", "PROFILES"),
            ("QUOTA", "QUOTAS"),
        ):
            for entity in server.session().lines(f"SHOW {kinds}"):
                if entity not in ("default", "readonly"):
                    server.session().query(f"DROP {kind} {entity}")
        for policy in server.session().lines("SHOW ROW POLICIES"):
            server.session().query(f"DROP ROW POLICY {policy}")
    assert not different
