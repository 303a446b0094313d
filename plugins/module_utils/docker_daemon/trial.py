# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the installed engine whether it starts with a configuration: start it, apart from everything, and end it.

`dockerd --validate` does not answer that: 20.10 has none, and later ones accept options of log drivers, and
combinations of keys, with which they do not start; and it writes to /etc, where userns-remap wants a user.

The second engine runs in namespaces of its own: no network but its own, no process but its own, and of /etc, /opt, /run
and /var a copy on write in memory. Its data lie in memory, and the containerd that it uses is one that it starts
itself. All of that is the kernel's to clean up when the process ends, and it ends by SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, cast

TIMEOUT = 60.0
"""Seconds that the engine may take to start; it takes half a second to one."""
GRACE = 5.0
"""Seconds after that in which it ends without us, should somebody have killed us."""
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")
SCRIPT = r"""
space=$1 ipv4=$2 ipv6=$3
shift 3
echo "$ipv4" >/proc/sys/net/ipv4/ip_forward
[ -z "$ipv6" ] || echo "$ipv6" >/proc/sys/net/ipv6/conf/all/forwarding
mount -t tmpfs -o mode=711 trial "$space"
for folder in etc opt run var; do
    [ -d "/$folder" ] || continue
    mkdir "$space/$folder.upper" "$space/$folder.work"
    mount -t overlay -o "lowerdir=/$folder,upperdir=$space/$folder.upper,workdir=$space/$folder.work" trial "/$folder"
done
# Without this socket the engine starts a containerd of its own.
rm -f /run/containerd/containerd.sock
(umask 077; cat >"$space/daemon.json")
exec "$@" </dev/null
"""
"""Runs a command beside the host: a folder for its things, whether the host forwards IPv4 and IPv6, and the command are
the arguments, the configuration file is standard input."""
_FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
"""Settings below /proc/sys/net without which firewall-backend nftables does not start (from 29.0 on)."""


class TrialError(Exception):
    """The engine does not start with the configuration; the message is the engine's own."""


def validate(program: str, flags: Sequence[str], text: str) -> None:
    """Have the engine look at a configuration, with all that the service gives it: `dockerd --validate`, from 23.0 on.

    :param program: the path of dockerd
    :param flags: the flags that the service gives
    :param text: the content of the file
    :raises TrialError: if it does not like it
    """
    with _scratch() as scratch:
        file = ("--config-file", f"{scratch}/space/daemon.json")
        said, status = _run(scratch, [program, *flags, "--validate", *file], text, "")
    if status:
        raise TrialError(said)


def start(program: str, flags: Sequence[str], document: Mapping[str, Any]) -> None:
    """Start the engine with a configuration, and end it once it answers.

    :param program: the path of dockerd
    :param flags: the flags that the service gives, without those for places
    :param document: the content of the file, without places: the trial has its own
    :raises TrialError: if it does not start, or cannot be tried
    """
    with _scratch() as scratch:
        space, address = f"{scratch}/space", f"{scratch}/api.sock"
        places = ("--data-root", f"{space}/data", "--exec-root", f"{space}/exec", "--pidfile", f"{space}/pid")
        command = [program, *flags, "--config-file", f"{space}/daemon.json", *places, "--host", f"unix://{address}"]
        said, status = _run(scratch, command, json.dumps(document), address)
    if status is not None:
        raise TrialError(said)


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    # Not below /run or /var, which the engine has copies of: its socket is to be seen from here.
    scratch = tempfile.mkdtemp(prefix="docker-daemon-", dir="/tmp")
    try:
        # A remapped root has to get to the data (moby, setupDaemonRoot).
        os.chmod(scratch, 0o711)
        os.mkdir(f"{scratch}/space", 0o711)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(scratch: str, command: Sequence[str], text: str, address: str) -> tuple[str, int | None]:
    """Return why the command ended and its exit status, or None as that if it answered at the address before.

    :raises TrialError: if it does neither in time
    """
    # If this process is killed, the command ends by itself, and the kernel takes the rest away.
    limited = ("timeout", "--signal=KILL", str(TIMEOUT + GRACE), *command)
    forwards = [_setting(f"/proc/sys/net/{name}") for name in _FORWARDING]
    inside = ("unshare", *NAMESPACES, "sh", "-euc", SCRIPT, "trial", f"{scratch}/space", *forwards, *limited)
    try:
        # run_command waits for the end; this one is ended once it answers.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise TrialError(f"it cannot be tried, because there is no {error.filename} on this host") from error
    chunks: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(process, chunks))
    reader.start()
    try:
        with contextlib.suppress(BrokenPipeError), cast(IO[bytes], process.stdin) as given:
            given.write(text.encode())
        deadline = time.monotonic() + TIMEOUT
        while process.poll() is None:
            if address and _answers(address):
                return "", None
            if time.monotonic() > deadline:
                raise TrialError(f"it does not start within {TIMEOUT:.0f} seconds")
            time.sleep(0.02)
    finally:
        # unshare takes process 1 of the namespaces with it, and that takes everything else in them.
        process.kill()
        process.wait()
        # The pipe ends with the last process that holds it.
        reader.join()
    said = _reason(b"".join(chunks).decode(errors="replace"))
    return said.replace(f"{scratch}/space/", ""), process.returncode


def _setting(path: str) -> str:
    """Return what the kernel says there; nothing if it has no such setting, as without IPv6."""
    with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
        return file.read().strip()
    return ""


def _drain(process: subprocess.Popen[bytes], chunks: list[bytes]) -> None:
    with cast(IO[bytes], process.stdout) as output:
        chunks.extend(iter(lambda: output.read1(65536), b""))  # type: ignore[attr-defined]


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0.25)
        connection.connect(address)
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return connection.recv(64).split(b" ")[1:2] == [b"200"]
    return False


def _reason(output: str) -> str:
    """Return what of the output says why: what is no log, or else what the log says of errors."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith("time=")]
    logged = re.findall(r'level=(?:error|fatal) .*?msg="((?:[^"\\]|\\.)*)"', output)
    return " ".join(plain[-3:] or logged[-1:] or lines[-1:]).rstrip(".") or "it ended without a word"
