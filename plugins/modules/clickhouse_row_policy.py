#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse row policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_row_policy
short_description: Create, change and drop ClickHouse row policies
version_added: 0.1.0
description:
  - Manages one row policy of a ClickHouse server; a filter that decides which rows of a table, or of all tables of a
    database, the users and roles see that it applies to.
  - A row policy is known by its O(name), O(database) and O(table) together. Another table's policy of the same name is
    another policy.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.entity
options:
  name:
    description:
      - Name of the policy, the short one, without its table. Any text but an empty one; quoting is the module's
        business.
    type: str
    required: true
  database:
    description:
      - The database. It need not exist yet. An empty name is refused.
    type: str
    required: true
  table:
    description:
      - The table. It need not exist yet.
      - If omitted, the policy is about all tables of O(database) (C(ON db.*)), those to come among them. An empty name
        is refused.
      - C(*) is refused too, because ClickHouse would take it, quoted, as the name of a table. Leave O(table) out
        instead.
    type: str
  filter:
    description:
      - The condition of the rows that are shown, one SQL expression without an alias.
      - It is compared in the server's own formatting. Blanks, line breaks, comments and the case of keywords do not
        matter; parentheses round the whole do where the version keeps them (26.9, not 25.8).
      - If omitted, it is left alone; a new policy then has none. An empty text means no filter (C(USING NONE)). A
        policy without a filter limits nobody.
      - A filter is not a secret. Whoever may see row policies can read it.
      - A column called C(none) cannot stand at its beginning, because ClickHouse reads that word as no filter.
    type: str
  restrictive:
    description:
      - Whether the policy narrows what others allow. A row is shown where at least one permissive policy, if there are
        any, and all restrictive ones that apply agree.
      - If omitted, it is left alone; a new policy is permissive.
    type: bool
  apply_to:
    description:
      - The users and roles whose queries are filtered.
      - If omitted, it is left alone; a new policy then applies to nobody. An empty value means nobody.
    type: dict
    suboptions:
      all:
        description: Everybody. With O(apply_to.except), everybody but these.
        type: bool
        default: false
      none:
        description: Nobody, said aloud. The same as an empty value of O(apply_to).
        type: bool
        default: false
      names:
        description: These only. If omitted or empty, nobody.
        type: list
        elements: str
      except:
        description: With O(apply_to.all=true), who is left out. If omitted or empty, nobody is.
        type: list
        elements: str
seealso:
  - module: hardened.clickstack.clickhouse_user
  - module: hardened.clickstack.clickhouse_role
  - module: hardened.clickstack.clickhouse_access
"""

EXAMPLES = r"""
- name: A tenant's users see its rows only
  hardened.clickstack.clickhouse_row_policy:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: acme
    database: telemetry
    table: logs
    filter: tenant = 'acme'
    apply_to:
      names:
        - reader

- name: And never what is older than a month, in any table of the database
  hardened.clickstack.clickhouse_row_policy:
    name: recent
    database: telemetry
    filter: timestamp > now() - INTERVAL 1 MONTH
    restrictive: true
    apply_to:
      all: true
      except:
        - administrators

- name: A row policy that must not exist
  hardened.clickstack.clickhouse_row_policy:
    name: obsolete
    database: telemetry
    table: logs
    state: absent
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order.
  returned: success
  type: list
  elements: str
  sample: ["CREATE ROW POLICY `acme` ON `telemetry`.`logs` USING tenant = 'acme' TO `reader`"]
entity:
  description:
    - The row policy after the run, in canonical form, in the shape of the module's own options. Empty if it does not
      exist.
  returned: success
  type: dict
  sample: {"apply_to": {"names": ["reader"]}, "filter": "tenant = 'acme'", "restrictive": false}
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
  sample: apply_to.names
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
  sample: DROP ROW POLICY `acme` ON `telemetry`.`logs`
unknown_statement:
  description: The statement whose answer was lost; it may have run or not. A second run finishes the work either way.
  returned: when a statement failed
  type: str
  sample: DROP ROW POLICY `acme` ON `telemetry`.`logs`
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
    run("row_policy")


if __name__ == "__main__":
    main()
