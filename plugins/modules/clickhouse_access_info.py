#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what a ClickHouse server has, as clickhouse_access takes it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_access_info
short_description: Read ClickHouse access entities in the form that clickhouse_access takes
version_added: 0.1.0
description:
  - Returns the access entities of a server in exactly the form that M(hardened.clickstack.clickhouse_access) takes.
    Given back to it they change nothing.
  - No secret is among them. A password reads as its type alone, which means that the stored one stays.
  - The playbook C(hardened.clickstack.export) writes them into a vars file.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
options:
  kinds:
    description:
      - The kinds of entities to return.
      - If omitted, all. An empty list returns none.
    type: list
    elements: str
    choices: [named_collections, settings_profiles, roles, users, quotas, row_policies, grants]
  names:
    description:
      - Patterns of the names to return, as in a shell; for grants, of the grantee. C(*) is any text, C(?) a character.
      - If omitted, all. An empty list returns none.
    type: list
    elements: str
  read_only:
    description:
      - Whether to return the entities of the server's configuration too (users.xml), which SQL cannot change.
    type: bool
    default: false
  cluster:
    description:
      - Read the state of all replicas of this cluster too, and return where they differ.
      - If omitted, only the state of O(login_host) is read. An empty name is refused.
    type: str
attributes:
  check_mode:
    description: The module changes nothing.
  diff_mode:
    description: The module changes nothing, so there is no diff.
    support: none
seealso:
  - module: hardened.clickstack.clickhouse_access
"""

EXAMPLES = r"""
- name: What the server has
  hardened.clickstack.clickhouse_access_info:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
  register: found

- name: Give it back, which changes nothing
  hardened.clickstack.clickhouse_access:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    users: "{{ found.access.users }}"
    roles: "{{ found.access.roles }}"
    settings_profiles: "{{ found.access.settings_profiles }}"
    grants: "{{ found.access.grants }}"

- name: One team's users and roles alone
  hardened.clickstack.clickhouse_access_info:
    kinds: [users, roles]
    names: ["team_*"]
"""

RETURN = r"""
access:
  description:
    - A list for each kind in O(kinds), as M(hardened.clickstack.clickhouse_access) takes it in the option of that name.
  returned: success
  type: dict
  sample: {"roles": [{"name": "team_reader", "profiles": [], "roles": [], "settings": []}]}
drift:
  description: Where a replica has something else than the connected server. Empty without O(cluster).
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The entity's kind.
      type: str
      returned: success
      sample: role
    name:
      description: Its name.
      type: str
      returned: success
      sample: team_reader
    replica:
      description: The replica, as host and port.
      type: str
      returned: success
      sample: replica-2:9000
    entity:
      description: What that replica has. Null if it lacks the entity.
      type: dict
      returned: success
      sample: {"roles": [], "settings": [], "profiles": []}
"""

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.runner import run_access_info


def main() -> None:
    """Run the module."""
    run_access_info()


if __name__ == "__main__":
    main()
