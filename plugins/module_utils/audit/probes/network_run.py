# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe audit_network: ports, TLS, HyperDX and OTLP, as whoever is where the module runs sees them."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes import outside, tls
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.connections import (
    OPEN,
    SILENT,
    Answer,
    Web,
    attempt_all,
    said,
    unverified,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    Json,
    observe,
    unmeasured,
)

_ATTEMPTS_EACH_WAY, _MANY = 2, 1000
"""A lost packet is not a closed port: each is tried twice, at the same time, unless that would be many ports."""


def run(module: AnsibleModule) -> None:
    """Run the module audit_network.

    :param module: the module, with its arguments
    """
    try:
        observations = _Vantage(module.params).look()
    except ValueError as error:
        module.fail_json(msg=f"ports must be numbers, or all: {error}")
    module.exit_json(changed=False, observations=observations)


class _Vantage:
    """One host as it is seen from here."""

    def __init__(self, options: Json) -> None:
        self._options = options
        self._timeout: float = options["timeout"]
        self._name: str = options["host_name"]
        self._today = datetime.datetime.now(datetime.timezone.utc)
        self._states: dict[str, dict[int, str]] = {}

    def look(self) -> list[Json]:
        """All observations. Raises ValueError for ports that are no numbers."""
        declared = self._options["declared_ports"]
        roles = [self._options[name] for name in ("https_port", "otlp_grpc_port", "otlp_http_port")]
        ports = sorted({*outside.wanted_ports(self._options["ports"], declared), *(port for port in roles if port)})
        observations: list[Json] = []
        self._states = self._scan(self._options["addresses"], ports)
        for address, states in self._states.items():
            observations += outside.judge_ports(address, states, declared)
        if not self._states:
            observations += unmeasured(
                ("ports_undeclared", *outside.PORTS), "host", "No address of the host was given."
            )
        with ThreadPoolExecutor(3) as pool:
            hyperdx = pool.submit(self._hyperdx)
            exports = [pool.submit(self._otlp, option) for option in ("otlp_grpc_port", "otlp_http_port")]
            is_team, about_hyperdx = hyperdx.result()
            return observations + about_hyperdx + self._collector(is_team, [task.result() for task in exports])

    def _scan(self, addresses: list[str], ports: list[int]) -> dict[str, dict[int, str]]:
        """By address and port, what came of a connection."""
        targets = [(address, port) for address in dict.fromkeys(addresses) for port in ports]
        times = _ATTEMPTS_EACH_WAY if len(ports) < _MANY else 1
        states = dict.fromkeys(targets, SILENT)
        with ThreadPoolExecutor(times) as pool:
            for some in pool.map(lambda _time: attempt_all(targets, self._timeout), range(times)):
                states.update({target: state for target, state in some.items() if state != SILENT})
        found: dict[str, dict[int, str]] = {}
        for (address, port), state in states.items():
            found.setdefault(address, {})[port] = state
        return found

    def _first(self, ports: list[int]) -> tuple[str, int]:
        """The first address and port that is open; none: an empty address."""
        for address, states in self._states.items():
            for port in ports:
                if port and states.get(port) == OPEN:
                    return address, port
        return "", 0

    # -- HyperDX ------------------------------------------------------------------------------------------------------

    def _hyperdx(self) -> tuple[bool | None, list[Json]]:
        """What HyperDX says, and whether it has a team; None if it does not say."""
        about_tls = ("hyperdx_https", "hyperdx_tls_protocols", "hyperdx_certificate", "hyperdx_hsts")
        about_api = ("hyperdx_anonymous", "hyperdx_registration", "hyperdx_config_key")
        observations: list[Json] = []
        web: Web | None = None
        address, port = self._first([self._options["https_port"]])
        plain_address, plain_port = self._first([8080, 8000])
        if address:
            endpoint = tls.Endpoint(address, port, self._name, self._timeout)
            measured = tls.examine(endpoint, self._options["ca_file"] or "")
            subject = endpoint.where
            secure = Web(address, port, True, self._name, self._timeout)
            answer = secure.ask("GET", "/") if measured.is_tls else Answer(0, "nobody speaks TLS here")
            if measured.is_tls and answer.status:
                observations.append(
                    observe("hyperdx_https", subject, PASS, f"HTTPS is spoken: GET / says {answer.status}.")
                )
                web = secure
            elif self._name:
                observations.append(observe("hyperdx_https", subject, FAIL, f"No HTTPS: {answer.body}."))
            else:
                reason = f"No HTTPS: {answer.body}. Proxies may answer to their name only: give it (host_name)."
                observations.append(observe("hyperdx_https", subject, ERROR, reason))
            observations.append(tls.judge_protocols("hyperdx_tls_protocols", subject, measured))
            observations.append(
                tls.judge_certificate(
                    "hyperdx_certificate", subject, measured, self._name, self._options["certificate_days"], self._today
                )
            )
            if web:
                observations.append(outside.judge_hsts(subject, answer))
        if plain_address:
            subject = f"{plain_address}:{plain_port}"
            plain = Web(plain_address, plain_port, timeout=self._timeout)
            answer = plain.ask("GET", "/" if plain_port == 8080 else "/health")
            if answer.status:
                observations.append(
                    observe("hyperdx_https", subject, FAIL, f"HyperDX answers over plain HTTP ({answer.status}).")
                )
            web = web or plain
        missing = [probe for probe in about_tls if probe not in {one["probe"] for one in observations}]
        reason = f"Port {self._options['https_port']} is not open from here, so HyperDX is not offered over HTTPS."
        observations += unmeasured(missing, "HyperDX", reason)
        if not web:
            reason = "HyperDX cannot be reached from here: neither HTTPS nor 8080 nor 8000 is open."
            return None, observations + unmeasured(about_api, "HyperDX", reason)
        return self._api(web, observations)

    def _api(self, web: Web, observations: list[Json]) -> tuple[bool | None, list[Json]]:
        # the interface forwards /api to the API, which has no such prefix itself
        prefix = "" if web.port == 8000 and not web.is_tls else "/api"
        paths = [f"{prefix}/me", f"{prefix}/team", f"{prefix}/installation", "/api/config"]
        with ThreadPoolExecutor(len(paths)) as pool:
            answers = dict(zip(paths, pool.map(lambda path: web.ask("GET", path), paths)))  # noqa: B905 (strict is of Python 3.10)
        registration = answers[paths[2]]
        found = outside.document(registration)
        is_team = found.get("isTeamExisting") if isinstance(found, dict) else None
        subject = web.where
        observations.append(outside.judge_anonymous(subject, {path: answers[path] for path in paths[:2]}))
        observations.append(outside.judge_registration(subject, paths[2], registration))
        if prefix:
            observations.append(outside.judge_config_key(subject, answers["/api/config"]))
        else:
            reason = "The interface, which has /api/config, cannot be reached from here."
            observations += unmeasured(["hyperdx_config_key"], subject, reason)
        return (is_team if isinstance(is_team, bool) else None), observations

    # -- the collector ------------------------------------------------------------------------------------------------

    def _otlp(self, option: str) -> tuple[tls.Endpoint, tls.Measured, Answer] | None:
        """What one of the collector's ports says to TLS and to a request without a key; None where none is open."""
        address, port = self._first([self._options[option]])
        if not address:
            return None
        endpoint = tls.Endpoint(address, port, self._options["otlp_name"] or self._name, self._timeout)
        measured = tls.examine(endpoint, self._options["otlp_ca_file"] or self._options["ca_file"] or "")
        return endpoint, measured, self._export(endpoint, measured.is_tls, option == "otlp_grpc_port")

    def _collector(
        self, is_team: bool | None, exports: Sequence[tuple[tls.Endpoint, tls.Measured, Answer] | None]
    ) -> list[Json]:
        """What the answers of the collector's ports mean, gRPC first."""
        observations: list[Json] = []
        for kind, export in zip(("gRPC", "HTTP"), exports):  # noqa: B905 (strict is of Python 3.10)
            if export is None:
                continue
            endpoint, measured, answer = export
            subject = f"{endpoint.where} (OTLP/{kind})"
            observations.append(_judge_tls(subject, measured.is_tls, answer, is_team))
            observations.append(tls.judge_protocols("otlp_tls_protocols", subject, measured))
            observations.append(
                tls.judge_certificate(
                    "otlp_certificate", subject, measured, endpoint.name, self._options["certificate_days"], self._today
                )
            )
            observations.append(outside.judge_otlp(subject, answer, is_team))
        if not observations:
            reason = "No OTLP port is open from here."
            observations = unmeasured(
                ("otlp_tls", "otlp_tls_protocols", "otlp_certificate", "otlp_unauthenticated"), "collector", reason
            )
        return observations

    def _export(self, endpoint: tls.Endpoint, is_tls: bool, is_grpc: bool) -> Answer:
        """The answer on an empty request without a key."""
        if is_grpc:
            return _grpc(endpoint, is_tls)
        web = Web(endpoint.address, endpoint.port, is_tls, endpoint.name, self._timeout)
        return web.ask("POST", "/v1/traces", b"{}", {"Content-Type": "application/json"})


def _judge_tls(subject: str, is_tls: bool, answer: Answer, is_team: bool | None) -> Json:
    if is_tls:
        return observe("otlp_tls", subject, PASS, "TLS is spoken.")
    if answer.status:
        return observe(
            "otlp_tls",
            subject,
            FAIL,
            f"OTLP is spoken in plain text ({answer.status}): keys and telemetry can be read.",
        )
    if is_team is False:
        return observe(
            "otlp_tls",
            subject,
            NOT_APPLICABLE,
            f"Nobody answers ({answer.body}): the collector listens when HyperDX' first user is registered.",
        )
    return observe("otlp_tls", subject, ERROR, f"The port is open, but speaks neither TLS nor OTLP ({answer.body}).")


def _grpc(endpoint: tls.Endpoint, is_tls: bool) -> Answer:
    """The answer of gRPC, read until its status is there."""
    data = b""
    deadline = time.monotonic() + endpoint.timeout
    try:
        with contextlib.ExitStack() as stack:
            channel: socket.socket = stack.enter_context(
                socket.create_connection((endpoint.address, endpoint.port), endpoint.timeout)
            )
            if is_tls:
                context: ssl.SSLContext = unverified()
                context.set_alpn_protocols(["h2"])
                channel = stack.enter_context(context.wrap_socket(channel, server_hostname=endpoint.name or None))
            channel.sendall(outside.grpc_request(endpoint.where, is_tls))
            while time.monotonic() < deadline and not outside.grpc_answer(data).status:
                more = channel.recv(65536)
                if not more:
                    break
                data += more
    except OSError as error:
        return Answer(0, said(error)) if not data else outside.grpc_answer(data)
    return outside.grpc_answer(data)
