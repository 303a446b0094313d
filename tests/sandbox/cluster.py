"""The sandbox's cluster: one shard, whose replicas are all in this process; see KNOWN_DIFFERENCES.md.

A statement ON CLUSTER runs on one replica after another, and what clusterAllReplicas reads is collected in files: one
of each replica, named `N.table.*`, which a table of the overlay reads together, so that its virtual column `_file`
tells whose a row is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .access import ServerError, Table
from .engine import EngineError, string_literal

if TYPE_CHECKING:
    from .server import SandboxServer

DDL_COLUMNS = [
    ("host", "String"),
    ("port", "UInt16"),
    ("status", "Int64"),
    ("error", "String"),
    ("num_hosts_remaining", "UInt64"),
    ("num_hosts_active", "UInt64"),
]
# Errors of the server that a statement ON CLUSTER arrives at which keep it from the others: unknown grammar, readonly
# mode, DDL not allowed, missing privileges
_NOT_SENT = frozenset((62, 164, 392, 497))
NUMBER = "toUInt32(splitByChar('.', _file)[1])"
"""The number of the replica a row is of."""


def host_and_port(number: int, replicas: int) -> tuple[str, int]:
    """The name and the TCP port (where nothing listens) by which a replica is known; `number` from 1 on."""
    return "localhost" if replicas == 1 else f"replica-{number}", 8999 + number


def run_everywhere(servers: list[SandboxServer], run: Callable[[SandboxServer], None], output_mode: str) -> Table:
    """Run a statement on each replica; the rows that ON CLUSTER answers with.

    `output_mode`: the setting distributed_ddl_output_mode. Unless that is `never_throw`, raises EngineError with the
    error of the first replica that had one, when all have finished (DDLQueryStatusSource). Where the first refuses the
    statement, raises that and leaves out the others.
    """
    rows: list[tuple[str, int, int, str, int, int]] = []
    first: EngineError | None = None
    for place, server in enumerate(servers, 1):
        code, text = 0, ""
        try:
            run(server)
        except (EngineError, ServerError) as error:
            code = error.code
            if place == 1 and code in _NOT_SENT:
                raise
            text = f"Code: {code}. DB::Exception: {error.message} ({error.name}) "
            text += f"(version {server.full_version} (official build))"
            first = first or EngineError(
                code, error.name, f"There was an error on [{server.host}:{server.tcp_port}]: {text}."
            )
        rows.append((server.host, server.tcp_port, code, text, len(servers) - place, 0))
    if first is not None and output_mode != "never_throw":
        raise first
    return Table(DDL_COLUMNS, rows)


def clusters_table(servers: list[SandboxServer], asked: SandboxServer, columns: list[tuple[str, str]]) -> Table:
    """system.clusters as the server `asked` shows it; what is not known of a column is its type's default."""
    rows = []
    for number, server in enumerate(servers, 1):
        values = {
            "cluster": server.options.cluster,
            "shard_num": 1,
            "shard_weight": 1,
            "replica_num": number,
            "host_name": server.host,
            "host_address": "127.0.0.1",
            "port": server.tcp_port,
            "is_local": int(server is asked),
            "user": "default",
        }
        rows.append(tuple(values.get(name) for name, _type in columns))
    return Table(columns, rows)


def functions_here(server: SandboxServer) -> dict[str, str]:
    """What the functions that tell which server it is answer outside a read from the cluster."""
    return {
        **dict.fromkeys(("hostname", "fqdn", "fullhostname"), string_literal(server.host)),
        "tcpport": f"toUInt16({server.tcp_port})",
    }


def functions_there(servers: list[SandboxServer]) -> dict[str, str]:
    """The same where a query reads from all replicas: of the replica whose row it is."""
    hosts = ", ".join(string_literal(server.host) for server in servers)
    ports = ", ".join(str(server.tcp_port) for server in servers)
    return {
        **dict.fromkeys(("hostname", "fqdn", "fullhostname"), f"[{hosts}][{NUMBER}]"),
        "tcpport": f"CAST([{ports}], 'Array(UInt16)')[{NUMBER}]",
    }
