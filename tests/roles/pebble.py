"""An ACME server on loopback: Let's Encrypt's own for tests, pebble, with a DNS server that answers for every name."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.sandbox.certificates import Authority
from tests.sandbox.lab.go_modules import GoModule, build
from tests.sandbox.lab.packages import BUILD, made_once
from tests.sandbox.real_server import free_port

MODULE = GoModule(
    "github.com/letsencrypt/pebble/v2",
    "v2.10.3",
    "h1:Zg/Rq9T8FvNMvfLvi3k+dXmrwgDnG9neRpeaJY2hwVM=",
    {"pebble": "cmd/pebble", "pebble-challtestsrv": "cmd/pebble-challtestsrv"},
    {},
)


def programs() -> Path:
    """The folder with pebble and its DNS server, built once. Raises Unavailable where there is no Go."""
    folder = BUILD / "unpacked" / f"pebble-{MODULE.version}"
    with made_once(folder) as fresh:
        if fresh:
            build(MODULE, fresh)
    return folder


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Pebble:
    """The servers: `url` of the ACME directory, `authority` that its TLS certificate is of, `webroot` for http-01, and
    `dns`, where TXT records are set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.webroot = folder / "webroot"
        self.webroot.mkdir(parents=True)
        self._processes: list[subprocess.Popen[bytes]] = []
        binaries = programs()
        authority = Authority(folder / "ca")
        self.authority = authority.ca
        certificate, key = authority.server()
        ports = {name: free_port() for name in ("acme", "admin", "dns", "records")}
        self.dns = f"http://127.0.0.1:{ports['records']}"
        self.url = f"https://localhost:{ports['acme']}/dir"
        handler = functools.partial(_Quiet, directory=str(self.webroot))
        self._web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._web.serve_forever, daemon=True).start()
        settings = {
            "listenAddress": f"127.0.0.1:{ports['acme']}",
            "managementListenAddress": f"127.0.0.1:{ports['admin']}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": self._web.server_address[1],
            "tlsPort": 1,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "90 days", "validityPeriod": 90 * 86400}},
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        server = [binaries / "pebble-challtestsrv", "-management", f"127.0.0.1:{ports['records']}", "-defaultIPv6", ""]
        self._start([*server, "-dnsserver", f"127.0.0.1:{ports['dns']}", *_OFF])
        self._start([binaries / "pebble", "-config", folder / "pebble.json", "-dnsserver", f"127.0.0.1:{ports['dns']}"])
        for port in ("acme", "records"):
            self._wait(ports[port])

    def _start(self, command: Sequence[str | Path]) -> None:
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        with (self.folder / "servers.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.close()
        raise RuntimeError((self.folder / "servers.log").read_text()[-2000:])

    def close(self) -> None:
        """End the servers."""
        self._web.shutdown()
        self._web.server_close()
        for process in self._processes:
            process.terminate()
            process.wait(10)


_OFF = [argument for name in ("http01", "https01", "tlsalpn01", "doh") for argument in (f"-{name}", "")]
"""The test servers for challenges: the role's own are wanted here."""
