"""How the integration tests run what users run: modules with their real main(), and real playbooks.

`module` runs a module in this process, for the many small cases; `playbook` runs ansible-playbook on the installed
collection. Both talk to the server of the `clickhouse` fixture: the sandbox in every version, or CLICKHOUSE_URL.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident
from tests.playbook import Run, run_playbook

if TYPE_CHECKING:
    from tests.sandbox import Client

MODULES = "ansible_collections.hardened.clickstack.plugins.modules"


class Failed(Exception):
    """A module that failed; `result` is what it said."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


@pytest.fixture(scope="session")
def login(clickhouse: Any) -> dict[str, Any]:
    """The login_* options for the administrator of the server under test: the shipped `default`, over TLS."""
    if "CLICKHOUSE_URL" not in os.environ:
        return {"login_host": "localhost", "login_port": clickhouse.https_port, "login_ca_cert": clickhouse.ca}
    options = {
        "login_host": clickhouse.host,
        "login_port": clickhouse.port,
        "login_secure": clickhouse.secure,
        "login_user": clickhouse.user,
        "login_password": clickhouse.password,
    }
    return {**options, "login_ca_cert": clickhouse.ca} if clickhouse.ca else options


@pytest.fixture(scope="session")
def version(clickhouse: Any) -> tuple[int, int]:
    """Major and minor version of the server under test."""
    major, minor = clickhouse.version.split(".")[:2]
    return int(major), int(minor)


@pytest.fixture(scope="session")
def admin(clickhouse: Any) -> Client:
    """The administrator's own client, to look at the server without the modules."""
    return clickhouse.session(getattr(clickhouse, "user", "default"), getattr(clickhouse, "password", ""))


class Scratch:
    """The entities of one test, dropped when it ends: `reserve` only notes a name, `make` creates the entity."""

    def __init__(self, admin: Client) -> None:
        self._admin = admin
        self._entities: dict[tuple[str, str], None] = {}

    def reserve(self, kind: str, name: str) -> str:
        """Note a name of a `user`, `role` or `settings_profile`; what is there is dropped first."""
        self._entities[kind, name] = None
        self._drop(kind, name)
        return name

    def make(self, kind: str, name: str, clauses: str = "") -> str:
        """Create the entity, with clauses of SQL if there are any."""
        self.reserve(kind, name)
        self._admin.query(f"CREATE {kind.replace('_', ' ')} {ident(name)} {clauses}")
        return name

    def drop_all(self) -> None:
        """Drop what was made."""
        for kind, name in self._entities:
            self._drop(kind, name)

    def _drop(self, kind: str, name: str) -> None:
        self._admin.query(f"DROP {kind.replace('_', ' ')} IF EXISTS {ident(name)}")


@pytest.fixture
def scratch(admin: Client) -> Iterator[Scratch]:
    """Names that this test may use as it likes."""
    own = Scratch(admin)
    yield own
    own.drop_all()


@pytest.fixture
def module(login: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run a module: `module("user", {...}, check=True)`; raises `Failed`."""

    def run(name: str, options: dict[str, Any], check: bool = False, **other_login: Any) -> dict[str, Any]:
        arguments = {**login, **other_login, **options, "_ansible_check_mode": check, "_ansible_diff": True}
        capsys.readouterr()
        warnings._global_warnings.clear()  # those of the runs before, which had a process of their own in a play
        with patch_module_args(arguments), pytest.raises(SystemExit) as end:
            importlib.import_module(f"{MODULES}.clickhouse_{name}").main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        if end.value.code:
            raise Failed(result)
        return result

    return run


@pytest.fixture
def failed(module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Run a module that must fail, without a traceback, and return what it said."""

    def run(name: str, options: dict[str, Any], check: bool = False, **login: Any) -> dict[str, Any]:
        with pytest.raises(Failed) as caught:
            module(name, options, check=check, **login)
        assert "Traceback" not in json.dumps(caught.value.result)
        return caught.value.result

    return run


@pytest.fixture
def converges(module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Check, apply, apply again: the prediction is the truth, and the second run finds nothing to do."""

    def run(name: str, options: dict[str, Any], changed: bool = True, **login: Any) -> dict[str, Any]:
        predicted = module(name, options, check=True, **login)
        applied = module(name, options, **login)
        again = module(name, options, **login)
        assert predicted["changed"] is applied["changed"] is changed, applied
        assert again["changed"] is False, again["statements"]
        assert predicted["diff"] == applied["diff"]
        assert predicted["statements"] == applied["statements"]
        assert again["statements"] == []
        assert _without_marks(applied["entity"]) == again["entity"]
        assert again["diff"]["before"] == again["diff"]["after"]
        return applied

    return run


def _without_marks(entity: dict[str, Any]) -> dict[str, Any]:
    """A password that was set reads as new in the diff of that run only."""
    return json.loads(json.dumps(entity).replace("[HIDDEN] (new)", "[HIDDEN]"))


@pytest.fixture
def playbook(login: dict[str, Any], tmp_path: Path) -> Callable[..., Run]:
    """Run ansible-playbook: on a list of plays, or on a playbook's name; the connection comes from the environment."""

    def run(plays: list[dict[str, Any]] | str, *arguments: str, **environment: str) -> Run:
        connection = {f"CLICKHOUSE_{key[len('login_') :].upper()}": str(value) for key, value in login.items()}
        return run_playbook(plays, *arguments, folder=tmp_path, **{**connection, **environment})

    return run
