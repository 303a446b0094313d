"""The model against ClickHouse's own server of the same version: the same statements, the same answers, the same state.

The wheels of 24.8 and 25.8 hold the whole server, so what the engine alone cannot do, it can: CREATE, ALTER, GRANT and
DROP in a writable storage. SCRIPTS are the tricky cases, one list of statements each; Random makes up others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.sandbox_tests.access.against import Pair, pair
from tests.sandbox_tests.access.random_statements import Random

SCRIPTS = {
    "collisions": """
        CREATE USER u
        CREATE USER u5
        CREATE USER u
        CREATE USER IF NOT EXISTS u
        CREATE USER OR REPLACE u
        CREATE USER u21, u5
        CREATE USER u22, fixed
        CREATE USER IF NOT EXISTS u32, u32, u33
        CREATE USER OR REPLACE u30, u31, u30
        CREATE USER u34, u34
        CREATE USER fixed
        CREATE USER IF NOT EXISTS fixed
        CREATE USER OR REPLACE fixed
        CREATE USER u, u40 IN users_xml
        CREATE USER u41 IN nosuch
        CREATE ROLE rfixed IN local_directory
        CREATE ROLE u, rfixed IN local_directory
        ALTER USER fixed RENAME TO x
        ALTER USER u RENAME TO fixed
        ALTER USER u32 HOST LOCAL RENAME TO u33
        ALTER USER u33 RENAME TO u33
        ALTER USER nosuch RENAME TO v
        ALTER USER u, u5 RENAME TO v
        ALTER USER u RENAME TO `x y`
        ALTER USER `x y` RENAME TO u1@'%.com'
        MOVE USER u5 TO users_xml
        MOVE USER u5 TO local_directory
        MOVE USER fixed TO local_directory
        MOVE USER u5 TO nosuch
        DROP USER u5, nosuch
        DROP ROLE rfixed FROM local_directory
        DROP ROLE rfixed FROM users_xml
        ALTER USER default SETTINGS max_threads = 1
        DROP USER default
    """,
    "several at once": """
        CREATE USER u5, u6
        CREATE ROLE r1, r2
        GRANT r1 TO u5, fixed
        GRANT r1 TO fixed, u5
        GRANT SELECT ON *.* TO u5, rfixed
        ALTER USER u5, fixed HOST LOCAL
        ALTER USER u5, nosuch HOST NONE
        ALTER USER IF EXISTS u5, nosuch HOST NONE
        ALTER ROLE rfixed SETTINGS NONE
        SET DEFAULT ROLE NONE TO fixed
        SET DEFAULT ROLE r1, r2 TO u5, u6
        SET DEFAULT ROLE NONE TO nosuch
        SET DEFAULT ROLE nosuch TO fixed
        DROP USER u5, fixed
        DROP ROLE r1, rfixed
        DROP ROLE IF EXISTS r1, r2, nosuch
        REVOKE SELECT ON db.t FROM fixed
        CREATE USER x GRANTEES nosuch
        CREATE USER y DEFAULT ROLE nosuch
        CREATE USER z SETTINGS PROFILE nosuch
        CREATE USER z, y SETTINGS nosuch = 1
        CREATE USER g1, g2 GRANTEES g1, g2, x
        CREATE USER IF NOT EXISTS x, g3 GRANTEES x
    """,
    "hosts": """
        CREATE USER u1 HOST LOCAL
        CREATE USER u2 HOST IP '192.168.1.5/24', IP '10.0.0.1', NAME 'a.b', REGEXP 'x.*', LIKE '%.com'
        CREATE USER u3 HOST NONE
        CREATE USER u5@'192.168.%.%'
        CREATE USER u6@'%', u7@localhost, u8@'::1', v@'10.0.0.1', w@'65:ff0c::/96'
        CREATE USER u9 HOST LIKE '192.168.1.1', NAME 'localhost', REGEXP 'localhost'
        CREATE USER u10, u11 HOST NONE, LOCAL
        ALTER USER u1 ADD HOST IP '2.2.2.2', LIKE 'z'
        ALTER USER u2 DROP HOST NAME 'a.b' ADD HOST NAME 'c.d'
        ALTER USER u2 DROP HOST IP '192.168.1.0/24'
        ALTER USER u1 DROP HOST LOCAL
        ALTER USER u3 ADD HOST ANY
        ALTER USER u3 DROP HOST ANY ADD HOST LOCAL
        CREATE USER u12 HOST IP 'nosuch'
        CREATE USER u13 HOST IP '1.2.3.4/255.255.0.0', IP '::/0'
        CREATE USER u15 HOST NAME '1.2.3.4', NAME '::1', NAME '127.0.0.1'
        CREATE USER u17 HOST REGEXP '['
    """,
    "authentication": """
        CREATE USER u1 IDENTIFIED WITH plaintext_password BY 'a', sha256_password BY 'b'
        CREATE USER u2 IDENTIFIED BY 'x'
        CREATE USER u3 IDENTIFIED WITH double_sha1_password BY 'x' VALID UNTIL '2040-01-02'
        CREATE USER u4 NOT IDENTIFIED
        CREATE USER u5 IDENTIFIED WITH no_password, plaintext_password BY 'x'
        CREATE USER u6 IDENTIFIED WITH no_password VALID UNTIL '2040-01-02 03:04:05'
        CREATE USER u7 IDENTIFIED WITH plaintext_password BY 'a' VALID UNTIL '2041-01-01', plaintext_password BY 'b'
        CREATE USER u9 IDENTIFIED WITH ldap SERVER 'l'
        CREATE USER u10 IDENTIFIED WITH kerberos
        CREATE USER u11 IDENTIFIED WITH kerberos REALM 'R.COM'
        CREATE USER u12 IDENTIFIED WITH ssl_certificate CN 'b', 'a'
        CREATE USER u13 IDENTIFIED WITH ssl_certificate SAN 'DNS:b', 'URI:a/b'
        CREATE USER u14 IDENTIFIED WITH http SERVER 's'
        CREATE USER u15 IDENTIFIED WITH http SERVER 's' SCHEME 'basic'
        CREATE USER u19 IDENTIFIED WITH sha256_hash BY 'x'
        CREATE USER u21 IDENTIFIED WITH scram_sha256_password BY 'x'
        CREATE USER u22 IDENTIFIED WITH jwt
        CREATE USER u25 IDENTIFIED WITH nosuch BY 'x'
        CREATE USER u26 VALID UNTIL 'infinity'
        CREATE USER u27 VALID UNTIL 'nosuch'
        CREATE USER u29 VALID UNTIL '06/11/2040 08:03:20 Z+3'
        ALTER USER u1 ADD IDENTIFIED WITH plaintext_password BY 'c'
        ALTER USER u4 ADD IDENTIFIED WITH plaintext_password BY 'c'
        ALTER USER u1 ADD IDENTIFIED WITH no_password
        ALTER USER u1 RESET AUTHENTICATION METHODS TO NEW
        ALTER USER u1 VALID UNTIL '2050-01-01'
        ALTER USER u7 VALID UNTIL '2050-01-01'
        ALTER USER u7 IDENTIFIED WITH plaintext_password BY 'z'
        ALTER USER u2, u3 ADD IDENTIFIED WITH plaintext_password BY 'q'
        ALTER USER u2 VALID UNTIL 'infinity'
        ALTER USER u9 NOT IDENTIFIED
    """,
    "roles": """
        CREATE ROLE r1, r2, r3
        CREATE USER u1 DEFAULT ROLE r1
        CREATE USER u2 DEFAULT ROLE ALL EXCEPT r1
        CREATE USER u3 DEFAULT ROLE NONE
        CREATE USER u4 DEFAULT ROLE r1, r2
        GRANT r1, r2 TO u2
        GRANT r3 TO u2 WITH ADMIN OPTION
        GRANT r3 TO u2
        GRANT r2 TO r1
        GRANT r1 TO r2
        ALTER USER u2 DEFAULT ROLE r3
        ALTER USER u3 DEFAULT ROLE r3
        SET DEFAULT ROLE r1 TO u2
        SET DEFAULT ROLE ALL EXCEPT r1 TO u3
        SET DEFAULT ROLE NONE TO u1
        SET DEFAULT ROLE ALL TO u4
        REVOKE ADMIN OPTION FOR r3 FROM u2
        REVOKE r1 FROM u2
        REVOKE ALL FROM u4
        REVOKE ALL EXCEPT r2 FROM u2
        GRANT r1, nosuch TO u1
        GRANT r1 TO nosuch
        REVOKE nosuch FROM u1
        GRANT ALL TO u1
        GRANT r1, r2 TO u1 WITH ADMIN OPTION
        GRANT r3 TO u1 WITH ADMIN OPTION WITH REPLACE OPTION
        GRANT r3 TO u1 WITH REPLACE OPTION
        GRANT NONE TO u1 WITH REPLACE OPTION
    """,
    "dropped": """
        CREATE ROLE r1, r2
        CREATE USER u1 DEFAULT ROLE r1, r2
        CREATE SETTINGS PROFILE p1
        CREATE SETTINGS PROFILE p2 SETTINGS PROFILE pfixed, PROFILE p1, max_threads = 3 TO u1, r1
        CREATE QUOTA q TO r1
        CREATE ROW POLICY rp ON a.b USING 1 TO u1, r1
        CREATE USER u2 GRANTEES u1, r1
        GRANT r1 TO r2
        DROP ROLE r1
        SHOW GRANTS FOR r2
        CREATE ROLE r1
        GRANT r1 TO u1
        DROP USER u1
        ALTER QUOTA q TO ALL EXCEPT r1
        DROP ROLE r1
    """,
    "settings": """
        CREATE SETTINGS PROFILE p1 SETTINGS max_threads = 8 MIN 2 MAX 10 CONST, max_memory_usage = '10M'
        CREATE SETTINGS PROFILE p2 SETTINGS PROFILE p1, INHERIT default, readonly = 1
        CREATE SETTINGS PROFILE p3 SETTINGS INHERIT p1 TO ALL EXCEPT default
        CREATE USER u SETTINGS PROFILE p1, max_threads = 4 WRITABLE, PROFILE p2
        CREATE ROLE r SETTINGS PROFILE p3, max_execution_time = 60, log_comment = 'it\\'s'
        ALTER USER u SETTINGS max_threads = 4, max_threads MIN 3
        ALTER USER u ADD SETTING max_block_size = 5
        ALTER USER u MODIFY SETTING max_threads MAX 20
        ALTER USER u MODIFY SETTING max_block_size MIN 1 CONST
        ALTER USER u ADD SETTING max_block_size = 8
        ALTER USER u DROP SETTING max_threads
        ALTER USER u ADD PROFILES p1, p3
        ALTER USER u DROP PROFILES p1
        ALTER USER u ADD SETTING log_queries = 0, DROP SETTING max_execution_time, ADD PROFILE pfixed
        ALTER USER u DROP ALL PROFILES
        ALTER USER u DROP ALL SETTINGS ADD SETTINGS max_threads = 0, max_insert_threads = 'auto'
        ALTER USER u DROP PROFILE nosuch
        ALTER ROLE r SETTINGS totals_mode = 'nosuch'
        ALTER ROLE r SETTINGS max_rows_to_read = 'x'
        ALTER ROLE r SETTINGS join_algorithm = 'hash,auto', max_memory_usage = 1e6, connect_timeout = 5
        ALTER ROLE r RENAME TO r9
        ALTER SETTINGS PROFILE p1 RENAME TO p9
        ALTER SETTINGS PROFILE p2 SETTINGS INHERIT p9, max_threads = 2 TO u, r9
        ALTER SETTINGS PROFILE p2 TO NONE
        ALTER SETTINGS PROFILE p9 SETTINGS INHERIT p9
        ALTER SETTINGS PROFILE p2 SETTINGS INHERIT nosuch TO nosuch
        DROP PROFILE p9, pfixed
    """,
    "quotas": """
        CREATE USER u
        CREATE QUOTA q1 KEYED BY user_name
        CREATE QUOTA q2 FOR INTERVAL 1 hour MAX queries = 1000, errors = 500, execution_time = 2500.5 TO u
        CREATE QUOTA q3 KEYED BY client_key, user_name FOR INTERVAL 90 minute MAX errors = 7 TO rfixed, u
        ALTER QUOTA q3 FOR RANDOMIZED INTERVAL 1 month TRACKING ONLY, FOR INTERVAL 1 day MAX queries = 5000
        CREATE QUOTA q4 FOR INTERVAL 24 hour NO LIMITS TO u
        CREATE QUOTA q5 NOT KEYED FOR INTERVAL 7 day MAX result_bytes = '10Mi' TO ALL EXCEPT default
        CREATE QUOTA q6 KEYED BY 'ip_address' FOR INTERVAL 5 year MAX queries 10, FOR INTERVAL 1 quarter MAX errors = 10
        CREATE QUOTA q7 FOR INTERVAL 1 hour MAX queries = 1, FOR INTERVAL 60 minute MAX errors = 2
        CREATE QUOTA q8 FOR INTERVAL 0 second MAX queries = 1
        CREATE QUOTA q9 KEYED BY nosuch
        ALTER QUOTA q2 FOR INTERVAL 1 hour MAX queries = 2000
        ALTER QUOTA q2 FOR INTERVAL 30 minute MAX errors = 20
        ALTER QUOTA q2 FOR INTERVAL 1 hour NO LIMITS
        ALTER QUOTA q2 KEYED BY ip_address RENAME TO q20
        ALTER QUOTA q20 TO u, nosuch
        ALTER QUOTA q3 RENAME TO q4
        ALTER QUOTA IF EXISTS nosuch TO u
        ALTER QUOTA nosuch TO u
        SHOW CREATE QUOTA q3, q7
        DROP QUOTA q1, nosuch
        CREATE QUOTA default
    """,
    "row policies": """
        CREATE USER u1
        CREATE ROLE r1
        CREATE ROW POLICY p ON db.t
        CREATE ROW POLICY p ON db.t2 USING a = 1 TO u1
        CREATE ROW POLICY p2 ON db.t AS RESTRICTIVE FOR SELECT USING a<1000 AND b='x' TO r1, u1
        CREATE POLICY p3 ON db.* USING 1 TO ALL
        CREATE ROW POLICY p4, p5 ON db.t USING 1 TO ALL EXCEPT u1
        CREATE ROW POLICY p6 ON db.t, db2.t USING 0
        CREATE ROW POLICY p7 ON t USING 1
        CREATE ROW POLICY p8 ON *.* USING 1
        CREATE ROW POLICY `a b` ON `d b`.`t t` USING `x y` = 1
        ALTER ROW POLICY p ON db.t USING a > 1 RENAME TO pp
        ALTER ROW POLICY p2 ON db.t AS PERMISSIVE TO NONE
        ALTER ROW POLICY p4 ON db.t RENAME TO p5
        ALTER ROW POLICY nosuch ON db.t TO NONE
        DROP ROW POLICY nosuch ON db.t
        DROP ROW POLICY p5 ON db.t, p6 ON db2.t
        SHOW ROW POLICIES ON db.t
        SHOW ROW POLICIES ON db.*
        SHOW ROW POLICIES p
        SHOW CREATE ROW POLICY p2 ON db.t
        SHOW CREATE ROW POLICIES ON db.t
        SHOW CREATE ROW POLICY nosuch ON db.t
        CREATE ROW POLICY p2 ON db.t
        CREATE ROW POLICY OR REPLACE p2 ON db.t
        CREATE ROW POLICY pz ON db.t USING (a, b) IN (SELECT a, b FROM db.t2) TO u1
    """,
    "grants": """
        CREATE USER u1
        CREATE ROLE r1
        GRANT ALL ON *.* TO u1
        REVOKE ALL ON *.* FROM u1
        GRANT SELECT ON db.* TO u1
        REVOKE SELECT ON db.t FROM u1
        REVOKE SELECT(a) ON db.t2 FROM u1
        REVOKE ALL ON db.t FROM u1
        GRANT SELECT, INSERT, CREATE TABLE ON db.* TO u1 WITH GRANT OPTION
        REVOKE GRANT OPTION FOR SELECT ON db.t FROM u1
        REVOKE GRANT OPTION FOR ALL ON *.* FROM u1
        GRANT CREATE DATABASE ON db.t TO u1
        GRANT SELECT, SYSTEM SHUTDOWN ON db.t TO u1
        GRANT ALL ON db.t TO u1
        GRANT ALTER, CREATE, DROP, SHOW ON db3.* TO r1
        GRANT ALTER COLUMN(a, b) ON db3.t TO r1
        GRANT ACCESS MANAGEMENT ON *.* TO r1
        REVOKE CREATE USER ON *.* FROM r1
        GRANT NONE ON *.* TO r1
        GRANT SELECT ON *.* TO r1 WITH REPLACE OPTION
        GRANT NONE ON *.* TO r1 WITH REPLACE OPTION
        GRANT SELECT ON db.t TO u1, r1 WITH REPLACE OPTION
        GRANT CURRENT GRANTS(SELECT ON db.*, INSERT ON db.t) TO r1
        GRANT SELECT(a), INSERT ON t TO r1
        REVOKE SELECT ON t FROM r1
        GRANT CREATE USER ON v TO u1
        GRANT NAMED COLLECTION ADMIN ON nc TO u1
        GRANT SET DEFINER ON * TO u1
        GRANT TABLE ENGINE ON Memory TO u1
        GRANT TABLE ENGINE ON nosuch TO u1
        REVOKE SELECT ON db.t FROM nosuch
    """,
    "wildcards": """
        CREATE USER u1
        GRANT SELECT ON db*.* TO u1
        GRANT SELECT ON db.t* TO u1
        REVOKE SELECT ON db1.* FROM u1
        REVOKE SELECT ON db.tab* FROM u1
        GRANT SELECT(a) ON db.t* TO u1
        GRANT CREATE USER ON u* TO u1
    """,
    "sources": """
        CREATE USER u1
        CREATE ROLE r1
        GRANT READ ON S3 TO u1
        GRANT READ, WRITE ON FILE TO u1
        GRANT FILE ON *.* TO r1
        GRANT SOURCES ON *.* TO r1
        REVOKE WRITE ON URL FROM r1
        GRANT S3 ON *.* TO u1
        REVOKE READ ON S3 FROM u1
        GRANT READ ON nosuch TO u1
        GRANT SELECT, FILE ON *.* TO u1
        GRANT S3 ON db.* TO u1
    """,
}  # fmt: skip


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A server and a model of either version."""
    with pair(request.param, tmp_path_factory.mktemp("against")) as both:
        yield both


def differences(both: Pair, statements: list[str]) -> dict[str, object]:
    """Where the two differ: in what a statement answers, and in what there is after the last."""
    found: dict[str, object] = {}
    for sql in statements:
        real, model = both.run(sql)
        if real != model:
            found[sql] = real, model
    found |= both.state()
    both.clear()
    return found


@pytest.mark.parametrize(
    ("both", "name"),
    [("25.8", name) for name in SCRIPTS] + [("24.8", name) for name in ("collisions", "roles", "row policies")],
    indirect=["both"],
)
def test_scripts(both: Pair, name: str) -> None:
    assert not differences(both, [line.strip() for line in SCRIPTS[name].strip().splitlines()])


@pytest.mark.parametrize("both", ["25.8"], indirect=True)
def test_random(both: Pair) -> None:
    for seed in range(20):
        statements = Random(random.Random(seed)).script(15)
        assert not differences(both, statements), (seed, statements)
