"""hardened.clickstack.rotate: secrets are rotated while a client that reads its file logs in all the time.

The order is what is shown: the database learns the new password, then the client, then the database forgets the old.
A run that is killed before any of its steps is completed by the next.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.playbook import Run, killer, run_playbook
from tests.sandbox import Sandbox, ServerSaid, start

from .servers import NEWEST, VERSIONS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the role gives files to the users of the containers")
USERS = {
    "clickhouse_admin_password": "clickstack_admin",
    "otel_clickhouse_password": "otel_ingest",
    "clickhouse_reader_password": "hyperdx",
}
STEPS = (
    "ClickHouse accepts the old and the new passwords",
    "Promote the new secrets",
    "ClickHouse forgets the old passwords",
    "Retire the old secrets",
)
"""The steps of the playbook before which a run is killed, in order."""


class Stack:
    """A ClickHouse whose users have the passwords that are in files, and how its secrets are rotated."""

    def __init__(self, server: Sandbox, folder: Path) -> None:
        self.server, self.folder, self.secrets = server, folder, folder / "secrets"
        self.variables = {
            "rotate_hosts": "localhost",
            "rotate_become": False,
            "rotate_apply_roles": [],
            "stack_secrets_directory": str(self.secrets),
            "stack_access_login_host": "localhost",
            "stack_access_login_port": server.https_port,
            "stack_access_login_ca_cert": str(server.ca),
        }
        # what stands for a service that is restarted: it reads its secret
        self.client_tasks = str(folder / "client.yml")
        (folder / "client.yml").write_text(
            "- name: The client reads its secret\n"
            "  ansible.builtin.copy:\n"
            "    src: '{{ stack_secrets_directory }}/{{ __rotate_names[0] }}'\n"
            f"    dest: {folder}/client\n"
            "    mode: '0400'\n"
            "  no_log: true\n"
        )
        self.environment = {
            **killer(folder),
            "ANSIBLE_PIPELINING": "true",
        }

    def password(self, name: str) -> str:
        """What the file holds."""
        return (self.secrets / name).read_text()

    def hides_its_secrets(self, run: Run, others: dict[str, str]) -> None:
        """No secret is in what the run printed, as it is or in base64, as Ansible brings files along."""
        secrets = {path.read_text().strip() for path in self.secrets.iterdir()} | set(others.values())
        encoded = {base64.b64encode(secret.encode()).decode() for secret in secrets}
        assert not [secret for secret in secrets | encoded if secret in run.output]

    def accepts(self, name: str, password: str) -> bool:
        """Whether ClickHouse lets the secret's user in with this password."""
        try:
            return self.server.secure_session(USERS[name], password).query("SELECT 1") == "1\n"
        except ServerSaid as said:
            assert said.code in (194, 516), said
            return False

    def rotate(self, names: str, *arguments: str, kill: str = "", **variables: Any) -> Run:
        """Run the playbook, until it comes to the step `kill`."""
        given = json.dumps({**self.variables, "rotate": names, **variables})
        environment = {**self.environment, **({"KILL_BEFORE": kill} if kill else {})}
        return run_playbook("hardened.clickstack.rotate", "-e", given, *arguments, folder=self.folder, **environment)


class Client:
    """A service that reads its password from the file whenever it logs in, which it does all the time."""

    def __init__(self, stack: Stack, names: list[str]) -> None:
        self._stack, self._names = stack, names
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.logins = 0
        self.refused: list[str] = []

    def _work(self) -> None:
        while not self._ended.is_set():
            for name in self._names:
                if self._stack.accepts(name, self._stack.password(name)):
                    self.logins += 1
                else:
                    self.refused.append(name)
            time.sleep(0.1)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture(params=VERSIONS)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """The stack after its installation: secrets are made, and the users have them."""
    with start(request.param, tls=True) as server:
        stack = Stack(server, tmp_path)
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"stack_secrets_directory": str(stack.secrets)},
            "roles": ["hardened.clickstack.stack_secrets"],
        }
        made = run_playbook([play], folder=tmp_path)
        assert made.code == 0, made.output
        admin = server.session()
        for name, user in USERS.items():
            admin.query(f"CREATE USER {user} IDENTIFIED WITH sha256_password BY '{stack.password(name)}'")
        admin.query("GRANT ALL ON *.* TO clickstack_admin WITH GRANT OPTION")
        yield stack


def on(versions: list[str], fallback: str, reason: str) -> pytest.MarkDecorator:
    """Run a test on these versions, or show that it was left out."""
    shown = [pytest.param(fallback, marks=pytest.mark.skip(reason=reason))]
    return pytest.mark.parametrize("stack", versions or shown, indirect=True)


# ClickHouse's own server, of a version that knows several passwords
several_passwords = on([version for version in VERSIONS if version == "25.8"], "25.8", "runs on 25.8")
one_password = on([version for version in VERSIONS if version == "24.8"], "24.8", "runs on 24.8")
# what does not depend on the version, because real playbooks cost seconds
on_newest = on([version for version in VERSIONS if version == NEWEST], NEWEST, "runs on the newest version")


@several_passwords
def test_no_login_is_refused_and_a_killed_run_is_completed(stack: Stack) -> None:
    """Killed before every step, one after the other; the last run ends the rotation that the first began."""
    names = ["clickhouse_admin_password", "otel_clickhouse_password"]
    old = {name: stack.password(name) for name in names}
    accepted = []
    with Client(stack, names) as client:
        for step in STEPS:
            run = stack.rotate(",".join(names), "--diff", "-vvv", kill=step, rotate_client_tasks=stack.client_tasks)
            assert run.code == -signal.SIGKILL, run.output
            stack.hides_its_secrets(run, old)
            now = {name: stack.password(name) for name in names}
            staged = {path.name for path in stack.secrets.glob("*.next")}
            kept = {path.name for path in stack.secrets.glob("*.previous")}
            accepted.append((now == old, len(staged), len(kept), all(stack.accepts(name, old[name]) for name in names)))
        # database first, then the client, then the database forgets the old
        assert accepted == [(True, 2, 0, True), (True, 2, 0, True), (False, 0, 2, True), (False, 0, 2, False)]
        run = stack.rotate(",".join(names), rotate_client_tasks=stack.client_tasks)
        assert run.code == 0, run.output
    assert (client.refused, client.logins > 50) == ([], True)
    for name in names:
        assert stack.password(name) != old[name]
        assert stack.accepts(name, stack.password(name)) and not stack.accepts(name, old[name])
    assert not [*stack.secrets.glob("*.next"), *stack.secrets.glob("*.previous")]


@on_newest
def test_the_client_sees_the_wrong_order(stack: Stack) -> None:
    """What the other tests rely on: a password that the database forgets too early is a refused login."""
    with Client(stack, ["otel_clickhouse_password"]) as client:
        stack.server.session().query("ALTER USER otel_ingest IDENTIFIED WITH sha256_password BY 'too early too early'")
        end = time.monotonic() + 30
        while not client.refused and time.monotonic() < end:
            time.sleep(0.05)
    assert client.refused


@on_newest
def test_hyperdx_s_password_stays_valid_until_hyperdx_has_the_new_one(stack: Stack) -> None:
    """HyperDX keeps it in its database, so the run stops while both are valid, and says so; the next one ends it."""
    name = "clickhouse_reader_password"
    old = stack.password(name)
    run = stack.rotate(name, "--check")
    assert (run.code, run.recap["changed"], stack.password(name)) == (0, 1, old), run.output
    run = stack.rotate(name)
    assert run.code == 0 and "Old and new are valid now" in run.output, run.output
    new = stack.password(name)
    assert new != old and stack.accepts(name, new) and stack.accepts(name, old)
    run = stack.rotate(name, rotate_finish=True)
    assert run.code == 0, run.output
    assert stack.password(name) == new and stack.accepts(name, new) and not stack.accepts(name, old)


@on_newest
def test_a_declared_password_is_rotated_to_the_new_one(stack: Stack) -> None:
    """What a vault says now; the same again is refused, because there is nothing to rotate to."""
    name, new = "otel_clickhouse_password", "declared in the vault"
    run = stack.rotate(name, stack_secrets_values={name: new})
    assert run.code == 0 and new not in run.output, run.output
    assert stack.password(name) == new and stack.accepts(name, new)
    run = stack.rotate(name, stack_secrets_values={name: new})
    assert run.code != 0 and "the declared value is the one that is in use" in run.output


@on_newest
def test_what_cannot_be_rotated_is_refused_before_anything_changes(stack: Stack) -> None:
    """A key whose loss is the data's, a secret this playbook has no way for, a name that is none, a wrong login."""
    before = {path.name: path.read_text() for path in stack.secrets.iterdir()}
    anything = {"rotate_server_tasks": stack.client_tasks}
    keys = "clickhouse_disk_key,clickhouse_named_collections_key"
    for names, variables, reasons in (
        (keys, anything, ("can be read with it alone", "one key for all named collections")),
        (
            "grafana,mongodb_app_password,mongodb_keyfile,otlp_auth_token,mongodb_admin_password,mongodb_root_password",
            {},
            (
                "cannot tell the server of grafana.",
                "or use a second user",
                "each is set by the user of the other",
                "refuses senders until each has the new one",
                "MongoDB restarts once with another mongodb_keyfile or mongodb_root_password",
            ),
        ),
        ("no_such_secret", anything, ("there is no secret no_such_secret",)),
        (
            "otel_clickhouse_password",
            {"rotate_clickhouse_login": {"login_password": "another"}},
            ("Ask ClickHouse for its version, as the administrator", "Status code was 40"),
        ),
    ):
        run = stack.rotate(names, **variables)
        said = " ".join(run.output.split())
        assert run.code != 0 and all(reason in said for reason in reasons), run.output
    assert {path.name: path.read_text() for path in stack.secrets.iterdir()} == before


@on_newest
def test_roles_are_run_with_the_new_secret_before_the_clients(stack: Stack) -> None:
    """Those that the playbook is told, by role and entry point, in their order; here they write down what they find."""
    name = "mongodb_admin_password"
    tasks = stack.folder / "roles" / "scribe" / "tasks"
    tasks.mkdir(parents=True)
    for entry in ("main", "users"):
        (tasks / f"{entry}.yml").write_text(
            "- name: Write down the secret\n"
            "  ansible.builtin.shell:\n"
            f"    cmd: (echo {entry}; cat {stack.secrets / name}; echo) >> {stack.folder}/scribe\n"
        )
    stack.environment["ANSIBLE_ROLES_PATH"] = str(stack.folder / "roles")
    old = stack.password(name)
    run = stack.rotate(name, rotate_apply_roles=["scribe:users", "scribe"], rotate_client_tasks=stack.client_tasks)
    assert run.code == 0, run.output
    new = stack.password(name)
    assert new != old and (stack.folder / "scribe").read_text() == f"users\n{new}\nmain\n{new}\n"


@on_newest
def test_what_clickhouse_does_not_know_is_rotated_by_files_and_restart(stack: Stack) -> None:
    """The session secret: promoted, its service restarted, and people are told that they sign in again."""
    name = "express_session_secret"
    old = stack.password(name)
    run = stack.rotate(name, rotate_client_tasks=stack.client_tasks)
    assert run.code == 0 and "everybody signs in again" in run.output, run.output
    assert stack.password(name) != old
    assert (stack.folder / "client").read_text() == stack.password(name)


@one_password
def test_before_24_9_an_interruption_is_asked_for(stack: Stack) -> None:
    """One password for each user: refused, or with a moment in which the client is; the administrator's own never."""
    name = "otel_clickhouse_password"
    old = stack.password(name)
    run = stack.rotate(name)
    assert run.code != 0 and "knows one password for each user" in run.output, run.output
    assert stack.password(name) == old and not (stack.secrets / f"{name}.next").exists()
    run = stack.rotate("clickhouse_admin_password", rotate_accept_interruption=True)
    assert run.code != 0 and "stack_access_bootstrap_user" in run.output, run.output
    for kill in ("Promote the new secrets", "Retire the old secrets", ""):
        run = stack.rotate(name, kill=kill, rotate_accept_interruption=True)
        assert run.code == (-signal.SIGKILL if kill else 0), run.output
    assert stack.password(name) != old
    assert stack.accepts(name, stack.password(name)) and not stack.accepts(name, old)
