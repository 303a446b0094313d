"""Starts ClickHouse's own server for the versions whose chDB wheel holds it (24.8 and 25.8), configured as the
sandbox of 26.9.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from xml.sax.saxutils import escape

from .engine import python_of
from .options import Options
from .users_xml import SHIPPED

VERSIONS = frozenset(("24.8", "25.8"))
_PROGRAM = Path(__file__).with_name("server_program.py")


def free_port() -> int:
    """A port nobody listens on now (the server takes no port 0)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(
    directory: Path,
    users: Path,
    http_port: int,
    https_port: int | None,
    tcp_port: int,
    native_port: int,
    options: Options,
) -> str:
    """The server's config.xml."""
    tls = ""
    if https_port is not None:
        ca = f"<caConfig>{escape(options.client_ca)}</caConfig>" if options.client_ca else ""
        tls = f"""
    <https_port>{https_port}</https_port><tcp_port_secure>{native_port}</tcp_port_secure>
    <openSSL><server>
        <certificateFile>{escape(options.certificate)}</certificateFile><privateKeyFile>{
            escape(options.key)
        }</privateKeyFile>{ca}
        <verificationMode>{
            "relaxed" if options.client_ca else "none"
        }</verificationMode><loadDefaultCAFile>false</loadDefaultCAFile>
        <disableProtocols>sslv2,sslv3,tlsv1,tlsv1_1</disableProtocols>
    </server></openSSL>"""
    replica = f"<shard><replica><host>localhost</host><port>{tcp_port}</port></replica></shard>"
    return f"""<clickhouse>
    <logger><level>error</level><errorlog>{directory}/error.log</errorlog></logger>
    <path>{directory}/data/</path><tmp_path>{directory}/tmp/</tmp_path><user_files_path>{directory}/user_files/</user_files_path>
    <listen_host>127.0.0.1</listen_host><http_port>{http_port}</http_port><tcp_port>{tcp_port}</tcp_port>{tls}
    <display_name>{escape(options.display_name)}</display_name><timezone>{escape(options.timezone)}</timezone>
    <display_secrets_in_show_and_select>{int(options.display_secrets)}</display_secrets_in_show_and_select>
    <mark_cache_size>16777216</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
    <remote_servers><{options.cluster}>{replica}</{options.cluster}></remote_servers>
    <user_directories>
        <users_xml><path>{escape(str(users))}</path></users_xml>
        <local_directory><path>{directory}/access/</path></local_directory>
    </user_directories>
</clickhouse>
"""


class RealServer:
    """A running server: `http_port`, `tcp_port`, with TLS `https_port` and `native_port`; `close()` ends it."""

    def __init__(
        self,
        directory: Path,
        version: str,
        users: Path | None,
        http_port: int,
        https_port: int | None,
        options: Options,
    ) -> None:
        """Start it over `directory`, which keeps its state; port 0 means any free one. Raises RuntimeError where it
        does not start.
        """
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        if users is None:
            users = directory / "users.xml"
            if not users.exists():
                users.write_text(SHIPPED)
        self.http_port = http_port or free_port()
        self.https_port = None if https_port is None else https_port or free_port()
        self.tcp_port, self.native_port = free_port(), None if https_port is None else free_port()
        file = directory / "config.xml"
        ports = self.http_port, self.https_port, self.tcp_port, self.native_port or 0
        file.write_text(config(directory, users, *ports, options))
        # the program cannot say where its wheel's certificates are, and needs none
        self._process = subprocess.Popen(
            [str(python_of(version)), "-I", str(_PROGRAM), f"--config-file={file}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/ping", timeout=5).close()
                return
            except (urllib.error.URLError, OSError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise RuntimeError(f"ClickHouse {version} does not start; see {directory}/error.log") from error
                time.sleep(0.05)

    def close(self) -> None:
        """End the server and wait until it is gone. Some stop on the way out: what they keep is on disk by then."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
