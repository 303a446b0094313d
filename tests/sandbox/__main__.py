"""Runs a sandbox ClickHouse server: `python -m tests.sandbox --version 26.9 --data DIR`, in the development
environment.

When it listens it prints one line of JSON: version, pid, http_port, https_port, url, https_url. SIGTERM or SIGINT
ends it.
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
    parser.add_argument("--http-port", type=int, default=0, help="0: any free port")
    parser.add_argument("--https-port", type=int, help="0: any free port; without it there is no HTTPS")
    parser.add_argument("--cert", default="", help="PEM certificate for HTTPS")
    parser.add_argument("--key", default="", help="its key")
    parser.add_argument("--client-ca", default="", help="CA of client certificates")
    parser.add_argument("--cluster", default="default", help="name of the one cluster")
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
    return parser.parse_args()


def main() -> None:
    """Serve until told to end."""
    given = arguments()
    options = Options(
        cluster=given.cluster,
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
            given.data, given.version, given.users_xml, given.http_port, given.https_port, options
        )
        announce(given, real.http_port, real.https_port)
        wait_for(end)
        real.close()
        return
    from .http_front import Front, tls_context  # only 26.9 needs the front and what it imports
    from .server import SandboxServer

    clickhouse = SandboxServer(given.data, given.version, given.users_xml, options)
    fronts = [Front(("127.0.0.1", given.http_port), clickhouse)]
    if given.https_port is not None:
        fronts.append(
            Front(("127.0.0.1", given.https_port), clickhouse, tls_context(given.cert, given.key, given.client_ca))
        )
    for front in fronts:
        front.start()
    announce(given, fronts[0].port, fronts[1].port if len(fronts) > 1 else None)
    wait_for(end)
    for front in fronts:
        front.shutdown()
    clickhouse.close()


def wait_for(end: threading.Event) -> None:
    """Wait, but look up now and then: a signal that another thread takes does not wake the one that waits."""
    while not end.wait(0.5):
        pass


def announce(given: argparse.Namespace, http_port: int, https_port: int | None) -> None:
    """Say where the server listens."""
    line = json.dumps(
        {
            "version": given.version,
            "pid": os.getpid(),
            "http_port": http_port,
            "https_port": https_port,
            "url": f"http://127.0.0.1:{http_port}",
            "https_url": f"https://localhost:{https_port}" if https_port else None,
        }
    )
    if given.ready_file:
        temporary = given.ready_file.with_suffix(".new")
        temporary.write_text(line + "\n")
        temporary.replace(given.ready_file)
    print(line, flush=True)


if __name__ == "__main__":
    main()
