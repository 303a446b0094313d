"""The writable storage: what was answered is there after a restart and after a kill at any moment; many users stay
cheap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sandbox.access.model import Role, User, dump, load
from tests.sandbox.access.privileges import Privileges
from tests.sandbox.access.rights import Element, Rights
from tests.sandbox.access.storage import Journal
from tests.sandbox.engine import Engine
from tests.sandbox_tests.access.support import Access

PRIVILEGES = Privileges(
    [
        ("SELECT", [], "COLUMN", "ALL"),
        ("CREATE DATABASE", [], "DATABASE", "ALL"),
        ("CREATE USER", [], "USER_NAME", "ALL"),
        ("ALL", [], None, None),
    ]
)
SCRIPT = [
    "CREATE ROLE r1, r2 SETTINGS max_threads = 3",
    "CREATE SETTINGS PROFILE p SETTINGS max_memory_usage = 1 MIN 0 MAX 5 CONST TO r1",
    "CREATE USER u IDENTIFIED BY 'x', ldap SERVER 'l' VALID UNTIL '2040-01-01' HOST LOCAL, IP "
    "'1.1.1.1', '10.0.0.0/8', NAME 'n', LIKE '%.x', "
    "REGEXP 'y' DEFAULT DATABASE d DEFAULT ROLE r1 SETTINGS PROFILE p, max_threads = 1 GRANTEES ANY EXCEPT u",
    "GRANT SELECT ON *.* TO u WITH GRANT OPTION",
    "REVOKE GRANT OPTION FOR SELECT ON d.* FROM u",
    "GRANT SELECT(a, b) ON e.t TO r1",
    "GRANT CREATE USER ON x*, FILE ON *.* TO r1",
    "GRANT r2 TO u WITH ADMIN OPTION",
    "GRANT r2 TO r1",
    "CREATE QUOTA q KEYED BY ip_address IPV4_PREFIX_BITS 24 FOR RANDOMIZED INTERVAL 1 day MAX "
    "queries = 1, execution_time = 1.5 TO ALL EXCEPT u",
    "CREATE ROW POLICY w ON d.* AS RESTRICTIVE USING x = 'a\\'b' TO u",
    "CREATE USER nothing HOST NONE DEFAULT ROLE NONE GRANTEES NONE",
    "CREATE QUOTA none TO NONE",
    "CREATE USER gone",
    "DROP USER gone",
    "ALTER USER u RENAME TO `ü 'n`",
]
TABLES = (
    "users",
    "roles",
    "role_grants",
    "grants",
    "settings_profiles",
    "settings_profile_elements",
    "quotas",
    "quota_limits",
    "row_policies",
)


def test_restart(tmp_path: Path, engine: Engine) -> None:
    """Everything, ids included, is the same after a restart, and after one more (which reads the folded journal)."""
    access = Access(tmp_path, engine)
    access(*SCRIPT)
    before = [access("SHOW ACCESS"), *(access.control.table(name, access.session).rows for name in TABLES)]
    for _other in range(2):
        access.control.close()
        access = Access(tmp_path, engine)
        assert [access("SHOW ACCESS"), *(access.control.table(name, access.session).rows for name in TABLES)] == before
    access.control.close()


WRITER = """
import sys
from pathlib import Path
from tests.sandbox.access.model import User
from tests.sandbox.access.storage import Journal
from tests.sandbox_tests.access.test_storage import PRIVILEGES
journal = Journal(Path(sys.argv[1]), PRIVILEGES)
n = len(journal.entities.by_id)
while True:
    journal.commit([User(name=f"{name}{n}", id=f"{name}{n}") for name in "ab"])
    n += 2
    print(n, flush=True)
"""


def test_kill(tmp_path: Path) -> None:
    """After SIGKILL while writing: every answered statement is there, and the one under way is there wholly or not
    at all."""
    path = tmp_path / "access.jsonl"
    for delay in (0.0, 0.05, 0.1):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert writer.stdout
        answered = int(writer.stdout.readline())
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        answered = int(rest[-1]) if rest else answered
        journal = Journal(path, PRIVILEGES)
        assert len(journal.entities.by_id) in (answered, answered + 2)
        journal.close()


@pytest.mark.parametrize("cut", [2, 20, 60])
def test_torn_line(tmp_path: Path, cut: int) -> None:
    """A last line that was written in part is as if it had never been."""
    path = tmp_path / "access.jsonl"
    journal = Journal(path, PRIVILEGES)
    journal.commit([User(name="a", id="1"), Role(name="b", id="2")])
    journal.commit([User(name="c", id="3")], ["1"])
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path, PRIVILEGES)
    assert set(again.entities.by_id) == {"1", "2"}
    again.close()


def test_json_keeps_rights() -> None:
    """Rights survive the way to JSON and back: wildcards, columns, partial revokes, grant options."""
    rights = Rights(PRIVILEGES)
    select, create = PRIVILEGES.mask("SELECT"), PRIVILEGES.mask("CREATE USER")
    rights.apply(
        [
            Element(PRIVILEGES.all, grant_option=True),
            Element(select, ("d",), wildcard=True, revoke=True),
            Element(select, ("d", "t"), ("a", "b"), grant_option=True),
            Element(create, ("x",), revoke=True),
            Element(select, ("e",), grant_option=True, revoke=True),
        ]
    )
    again = load(dump(User(name="u", id="1", rights=rights)), PRIVILEGES)
    assert isinstance(again, User) and again.rights == rights


def test_ten_thousand_users(tmp_path: Path, engine: Engine) -> None:
    """With 10,000 users with two grants each, one more statement takes as long as with none, and a restart takes
    seconds."""
    access = Access(tmp_path, engine)
    canonical = ", ".join(f"u{n}" for n in range(10_000))
    started = time.process_time()
    for statement in (
        f"CREATE USER {canonical}",
        f"GRANT SELECT ON d.* TO {canonical}",
        f"GRANT INSERT ON d.t TO {canonical}",
    ):
        access.control.execute(statement, access.session)
    access.control.close()
    access = Access(tmp_path, engine)
    assert time.process_time() - started < 20
    started = time.process_time()
    for n in range(20):
        access.control.execute(f"GRANT SELECT ON e.t{n} TO u{n}", access.session)
        access.control.execute(f"SHOW GRANTS FOR u{n}", access.session)
    assert time.process_time() - started < 2
    assert len(access.control.table("grants", access.session).rows) == 20_021
    access.control.close()
