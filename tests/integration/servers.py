"""Which server a test runs on where not every version is wanted, who works on it, and another way to it by TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

VERSIONS = os.environ.get("SANDBOX_VERSIONS", "26.9").replace(",", " ").split()
NEWEST = "26.9"
"""What the tests run on that cost too much to run on each version."""
PASSWORD = "only for tests 7"

on_newest = pytest.mark.parametrize(
    "clickhouse",
    [
        "real"
        if "CLICKHOUSE_URL" in os.environ
        else pytest.param(NEWEST, marks=pytest.mark.skipif(NEWEST not in VERSIONS, reason="runs on the newest version"))
    ],
    indirect=True,
    scope="session",
)
"""For tests that run real playbooks, which cost seconds: one server, the newest."""


def root(clickhouse: Any) -> Any:
    """A client with every right."""
    return clickhouse.session(getattr(clickhouse, "user", "default"), getattr(clickhouse, "password", ""))


def administrator(clickhouse: Any, name: str, *statements: str) -> dict[str, Any]:
    """Make a user and run statements on it (`{}` stands for its name); return its login options."""
    client = root(clickhouse)
    client.query(f"DROP USER IF EXISTS `{name}`")
    client.query(f"CREATE USER `{name}` IDENTIFIED WITH sha256_password BY '{PASSWORD}'")
    for statement in statements:
        client.query(statement.format(f"`{name}`"))
    return {"login_user": name, "login_password": PASSWORD}


@contextlib.contextmanager
def tls_relay(target_port: int, certificate: tuple[Path, Path]) -> Iterator[int]:
    """A TLS port in front of a plain one, with a certificate of our choice; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):  # a client that does not trust us goes away in the handshake
                client = context.wrap_socket(listener.accept()[0], server_side=True)
                server = socket.create_connection(("127.0.0.1", target_port))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
