#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the findings and reports of an audit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_report
short_description: Judge what an audit of a ClickStack observed, and write its reports
version_added: 0.1.0
description:
  - Holds what the audit's probes observed against a catalogue of controls. Each control has one finding, with the worst
    status of its probe's observations. A control whose probe said nothing could not be measured, which is an error and
    not a pass.
  - Waivers accept findings until a day. What they cover does not fail the run, and stays in the reports with its
    reason.
  - Writes the findings as text, JSON, SARIF 2.1.0, JUnit XML and as one HTML page that asks the network for nothing.
    The reports carry the day and no time, so that the same findings of the same day make the same files.
  - Then it fails if there are findings as severe as O(fail_on).
  - It measures nothing and asks no server. It is made for the role P(hardened.clickstack.stack_audit#role), and runs on
    the control node, where the catalogue is.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
requirements:
  - PyYAML, which ansible-core brings along. Run the module with C(ansible_playbook_python) where the control node has
    several Pythons.
attributes:
  check_mode:
    description: Judges, returns everything and fails as always, but writes no file.
    support: full
  diff_mode:
    description: A report is new as a whole, so there is no difference to show.
    support: none
options:
  observations:
    description:
      - What the probes saw.
      - Empty, no control could be measured.
    type: list
    elements: dict
    required: true
    suboptions:
      probe:
        description:
          - The probe's name, which controls in the catalogue name too.
        type: str
        required: true
      subject:
        description:
          - What it looked at, such as C(ch-server 172.30.81.12:8443).
        type: str
        required: true
      status:
        description:
          - What it found. V(error) means that it could not tell.
        type: str
        required: true
        choices: [pass, fail, not_applicable, error]
      evidence:
        description:
          - What was tried and what came back, in one or two lines and without secrets. Control characters are spelled
            out in the reports.
        type: str
        required: true
  catalogue:
    description:
      - Files with controls, or directories whose C(.yml) files have them. A file's name without its ending is the area
        of its controls. Ids and probes are unique in all of them.
      - Empty is refused.
    type: list
    elements: path
    required: true
  waivers:
    description:
      - What is accepted, and until when. Waivers without a reason, without a day or for a control that is not in the
        catalogue are refused. One that has expired, or that covers nothing, is named in RV(notes).
      - Empty, the default, nothing is accepted.
    type: list
    elements: dict
    default: []
    suboptions:
      control:
        description:
          - The control's id, such as V(CH-LOG-02).
        type: str
        required: true
      subject:
        description:
          - The subject it is accepted for, as the report shows it. C(*) stands for any characters.
          - If omitted, it is accepted for all subjects.
        type: str
      reason:
        description:
          - Why, for whoever reads the report.
        type: str
        required: true
      expires:
        description:
          - The last day on which it is accepted, such as V(2027-01-31).
        type: str
        required: true
  target:
    description:
      - What was audited, as the reports name it.
    type: str
    required: true
  directory:
    description:
      - Directory that the reports are written to. It is made if it is not there.
      - If omitted, none is written.
    type: path
  formats:
    description:
      - Which reports are written. Files of other formats that are there are left alone.
      - Empty, none.
    type: list
    elements: str
    choices: [table, json, sarif, junit, html]
    default: [table, json, sarif, junit, html]
  basename:
    description:
      - Name of the reports' files without its ending, which is C(.txt), C(.json), C(.sarif), C(.junit.xml) or C(.html).
        Give each host that is audited its own.
    type: str
    default: clickstack-audit
  fail_on:
    description:
      - The least severity of a failed control that makes the module fail. V(none), failed controls do not.
    type: str
    choices: [none, low, medium, high, critical]
    default: high
  fail_on_error:
    description:
      - Whether it fails if a control could not be measured, whatever its severity.
    type: bool
    default: true
  color:
    description:
      - Whether RV(table) has the terminal's colours. The file never has them.
    type: bool
    default: false
  today:
    description:
      - The day of the audit, such as V(2026-11-29), by which waivers expire and which the reports show.
      - If omitted, today by the clock of the control node.
    type: str
"""

EXAMPLES = r"""
- name: What the audit found of stack.example.org
  hardened.clickstack.audit_report:
    target: stack.example.org
    catalogue: ["{{ catalogue }}"]
    observations:
      - probe: clickhouse_plaintext
        subject: ch-server 172.30.81.12:8123
        status: fail
        evidence: "GET /ping over plain HTTP was answered: Ok."
      - probe: clickhouse_session_log
        subject: ch-server
        status: fail
        evidence: system.session_log does not exist
    waivers:
      - control: CH-LOG-02
        reason: The SIEM reads logins from the server's log until it can query tables (OPS-311)
        expires: 2027-01-31
    directory: "{{ reports }}"
    fail_on: none
    fail_on_error: false
  delegate_to: localhost

- name: Only the findings, for tasks of one's own
  hardened.clickstack.audit_report:
    target: stack.example.org
    catalogue: ["{{ catalogue }}"]
    observations: []
    fail_on_error: false
  delegate_to: localhost
"""

RETURN = r"""
findings:
  description:
    - One for each control, those that fail first and the worst of them first, then what could not be measured, what is
      waived, what passes and what does not apply.
  returned: when the inputs are good, also if the module fails by O(fail_on)
  type: list
  elements: dict
  contains:
    id:
      description: The control's id.
      type: str
      sample: CH-TLS-01
    area:
      description: Name of the catalogue's file that the control is from.
      type: str
      sample: clickhouse
    title:
      description: What the control asks for.
      type: str
      sample: ClickHouse does not answer in plain text
    severity:
      description: What it means if it fails, one of V(critical), V(high), V(medium) and V(low).
      type: str
      sample: high
    reason:
      description: Why it matters.
      type: str
      sample: Who can read the network reads passwords and data.
    recommendation:
      description: The public page and its point that the control answers.
      type: dict
      sample: {page: "ClickStack: Going to Production", point: "ClickHouse: TLS"}
    probe:
      description: Name of the probe that measures it.
      type: str
      sample: clickhouse_plaintext
    remedy:
      description: What to do with this collection (empty where it has nothing for it), and by hand.
      type: dict
      sample: {collection: Leave stack_clickhouse_plaintext at its default., by_hand: Remove http_port and tcp_port.}
    benchmarks:
      description: Entries of published benchmarks, by the benchmark's name with its version and the entry's id.
      type: list
      elements: dict
      sample: [{name: CIS Docker 1.6.0, id: "5.9"}]
    status:
      description: What was measured, also if it is waived. One of V(fail), V(error), V(pass) and V(not_applicable).
      type: str
      sample: fail
    waived:
      description: Whether waivers cover all that fails or could not be measured.
      type: bool
      sample: false
    evidence:
      description: What was observed, worst first, with the waiver that covers it or null.
      type: list
      elements: dict
      sample:
        - subject: ch-server 172.30.81.12:8123
          status: fail
          text: "GET /ping over plain HTTP was answered: Ok."
          waiver: {reason: A reason, expires: "2027-01-31"}
counts:
  description:
    - How many findings there are, how many fail, could not be measured, are waived, pass and do not apply, and how many
      of those that fail have which severity.
  returned: when the inputs are good
  type: dict
  sample:
    total: 77
    fail: 2
    error: 0
    waived: 1
    pass: 70
    not_applicable: 4
    severity: {critical: 1, high: 1, medium: 0, low: 0}
table:
  description: The lines of the report for a terminal.
  returned: when the inputs are good
  type: list
  elements: str
  sample: ["ClickStack audit of stack.example.org, 2026-11-29"]
notes:
  description: What has to be said beside the findings, such as waivers that have expired.
  returned: when the inputs are good
  type: list
  elements: str
  sample: []
files:
  description: Paths of the reports, in check mode those that would be written.
  returned: when the inputs are good
  type: list
  elements: str
  sample: [/var/lib/clickstack/clickstack-audit.html]
passed:
  description: Whether nothing failed the run by O(fail_on) and O(fail_on_error).
  returned: when the inputs are good
  type: bool
  sample: true
problems:
  description: What is wrong with the inputs, each with its place. There is no report if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.report_run import run


def main() -> None:
    """Run the module."""
    text = {"type": "str", "required": True}
    observation = {
        "probe": text,
        "subject": text,
        "status": {**text, "choices": ["pass", "fail", "not_applicable", "error"]},
        "evidence": text,
    }
    formats = ["table", "json", "sarif", "junit", "html"]
    run(
        AnsibleModule(
            argument_spec={
                "observations": {"type": "list", "elements": "dict", "required": True, "options": observation},
                "catalogue": {"type": "list", "elements": "path", "required": True},
                "waivers": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {"control": text, "subject": {"type": "str"}, "reason": text, "expires": text},
                },
                "target": text,
                "directory": {"type": "path"},
                "formats": {"type": "list", "elements": "str", "choices": formats, "default": formats},
                "basename": {"type": "str", "default": "clickstack-audit"},
                "fail_on": {
                    "type": "str",
                    "choices": ["none", "low", "medium", "high", "critical"],
                    "default": "high",
                },
                "fail_on_error": {"type": "bool", "default": True},
                "color": {"type": "bool", "default": False},
                "today": {"type": "str"},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
