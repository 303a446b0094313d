"""Runs a sandbox ClickHouse server: `python -m tests.sandbox --version 26.9 --data DIR`, in the development
environment.

When it listens it prints one line of JSON: version, pid, http_port, https_port, url, https_url; `replicas` has the
latter four of each replica. SIGTERM or SIGINT ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from . import real_server
from .engine import VERSIONS
from .options import Options


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description=__doc__)
    parser.add_argument("--version", choices=VERSIONS, default="26.9", help="the ClickHouse to be")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of data and access entities, kept over restarts"
    )
    parser.add_argument(
        "--users-xml", type=Path, help="users.xml with the read-only entities, instead of ClickHouse's own"
    )
    parser.add_argument(
        "--http-port", type=int, nargs="+", default=[0], help="of each replica; 0, or none given: any free port"
    )
    parser.add_argument(
        "--https-port", type=int, nargs="+", help="of each replica; 0: any free port; without it there is no HTTPS"
    )
    parser.add_argument("--cert", default="", help="PEM certificate for HTTPS")
    parser.add_argument("--key", default="", help="its key")
    parser.add_argument("--client-ca", default="", help="CA of client certificates")
    parser.add_argument("--cluster", default="default", help="name of the one cluster")
    parser.add_argument("--replicas", type=int, default=1, help="of the cluster; 26.9 only")
    parser.add_argument(
        "--replicated-access", action="store_true", help="the replicas share an access storage of type replicated"
    )
    parser.add_argument("--display-secrets", action="store_true", help="display_secrets_in_show_and_select")
    parser.add_argument("--timezone", default="UTC")
    parser.add_argument(
        "--resolver",
        type=json.loads,
        default={},
        metavar="JSON",
        help='test only: names of addresses, {"127.0.0.7": ["a.example"]}',
    )
    parser.add_argument(
        "--trust-peer-header", action="store_true", help="test only: X-Sandbox-Peer gives a client's address"
    )
    parser.add_argument("--ready-file", type=Path, help="also write the line of JSON there")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input does")
    given = parser.parse_args()
    if given.replicas < 1:
        parser.error("--replicas: there is at least one")
    if given.version in real_server.VERSIONS and (given.replicas > 1 or given.replicated_access):
        parser.error(
            f"a cluster of replicas needs 26.9: the server of {given.version} is ClickHouse's own, without Keeper"
        )
    return given


def main() -> None:
    """Serve until told to end."""
    given = arguments()
    options = Options(
        cluster=given.cluster,
        replicas=given.replicas,
        replicated_access=given.replicated_access,
        display_secrets=given.display_secrets,
        timezone=given.timezone,
        certificate=given.cert,
        key=given.key,
        client_ca=given.client_ca,
        resolver=given.resolver,
        trust_peer_header=given.trust_peer_header,
    )
    end = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        end.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if given.end_with_stdin:

        def watch() -> None:
            sys.stdin.read()
            end.set()

        threading.Thread(target=watch, daemon=True).start()
    if given.version in real_server.VERSIONS:
        real = real_server.RealServer(
            given.data,
            given.version,
            given.users_xml,
            given.http_port[0],
            given.https_port[0] if given.https_port else None,
            options,
        )
        announce(given, [(real.http_port, real.https_port)])
        wait_for(end)
        real.close()
        return
    from .http_front import Front, tls_context  # only 26.9 needs the front and what it imports
    from .server import SandboxServer

    servers: list[SandboxServer] = []
    for number in range(1, given.replicas + 1):
        directory = given.data if number == 1 else given.data / f"replica-{number}"
        first = servers[0] if servers else None
        servers.append(SandboxServer(directory, given.version, given.users_xml, options, first))
    fronts: list[Front] = []
    ports: list[tuple[int, int | None]] = []
    for server, http_port, https_port in zip(
        servers, padded(given.http_port, given.replicas), padded(given.https_port or [], given.replicas), strict=True
    ):
        fronts.append(Front(("127.0.0.1", http_port), server))
        ports.append((fronts[-1].port, None))
        if given.https_port is not None:
            tls = tls_context(given.cert, given.key, given.client_ca)
            fronts.append(Front(("127.0.0.1", https_port), server, tls))
            ports[-1] = (ports[-1][0], fronts[-1].port)
    for front in fronts:
        front.start()
    announce(given, ports)
    wait_for(end)
    for front in fronts:
        front.shutdown()
    for server in reversed(servers):
        server.close()


def padded(ports: list[int], count: int) -> list[int]:
    """A port for each replica; 0, any free one, where none is given."""
    return (ports + [0] * count)[:count]


def wait_for(end: threading.Event) -> None:
    """Wait, but look up now and then: a signal that another thread takes does not wake the one that waits."""
    while not end.wait(0.5):
        pass


def announce(given: argparse.Namespace, ports: list[tuple[int, int | None]]) -> None:
    """Say where each replica listens: `ports` are those of HTTP and HTTPS."""
    replicas = [
        {
            "http_port": http_port,
            "https_port": https_port,
            "url": f"http://127.0.0.1:{http_port}",
            "https_url": f"https://localhost:{https_port}" if https_port else None,
        }
        for http_port, https_port in ports
    ]
    line = json.dumps({"version": given.version, "pid": os.getpid(), **replicas[0], "replicas": replicas})
    if given.ready_file:
        temporary = given.ready_file.with_suffix(".new")
        temporary.write_text(line + "\n")
        temporary.replace(given.ready_file)
    print(line, flush=True)


if __name__ == "__main__":
    main()
