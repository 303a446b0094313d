"""stack_bootstrap: what it makes of a HyperDX, and what it refuses.

HyperDX is the sandbox's stand-in with its documents in SecantusDB, and reads from the sandbox's ClickHouse over TLS as
the user that stack_access makes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap import run as runner
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap.api import Api, Unreachable
from ansible_collections.hardened.clickstack.plugins.modules import stack_bootstrap_hyperdx
from tests.playbook import ROOT, Run, run_playbook
from tests.sandbox import Sandbox, ServerSaid, start
from tests.sandbox.hyperdx_app import HyperDX
from tests.sandbox.lab import Unavailable
from tests.sandbox.mongodb import MongoDB
from tests.sandbox.options import Options
from tests.sandbox.otel import hyperdx, programs
from tests.sandbox.otel.client import Client
from tests.sandbox.otel.collector import Collector
from tests.sandbox.real_server import RealServer

Json = dict[str, Any]
Play = Callable[..., Run]
Module = Callable[..., Json]
EMAIL, PASSWORD, READER = "ops@example.com", "Owner.only4tests", "reader-only-for-tests"
SOURCES = ["Logs", "Traces", "Metrics", "Sessions"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the key's file belongs to a user of its own: needs root")


@pytest.fixture(scope="module")
def clickhouse() -> Iterator[Sandbox]:
    with start(tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDB]:
    with MongoDB(tmp_path_factory.mktemp("mongodb") / "data", authorization=False) as server:
        yield server


class Site:
    """A host with secrets, its HyperDX and its ClickHouse, and the role's variables."""

    def __init__(self, folder: Path, mongodb: MongoDB, clickhouse: Sandbox) -> None:
        self.folder, self.clickhouse, self.key = folder, clickhouse, folder / "ingestion_api_key"
        self.database = mongodb.client()["hyperdx"]
        self.database.client.drop_database("hyperdx")
        self.environment = {
            "MONGO_URI": f"mongodb://127.0.0.1:{mongodb.port}/hyperdx?directConnection=true",
            "FRONTEND_URL": "https://clickstack.example.com",
            "EXPRESS_SESSION_SECRET": "a secret only for tests",
            "NODE_EXTRA_CA_CERTS": str(clickhouse.ca),
        }
        self.put("owner", f"{PASSWORD}\n")
        self.put("reader", READER)
        self.reader(READER)
        self.app = HyperDX(self.environment, iterations=1)

    def put(self, name: str, content: str) -> Path:
        """Write a secret."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(content)
        path.chmod(0o400)
        return path

    def reader(self, *passwords: str) -> None:
        """Give HyperDX's user in ClickHouse these passwords; none takes the user away."""
        session = self.clickhouse.session()
        session.query("DROP USER IF EXISTS hyperdx")
        if passwords:
            methods = ", ".join(f"sha256_password BY '{password}'" for password in passwords)
            session.query(f"CREATE USER hyperdx IDENTIFIED WITH {methods}")

    @property
    def host(self) -> str:
        """ClickHouse's address."""
        return f"https://localhost:{self.clickhouse.https_port}"

    def variables(self, **more: Any) -> Json:
        """What the role needs to know here."""
        ours = {
            "url": self.app.api,
            "opamp_url": self.app.opamp,
            "timeout": 2,
            "owner_email": EMAIL,
            "owner_password_file": str(self.folder / "owner"),
            "ingestion_key_file": str(self.key),
            "connection_host": self.host,
            "connection_password_file": str(self.folder / "reader"),
        }
        return {f"stack_bootstrap_{name}": value for name, value in {**ours, **more}.items()}

    def options(self, **more: Any) -> Json:
        """What the module needs to know for the owner, the key, a connection and two sources."""
        connection = {
            "name": "ClickStack",
            "host": self.host,
            "username": "hyperdx",
            "password_file": str(self.folder / "reader"),
        }
        return {
            "url": self.app.api,
            "timeout": 2,
            "owner_email": EMAIL,
            "owner_password_file": str(self.folder / "owner"),
            "ingestion_key_file": str(self.key),
            "connection": connection,
            "sources": {"Logs": logs(traceSourceId="Traces"), "Traces": traces(logSourceId="Logs")},
            **more,
        }

    def owner(self) -> Api:
        """Somebody who is signed in as the owner."""
        api = Api(self.app.api, None, 10)
        assert api.log_in(EMAIL, PASSWORD) == ""
        return api

    def asks(self) -> bytes:
        """What HyperDX says when its connection asks ClickHouse who it is."""
        api = self.owner()
        headers = {"X-HyperDX-Connection-Id": api.get("/connections")[0]["_id"], "Content-Type": "text/plain"}
        return api.ask("POST", "/clickhouse-proxy/", body=b"SELECT currentUser()", **headers).body.strip()


def logs(**more: Any) -> Json:
    return {
        "kind": "log",
        "from": {"databaseName": "otel", "tableName": "otel_logs"},
        "timestampValueExpression": "TimestampTime",
        "defaultTableSelectExpression": "Timestamp,Body",
        **more,
    }


def traces(**more: Any) -> Json:
    columns = ("duration", "traceId", "spanId", "parentSpanId", "spanName", "spanKind")
    return {
        **logs(kind="trace", **{"from": {"databaseName": "otel", "tableName": "otel_traces"}}),
        **{f"{name}Expression": name[0].upper() + name[1:] for name in columns},
        **more,
    }


@pytest.fixture
def site(tmp_path: Path, mongodb: MongoDB, clickhouse: Sandbox) -> Iterator[Site]:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o711)
    found = Site(folder, mongodb, clickhouse)
    found.app.__enter__()
    yield found
    # a test may have put another in its place
    found.app.__exit__(None, None, None)
    found.database.client.close()


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str]) -> Module:
    """Run the role's module in this process and return what it says. No secret is ever in it."""

    def run(options: Json, **more: Any) -> Json:
        with patch_module_args({**options, **more}), pytest.raises(SystemExit):
            stack_bootstrap_hyperdx.main()
        said = capsys.readouterr().out
        assert PASSWORD not in said and READER not in said
        result: Json = json.loads(said)
        return result

    return run


# -- The role ----------------------------------------------------------------------------------------------------------


def test_a_run_does_what_check_mode_announced_and_a_second_changes_nothing(play: Play, site: Site) -> None:
    announced = play("stack_bootstrap", site.variables(), "--check", "--diff")
    assert announced.recap["changed"] == 1 and announced.recap["failed"] == 0, announced.output
    assert not site.key.exists() and site.database.users.count_documents({}) == 0
    assert all(name in announced.output for name in SOURCES)

    done = play("stack_bootstrap", site.variables(), "--diff")
    assert done.recap["changed"] == 1 and done.recap["failed"] == 0, done.output
    pattern = r"^[+-].*$"
    assert re.findall(pattern, done.output, re.MULTILINE) == re.findall(pattern, announced.output, re.MULTILINE)

    team = site.database.teams.find_one()
    assert site.database.users.find_one()["email"] == EMAIL and team["collectorAuthenticationEnforced"] is True
    assert site.key.read_text() == f"{team['apiKey']}\n" and site.key.stat().st_mode & 0o777 == 0o400
    assert site.asks() == b"hyperdx"
    sources = {source["name"]: source for source in site.owner().get("/sources")}
    assert list(sources) == SOURCES
    for name, reference, other in (
        ("Logs", "traceSourceId", "Traces"),
        ("Logs", "metricSourceId", "Metrics"),
        ("Traces", "logSourceId", "Logs"),
        ("Traces", "sessionSourceId", "Sessions"),
        ("Metrics", "logSourceId", "Logs"),
        ("Sessions", "traceSourceId", "Traces"),
    ):
        assert sources[name][reference] == sources[other]["_id"]
    assert sources["Metrics"]["metricTables"]["exponential histogram"] == "otel_metrics_exponential_histogram"
    assert {source["from"]["databaseName"] for source in sources.values()} == {"otel"}

    site.app.requests.clear()
    again = play("stack_bootstrap", site.variables(), "-vvv")
    assert again.recap["changed"] == 0 and again.recap["failed"] == 0, again.output
    asked = {line for line in site.app.requests if not line.startswith("GET ")}
    assert asked == {"POST /login/password", "POST /clickhouse-proxy/"}
    # of the three runs, none has left a session behind, nor said a secret
    assert site.database.sessions.count_documents({}) == 2  # the two of this test
    said = "".join([announced.output, done.output, again.output])
    assert all(secret not in said for secret in (PASSWORD, READER, team["apiKey"]))


def test_sources_are_changed_added_and_left_out_by_variables(play: Play, site: Site) -> None:
    given = {
        "Logs": {"querySettings": [{"setting": "max_execution_time", "value": "60"}]},
        "Audit": logs(traceSourceId="Traces"),
        "Metrics": None,
    }
    done = play("stack_bootstrap", site.variables(sources=given, database="other", ingestion_key_owner=4711))
    assert done.recap["failed"] == 0, done.output
    sources = {source["name"]: source for source in site.owner().get("/sources")}
    assert sorted(sources) == ["Audit", "Logs", "Sessions", "Traces"]
    assert sources["Logs"]["querySettings"] == given["Logs"]["querySettings"]  # type: ignore[index]
    assert sources["Logs"]["from"] == {"databaseName": "other", "tableName": "otel_logs"}
    assert "metricSourceId" not in sources["Logs"] and sources["Audit"]["traceSourceId"] == sources["Traces"]["_id"]
    assert (site.key.stat().st_uid, site.key.stat().st_gid) == (4711, 4711)


def test_variables_that_cannot_be_are_named_all_at_once(play: Play, site: Site) -> None:
    wrong = {
        "owner_email": "ops",
        "url": "172.30.80.10:8000",
        "connection_host": "tcp://ch-server:9440",
        "sources": {"Logs": "otel_logs"},
    }
    done = play("stack_bootstrap", site.variables(**wrong))
    assert done.recap["failed"] == 1 and not site.app.requests
    for name in wrong:
        assert f"stack_bootstrap_{name}: " in done.output


def test_the_reading_user_s_password_is_rotated_in_one_run(module: Module, site: Site, tmp_path: Path) -> None:
    """By the playbook, while ClickHouse knows the old and the new password and then the new one alone."""
    assert module(site.options())["changed"]
    session = site.clickhouse.session()
    session.query("CREATE USER OR REPLACE clickstack_admin IDENTIFIED BY 'admin-only-for-tests'")
    session.query("GRANT ALL ON *.* TO clickstack_admin WITH GRANT OPTION")
    (site.folder / "reader").rename(site.folder / "clickhouse_reader_password")
    variables = {
        **site.variables(connection_password_file=str(site.folder / "clickhouse_reader_password")),
        "rotate": "clickhouse_reader_password",
        "rotate_hosts": "localhost",
        "rotate_become": False,
        "rotate_finish": True,
        "rotate_apply_roles": ["hardened.clickstack.stack_bootstrap:connection"],
        "rotate_clickhouse_login": {
            "login_port": site.clickhouse.https_port,
            "login_ca_cert": str(site.clickhouse.ca),
            "login_password": "admin-only-for-tests",
        },
        "stack_secrets_directory": str(site.folder),
        "stack_secrets_names": ["clickhouse_reader_password"],
    }
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    done = run_playbook("hardened.clickstack.rotate", f"-e@{tmp_path / 'variables.json'}", folder=tmp_path)
    assert done.recap["failed"] == 0, done.output
    new = (site.folder / "clickhouse_reader_password").read_text().strip()
    assert new != READER and site.asks() == b"hyperdx"
    stored = site.database.connections.find_one()["password"]
    assert stored == new and new not in done.output and READER not in done.output
    with pytest.raises(ServerSaid, match="516"):
        site.clickhouse.session("hyperdx", READER).query("SELECT 1")


def test_another_ingestion_key(play: Play, module: Module, site: Site) -> None:
    assert module(site.options())["changed"]
    old = site.key.read_text()
    done = play("stack_bootstrap", site.variables(), tasks_from="ingestion_key")
    assert done.recap["failed"] == 0 and done.recap["changed"] == 1, done.output
    assert site.key.read_text() != old and site.key.read_text().strip() == site.database.teams.find_one()["apiKey"]
    assert module(site.options())["changed"] is False


# -- The module --------------------------------------------------------------------------------------------------------


def test_the_module_s_examples_run(module: Module, site: Site) -> None:
    for task in yaml.safe_load(stack_bootstrap_hyperdx.EXAMPLES):
        options = task["hardened.clickstack.stack_bootstrap_hyperdx"]
        ours = {name: value for name, value in site.options().items() if name in options and name != "sources"}
        assert module(options | ours)["changed"] is True
    assert [source["name"] for source in site.owner().get("/sources")] == ["Logs"]


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("Short.1", "at least 12 characters"),
        ("small.letters.1", "a small and a capital letter"),
        ("Without.a.digit", "a digit"),
        ("Letters4AndDigits", "one of !@#"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_password_that_hyperdx_refuses_is_refused(
    password: str, missing: str, check: bool, module: Module, site: Site
) -> None:
    site.put("owner", password)
    said = module(site.options(), _ansible_check_mode=check)
    assert said["failed"] and said["msg"].startswith("Nothing was changed") and missing in said["msg"], said
    # and HyperDX agrees
    answer = Api(site.app.api, None, 10).ask(
        "POST", "/register/password", {"email": EMAIL, "password": password, "confirmPassword": password}
    )
    assert answer.status == 400 and site.database.users.count_documents({}) == 0


def test_a_stranger_s_hyperdx_is_refused(module: Module, site: Site) -> None:
    assert Api(site.app.api, None, 10).register("stranger@example.com", "Stranger.1234")
    for check in (True, False):
        said = module(site.options(), _ansible_check_mode=check)
        assert said["failed"] and said["changed"] is False
        assert "Nothing was changed" in said["msg"] and "whoever reached HyperDX first owns it" in said["msg"]
    assert site.database.connections.count_documents({}) == 0 and not site.key.exists()


def test_who_registers_between_the_look_and_the_registration_is_noticed(
    module: Module, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Api.register

    def slowly(api: Api, email: str, password: str) -> bool:
        assert ours(Api(site.app.api, None, 10), "stranger@example.com", "Stranger.1234")
        return ours(api, email, password)

    monkeypatch.setattr(Api, "register", slowly)
    said = module(site.options())
    assert said["failed"] and "Somebody registered while this run did" in said["msg"]
    assert said["registered"] is False and site.database.users.count_documents({}) == 1


def test_a_user_without_a_team_is_explained(module: Module, site: Site) -> None:
    """HyperDX was killed in the middle of a registration: it makes the user first."""
    assert module(site.options())["changed"]
    site.database.teams.delete_many({})
    site.database.users.update_many({}, {"$unset": {"team": 1}})
    said = module(site.options())
    assert said["failed"] and "remove it from the collection users" in said["msg"]


def test_every_missing_file_is_named_at_once(module: Module, site: Site) -> None:
    (site.folder / "owner").unlink()
    site.put("reader", "two\nlines\n")
    site.key.mkdir()
    said = module(site.options())
    assert said["failed"] and said["msg"].count("\n- ") == 3, said["msg"]
    assert "No such file" in said["msg"] and "several" in said["msg"] and "this is a directory" in said["msg"]
    assert "two" not in said["msg"] and site.app.requests == []


def test_a_hyperdx_that_does_not_answer(module: Module, site: Site) -> None:
    site.app.__exit__(None, None, None)
    try:
        said = module(site.options(timeout=0))
        assert said["failed"] and "HyperDX does not answer" in said["msg"]
        # check mode before the first run takes it for one that is still to come, whether secrets are there or not
        (site.folder / "owner").unlink()
        (site.folder / "reader").unlink()
        said = module(site.options(), _ansible_check_mode=True)
        assert said["changed"] and said["registered"] and said["sources_created"] == ["Logs", "Traces"]
        # and afterwards for one that is down
        site.put("owner", PASSWORD)
        site.put("reader", READER)
        site.put("ingestion_api_key", "a key")
        said = module(site.options(), _ansible_check_mode=True)
        assert said["failed"] and "HyperDX does not answer" in said["msg"]
    finally:
        site.app = HyperDX(site.environment, iterations=1)
        site.app.__enter__()


def test_an_authority_that_is_none_is_named(module: Module, site: Site) -> None:
    for path, text in ((site.folder / "nowhere", "No such file"), (site.folder / "owner", "")):
        said = module(site.options(url="https://localhost:1", ca_cert=str(path)))
        assert said["failed"] and f"{path}: " in said["msg"] and text in said["msg"]


def test_a_hyperdx_without_its_mongodb_is_waited_for(module: Module, site: Site) -> None:
    site.app.store.is_ready = lambda: False  # type: ignore[method-assign]
    said = module(site.options(timeout=0))
    assert said["failed"] and "no connection to its MongoDB" in said["msg"]


# -- Collector authentication ------------------------------------------------------------------------------------------


def test_collectors_that_take_everything_are_refused_or_changed_by_way_of_mongodb(module: Module, site: Site) -> None:
    assert module(site.options())["collector_authentication"] is True
    assert runner.ask_opamp(site.app.opamp) is True
    site.database.teams.update_many({}, {"$set": {"collectorAuthenticationEnforced": False}})
    assert runner.ask_opamp(site.app.opamp) is False
    said = module(site.options())
    assert said["failed"] and "db.teams.updateMany" in said["msg"] and said["collector_authentication"] is False
    assert module(site.options(collector_authentication=False))["changed"] is False

    uri = site.put("uri", site.environment["MONGO_URI"])
    said = module(site.options(mongodb_uri_file=str(uri)), _ansible_check_mode=True)
    assert said["changed"] and site.database.teams.find_one()["collectorAuthenticationEnforced"] is False
    said = module(site.options(mongodb_uri_file=str(uri)))
    assert said["changed"] and site.database.teams.find_one()["collectorAuthenticationEnforced"] is True
    assert module(site.options(mongodb_uri_file=str(uri)))["changed"] is False


def test_another_database_than_hyperdx_s_is_noticed(module: Module, site: Site) -> None:
    assert module(site.options())["changed"]
    site.database.teams.update_many({}, {"$set": {"collectorAuthenticationEnforced": False}})
    uri = site.put("uri", site.environment["MONGO_URI"].replace("/hyperdx", "/another"))
    said = module(site.options(mongodb_uri_file=str(uri)))
    assert said["failed"] and "Is it another MongoDB" in said["msg"]
    uri = site.put("uri", "mongodb://u:hidden-word@/x?y")
    said = module(site.options(mongodb_uri_file=str(uri)))
    assert said["failed"] and "cannot be used" in said["msg"] and "hidden-word" not in json.dumps(said)


def test_opamp_is_asked_where_the_api_is_silent(module: Module, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in versions whose /me shows a part of the team."""
    assert module(site.options())["changed"]
    site.database.teams.update_many({}, {"$set": {"collectorAuthenticationEnforced": False}})
    everything = Api.get

    def silent(api: Api, path: str) -> Any:
        said = everything(api, path)
        if path == "/me":
            said["team"].pop("collectorAuthenticationEnforced")
        return said

    monkeypatch.setattr(Api, "get", silent)
    said = module(site.options())
    assert said["changed"] is False and said["collector_authentication"] is None
    assert "does not say whether collectors want a key" in json.dumps(said["warnings"])
    said = module(site.options(opamp_url=site.app.opamp))
    assert said["failed"] and said["collector_authentication"] is False


@pytest.fixture
def collector(site: Site, tmp_path: Path) -> Iterator[Collector]:
    """HyperDX's real collector, which writes to a ClickHouse of its own, and is told what to do by the stand-in."""
    try:
        built = programs.build()
    except Unavailable as reason:
        pytest.skip(f"without the collector: {reason}")
    server = RealServer(tmp_path / "server", "25.8", None, 0, None, Options())
    environment = {
        "CLICKHOUSE_ENDPOINT": f"http://127.0.0.1:{server.http_port}",
        "CLICKHOUSE_USER": "default",
        "CLICKHOUSE_PASSWORD": "",
        "HYPERDX_OTEL_EXPORTER_CLICKHOUSE_DATABASE": "otel",
        "HYPERDX_OTEL_EXPORTER_CREATE_LEGACY_SCHEMA": "true",
    }
    found = Collector(built, environment)
    site.app.collector = found.ports
    yield found
    found.remove()
    server.close()


def test_the_real_collector_takes_data_with_the_key_in_the_file_and_without_it_none(
    module: Module, site: Site, collector: Collector
) -> None:
    assert module(site.options())["changed"]
    base = collector.file("config.yaml", hyperdx.base(collector.ports))
    with collector.supervised(site.app.opamp, base):
        collector.wait_for_ports(collector.ports.http, collector.ports.grpc)
        key = site.key.read_text().strip()
        assert Client(authorization=key).http(collector.ports.http) == "accepted"
        assert Client(authorization=key).grpc(collector.ports.grpc) == "accepted"
        assert Client().http(collector.ports.http) == "status 401"
        assert Client(authorization=f"{key}x").http(collector.ports.http) == "status 401"


# -- The connection ----------------------------------------------------------------------------------------------------


def test_a_password_that_clickhouse_no_longer_takes_is_given_again(module: Module, site: Site) -> None:
    assert module(site.options())["connection"] == "created"
    site.reader("another-reader-only-for-tests")
    site.put("reader", "another-reader-only-for-tests")
    said = module(site.options(), _ansible_check_mode=True, _ansible_diff=True)
    assert said["connection"] == "updated" and said["diff"]["before"]["connection"] == {"password": "(hidden)"}
    said = module(site.options())
    assert said["connection"] == "updated" and site.asks() == b"hyperdx"
    assert module(site.options())["changed"] is False


def test_a_reader_that_clickhouse_does_not_know_is_an_error_until_it_does(module: Module, site: Site) -> None:
    site.reader()
    said = module(site.options())
    assert said["failed"] and "stack_access_reader_host" in said["msg"], said
    # all the rest is done
    assert (
        site.key.exists() and said["sources_created"] == ["Logs", "Traces"] and "Before that: registered" in said["msg"]
    )
    assert module(site.options())["failed"]
    site.reader(READER)
    assert module(site.options())["changed"] is False


def test_a_clickhouse_that_does_not_answer_is_told_from_one_that_refuses(module: Module, site: Site) -> None:
    options = site.options()
    nowhere = {**options["connection"], "host": "https://localhost:1"}
    said = module(options, connection=nowhere, timeout=0)
    assert said["failed"] and "HyperDX gets no answer from ClickHouse" in said["msg"] and site.key.exists()
    said = module(options, connection=nowhere, timeout=0)
    assert said["failed"] and said["changed"] is False and "Nothing was changed" in said["msg"]
    assert module(options, connection={**nowhere, "test": False})["changed"] is False
    said = module(options)
    assert said["connection"] == "updated" and site.asks() == b"hyperdx"


def test_a_connection_is_changed_and_others_stay(module: Module, site: Site) -> None:
    options = site.options()
    assert module(options)["changed"]
    api = site.owner()
    api.send(
        "POST", "/connections", {"name": "Mine", "host": "http://elsewhere:8123", "username": "me", "password": "x"}
    )
    theirs = api.get("/connections")[1]
    site.database.connections.update_one({"name": "ClickStack"}, {"$set": {"prometheusEndpoint": "http://p:9090"}})
    prefixed = {**options["connection"], "setting_prefix": "hyperdx", "test": False}
    said = module(options, connection=prefixed)
    assert said["connection"] == "updated"
    assert said["diff"]["after"]["connection"] == {
        "hyperdxSettingPrefix": "hyperdx",
        "password": "(the one in the file)",
    }
    ours, other = api.get("/connections")
    assert (
        ours["hyperdxSettingPrefix"] == "hyperdx" and ours["prometheusEndpoint"] == "http://p:9090" and other == theirs
    )
    # omitted: left alone; empty: taken away
    assert module(options, connection={**options["connection"], "test": False})["changed"] is False
    assert module(options, connection={**options["connection"], "setting_prefix": ""})["connection"] == "updated"
    assert "hyperdxSettingPrefix" not in api.get("/connections")[0] and site.asks() == b"hyperdx"
    assert module(options)["changed"] is False


# -- Sources -----------------------------------------------------------------------------------------------------------


def test_a_source_gets_back_what_was_changed_and_keeps_what_people_added(module: Module, site: Site) -> None:
    assert module(site.options())["changed"]
    api = site.owner()
    logs_now, traces_now = api.get("/sources")
    people = {**logs_now, "bodyExpression": "Body", "traceSourceId": logs_now["_id"], "section": "Shop"}
    api.send("PUT", f"/sources/{logs_now['_id']}", people)
    api.send("POST", "/sources", {**traces_now, "name": "Another"})
    said = module(site.options(), _ansible_check_mode=True)
    assert said["sources_updated"] == ["Logs"]
    assert said["diff"]["before"]["sources"] == {"Logs": {"traceSourceId": "Logs"}}
    assert said["diff"]["after"]["sources"] == {"Logs": {"traceSourceId": "Traces"}}
    assert module(site.options())["sources_updated"] == ["Logs"]
    after, _traces, another = api.get("/sources")
    assert after["traceSourceId"] == traces_now["_id"] and another["name"] == "Another"
    assert (after["bodyExpression"], after["section"], after["_id"]) == ("Body", "Shop", logs_now["_id"])
    # an empty text takes a field away
    without = {"Logs": logs(bodyExpression="")}
    assert module(site.options(), sources=without)["sources_updated"] == ["Logs"]
    assert (
        "bodyExpression" not in api.get("/sources")[0] and module(site.options(), sources=without)["changed"] is False
    )


def test_a_source_of_another_kind_is_replaced(module: Module, site: Site) -> None:
    assert module(site.options(), sources={"Logs": traces(durationPrecision=9)})["changed"]
    assert module(site.options(), sources={"Logs": logs()})["sources_updated"] == ["Logs"]
    (source,) = site.owner().get("/sources")
    assert source["kind"] == "log" and "durationExpression" not in source


def test_a_field_that_this_version_does_not_keep_is_named(module: Module, site: Site) -> None:
    said = module(site.options(), sources={"Logs": logs(sessionSourceId="Logs")})
    assert said["failed"] and "does not keep Logs: sessionSourceId" in said["msg"]


def test_sources_that_cannot_be_are_refused_before_anything_is_changed(module: Module, site: Site) -> None:
    wrong = {"Logs": logs(kind="logs", connection="x", traceSourceId="Nowhere")}
    assert module(site.options())["changed"]
    said = module(site.options(), sources=wrong)
    assert said["failed"] and said["changed"] is False and said["msg"].count("\n- ") == 3
    # a source that is there may be referred to
    assert module(site.options(), sources={"Audit": logs(traceSourceId="Traces")})["sources_created"] == ["Audit"]


# -- Runs that end anywhere --------------------------------------------------------------------------------------------


def test_a_run_that_ends_anywhere_is_completed_by_the_next(
    module: Module, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Api.ask
    for last in range(1, 40):
        for name in ("users", "teams", "connections", "sources", "sessions"):
            site.database[name].delete_many({})
        site.key.unlink(missing_ok=True)
        asked = 0

        def dying(api: Api, *arguments: Any, last: int = last, **more: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked > last:
                raise Unreachable("killed")
            return everything(api, *arguments, **more)

        with monkeypatch.context() as patched:
            patched.setattr(Api, "ask", dying)
            is_whole = not module(site.options(timeout=0)).get("failed")
        assert not module(site.options()).get("failed")
        assert module(site.options())["changed"] is False
        assert [source["name"] for source in site.owner().get("/sources")] == ["Logs", "Traces"]
        assert site.asks() == b"hyperdx" and site.key.exists()
        if is_whole:
            break
    assert last > 10


@pytest.mark.parametrize("left", ["cut short", "beside", "other rights", "a link"])
def test_a_key_file_that_is_not_as_it_shall_be(left: str, module: Module, site: Site) -> None:
    assert module(site.options())["ingestion_key"] == "written"
    content = site.key.read_text()
    if left == "cut short":
        site.put("ingestion_api_key", content[:5])
    elif left == "beside":
        site.put(".ingestion_api_key.new", content[:5])
    elif left == "other rights":
        site.key.chmod(0o444)
    else:
        site.key.rename(site.folder / "elsewhere")
        site.key.symlink_to("elsewhere")
    assert module(site.options(), _ansible_check_mode=True)["ingestion_key"] == "written"
    assert module(site.options())["ingestion_key"] == "written"
    assert site.key.read_text() == content and site.key.stat().st_mode & 0o777 == 0o400 and not site.key.is_symlink()
    assert module(site.options())["changed"] is False


def test_the_role_runs_on_an_old_python() -> None:
    """What runs on the host is written for Python 3.9: nothing that newer ones alone can read."""
    import ast

    for path in (ROOT / "plugins" / "module_utils" / "stack_bootstrap").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))
