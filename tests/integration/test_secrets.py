"""No secret is anywhere but where it belongs: not in results, diffs, errors, output, process arguments or files.

Passwords, hashes and salts that are given, and those that the module computes, are looked for as text, in hexadecimal
and in base64. What the operator himself puts somewhere (the playbook, CLICKHOUSE_PASSWORD) is his own and not counted.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import NEWEST, on_newest, tls_relay
from tests.sandbox import Fault, FaultProxy, Sandbox, start

Module = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="needs servers that show secrets")


def traces(secret: str) -> set[bytes]:
    """The forms a secret may be found in: as it is, escaped for SQL and JSON, hexadecimal, base64 at any offset."""
    data = secret.encode()
    forms = {data, data.hex().encode(), data.hex().upper().encode(), json.dumps(secret)[1:-1].encode()}
    forms |= {data.replace(b"\\", b"\\\\").replace(b"'", b"\\'")}
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + data)
        forms.add(whole[4 if offset else 0 : (offset + len(data)) // 3 * 4])
    return forms


def found(secrets: Iterable[str], *texts: bytes) -> set[str]:
    """The secrets that are in the texts in any form, or as a part that would give them away."""
    hits = set()
    for secret in secrets:
        parts = traces(secret) | ({secret[:16].encode(), secret[-16:].encode()} if len(secret) >= 32 else set())
        hits |= {secret for text in texts for part in parts if part in text}
    return hits


@pytest.fixture(scope="session")
def showing(clickhouse: Any) -> Iterator[Sandbox]:
    """A server that shows secrets to its administrator, so that computed hashes and salts can be known."""
    with start(clickhouse.version, tls=True, display_secrets=True) as running:
        yield running


def to(server: Sandbox) -> dict[str, Any]:
    """The login options for a server."""
    return {"login_host": "localhost", "login_port": server.https_port, "login_ca_cert": server.ca}


def stored(server: Sandbox, user: str) -> set[str]:
    """Hashes, salts and plaintext passwords that the server has of a user."""
    text = server.session("default").query(
        f"SHOW CREATE USER `{user}` FORMAT TSVRaw", format_display_secrets_in_show_and_select="1"
    )
    return set(re.findall(r"(?:BY|SALT) '((?:[^'\\]|\\.)+)'", text))


class QuotingProxy(FaultProxy):
    """A server that refuses every CREATE and ALTER USER with an error that quotes the statement, as parsers do."""

    def __init__(self, target: str, begin: int = 0, length: int = 10_000) -> None:
        """Quote `length` characters of the statement from the character `begin` on."""
        super().__init__(target, [], lambda: None)
        self.part = slice(begin, begin + length)

    def next_fault(self, statement: bytes) -> Fault | None:
        """Refuse what has to do with passwords."""
        self.statements.append(statement)
        if not re.match(rb"(CREATE|ALTER) USER", statement):
            return None
        quoted = statement.decode()[self.part]
        message = f"Syntax error: failed at position {self.part.start + 1}: {quoted}. Expected one of: something else."
        return Fault(1, "refuse", code=62, name="SYNTAX_ERROR", message=message)


HASHES = {
    "sha256_password": {"password_hash": hashlib.sha256(b"secret test one").hexdigest(), "salt": "5a17given0salt9x"},
    "double_sha1_password": {"password_hash": hashlib.sha1(b"secret test two").hexdigest()},
    "bcrypt_password": {"password_hash": "$2a$12$o/gQT1gRsxP6gVzgRPz8r.oUNp8O.MSS673cY800Hba9c5.az7lRO"},
    "scram_sha256_password": {
        "password_hash": hashlib.sha256(b"secret test three").hexdigest(),
        "salt": base64.b64encode(b"scram salt given").decode(),
    },
}
METHODS = ("sha256_password", "double_sha1_password", "bcrypt_password", "scram_sha256_password", "plaintext_password")


def password(method: str, which: str) -> str:
    """A distinctive password, with characters that need escaping."""
    return f"Hunter2-{which}-{method[:4]}'\\%s"


@pytest.mark.parametrize("method", METHODS)
def test_no_secret_in_results_diffs_and_errors(
    module: Module, failed: Any, showing: Sandbox, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Creating, changing, finding the same, predicting; and being refused by a server that quotes what it was sent."""
    if method == "scram_sha256_password" and showing.version == "24.8":
        assert (
            "25.3"
            in failed(
                "user", {"name": "s", "authentication": [{"type": method, "password": "abcdefgh"}]}, **to(showing)
            )["msg"]
        )
        return
    user = f"s_{method}"
    secrets: set[str] = set()
    results: list[Any] = []
    given = [{"password": password(method, which)} for which in ("first", "second")]
    given += [HASHES[method]] if method in HASHES else []
    for secret in given:
        secrets |= set(secret.values()) | {value.upper() for value in secret.values() if method != "bcrypt_password"}
        options = {"name": user, "authentication": [{"type": method, **secret}]}
        for check in (True, False, False):
            results.append(module("user", options, check=check, **to(showing)))
        assert [result["changed"] for result in results[-3:]] == [True, True, False]
        now = stored(showing, user)
        assert now, "the server shows no secrets, so the test could not find them"
        secrets |= now
    for part in ((), (40, 60)):  # all of it, and up to the middle of a secret
        with QuotingProxy(showing.url, *part) as proxy:
            login = {"login_host": "127.0.0.1", "login_secure": False, "login_port": proxy.port, "login_ca_cert": None}
            results.append(failed("user", {**options, "update_password": "always"}, **login))
            sent = proxy.statements[-1].decode()
            secrets |= set(re.findall(r"(?:BY|SALT) '((?:[^'\\]|\\.)+)'", sent))
        assert results[-1]["code"] == 62 and "SYNTAX_ERROR" in json.dumps(results[-1])
    output = capsys.readouterr()
    assert not found(secrets, json.dumps(results).encode(), json.dumps(results, ensure_ascii=False).encode())
    assert not found(secrets, output.out.encode(), output.err.encode())
    for result in results:
        assert method in json.dumps(result)  # what is not secret is said
    module("user", {"name": user, "state": "absent"}, **to(showing))


def test_no_secret_in_refusals_of_the_module(failed: Any, showing: Sandbox) -> None:
    """What the module itself refuses is named by its option, never by a secret value."""
    for method in (
        {"type": "sha256_password", "password_hash": "Hunter2-not-hexadecimal"},
        {"type": "double_sha1_password", "password_hash": "ABCDEF" * 9},
        {"type": "sha256_password", "password": "Hunter2-with-salt", "salt": "Hunter2-salt"},
        {"type": "no_password", "password": "Hunter2-without-need"},
        {"type": "bcrypt_password", "password": "Hunter2" * 11},
        {"type": "sha256_password", "password": "Hunter2-surrogate-\ud800"},
    ):
        result = failed("user", {"name": "s_refused", "authentication": [method]}, **to(showing))
        assert result["option"].startswith("authentication[0]")
        assert not {"Hunter2", "ABCDEFABCDEF"} & set(re.findall("Hunter2|ABCDEFABCDEF", json.dumps(result)))


class ProcessWatch:
    """Looks at the arguments and environments of all processes while its block runs."""

    def __enter__(self) -> ProcessWatch:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to look at
                        self.seen.add((process / name).read_bytes())


@on_newest
def test_no_secret_around_a_real_run(playbook: Any, tmp_path: Path) -> None:
    """ansible-playbook -vvvv --diff with a log file: nothing in output, log, process list and files left behind."""
    with (
        start(NEWEST, tls=True, display_secrets=True) as server,
        QuotingProxy(server.url) as quoting,
        tls_relay(quoting.port, server.authority.server()) as quoting_port,
    ):
        admin = "Hunter2-administrator's"
        client = server.session("default")
        client.query("CREATE USER boss IDENTIFIED BY 'Hunter2-administrator\\'s'")
        client.query("GRANT ALL ON *.* TO boss WITH GRANT OPTION")
        client.query("CREATE USER limited IDENTIFIED BY 'Hunter2-administrator\\'s'")
        client.query("GRANT SELECT ON system.* TO limited")
        client.query("GRANT SHOW ACCESS ON *.* TO limited")
        several = NEWEST != "24.8"
        texts = [{"type": method, "password": password(method, "play")} for method in METHODS if several]
        texts = texts or [{"type": "sha256_password", "password": password("sha256_password", "play")}]
        hashes = [{"type": method, **HASHES[method]} for method in HASHES][: 4 if several else 1]
        changed = [{**method, "password": method["password"] + "-new"} for method in texts]
        users: list[dict[str, Any]] = [
            {"name": "s_text", "authentication": "{{ texts }}"},
            {"name": "s_text", "authentication": "{{ changed }}"},
            {"name": "s_hash", "authentication": "{{ hashes }}"},
        ]
        # as in real life, secrets come from variables: Ansible itself shows the lines of a playbook around an error
        secret_vars = {
            "texts": texts,
            "changed": changed,
            "hashes": hashes,
            "wrong_login": "Hunter2-wrong-login",
            "no_hash": [{"type": "sha256_password", "password_hash": "Hunter2-nohex"}],
        }
        variables = tmp_path / "variables.json"
        variables.write_text(json.dumps(secret_vars))
        fails: list[dict[str, Any]] = [
            {"name": "s_hash", "authentication": "{{ changed }}", "login_password": "{{ wrong_login }}"},
            {"name": "s_hash", "authentication": "{{ changed }}", "roles": [{"name": "no such role"}]},
            {"name": "s_hash", "authentication": "{{ changed }}", "login_user": "limited"},
            {"name": "s_hash", "authentication": "{{ no_hash }}"},
        ]
        quoted = [{"name": "s_hash", "authentication": "{{ changed }}"}]
        before = set(Path(tempfile.gettempdir()).iterdir())
        with ProcessWatch() as watch:
            defaults = {"login_port": server.https_port, "login_ca_cert": server.ca}
            run = playbook(
                [
                    _play(users, False, **defaults),
                    _play(fails, True, **defaults),
                    _play(quoted, True, **{**defaults, "login_port": quoting_port}),
                ],
                "-vvvv",
                "--diff",
                "-e",
                f"@{variables}",
                CLICKHOUSE_USER="boss",
                CLICKHOUSE_PASSWORD=admin,
                ANSIBLE_LOG_PATH=str(tmp_path / "ansible.log"),
            )
        assert run.code == 0 and run.recap["changed"] == len(users) and run.recap["ignored"] == len(fails + quoted), (
            run.output
        )
        given = {method["password"] for method in (*texts, *changed)} | {"Hunter2-wrong-login", "Hunter2-nohex"}
        given |= {value for method in hashes for key, value in method.items() if key != "type"}
        computed = stored(server, "s_text") | stored(server, "s_hash")
        assert len(computed) > len(texts)
        sent = b" ".join(statement for statement in quoting.statements if b" USER" in statement).decode()
        computed |= set(re.findall(r"(?:BY|SALT) '((?:[^'\\]|\\.)+)'", sent))
        secrets = given | computed
        assert not found({*secrets, admin}, run.output.encode(), (tmp_path / "ansible.log").read_bytes())
        assert "[HIDDEN]" in run.output and "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in run.output
        assert "SYNTAX_ERROR" in run.output
        assert any(b"ansible-playbook" in text for text in watch.seen)
        assert any(b"AnsiballZ_clickhouse_user" in text for text in watch.seen)
        assert not found(secrets, *watch.seen)
        # the operator gave his own password in the environment; no process has it as an argument
        assert not found({admin}, *(text for text in watch.seen if b"CLICKHOUSE_PASSWORD=" not in text))
        left = [
            path
            for folder in (tmp_path, *set(Path(tempfile.gettempdir()).iterdir()) - before)
            for path in _files(folder)
        ]
        own = {variables, *_files(server.directory)}
        assert (tmp_path / "local").exists() or (tmp_path / "remote").exists()
        for path in left:
            if path not in own:
                assert not found(secrets, path.read_bytes()), path


def _play(tasks: list[dict[str, Any]], fails: bool, **defaults: Any) -> dict[str, Any]:
    """A play that makes users; the connection comes from the group of modules."""
    return {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/hardened.clickstack.clickhouse": defaults},
        "tasks": [{"hardened.clickstack.clickhouse_user": options, "ignore_errors": fails} for options in tasks],
    }


def _files(folder: Path) -> list[Path]:
    """All files below a folder, or the file itself."""
    return [path for path in (folder, *folder.rglob("*")) if path.is_file() and not path.is_symlink()]
