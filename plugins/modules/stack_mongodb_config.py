#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: mongod.conf, the keyfile and the application's connection string."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_mongodb_config
short_description: Judge MongoDB's configuration, then write it with keyfile and connection string
version_added: 0.1.0
description:
  - Compares a configuration with the settings that the MongoDB of this version documents, and looks for what would keep
    mongod from starting or clients from reaching it. It looks for settings that the version does not have or that only
    MongoDB Enterprise has, values of a wrong type or out of range, settings that contradict each other; keyfiles of a
    wrong form; secrets that are missing, empty or that others can read; certificates whose key does not fit, that the
    authority did not sign, that have expired, that lack a name or that members cannot show to each other; users that
    share a name; networks that are none; and databases of MongoDB's own.
  - Fails with all that it found, and has changed nothing then.
  - Each file is written whole or not at all, and belongs to the user that reads it, mode 0400.
  - It is made for the role P(hardened.clickstack.stack_mongodb#role), and names its variables.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Judges, and says what would be written.
    support: full
  diff_mode:
    description: Shows the configuration, and of secrets that they change.
    support: full
options:
  directory:
    description:
      - Directory on the host for mongod.conf and keyfile. It is made if it is not there.
    type: path
    required: true
  version:
    description:
      - Version of the MongoDB that will read the configuration, such as V(7.0) or V(7.0.14).
    type: str
    required: true
  enterprise:
    description:
      - Whether it is MongoDB Enterprise.
    type: bool
    default: false
  config:
    description:
      - Content of mongod.conf, as nested dictionaries.
      - Empty, mongod has its defaults.
    type: dict
    required: true
  unchecked:
    description:
      - Parameters under C(setParameter) that are taken as they are, because this module does not know them.
      - Empty, the default, every parameter must be known.
    type: list
    elements: str
    default: []
  owner:
    description:
      - Number of the user that mongod runs as. The files belong to it, mode 0400, in a directory of mode 0500.
    type: int
    default: 999
  group:
    description:
      - Number of its group.
    type: int
    default: 999
  keyfile:
    description:
      - File on the host that is copied to C(keyfile) in the directory.
      - If omitted, there is none, and one that is there is removed.
    type: path
  certificate:
    description:
      - The server's certificate as it lies on the host. It is looked at, not copied.
      - If omitted, there is none. Empty is refused.
    type: dict
    suboptions:
      key_file:
        description:
          - File with the key without a password, the certificate and its chain, in PEM.
        type: path
        required: true
      authority:
        description:
          - The certificate of the authority in PEM.
        type: path
        required: true
      names:
        description:
          - Names and addresses that the certificate must be valid for.
          - Empty, the default, for none.
        type: list
        elements: str
        default: []
      is_client:
        description:
          - Whether members of a replica set show this certificate to each other.
        type: bool
        default: false
  members:
    description:
      - Members of the replica set as C(host:port).
      - If omitted, there is no replica set. Empty is refused.
    type: list
    elements: str
  users:
    description:
      - Users whose passwords lie on the host, to look at them before they are made in MongoDB.
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
      password_file:
        description:
          - File on the host that holds the password.
        type: path
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
  uri:
    description:
      - The connection string of the application, which is written to a file. User and password are percent-encoded.
      - If omitted, none is written. Empty is refused.
    type: dict
    suboptions:
      path:
        description:
          - The file.
        type: path
        required: true
      owner:
        description:
          - Number of the user that reads it.
        type: int
        default: 1000
      group:
        description:
          - Number of its group.
        type: int
        default: 1000
      user:
        description:
          - Name of the user that the application logs in as, one of O(users).
        type: str
        required: true
      hosts:
        description:
          - The servers as C(host:port).
        type: list
        elements: str
        required: true
      database:
        description:
          - The application's database.
        type: str
        required: true
      options:
        description:
          - Options of the connection string, such as C(authSource). Those with an empty value are left out.
        type: dict
        default: {}
  validate:
    description:
      - A command that judges the configuration before it is written. V({}) in it stands for a directory with
        mongod.conf. It fails by a status that is not 0.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: MongoDB asks who somebody is, and runs no JavaScript
  hardened.clickstack.stack_mongodb_config:
    directory: /opt/clickstack/mongodb
    version: "7.0"
    config:
      security:
        authorization: enabled
        javascriptEnabled: false
"""

RETURN = r"""
written:
  description: The files that were written.
  returned: success
  type: list
  elements: str
  sample: [/opt/clickstack/mongodb/mongod.conf]
removed:
  description: The files that were removed.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What is wrong, each with its place and what to do. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.config_run import run


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    certificate = {
        "key_file": {"type": "path", "required": True, "no_log": False},
        "authority": {"type": "path", "required": True},
        "names": texts,
        "is_client": {"type": "bool", "default": False},
    }
    user = {
        "name": {"type": "str", "required": True},
        "password_file": {"type": "path", "required": True, "no_log": False},
        "client_source": texts,
        "server_address": texts,
    }
    uri = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "int", "default": 1000},
        "group": {"type": "int", "default": 1000},
        "user": {"type": "str", "required": True},
        "hosts": {"type": "list", "elements": "str", "required": True},
        "database": {"type": "str", "required": True},
        "options": {"type": "dict", "default": {}},
    }
    run(
        AnsibleModule(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "version": {"type": "str", "required": True},
                "enterprise": {"type": "bool", "default": False},
                "config": {"type": "dict", "required": True},
                "unchecked": texts,
                "owner": {"type": "int", "default": 999},
                "group": {"type": "int", "default": 999},
                "keyfile": {"type": "path", "no_log": False},
                "certificate": {"type": "dict", "options": certificate},
                "members": {"type": "list", "elements": "str"},
                "users": {"type": "list", "elements": "dict", "default": [], "options": user},
                "uri": {"type": "dict", "options": uri},
                "validate": texts,
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
