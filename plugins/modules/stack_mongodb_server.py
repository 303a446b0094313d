#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the replica set, the users and the certificate of a running MongoDB."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_mongodb_server
short_description: Replica set, users and certificate of a running MongoDB
version_added: 0.1.0
description:
  - Initiates a replica set, makes and changes users with their passwords, roles and C(authenticationRestrictions), and
    lets mongod read a renewed certificate. What is as it shall be is left alone, and C(changed) says so truly.
  - Whether a password is the wanted one is found by its stored SCRAM-SHA-256 hash, so it works for users that may not
    log in from here, and notices another number of iterations and hashes of SHA-1. Where the server does not show the
    hash, a login is tried.
  - A user that this module logs in with is never given restrictions by which it could not log in from here again, and
    no user is removed before the first of O(logins) can log in.
  - M(community.mongodb.mongodb_user) has neither restrictions nor mechanisms, and with C(update_password=always) it is
    changed in each run. M(community.mongodb.mongodb_replicaset) initiates without a login, which a MongoDB that has a
    user already refuses.
  - It is made for the role P(hardened.clickstack.stack_mongodb#role), and names its variables.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
requirements:
  - pymongo 3.11 or newer on the host that the module runs on (python3-pymongo of Debian and Ubuntu)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Says what would be done. Before a replica set is initiated, nothing can be said of users.
    support: full
  diff_mode:
    description: Shows the changed fields of users, without passwords.
    support: full
options:
  host:
    description:
      - Name or address of the server. With O(tls) its certificate must be valid for it.
    type: str
    required: true
  port:
    description:
      - Port of the server.
    type: int
    default: 27017
  tls:
    description:
      - Whether the server speaks TLS.
    type: bool
    default: true
  ca_file:
    description:
      - The certificate of the server's authority, in PEM.
      - If omitted, that of the operating system.
    type: path
  certificate_key_file:
    description:
      - Key and certificate of this client, in PEM, for servers that want one.
      - If omitted, none is shown.
    type: path
  timeout:
    description:
      - Seconds to wait for the server, and for a replica set to have a primary.
    type: int
    default: 30
  version:
    description:
      - The version that shall run there, of which the first two numbers count. Another one is an error.
      - If omitted, any may run.
    type: str
  logins:
    description:
      - Users to log in as; the first whose password the server takes.
      - Empty, the default, no login is tried, which a server with authorization refuses.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The user's name.
        type: str
        required: true
      password_file:
        description:
          - File on the host that holds the password.
        type: path
        required: true
      database:
        description:
          - The database the user was made in.
        type: str
        default: admin
  replica_set:
    description:
      - The replica set that the server shall be a member of. On a member that is not the primary nothing else is done.
      - If omitted, nothing is done about it. Empty is refused.
    type: dict
    suboptions:
      name:
        description:
          - Its name, as in mongod.conf.
        type: str
        required: true
      members:
        description:
          - Its members as C(host:port). Other members than these are an error in a set that is there.
        type: list
        elements: str
        required: true
      initiate:
        description:
          - Whether to initiate it here. Of several members one does it, the others wait.
        type: bool
        default: true
  certificate:
    description:
      - File whose first certificate the server shall show. If it shows another, it is told to read its files again
        (C(rotateCertificates), MongoDB 5.0).
      - If omitted, nothing is done about it.
    type: path
  users:
    description:
      - Users that shall be there. Empty, the default, for none.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The user's name.
        type: str
        required: true
      database:
        description:
          - The database it is made in, which is the C(authSource) of its logins.
        type: str
        default: admin
      password_file:
        description:
          - File on the host that holds the password.
        type: path
        required: true
      roles:
        description:
          - All its roles.
          - If omitted, they are left as they are; a new user has none.
        type: list
        elements: dict
        suboptions:
          role:
            description:
              - Name of the role.
            type: str
            required: true
          database:
            description:
              - The database it is for.
            type: str
            required: true
      client_source:
        description:
          - Addresses and networks it may log in from.
          - Empty, the default, for any.
        type: list
        elements: str
        default: []
      server_address:
        description:
          - Addresses of the server it may log in to.
          - Empty, the default, for any.
        type: list
        elements: str
        default: []
  absent:
    description:
      - Users that shall not be there. They are removed last.
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The user's name.
        type: str
        required: true
      database:
        description:
          - The database it was made in.
        type: str
        default: admin
  iterations:
    description:
      - Iterations of a password's hash (C(scramSHA256IterationCount)). A password with another number is set again.
    type: int
    default: 15000
"""

EXAMPLES = r"""
- name: An administrator and the application's user
  hardened.clickstack.stack_mongodb_server:
    host: 172.30.81.13
    ca_file: /opt/clickstack/tls/mongodb/ca.crt
    logins:
      - name: clickstack_admin
        password_file: /opt/clickstack/secrets/mongodb_admin_password
      - name: root
        password_file: /opt/clickstack/secrets/mongodb_root_password
    users:
      - name: clickstack_admin
        password_file: /opt/clickstack/secrets/mongodb_admin_password
        roles:
          - role: userAdminAnyDatabase
            database: admin
        client_source: [127.0.0.1, 172.30.81.1]
      - name: hyperdx
        password_file: /opt/clickstack/secrets/mongodb_app_password
        roles:
          - role: readWrite
            database: hyperdx
        client_source: [172.30.81.10]
"""

RETURN = r"""
login:
  description: The user that the module worked as; empty where the server asked for none.
  returned: always
  type: str
  sample: clickstack_admin
authorization:
  description: Whether the server refuses those who do not log in; null where it was not looked at.
  returned: always
  type: bool
  sample: true
localhost_exception:
  description: Whether C(enableLocalhostAuthBypass) is on; null where the server does not say.
  returned: always
  type: bool
  sample: false
initiated:
  description: Whether the replica set was initiated.
  returned: always
  type: bool
  sample: false
rotated:
  description: Whether the server was told to read its certificates again.
  returned: always
  type: bool
  sample: false
created:
  description: Users that were made.
  returned: always
  type: list
  elements: str
  sample: [hyperdx@admin]
updated:
  description: Users that were changed.
  returned: always
  type: list
  elements: str
  sample: []
removed:
  description: Users that were removed.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.server import run


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    user = {"name": {"type": "str", "required": True}, "database": {"type": "str", "default": "admin"}}
    file = {"password_file": {"type": "path", "required": True, "no_log": False}}
    role = {"role": {"type": "str", "required": True}, "database": {"type": "str", "required": True}}
    replica_set = {
        "name": {"type": "str", "required": True},
        "members": {"type": "list", "elements": "str", "required": True},
        "initiate": {"type": "bool", "default": True},
    }
    account = {
        **user,
        **file,
        "roles": {"type": "list", "elements": "dict", "options": role},
        "client_source": texts,
        "server_address": texts,
    }
    run(
        AnsibleModule(
            argument_spec={
                "host": {"type": "str", "required": True},
                "port": {"type": "int", "default": 27017},
                "tls": {"type": "bool", "default": True},
                "ca_file": {"type": "path"},
                "certificate_key_file": {"type": "path", "no_log": False},
                "timeout": {"type": "int", "default": 30},
                "version": {"type": "str"},
                "logins": {"type": "list", "elements": "dict", "default": [], "options": {**user, **file}},
                "replica_set": {"type": "dict", "options": replica_set},
                "certificate": {"type": "path"},
                "users": {"type": "list", "elements": "dict", "default": [], "options": account},
                "absent": {"type": "list", "elements": "dict", "default": [], "options": user},
                "iterations": {"type": "int", "default": 15000},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
