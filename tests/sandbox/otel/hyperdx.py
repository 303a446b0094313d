"""What HyperDX 2.36 tells a collector: the shape of its remote configuration and of the image's files, an OpAMP server.

Written after packages/api/src/opamp and docker/otel-collector of hyperdxio/hyperdx. The shape is theirs, component by
component; addresses are of loopback and ports free ones, because several tests may run on this machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from io import BufferedIOBase
from typing import Any

from . import protobuf

Json = dict[str, Any]


def _free_port() -> int:
    # imported here, because hyperdx_app.py takes this file into an image that has no other file of the sandbox
    from tests.sandbox.real_server import free_port

    return free_port()


@dataclass(frozen=True)
class Ports:
    """The ports of one collector. `health` and `metrics` are those that the image's files have, on all addresses; the
    others are on `address`.
    """

    grpc: int = field(default_factory=_free_port)
    http: int = field(default_factory=_free_port)
    fluent: int = field(default_factory=_free_port)
    health: int = field(default_factory=_free_port)
    metrics: int = field(default_factory=_free_port)
    address: str = "127.0.0.1"


def base(ports: Ports) -> Json:
    """The image's config.yaml: processors, health check and metrics on all addresses, no pipelines."""
    return {
        "processors": {
            "transform": {"log_statements": [{"context": "log", "statements": ['set(log.severity_text, "info")']}]},
            "batch": {
                "send_batch_size": "${env:HYPERDX_OTEL_BATCH_SEND_BATCH_SIZE:-10000}",
                "timeout": "${env:HYPERDX_OTEL_BATCH_TIMEOUT:-5s}",
            },
            "memory_limiter": {"limit_mib": 1500, "spike_limit_mib": 512, "check_interval": "5s"},
        },
        "extensions": {"health_check": {"endpoint": f":{ports.health}"}},
        "service": {
            "telemetry": {
                "metrics": {
                    "readers": [{"pull": {"exporter": {"prometheus": {"host": "0.0.0.0", "port": ports.metrics}}}}]
                },
                "logs": {"level": "${env:HYPERDX_LOG_LEVEL}"},
            },
            "extensions": ["health_check"],
        },
    }


def _exporter(**more: str) -> Json:
    return {
        "endpoint": "${env:CLICKHOUSE_ENDPOINT}",
        "database": "${env:HYPERDX_OTEL_EXPORTER_CLICKHOUSE_DATABASE}",
        "username": "${env:CLICKHOUSE_USER}",
        "password": "${env:CLICKHOUSE_PASSWORD}",
        "ttl": "${env:HYPERDX_OTEL_EXPORTER_TABLES_TTL:-720h}",
        "timeout": "5s",
        "create_schema": "${env:HYPERDX_OTEL_EXPORTER_CREATE_LEGACY_SCHEMA:-false}",
        "retry_on_failure": {
            "enabled": True,
            "initial_interval": "5s",
            "max_interval": "30s",
            "max_elapsed_time": "300s",
        },
        **more,
    }


def _pipelines(*inputs: str) -> Json:
    ordinary = ["memory_limiter", "batch"]
    return {
        "traces": {"receivers": list(inputs), "processors": ordinary, "exporters": ["clickhouse"]},
        "metrics": {"receivers": list(inputs), "processors": ordinary, "exporters": ["clickhouse"]},
        "logs/in": {"receivers": list(inputs), "exporters": ["routing/logs"]},
        "logs/out-default": {
            "receivers": ["routing/logs"],
            "processors": ["memory_limiter", "transform", "batch"],
            "exporters": ["clickhouse"],
        },
        "logs/out-rrweb": {"receivers": ["routing/logs"], "processors": ordinary, "exporters": ["clickhouse/rrweb"]},
    }


def standalone(ports: Ports) -> Json:
    """The image's configuration without a HyperDX: a complete pipeline, open to everybody."""
    return {
        "receivers": {
            "otlp/hyperdx": {
                "protocols": {
                    "grpc": {"endpoint": f"{ports.address}:{ports.grpc}", "include_metadata": True},
                    "http": {
                        "endpoint": f"{ports.address}:{ports.http}",
                        "cors": {"allowed_origins": ["*"], "allowed_headers": ["*"]},
                        "include_metadata": True,
                    },
                }
            }
        },
        "connectors": {
            "routing/logs": {
                "default_pipelines": ["logs/out-default"],
                "error_mode": "ignore",
                "table": [
                    {
                        "context": "log",
                        "statement": 'route() where IsMatch(attributes["rr-web.event"], ".*")',
                        "pipelines": ["logs/out-rrweb"],
                    }
                ],
            }
        },
        "exporters": {"clickhouse": _exporter(), "clickhouse/rrweb": _exporter(logs_table_name="hyperdx_sessions")},
        "service": {"pipelines": _pipelines("otlp/hyperdx")},
    }


def token_authentication() -> Json:
    """The image's file that is added where OTLP_AUTH_TOKEN is set."""
    by_token = {"auth": {"authenticator": "bearertokenauth/hyperdx"}}
    return {
        "extensions": {
            "bearertokenauth/hyperdx": {
                "scheme": "",
                "tokens": ["${env:OTLP_AUTH_TOKEN}", "Bearer ${env:OTLP_AUTH_TOKEN}"],
            }
        },
        "receivers": {"otlp/hyperdx": {"protocols": {"grpc": by_token, "http": by_token}}},
        "service": {"extensions": ["health_check", "bearertokenauth/hyperdx"]},
    }


def remote(ports: Ports, keys: list[str], is_enforced: bool = True) -> Json:
    """The remote configuration: open ingestion without a team's key, by key where the team enforces it.

    `keys` are those of all teams; a HyperDX that nobody has registered at has none.
    """
    config = standalone(ports)
    config["extensions"] = {}
    config["receivers"] |= {
        "nop": None,
        "prometheus": {
            "config": {
                "scrape_configs": [
                    {
                        "job_name": "otelcol",
                        "scrape_interval": "30s",
                        "static_configs": [{"targets": [f"0.0.0.0:{ports.metrics}"]}],
                    }
                ]
            }
        },
        "fluentforward": {"endpoint": f"{ports.address}:{ports.fluent}"},
    }
    config["exporters"] |= {
        "nop": None,
        "debug": {"verbosity": "detailed", "sampling_initial": 5, "sampling_thereafter": 200},
    }
    pipelines = config["service"]["pipelines"]
    for name, first in (("traces", "nop"), ("metrics", "prometheus"), ("logs/in", "fluentforward")):
        pipelines[name]["receivers"] = [first, *(["otlp/hyperdx"] if keys else [])]
    config["service"]["extensions"] = []
    if keys and is_enforced:
        config["extensions"]["bearertokenauth/hyperdx"] = {"scheme": "", "tokens": keys}
        for protocol in config["receivers"]["otlp/hyperdx"]["protocols"].values():
            protocol["auth"] = {"authenticator": "bearertokenauth/hyperdx"}
        config["service"]["extensions"] = ["bearertokenauth/hyperdx"]
    return config


# AcceptsStatus, OffersRemoteConfig, AcceptsEffectiveConfig
CAPABILITIES = 0x1 | 0x2 | 0x4
OPAMP_PATH, OPAMP_TYPE = "/v1/opamp", "application/x-protobuf"


def request_body(headers: Message, file: BufferedIOBase) -> bytes:
    """A request's body, which opamp-go sends in chunks."""
    if headers["Transfer-Encoding"] != "chunked":
        return file.read(int(headers["Content-Length"] or 0))
    body = b""
    while size := int(file.readline(), 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return body


def opamp_answer(message: bytes, config: Json) -> bytes:
    """The ServerToAgent that answers an AgentToServer. Raises ValueError for a message without an instance."""
    instance = next((value for number, value in protobuf.fields(message) if number == 1), None)
    if not isinstance(instance, bytes):
        raise ValueError("an AgentToServer has the agent's instance in its first field")
    text = json.dumps(config).encode()
    return protobuf.server_to_agent(instance, CAPABILITIES, text, hashlib.sha256(text).digest())


class OpampServer:
    """HyperDX's OpAMP: every message is answered with the remote configuration. `url` is the OPAMP_SERVER_URL."""

    def __init__(self, config: Json) -> None:
        """`config` may be changed while it runs."""
        self.config = config
        self.messages = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = request_body(self.headers, self.rfile)
                if (self.path, self.headers["Content-Type"]) != (OPAMP_PATH, OPAMP_TYPE):
                    self.send_error(415)
                    return
                outer.messages += 1
                answer = opamp_answer(body, outer.config)
                self.send_response(200)
                self.send_header("Content-Type", OPAMP_TYPE)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *_arguments: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[OpampServer]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
