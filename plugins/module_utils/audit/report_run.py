# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to the audit's reports: here, and nowhere else in the report, is I/O and an AnsibleModule."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.yaml import HAS_YAML

from ansible_collections.hardened.clickstack.plugins.module_utils import mounted_files
from ansible_collections.hardened.clickstack.plugins.module_utils.audit import catalogue, findings
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.reports import html, json, junit, sarif, table

FORMATS: Mapping[str, tuple[str, Callable[[findings.Report], str]]] = {
    "table": (".txt", table.render),
    "json": (".json", json.render),
    "sarif": (".sarif", sarif.render),
    "junit": (".junit.xml", junit.render),
    "html": (".html", html.render),
}
"""The reports, each with the end of its file's name."""
MODE = 0o640
"""Who runs the audit writes the reports, and the group may read them: they say where a host can be attacked."""
FOLDER_MODE = 0o750
_NAMED = 10


class Refused(Exception):
    """There is no report with these inputs; the arguments are the problems."""


def run(module: AnsibleModule) -> None:
    """Run the module audit_report.

    :param module: the module, with its arguments
    """
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML", reason="to read the catalogue"))
    try:
        result = Reports(module).run()
    except Refused as refused:
        said = "There is no report, and nothing was written:"
        module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}. No report is half written; the next run goes on.")
    if not result["passed"]:
        module.fail_json(**result)
    module.exit_json(**result)


class Reports:
    """The reports of one audit: what shall be in them, what is there, and the way between them."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: dict[str, Any] = module.params

    def run(self) -> dict[str, Any]:
        """Judge, write, and return what the module says. Raises Refused before anything is written, OSError."""
        report = self._report()
        changed, files = self._write(report)
        failing = findings.failing(report.findings, self._options["fail_on"], self._options["fail_on_error"])
        return {
            "changed": changed,
            "files": files,
            "findings": [findings.as_dict(finding) for finding in report.findings],
            "counts": findings.counts(report.findings),
            "notes": list(report.notes),
            "table": table.render(report, self._options["color"]).splitlines(),
            "passed": not failing,
            "msg": said_of(report, failing, files),
            "problems": [],
        }

    # -- what is to be reported ------------------------------------------------------------------------------------

    def _report(self) -> findings.Report:
        """The report, or Refused with all that is wrong with the inputs."""
        problems: list[str] = []
        basename: str = self._options["basename"]
        if not basename or basename.startswith(".") or set(basename) & {"/", "\0", "\n"}:
            problems.append(f"basename: {basename or '(empty)'} is no name of a file without its ending.")
        target = findings.plain(self._options["target"])
        if not target:
            problems.append("target: it is empty. Say what was audited, for whoever reads the report.")
        today = date.today()
        if self._options["today"] is not None:
            try:
                today = findings.day(self._options["today"])
            except ValueError as error:
                problems.append(f"today: {error}")
        controls: tuple[catalogue.Control, ...] = ()
        try:
            controls = catalogue.read(self._catalogue(problems))
        except catalogue.Malformed as error:
            problems += error.args
        observations: tuple[findings.Observation, ...] = ()
        waivers: tuple[findings.Waiver, ...] = ()
        try:
            observations = findings.read_observations(self._options["observations"])
        except findings.Refused as error:
            problems += error.args
        try:
            # without its controls nothing can be said of a waiver
            waivers = findings.read_waivers(self._options["waivers"], controls) if controls else ()
        except findings.Refused as error:
            problems += error.args
        if problems:
            raise Refused(*problems)
        found, notes = findings.judge(controls, observations, waivers, today)
        return findings.Report(target, today, found, notes)

    def _catalogue(self, problems: list[str]) -> dict[str, str]:
        """The content of the catalogue's files, by their paths; what is not there goes to `problems`."""
        texts: dict[str, str] = {}
        for path in map(Path, self._options["catalogue"]):
            files = sorted(path.glob("*.yml")) if path.is_dir() else [path]
            if not files:
                problems.append(f"{path}: there is no .yml file in this directory.")
            for file in files:
                try:
                    texts[str(file)] = file.read_text(encoding="utf-8")
                except OSError as error:
                    problems.append(f"{file}: {error.strerror}. The catalogue is a file or a directory of them.")
                except UnicodeDecodeError:
                    problems.append(f"{file}: this is not UTF-8.")
        if not self._options["catalogue"]:
            problems.append("catalogue: it is empty, so there is nothing to hold the observations against.")
        return texts

    # -- writing ---------------------------------------------------------------------------------------------------

    def _write(self, report: findings.Report) -> tuple[bool, list[str]]:
        """Write the reports that are not there yet as they shall be. Return whether there were any, and all paths."""
        if self._options["directory"] is None or not self._options["formats"]:
            return False, []
        folder = Path(self._options["directory"])
        owner, group = os.geteuid(), os.getegid()
        wanted = {}
        for name in FORMATS:
            if name in self._options["formats"]:
                ending, render = FORMATS[name]
                wanted[folder / f"{self._options['basename']}{ending}"] = render(report)
        fresh = [path for path, text in wanted.items() if not mounted_files.is_there(path, text, owner, group, MODE)]
        if fresh and not self._module.check_mode:
            folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            for path in fresh:
                # what a killed run left
                path.with_name(f".{path.name}.new").unlink(missing_ok=True)
                mounted_files.replace(path, wanted[path], owner, group, MODE)
        return bool(fresh), [str(path) for path in wanted]


def said_of(report: findings.Report, failing: tuple[findings.Finding, ...], files: list[str]) -> str:
    """Return how the audit went: one line, or the worst that fails the run, a line for each.

    :param failing: what fails the run, worst first
    :param files: where the reports are
    """
    if not failing:
        return f"The audit of {report.target}: {findings.summary(report.findings)}."
    lines = [
        f"The audit of {report.target} does not pass, because of {len(failing)} of {len(report.findings)} controls:"
    ]
    for finding in failing[:_NAMED]:
        word = finding.control.severity if finding.group == "fail" else "not measured"
        first = finding.open[0]
        text = first.text.partition("\n")[0]
        seen = f"{first.subject}: {text}" if first.subject else text
        more = f" (and {len(finding.open) - 1} more)" if len(finding.open) > 1 else ""
        lines.append(f"- {finding.control.id} ({word}) {finding.control.title}. {seen}{more}")
    if len(failing) > _NAMED:
        lines.append(f"- and {len(failing) - _NAMED} more")
    if files:
        lines.append(f"All of it, with remedies: {', '.join(files)}")
    return "\n".join(lines)
