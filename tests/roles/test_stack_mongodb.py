"""stack_mongodb on this machine: the files it writes, and what it makes of a running MongoDB.

The server is SecantusDB (tests/sandbox/mongodb.py), started with what mongod.conf says, after the superuser was made as
the image makes it. With MONGODB_URL (with a superuser and its password, of a server that has nothing else to do) users
are made there too.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb import judge
from ansible_collections.hardened.clickstack.plugins.modules import stack_mongodb_config, stack_mongodb_server
from tests.playbook import ROOT, Run, run_playbook
from tests.sandbox.certificates import Authority
from tests.sandbox.mongodb import MongoDB
from tests.sandbox.real_server import free_port

Json = dict[str, Any]
PASSWORDS = {
    "mongodb_root_password": "root-" + secrets.token_hex(8),
    "mongodb_admin_password": "admin-" + secrets.token_hex(8),
    # what must be percent-encoded in a connection string
    "mongodb_app_password": "a/p:p@ %?#[]ü-" + secrets.token_hex(4),
}
KEYFILE = secrets.token_urlsafe(400).replace("-", "+").replace("_", "/")
ROOT_USER, ADMIN, APP = "root", "clickstack_admin", "hyperdx"


class Site:
    """A host's files, and the role's variables for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etc, self.secrets, self.tls = folder / "mongodb", folder / "secrets", folder / "tls"
        for path in (self.secrets, self.tls):
            path.mkdir()
        self.authority = Authority(folder / "ca")
        self.certify("localhost")
        for name, text in {**PASSWORDS, "mongodb_keyfile": KEYFILE}.items():
            self.write_secret(name, text)
        self.port = free_port()
        self.variables: Json = {
            "stack_mongodb_version": "8.0.16",
            "stack_mongodb_directory": str(self.etc),
            "stack_mongodb_user_id": "999:999",
            "stack_mongodb_tls_directory": str(self.tls),
            "stack_mongodb_keyfile": str(self.secrets / "mongodb_keyfile"),
            "stack_mongodb_members": [f"localhost:{self.port}"],
            "stack_mongodb_port": self.port,
            "stack_mongodb_uri_file": str(self.secrets / "mongo_uri"),
            "stack_mongodb_uri_ca_file": str(self.tls / "ca.crt"),
            "stack_mongodb_app_client_source": ["127.0.0.1"],
            "stack_mongodb_login_host": "127.0.0.1",
            "stack_mongodb_login_timeout": 5,
            "stack_mongodb_admin_password_file": str(self.secrets / "mongodb_admin_password"),
            "stack_mongodb_app_password_file": str(self.secrets / "mongodb_app_password"),
            "stack_mongodb_root_password_file": str(self.secrets / "mongodb_root_password"),
        }

    def certify(self, name: str, authority: Authority | None = None, **options: Any) -> None:
        """A certificate that servers and clients may show, as stack_tls makes one for MongoDB."""
        names = options.pop("names", ("localhost",))
        addresses = options.pop("addresses", ("127.0.0.1",))
        certificate, key = (authority or self.authority).issue(name, names, addresses, both=True, **options)
        self.place("mongodb.pem", key.read_text() + certificate.read_text())
        self.place("ca.crt", self.authority.ca.read_text(), mode=0o444)

    def place(self, name: str, text: str, mode: int = 0o400) -> None:
        """A file among the certificates, which belongs to MongoDB's user."""
        path = self.tls / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        os.chown(path, 999, 999)
        path.chmod(mode)

    def write_secret(self, name: str, text: str, mode: int = 0o400) -> None:
        path = self.secrets / name
        path.unlink(missing_ok=True)
        path.write_text(text + "\n")
        path.chmod(mode)

    def state(self) -> dict[str, tuple[int, str]]:
        """The inode and the content of every file that the role writes."""
        paths = [*self.etc.glob("*"), self.secrets / "mongo_uri"]
        return {str(path): (path.stat().st_ino, path.read_text()) for path in paths if path.exists()}

    @property
    def config(self) -> Json:
        loaded: Json = yaml.safe_load((self.etc / "mongod.conf").read_text())
        return loaded

    @property
    def usual(self) -> Json:
        """What the role's mongod.conf says of what matters here."""
        return {
            "security": {"authorization": "enabled"},
            "net": {"tls": {"mode": "requireTLS"}, "port": self.port},
            "replication": {"replSetName": "rs0"},
            "setParameter": {"enableLocalhostAuthBypass": False, "scramSHA256IterationCount": 15000},
        }

    @property
    def uri(self) -> str:
        return (self.secrets / "mongo_uri").read_text().strip()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    if os.geteuid() != 0:
        pytest.skip("files must be given to MongoDB's user, which needs root")
    (tmp_path / "host").mkdir()
    return Site(tmp_path / "host")


@pytest.fixture
def run(site: Site, tmp_path: Path) -> Callable[..., Run]:
    """Run entry points of the role one after the other, in one playbook: `run("main", ("users", {...}))`; with
    `keeps_going` the next one runs after one that failed."""

    def steps(*entries: str | tuple[str, Json], arguments: Sequence[str] = (), keeps_going: bool = False) -> Run:
        tasks = []
        for entry in entries:
            name, variables = (entry, {}) if isinstance(entry, str) else entry
            role: Json = {"name": "hardened.clickstack.stack_mongodb", "tasks_from": name}
            role["apply"] = {"ignore_errors": keeps_going}
            tasks.append({"name": name, "ansible.builtin.include_role": role, "vars": {**site.variables, **variables}})
        plays = [{"name": "Steps", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        return run_playbook(plays, *arguments, folder=tmp_path)

    return steps


def secret_texts() -> list[str]:
    return [*PASSWORDS.values(), KEYFILE, urllib.parse.quote(PASSWORDS["mongodb_app_password"], safe="")]


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_are_written_once_and_check_mode_writes_none(site: Site, run: Callable[..., Run]) -> None:
    foreseen = run("main", arguments=["--check", "--diff"])
    assert foreseen.code == 0 and foreseen.recap["changed"] == 1 and site.state() == {}
    assert "javascriptEnabled: false" in foreseen.output
    first = run("main", "main", arguments=["--diff"])
    assert first.code == 0 and first.recap["changed"] == 1, first.output
    for path, owner in (
        (site.etc / "mongod.conf", 999),
        (site.etc / "keyfile", 999),
        (site.secrets / "mongo_uri", 1000),
    ):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (owner, owner, 0o400)
    assert site.etc.stat().st_mode & 0o777 == 0o500
    assert (site.etc / "keyfile").read_text() == KEYFILE
    assert not [text for text in secret_texts() for output in (foreseen.output, first.output) if text in output]


def test_a_killed_run_is_completed_and_what_is_not_wanted_goes(site: Site, run: Callable[..., Run]) -> None:
    assert run("main").code == 0
    (site.etc / ".mongod.conf.new").write_text("half")
    (site.etc / "keyfile").unlink()
    os.chmod(site.etc / "mongod.conf", 0o444)
    again = run("main", "main")
    assert again.code == 0 and again.recap["changed"] == 1, again.output
    assert (site.etc / "mongod.conf").stat().st_mode & 0o777 == 0o400
    alone = run(("main", {"stack_mongodb_replica_set": ""}), ("main", {"stack_mongodb_replica_set": ""}))
    assert alone.code == 0 and alone.recap["changed"] == 1
    assert sorted(path.name for path in site.etc.iterdir()) == ["mongod.conf"]
    assert "keyFile" not in site.config["security"] and "replication" not in site.config
    assert "replicaSet" not in site.uri


def test_everything_wrong_is_said_at_once_and_nothing_is_changed(site: Site, run: Callable[..., Run]) -> None:
    assert run("main").code == 0
    before = site.state()
    site.write_secret("mongodb_keyfile", "no-base64!")
    site.write_secret("mongodb_admin_password", "")
    (site.secrets / "mongodb_root_password").chmod(0o444)
    other = Authority(site.folder / "other")
    site.certify("localhost", other)
    wrong = run(
        (
            "main",
            {
                "stack_mongodb_version": "4.4",
                "stack_mongodb_app_user": ADMIN,
                "stack_mongodb_app_client_source": ["172.30.81.0/33"],
                "stack_mongodb_database": "admin",
                "stack_mongodb_members": ["db:27017", "db:27017", "db:99999"],
            },
        )
    )
    assert wrong.code != 0
    for text in (
        "Nothing was changed",
        "MongoDB 4.4 is not known here",
        "mongodb_keyfile: the key has characters that base64 does not have",
        "mongodb_admin_password: the password is empty",
        "mongodb_root_password: others than its owner 0 can read it (mode 0444)",
        f"{ADMIN}: two users have this name",
        "172.30.81.0/33 is neither an address nor a network",
        "admin is a database of MongoDB's own",
        "db:27017 is there more than once",
        "99999 in db:99999 is no port",
        "refuses this certificate for 127.0.0.1",
    ):
        assert text in wrong.output, text
    assert site.state() == before and "no-base64!" not in wrong.output


def test_settings_that_the_version_does_not_have_are_refused(site: Site, run: Callable[..., Run]) -> None:
    settings = {
        "storage": {"journal": {"enabled": True}},
        "auditLog": {"destination": "console"},
        "net": {"tls": {"disabledProtocols": "TLS1_0, TLS1_1"}, "http": {"enabled": False}},
        "setParameter": {"scramSHA256IterationCount": 100, "no_such": 1},
    }
    wrong = run(("main", {"stack_mongodb_settings": settings}))
    assert wrong.code != 0 and site.state() == {}
    for text in (
        "storage.journal.enabled: MongoDB 8.0 has no such setting; it was removed",
        "auditLog.destination: only MongoDB Enterprise has this setting",
        "net.http.enabled: MongoDB 8.0 has no such setting",
        "setParameter.scramSHA256IterationCount: this is 100, but it must be at least 5000",
        "setParameter.no_such: MongoDB 8.0 has no such parameter",
    ):
        assert text in wrong.output, text
    contradictions = {
        "stack_mongodb_memory": "much",
        "stack_mongodb_absent_users": [APP],
        "stack_mongodb_uri_user_id": "node",
    }
    wrong = run(("main", contradictions))
    assert wrong.code != 0 and wrong.output.count("\\n- ") >= 3 and site.state() == {}


def test_a_command_has_the_last_word(site: Site, run: Callable[..., Run]) -> None:
    """As mongod would: it sees the file as its user."""
    look = ["sh", "-c", "stat -c %u:%a {}/mongod.conf; grep -q rs0 {}/mongod.conf || { echo no set; exit 3; }"]
    refused = run(("main", {"stack_mongodb_validate_command": look, "stack_mongodb_replica_set": ""}))
    assert refused.code != 0 and "exits with 3: 999:400" in refused.output and "no set" in refused.output
    assert site.state() == {}
    assert run(("main", {"stack_mongodb_validate_command": look})).code == 0


# -- users -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def image_start(site: Site, **options: Any) -> Iterator[MongoDB]:
    """A first start as the image does it: the superuser is made in an init phase, in which nobody can connect; then
    mongod starts with mongod.conf."""
    with started(site, superuser=(ROOT_USER, site.secrets / "mongodb_root_password"), **options) as server:
        yield server


@contextlib.contextmanager
def started(site: Site, **options: Any) -> Iterator[MongoDB]:
    """A start with mongod.conf, of which SecantusDB can do this much; where there is none, with what it would say."""
    config = site.config if site.etc.exists() else site.usual
    is_secure = config["net"]["tls"]["mode"] == "requireTLS"
    usual: Json = {
        "authorization": config["security"]["authorization"] == "enabled",
        "pem": site.tls / "mongodb.pem" if is_secure else "",
        "authority": site.tls / "ca.crt" if is_secure else "",
        "replica_set": config["replication"]["replSetName"],
        "localhost_exception": config["setParameter"]["enableLocalhostAuthBypass"],
        "iterations": config["setParameter"]["scramSHA256IterationCount"],
        "port": config["net"]["port"],
    }
    with MongoDB(site.folder / "data", **{**usual, **options}) as server:
        yield server


def login(site: Site, server: MongoDB, user: str, password: str) -> Any:
    """A client that has logged in."""
    client = server.client(user, password, tls=True, tlsCAFile=str(site.tls / "ca.crt"))
    try:
        client.admin.command("connectionStatus")
    except PyMongoError:
        client.close()
        raise
    return client


def code_of(call: Callable[[], Any]) -> int | None:
    """The code of the error that a call gives."""
    with pytest.raises(OperationFailure) as refused:
        call()
    return refused.value.code


def test_a_fresh_install_comes_up_closed(site: Site, run: Callable[..., Run]) -> None:
    assert run("main").code == 0
    said = dict(judge.settings_of(site.config))
    assert dict(judge.settings_of(site.usual)).items() <= said.items()
    assert site.usual["setParameter"].items() <= site.config["setParameter"].items()
    with image_start(site) as server:
        foreseen = run("users", arguments=["--check"])
        assert foreseen.code == 0 and foreseen.recap["changed"] == 1
        done = run("users", "users", arguments=["--diff"])
        assert done.code == 0 and done.recap["changed"] == 1, done.output
        assert not [text for text in secret_texts() if text in done.output]
        # what HyperDX does with its connection string
        with MongoClient(site.uri, serverSelectionTimeoutMS=5000) as hyperdx:
            assert hyperdx.get_default_database().name == APP
            hyperdx.hyperdx.teams.insert_one({"name": "first"})
            assert hyperdx.hyperdx.teams.count_documents({}) == 1
            assert code_of(lambda: hyperdx.other.things.insert_one({})) == 13
            assert code_of(lambda: hyperdx.admin.command({"usersInfo": 1})) == 13
            assert code_of(lambda: hyperdx.admin.command("createUser", "x", pwd="x", roles=[])) == 13
        # the administrator makes users, and reads no data
        with login(site, server, ADMIN, PASSWORDS["mongodb_admin_password"]) as admin:
            users = {user["user"]: user for user in admin.admin.command({"usersInfo": 1})["users"]}
            assert set(users) == {ROOT_USER, ADMIN, APP}
            assert users[APP]["roles"] == [{"role": "readWrite", "db": APP}]
            assert all(user["mechanisms"] == ["SCRAM-SHA-256"] for user in users.values())
            assert code_of(admin.hyperdx.teams.find_one) == 13
            shown = admin.admin.command(
                {"usersInfo": {"user": APP, "db": "admin"}, "showAuthenticationRestrictions": True}
            )
            assert shown["users"][0]["authenticationRestrictions"] == [{"clientSource": ["127.0.0.1/32"]}]
        # nobody else is let in, and nothing in plain text
        with server.client(tls=True, tlsCAFile=str(site.tls / "ca.crt")) as nobody:
            assert code_of(lambda: nobody.admin.command({"usersInfo": 1})) == 13
        with server.client(serverSelectionTimeoutMS=500) as plain, pytest.raises(PyMongoError):
            plain.admin.command("ping")


def test_a_changed_password_role_or_address_is_noticed_and_nothing_else(site: Site, run: Callable[..., Run]) -> None:
    app, root = "another " + secrets.token_hex(4), "a new root " + secrets.token_hex(4)
    with image_start(site) as server:
        assert run("users").recap["changed"] == 1
        site.write_secret("mongodb_app_password", app)
        away = {"stack_mongodb_app_client_source": ["127.0.0.9", "10.0.0.0/8"]}
        changed = run("users", "users", ("users", away), ("users", away), arguments=["-v"])
        assert changed.code == 0 and changed.recap["changed"] == 2, changed.output
        assert '"updated": ["hyperdx@admin"]' in changed.output and '"created": []' in changed.output
        assert app not in changed.output
        # from 127.0.0.1 the right password is told what a wrong one is told
        assert code_of(lambda: login(site, server, APP, app)) == 18
        back = run(("users", {"stack_mongodb_scram_iterations": 15000}))
        assert back.recap["changed"] == 1
        login(site, server, APP, app).close()
        assert code_of(lambda: login(site, server, APP, PASSWORDS["mongodb_app_password"])) == 18
        # each of administrator and root is the other's way back; not if both are lost
        site.write_secret("mongodb_admin_password", "rotated by root")
        site.write_secret("mongodb_app_password", app)
        assert run("users", "users").recap["changed"] == 1
        site.write_secret("mongodb_root_password", root)
        assert run("users", "users").recap["changed"] == 1
        login(site, server, ROOT_USER, root).close()
        site.write_secret("mongodb_root_password", "lost")
        site.write_secret("mongodb_admin_password", "lost too")
        lost = run("users")
        assert lost.code != 0 and f"takes none of {ADMIN}, {ROOT_USER}" in lost.output
        assert "sees this host as 127.0.0.1" in lost.output


def test_lockouts_and_servers_that_are_not_as_said_are_refused(site: Site, run: Callable[..., Run]) -> None:
    with image_start(site) as server:
        wrong = [
            ("users", {"stack_mongodb_version": "7.0"}),
            ("users", {"stack_mongodb_admin_client_source": ["172.30.81.1"]}),
            ("users", {"stack_mongodb_replica_set": "rs1"}),
            ("users", {"stack_mongodb_members": [f"localhost:{site.port}", "other:27017"]}),
        ]
        refused = run(*wrong, keeps_going=True)
        assert refused.recap["ignored"] == 4 and refused.recap["changed"] == 1, refused.output  # the replica set
        for text in (
            "MongoDB 8.0.16 runs here, but stack_mongodb_version is 7.0",
            "could no longer log in from here, which is 127.0.0.1",
            "of the replica set rs0, not of rs1",
            "Add or remove one at a time",
        ):
            assert text in refused.output.replace("\n", " "), text
        with login(site, server, ROOT_USER, PASSWORDS["mongodb_root_password"]) as root:
            assert [user["user"] for user in root.admin.command({"usersInfo": 1})["users"]] == [ROOT_USER]
        # root goes, and the application's former user; their passwords need not be there any more
        gone = {
            "stack_mongodb_root": "absent",
            "stack_mongodb_app_user": "hyperdx_b",
            "stack_mongodb_absent_users": [APP],
        }
        assert run("users", ("users", gone)).recap["changed"] == 2
        (site.secrets / "mongodb_root_password").unlink()
        assert run(("users", gone)).recap["changed"] == 0
        with login(site, server, ADMIN, PASSWORDS["mongodb_admin_password"]) as admin:
            users = {user["user"] for user in admin.admin.command({"usersInfo": 1})["users"]}
            assert users == {ADMIN, "hyperdx_b"}


def test_data_without_users_is_taken_over(site: Site, run: Callable[..., Run]) -> None:
    """Upstream's MongoDB has no users: they are made before it asks for them, without the localhost exception."""
    upstream = {"stack_mongodb_tls": False, "stack_mongodb_replica_set": ""}
    with MongoDB(site.folder / "data", authorization=False, port=site.port, localhost_exception=True) as server:
        with server.client() as hyperdx:
            hyperdx.hyperdx.teams.insert_one({"name": "from before"})
        users = run(("users", upstream), ("users", upstream))
        assert users.code == 0 and users.recap["changed"] == 1, users.output
        assert "asks nobody for a login yet" in users.output and "localhost exception is on" in users.output
    assert run("main").code == 0
    with started(site):
        assert run("users", "users").recap["changed"] == 1  # the replica set
        with MongoClient(site.uri, serverSelectionTimeoutMS=5000) as hyperdx:
            assert hyperdx.hyperdx.teams.find_one()["name"] == "from before"


def test_a_renewed_certificate_is_read_without_a_restart(site: Site, run: Callable[..., Run]) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", site.port))

    with image_start(site) as server:
        assert run("users", "certificates").recap["changed"] == 1  # the users
        connected = login(site, server, ADMIN, PASSWORDS["mongodb_admin_password"])
        first = shown()
        site.certify("renewed", names=("localhost",))
        assert run("certificates", arguments=["--check"]).recap["changed"] == 1 and shown() == first
        renewed = run("certificates", "certificates")
        assert renewed.code == 0 and renewed.recap["changed"] == 1, renewed.output
        assert shown() != first and shown() in (site.tls / "mongodb.pem").read_text()
        connected.admin.command({"usersInfo": 1})
        connected.close()
        # a key that does not fit: mongod keeps what it has, and says so
        shutil.copy(site.authority.ca, site.folder / "foreign.pem")
        certificate = site.authority.issue("again", ("localhost",), ("127.0.0.1",), both=True)[0].read_text()
        key = site.authority.issue("foreign")[1].read_text()
        site.place("mongodb.pem", key + certificate)
        refused = run("certificates")
        assert refused.code != 0 and "Unable to rotate certificates" in refused.output


class HyperDX:
    """A client that logs in all the time with what its connection string says at that moment."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.logins = 0
        self.refused: list[str] = []

    def _work(self) -> None:
        while not self._ended.wait(0.1):
            try:
                with MongoClient(self._site.uri, serverSelectionTimeoutMS=5000) as client:
                    client.hyperdx.teams.find_one()
                self.logins += 1
            except PyMongoError as error:
                self.refused.append(str(error))

    def __enter__(self) -> HyperDX:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(30)


def test_the_application_s_password_is_rotated_by_a_second_user_and_no_login_is_refused(
    site: Site, run: Callable[..., Run]
) -> None:
    """Database first, then the client, then the database forgets the old one: as the role's README says."""
    second = {
        "stack_mongodb_app_user": "hyperdx_2",
        "stack_mongodb_app_password_file": str(site.secrets / "mongodb_app_password_2"),
    }
    assert run("main").code == 0
    with image_start(site) as server:
        assert run("users").code == 0
        site.write_secret("mongodb_app_password_2", "the second one " + secrets.token_hex(8))
        before = site.uri
        with HyperDX(site) as hyperdx:
            for step in (
                ("users", second),
                ("main", second),
                ("users", {**second, "stack_mongodb_absent_users": [APP]}),
            ):
                done = run(step)
                assert done.code == 0 and done.recap["changed"] == 1, done.output
        assert (hyperdx.refused, hyperdx.logins > 10) == ([], True)
        assert "hyperdx_2" in site.uri and site.uri != before
        assert code_of(lambda: login(site, server, APP, PASSWORDS["mongodb_app_password"])) == 18


def test_the_playbook_rotates_through_the_role(site: Site, run: Callable[..., Run], tmp_path: Path) -> None:
    """Administrator, root and application, each by hardened.clickstack.rotate, with this role telling the server."""
    variables = {
        **site.variables,
        "stack_secrets_directory": str(site.secrets),
        "rotate_hosts": "localhost",
        "rotate_become": False,
        "rotate_accept_interruption": True,
    }
    roles = {
        "mongodb_admin_password": ["hardened.clickstack.stack_mongodb:users"],
        "mongodb_root_password": ["hardened.clickstack.stack_mongodb:users"],
        "mongodb_app_password": ["hardened.clickstack.stack_mongodb:users", "hardened.clickstack.stack_mongodb"],
    }
    playbook = yaml.safe_load((ROOT / "playbooks/rotate.yml").read_text())
    assert playbook[0]["vars"]["__rotate_roles"].items() >= roles.items(), "what the playbook does by default"
    # the form in which stack_secrets makes them
    for name in roles:
        site.write_secret(name, secrets.token_hex(16))
    assert run("main").code == 0
    with image_start(site) as server:
        assert run("users").code == 0
        for name, users in zip(roles, (ADMIN, ROOT_USER, APP), strict=True):
            old = (site.secrets / name).read_text().strip()
            # without the last step of the default, which is stack_compose
            given = {**variables, "rotate": name, "rotate_apply_roles": roles[name]}
            done = run_playbook("hardened.clickstack.rotate", "-e", json.dumps(given), "--diff", folder=tmp_path)
            assert done.code == 0, done.output
            new = (site.secrets / name).read_text().strip()
            assert new != old and new not in done.output and old not in done.output
            login(site, server, users, new).close()
            assert code_of(lambda user=users, password=old: login(site, server, user, password)) == 18
            assert not [*site.secrets.glob("*.next"), *site.secrets.glob("*.previous")]
        with MongoClient(site.uri, serverSelectionTimeoutMS=5000) as hyperdx:
            hyperdx.hyperdx.teams.find_one()
        assert run("main", "users").recap["changed"] == 0


def test_the_examples_of_the_modules_run(site: Site, tmp_path: Path) -> None:
    """With this machine's paths and addresses."""
    text = "\n".join(module.EXAMPLES for module in (stack_mongodb_config, stack_mongodb_server))
    for there, here in (
        ("/opt/clickstack/tls/mongodb", str(site.tls)),
        ("/opt/clickstack", str(site.folder)),
        ("host: 172.30.81.13", f"host: 127.0.0.1\n    port: {site.port}"),
    ):
        assert there in text
        text = text.replace(there, here)
    tasks = yaml.safe_load(text)
    assert len(tasks) == 2
    with image_start(site, replica_set=""):
        plays = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        done = run_playbook(plays, folder=tmp_path)
    assert done.code == 0 and done.recap["changed"] == 2, done.output


@pytest.mark.skipif("MONGODB_URL" not in os.environ, reason="MONGODB_URL names no MongoDB")
def test_users_in_a_real_mongodb(site: Site, run: Callable[..., Run]) -> None:
    """mongodb://superuser:password@host:port/?tls=true&tlsCAFile=...; the users are removed again."""
    url = urllib.parse.urlsplit(os.environ["MONGODB_URL"])
    options = dict(urllib.parse.parse_qsl(url.query))
    with MongoClient(os.environ["MONGODB_URL"], directConnection=True) as client:
        version, here = client.server_info()["version"], client.admin.command("whatsmyuri")["you"].rpartition(":")[0]
    site.write_secret("mongodb_root_password", urllib.parse.unquote(url.password or ""))
    if "tlsCAFile" in options:
        site.place("ca.crt", Path(options["tlsCAFile"]).read_text(), mode=0o444)
    admin, app = f"admin_{secrets.token_hex(4)}", f"app_{secrets.token_hex(4)}"
    variables = {
        "stack_mongodb_version": version,
        "stack_mongodb_login_host": url.hostname,
        "stack_mongodb_login_port": url.port or 27017,
        "stack_mongodb_tls": options.get("tls") == "true",
        "stack_mongodb_replica_set": "",
        "stack_mongodb_root": "unmanaged",
        "stack_mongodb_root_user": urllib.parse.unquote(url.username or ""),
        "stack_mongodb_admin_user": admin,
        "stack_mongodb_app_user": app,
        "stack_mongodb_admin_client_source": [here.strip("[]")],
        "stack_mongodb_app_client_source": ["192.0.2.1"],
    }
    try:
        made = run(("users", variables), ("users", variables))
        assert made.code == 0 and made.recap["changed"] == 1, made.output
        site.write_secret("mongodb_app_password", "another " + secrets.token_hex(4))
        changed = run(("users", variables), ("users", variables))
        assert changed.code == 0 and changed.recap["changed"] == 1, changed.output
    finally:
        with MongoClient(os.environ["MONGODB_URL"], directConnection=True) as client:
            for name in (admin, app):
                with contextlib.suppress(OperationFailure):
                    client.admin.command("dropUser", name)
