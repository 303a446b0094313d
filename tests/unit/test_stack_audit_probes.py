"""The audit's probes: what they make of what was measured, which is as Docker, TLS peers and databases gave it."""

from __future__ import annotations

import copy
import datetime
import http.server
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography import x509

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes import (
    clickhouse,
    connections,
    host,
    logins,
    mongodb,
    network_run,
    outside,
    processes,
    tls,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import observe, without
from tests.sandbox.certificates import Authority

Json = dict[str, Any]


def by_probe(observations: list[Json]) -> dict[str, str]:
    return {one["probe"]: one["status"] for one in observations}


# -- observations -----------------------------------------------------------------------------------------------------


def test_an_observation_is_short_and_holds_no_secret() -> None:
    found = observe("x", "subject", "fail", "a  line\nwith s3cret and " + "x" * 1000)
    assert len(found["evidence"]) == 600 and "\n" not in found["evidence"]
    (clean,) = without(["s3cret", ""], [found])
    assert "s3cret" not in clean["evidence"] and "********" in clean["evidence"] and clean["probe"] == "x"


# -- TLS --------------------------------------------------------------------------------------------------------------


def answer_of(folder: Path, hello: bytes, oldest: ssl.TLSVersion) -> bytes:
    """What OpenSSL answers on a ClientHello."""
    certificate, key = Authority(folder / "ca").issue("x.example.com", ("x.example.com",), server=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.set_ciphers("ALL:@SECLEVEL=0")
    server.minimum_version = oldest
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(hello)
    with pytest.raises(ssl.SSLError):  # it wants more, or refuses
        server.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    return outgoing.read()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(("name", "version"), [pair for pair in tls.OLD.items() if pair[0] != "SSL 3.0"])
def test_old_tls_is_offered_as_openssl_understands_it(tmp_path: Path, name: str, version: tuple[int, int]) -> None:
    hello = tls.client_hello(version, "x.example.com", bytes(32))
    assert tls.verdict(version, answer_of(tmp_path, hello, ssl.TLSVersion.TLSv1)) == tls.ACCEPTED
    refused = tls.verdict(version, answer_of(tmp_path, hello, ssl.TLSVersion.TLSv1_2))
    assert refused == "refused (protocol_version)", name


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (b"", "refused (closed)"),
        (b"HTTP/1.1 400 Bad Request\r\n", "refused (no TLS)"),
        (bytes.fromhex("15030100020246"), "refused (protocol_version)"),
        (bytes.fromhex("15030100020228"), "refused (handshake_failure)"),
        (bytes.fromhex("15030100020263"), "refused (alert 99)"),
        (bytes.fromhex("160301003d0200003903020000"), "refused"),  # a ServerHello of another version
        (bytes.fromhex("160301003d0200003903010000"), "accepted"),
    ],
)
def test_first_bytes_of_a_server(answer: bytes, means: str) -> None:
    assert tls.verdict((3, 1), answer) == means


def test_end_of_a_certificate(tmp_path: Path) -> None:
    certificate, _key = Authority(tmp_path / "ca").issue("x", ("x.example.com",), server=True)
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert tls.end_of(der) == parsed.not_valid_after_utc
    for wrong in (b"", b"0", der[:40], b"\x30\x82\xff\xff"):
        with pytest.raises(ValueError, match="no certificate"):
            tls.end_of(wrong)


TODAY = datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc)
NEW_TLS = {
    "SSL 3.0": "refused (closed)",
    "TLS 1.0": "refused (protocol_version)",
    "TLS 1.1": "refused (protocol_version)",
    "TLS 1.2": "accepted",
    "TLS 1.3": "accepted",
}


@pytest.mark.parametrize(
    ("protocols", "status"),
    [
        (NEW_TLS, "pass"),
        ({**NEW_TLS, "TLS 1.3": "refused (x)"}, "pass"),
        ({**NEW_TLS, "TLS 1.1": "accepted"}, "fail"),
        # no answer is no refusal
        ({**NEW_TLS, "TLS 1.0": "no answer (no answer in time)"}, "error"),
        (dict.fromkeys(NEW_TLS, "refused (no TLS)"), "not_applicable"),
    ],
)
def test_protocols(protocols: dict[str, str], status: str) -> None:
    assert tls.judge_protocols("x", "y", tls.Measured(protocols))["status"] == status


@pytest.mark.parametrize(
    ("untrusted", "days", "status"),
    [("", 60, "pass"), ("", 14, "pass"), ("", 13, "fail"), ("", -1, "fail"), ("self-signed certificate", 60, "fail"),
     ("", None, "error")],
)  # fmt: skip
def test_certificates(untrusted: str, days: int | None, status: str) -> None:
    end = None if days is None else TODAY + datetime.timedelta(days=days)
    found = tls.judge_certificate("x", "y", tls.Measured(NEW_TLS, untrusted, end), "n", 14, TODAY)
    assert found["status"] == status, found


# -- from outside -----------------------------------------------------------------------------------------------------


def test_ports_that_are_tried() -> None:
    known = outside.wanted_ports([], [9999])
    assert {2375, 4320, 8123, 9363, 27017, 24225, 9999, 22} <= set(known) and known == sorted(known)
    assert len(outside.wanted_ports(["all"], [])) == 65535
    assert {77, 4320} <= set(outside.wanted_ports(["77"], []))


def test_open_ports() -> None:
    states = dict.fromkeys(outside.wanted_ports([], [22, 443]), "refused")
    good = outside.judge_ports("h", {**states, 22: "open", 443: "open"}, [22, 443])
    assert set(by_probe(good).values()) == {"pass"}
    bad = by_probe(outside.judge_ports("h", {**states, 22: "open", 4320: "open", 27017: "open"}, [22, 443]))
    assert {probe for probe, status in bad.items() if status == "fail"} == {
        "ports_undeclared",
        "port_opamp",
        "ports_databases",
    }
    # one host per service: its port is declared there
    declared = by_probe(outside.judge_ports("h", {**states, 8443: "open"}, [8443]))
    assert set(declared.values()) == {"pass"}
    # silence may be a wrong address
    nobody = outside.judge_ports("h", dict.fromkeys(states, "silent"), [443])
    assert set(by_probe(nobody).values()) == {"error"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(200, '{"isTeamExisting":true}', "pass"), (200, '{"isTeamExisting":false}', "fail"), (200, "<html>", "error"),
     (200, "[]", "error"), (404, "{}", "error"), (0, "no answer in time", "error")],
)  # fmt: skip
def test_registration(status: int, body: str, expected: str) -> None:
    assert outside.judge_registration("x", "/installation", connections.Answer(status, body))["status"] == expected


def test_anonymous_and_configuration() -> None:
    def anonymous(*answers: connections.Answer) -> str:
        return str(outside.judge_anonymous("x", {str(i): answer for i, answer in enumerate(answers)})["status"])

    refused, page, data = connections.Answer(401), connections.Answer(200, "<html>"), connections.Answer(200, "{}")
    assert [anonymous(refused, refused), anonymous(refused, data), anonymous(page, page)] == ["pass", "fail", "error"]
    with_key = outside.judge_config_key("x", connections.Answer(200, '{"apiKey": "k-e-y"}'))
    assert with_key["status"] == "fail" and "k-e-y" not in str(with_key)
    assert outside.judge_config_key("x", connections.Answer(200, '{"serviceName": "x"}'))["status"] == "pass"
    for value, status in {"max-age=100; preload": "pass", "max-age=0": "fail", "": "fail"}.items():
        answer = connections.Answer(200, "", {"strict-transport-security": value})
        assert outside.judge_hsts("x", answer)["status"] == status


@pytest.mark.parametrize(
    ("status", "is_team", "expected"),
    [(401, True, "pass"), (200, True, "fail"), (400, True, "fail"), (415, None, "fail"), (0, False, "not_applicable"),
     (0, None, "error"), (0, True, "error"), (502, True, "error")],
)  # fmt: skip
def test_otlp_without_a_key(status: int, is_team: bool | None, expected: str) -> None:
    assert outside.judge_otlp("x", connections.Answer(status), is_team)["status"] == expected


GO = {
    # SETTINGS, then HEADERS of a reply that has only trailers, as grpc-go sends them
    "unauthenticated": "000000040000000000" + "000011010500000001" + "88" + "5f8b1d75d0620d263d4c4d6564" + "40"
    "889acac8b21234da8f"
    "023136",
    "accepted": "000000040000000000" + "00000c010500000001" + "88" + "40889acac8b21234da8f0130",
    "other": "000000040000000000" + "00000d010500000001" + "88" + "40889acac8b21234da8f023132",
    "raw": "000010010500000001" + "88" + "000b" + b"grpc-status".hex() + "023136",
}


def test_answers_of_grpc() -> None:
    def status(data: str) -> int:
        raw = bytes.fromhex(data)
        # the length of the last frame is what is left
        place = raw.rfind(b"\x01\x05\x00\x00\x00\x01") - 3
        return outside.grpc_answer(raw[:place] + (len(raw) - place - 9).to_bytes(3, "big") + raw[place + 3 :]).status

    assert {name: status(data) for name, data in GO.items()} == {
        "unauthenticated": 401,
        "accepted": 200,
        "other": 400,
        "raw": 401,
    }
    assert outside.grpc_answer(b"").status == 0 and outside.grpc_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").status == 0
    request = outside.grpc_request("h:4317", True)
    assert request.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") and outside.GRPC_PATH.encode() in request


# -- the host ---------------------------------------------------------------------------------------------------------

INSPECTED: Json = {
    "Name": "/hdx-oss-app-1",
    "Config": {"Image": "docker.hyperdx.io/hyperdx/hyperdx:2.36.0", "User": "1000:1000", "Env": ["PATH=/bin"],
               "Healthcheck": {"Test": ["CMD", "true"]},
               "Labels": {"com.docker.compose.project": "hdx-oss", "com.docker.compose.service": "app"}},
    "State": {"Pid": 4711, "Health": {"Status": "healthy"}},
    "HostConfig": {"Privileged": False, "PidMode": "", "IpcMode": "private", "UTSMode": "", "UsernsMode": "",
                   "NetworkMode": "hdx-oss_edge", "CapDrop": ["ALL"], "CapAdd": None, "ReadonlyRootfs": True,
                   "SecurityOpt": ["no-new-privileges:true"], "Memory": 1 << 31, "NanoCpus": 1000000000, "CpuQuota": 0,
                   "PidsLimit": 512, "LogConfig": {"Type": "local", "Config": {"max-size": "20m"}},
                   "RestartPolicy": {"Name": "unless-stopped"}},
    "NetworkSettings": {"Networks": {"hdx-oss_data": {"IPAddress": "172.30.81.10"}}, "Ports": {"8080/tcp": None}},
    "Mounts": [],
}  # fmt: skip
"""A container of stack_compose, as Docker 26.1 inspects it, without what nobody asks for."""
RUNNING = {"EXPRESS_SESSION_SECRET": "s" * 40, "FRONTEND_URL": "https://x.example.com", "USAGE_STATS_ENABLED": "false"}


def container(change: Callable[[Json], None] = lambda one: None, **more: Any) -> host.Container:
    inspected = copy.deepcopy(INSPECTED)
    change(inspected)
    given = {"components": (host.APP,), "processes": [host.Process(1, RUNNING, 1000, 2)], **more}
    return host.Container(inspected=inspected, **given)


def setting(**values: Any) -> Callable[[Json], None]:
    return lambda one: one["HostConfig"].update(values)


def test_a_container_of_ours_passes() -> None:
    one = container()
    found = [
        *host.judge_container(one, {}),
        host.judge_published(one, []),
        host.judge_environment_secrets(one),
        *host.judge_app(one),
    ]
    assert set(by_probe(found).values()) == {"pass"}, found


@pytest.mark.parametrize(
    ("probe", "change"),
    [
        ("container_privileged", setting(Privileged=True)),
        ("container_namespaces", setting(PidMode="host")),
        ("container_namespaces", setting(NetworkMode="host")),
        ("container_capabilities", setting(CapDrop=None)),
        ("container_capabilities", setting(CapAdd=["CAP_SYS_ADMIN"])),
        ("container_no_new_privileges", setting(SecurityOpt=None)),
        ("container_no_new_privileges", setting(SecurityOpt=["no-new-privileges:false"])),
        ("container_read_only", setting(ReadonlyRootfs=False)),
        ("container_memory", setting(Memory=0)),
        ("container_cpus", setting(NanoCpus=0)),
        ("container_pids", setting(PidsLimit=None)),
        ("container_pids", setting(PidsLimit=-1)),
        ("container_seccomp", setting(SecurityOpt=["seccomp=unconfined", "no-new-privileges:true"])),
        ("container_log_rotation", setting(LogConfig={"Type": "json-file", "Config": {}})),
        ("container_restart", setting(RestartPolicy={"Name": "no"})),
        ("container_healthcheck", lambda one: one["Config"].pop("Healthcheck")),
        ("container_healthcheck", lambda one: one["Config"].update(Healthcheck={"Test": ["NONE"]})),
        ("container_image_tag", lambda one: one["Config"].update(Image="docker.hyperdx.io/hyperdx/hyperdx:2")),
        ("container_image_tag", lambda one: one["Config"].update(Image="localhost:5000/hyperdx/hyperdx")),
        ("container_docker_socket",
         lambda one: one.update(Mounts=[{"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/x"}])),
    ],
)  # fmt: skip
def test_a_container_that_is_not(probe: str, change: Callable[[Json], None]) -> None:
    found = by_probe(host.judge_container(container(change), {}))
    assert [name for name, status in found.items() if status == "fail"] == [probe]


def test_what_processes_say_counts() -> None:
    root = container(processes=[host.Process(1, RUNNING, 1000, 2), host.Process(2, {}, 0, 0)])
    found = by_probe(host.judge_container(root, {}))
    assert found["container_user"] == found["container_seccomp"] == "fail"
    assert by_probe(host.judge_app(container(processes=[])))["session_secret"] == "error"
    # the image's constant is what it says without a setting, and what a wrapper exports is not in Docker's environment
    for secret, status in {"": "fail", host.PUBLIC_SESSION_SECRET: "fail", "short": "fail", "x" * 32: "pass"}.items():
        found = host.judge_app(container(processes=[host.Process(1, {"EXPRESS_SESSION_SECRET": secret}, 1000, 2)]))
        assert by_probe(found)["session_secret"] == status
        assert not secret or secret not in str(found)


def test_databases_have_internal_networks() -> None:
    database = container(components=(host.MONGODB,))
    inside, outward = {"hdx-oss_data": {"Internal": True}}, {"hdx-oss_data": {"Internal": False}}
    assert by_probe(host.judge_container(database, inside))["container_database_network"] == "pass"
    assert by_probe(host.judge_container(database, outward))["container_database_network"] == "fail"


def test_published_ports() -> None:
    def status(address: str, port: str) -> str:
        one = container(
            lambda one: one["NetworkSettings"].update(Ports={"1/tcp": [{"HostIp": address, "HostPort": port}]})
        )
        return str(host.judge_published(one, [443])["status"])

    assert [status("0.0.0.0", "8080"), status("::", "8080"), status("192.0.2.1", "8080")] == ["fail"] * 3
    assert [status("127.0.0.1", "8080"), status("::1", "8080"), status("0.0.0.0", "443")] == ["pass"] * 3


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("docker.hyperdx.io/hyperdx/hyperdx:2", ("app",)),
        ("docker.clickhouse.com/clickhouse/clickstack-otel-collector@sha256:" + "0" * 64, ("otel-collector",)),
        ("clickhouse/clickhouse-server:26.5-alpine", ("ch-server",)),
        ("localhost:5000/mongo", ("db",)),
        ("caddy:2.10.2-alpine", ("proxy",)),
        ("docker.clickhouse.com/clickhouse/clickstack-all-in-one:2", host.EVERYTHING),
        ("postgres:16", ()),
    ],
)
def test_images(image: str, parts: tuple[str, ...]) -> None:
    assert host.components(image) == parts


def test_which_containers_are_a_clickstack() -> None:
    def one(image: str, project: str = "") -> Json:
        return {"Image": image, "Labels": {"com.docker.compose.project": project} if project else None, "Id": image}

    stack = [one("hyperdx/hyperdx:2", "a"), one("mongo:7", "a"), one("redis:7", "a")]
    others = [one("mongo:7", "b"), one("nginx:1.27")]
    assert host.clickstack([*stack, *others]) == stack
    assert host.clickstack([*stack, *others], "b") == [others[0]]
    alone = [one("clickhouse/clickstack-all-in-one:2"), one("mongo:7")]
    assert host.clickstack([*alone, others[1]]) == alone
    assert host.clickstack(others) == []


def test_where_the_collector_writes_to() -> None:
    def judged(**environment: str) -> dict[str, str]:
        one = container(components=(host.COLLECTOR,), processes=[host.Process(1, environment, 10001, 2)])
        found = host.judge_collector(one)
        assert "p4ss" not in str(found)
        return by_probe(found)

    good = {"CLICKHOUSE_ENDPOINT": "tcp://ch-server:9440?secure=true", "CLICKHOUSE_USER": "otel_ingest"}
    assert set(judged(**good).values()) == {"pass"}
    assert judged(**{**good, "CLICKHOUSE_ENDPOINT": "https://h:8443"})["collector_clickhouse_tls"] == "pass"
    for plain in ("tcp://ch-server:9000", "http://x:p4ss@h:8123", "https://h:8443?skip_verify=true", "tcps://h:9440",
                  "tcp://h:9000?password=p4ss&secure=false"):  # fmt: skip
        assert judged(**{**good, "CLICKHOUSE_ENDPOINT": plain})["collector_clickhouse_tls"] == "fail", plain
    assert judged(CLICKHOUSE_ENDPOINT="https://h:8443")["collector_clickhouse_user"] == "fail"
    assert judged(**good, HYPERDX_LOG_LEVEL="debug")["hyperdx_log_level"] == "fail"


COMPOSE = """
services:
  app:
    environment:
      MONGO_URI: mongodb://hyperdx:p4ss@db:27017/hyperdx
      HYPERDX_API_KEY: ${HYPERDX_API_KEY}
      EXPRESS_SESSION_SECRET: ${SECRET:-fallback}
      CLICKHOUSE_PASSWORD_FILE: /run/secrets/x
      # OLD_PASSWORD: x
      CLICKHOUSE_ENDPOINT: tcp://ch-server:9440?secure=true
      DEFAULT_CONNECTIONS: '[{"name":"x","host":"http://h","username":"default","password":""}]'
  ch-server:
    environment: {CLICKHOUSE_USER: x, CLICKHOUSE_PASSWORD: p4ss}
  db:
    environment:
      - MONGO_INITDB_ROOT_PASSWORD=p4ss
      - "QUOTED_TOKEN=t0ken"
    secrets:
      - {source: app_MONGO_URI, target: MONGO_URI}
secrets:
  app_EXPRESS_SESSION_SECRET: {file: "/opt/clickstack/secrets/express_session_secret"}
"""


def test_secrets_in_a_compose_file() -> None:
    names = "MONGO_URI EXPRESS_SESSION_SECRET CLICKHOUSE_PASSWORD MONGO_INITDB_ROOT_PASSWORD QUOTED_TOKEN"
    assert host.secrets_in_text(COMPOSE) == names.split()
    assert host.secrets_in_text('A="[{\\"password\\":\\"\\"}]"') == []
    assert host.is_secret("DEFAULT_CONNECTIONS", '[{"password":"x"}]') and not host.is_secret(
        "DEFAULT_CONNECTIONS", "[]"
    )
    assert not host.is_secret("API_TOKEN", "/run/secrets/token")
    assert host.is_secret("API_TOKEN", "/a-token-with-a-slash")


def test_modes() -> None:
    assert host.judge_modes({"/a": 0o640, "/b": 0o400})[0]["status"] == "pass"
    found = host.judge_modes({"/a": 0o644, "/b": 0o400})[0]
    assert found["status"] == "fail" and "/a (0644)" in found["evidence"] and "/b" not in found["evidence"]


# -- logins and processes ---------------------------------------------------------------------------------------------


def test_logins_are_given_or_found(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from-file\n")
    given = {"user": "u", "password": "given", "password_file": str(tmp_path / "password"), "pid": 0}
    assert logins.login(given, "reader").password == "given"
    assert logins.login({**given, "password": ""}, "reader").password == "from-file"
    missing = logins.login({"user": "u", "password_file": "/nowhere"}, "reader").missing
    assert "/nowhere" in missing and "(reader)" in missing
    assert logins.of_environment({"CLICKHOUSE_ENDPOINT": "x"}, "ingest") == ("default", "")
    connection = {"DEFAULT_CONNECTIONS": '[{"username": "app", "password": "p"}]'}
    assert logins.of_environment(connection, "reader") == ("app", "p")
    for nothing in ({}, {"DEFAULT_CONNECTIONS": "[]"}, {"DEFAULT_CONNECTIONS": "not JSON"}):
        assert logins.of_environment(nothing, "reader") is None


def test_a_wrapper_s_secret_is_found_in_its_child() -> None:
    script = "export LATER=found; exec sleep 60"
    with subprocess.Popen(["sh", "-c", f"FIRST=1 sh -c '{script}' & wait"]) as process:
        try:
            deadline = time.monotonic() + 10
            while "LATER" not in processes.environment_of_all(process.pid):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert processes.environment_of_all(process.pid)["FIRST"] == "1"
        finally:
            for pid in reversed(processes.descendants(process.pid, processes.children())):
                os.kill(pid, 15)
    assert processes.environment_of_all(0) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter a network namespace")
def test_what_is_done_in_a_namespace_is_done_there_and_nowhere_else(tmp_path: Path) -> None:
    server = (
        "import subprocess, http.server as h; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True);"
        "s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); print(s.server_port, flush=True);"
        "s.serve_forever()"
    )
    command = ["unshare", "--net", sys.executable, "-c", server]
    pipes: Json = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        try:
            assert process.stdout
            web = connections.Web("127.0.0.1", int(process.stdout.readline()))
            assert web.ask("GET", "/").status == 0
            assert connections.in_namespace(process.pid, lambda: web.ask("GET", "/").status) == 200

            def side_by_side() -> list[int]:
                with ThreadPoolExecutor(4) as pool:
                    return list(pool.map(lambda _number: web.ask("GET", "/").status, range(4)))

            assert connections.in_namespace(process.pid, side_by_side) == [200] * 4
            assert web.ask("GET", "/").status == 0
            with pytest.raises(KeyError):
                connections.in_namespace(process.pid, lambda: {}["what goes wrong there is seen here"])
        finally:
            process.kill()
    with pytest.raises(OSError, match="No such file"):
        connections.in_namespace(process.pid, lambda: None)


def test_connection_attempts() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        assert connections.attempt_all([("127.0.0.1", port), ("127.0.0.1", 1)], 2) == {
            ("127.0.0.1", port): "open",
            ("127.0.0.1", 1): "refused",
        }
        server.shutdown()


def test_a_lost_packet_is_not_a_closed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever of the attempts it is lost."""
    lost = [{("192.0.2.1", 80)}, {("192.0.2.1", 443)}]

    def attempt_all(targets: list[tuple[str, int]], _timeout: float) -> dict[tuple[str, int], str]:
        now = lost.pop()
        return {target: "silent" if target in now or target[1] == 9 else "open" for target in targets}

    monkeypatch.setattr(network_run, "attempt_all", attempt_all)
    options = {"addresses": ["192.0.2.1"], "declared_ports": [9, 80, 443], "timeout": 0.1, "host_name": ""}
    vantage = network_run._Vantage(options)
    assert vantage._scan(options["addresses"], options["declared_ports"]) == {
        "192.0.2.1": {9: "silent", 80: "open", 443: "open"}
    }
    assert not lost


# -- ClickHouse -------------------------------------------------------------------------------------------------------

DENIED = clickhouse.Reply(497, "Code: 497. DB::Exception: u: Not enough privileges. (ACCESS_DENIED)")
UNKNOWN = clickhouse.Reply(60, "Code: 60. DB::Exception: Table does not exist. (UNKNOWN_TABLE)")
DONE = clickhouse.Reply(0, "")


def test_what_an_attempt_comes_to() -> None:
    alter = clickhouse.Attempt("ALTER", "ALTER ...", (clickhouse.UNKNOWN_TABLE,))
    assert [alter.outcome(reply) for reply in (DENIED, UNKNOWN, DONE)] == ["refused", "allowed", "allowed"]
    assert alter.outcome(clickhouse.Reply(62, "")) == "unknown"
    check = clickhouse.Attempt("DROP", "CHECK GRANT ...", is_check=True)
    replies = (clickhouse.Reply(0, "1\n"), clickhouse.Reply(0, "0\n"), clickhouse.Reply(62, ""))
    assert [check.outcome(reply) for reply in replies] == ["allowed", "refused", "unknown"]
    assert DENIED.short == "497 ACCESS_DENIED"


def test_attempts_change_nothing_where_they_are_allowed() -> None:
    tried = [
        *clickhouse.writes("otel", "t"),
        *clickhouse.writes("otel", ""),
        *clickhouse.reads(),
        *clickhouse.ingest_must("otel", "t"),
        *clickhouse.ingest_must_not("otel"),
        clickhouse.URL_ATTEMPT,
    ]
    for attempt in tried:
        assert (
            attempt.is_check
            or clickhouse.ABSENT in attempt.statement
            or attempt.statement.startswith(
                ("EXPLAIN ", "DESCRIBE ", "SELECT ", "CREATE TABLE IF NOT EXISTS `otel`.`t`")
            )
            or attempt.statement.endswith((" WHERE 0", "ENGINE = HardenedAbsent"))
        ), attempt


def test_names_are_quoted() -> None:
    assert "`a\\`; DROP`" in clickhouse.writes("a`; DROP", "t")[0].statement
    assert "'a\\'b'" in clickhouse.tables("a'b")


def test_attempts_are_judged() -> None:
    alter = clickhouse.Attempt("ALTER", "ALTER ...", (clickhouse.UNKNOWN_TABLE,))
    other = clickhouse.Attempt("CHECK", "CHECK GRANT ...", is_check=True)

    def status(*replies: clickhouse.Reply, extra: tuple[str, ...] = ()) -> str:
        return str(
            clickhouse.judge_attempts("x", "y", list(zip((alter, other), replies, strict=False)), extra)["status"]
        )

    assert status(DENIED, clickhouse.Reply(62, "")) == "pass"
    assert status(UNKNOWN, clickhouse.Reply(0, "0")) == "fail"
    assert status(clickhouse.Reply(-1, "no answer"), clickhouse.Reply(62, "")) == "error"
    assert status(DENIED, extra=("it sees tables in x",)) == "fail"


def test_logins_that_must_fail() -> None:
    refused = clickhouse.Reply(516, "(AUTHENTICATION_FAILED)")
    assert clickhouse.judge_logins("x", "y", {"a": refused, "b": clickhouse.Reply(194)}, "Refused:")["status"] == "pass"
    assert clickhouse.judge_logins("x", "y", {"a": refused, "b": DONE}, "")["status"] == "fail"
    assert (
        clickhouse.judge_logins("x", "y", {"a": refused, "b": clickhouse.Reply(-1, "closed")}, "")["status"] == "error"
    )


def test_settings_and_limits() -> None:
    violated = clickhouse.Reply(452, "(SETTING_CONSTRAINT_VIOLATION)")
    unknown = clickhouse.Reply(115, "(UNKNOWN_SETTING)")
    assert clickhouse.judge_settings("x", [("a", "1", DONE), ("b", "1", unknown)])["status"] == "pass"
    found = clickhouse.judge_settings("x", [("a", "1", DONE), ("readonly", "1", clickhouse.Reply(164, "(READONLY)"))])
    assert found["status"] == "fail" and "readonly=1 (164 READONLY)" in found["evidence"]
    assert clickhouse.judge_settings("x", [("a", "1", unknown)])["status"] == "error"
    assert clickhouse.judge_limits("x", [("a", "0", violated)])["status"] == "pass"
    assert clickhouse.judge_limits("x", [("a", "0", violated), ("b", "0", DONE)])["status"] == "fail"
    assert clickhouse.judge_limits("x", [("a", "0", clickhouse.Reply(-1, "x"))])["status"] == "error"
    quota = clickhouse.Reply(0, '{"meta": [{"name": "quota_name"}, {"name": "max_queries"}], "data": [["q", 100]]}')
    assert clickhouse.judge_resources("x", {"max_execution_time": "60"}, DENIED)["status"] == "pass"
    assert clickhouse.judge_resources("x", {"max_execution_time": "0"}, quota)["status"] == "pass"
    assert clickhouse.judge_resources("x", {"max_execution_time": "0"}, DENIED)["status"] == "fail"


def test_users_and_managers() -> None:
    users = [
        ["default", "['no_password']", ["::1", "127.0.0.1"], [], [], []],
        ["a", "['sha256_password']", ["::/0"], [], [], []],
        ["b", "['sha256_password']", [], ["app"], [], []],
        ["c", "sha256_password", [], [], [], ["%"]],
    ]
    hosts, authentication = clickhouse.judge_users("x", users)
    assert hosts["evidence"] == "May come from anywhere: a, c."
    assert authentication["evidence"] == "Weak authentication: default (no_password)."
    grants = [["admin", None, "ALL"], [None, "boss", "ACCESS MANAGEMENT"], ["eve", None, "SELECT"]]
    roles = [[None, "team", "boss"], ["eve", None, "team"]]
    assert clickhouse.judge_managers("x", grants, [], ["admin"])["status"] == "pass"
    found = clickhouse.judge_managers("x", grants, roles, ["admin"])
    assert found["status"] == "fail" and "eve" in found["evidence"] and "admin" not in found["evidence"].split(":")[1]


def test_logs_and_disks() -> None:
    created = "CREATE TABLE system.query_log (a Date) ENGINE = MergeTree ORDER BY a{} SETTINGS index_granularity = 8192"
    config = ElementTree.fromstring(
        "<clickhouse><session_log><ttl>event_date + INTERVAL 30 DAY</ttl></session_log>"
        "<query_log><database/></query_log></clickhouse>"
    )

    def log(table: str, query: str = "", config: ElementTree.Element | None = None) -> str:
        return str(clickhouse.judge_log("x", "y", table, {table: query} if query else {}, config)["status"])

    assert log("query_log", created.format(" TTL a + toIntervalDay(30)")) == "pass"
    assert log("query_log", created.format("")) == "fail" == log("query_log")
    assert log("session_log", config=config) == "pass" and log("query_log", config=config) == "fail"
    disks = [["default", 0, "Local"], ["safe", 1, "Local"]]
    # as stack_clickhouse writes it: what was there before stays until it is merged, and nothing new comes there
    policies = [["default", ["default"], 0], ["encrypted", ["default"], 1], ["encrypted", ["safe"], "0"]]

    def judged(used: list[list[str]], parts: list[list[str]]) -> str:
        return str(clickhouse.judge_disks("x", disks, policies, used, parts)["status"])

    assert judged([["encrypted"]], []) == judged([["encrypted"]], [["safe"]]) == "pass"
    assert judged([["encrypted"]], [["default"], ["safe"]]) == judged([["encrypted"], ["default"]], []) == "fail"
    assert judged([["other"]], []) == "error"
    statuses = [
        clickhouse.judge_urls("x", reply)["status"]
        for reply in (clickhouse.Reply(491, "(UNACCEPTABLE_URL)"), DONE, DENIED, clickhouse.Reply(-1, "no answer"))
    ]
    assert statuses == ["pass", "fail", "not_applicable", "error"]


GOOD_CONFIG = """<clickhouse>
<allow_no_password>0</allow_no_password><allow_implicit_no_password>0</allow_implicit_no_password>
<allow_plaintext_password>0</allow_plaintext_password>
<named_collections_storage><type>local_encrypted</type></named_collections_storage>
<ldap_servers><corp><host>ldap</host><enable_tls>yes</enable_tls></corp></ldap_servers>
<http_authentication_servers><sso><uri>https://sso/auth</uri></sso></http_authentication_servers>
</clickhouse>"""


@pytest.mark.parametrize(
    ("old", "new", "override", "failing"),
    [
        ("", "", 452, []),
        ("", "", 0, ["clickhouse_named_collections"]),
        ("local_encrypted", "local", 452, ["clickhouse_named_collections"]),
        ("<allow_no_password>0", "<allow_no_password>1", 452, ["clickhouse_password_types"]),
        ("yes", "no", 452, ["clickhouse_external_authenticators"]),
        (
            "<enable_tls>yes</enable_tls>",
            "<tls_require_cert>never</tls_require_cert>",
            452,
            ["clickhouse_external_authenticators"],
        ),
        ("https://sso", "http://sso", 452, ["clickhouse_external_authenticators"]),
    ],
)
def test_the_configuration_that_was_loaded(old: str, new: str, override: int, failing: list[str]) -> None:
    config = ElementTree.fromstring(GOOD_CONFIG.replace(old, new) if old else GOOD_CONFIG)
    found = by_probe(clickhouse.judge_config("x", config, clickhouse.Reply(override)))
    assert [probe for probe, status in found.items() if status != "pass"] == failing


# -- MongoDB ----------------------------------------------------------------------------------------------------------

UNAUTHORIZED = mongodb.Reply(13, "Command listDatabases requires authentication")


def test_answers_of_mongodb() -> None:
    assert mongodb.judge_anonymous("x", {"here": UNAUTHORIZED})["status"] == "pass"
    assert mongodb.judge_anonymous("x", {"here": UNAUTHORIZED, "there": mongodb.Reply(0)})["status"] == "fail"
    assert mongodb.judge_anonymous("x", {"here": mongodb.Reply(-1, "closed")})["status"] == "error"
    assert mongodb.judge_mechanisms("x", ["SCRAM-SHA-256"], "s")["status"] == "pass"
    assert mongodb.judge_mechanisms("x", ["SCRAM-SHA-1", "SCRAM-SHA-256"], "s")["status"] == "fail"
    refused = mongodb.Reply(6108304, "no globalScriptEngine in $where parsing")
    assert mongodb.judge_javascript("x", refused)["status"] == "pass"
    assert mongodb.judge_javascript("x", mongodb.Reply(0))["status"] == "fail"
    assert mongodb.judge_javascript("x", UNAUTHORIZED)["status"] == "error"
    assert (
        mongodb.judge_localhost("x", False)["status"] == "pass"
        and mongodb.judge_localhost("x", True)["status"] == "fail"
    )
    assert mongodb.judge_verbosity("x", {"verbosity": 0, "accessControl": {"verbosity": 1}})["status"] == "pass"
    assert mongodb.judge_verbosity("x", {"verbosity": 0, "accessControl": {"verbosity": -1}})["status"] == "fail"
    assert mongodb.judge_keyfile("x", "rs0", {"keyFile": "/k"})["status"] == "pass"
    assert mongodb.judge_keyfile("x", "rs0", {"clusterAuthMode": "x509"})["status"] == "pass"
    assert mongodb.judge_keyfile("x", "rs0", {})["status"] == "fail"
    assert mongodb.judge_keyfile("x", "", {})["status"] == "not_applicable"


def test_rights_and_sources_in_mongodb() -> None:
    own = [{"role": "readWrite", "db": "hyperdx"}]
    assert mongodb.judge_rights("x", "hyperdx", own, {"users": UNAUTHORIZED})["status"] == "pass"
    assert mongodb.judge_rights("x", "hyperdx", own, {"users": mongodb.Reply(0)})["status"] == "fail"
    for role, database in (("root", "admin"), ("dbOwner", "hyperdx"), ("read", "other")):
        assert mongodb.judge_rights("x", "hyperdx", [{"role": role, "db": database}], {})["status"] == "fail"
    bound, refused = {"a@admin": [{"clientSource": ["10.0.0.1"]}]}, mongodb.Reply(18, "Authentication failed.")
    assert mongodb.judge_sources("x", bound, refused)["status"] == "pass"
    assert mongodb.judge_sources("x", {**bound, "b@admin": []}, refused)["status"] == "fail"
    assert mongodb.judge_sources("x", bound, mongodb.Reply(0))["status"] == "fail"
    assert mongodb.judge_sources("x", {}, refused)["status"] == "pass"
    assert mongodb.judge_sources("x", {}, None)["status"] == "error"


def test_a_mongod_conf_is_read() -> None:
    text = """
# by hand
net:
  port: 27017
security:
  keyFile: "/etc/mongo/keyfile"   # the members'
  javascriptEnabled: false
setParameter:
    enableLocalhostAuthBypass: false
systemLog:
  component:
    accessControl: {}
    replication:
      verbosity: 2
replication:
  replSetName: rs0
"""
    found = mongodb.configured(text)
    assert found["security.keyFile"] == "/etc/mongo/keyfile" and found["security.javascriptEnabled"] is False
    assert found["systemLog.component.replication.verbosity"] == 2 and found["replication.replSetName"] == "rs0"
    assert found["setParameter.enableLocalhostAuthBypass"] is False
