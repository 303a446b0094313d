#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what a MongoDB answers, and what HyperDX' user can and cannot do in it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_mongodb
short_description: See how a MongoDB is kept
version_added: 0.1.0
description:
  - Tries TLS, answers without a login, and as HyperDX and the administrator what each of them can do. It reads only.
  - It is made for the role P(hardened.clickstack.stack_audit#role).

author:
  - hardened.clickstack contributors (@hardened-clickstack)
requirements:
  - pymongo 3.11 or newer on the host that the module runs on (python3-pymongo of Debian and Ubuntu). Without it TLS is
    measured, and the rest are errors that say so.
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
  port:
    description:
      - Port of the server.
    type: int
    default: 27017
  name:
    description:
      - The name that its certificate must be valid for.
      - If omitted, the certificate is judged by its authority and its days alone.
    type: str
    default: ""
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
  app:
    description:
      - HyperDX' login.
      - If omitted or empty, what needs it is not applicable, unless MongoDB asks for no login.
    type: dict
    default: {}
    suboptions:
      uri:
        description:
          - Its connection string. Only user, password and database are taken from it.
          - If omitted, the one in O(app.uri_file).
        type: str
        default: ""
      uri_file:
        description:
          - File with the connection string on the host that the module runs on.
          - If omitted, or if it is not there, MONGO_URI of the processes of O(app.pid).
        type: path
      pid:
        description:
          - A process on this host in whose network namespace the login is tried, such as the first one of HyperDX'
            container. It takes root.
          - V(0), the default, it is tried from the host itself.
        type: int
        default: 0
  admin:
    description:
      - The administrator's login.
      - If omitted or empty, what needs it is not applicable, unless MongoDB asks for no login.
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
  admin_database:
    description:
      - The database that the administrator belongs to.
    type: str
    default: admin
  pid:
    description:
      - A process of MongoDB on this host, whose configuration is read where the server does not tell its options. It
        takes root.
      - V(0), the default, there is none.
    type: int
    default: 0
  certificate_days:
    description:
      - Days that the certificate must still be valid for.
    type: int
    default: 14
  timeout:
    description:
      - Seconds for each connection and answer.
    type: float
    default: 3
"""

EXAMPLES = r"""
- name: See how MongoDB is kept
  hardened.clickstack.audit_mongodb:
    host: 172.30.81.13
    name: db
    ca_file: /opt/clickstack/tls/mongodb/ca.crt
    app:
      uri_file: /opt/clickstack/secrets/mongo_uri
      pid: "{{ host.containers.app.pid }}"
    admin:
      user: clickstack_admin
      password_file: /opt/clickstack/secrets/mongodb_admin_password
  become: true
  register: mongodb
"""

RETURN = r"""
observations:
  description: What was seen, for M(hardened.clickstack.audit_report). There is no secret in it.
  returned: always
  type: list
  elements: dict
  sample:
    - probe: mongodb_anonymous
      subject: "db 172.30.81.13:27017"
      status: fail
      evidence: Without a login it lists its databases from this host.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.logins import ARGUMENTS
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.mongodb_run import run


def main() -> None:
    """Run the module."""
    app = {
        "uri": {"type": "str", "default": "", "no_log": True},
        "uri_file": {"type": "path"},
        "pid": {"type": "int", "default": 0},
    }
    run(
        AnsibleModule(
            argument_spec={
                "host": {"type": "str", "default": ""},
                "port": {"type": "int", "default": 27017},
                "name": {"type": "str", "default": ""},
                "ca_file": {"type": "path"},
                "validate_certs": {"type": "bool", "default": True},
                "app": {"type": "dict", "default": {}, "options": app},
                "admin": {"type": "dict", "default": {}, "options": ARGUMENTS},
                "admin_database": {"type": "str", "default": "admin"},
                "pid": {"type": "int", "default": 0},
                "certificate_days": {"type": "int", "default": 14},
                "timeout": {"type": "float", "default": 3},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
