#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what a ClickHouse answers, and what its users can and cannot do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_clickhouse
short_description: See how a ClickHouse is kept
version_added: 0.1.0
description:
  - Tries ports and TLS, and logins that must fail; and, as HyperDX, the collector and the administrator, what each of
    them can do. Every statement is one that changes nothing even where it is allowed, because it names what is not
    there, copies no rows, or is only explained.
  - Where the user C(default) logs in without a password, it stands in for logins that are not given.
  - It is made for the role P(hardened.clickstack.stack_audit#role).

author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: It changes nothing, and measures the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  host:
    description:
      - Address of the server.
      - If omitted, nothing is measured.
    type: str
    default: ""
  name:
    description:
      - The name that its certificate must be valid for.
      - If omitted, the certificate is judged by its authority and its days alone.
    type: str
    default: ""
  ports:
    description:
      - Other ports than ClickHouse's own.
      - Empty, those of its shipped configuration. V(0), there is none.
    type: dict
    default: {}
    suboptions:
      http:
        description:
          - HTTP.
          - If omitted, V(8123).
        type: int
      https:
        description:
          - HTTPS.
          - If omitted, V(8443).
        type: int
      native:
        description:
          - The native protocol.
          - If omitted, V(9000).
        type: int
      native_secure:
        description:
          - The native protocol over TLS.
          - If omitted, V(9440).
        type: int
      mysql:
        description:
          - MySQL's protocol.
          - If omitted, V(9004).
        type: int
      postgresql:
        description:
          - PostgreSQL's protocol.
          - If omitted, V(9005).
        type: int
      interserver:
        description:
          - What replicas fetch parts by, without TLS.
          - If omitted, V(9009).
        type: int
      grpc:
        description:
          - gRPC.
          - If omitted, V(9100).
        type: int
      metrics:
        description:
          - Prometheus' metrics.
          - If omitted, V(9363).
        type: int
  ca_file:
    description:
      - The authority that its certificate comes from, in PEM, on the host that the module runs on.
      - If omitted, or if the file is not there, those of the operating system.
    type: path
  validate_certs:
    description:
      - Whether passwords are only sent over TLS to a server with a trusted certificate. Turn it off for a container of
        this host.
    type: bool
    default: true
  database:
    description:
      - The database with the telemetry.
    type: str
    default: otel
  reader:
    description:
      - HyperDX' login.
      - If omitted or empty, what needs it is not applicable, unless C(default) is open.
    type: dict
    default: {}
    suboptions:
      user:
        description:
          - Name of the user.
          - If omitted, what the processes of O(reader.pid) log in with.
        type: str
        default: ""
      password:
        description:
          - Its password.
          - If omitted, the one in O(reader.password_file).
        type: str
        default: ""
      password_file:
        description:
          - File with the password on the host that the module runs on, so that it does not travel.
          - If omitted, or if it is not there, what the processes of O(reader.pid) log in with.
        type: path
      pid:
        description:
          - A process on this host in whose network namespace the login is tried, such as the first one of the container
            that logs in, since users may come from their own address only. It takes root.
          - V(0), the default, it is tried from the host itself.
        type: int
        default: 0
  ingest:
    description:
      - The collector's login.
      - If omitted or empty, what needs it is not applicable, unless C(default) is open.
    type: dict
    default: {}
    suboptions:
      user:
        description:
          - Name of the user.
          - If omitted, what the processes of O(ingest.pid) log in with.
        type: str
        default: ""
      password:
        description:
          - Its password.
          - If omitted, the one in O(ingest.password_file).
        type: str
        default: ""
      password_file:
        description:
          - File with the password on the host that the module runs on, so that it does not travel.
          - If omitted, or if it is not there, what the processes of O(ingest.pid) log in with.
        type: path
      pid:
        description:
          - A process on this host in whose network namespace the login is tried, such as the first one of the container
            that logs in, since users may come from their own address only. It takes root.
          - V(0), the default, it is tried from the host itself.
        type: int
        default: 0
  admin:
    description:
      - The administrator's login.
      - If omitted or empty, what needs it is not applicable, unless C(default) is open.
    type: dict
    default: {}
    suboptions:
      user:
        description:
          - Name of the user.
          - If omitted, what the processes of O(admin.pid) log in with.
        type: str
        default: ""
      password:
        description:
          - Its password.
          - If omitted, the one in O(admin.password_file).
        type: str
        default: ""
      password_file:
        description:
          - File with the password on the host that the module runs on, so that it does not travel.
          - If omitted, or if it is not there, what the processes of O(admin.pid) log in with.
        type: path
      pid:
        description:
          - A process on this host in whose network namespace the login is tried, such as the first one of the container
            that logs in, since users may come from their own address only. It takes root.
          - V(0), the default, it is tried from the host itself.
        type: int
        default: 0
  administrators:
    description:
      - Users who may manage access.
      - Empty, nobody.
    type: list
    elements: str
    default: [clickstack_admin]
  config_file:
    description:
      - The configuration that the server loaded, on the host that the module runs on. ClickHouse writes it to
        C(preprocessed_configs/config.xml) in its data directory.
      - If omitted, what only it says is not applicable.
    type: path
  certificate_days:
    description:
      - Days that the certificate must still be valid for.
    type: int
    default: 14
  timeout:
    description:
      - Seconds for each connection and answer.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: See how ClickHouse is kept
  hardened.clickstack.audit_clickhouse:
    host: 172.30.81.12
    name: ch-server
    ca_file: /opt/clickstack/tls/clickhouse/ca.crt
    reader:
      user: hyperdx
      password_file: /opt/clickstack/secrets/clickhouse_reader_password
      pid: "{{ host.containers.app.pid }}"
    admin:
      user: clickstack_admin
      password_file: /opt/clickstack/secrets/clickhouse_admin_password
  become: true
  register: clickhouse
"""

RETURN = r"""
observations:
  description: What was seen, for M(hardened.clickstack.audit_report). There is no secret in it.
  returned: always
  type: list
  elements: dict
  sample:
    - probe: clickhouse_default_user
      subject: ch-server 172.30.81.12:8123
      status: fail
      evidence: "Logged in: default without a password from this host."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.clickhouse import PORTS
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.clickhouse_run import run
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.logins import ARGUMENTS


def main() -> None:
    """Run the module."""
    login = {"type": "dict", "default": {}, "options": ARGUMENTS}
    ports = {name: {"type": "int"} for name in PORTS}
    run(
        AnsibleModule(
            argument_spec={
                "host": {"type": "str", "default": ""},
                "name": {"type": "str", "default": ""},
                "ports": {"type": "dict", "default": {}, "options": ports},
                "ca_file": {"type": "path"},
                "validate_certs": {"type": "bool", "default": True},
                "database": {"type": "str", "default": "otel"},
                "reader": login,
                "ingest": login,
                "admin": login,
                "administrators": {"type": "list", "elements": "str", "default": ["clickstack_admin"]},
                "config_file": {"type": "path"},
                "certificate_days": {"type": "int", "default": 14},
                "timeout": {"type": "float", "default": 5},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
