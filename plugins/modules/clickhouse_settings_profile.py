#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse settings profile."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_settings_profile
short_description: Create, change and drop ClickHouse settings profiles
version_added: 0.1.0
description:
  - Manages one settings profile of a ClickHouse server; the profiles it inherits, its settings with constraints,
    and who it applies to.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.guard
  - hardened.clickstack.clickhouse.entity
  - hardened.clickstack.clickhouse.settings
options:
  apply_to:
    description:
      - The users and roles that get this profile without naming it.
      - If omitted, it is left alone; a new profile then applies to nobody. An empty value means nobody.
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
"""

EXAMPLES = r"""
- name: Limits that others build on
  hardened.clickstack.clickhouse_settings_profile:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: base
    settings:
      - name: max_memory_usage
        value: 10Gi
        min: 1Mi
        max: 20Gi

- name: A profile for reading, for two roles
  hardened.clickstack.clickhouse_settings_profile:
    name: reading
    profiles:
      - base
    settings:
      - name: readonly
        value: 1
      - name: max_rows_to_read
        value: 1000000
        min: 1
        max: 10M
        writability: changeable_in_readonly
    apply_to:
      names:
        - reader
        - exporter

- name: A profile for everybody but the administrators
  hardened.clickstack.clickhouse_settings_profile:
    name: everybody
    settings:
      - name: max_execution_time
        value: 300
    apply_to:
      all: true
      except:
        - administrators

- name: A profile that must not exist
  hardened.clickstack.clickhouse_settings_profile:
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
  sample: ["CREATE SETTINGS PROFILE `base` SETTINGS `max_threads` = 8 CONST"]
entity:
  description:
    - The settings profile after the run, in canonical form, in the shape of the module's own options. Empty if it
      does not exist.
  returned: success
  type: dict
  sample: {"apply_to": {"none": true}, "profiles": [], "settings": [{"name": "max_threads", "value": "8", "writability":
    "const"}]}
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
  sample: settings[0].max
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
    run("settings_profile")


if __name__ == "__main__":
    main()
