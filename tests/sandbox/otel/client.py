"""Those who send: one span over OTLP, by HTTP with the standard library, by gRPC with grpcio."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import grpc

from . import protobuf


@dataclass(frozen=True)
class Client:
    """A client of a collector on loopback. `authority` is the CA that it trusts, None for plain text; `certificate`
    and `key` are its own; `authorization` is the header's value, None for none."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    authorization: str | None = None

    def http(self, port: int, span: str = "over HTTP") -> str:
        """Send a span by HTTP: `accepted`, or why not: the status, or what kept the two from talking."""
        one = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": span, "kind": 1}
        # of now: ClickHouse drops what is older than the tables keep
        one |= dict.fromkeys(("startTimeUnixNano", "endTimeUnixNano"), str(time.time_ns()))
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]}).encode()
        headers = {"Content-Type": "application/json"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        context = None
        if self.authority:
            context = ssl.create_default_context(cafile=str(self.authority))
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        scheme = "https" if self.authority else "http"
        request = urllib.request.Request(f"{scheme}://localhost:{port}/v1/traces", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return "accepted" if answer.status == 200 else f"status {answer.status}"
        except urllib.error.HTTPError as error:
            return f"status {error.code}"
        except OSError as error:
            return str(error)

    def grpc(self, port: int, span: str = "over gRPC") -> str:
        """Send a span by gRPC: `accepted`, or the code and what was said."""
        address = f"localhost:{port}"
        if self.authority:
            own = [path.read_bytes() if path else None for path in (self.key, self.certificate)]
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(self.authority.read_bytes(), *own))
        else:
            channel = grpc.insecure_channel(address)
        metadata = [("authorization", self.authorization)] if self.authorization is not None else []
        with channel:
            export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            try:
                export(protobuf.trace(span, time.time_ns()), timeout=10, metadata=metadata)
            except grpc.RpcError as error:
                return f"{error.code().name}: {error.details()}"
        return "accepted"
