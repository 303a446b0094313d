#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: how the containers and files of a ClickStack are kept on their host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_host
short_description: See how a ClickStack is run on its Docker host
version_added: 0.1.0
description:
  - Asks Docker about the containers of a ClickStack, reads with which environment their processes run, and looks at the
    modes of files with secrets. It works for any Compose project, and for containers of none; they are found by their
    images.
  - Environments are judged here. Neither they nor any other secret are returned.
  - It is made for the role P(hardened.clickstack.stack_audit#role), and needs root.

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
  docker_socket:
    description:
      - Docker's socket. Empty, no container is looked at.
    type: str
    default: /var/run/docker.sock
  project:
    description:
      - The Compose project.
      - If omitted, all projects with HyperDX or its collector in them, and containers of no project with their images.
    type: str
    default: ""
  declared_ports:
    description:
      - Ports of the host that shall be open. Others that Docker publishes are findings.
      - Empty, none.
    type: list
    elements: int
    default: [22, 443, 4317, 4318]
  directories:
    description:
      - Directories with secrets, keys and Compose files, looked at with what is below them. Those that are not there
        count for nothing. The Compose files of running containers are found without.
      - Empty, none.
    type: list
    elements: path
    default: [/opt/clickstack]
  timeout:
    description:
      - Seconds that Docker may take for each answer.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: See how it is run
  hardened.clickstack.audit_host:
    declared_ports: [22, 443, 4317, 4318]
  become: true
  register: host
"""

RETURN = r"""
observations:
  description: What was seen, for M(hardened.clickstack.audit_report). There is no secret in it.
  returned: always
  type: list
  elements: dict
  sample:
    - probe: container_read_only
      subject: hdx-oss-app-1
      status: fail
      evidence: Its root file system can be written to.
containers:
  description:
    - By component (C(app), C(otel-collector), C(ch-server), C(db), C(proxy)), the container that it is, for the
      other probes.
  returned: always
  type: dict
  sample:
    ch-server:
      name: hdx-oss-ch-server-1
      service: ch-server
      project: hdx-oss
      image: clickhouse/clickhouse-server:26.5-alpine
      pid: 4711
      addresses: {hdx-oss_internal: 172.18.0.2}
      ports: []
      clickhouse_user: ""
      database: ""
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.host_run import run


def main() -> None:
    """Run the module."""
    run(
        AnsibleModule(
            argument_spec={
                "docker_socket": {"type": "str", "default": "/var/run/docker.sock"},
                "project": {"type": "str", "default": ""},
                "declared_ports": {"type": "list", "elements": "int", "default": [22, 443, 4317, 4318]},
                "directories": {"type": "list", "elements": "path", "default": ["/opt/clickstack"]},
                "timeout": {"type": "float", "default": 5},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
