"""Access statements on a writable storage: canonical forms, the effect of each ALTER clause, grants, errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.access import Options, ServerError
from tests.sandbox.engine import Engine
from tests.sandbox_tests.access.support import Access

HASH = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"

CANONICAL = [
    ("USER u1", "", "IDENTIFIED WITH no_password"),
    ("USER u1", "HOST LOCAL, IP '65:ff0c::/96'", "IDENTIFIED WITH no_password HOST LOCAL, IP '65:ff0c::/96'"),
    ("USER u1", "DEFAULT ROLE ALL EXCEPT r2", "IDENTIFIED WITH no_password DEFAULT ROLE ALL EXCEPT r2"),
    ("USER u1", "DEFAULT ROLE r2, r1", "IDENTIFIED WITH no_password DEFAULT ROLE r1, r2"),
    ("USER u1", "DEFAULT ROLE NONE", "IDENTIFIED WITH no_password DEFAULT ROLE NONE"),
    (
        "USER u1",
        "IDENTIFIED WITH plaintext_password BY 'q' HOST LOCAL SETTINGS readonly = 1",
        "IDENTIFIED WITH plaintext_password HOST LOCAL SETTINGS readonly = 1",
    ),
    (
        "USER u1",
        "SETTINGS PROFILE default, max_memory_usage = 5000000 WRITABLE",
        "IDENTIFIED WITH no_password SETTINGS PROFILE `default`, max_memory_usage = 5000000 WRITABLE",
    ),
    ("USER u1", "GRANTEES ANY EXCEPT u1", "IDENTIFIED WITH no_password GRANTEES ANY EXCEPT u1"),
    ("USER u1", "GRANTEES NONE", "IDENTIFIED WITH no_password GRANTEES NONE"),
    (
        "USER u1",
        "IDENTIFIED WITH plaintext_password BY '1', sha256_password BY '2', BY '3', double_sha1_password BY '4'",
        "IDENTIFIED WITH plaintext_password, sha256_password, sha256_password, double_sha1_password",
    ),
    (
        "USER u1",
        "IDENTIFIED WITH plaintext_password BY '1', BY '2' VALID UNTIL '06/11/2040 08:03:20 Z+3'",
        "IDENTIFIED WITH plaintext_password, sha256_password VALID UNTIL '2040-11-06 05:03:20'",
    ),
    ("USER u1", "IDENTIFIED BY 'x' VALID UNTIL 'infinity'", "IDENTIFIED WITH sha256_password"),
    ("USER u1", "VALID UNTIL '1960-01-01'", "IDENTIFIED WITH no_password VALID UNTIL '1970-01-01 00:00:01'"),
    ("USER u1", "IDENTIFIED WITH ldap SERVER 'l1'", "IDENTIFIED WITH ldap SERVER 'l1'"),
    ("USER u1", "IDENTIFIED WITH kerberos REALM 'EX.COM'", "IDENTIFIED WITH kerberos REALM 'EX.COM'"),
    ("USER u1", "IDENTIFIED WITH ssl_certificate CN 'b', 'a', 'b'", "IDENTIFIED WITH ssl_certificate CN 'a', 'b'"),
    (
        "USER u1",
        "IDENTIFIED WITH ssl_certificate SAN 'URI:spiffe://x', 'DNS:x.com'",
        "IDENTIFIED WITH ssl_certificate SAN 'DNS:x.com', 'URI:spiffe://x'",
    ),
    ("USER u1", "IDENTIFIED WITH http SERVER 'basic'", "IDENTIFIED WITH http SERVER 'basic' SCHEME 'BASIC'"),
    ("USER u1", "IDENTIFIED WITH no_authentication", "IDENTIFIED WITH no_authentication"),
    (
        "USER u1",
        "IDENTIFIED WITH ssh_key BY KEY 'AAAA' TYPE 'ssh-rsa'",
        "IDENTIFIED WITH ssh_key BY KEY AAAA TYPE `ssh-rsa`",
    ),
    ("USER u1", "IDENTIFIED BY 'x' GRANTS (SELECT ON db.*)", "IDENTIFIED WITH sha256_password GRANTS (SELECT ON db.*)"),
    ("USER u1", "HOST NONE", "IDENTIFIED WITH no_password HOST NONE"),
    ("USER u1", "HOST LIKE '%'", "IDENTIFIED WITH no_password"),
    ("USER u1", "HOST REGEXP '.*'", "IDENTIFIED WITH no_password"),
    (
        "USER u1",
        "HOST LIKE '%%', REGEXP '^.*$', NAME 'B', 'a', 'B'",
        "IDENTIFIED WITH no_password HOST NAME 'B', 'a', REGEXP '^.*$', LIKE '%%'",
    ),
    (
        "USER u1",
        "HOST IP '192.168.1.5/24', '10.0.0.1/32', '2001:DB8::1/32', '::ffff:10.0.0.1', '010.0.0.1', '127.0.0.2'",
        "IDENTIFIED WITH no_password HOST LOCAL, IP '10.0.0.1', '::ffff:10.0.0.1', '8.0.0.1', "
        "'192.168.1.0/24', '2001:db8::/32'",
    ),
    ("USER u1", "HOST IP '::/0'", "IDENTIFIED WITH no_password"),
    ("USER u1", "DEFAULT DATABASE `my-db`", "IDENTIFIED WITH no_password DEFAULT DATABASE `my-db`"),
    ("USER `all`", "", "IDENTIFIED WITH no_password"),
    ("USER `a b``c`", "", "IDENTIFIED WITH no_password"),
    ("ROLE r", "SETTINGS PROFILE p, max_threads = 1", "SETTINGS PROFILE `p`, max_threads = 1"),
    (
        "SETTINGS PROFILE `s`",
        "SETTINGS INHERIT p, max_threads = 8 READONLY, max_memory_usage = 10 MIN 1 MAX = 20 CHANGEABLE_IN_READONLY "
        "TO ALL EXCEPT r1",
        "SETTINGS INHERIT `p`, max_threads = 8 CONST, max_memory_usage = 10 MIN 1 MAX 20 CHANGEABLE_IN_READONLY "
        "TO ALL EXCEPT r1",
    ),
    (
        "SETTINGS PROFILE `s`",
        "SETTINGS max_threads = 1, PROFILE p, PROFILE default, max_threads MAX 9, PROFILE p",
        "SETTINGS INHERIT `default`, INHERIT `p`, max_threads = 1 MAX 9",
    ),
    (
        "SETTINGS PROFILE `s`",
        "SETTINGS max_memory_usage = '10M', use_uncompressed_cache = true, max_execution_time = 60, "
        "connect_timeout = 1.5, join_algorithm = 'parallel_hash, hash'",
        "SETTINGS max_memory_usage = 10000000, use_uncompressed_cache = true, max_execution_time = 60., "
        "connect_timeout = 1.5, "
        "join_algorithm = 'parallel_hash,hash'",
    ),
    (
        "QUOTA q",
        "KEYED BY client_key, user_name FOR INTERVAL 1 hour MAX errors = '5', queries = '10Mi', execution_time = 2.5, "
        "FOR RANDOMIZED INTERVAL 1 month TRACKING ONLY TO u9, r1",
        "KEYED BY client_key, user_name FOR INTERVAL 1 hour MAX queries = 10485760, errors = 5, execution_time = 2.5, "
        "FOR RANDOMIZED INTERVAL 1 month TRACKING ONLY TO r1, u9",
    ),
    (
        "QUOTA q",
        "FOR INTERVAL 90 minute MAX queries = 1, FOR INTERVAL 24 hour MAX queries = 2, FOR INTERVAL 7 "
        "day MAX queries = 3",
        "FOR INTERVAL 90 minute MAX queries = 1, FOR INTERVAL 1 day MAX queries = 2, FOR INTERVAL 1 "
        "week MAX queries = 3",
    ),
    ("QUOTA q", "NOT KEYED TO NONE", ""),
    (
        "QUOTA q",
        "KEYED BY ip_address IPV4_PREFIX_BITS 24 IPV6_PREFIX_BITS 64",
        "KEYED BY ip_address IPV4_PREFIX_BITS 24 IPV6_PREFIX_BITS 64",
    ),
    (
        "ROW POLICY p ON db.t",
        "AS RESTRICTIVE USING a < 1000 AND b = 'x' TO r1, u9",
        "AS RESTRICTIVE FOR SELECT USING (a < 1000) AND (b = 'x') TO r1, u9",
    ),
    ("ROW POLICY p ON db.*", "AS PERMISSIVE USING 1 TO ALL", "FOR SELECT USING 1 TO ALL"),
]


def prepared(access: Access) -> Access:
    """With what the statements refer to."""
    access("CREATE ROLE r1, r2", "CREATE USER u9", "CREATE SETTINGS PROFILE p")
    return access


@pytest.mark.parametrize(("entity", "clauses", "shown"), CANONICAL)
def test_canonical_form(access: Access, entity: str, clauses: str, shown: str) -> None:
    """CREATE with any spelling is shown in the one canonical form; creating that form again changes nothing."""
    prepared(access)(f"CREATE {entity} {clauses}")
    form = access(f"SHOW CREATE {entity}")
    assert form == [f"CREATE {entity} {shown}".rstrip().replace("``", "\\`")]
    if "IDENTIFIED WITH" not in form[0] or "no_password" in form[0]:
        access(f"DROP {entity}", form[0])
        assert access(f"SHOW CREATE {entity}") == form


ALTERS: list[tuple[str, str, str]] = [
    ("IDENTIFIED WITH plaintext_password BY 'a', BY 'b'", "IDENTIFIED WITH ldap SERVER 'l'", "ldap SERVER 'l'"),
    ("IDENTIFIED WITH plaintext_password BY 'a'", "NOT IDENTIFIED", "no_password"),
    ("IDENTIFIED WITH plaintext_password BY 'a'", "ADD IDENTIFIED BY 'b'", "plaintext_password, sha256_password"),
    ("IDENTIFIED WITH plaintext_password BY 'a', BY 'b'", "RESET AUTHENTICATION METHODS TO NEW", "sha256_password"),
    (
        "IDENTIFIED WITH plaintext_password BY 'a', BY 'b'",
        "VALID UNTIL '2040-01-01'",
        "plaintext_password VALID UNTIL '2040-01-01 00:00:00', sha256_password VALID UNTIL '2040-01-01 00:00:00'",
    ),
    ("HOST IP '1.1.1.1', NAME 'a'", "HOST LOCAL", "no_password HOST LOCAL"),
    ("HOST IP '1.1.1.1'", "ADD HOST IP '2.2.2.2', NAME 'b'", "no_password HOST IP '1.1.1.1', '2.2.2.2', NAME 'b'"),
    ("HOST IP '1.1.1.1', '2.2.2.2'", "DROP HOST IP '1.1.1.1'", "no_password HOST IP '2.2.2.2'"),
    (
        "HOST IP '1.1.1.1'",
        "DROP HOST IP '1.1.1.1' ADD HOST IP '1.1.1.1', '3.3.3.3'",
        "no_password HOST IP '1.1.1.1', '3.3.3.3'",
    ),
    ("HOST IP '1.1.1.1'", "DROP HOST ANY", "no_password HOST NONE"),
    (
        "SETTINGS PROFILE p, max_threads = 1 MAX 9",
        "SETTINGS max_block_size = 5",
        "no_password SETTINGS max_block_size = 5",
    ),
    ("SETTINGS PROFILE p, max_threads = 1", "SETTINGS NONE", "no_password"),
    (
        "SETTINGS max_threads = 1 MAX 9, max_block_size = 5",
        "ADD SETTING max_threads = 2",
        "no_password SETTINGS max_block_size = 5, max_threads = 2",
    ),
    (
        "SETTINGS max_threads = 1 MAX 9, max_block_size = 5",
        "MODIFY SETTING max_threads MIN 1 CONST",
        "no_password SETTINGS max_threads = 1 MIN 1 MAX 9 CONST, max_block_size = 5",
    ),
    (
        "SETTINGS PROFILE p, max_threads = 1, max_block_size = 5",
        "DROP SETTING max_threads",
        "no_password SETTINGS PROFILE `p`, max_block_size = 5",
    ),
    ("SETTINGS PROFILE p, max_threads = 1", "DROP ALL PROFILES", "no_password SETTINGS max_threads = 1"),
    ("SETTINGS PROFILE p, max_threads = 1", "DROP ALL SETTINGS", "no_password SETTINGS PROFILE `p`"),
    ("SETTINGS PROFILE p, PROFILE default", "ADD PROFILE p", "no_password SETTINGS PROFILE `default`, PROFILE `p`"),
    ("SETTINGS PROFILE p, PROFILE default", "DROP PROFILE p", "no_password SETTINGS PROFILE `default`"),
    ("DEFAULT ROLE r1, r2", "DEFAULT ROLE r2", "no_password DEFAULT ROLE r2"),
    ("DEFAULT ROLE r1, r2", "DEFAULT ROLE ALL", "no_password"),
    ("GRANTEES NONE", "GRANTEES u9", "no_password GRANTEES u9"),
    ("DEFAULT DATABASE d", "DEFAULT DATABASE NONE", "no_password"),
    (
        "GRANTEES NONE HOST LOCAL DEFAULT DATABASE d",
        "IDENTIFIED BY 'x'",
        "sha256_password HOST LOCAL DEFAULT DATABASE d GRANTEES NONE",
    ),
]


@pytest.mark.parametrize(("before", "change", "after"), ALTERS)
def test_alter_user(access: Access, before: str, change: str, after: str) -> None:
    """What each clause of ALTER USER replaces, adds, removes and leaves alone."""
    prepared(access)(f"CREATE USER u {before}", f"ALTER USER u {change}")
    assert access("SHOW CREATE USER u") == [f"CREATE USER u IDENTIFIED WITH {after}"]


def test_alter_others(access: Access) -> None:
    """Quotas are changed by the interval; policies and profiles keep what is not mentioned."""
    prepared(access)(
        "CREATE QUOTA q FOR INTERVAL 1 day MAX queries = 1, errors = 2, FOR INTERVAL 1 hour MAX queries = 3 TO u9"
    )
    access(
        "ALTER QUOTA q FOR RANDOMIZED INTERVAL 1 day MAX result_rows = 4, FOR INTERVAL 1 minute "
        "TRACKING ONLY, FOR INTERVAL 1 hour NO LIMITS"
    )
    assert access("SHOW CREATE QUOTA q") == [
        "CREATE QUOTA q FOR INTERVAL 1 minute TRACKING ONLY, FOR RANDOMIZED INTERVAL 1 day MAX result_rows = 4 TO u9"
    ]
    access(
        "CREATE ROW POLICY p ON d.t AS RESTRICTIVE USING x = 1 TO ALL",
        "ALTER ROW POLICY p ON d.t USING NONE RENAME TO p2",
    )
    assert access("SHOW CREATE ROW POLICY p2 ON d.t") == ["CREATE ROW POLICY p2 ON d.t AS RESTRICTIVE TO ALL"]
    access(
        "CREATE SETTINGS PROFILE s SETTINGS max_threads = 1 TO u9",
        "ALTER SETTINGS PROFILE s RENAME TO s2",
        "ALTER SETTINGS PROFILE s2 TO ALL EXCEPT u9",
    )
    assert access("SHOW CREATE SETTINGS PROFILE s2") == [
        "CREATE SETTINGS PROFILE `s2` SETTINGS max_threads = 1 TO ALL EXCEPT u9"
    ]
    access("ALTER ROLE r1 RENAME TO r3", "ALTER ROLE r3 SETTINGS max_threads = 3")
    assert access("SHOW CREATE ROLE r3") == ["CREATE ROLE r3 SETTINGS max_threads = 3"]
    access("ALTER USER u9 RENAME TO u10")
    assert access("SHOW CREATE SETTINGS PROFILE s2") == [
        "CREATE SETTINGS PROFILE `s2` SETTINGS max_threads = 1 TO ALL EXCEPT u10"
    ]


def test_roles_granted_by_default_role(access: Access) -> None:
    """CREATE USER … DEFAULT ROLE grants the roles; ALTER does not (512); `ROLE` grants and leaves the defaults
    alone."""
    prepared(access)("CREATE USER a DEFAULT ROLE r1", "CREATE USER b ROLE r1", "CREATE USER c")
    assert access("SHOW GRANTS FOR a") == ["GRANT r1 TO a"]
    assert access("SHOW GRANTS FOR b") == ["GRANT r1 TO b"]
    assert access("SHOW CREATE USER b") == ["CREATE USER b IDENTIFIED WITH no_password"]
    refused(access, 512, "ALTER USER c DEFAULT ROLE r1")
    refused(access, 512, "SET DEFAULT ROLE r1 TO c")
    access("GRANT r1, r2 TO c", "SET DEFAULT ROLE r1 TO c")
    assert access.rows("role_grants", "granted_role_name", "granted_role_is_default", user_name="c") == [
        ("r1", 1),
        ("r2", 0),
    ]
    access("REVOKE r1 FROM c")
    assert access("SHOW CREATE USER c") == ["CREATE USER c IDENTIFIED WITH no_password DEFAULT ROLE NONE"]


def test_roles_and_admin_option(access: Access) -> None:
    """Granting again keeps the admin option; it is taken by REVOKE ADMIN OPTION FOR; ALL EXCEPT takes the rest."""
    prepared(access)("GRANT r1, r2 TO u9 WITH ADMIN OPTION", "GRANT r1 TO u9")
    assert access("SHOW GRANTS FOR u9") == ["GRANT r1, r2 TO u9 WITH ADMIN OPTION"]
    access("REVOKE ADMIN OPTION FOR r1 FROM u9")
    assert access("SHOW GRANTS FOR u9") == ["GRANT r1 TO u9", "GRANT r2 TO u9 WITH ADMIN OPTION"]
    access("REVOKE ALL EXCEPT r1 FROM u9")
    assert access("SHOW GRANTS FOR u9") == ["GRANT r1 TO u9"]
    access("GRANT r2 TO u9 WITH REPLACE OPTION", "GRANT SELECT ON *.* TO u9")
    assert access("SHOW GRANTS FOR u9") == ["GRANT SELECT ON *.* TO u9", "GRANT r2 TO u9"]
    access("GRANT INSERT ON d.* TO u9 WITH REPLACE OPTION")
    assert access("SHOW GRANTS FOR u9") == ["GRANT INSERT ON d.* TO u9", "GRANT r2 TO u9"]
    access("GRANT NONE ON *.* TO u9 WITH REPLACE OPTION", "GRANT NONE TO u9 WITH REPLACE OPTION")
    assert access("SHOW GRANTS FOR u9") == []


def test_grants(access: Access) -> None:
    """Grants on what the statement allows, the current database, the current user, several grantees, only what can
    be granted."""
    prepared(access)("GRANT SELECT ON t TO u9", "GRANT INSERT ON * TO u9, r1")
    assert access("SHOW GRANTS FOR u9, r1") == [
        "GRANT INSERT ON default.* TO u9",
        "GRANT SELECT ON default.t TO u9",
        "GRANT INSERT ON default.* TO r1",
    ]
    access("GRANT ALL ON d.t TO r2")
    assert all("READ" not in line and "CREATE USER" not in line for line in access("SHOW GRANTS FOR r2"))
    access("REVOKE ALL ON *.* FROM u9", "GRANT SELECT ON *.* TO u9", "REVOKE SELECT ON system.* FROM u9")
    assert access.rows("grants", "access_type", "database", "is_partial_revoke", user_name="u9") == [
        ("SELECT", None, 0),
        ("SELECT", "system", 1),
    ]
    access("GRANT FILE ON *.* TO r2 WITH REPLACE OPTION")
    assert access.rows("grants", "access_type", "access_object", role_name="r2") == [
        ("READ", "FILE"),
        ("WRITE", "FILE"),
    ]
    access("GRANT SELECT(b, a) ON d.t TO r2 WITH GRANT OPTION", "REVOKE GRANT OPTION FOR SELECT(a) ON d.t FROM r2")
    assert access("SHOW GRANTS FOR r2") == [
        "GRANT FILE ON *.* TO r2",
        "GRANT SELECT(a) ON d.t TO r2",
        "GRANT SELECT(b) ON d.t TO r2 WITH GRANT OPTION",
    ]


def test_sources(access: Access) -> None:
    """READ and WRITE of a source are two privileges, although SHOW GRANTS prints the one that they once were."""
    prepared(access)(
        "GRANT READ ON S3, WRITE ON FILE TO u9",
        "GRANT READ, WRITE ON AzureBlobStorage, READ ON * TO u9 WITH GRANT OPTION",
    )

    def rows() -> list[object]:
        return access.rows("grants", "access_type", "access_object", "grant_option", user_name="u9")

    assert rows() == [("READ", "", 1), ("WRITE", "AZURE", 1), ("WRITE", "FILE", 0)]
    access(
        "REVOKE READ ON * FROM u9",
        "GRANT READ ON S3('https://x/.*'), READ ON `FILE` TO u9",
        "REVOKE WRITE ON AZURE FROM u9",
    )
    assert rows() == [("READ", "FILE", 0), ("WRITE", "FILE", 0), ("READ", "S3", 0)]
    assert access("SHOW GRANTS FOR u9") == ["GRANT FILE ON *.* TO u9", "GRANT S3 ON *.* TO u9"]


def refused(access: Access, code: int, statement: str) -> str:
    """Run a statement that must fail with this code and change nothing; its message."""
    before = access("SHOW ACCESS")
    with pytest.raises(ServerError) as error:
        access(statement)
    assert error.value.code == code, error.value
    assert access("SHOW ACCESS") == before
    return error.value.message


ERRORS = [
    (493, "CREATE USER u9"),
    (493, "CREATE ROLE r1, r3"),
    (493, "ALTER ROLE r1 RENAME TO r2"),
    (495, "CREATE USER default"),
    (495, "CREATE USER IF NOT EXISTS default"),
    (495, "CREATE USER OR REPLACE default"),
    (495, "ALTER USER default HOST LOCAL"),
    (495, "DROP USER default"),
    (495, "GRANT SELECT ON *.* TO default"),
    (495, "MOVE USER u9 TO users_xml"),
    (492, "CREATE USER x IN nowhere"),
    (492, "DROP USER u9 FROM nowhere"),
    (493, "CREATE USER default IN local_directory"),
    (192, "ALTER USER x HOST LOCAL"),
    (192, "DROP USER u9, x"),
    (192, "DROP USER default FROM local_directory"),
    (192, "SHOW CREATE USER x"),
    (511, "DROP ROLE x"),
    (511, "GRANT x TO u9"),
    (511, "GRANT SELECT ON *.* TO x"),
    (511, "CREATE USER x DEFAULT ROLE y"),
    (511, "CREATE QUOTA q TO x"),
    (511, "SHOW GRANTS FOR x"),
    (180, "CREATE USER x SETTINGS PROFILE y"),
    (180, "DROP SETTINGS PROFILE y"),
    (199, "DROP QUOTA y"),
    (523, "DROP ROW POLICY y ON d.t"),
    (115, "CREATE USER x SETTINGS no_such = 1"),
    (115, "ALTER ROLE r1 SETTINGS no_such MIN 1"),
    (36, "ALTER USER u9 ADD IDENTIFIED BY 'x'"),
    (36, "CREATE USER x IDENTIFIED WITH sha256_hash BY 'short'"),
]


@pytest.mark.parametrize(("code", "statement"), ERRORS)
def test_errors(access: Access, code: int, statement: str) -> None:
    """What is refused is refused with ClickHouse's code, and nothing has changed."""
    refused(prepared(access), code, statement)


def test_messages(access: Access) -> None:
    """The messages of unknown names and read-only entities."""
    assert refused(access, 192, "DROP USER x") == "There is no user `x` in `user directories`."
    assert (
        refused(access, 495, "DROP USER default")
        == "Cannot remove user `default` from users_xml because this storage is readonly."
    )


def test_if_exists(access: Access) -> None:
    """IF NOT EXISTS leaves what is there; OR REPLACE makes a fresh entity without grants; IF EXISTS overlooks what
    is not."""
    prepared(access)("GRANT r1 TO u9", "GRANT SELECT ON *.* TO u9", "CREATE USER IF NOT EXISTS u9, x HOST LOCAL")
    assert access("SHOW CREATE USERS u9, x")[0] == "CREATE USER u9 IDENTIFIED WITH no_password"
    access("CREATE USER OR REPLACE u9 HOST LOCAL")
    assert access("SHOW GRANTS FOR u9") == []
    access("DROP USER IF EXISTS u9, y", "ALTER USER IF EXISTS y, x HOST NONE", "MOVE USER x TO local_directory")
    assert access("SHOW USERS") == ["default", "x"]
    assert access("SHOW CREATE USER x") == ["CREATE USER x IDENTIFIED WITH no_password HOST NONE"]


def test_dropped_names_vanish_from_lists(access: Access) -> None:
    """What referred to a dropped role or profile no longer shows it."""
    prepared(access)(
        "CREATE USER u DEFAULT ROLE r1, r2 SETTINGS PROFILE p",
        "GRANT r1 TO r2",
        "DROP ROLE r1",
        "DROP SETTINGS PROFILE p",
    )
    assert access("SHOW CREATE USER u") == ["CREATE USER u IDENTIFIED WITH no_password DEFAULT ROLE r2"]
    assert access("SHOW GRANTS FOR u, r2") == ["GRANT r2 TO u", "GRANT NONE TO r2"]  # as a server says it


def test_limits_of_the_server(tmp_path: Path, engine: Engine) -> None:
    """Server settings that forbid kinds of passwords, and rules for passwords."""
    options = Options(
        allow_no_password=False,
        allow_plaintext_password=False,
        max_authentication_methods_per_user=2,
        default_password_type="double_sha1_password",
        password_complexity=[(".{4}", "be at least 4 characters long")],
    )
    access = Access(tmp_path, engine, options)
    refused(access, 36, "CREATE USER u")
    refused(access, 36, "CREATE USER u IDENTIFIED WITH plaintext_password BY 'long enough'")
    refused(access, 36, "CREATE USER u IDENTIFIED BY 'aaaa', BY 'bbbb', BY 'cccc'")
    assert (
        refused(access, 36, "CREATE USER u IDENTIFIED BY 'abc'")
        == "Invalid password. The password should: be at least 4 characters long."
    )
    access("CREATE USER u IDENTIFIED BY 'abcd'")
    assert access("SHOW CREATE USER u") == ["CREATE USER u IDENTIFIED WITH double_sha1_password"]


def test_secrets_are_shown_only_when_asked(tmp_path: Path, engine: Engine) -> None:
    """SHOW CREATE shows hashes where both the server and the session ask for it; they create the same user."""
    access = Access(tmp_path, engine, Options(display_secrets=True))
    access(f"CREATE USER u IDENTIFIED WITH sha256_hash BY '{HASH.lower()}' SALT 'AB', plaintext_password BY 'pw'")
    assert access("SHOW CREATE USER u") == ["CREATE USER u IDENTIFIED WITH sha256_password, plaintext_password"]
    access.session.settings["format_display_secrets_in_show_and_select"] = "1"
    form = access("SHOW CREATE USER u")
    assert form == [f"CREATE USER u IDENTIFIED WITH sha256_hash BY '{HASH}' SALT 'AB', plaintext_password BY 'pw'"]
    access("DROP USER u", form[0])
    assert access("SHOW CREATE USER u") == form


def test_lists(access: Access) -> None:
    """SHOW USERS and its like."""
    prepared(access)("CREATE QUOTA q", "CREATE ROW POLICY a, b ON d.t", "CREATE ROW POLICY a ON d.t2")
    assert access("SHOW USERS") == ["default", "u9"]
    assert access("SHOW ROLES") == ["r1", "r2"]
    assert access("SHOW PROFILES") == ["default", "p"]
    assert access("SHOW QUOTAS") == ["default", "q"]
    assert access("SHOW POLICIES") == ["a ON d.t", "a ON d.t2", "b ON d.t"]
    assert access("SHOW POLICIES ON d.t") == ["a", "b"]
    assert access("SHOW POLICIES a") == ["a ON d.t", "a ON d.t2"]
    assert access("SHOW CREATE ROW POLICIES ON d.t") == ["CREATE ROW POLICY a ON d.t", "CREATE ROW POLICY b ON d.t"]
    access("CREATE USER admin", "GRANT r1 TO r2", "GRANT r2 TO admin WITH ADMIN OPTION")
    access.session.user = "admin"
    assert access("SHOW CURRENT ROLES") == [("r2", 1, 1)]
    assert access("SHOW ENABLED ROLES") == [("r1", 0, 0, 1), ("r2", 1, 1, 1)]


def test_what_users_without_rights_may_not_do(access: Access) -> None:
    """Granting needs the grant option, roles the admin option, GRANTEES limit to whom; SHOW needs its privilege."""
    prepared(access)(
        "CREATE USER low GRANTEES u9",
        "GRANT SELECT ON d.* TO low WITH GRANT OPTION",
        "GRANT r1 TO low WITH ADMIN OPTION",
        "GRANT SELECT ON d.* TO r2",
        "GRANT INSERT ON x.* TO u9",
    )
    access.session.user = "low"

    def denied(statement: str) -> None:
        with pytest.raises(ServerError) as error:
            access(statement)
        assert error.value.code == 497

    access("GRANT SELECT ON d.t TO u9", "GRANT r1 TO u9", "REVOKE r1 FROM u9", "REVOKE SELECT ON d.t FROM u9")
    for statement in (
        "GRANT SELECT ON *.* TO u9",
        "GRANT INSERT ON d.t TO u9",
        "GRANT r2 TO u9",
        "GRANT SELECT ON d.t TO r2",
        "SHOW USERS",
        "SHOW CREATE USER u9",
        "SHOW GRANTS FOR u9",
        "REVOKE INSERT ON x.* FROM u9",
        "REVOKE SELECT ON d.* FROM r2",
    ):
        denied(statement)
    access("REVOKE ALL ON y.* FROM u9")  # u9 has nothing there: nothing to refuse
    assert access("SHOW GRANTS") == [
        "GRANT SELECT ON d.* TO low WITH GRANT OPTION",
        "GRANT r1 TO low WITH ADMIN OPTION",
    ]
    access("GRANT CURRENT GRANTS ON d.t TO u9")
    access.session.user = "default"
    assert access("SHOW GRANTS FOR u9") == ["GRANT SELECT ON d.t TO u9", "GRANT INSERT ON x.* TO u9"]


def test_session_rights(access: Access) -> None:
    """What an engine is to enforce for a user: grants of its own and of roles, settings in order, row conditions."""
    prepared(access)(
        "CREATE SETTINGS PROFILE base SETTINGS max_threads = 1",
        "CREATE ROLE inner",
        "CREATE ROLE outer SETTINGS max_threads = 3",
        "GRANT inner TO outer",
        "CREATE USER u DEFAULT ROLE outer DEFAULT DATABASE d SETTINGS PROFILE base, readonly = 2",
        "CREATE SETTINGS PROFILE to_user SETTINGS max_threads = 2, max_block_size = 5 TO u",
        "GRANT SELECT ON d.* TO inner",
        "GRANT READ ON S3 TO u",
        "CREATE ROW POLICY a ON d.t USING x = 1 TO u",
        "CREATE ROW POLICY b ON d.t USING x = 2 TO inner",
        "CREATE ROW POLICY c ON d.* AS RESTRICTIVE USING y TO ALL",
        "CREATE ROW POLICY other ON e.t USING z TO u9",
        "CREATE QUOTA q FOR INTERVAL 1 day MAX queries = 1 TO outer",
    )
    rights = access.control.rights_of("u")
    assert sorted(rights.grants) == ["GRANT READ ON S3 TO default", "GRANT SELECT ON d.* TO default"]
    assert [(setting.name, setting.value) for setting in rights.settings] == [
        ("max_threads", "2"),
        ("max_block_size", "5"),
        ("max_threads", "3"),
        ("max_threads", "1"),
        ("readonly", "2"),
    ]
    assert rights.row_filters == {("d", "t"): "((x = 1) OR (x = 2)) AND (y)", ("d", ""): "(y)"}
    assert rights.quota is not None and rights.quota.name == "q" and rights.default_database == "d"
    alone = access.control.rights_of("u", [])
    assert alone.grants == ["GRANT READ ON S3 TO default"] and alone.quota is None
    assert alone.row_filters["d", "t"] == "((x = 1)) AND (y)"


def test_check_statement(access: Access) -> None:
    """The statement for the real engine to judge: references replaced by stubs, cluster and storage left out."""

    def probe(statement: str) -> str | None:
        return access.control.check_statement(access.engine.parse(statement))

    assert probe(
        "CREATE USER u IN s ON CLUSTER c DEFAULT ROLE r1, r2 SETTINGS PROFILE 'p', max_threads = 1 GRANTEES a EXCEPT b"
    ) == (
        "CREATE USER u DEFAULT ROLE probe_role, probe_role SETTINGS PROFILE probe_profile, max_threads "
        "= 1 GRANTEES probe EXCEPT probe"
    )
    assert (
        probe("GRANT ON CLUSTER c SELECT ON d.* TO u, r WITH GRANT OPTION")
        == "GRANT SELECT ON d.* TO probe, probe WITH GRANT OPTION"
    )
    assert probe("DROP ROW POLICY IF EXISTS p ON d.t FROM s") == "DROP ROW POLICY IF EXISTS p ON d.t"
    assert (
        probe("CREATE ROW POLICY p ON d.t USING a = 1 TO r")
        == "CREATE ROW POLICY p ON d.t FOR SELECT USING a = 1 TO probe"
    )
    assert probe("SET DEFAULT ROLE r TO u") == "SET DEFAULT ROLE probe_role TO probe"
    assert probe("SELECT 1") is None and probe("GRANT r TO u") is None
    assert not access.control.is_access_statement("SHOW TABLES") and not access.control.is_access_statement(
        "CREATE TABLE t (a Int8)"
    )
