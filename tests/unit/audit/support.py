"""What the tests of the audit share: the catalogue that comes with the collection, and findings of all kinds."""

from __future__ import annotations

import functools
from datetime import date
from pathlib import Path
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.audit import catalogue, findings

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT / "roles" / "stack_audit" / "files" / "catalogue"
TODAY = date(2026, 11, 29)
HOSTILE = """<script>alert('x')</script> & "quoted" \x1b[31mred\x1b[0m \u202eright to left\u2029\x00 ]]> \udc80"""
"""What a stranger's server may answer."""


@functools.cache
def controls() -> tuple[catalogue.Control, ...]:
    """The catalogue that comes with the collection."""
    return catalogue.read({str(path): path.read_text() for path in sorted(CATALOGUE.glob("*.yml"))})


def seen(probe: str, status: str, subject: str = "host", evidence: str = "was seen") -> dict[str, Any]:
    """An observation."""
    return {"probe": probe, "subject": subject, "status": status, "evidence": evidence}


def waiver(control: str, expires: Any = "2027-01-31", reason: str = "Accepted", **more: Any) -> dict[str, Any]:
    """A waiver."""
    return {"control": control, "reason": reason, "expires": expires, **more}


def judged(
    observations: list[dict[str, Any]], waivers: list[dict[str, Any]] | None = None, *only: str
) -> findings.Report:
    """The report of these observations, about some controls or all."""
    chosen = tuple(control for control in controls() if not only or control.id in only)
    found, notes = findings.judge(
        chosen, findings.read_observations(observations), findings.read_waivers(waivers or [], chosen), TODAY
    )
    return findings.Report("stack.example.org", TODAY, found, notes)


def mixed() -> findings.Report:
    """A report that has everything: all groups, partly waived evidence, an expired waiver, and a hostile banner."""
    passing = [control.probe for control in controls() if control.area in ("containers", "mongodb")]
    observations = [seen(probe, "pass") for probe in passing]
    observations += [
        seen("clickhouse_default_user", "fail", "ch-server 172.30.81.12:8123", "SELECT 1 as default: 1"),
        seen("clickhouse_plaintext", "fail", "ch-server 172.30.81.12:8123", f"GET /ping: Ok. {HOSTILE}"),
        seen("clickhouse_plaintext", "pass", "ch-server 172.30.81.12:9000", "refused"),
        seen("clickhouse_session_log", "fail", "ch-server", "system.session_log does not exist"),
        seen("ports_databases", "fail", "203.0.113.7:8443", "open"),
        seen("ports_databases", "fail", "[2001:db8::7]:27017", "open"),
        seen("usage_statistics", "fail", "app", "USAGE_STATS_ENABLED is not set"),
        seen("hyperdx_certificate", "error", "stack.example.org:443", "no answer in 5 s"),
        seen("clickhouse_reader_writes", "not_applicable", "ch-server", "no login of the reader was given"),
        seen("of_another_version", "pass"),
    ]
    waivers = [
        waiver("CH-LOG-02", reason="The SIEM reads the server's log"),
        waiver("NET-PORT-02", subject="203.0.113.7:*", reason="Analysts, by VPN"),
        waiver("HDX-USE-01", "2026-11-28", "Until the proxy is there"),
        waiver("DKR-CAP-01", reason="Long mended"),
    ]
    return judged(observations, waivers)
