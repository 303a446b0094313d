#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: any number of ClickHouse entities in one run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_access
short_description: Manage any number of ClickHouse users, roles, grants and other access entities in one run
version_added: 0.1.0
description:
  - Takes any number of entities of all kinds, each with the options of its own module, and converges them in one run.
    The state is read in one request, one plan is made, and its statements are run.
  - Entities may refer to each other by name in any order. Names that will not exist, circles, duplicates and
    contradictions are reported together, before anything is changed.
  - Statements that differ only in whom they are about are run as one.
  - What is not declared is left alone, unless O(purge) covers it.
  - A vars file of 10,000 users is a normal input. Where the module runs on the control node, a long run shows how far
    it has come.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.guard
  - hardened.clickstack.clickhouse_access
options:
  cluster:
    description:
      - Run statements C(ON CLUSTER) this cluster, and read the state of all its replicas (C(clusterAllReplicas)). An
        entity that differs on one replica, or is missing there, is brought to the wanted state on all, and
        RV(drift) says where it differed.
      - Where access entities are kept in replicated storage, statements run once and the storage carries them on.
      - If omitted, statements run on O(login_host), and only its state is read.
      - An empty name is refused.
    type: str
  purge:
    description:
      - Drop entities that exist and are not declared, within these names. Never entities of the server's configuration,
        the user this run is logged in as, or what O(protected) covers.
      - Patterns as in a shell. C(*) is any text, C(?) any character, C([ab]) one of these.
      - If omitted or empty, nothing is purged.
    type: dict
    suboptions:
      named_collections:
        description: Patterns of named collections to purge. If omitted or empty, none.
        type: list
        elements: str
      settings_profiles:
        description: Patterns of settings profiles to purge. If omitted or empty, none.
        type: list
        elements: str
      roles:
        description: Patterns of roles to purge. If omitted or empty, none.
        type: list
        elements: str
      users:
        description: Patterns of users to purge. If omitted or empty, none.
        type: list
        elements: str
      quotas:
        description: Patterns of quotas to purge. If omitted or empty, none.
        type: list
        elements: str
      row_policies:
        description:
          - Patterns of row policies to purge, by the name that stands before C(ON). If omitted or empty, none.
        type: list
        elements: str
  protected:
    description:
      - Patterns of names that are never dropped, neither by O(purge) nor by C(state=absent), whatever their kind.
      - If omitted or empty, only the user this run is logged in as is protected.
    type: list
    elements: str
  progress_file:
    description:
      - A file on the machine where the module runs, that is kept at two numbers during the run. How many statements are
        done, and of how many.
      - If omitted, and the module runs on the control node, progress is shown every 5 seconds.
    type: path
seealso:
  - module: hardened.clickstack.clickhouse_access_info
  - module: hardened.clickstack.clickhouse_user
  - module: hardened.clickstack.clickhouse_grant
"""

EXAMPLES = r"""
- name: A team's access, all of it
  hardened.clickstack.clickhouse_access:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    settings_profiles:
      - name: team_limits
        settings:
          - name: max_memory_usage
            value: 10Gi
            writability: const
    roles:
      - name: team_reader
        profiles: [team_limits]
    users:
      - name: team_alice
        authentication:
          - type: sha256_password
            password: "{{ alice_password }}"
        host:
          ip: [10.20.0.0/24]
        roles:
          - name: team_reader
      - name: team_bob
        authentication:
          - type: ssl_certificate
            common_names: [bob.example.com]
        roles:
          - name: team_reader
    grants:
      - grantee: team_reader
        mode: exact
        privileges:
          - privilege: [SELECT]
            scope: [team.*]

- name: The same from a vars file, and what is not in it goes
  hardened.clickstack.clickhouse_access:
    users: "{{ team_users }}"
    roles: "{{ team_roles }}"
    grants: "{{ team_grants }}"
    purge:
      users: ["team_*"]
      roles: ["team_*"]
    protected:
      - team_break_glass

- name: On all replicas of a cluster
  hardened.clickstack.clickhouse_access:
    cluster: default
    roles:
      - name: team_reader
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Secrets read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["CREATE ROLE `team_reader`", "GRANT `team_reader` TO `team_alice`, `team_bob`"]
changes:
  description: The entities that the run changed, or with check mode would have changed.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The entity's kind.
      type: str
      returned: success
      sample: user
    name:
      description: Its name; of a grant, the grantee's.
      type: str
      returned: success
      sample: team_alice
    action:
      description: What was done, V(create), V(change) or V(drop).
      type: str
      returned: success
      sample: create
drift:
  description:
    - Where a replica had something else than the connected server before the run. Empty without O(cluster).
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
      description: What that replica had. Null if it lacked the entity.
      type: dict
      returned: success
      sample: {"roles": [], "settings": [], "profiles": []}
errors:
  description: Everything that is wrong with the input.
  returned: when the input is refused
  type: list
  elements: dict
  contains:
    option:
      description: The option at fault, as a path.
      type: str
      returned: always
      sample: users[3].roles
    reason:
      description: What is wrong with it.
      type: str
      returned: always
      sample: role team_writer does not exist and is not declared
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
done:
  description: The statements that the server confirmed.
  returned: when a statement failed
  type: list
  elements: str
failed_statement:
  description: The statement that the server refused. Null if it was none.
  returned: when a statement failed
  type: str
unknown_statement:
  description: The statement whose answer was lost, so that it may have run or not. Null if it was none.
  returned: when a statement failed
  type: str
pending:
  description: The statements that were not sent. A second run sends what is left to do.
  returned: when a statement failed
  type: list
  elements: str
"""

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.runner import run_access


def main() -> None:
    """Run the module."""
    run_access()


if __name__ == "__main__":
    main()
