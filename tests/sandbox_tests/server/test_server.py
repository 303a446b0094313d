"""The sandbox as a server: state over restarts, sessions, clusters, users.xml beside the storage, other versions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sandbox import Sandbox, ServerSaid, start
from tests.sandbox.launch import ROOT


@pytest.mark.parametrize("version", ["26.9", "25.8", "24.8"])
def test_state_outlives_the_server(version: str, tmp_path: Path) -> None:
    with start(version, tmp_path / "data") as server:
        admin = server.session()
        for statement in (
            "CREATE DATABASE d",
            "CREATE TABLE d.t (a UInt8, b String) ENGINE = MergeTree ORDER BY a",
            "INSERT INTO d.t VALUES (1, 'kept')",
            "CREATE ROLE r",
            "CREATE USER u IDENTIFIED WITH sha256_password BY 'x' HOST LOCAL DEFAULT ROLE r SETTINGS max_threads = 2",
            "GRANT SELECT ON d.t TO r",
            "CREATE SETTINGS PROFILE p SETTINGS max_block_size = 9 TO u",
            "CREATE QUOTA q FOR INTERVAL 1 hour MAX queries = 1000 TO r",
            "CREATE ROW POLICY w ON d.t USING a < 5 TO u",
        ):
            admin.query(statement)
        asked = (
            "SHOW CREATE USER u", "SHOW CREATE ROLE r", "SHOW CREATE QUOTA q", "SHOW CREATE SETTINGS PROFILE p",
            "SHOW CREATE ROW POLICY w ON d.t", "SHOW GRANTS FOR u", "SHOW GRANTS FOR r",
            "SELECT id, name FROM system.users ORDER BY name",
        )  # fmt: skip
        before = [admin.query(question) for question in asked]
        server.kill()
        server.restart()
        assert [admin.query(question) for question in asked] == before
        user = server.session("u", "x")
        assert user.query("SELECT b FROM d.t") == "kept\n"
        assert user.query("SELECT getSetting('max_block_size')") == "9\n"
        assert admin.query("SELECT version()").startswith(version)


def test_set_role_lasts_with_its_session(server: Sandbox) -> None:
    admin = server.session()
    for statement in (
        "CREATE DATABASE IF NOT EXISTS roled", "CREATE TABLE roled.t (a Int8) ENGINE = MergeTree ORDER BY a",
        "CREATE ROLE role_a, role_b", "GRANT SELECT ON roled.t TO role_b", "CREATE USER roled DEFAULT ROLE NONE",
        "GRANT role_a, role_b TO roled", "ALTER USER roled DEFAULT ROLE role_a",
    ):  # fmt: skip
        admin.query(statement)
    user = server.session("roled")
    assert user.query("SELECT currentRoles()") == "['role_a']\n"
    with pytest.raises(ServerSaid, match="497"):
        user.query("SELECT * FROM roled.t")
    user.query("SET ROLE role_b", session_id="s")
    assert user.query("SELECT currentRoles()", session_id="s") == "['role_b']\n"
    assert user.query("SELECT * FROM roled.t", session_id="s") == ""
    assert user.query("SELECT role_name FROM system.current_roles", session_id="s") == "role_b\n"
    assert user.query("SELECT currentRoles()") == "['role_a']\n"
    assert user.query("SELECT * FROM roled.t", role="role_b") == ""
    user.query("SET ROLE ALL EXCEPT role_b", session_id="s")
    assert user.query("SELECT currentRoles()", session_id="s") == "['role_a']\n"
    admin.query("DROP USER roled")
    admin.query("DROP ROLE role_a, role_b")


def test_on_cluster(server: Sandbox) -> None:
    admin = server.session()
    columns = ["host", "port", "status", "error", "num_hosts_remaining", "num_hosts_active"]
    answer = json.loads(admin.query("CREATE USER clustered ON CLUSTER default", default_format="JSON"))
    assert [column["name"] for column in answer["meta"]] == columns
    assert [row["status"] for row in answer["data"]] == [0]
    admin.query("CREATE DATABASE clustered ON CLUSTER default")
    assert admin.lines("SELECT cluster FROM system.clusters") == ["default"]
    with pytest.raises(ServerSaid) as caught:
        admin.query("DROP USER clustered ON CLUSTER nosuch")
    assert (caught.value.code, caught.value.name) == (701, "CLUSTER_DOESNT_EXIST")
    admin.query("GRANT CREATE USER ON *.* TO clustered")
    with pytest.raises(ServerSaid, match="CLUSTER ON"):
        server.session("clustered").query("CREATE USER x ON CLUSTER default")
    admin.query("DROP USER clustered ON CLUSTER 'default'")
    assert "clustered" not in admin.lines("SHOW USERS")
    admin.query("DROP DATABASE clustered")


def test_named_collections(server: Sandbox) -> None:
    admin = server.session()
    admin.query("CREATE NAMED COLLECTION coll AS url = 'http://x', secret = 's' NOT OVERRIDABLE")
    assert admin.lines("SELECT name FROM system.named_collections WHERE name = 'coll'") == ["coll"]
    admin.query("ALTER NAMED COLLECTION coll SET url = 'http://y'")
    admin.query("CREATE USER coll_user")
    with pytest.raises(ServerSaid, match="DROP NAMED COLLECTION ON coll"):
        server.session("coll_user").query("DROP NAMED COLLECTION coll")
    admin.query("DROP NAMED COLLECTION coll")
    admin.query("DROP USER coll_user")


def test_secrets_are_shown_where_the_server_says_so() -> None:
    with start("26.9", display_secrets=True) as server:
        admin = server.session()
        admin.query("CREATE USER s IDENTIFIED WITH plaintext_password BY 'shown'")
        assert (
            admin.query("SELECT value FROM system.server_settings WHERE name = 'display_secrets_in_show_and_select'")
            == "1\n"
        )
        assert "shown" not in admin.query("SHOW CREATE USER s")
        shown = admin.query("SHOW CREATE USER s", format_display_secrets_in_show_and_select="1")
        assert "BY \\'shown\\'" in shown


def test_users_xml_of_ones_own(tmp_path: Path) -> None:
    users = tmp_path / "users.xml"
    users.write_text(
        """<clickhouse>
        <profiles><default/><few><max_threads>2</max_threads><readonly>2</readonly></few></profiles>
        <users>
            <root><password>r</password><networks><ip>::/0</ip></networks><access_management>1</access_management></root>
            <reader><password_sha256_hex>2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881</password_sha256_hex>
                <networks><ip>10.0.0.0/8</ip></networks><profile>few</profile>
                <grants><query>GRANT SELECT ON system.*</query></grants></reader>
        </users></clickhouse>"""
    )
    with start("26.9", users_xml=users, trust_peer_header=True) as server:
        root = server.session("root", "r")
        assert sorted(root.lines("SHOW USERS")) == ["reader", "root"]
        with pytest.raises(ServerSaid, match="ACCESS_STORAGE_READONLY"):
            root.query("ALTER USER reader IDENTIFIED BY 'y'")
        reader = server.session("reader", "x", headers={"X-Sandbox-Peer": "10.0.0.1"})
        assert reader.query("SELECT getSetting('max_threads'), user()") == "2\treader\n"
        with pytest.raises(ServerSaid, match="164"):
            reader.query("SET readonly = 0")
        with pytest.raises(ServerSaid, match="516"):
            server.session().query("SELECT 1")


def test_changes_to_others_do_not_restart_the_engine(server: Sandbox) -> None:
    """Who creates many users keeps one engine process; statements and reads take milliseconds."""
    admin = server.session()
    admin.query("SELECT 1")

    def engines() -> set[str]:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(server.ready["pid"])], capture_output=True, text=True, check=True
        )
        return set(listed.stdout.split())

    admin.query("CREATE USER many_first")
    before = engines()
    began = time.monotonic()
    for number in range(100):
        admin.query(f"CREATE USER many_{number} IDENTIFIED WITH sha256_hash BY '{number:064X}'")
    assert time.monotonic() - began < 10
    assert engines() == before
    assert admin.query("SELECT count() FROM system.users WHERE name LIKE 'many_%'") == "101\n"
    admin.query("DROP USER many_first, " + ", ".join(f"many_{number}" for number in range(100)))


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    """Killed without a chance to clean up, the server leaves no engine; told to end, it ends cleanly."""
    for version, end in (("26.9", signal.SIGKILL), ("26.9", signal.SIGTERM), ("25.8", signal.SIGKILL)):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.sandbox", "--version", version, "--data", str(tmp_path / version),
             "--ready-file", str(tmp_path / "r")],
            stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert json.loads((tmp_path / "r").read_text()) == ready
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(ready["pid"])], capture_output=True, text=True, check=True
        )
        children = [int(pid) for pid in listed.stdout.split()]
        assert children
        process.send_signal(end)
        assert process.wait(20) == (0 if end == signal.SIGTERM else -end)
        process.stdout.close()
        deadline = time.monotonic() + 10
        while alive := [pid for pid in children if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() < deadline, alive
            time.sleep(0.05)


def test_two_users_at_once(server: Sandbox) -> None:
    """Requests of several users, interleaved from several threads, each get their own rights."""
    from concurrent.futures import ThreadPoolExecutor

    admin = server.session()
    admin.query("CREATE USER at_once_a SETTINGS max_threads = 2")
    admin.query("CREATE USER at_once_b SETTINGS max_threads = 3")

    def ask(name: str) -> str:
        return server.session(name).query("SELECT user(), getSetting('max_threads')")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, ["at_once_a", "at_once_b"] * 4))
    assert answers == ["at_once_a\t2\n", "at_once_b\t3\n"] * 4
    admin.query("DROP USER at_once_a, at_once_b")


def test_engines_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.sandbox.engine import Engine, python_of

    link = tmp_path / "engines"
    os.symlink(python_of("26.9").parents[2], link)
    monkeypatch.setenv("SANDBOX_ENGINES", str(link))
    with Engine("26.9") as engine:
        assert engine.rows("SELECT 1 AS a") == [{"a": 1}]
