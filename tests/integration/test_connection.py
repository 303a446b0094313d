"""How the modules reach a server: TLS verified unless told otherwise, certificates, environment, and clear errors."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import PASSWORD, administrator, on_newest, root, tls_relay
from tests.sandbox.certificates import Authority

Module = Callable[..., dict[str, Any]]
LOOK = {"name": "nobody has this name", "state": "absent"}
"""The options of a task that has nothing to do."""


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_only_a_trusted_server_of_the_right_name_is_spoken_to(
    module: Module, failed: Any, clickhouse: Any, tmp_path: Path
) -> None:
    """The password goes to no server whose certificate is unknown or names somebody else, unless that is asked for."""
    here = {"login_host": "localhost"}
    module("user", LOOK, **here)
    unknown = failed("user", LOOK, **here, login_ca_cert=None)
    assert (
        "CERTIFICATE_VERIFY_FAILED" in unknown["msg"] and f"https://localhost:{clickhouse.https_port}" in unknown["msg"]
    )
    module("user", LOOK, **here, login_ca_cert=None, login_validate_certs=False)
    authority = Authority(tmp_path)
    other = {"login_ca_cert": str(authority.ca)}
    assert "CERTIFICATE_VERIFY_FAILED" in failed("user", LOOK, **here, **other)["msg"]

    internal = authority.issue("clickhouse.internal", ("clickhouse.internal",), server=True)
    with tls_relay(clickhouse.port, internal) as port:
        tunnel = {**here, **other, "login_port": port}
        wrong = failed("user", LOOK, **tunnel)
        assert "CERTIFICATE_VERIFY_FAILED" in wrong["msg"] or "doesn't match" in wrong["msg"]
        module("user", LOOK, **tunnel, login_server_host_name="clickhouse.internal")
        failed("user", LOOK, **tunnel, login_server_host_name="elsewhere.internal")
        module("user", LOOK, **tunnel, login_validate_certs=False)


def test_a_client_certificate_logs_in_without_a_password(
    module: Module, failed: Any, clickhouse: Any, tmp_path: Path
) -> None:
    """A user made with ssl_certificate is who presents it, and nobody else; with a password the password decides."""
    certificate, key = clickhouse.authority.issue("con certified", uris=("spiffe://example/certified",))
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    client = root(clickhouse)
    client.query("DROP USER IF EXISTS con_certified, con_certain")
    module(
        "user",
        {"name": "con_certified", "authentication": [{"type": "ssl_certificate", "common_names": ["con certified"]}]},
    )
    module("grant", {"grantee": "con_certified", "privileges": [{"privilege": ["ALL"], "scope": ["*.*"]}]})
    login = {"login_user": "con_certified", "login_client_cert": str(certificate), "login_client_key": str(key)}
    module("user", LOOK, **login)
    module("user", LOOK, login_user="con_certified", login_client_cert=str(both))
    own = failed("user", {"name": "con_certified", "state": "absent"}, **login)
    assert "allow_lockout" in own["msg"], "it is not con_certified who is logged in"
    assert failed("user", LOOK, login_user="con_certified")["code"] == 516
    other, other_key = clickhouse.authority.issue("con other")
    stranger = {"login_client_cert": str(other), "login_client_key": str(other_key)}
    refused = failed("user", LOOK, login_user="con_certified", **stranger)
    assert "con_certified" in refused["msg"] and refused["code"] == 516
    password = administrator(clickhouse, "con_certain", "GRANT ALL ON *.* TO {}")
    module("user", LOOK, **{**login, **password})
    client.query("DROP USER con_certified, con_certain")


VARIABLES = {
    "CLICKHOUSE_HOST": ("no-such-host.invalid", "https://no-such-host.invalid:"),
    "CLICKHOUSE_PORT": ("1", "https://localhost:1 as"),
    "CLICKHOUSE_USER": ("con_nobody", "as 'con_nobody'"),
    "CLICKHOUSE_PASSWORD": ("con wrong", "516"),
    "CLICKHOUSE_SECURE": ("false", "login_ca_cert: needs login_secure"),
    "CLICKHOUSE_VALIDATE_CERTS": ("perhaps", "login_validate_certs"),
    "CLICKHOUSE_CA_CERT": ("/no/such/ca.pem", "cannot read file /no/such/ca.pem"),
    "CLICKHOUSE_CLIENT_CERT": ("/no/such/client.pem", "cannot read file /no/such/client.pem"),
    "CLICKHOUSE_CLIENT_KEY": ("/dev/null", "needs login_client_cert"),
    "CLICKHOUSE_SERVER_HOST_NAME": ("elsewhere.internal", "elsewhere.internal"),
    "CLICKHOUSE_CONNECT_TIMEOUT": ("soon", "login_connect_timeout"),
    "CLICKHOUSE_TIMEOUT": ("later", "login_timeout"),
}
"""Each variable with a value that must make the task fail, and what the error then says."""


@pytest.mark.usefixtures("no_login")
def test_every_login_option_can_come_from_the_environment(
    failed: Any, module: Module, clickhouse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right values let the module in; then each by itself, wrong, is seen; and an option wins over its variable."""
    from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.runner import LOGIN_OPTIONS

    assert set(VARIABLES) == {option["fallback"][1][0] for option in LOGIN_OPTIONS.values()}
    user = administrator(clickhouse, "con_environment", "GRANT ALL ON *.* TO {}")
    right = {
        "CLICKHOUSE_HOST": "localhost",
        "CLICKHOUSE_PORT": str(clickhouse.https_port),
        "CLICKHOUSE_USER": "con_environment",
        "CLICKHOUSE_PASSWORD": user["login_password"],
        "CLICKHOUSE_SECURE": "true",
        "CLICKHOUSE_CA_CERT": clickhouse.ca,
    }
    for variable, value in right.items():
        monkeypatch.setenv(variable, value)
    module("user", LOOK)
    for variable, (value, words) in VARIABLES.items():
        with monkeypatch.context() as one:
            one.setenv(variable, value)
            assert words in failed("user", LOOK)["msg"], variable
    monkeypatch.setenv("CLICKHOUSE_USER", "con_nobody")
    module("user", LOOK, login_user="con_environment")
    root(clickhouse).query("DROP USER con_environment")


@pytest.fixture
def no_login(login: dict[str, Any]) -> Iterator[None]:
    """Take the options that the fixture `module` would give."""
    saved = dict(login)
    login.clear()
    yield
    login.update(saved)


class _NotClickHouse(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"not here\n")

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_failed_login_names_address_and_user_and_no_password(failed: Any, clickhouse: Any, version: Any) -> None:
    """Whatever is wrong: no traceback (the fixture sees to that), no password, no waiting."""
    user = administrator(clickhouse, "con_user")
    silent = socket.create_server(("127.0.0.1", 0))
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NotClickHouse)
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    plain = {"login_host": "127.0.0.1", "login_secure": False, "login_ca_cert": None}
    deaf = {"login_port": silent.getsockname()[1], "login_timeout": 1, "login_connect_timeout": 1}
    secret = "con Wr0ng 'secret'"
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"login_password": secret}, f"https://localhost:{clickhouse.https_port}", "AUTHENTICATION_FAILED"),
        ({"login_user": "con no user"}, "'con no user'", "AUTHENTICATION_FAILED"),
        ({"login_port": 1}, "https://localhost:1 ", "no answer from the server"),
        ({"login_host": "::1", "login_port": 1}, "https://[::1]:1 ", "no answer from the server"),
        ({"login_host": "no-such-host.invalid"}, "no-such-host.invalid", "no answer from the server"),
        ({"login_port": clickhouse.port}, f"https://localhost:{clickhouse.port}", "no answer from the server"),
        ({**plain, "login_port": clickhouse.https_port}, f"http://127.0.0.1:{clickhouse.https_port}", ""),
        ({**plain, **deaf}, f"http://127.0.0.1:{deaf['login_port']}", "timed out"),
        ({**deaf}, f"https://localhost:{deaf['login_port']}", "timed out"),
        ({**plain, "login_port": web.server_port}, f"http://127.0.0.1:{web.server_port}", ""),
    ]
    for change, where, why in cases:
        begin = time.monotonic()
        result = failed("user", LOOK, **{**user, "login_password": secret, **change})
        text = json.dumps(result)
        assert where in result["msg"] and why in result["msg"], (change, result["msg"])
        assert result["msg"].startswith("cannot log in to ") and "con" in result["msg"]
        assert result["msg"].endswith("Nothing was changed.")
        assert secret not in text and PASSWORD not in text and "Wr0ng" not in text
        assert time.monotonic() - begin < 8, (change, "seconds", time.monotonic() - begin)
    web.shutdown()
    web.server_close()
    silent.close()
    root(clickhouse).query("DROP USER con_user")


def test_a_statement_that_takes_too_long_is_unknown(failed: Any, module: Module, clickhouse: Any) -> None:
    """After login_timeout seconds the task fails and says that the statement may have run."""
    from tests.sandbox import Fault, FaultProxy

    with FaultProxy(clickhouse.url, [Fault(1, "delay", seconds=3)], lambda: None) as proxy:
        slow = {"login_host": "127.0.0.1", "login_secure": False, "login_ca_cert": None, "login_port": proxy.port}
        result = failed("role", {"name": "con_slow"}, **slow, login_timeout=1)
        assert result["unknown_statement"] == "CREATE ROLE `con_slow`" and result["changed"] is True
        assert "timed out" in result["msg"] and f"http://127.0.0.1:{proxy.port}" in result["msg"]
        time.sleep(2.5)
        assert proxy.statements.count(b"CREATE ROLE `con_slow`") == 1
    assert not module("role", {"name": "con_slow"})["changed"]
    module("role", {"name": "con_slow", "state": "absent"})


@on_newest
def test_a_missing_library_is_said(playbook: Any, tmp_path: Path) -> None:
    """Where the modules run on a Python without clickhouse-connect, the task says what to install, and where."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = str(tmp_path / "bare/bin/python")
    tasks = [{"hardened.clickstack.clickhouse_user": LOOK}]
    run = playbook(
        [{"hosts": "localhost", "gather_facts": False, "tasks": tasks, "vars": {"ansible_python_interpreter": python}}]
    )
    assert run.code == 2
    assert "clickhouse-connect" in run.output and python in run.output
    assert sys.executable not in run.output
