"""Attempts to connect, made from inside a network namespace.

Usage: probe.py once ADDRESS PORT TIMEOUT | watch ADDRESS PORT EVERY

``once`` prints open, refused or silent. ``watch`` says that it begins, and makes an attempt every EVERY seconds until
its standard input ends, each on its own, so that one that gets no answer holds up none. Then it prints as JSON how many
there were, when those that came through did, in seconds after the first, and the longest pause between two.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import sys
import time

PATIENCE = 0.9
"""Seconds that an attempt of ``watch`` may take: less than after which TCP asks once more (RFC 6298: 1 s), so that what
comes through late is no attempt of an earlier moment."""


def begin(address: str, port: int) -> socket.socket:
    """Return a socket that has begun to connect. Raises OSError where that is refused at once."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    outcome = connection.connect_ex((address, port))
    if outcome not in (0, errno.EINPROGRESS):
        connection.close()
        raise OSError(outcome, "cannot connect")
    return connection


def once(address: str, port: int, timeout: float) -> str:
    """Return how one attempt went."""
    try:
        connection = begin(address, port)
    except OSError:
        return "refused"
    with connection:
        if not select.select([], [connection], [], timeout)[1]:
            return "silent"
        return "refused" if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else "open"


def watch(address: str, port: int, every: float) -> dict[str, object]:
    """Make attempts until standard input ends and return what came of them."""
    started = last = time.monotonic()
    attempts, pause = 0, 0.0
    came_through: list[float] = []
    poll = select.poll()
    ends = select.poll()
    ends.register(sys.stdin, select.POLLIN | select.POLLHUP)
    waiting: dict[int, tuple[socket.socket, float]] = {}

    def collect(timeout: float) -> None:
        for descriptor, _events in poll.poll(timeout * 1000):
            connection, begun = waiting.pop(descriptor)
            poll.unregister(descriptor)
            with connection:
                if not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    came_through.append(round(begun - started, 3))

    print("watching", flush=True)
    while not ends.poll(0):
        now = time.monotonic()
        pause, last = max(pause, now - last), now
        attempts += 1
        try:
            connection = begin(address, port)
        except OSError:
            pass
        else:
            waiting[connection.fileno()] = connection, now
            poll.register(connection, select.POLLOUT)
        # What came through while this process had to wait for its turn counts.
        collect(0)
        for descriptor, (late, begun) in list(waiting.items()):
            if now - begun > PATIENCE:
                del waiting[descriptor]
                poll.unregister(descriptor)
                late.close()
        while (left := now + every - time.monotonic()) > 0:
            collect(left)
    until = time.monotonic() + PATIENCE
    while waiting and (left := until - time.monotonic()) > 0:
        collect(left)
    return {"attempts": attempts, "open": sorted(came_through), "longest_pause": round(pause, 3)}


if __name__ == "__main__":
    what, to, number, seconds = sys.argv[1:]
    if what == "once":
        print(once(to, int(number), float(seconds)))
    else:
        print(json.dumps(watch(to, int(number), float(seconds))))
