#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse role."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_role
short_description: Create, change and drop ClickHouse roles
version_added: 0.1.0
description:
  - Manages one role of a ClickHouse server with its settings, its profiles and the roles granted to it.
  - What a role may do is the business of M(hardened.clickstack.clickhouse_grant).
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.guard
  - hardened.clickstack.clickhouse.entity
  - hardened.clickstack.clickhouse.settings
  - hardened.clickstack.clickhouse.roles
seealso:
  - module: hardened.clickstack.clickhouse_user
  - module: hardened.clickstack.clickhouse_grant
  - module: hardened.clickstack.clickhouse_settings_profile
"""

EXAMPLES = r"""
- name: A role, to be filled by clickhouse_grant
  hardened.clickstack.clickhouse_role:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: reader

- name: A role with limits, a profile and another role in it
  hardened.clickstack.clickhouse_role:
    name: exporter
    settings:
      - name: max_execution_time
        value: 60
        max: 300
    profiles:
      - base
    roles:
      - name: reader

- name: A role that has no settings any more
  hardened.clickstack.clickhouse_role:
    name: exporter
    settings: []

- name: A role that must not exist
  hardened.clickstack.clickhouse_role:
    name: obsolete
    state: absent
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Secrets read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["CREATE ROLE `reader` SETTINGS `max_threads` = 8"]
entity:
  description:
    - The role after the run, in canonical form, in the shape of the module's own options. Empty if it does not exist.
  returned: success
  type: dict
  sample: {"profiles": [], "roles": [], "settings": [{"name": "max_threads", "value": "8"}]}
code:
  description: ClickHouse's error code. Null if no server answered.
  returned: when the server refused something
  type: int
  sample: 497
error_name:
  description: The name of that code.
  returned: when the server refused something
  type: str
  sample: ACCESS_DENIED
option:
  description: The option at fault, as a path.
  returned: when the module refused an option; nothing was changed then
  type: str
  sample: settings[0].value
done:
  description: The statements that the server confirmed.
  returned: when a statement failed
  type: list
  elements: str
  sample: []
failed_statement:
  description: The statement that the server refused. Null if it gave no answer.
  returned: when a statement failed
  type: str
  sample: DROP ROLE `reader`
unknown_statement:
  description: The statement whose answer was lost; it may have run or not. A second run finishes the work either way.
  returned: when a statement failed
  type: str
  sample: DROP ROLE `reader`
pending:
  description: The statements that were not sent.
  returned: when a statement failed
  type: list
  elements: str
  sample: []
"""

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.runner import run


def main() -> None:
    """Run the module."""
    run("role")


if __name__ == "__main__":
    main()
