"""What an administrator would set in ClickHouse's config.xml, and what only a test wants."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """Options of a sandbox server; the defaults are ClickHouse's unless said otherwise."""

    cluster: str = "default"
    """The one cluster, of one shard."""
    replicas: int = 1
    """How many replicas the shard has; 26.9 only."""
    replicated_access: bool = False
    """Whether the replicas share a `replicated` access storage; else each has a `local_directory` of its own."""
    display_secrets: bool = False
    """`display_secrets_in_show_and_select`."""
    display_name: str = "sandbox"
    timezone: str = "UTC"
    certificate: str = ""
    """PEM files for HTTPS."""
    key: str = ""
    client_ca: str = ""
    """The CA of client certificates; they are asked for, not required."""
    resolver: dict[str, list[str]] = field(default_factory=dict)
    """Test only: the names of addresses (HOST NAME, REGEXP, LIKE), asked before the system's resolver."""
    trust_peer_header: bool = False
    """Test only: take a client's address from its X-Sandbox-Peer header."""
