"""Client hosts: the form in which ClickHouse keeps them, and whether a client fits (AllowedClientHosts)."""

from __future__ import annotations

import ipaddress
import re
import socket

from .model import Hosts, ServerError
from .statements import HostList

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACKS = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
    ipaddress.ip_network("::ffff:127.0.0.1/128"),
)
# what AllowedClientHosts::addLikePattern and addNameRegexp do not keep as they are; another address stays a pattern
_ANY = (("LIKE", "%"), ("LIKE", "0.0.0.0/0"), ("LIKE", "::/0"), ("REGEXP", ".*"))
_LOCAL = (("LIKE", "127.0.0.1"), ("LIKE", "::1"))


def _network(text: str) -> Network:
    """An address, or an address with a prefix length or a mask. Raises ServerError 1000 for another text."""
    host, _other, mask = text.partition("/")
    try:
        # a number with a leading zero is octal, as in C's inet_aton: 010.0.0.1 is 8.0.0.1
        address = socket.inet_ntoa(socket.inet_aton(host)) if re.fullmatch(r"\d+(\.\d+){3}", host) else host
        return ipaddress.ip_network(f"{address}/{mask}" if mask else address, strict=False)
    except (ValueError, OSError):
        raise ServerError(
            1000, "POCO_EXCEPTION", f"Poco::Exception. Code: 1000, e.code() = 0, Invalid address: {text}"
        ) from None


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def parse(written: HostList) -> Hosts:
    """The hosts of a HOST clause. Raises ServerError 1000 for what is no address."""
    hosts = Hosts()
    for kind, text in written:
        add(hosts, kind, text)
    return hosts


def add(hosts: Hosts, kind: str, text: str) -> None:
    """Add one host: `kind` is ANY, LOCAL, NONE, IP, NAME, REGEXP or LIKE."""
    if kind == "IP":
        network = _network(text)
        if network.prefixlen == 0:
            hosts.any = True
        elif any(network.version == loop.version and network.subnet_of(loop) for loop in _LOOPBACKS):  # type: ignore[arg-type]
            hosts.local = True
        elif network.prefixlen == network.max_prefixlen:
            _append(hosts.addresses, _text(network.network_address))
        else:
            _append(hosts.subnets, f"{_text(network.network_address)}/{network.prefixlen}")
    elif kind == "ANY" or (kind, text) in _ANY:
        hosts.any = True
    elif kind == "LOCAL" or (kind, text) in _LOCAL or (kind != "NONE" and text.lower() == "localhost"):
        hosts.local = True
    elif kind != "NONE":
        _append({"NAME": hosts.names, "REGEXP": hosts.regexps, "LIKE": hosts.likes}[kind], text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _append(hosts: list[str], host: str) -> None:
    if host not in hosts:
        hosts.append(host)


def admits(hosts: Hosts, client: str, name: str | None = None) -> bool:
    """Whether a client of this IP address may log in; `name` is what its address resolves to, where it does."""
    if hosts.any:
        return True
    address = ipaddress.ip_address(client)
    plain = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
    if hosts.local and plain.is_loopback:
        return True
    for text in [*hosts.addresses, *hosts.subnets, *filter(_is_address, hosts.likes)]:
        network = ipaddress.ip_network(text, strict=False)
        if plain in network or address in network:
            return True
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped is not None and plain in ipaddress.ip_network(f"{mapped}/{max(network.prefixlen - 96, 0)}"):
            return True
    names = {name, str(plain), str(address)} - {None}
    return any(
        host is not None
        and (
            host.lower() in (n.lower() for n in hosts.names)
            or any(_fits(pattern, host) for pattern in hosts.regexps)
            or any(re.fullmatch(like(pattern), host, re.DOTALL) for pattern in hosts.likes)
        )
        for host in names
    )


def _fits(pattern: str, host: str) -> bool:
    try:
        return re.fullmatch(pattern, host) is not None
    except re.error:
        return False


def like(pattern: str) -> str:
    """A LIKE pattern as a regular expression."""
    return "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
