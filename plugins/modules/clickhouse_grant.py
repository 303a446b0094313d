#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what one ClickHouse user or role may do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_grant
short_description: Grant and revoke privileges and roles in ClickHouse
version_added: 0.1.0
description:
  - Manages what one user or role may do; privileges on every scope that ClickHouse has, partial revokes, and
    granted roles.
  - Privileges are compared by what they mean. An alias, a group instead of its members, or a grant that is implied
    by another is no
    difference.
  - What is given is given before anything is taken away; where that is not enough, C(WITH REPLACE OPTION) changes
    all at once.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.guard
  - hardened.clickstack.clickhouse.roles
options:
  grantee:
    description:
      - The user or role. It must exist. A name that is both is the user, as in ClickHouse's C(GRANT).
    type: str
    required: true
  state:
    description:
      - V(absent) takes away all privileges and all roles; nothing can be listed then. The grantee itself stays; one
        that does not exist has nothing to take.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description:
      - V(append) adds what is listed and takes nothing away but O(partial_revokes).
      - V(exact) makes what is listed the whole; of privileges, if O(privileges) is given, and of roles, if O(roles)
        is given.
      - V(remove) takes away what is listed. Privileges inside a wider grant are partially revoked, as C(REVOKE)
        does. With
        O(privileges[].grant_option=true) or O(roles[].admin_option=true) only that option is taken.
    type: str
    choices: [append, exact, remove]
    default: append
  privileges:
    description:
      - The privileges. If omitted, privileges are left alone (but for O(partial_revokes)).
      - The order of entries means nothing. Where they and O(partial_revokes) overlap, the narrower scope counts; at the
        same scope what is revoked. So C(SELECT) on C(*.*), revoked on C(otel.*) and granted on C(otel.logs) leaves all
        but C(otel), and of that one table.
      - An empty list means none; so with O(mode=exact) all are taken away.
    type: list
    elements: dict
    suboptions:
      privilege:
        description:
          - Privileges as ClickHouse names them, aliases and groups included, in any case; columns in parentheses,
            C(SELECT(id, name)).
          - An empty list is refused.
        type: list
        elements: str
        required: true
      scope:
        description:
          - Where. C(*.*), C(otel.*), C(otel.logs), C(otel.tmp_*), C(staging*.*); and for privileges on other things
            their name, a prefix with
            C(*), or C(*); a user, a named collection, a table engine, a definer, a source like C(S3).
          - Names with other characters than letters, digits and underscores go in backquotes.
          - Database and table are always both said, because a bare name would depend on the session. An empty list
            is refused.
          - Wildcards need ClickHouse 24.10.
        type: list
        elements: str
        required: true
      grant_option:
        description:
          - Whether the privileges may be passed on. Without it a grant inside a wider one leaves the wider one's grant
            option as it is; O(partial_revokes[].grant_option) takes it there.
        type: bool
        default: false
  partial_revokes:
    description:
      - What is taken out of wider grants; see O(privileges) for what overlaps. If omitted or empty, nothing.
    type: list
    elements: dict
    suboptions:
      privilege:
        description: As in O(privileges).
        type: list
        elements: str
        required: true
      scope:
        description: As in O(privileges).
        type: list
        elements: str
        required: true
      grant_option:
        description: Take only the right to pass the privileges on; they themselves stay.
        type: bool
        default: false
  roles:
    description:
      - The roles. If omitted, granted roles are left alone.
      - An empty list means none; so with O(mode=exact) all are revoked.
seealso:
  - module: hardened.clickstack.clickhouse_user
  - module: hardened.clickstack.clickhouse_role
"""

EXAMPLES = r"""
- name: What the collector needs
  hardened.clickstack.clickhouse_grant:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    grantee: otel_ingest
    mode: exact
    privileges:
      - privilege: [SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW]
        scope: [otel.*]

- name: Reading all of a database but one table, and two columns of another
  hardened.clickstack.clickhouse_grant:
    grantee: reader
    mode: exact
    privileges:
      - privilege: [SELECT]
        scope: [otel.*]
      - privilege: ["SELECT(id, name)"]
        scope: [crm.customers]
    partial_revokes:
      - privilege: [SELECT]
        scope: [otel.sessions]

- name: Everything but one database, and of that one table
  hardened.clickstack.clickhouse_grant:
    grantee: analyst
    mode: exact
    privileges:
      - privilege: [SELECT]
        scope: ["*.*", crm.countries]
    partial_revokes:
      - privilege: [SELECT]
        scope: [crm.*]

- name: Wildcards, sources and other objects
  hardened.clickstack.clickhouse_grant:
    grantee: exporter
    privileges:
      - privilege: [SELECT]
        scope: [otel.export_*, "`tenant-1`.*"]
      - privilege: [S3]
        scope: ["*.*"]
      - privilege: [TABLE ENGINE]
        scope: [Memory]
      - privilege: [NAMED COLLECTION]
        scope: [bucket]
        grant_option: true

- name: A role for a user, on top of what it has
  hardened.clickstack.clickhouse_grant:
    grantee: analyst
    roles:
      - name: reader

- name: Writing is taken back
  hardened.clickstack.clickhouse_grant:
    grantee: analyst
    mode: remove
    privileges:
      - privilege: [INSERT, ALTER, TRUNCATE]
        scope: [otel.*]

- name: A user that may nothing
  hardened.clickstack.clickhouse_grant:
    grantee: former_employee
    state: absent
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Secrets read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["GRANT SELECT ON `otel`.* TO `reader`"]
entity:
  description:
    - The privileges and roles of the grantee after the run, in canonical form, in the shape of the module's own
      options. Empty if it does not exist.
  returned: success
  type: dict
  sample: {"privileges": ["GRANT SELECT ON otel.*"], "roles": []}
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
  sample: privileges[0]
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
    run("grant")


if __name__ == "__main__":
    main()
