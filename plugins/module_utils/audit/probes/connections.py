# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes' way to the network: connection attempts, HTTP requests, and a container's namespace to make them from.

A thread that enters a network namespace opens its sockets there, as the container's own processes do: so a login is
tried from where the user may come from. The rest of the process stays where it is (setns(2)).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
OPEN, REFUSED, SILENT, UNREACHABLE = "open", "refused", "silent", "unreachable"
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_ATTEMPTS = 512
"""Connection attempts at the same time."""
_BODY = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What came back on an HTTP request. `status` 0 means that nothing did, and `body` says why."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def attempt_all(targets: Iterable[tuple[str, int]], timeout: float) -> dict[tuple[str, int], str]:
    """Return what came of a TCP connection to each address and port: open, refused, silent or unreachable.

    :param timeout: seconds for each attempt
    """
    return asyncio.run(_attempt_all(list(targets), timeout))


async def _attempt_all(targets: list[tuple[str, int]], timeout: float) -> dict[tuple[str, int], str]:
    gate = asyncio.Semaphore(_ATTEMPTS)

    async def attempt(address: str, port: int) -> str:
        async with gate:
            try:
                _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), timeout)
            except ConnectionRefusedError:
                return REFUSED
            except (asyncio.TimeoutError, TimeoutError):
                return SILENT
            except OSError:
                return UNREACHABLE
            writer.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), timeout)
            return OPEN

    found = await asyncio.gather(*(attempt(*target) for target in targets))
    return dict(zip(targets, found))  # noqa: B905 (strict is of Python 3.10)


class _Connection(http.client.HTTPConnection):
    """HTTP to an address, over TLS that asks for another name where there is a context."""

    def __init__(self, address: str, port: int, timeout: float, context: ssl.SSLContext | None, name: str) -> None:
        super().__init__(address, port, timeout=timeout)
        self._context, self._name = context, name

    def connect(self) -> None:
        """Connect, and do the handshake."""
        super().connect()
        if self._context:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name or None)


@dataclass(frozen=True)
class Web:
    """An HTTP server: its address, and with `is_tls` the name that it is asked by.

    Without a `context` no certificate is verified: that is right where nothing is sent that others must not see.
    """

    address: str
    port: int
    is_tls: bool = False
    name: str = ""
    timeout: float = 3.0
    context: ssl.SSLContext | None = None

    @property
    def where(self) -> str:
        """Its address in a text."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer on one request.

        :param body: bytes to send; None for no body
        :param headers: header fields, beside Host
        """
        context = (self.context or unverified()) if self.is_tls else None
        connection = _Connection(self.address, self.port, self.timeout, context, self.name)
        try:
            host = {"Host": self.name} if self.name else {}
            connection.request(method, path, body, {**host, "Connection": "close", **(headers or {})})
            reply = connection.getresponse()
            text = reply.read(_BODY).decode("utf-8", "replace")
            return Answer(reply.status, text, {name.lower(): value for name, value in reply.getheaders()})
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, said(error))
        finally:
            connection.close()


def unverified() -> ssl.SSLContext:
    """Return a context that speaks with every server, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def resolved(host: str) -> str:
    """Return the first address of a host; the name itself if it has none that is known here."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return host


def said(error: BaseException) -> str:
    """Return what an error of the network says, in a few words."""
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        text = re.sub(r"\s*\(_ssl\.c:\d+\)", "", error.reason or str(error))
        return f"TLS: {text.replace('_', ' ').lower()}"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"no HTTP ({type(error).__name__})"


def in_namespace(pid: int, work: Callable[[], T]) -> T:
    """Return what `work` returns when it is done in the network namespace of a process.

    :param pid: the process, in this host's numbers; 0 to stay here
    :param work: what opens sockets; threads that it starts are in the namespace too
    :raises OSError: if the namespace cannot be entered, which takes root
    """
    if not pid:
        return work()
    outcome: list[Any] = []

    def enter() -> None:
        try:
            handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            try:
                library = ctypes.CDLL(None, use_errno=True)
                if library.setns(handle, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"cannot enter the network namespace of process {pid}: {os.strerror(number)}")
            finally:
                os.close(handle)
            outcome.append((True, work()))
        except BaseException as error:  # whatever it is, it belongs to the caller
            outcome.append((False, error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    is_done, value = outcome[0]
    if not is_done:
        raise value
    result: T = value
    return result
