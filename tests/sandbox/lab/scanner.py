"""Find out which of all 65,535 TCP ports of an address answer, from inside a network namespace.

Usage: scanner.py ADDRESS. Prints the open ports as a JSON list.

Sends one SYN to each port and takes each SYN+ACK for an open port; the kernel, which knows nothing of this connection,
resets it. A port that has not answered is asked again, so that one lost packet hides nothing, and ports are asked in
bursts that no queue on the way overflows. Rules for the packets: RFC 9293 (TCP), RFC 1071 (checksum).
"""

from __future__ import annotations

import errno
import json
import select
import socket
import struct
import sys
import time

ROUNDS = 2
BURST = 256
SILENCE = 0.3
"""Seconds without an answer after which a round is over."""
SYN, SYN_ACK = 0x02, 0x12
SO_RCVBUFFORCE = 33


def checksum(data: bytes) -> int:
    """Return the internet checksum of the data (RFC 1071), whose length is even."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Scanner:
    """Asks the ports of one address."""

    def __init__(self, address: str) -> None:
        """``address``: IPv4 or IPv6, as text."""
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address = address
        # A port of our own, bound so that nothing else here uses it. Nobody listens: answers are reset.
        self.own = socket.socket(self.family, socket.SOCK_STREAM)
        self.own.bind(("", 0))
        self.port: int = self.own.getsockname()[1]
        self.raw = socket.socket(self.family, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self.raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.raw.connect((address, 0))
        packed = socket.inet_pton(self.family, self.raw.getsockname()[0])
        target = socket.inet_pton(self.family, address)
        self.header = packed + target + struct.pack("!HH", socket.IPPROTO_TCP, 20)
        self.open: set[int] = set()
        self.closed: set[int] = set()

    def syn(self, port: int) -> bytes:
        """Return the packet that asks a port."""
        # Sequence number 1, no acknowledgement, five words of header, window 1024; then checksum and urgent pointer.
        fields = (self.port, port, 1, 0, 5 << 4, SYN, 1024)
        bare = struct.pack("!HHIIBBHHH", *fields, 0, 0)
        return struct.pack("!HHIIBBHHH", *fields, checksum(self.header + bare), 0)

    def listen(self, timeout: float) -> bool:
        """Take in the answers that are there within ``timeout`` seconds; return whether there were any."""
        heard = False
        while select.select([self.raw], [], [], timeout)[0]:
            try:
                packet = self.raw.recv(65535)
            except OSError:  # an ICMP answer, such as a firewall's "reject": the port may be asked again
                heard = True
                continue
            segment = packet[(packet[0] & 0x0F) * 4 :] if self.family == socket.AF_INET else packet
            source, to, _sequence, _acknowledged, _offset, flags = struct.unpack("!HHIIBB", segment[:14])
            # A raw socket hears all of TCP that comes from the address; ours is what comes to our port.
            if to == self.port:
                heard = True
                (self.open if flags & SYN_ACK == SYN_ACK else self.closed).add(source)
            timeout = 0
        return heard

    def send(self, packet: bytes) -> None:
        """Send a packet. An error is either an ICMP answer to an earlier one or a full queue: both pass."""
        for _attempt in range(100):
            try:
                self.raw.send(packet)
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    time.sleep(0.001)

    def scan(self) -> list[int]:
        """Return the open ports."""
        for _round in range(ROUNDS):
            left = [port for port in range(1, 65536) if port not in self.open and port not in self.closed]
            for start in range(0, len(left), BURST):
                for port in left[start : start + BURST]:
                    self.send(self.syn(port))
                self.listen(0)
            while self.listen(SILENCE):
                pass
        return sorted(self.open)


if __name__ == "__main__":
    print(json.dumps(Scanner(sys.argv[1]).scan()))
