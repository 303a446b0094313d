#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_database
short_description: Create ClickHouse databases
version_added: 0.1.0
description:
  - Makes sure that a database is there before anything is granted on it.
  - It drops nothing. Dropping data is left to people.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
options:
  name:
    description: Name of the database. Any text but an empty one.
    type: str
    required: true
  comment:
    description:
      - The database's comment. If omitted, it is left alone. Empty means none.
      - Changing the comment of an existing database needs ClickHouse 25.1.
    type: str
seealso:
  - module: hardened.clickstack.clickhouse_grant
"""

EXAMPLES = r"""
- name: The database that ClickStack writes to
  hardened.clickstack.clickhouse_database:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: otel
    comment: Logs, traces and metrics of ClickStack
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Secrets read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["CREATE DATABASE IF NOT EXISTS `otel`"]
entity:
  description:
    - The database after the run, in canonical form, in the shape of the module's own options.
  returned: success
  type: dict
  sample: {"comment": ""}
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
  sample: comment
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
  sample: CREATE DATABASE IF NOT EXISTS `otel`
unknown_statement:
  description: The statement whose answer was lost; it may have run or not. A second run finishes the work either way.
  returned: when a statement failed
  type: str
  sample: CREATE DATABASE IF NOT EXISTS `otel`
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
    run("database")


if __name__ == "__main__":
    main()
