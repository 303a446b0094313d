#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse named collection."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_named_collection
short_description: Create, change and drop ClickHouse named collections
version_added: 0.1.0
description:
  - Manages one named collection of a ClickHouse server; its keys, their values, and whether a query may override
    them.
  - Every value counts as a secret. None is in results, diffs, logs or errors.
  - Collections of the server's configuration files cannot be changed. Before ClickHouse 25.5 only the server knows
    which these are, and refuses the statement.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
options:
  name:
    description:
      - Name of the collection. Any text but an empty one; quoting is the module's business.
      - Before ClickHouse 24.11 (and 24.8.8) a server does not start again with a collection whose name has more than
        letters, digits and underscores. Such a name is refused there.
    type: str
    required: true
  state:
    description:
      - Whether the collection should exist. With V(absent) all other options but O(cluster) are ignored.
    type: str
    choices: [present, absent]
    default: present
  keys:
    description:
      - The keys, all of them. Keys that are not listed are deleted.
      - If omitted, keys are left alone; a new collection needs them. An empty list is refused, because ClickHouse has
        no collection without keys.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The key, up to 500 of them in a collection.
          - A key can have dots, but cannot lie inside another one, as C(a.b) does in C(a); and it has no C([).
        type: str
        required: true
      value:
        description:
          - Its value, as text; quote what YAML would take for a number or a truth value. An empty text is a value.
          - A value with C(${) in it is refused, because ClickHouse would put the value of another key there.
          - If omitted, the stored value is kept. A key that is not there yet needs one.
        type: str
      overridable:
        description:
          - Whether a query that uses the collection may say another value for this key.
          - If omitted, it is left alone; a new key then says nothing about it, and the server's
            C(allow_named_collection_override_by_default) decides.
          - ClickHouse changes it only together with a value. Where the server does not show the stored one, changing
            it needs O(keys[].value).
          - Before ClickHouse 25.5 the server does not show it; it is set together with a value that is set, and
            otherwise a warning says that it cannot be known.
        type: bool
  update_values:
    description:
      - When the values of existing keys are set again.
      - V(on_drift) compares where the server shows values; else it warns that it cannot know, and leaves them alone.
        Until 25.8 servers show them to who has C(SHOW NAMED COLLECTIONS SECRETS ON *); newer ones only if also
        C(display_secrets_in_show_and_select) is on in the server's configuration and the user has
        C(displaySecretsInShowAndSelect ON *.*).
      - V(on_create) never looks at the value of an existing key.
      - V(always) sets the values that are given on every run, which then always reports a change.
    type: str
    choices: [on_drift, on_create, always]
    default: on_drift
notes:
  - O(login_user) needs C(NAMED COLLECTION ADMIN ON *) and C(SELECT ON system.*). A collection that it may not see is
    not taken for absent. The task fails and names the missing privilege.
  - Where named collections are kept in Keeper, leave O(cluster) out.
seealso:
  - module: hardened.clickstack.clickhouse_grant
  - module: hardened.clickstack.clickhouse_access
"""

EXAMPLES = r"""
- name: A bucket, whose address no query may change
  hardened.clickstack.clickhouse_named_collection:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: exports
    keys:
      - name: url
        value: https://exports.s3.example.com/
        overridable: false
      - name: access_key_id
        value: "{{ exports_key_id }}"
        overridable: false
      - name: secret_access_key
        value: "{{ exports_key }}"
        overridable: false
      - name: format
        value: Parquet
        overridable: true

- name: One more key; the others keep their values
  hardened.clickstack.clickhouse_named_collection:
    name: exports
    keys:
      - name: url
      - name: access_key_id
      - name: secret_access_key
      - name: format
      - name: compression
        value: zstd

- name: Values that the server does not show are set once and then left alone
  hardened.clickstack.clickhouse_named_collection:
    name: mailer
    update_values: on_create
    keys:
      - name: password
        value: "{{ mailer_password }}"

- name: A named collection that must not exist
  hardened.clickstack.clickhouse_named_collection:
    name: obsolete
    state: absent
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Values read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["ALTER NAMED COLLECTION `exports` SET `url` = '[HIDDEN]' NOT OVERRIDABLE DELETE `region`"]
entity:
  description:
    - The named collection after the run, in canonical form, in the shape of the module's own options. Empty if it does
      not exist. A value reads C([HIDDEN]), and C([HIDDEN] (new)) if this run sets it. C(overridable) is there where
      the collection says it and the server shows it.
  returned: success
  type: dict
  sample: {"keys": [{"name": "url", "value": "[HIDDEN]", "overridable": false}]}
values_state:
  description:
    - What is known of the stored values. V(same) if they are the wished ones, V(different) if this run sets some,
      V(unknown) if there are some that could not be compared (a warning says which), V(none) if there was nothing to
      compare.
  returned: success
  type: str
  sample: same
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
  sample: keys[0].value
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
  sample: DROP NAMED COLLECTION `exports`
unknown_statement:
  description: The statement whose answer was lost; it may have run or not. A second run finishes the work either way.
  returned: when a statement failed
  type: str
  sample: DROP NAMED COLLECTION `exports`
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
    run("named_collection")


if __name__ == "__main__":
    main()
