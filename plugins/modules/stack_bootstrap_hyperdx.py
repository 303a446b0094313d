#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the owner, the ingestion key, the connection and the sources of a HyperDX."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_bootstrap_hyperdx
short_description: Own a HyperDX, get its ingestion key, give it a connection and sources
version_added: 0.1.0
description:
  - Whoever reaches a HyperDX that nobody has registered at becomes its owner, for good. This module registers the
    owner, over an address that the host alone reaches, before anything is published.
  - Then it sees that collectors want a key, writes the team's ingestion key into a file, and gives the team one
    connection to ClickHouse and sources that read through it. What is as it shall be is left alone, and so are other
    connections and sources.
  - Whether HyperDX has the right password of ClickHouse is found by letting it ask C(SELECT 1), because it never
    shows one. Only where ClickHouse refuses the login (codes 192, 193, 194, 516), the password is set again.
  - It signs in for each run, in check mode too, and signs out at the end.
  - The rules are those of HyperDX 2.36. Passwords and keys are never shown.
  - It is made for the role P(hardened.clickstack.stack_bootstrap#role).
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description:
      - Says what would be done, on an instance that nobody has registered at too. Where HyperDX does not answer and
        O(ingestion_key_file) is not there yet, it is taken for an instance that is still to be started.
    support: full
  diff_mode:
    description: Shows what changes of the connection and the sources, without passwords and keys.
    support: full
options:
  url:
    description:
      - Where HyperDX's API is. Passwords go there, so let nobody else reach what lies between, or use https.
    type: str
    required: true
  ca_cert:
    description:
      - The authority of an https address, in PEM.
      - If omitted, those of the operating system.
    type: path
  timeout:
    description:
      - Seconds to wait until HyperDX has started, and until ClickHouse answers it. Check mode does not wait.
    type: int
    default: 120
  owner_email:
    description:
      - The email of the owner, or of another member of a team that is there.
    type: str
    required: true
  owner_password_file:
    description:
      - File on the host with the password. For a registration HyperDX wants 12 characters, a small and a capital
        letter, a digit, and one of C(!@#$%^&*(),.?":{}|<>).
    type: path
    required: true
  ingestion_key_file:
    description:
      - File on the host for the team's ingestion key, mode 0400. Its directory must be there.
      - If omitted, the key is not written.
    type: path
  ingestion_key_owner:
    description:
      - Number of the user (and group) that the file belongs to.
    type: int
    default: 0
  rotate_ingestion_key:
    description:
      - Whether to make another ingestion key now. HyperDX knows one for each team, so senders with the old one are
        refused as soon as the collectors have heard of it.
    type: bool
    default: false
  collector_authentication:
    description:
      - Whether it is an error if collectors take data without a key. HyperDX has no route to change that.
    type: bool
    default: true
  opamp_url:
    description:
      - Where HyperDX's OpAMP is. It is asked where the API does not say whether collectors want a key.
      - If omitted, it is not asked.
    type: str
  mongodb_uri_file:
    description:
      - File on the host with a connection string of HyperDX's database that works from here. By it
        C(collectorAuthenticationEnforced) is set where it is false. This needs pymongo.
      - If omitted, such a HyperDX is refused.
    type: path
  connection:
    description:
      - The connection to ClickHouse.
      - If omitted, connections are left alone. Empty is refused.
    type: dict
    suboptions:
      name:
        description:
          - Its name. A connection of this name that is there is changed.
        type: str
        required: true
      host:
        description:
          - Address of ClickHouse's HTTP interface in HyperDX's network.
        type: str
        required: true
      username:
        description:
          - The user to read as.
        type: str
        required: true
      password_file:
        description:
          - File on the host with the password.
        type: path
        required: true
      setting_prefix:
        description:
          - Prefix of the setting by which HyperDX tells ClickHouse who asks. ClickHouse must have it among its
            C(custom_settings_prefixes). Empty for none.
          - If omitted, it is left alone.
        type: str
      update_password:
        description:
          - When HyperDX gets the password again. With V(on_failure), if ClickHouse refuses the one it has; with
            V(always), in each run, which is then always changed. A rotation needs V(always), because ClickHouse takes
            the old one until its end.
        type: str
        choices: [on_failure, always]
        default: on_failure
      test:
        description:
          - Whether HyperDX must be able to read. Without it a wrong password is not noticed.
        type: bool
        default: true
  sources:
    description:
      - Sources of this connection by their names, in HyperDX's form (C(DEFAULT_SOURCES)), without C(name) and
        C(connection). C(logSourceId) and its like hold names of sources. A source of this name that is there gets these
        fields, and keeps its others; a field that is null or an empty text is taken away.
      - A source that is null is left alone, and references to it are left out.
      - Empty, the default, sources are left alone.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: The owner, the ingestion key, and the logs
  hardened.clickstack.stack_bootstrap_hyperdx:
    url: http://172.30.80.10:8000
    owner_email: ops@example.com
    owner_password_file: /opt/clickstack/secrets/hyperdx_owner_password
    ingestion_key_file: /opt/clickstack/secrets/ingestion_api_key
    connection:
      name: ClickStack
      host: https://ch-server:8443
      username: hyperdx
      password_file: /opt/clickstack/secrets/clickhouse_reader_password
    sources:
      Logs:
        kind: log
        from: {databaseName: otel, tableName: otel_logs}
        timestampValueExpression: TimestampTime
        defaultTableSelectExpression: Timestamp,ServiceName,SeverityText,Body
        bodyExpression: Body
        implicitColumnExpression: Body

- name: Another ingestion key
  hardened.clickstack.stack_bootstrap_hyperdx:
    url: http://172.30.80.10:8000
    owner_email: ops@example.com
    owner_password_file: /opt/clickstack/secrets/hyperdx_owner_password
    ingestion_key_file: /opt/clickstack/secrets/ingestion_api_key
    rotate_ingestion_key: true
"""

RETURN = r"""
registered:
  description: Whether the owner was registered.
  returned: always
  type: bool
  sample: true
collector_authentication:
  description: Whether collectors want a key; null where that was not to be seen.
  returned: always
  type: bool
  sample: true
ingestion_key:
  description: What happened to the ingestion key and its file, V(unchanged), V(written) or V(rotated).
  returned: always
  type: str
  sample: written
connection:
  description: What happened to the connection, V(unchanged), V(created) or V(updated).
  returned: always
  type: str
  sample: created
sources_created:
  description: Names of sources that were made.
  returned: always
  type: list
  elements: str
  sample: [Logs]
sources_updated:
  description: Names of sources that were changed.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap.run import run


def main() -> None:
    """Run the module."""
    # paths of files, not what is in them
    file = {"type": "path", "required": True, "no_log": False}
    connection = {
        "name": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "username": {"type": "str", "required": True},
        "password_file": file,
        "setting_prefix": {"type": "str"},
        "update_password": {
            "type": "str",
            "choices": ["on_failure", "always"],
            "default": "on_failure",
            "no_log": False,
        },
        "test": {"type": "bool", "default": True},
    }
    run(
        AnsibleModule(
            argument_spec={
                "url": {"type": "str", "required": True},
                "ca_cert": {"type": "path"},
                "timeout": {"type": "int", "default": 120},
                "owner_email": {"type": "str", "required": True},
                "owner_password_file": file,
                "ingestion_key_file": {"type": "path", "no_log": False},
                "ingestion_key_owner": {"type": "int", "default": 0, "no_log": False},
                "rotate_ingestion_key": {"type": "bool", "default": False, "no_log": False},
                "collector_authentication": {"type": "bool", "default": True},
                "opamp_url": {"type": "str"},
                "mongodb_uri_file": {"type": "path"},
                "connection": {"type": "dict", "options": connection},
                "sources": {"type": "dict", "default": {}},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
