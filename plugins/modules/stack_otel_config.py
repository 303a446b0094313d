#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the custom file of ClickStack's OpenTelemetry collector."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_otel_config
short_description: Judge what ClickStack's collector works with, then write its custom file
version_added: 0.1.0
description:
  - Looks at what the collector in its container will read. That is certificates, keys, authorities and secrets that are
    missing, empty, do not belong together, have expired, that the collector's user cannot read or that everybody can;
    directories that it cannot enter; and an address of ClickHouse that its two readers, HyperDX's migration and the
    collector's exporter, would understand differently or as plain text.
  - Fails with all that it found, and has changed nothing then.
  - The file is the old or the new one at every moment. This matters, because under the OpAMP supervisor the collector
    goes on without a custom file that it cannot read, and so without TLS.
  - It is made for the role P(hardened.clickstack.stack_otel#role), and names its variables.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Judges, and says what would be written.
    support: full
  diff_mode:
    description: Shows the file. It holds no secrets.
    support: full
options:
  path:
    description:
      - The file on the host. Its directory is made if it is not there, mode 0755.
    type: path
    required: true
  content:
    description:
      - What it says, as YAML.
    type: str
    required: true
  owner:
    description:
      - Number of the user that the file and its directory belong to. The file has mode 0440.
    type: int
    default: 0
  user:
    description:
      - Number of the user that the collector runs as.
    type: int
    default: 10001
  group:
    description:
      - Number of its group, which the file belongs to.
    type: int
    default: 10001
  endpoint:
    description:
      - The address of ClickHouse, as it will be in C(CLICKHOUSE_ENDPOINT).
    type: str
    required: true
  secure:
    description:
      - Whether that address must be one of TLS.
    type: bool
    default: true
  folders:
    description:
      - Directories on the host that are mounted into the container, which its user must be able to enter.
      - Empty, the default, for none.
    type: list
    elements: path
    default: []
  certificates:
    description:
      - Certificates with their keys, as they lie on the host. They are looked at, not copied.
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
    suboptions:
      certificate:
        description:
          - The certificate, followed by its chain, in PEM.
        type: path
        required: true
      key:
        description:
          - Its key, in PEM, without a password.
        type: path
        required: true
      is_server:
        description:
          - Whether clients will be shown it, so that it must be valid today and for a server.
        type: bool
        default: true
  authorities:
    description:
      - Files with authorities' certificates in PEM.
      - Empty, the default, for none.
    type: list
    elements: path
    default: []
  secrets:
    description:
      - Files whose first line becomes an environment variable of the collector. They are looked at, not copied.
      - Empty, the default, for none.
    type: list
    elements: path
    default: []
  validate:
    description:
      - A command that judges the file before it is written. V({}) in it stands for a directory with the file, by its
        name. It fails by a status that is not 0.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: The collector logs warnings alone
  hardened.clickstack.stack_otel_config:
    path: /opt/clickstack/otel/custom.yaml
    content: |
      service:
        telemetry:
          logs:
            level: warn
    endpoint: tcp://ch-server:9440?secure=true
"""

RETURN = r"""
problems:
  description: What is wrong, each with its place and what to do. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_otel.run import run


def main() -> None:
    """Run the module."""
    pair = {
        "certificate": {"type": "path", "required": True},
        "key": {"type": "path", "required": True, "no_log": False},
        "is_server": {"type": "bool", "default": True},
    }
    run(
        AnsibleModule(
            argument_spec={
                "path": {"type": "path", "required": True},
                "content": {"type": "str", "required": True},
                "owner": {"type": "int", "default": 0},
                "user": {"type": "int", "default": 10001},
                "group": {"type": "int", "default": 10001},
                "endpoint": {"type": "str", "required": True},
                "secure": {"type": "bool", "default": True},
                "folders": {"type": "list", "elements": "path", "default": []},
                "certificates": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": pair,
                    "no_log": False,
                },
                "authorities": {"type": "list", "elements": "path", "default": []},
                # paths of files, not what is in them
                "secrets": {"type": "list", "elements": "path", "default": [], "no_log": False},
                "validate": {"type": "list", "elements": "str", "default": []},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
