"""The audit's catalogue: what is refused, and that the one that comes with the collection answers what it shall."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from ansible_collections.hardened.clickstack.plugins.module_utils.audit import catalogue
from tests.unit.audit.support import CATALOGUE, ROOT, controls

GOOD: dict[str, Any] = {
    "id": "CH-TLS-01",
    "title": "A title",
    "severity": "high",
    "reason": "A reason.",
    "recommendation": {"page": "A page", "point": "A point"},
    "probe": "a_probe",
    "remedy": {"by_hand": "Do it."},
    "benchmarks": [{"name": "CIS Docker 1.6.0", "id": "5.4"}],
}
PRODUCTION = "ClickStack: Going to Production"
MONGODB = "MongoDB: Security Checklist"
ANSWERED = {
    # the page's words, in short: the controls that hold a ClickStack against them
    (PRODUCTION, "Network and port security"): {"NET-PORT-01", "NET-PORT-02", "NET-PORT-03", "NET-PORT-04"},
    (PRODUCTION, "Network and port security: Docker bypasses ufw"): {"NET-PUB-01"},
    (PRODUCTION, "Session secret configuration"): {"HDX-SESS-01"},
    (PRODUCTION, "Secrets stay out of source control"): {"FILE-SEC-01", "FILE-SEC-02"},
    (PRODUCTION, "Secure ingestion: ingestion key"): {"OTEL-AUTH-01"},
    (PRODUCTION, "Secure ingestion: TLS for OTLP"): {"OTEL-TLS-01", "OTEL-TLS-03"},
    (PRODUCTION, "User permissions: ingestion user"): {"OTEL-CH-02", "CH-ING-01"},
    (PRODUCTION, "User permissions: read-only HyperDX user"): {"CH-READ-01"},
    (PRODUCTION, "User permissions: settings that HyperDX changes"): {"CH-READ-04"},
    (PRODUCTION, "ClickHouse: TLS"): {"CH-TLS-01", "CH-TLS-02", "CH-TLS-03", "OTEL-CH-01"},
    (PRODUCTION, "ClickHouse: default user closed"): {"CH-USER-01"},
    (PRODUCTION, "ClickHouse: listen_host"): {"CH-NET-01", "CH-NET-02"},
    (PRODUCTION, "ClickHouse: authentication methods"): {"CH-USER-02", "CH-USER-04", "CH-PWD-01"},
    (PRODUCTION, "ClickHouse: HOST filters"): {"CH-USER-03"},
    (PRODUCTION, "ClickHouse: RBAC"): {"CH-RBAC-01", "CH-READ-03"},
    (PRODUCTION, "ClickHouse: quotas and profiles"): {"CH-QUOTA-01", "CH-READ-02"},
    (PRODUCTION, "ClickHouse: encryption at rest"): {"CH-DISK-01"},
    (PRODUCTION, "ClickHouse: named collections"): {"CH-NC-01"},
    (PRODUCTION, "ClickHouse: audit logs"): {"CH-LOG-01", "CH-LOG-02"},
    (PRODUCTION, "ClickHouse: external authenticators"): {"CH-AUTH-01"},
    (MONGODB, "Enable access control and enforce authentication"): {"MDB-AUTH-01", "MDB-AUTH-02", "MDB-RS-01"},
    (MONGODB, "Configure role-based access control"): {"MDB-USER-01"},
    (MONGODB, "Encrypt communication"): {"MDB-TLS-01", "MDB-TLS-02", "MDB-TLS-03"},
    (MONGODB, "Encrypt and protect data"): {"FILE-MODE-01"},
    (MONGODB, "Limit network exposure"): {"MDB-USER-02", "DKR-NET-01"},
    (MONGODB, "Audit system activity"): {"MDB-LOG-01"},
    (MONGODB, "Run with a dedicated user"): {"DKR-USER-01"},
    (MONGODB, "Run with secure configuration options"): {"MDB-JS-01"},
}
"""Every point of ClickStack's page, with what it says of a ClickHouse of one's own, and of the checklist for MongoDB
that it sends to, but for those that no probe can measure (updates, a STIG, compliance)."""


def read(*entries: Any, path: str = "catalogue/clickhouse.yml") -> tuple[catalogue.Control, ...]:
    return catalogue.read({path: yaml.safe_dump(list(entries))})


def problems(*entries: Any) -> list[str]:
    with pytest.raises(catalogue.Malformed) as caught:
        read(*entries)
    return [str(text) for text in caught.value.args]


def test_a_file_s_name_is_the_area_and_its_order_is_kept() -> None:
    second = {**GOOD, "id": "CH-TLS-02", "probe": "b_probe", "remedy": {"by_hand": "Do it.", "collection": "Or so."}}
    one, two = read(GOOD, second)
    assert (one.area, one.id, one.remedy.collection) == ("clickhouse", "CH-TLS-01", "")
    assert (two.id, two.remedy.collection, one.benchmarks[0].id) == ("CH-TLS-02", "Or so.", "5.4")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"severity": "urgent"}, "severity urgent is not one of critical, high, medium, low"),
        ({"id": "clickhouse tls"}, "id clickhouse tls is not like CH-TLS-01"),
        ({"probe": "Click-House"}, "probe Click-House is not a name"),
        ({"reason": " "}, "reason must be a text"),
        ({"title": None}, "title must be a text"),
        ({"priority": 1}, "priority is not a field of a control"),
        ({"recommendation": "A page"}, "recommendation must be a mapping with page and point"),
        ({"recommendation": {"page": "A page"}}, "recommendation: point must be a text"),
        ({"remedy": {"collection": "Only so."}}, "remedy: by_hand must be a text"),
        ({"remedy": {"by_hand": "Do it.", "collection": ""}}, "remedy: collection must be a text"),
        ({"remedy": {"by_hand": "Do it.", "else": "x"}}, "remedy has no field else"),
        ({"benchmarks": None}, "benchmarks must be a list"),
        ({"benchmarks": [{"name": "CIS Docker 1.6.0", "id": 5.4}]}, "benchmarks, entry 1: id must be a text"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said_with_its_place(change: dict[str, Any], said: str) -> None:
    entry = {**GOOD, **change}
    place = f"catalogue/clickhouse.yml, entry 1 ({entry['id']}): "
    (problem,) = problems(entry)
    assert problem.startswith(place + said)


def test_an_id_and_a_probe_belong_to_one_control_in_all_files() -> None:
    with pytest.raises(catalogue.Malformed) as caught:
        catalogue.read({"a.yml": yaml.safe_dump([GOOD]), "b.yml": yaml.safe_dump([GOOD])})
    assert caught.value.args == (
        "b.yml, entry 1 (CH-TLS-01): id CH-TLS-01 is taken already by a.yml, entry 1 (CH-TLS-01).",
        "b.yml, entry 1 (CH-TLS-01): probe a_probe is taken already by a.yml, entry 1 (CH-TLS-01).",
    )


def test_everything_is_said_at_once() -> None:
    with pytest.raises(catalogue.Malformed) as caught:
        catalogue.read(
            {
                "broken.yml": "- {",
                "empty.yml": "",
                "text.yml": yaml.safe_dump(["CH-TLS-01"]),
                "two.yml": yaml.safe_dump([{**GOOD, "severity": "urgent", "title": ""}]),
            }
        )
    said = "\n".join(caught.value.args)
    assert len(caught.value.args) == 5
    assert "broken.yml: this is not YAML" in said and "empty.yml: a catalogue is a list" in said
    assert "text.yml, entry 1: a control is a mapping" in said and said.count("two.yml, entry 1 (CH-TLS-01)") == 2


# -- The catalogue that comes with the collection ---------------------------------------------------------------------


def test_every_recommendation_is_answered_by_a_control() -> None:
    answers: dict[tuple[str, str], set[str]] = {}
    for control in controls():
        point = control.recommendation.page, control.recommendation.point
        answers.setdefault(point, set()).add(control.id)
    assert {
        point: ids - answers.get(point, set()) for point, ids in ANSWERED.items() if ids - answers.get(point, set())
    } == {}
    assert {point for point in answers if point[0] in (PRODUCTION, MONGODB)} == ANSWERED.keys()


def test_every_area_is_there_and_ids_tell_the_area() -> None:
    prefixes = {
        control.area: {other.id.split("-")[0] for other in controls() if other.area == control.area}
        for control in controls()
    }
    assert prefixes == {
        "exposure": {"NET"},
        "hyperdx": {"HDX"},
        "collector": {"OTEL"},
        "clickhouse": {"CH"},
        "mongodb": {"MDB"},
        "containers": {"DKR"},
        "files": {"FILE"},
    }


def test_benchmarks_are_named_with_their_version() -> None:
    found = {benchmark for control in controls() for benchmark in control.benchmarks}
    assert {benchmark.name for benchmark in found} == {"CIS Docker 1.6.0", "CIS MongoDB 5"}
    assert all(re.fullmatch(r"\d+\.\d+", benchmark.id) for benchmark in found)


def test_remedies_name_variables_that_roles_have() -> None:
    known: set[str] = set()
    roles = sorted(path.name for path in (ROOT / "roles").iterdir())
    for role in roles:
        for file in ("defaults/main.yml", "meta/argument_specs.yml"):
            path = ROOT / "roles" / role / file
            if path.exists():
                content = yaml.safe_load(path.read_text())
                known |= set(
                    content if "argument_specs" not in content else content["argument_specs"]["main"]["options"]
                )
    named = {
        name
        for control in controls()
        for name in re.findall(r"\bstack_[a-z0-9_]+", f"{control.remedy.collection} {control.remedy.by_hand}")
    }
    assert named - known - set(roles) == set()
    assert len(named & known) > 50


def test_no_control_says_what_another_one_does() -> None:
    for name in ("title", "reason"):
        texts = [getattr(control, name) for control in controls()]
        # TLS versions are one reason for all servers
        twice = {text for text in texts if texts.count(text) > 1 and "RFC 8996" not in text}
        assert twice == set()
    assert len(list(CATALOGUE.glob("*.yml"))) == 7
