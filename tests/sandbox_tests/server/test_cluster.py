"""A cluster of two replicas: ON CLUSTER, clusterAllReplicas, drift between them, and a replicated access storage.

What both versions can be asked is held against ClickHouse's own server of 25.8, a cluster of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox import Client, Sandbox, ServerSaid, start

PLACE = "concat(hostName(), ':', toString(tcpPort()))"
ONE, TWO = "replica-1:9000", "replica-2:9001"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    """Two replicas with access storages of their own."""
    with start("26.9", replicas=2, cluster="pair", tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def replicated() -> Iterator[Sandbox]:
    """Two replicas that share their access storage."""
    with start("26.9", replicas=2, replicated_access=True) as running:
        yield running


def sessions(server: Sandbox) -> tuple[Client, Client]:
    one, two = (replica.session() for replica in server.replicas)
    return one, two


def users(client: Client) -> set[str]:
    return set(client.lines("SHOW USERS")) - {"default"}


def everywhere(client: Client, sql: str) -> set[tuple[str, ...]]:
    return {tuple(line.split("\t")) for line in client.lines(sql)}


def refused(client: Client, sql: str, **options: Any) -> ServerSaid:
    with pytest.raises(ServerSaid) as caught:
        client.query(sql, **options)
    return caught.value


def test_replicas(cluster: Sandbox) -> None:
    """Two servers that say so, each of itself; the first is the sandbox."""
    assert cluster.replicas[0] is cluster and len({replica.port for replica in cluster.replicas}) == 2
    shown = "SELECT host_name, port, is_local, shard_num, replica_num FROM system.clusters WHERE cluster = 'pair'"
    for number, replica in enumerate(cluster.replicas, 1):
        answers = replica.secure_session().lines(shown)
        assert answers == [f"replica-{n}\t{8999 + n}\t{int(n == number)}\t1\t{n}" for n in (1, 2)]
        assert replica.session().lines(f"SELECT {PLACE}") == [(ONE, TWO)[number - 1]]


def test_needs_the_sandbox() -> None:
    for version in ("25.8", "24.8"):
        with pytest.raises(ValueError, match=r"needs 26\.9"), start(version, replicas=2):
            pass


def test_access_entities_drift(cluster: Sandbox) -> None:
    """A statement without ON CLUSTER changes one replica, one with it all of them; a restart keeps both states."""
    one, two = sessions(cluster)
    one.query("CREATE USER here")
    two.query("CREATE USER there")
    answer = json.loads(two.query("CREATE USER both ON CLUSTER pair", default_format="JSON"))
    assert answer["data"] == [
        {"host": f"replica-{n}", "port": 8999 + n, "status": 0, "error": "", "num_hosts_remaining": 2 - n}
        | {"num_hosts_active": 0}
        for n in (1, 2)
    ]
    assert (users(one), users(two)) == ({"here", "both"}, {"there", "both"})
    names = f"SELECT {PLACE}, name FROM clusterAllReplicas('pair', system.users) WHERE name != 'default'"
    wanted = {(ONE, "here"), (ONE, "both"), (TWO, "there"), (TWO, "both")}
    assert everywhere(one, names) == everywhere(two, names) == wanted
    cluster.restart()
    assert everywhere(two, names) == wanted
    one.query("DROP USER IF EXISTS here, there, both ON CLUSTER pair")
    assert users(one) == users(two) == set()


def test_an_error_on_one_replica(cluster: Sandbox) -> None:
    """The statement fails with the error of the replica; the other has carried it out."""
    one, two = sessions(cluster)
    two.query("CREATE ROLE lonely")
    error = refused(one, "CREATE ROLE lonely ON CLUSTER pair")
    assert (error.code, error.name) == (493, "ACCESS_ENTITY_ALREADY_EXISTS")
    assert "There was an error on [replica-2:9001]: Code: 493. DB::Exception: role `lonely`" in error.text
    assert one.lines("SHOW ROLES") == ["lonely"]
    kept = one.query("CREATE ROLE lonely ON CLUSTER pair", distributed_ddl_output_mode="never_throw")
    assert [row.split("\t")[2] for row in kept.splitlines()] == ["493", "493"]
    assert one.query("DROP ROLE lonely ON CLUSTER pair", distributed_ddl_output_mode="none") == ""
    assert one.lines("SHOW ROLES") == two.lines("SHOW ROLES") == []


def test_what_is_not_sent(cluster: Sandbox) -> None:
    """Rights are judged, and grantees and settings looked up, by the replica asked, before any other hears of it."""
    one, two = sessions(cluster)
    two.query("CREATE USER only_there")
    assert refused(one, "GRANT ON CLUSTER pair SELECT ON *.* TO only_there").code == 511
    assert refused(one, "CREATE USER x ON CLUSTER pair SETTINGS PROFILE 'missing'").code == 180
    assert refused(one, "CREATE USER x ON CLUSTER other").code == 701
    one.query("CREATE USER weak")
    weak = cluster.session("weak")
    assert "CLUSTER ON *.*" in refused(weak, "CREATE USER x ON CLUSTER pair").message
    one.query("GRANT CLUSTER ON *.* TO weak")
    assert "CREATE USER ON" in refused(weak, "CREATE USER x ON CLUSTER pair").message
    assert "INSERT ON" in refused(weak, "GRANT ON CLUSTER pair INSERT ON *.* TO weak").message
    assert "CREATE DATABASE ON" in refused(weak, "CREATE DATABASE x ON CLUSTER pair").message
    one.query("GRANT CREATE USER, ALTER USER ON *.* TO weak")
    assert (users(one), users(two)) == ({"weak"}, {"only_there"})
    assert two.lines("SHOW DATABASES") == one.lines("SHOW DATABASES")
    weak.query("CREATE USER made ON CLUSTER pair")
    one.query("GRANT SELECT ON d.* TO weak WITH GRANT OPTION")  # on one, which is where it counts
    weak.query("GRANT ON CLUSTER pair SELECT ON d.* TO made")
    assert two.lines("SHOW GRANTS FOR made") == ["GRANT SELECT ON d.* TO made"]
    error = refused(weak, "ALTER USER made ON CLUSTER pair GRANTEES CURRENT_USER")  # who is unknown there
    assert error.code == 511 and "[replica-2:9001]" in error.text
    assert "GRANTEES weak" in one.query("SHOW CREATE USER made") and "GRANTEES" not in two.query(
        "SHOW CREATE USER made"
    )
    one.query("DROP USER IF EXISTS weak, made, only_there ON CLUSTER pair")


def test_tables_are_separate(cluster: Sandbox) -> None:
    one, two = sessions(cluster)
    one.query("CREATE TABLE default.apart ON CLUSTER pair (a UInt8) ENGINE = MergeTree ORDER BY a")
    two.query("INSERT INTO default.apart VALUES (7)")
    assert (one.lines("SELECT a FROM default.apart"), two.lines("SELECT a FROM default.apart")) == ([], ["7"])
    rows = f"SELECT {PLACE}, a FROM clusterAllReplicas('pair', default.apart)"
    assert everywhere(one, rows) == {(TWO, "7")}
    assert refused(one, "CREATE TABLE default.apart ON CLUSTER pair (a UInt8) ENGINE = Memory").code == 57
    one.query("DROP TABLE default.apart ON CLUSTER pair")


READ = f"""
SELECT 'users' AS t, {PLACE} AS replica, toJSONString(tuple(COLUMNS('^(name|storage|auth_type|valid_until)$'))) AS r
FROM clusterAllReplicas('pair', system.users)
UNION ALL
SELECT 'roles', {PLACE}, toJSONString(tuple(COLUMNS('^(name|storage)$')))
FROM clusterAllReplicas('pair', system, roles) WHERE name IN ('a', 'b')
UNION ALL
SELECT 'collections', {PLACE}, toJSONString(tuple(COLUMNS('^name$')))
FROM clusterAllReplicas(pair, system.named_collections)
UNION ALL SELECT 'me', '', toJSONString(tuple(currentUser()))
FORMAT TabSeparatedRaw
"""


def test_one_read_of_all_replicas(cluster: Sandbox) -> None:
    """Each branch of a UNION has the rows of each replica, under its name."""
    one, two = sessions(cluster)
    one.query("CREATE ROLE a ON CLUSTER pair")
    two.query("CREATE ROLE b")
    two.query("CREATE ROLE c")
    one.query("CREATE NAMED COLLECTION nc AS x = 1")
    user = '["default","users_xml",["plaintext_password"],["1970-01-01 00:00:00"]]'
    wanted = {("users", place, user) for place in (ONE, TWO)} | {("me", "", '["default"]')}
    wanted |= {("collections", ONE, '["nc"]')}
    wanted |= {
        ("roles", place, f'["{role}","local_directory"]') for place, role in ((ONE, "a"), (TWO, "a"), (TWO, "b"))
    }
    assert everywhere(one, READ) == everywhere(two, READ) == wanted
    two.query("DROP ROLE b")
    assert everywhere(one, READ) == wanted - {("roles", TWO, '["b","local_directory"]')}
    one.query("DROP ROLE IF EXISTS a, b, c ON CLUSTER pair")
    one.query("DROP NAMED COLLECTION nc")


ACCESS = ("users", "roles", "role_grants", "grants", "settings_profiles", "settings_profile_elements", "quotas")
MORE = ("quota_limits", "row_policies", "named_collections", "user_directories", "enabled_roles", "one", "columns")


@pytest.mark.parametrize("table", [*ACCESS, *MORE, "clusters", "databases", "settings", "privileges"])
def test_every_table(cluster: Sandbox, table: str) -> None:
    """The columns of the table but for aliases, and each replica's rows; `cluster` asks one replica a shard."""
    one, _two = sessions(cluster)
    source = f"clusterAllReplicas('pair', system.{table})"
    columns = [row for row in one.lines(f"DESCRIBE system.{table}") if "\tALIAS\t" not in row]
    assert one.lines(f"DESCRIBE {source}") == columns
    local, own = f"SELECT count() FROM system.{table}", f"SELECT count() FROM cluster('pair', system.{table})"
    if table != "columns":  # of which the read from all replicas has its own, hidden from none of the counts
        assert one.lines(own) == one.lines(local)
    counts = dict(line.split("\t") for line in one.lines(f"SELECT {PLACE}, count() FROM {source} GROUP BY 1"))
    expected = {ONE: one.lines(local)[0], TWO: cluster.replicas[1].session().lines(local)[0]}
    assert counts == {place: count for place, count in expected.items() if count != "0"}


def test_forms_of_reading(cluster: Sandbox) -> None:
    """hostName() is the replica's in the SELECT that reads from the cluster, and the asked server's around it."""
    one, _two = sessions(cluster)
    inner = "(SELECT hostName() AS h FROM clusterAllReplicas('pair', system.one))"
    assert everywhere(one, f"SELECT hostName(), h FROM {inner}") == {("replica-1", f"replica-{n}") for n in (1, 2)}
    assert everywhere(one, f"SELECT hostName() WHERE hostName() IN {inner}") == {("replica-1",)}
    both = {("replica-1",), ("replica-2",)}
    assert everywhere(one, "SELECT * EXCEPT (dummy), hostName() FROM clusterAllReplicas('pair', system.one)") == both
    assert everywhere(one, "WITH hostName() AS h SELECT h FROM clusterAllReplicas('pair')") == both
    assert one.lines("SELECT tcpPort() FROM cluster('pair', 'system.one')") == ["9000"]
    assert everywhere(one, "SELECT _shard_num FROM clusterAllReplicas('pair', 'system', 'one')") == {("1",), ("2",)}
    assert refused(one, "SELECT 1 FROM clusterAllReplicas('other', system.one)").code == 701
    assert refused(one, "SELECT 1 FROM clusterAllReplicas('pair', system.missing)").code == 60


@pytest.mark.parametrize("version", ["26.9", "25.8"])
def test_rights_to_read(version: str) -> None:
    """clusterAllReplicas needs READ ON REMOTE and what the table needs; no CREATE TEMPORARY TABLE."""
    with start(version) as server:
        admin, user = server.session(), server.session("u")
        admin.query("CREATE USER u")
        read, one = "SELECT name FROM {}('default', system.users)", "SELECT dummy FROM {}('default', system.one)"
        for function in ("cluster", "clusterAllReplicas"):
            for sql in (read, one):
                error = refused(user, sql.format(function))
                assert (error.code, error.status) == (497, 500)
                assert "the grant READ ON REMOTE" in error.message
        admin.query("GRANT READ ON REMOTE TO u")
        assert user.lines(one.format("cluster")) == ["0"]
        error = refused(user, read.format("clusterAllReplicas"))
        assert error.code == 497 and "system.users" in error.message
        admin.query("GRANT SHOW USERS ON *.* TO u")
        assert sorted(user.lines(read.format("clusterAllReplicas"))) == ["default", "u"]
        admin.query("REVOKE READ ON REMOTE FROM u")
        admin.query("GRANT REMOTE ON *.* TO u")
        assert sorted(user.lines(read.format("cluster"))) == ["default", "u"]
        places = (
            "SELECT hostName() = (SELECT hostName()), tcpPort() = port, host_name = 'localhost' FROM system.clusters"
        )
        assert admin.lines(places) == ["1\t1\t1"]


def test_replicated_access(replicated: Sandbox) -> None:
    """One storage for both: seen at once, second in user_directories, and ON CLUSTER finds what it has just made."""
    one, two = sessions(replicated)
    storages = [["users_xml", "users_xml", "1"], ["replicated", "replicated", "2"]]
    for client in (one, two):
        assert client.rows("SELECT name, type, precedence FROM system.user_directories") == storages
    one.query("CREATE USER shared SETTINGS PROFILE 'default'")
    assert two.lines("SELECT name, storage FROM system.users WHERE name = 'shared'") == ["shared\treplicated"]
    assert "PROFILE `default`" in two.query("SHOW CREATE USER shared")
    assert replicated.replicas[1].session("shared").lines("SELECT currentUser()") == ["shared"]
    two.query("ALTER USER shared HOST LOCAL")
    assert "HOST LOCAL" in one.query("SHOW CREATE USER shared")
    error = refused(two, "CREATE USER again ON CLUSTER default")
    assert error.code == 493 and "[replica-2:9001]" in error.text and "already exists in `replicated`" in error.text
    assert users(one) == users(two) == {"shared", "again"}
    replicated.restart()
    assert users(two) == {"shared", "again"}
    one.query("DROP USER shared, again")


def test_on_cluster_ignored(replicated: Sandbox, cluster: Sandbox) -> None:
    """ignore_on_cluster_for_replicated_access_entities_queries: the clause is not there, where the storage is such."""
    one, two = sessions(replicated)
    ignoring = {"ignore_on_cluster_for_replicated_access_entities_queries": "1"}
    assert one.query("CREATE USER once ON CLUSTER default", **ignoring) == ""
    one.query("CREATE SETTINGS PROFILE ignoring SETTINGS ignore_on_cluster_for_replicated_access_entities_queries = 1")
    one.query("CREATE USER admin SETTINGS PROFILE 'ignoring'")
    one.query("GRANT CREATE USER, DROP USER ON *.* TO admin")  # and not CLUSTER
    assert replicated.replicas[1].session("admin").query("DROP USER once ON CLUSTER default") == ""
    assert users(two) == {"admin"}
    one.query("DROP USER admin")
    one.query("DROP PROFILE ignoring")
    assert len(cluster.session().query("CREATE USER u ON CLUSTER pair", **ignoring).splitlines()) == 2
    cluster.session().query("DROP USER u ON CLUSTER pair")
