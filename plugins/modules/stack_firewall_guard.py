#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a table of nftables, in the kernel and in a file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_firewall_guard
short_description: Keep a table of nftables in the kernel and in a file
version_added: 0.1.0
description:
  - Loads rules for one table of nftables, in one transaction, and writes them to the file that is loaded at boot.
  - The kernel is asked what it has. So a rule that somebody deleted by hand is noticed, and nothing is loaded where
    nothing differs.
  - The rules are checked, and tried in a network namespace of their own, before anything is changed.
  - It is made for the role P(hardened.clickstack.stack_firewall#role).
author:
  - hardened.clickstack contributors (@hardened-clickstack)
requirements:
  - C(nft) of nftables 0.9.8 or newer and C(unshare) of util-linux on the host
attributes:
  check_mode:
    description: Checks and tries the rules, and changes nothing.
    support: full
  diff_mode:
    description: Shows the difference of the table as the kernel lists it, and of the file.
    support: full
options:
  table:
    description:
      - Family and name of the table.
    type: str
    default: inet stack_firewall
  rules:
    description:
      - What C(nft -f) loads. It has to replace the table as a whole, and to touch no other.
      - It may be omitted with O(state=absent) only, which ignores it.
    type: str
  path:
    description:
      - The file. It has a directory of its own, which is made and removed with it.
    type: path
    required: true
  state:
    description:
      - With V(absent) the table and the file with its directory are removed.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: The guard
  hardened.clickstack.stack_firewall_guard:
    path: /etc/stack-firewall/guard.nft
    rules: "{{ lookup('ansible.builtin.template', 'guard.nft.j2') }}"
"""

RETURN = r"""
is_different:
  description: Whether the kernel or the file had something else before, or has it still, in check mode.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_firewall.run import guard


def main() -> None:
    """Run the module."""
    guard(
        AnsibleModule(
            argument_spec={
                "table": {"type": "str", "default": "inet stack_firewall"},
                "rules": {"type": "str"},
                "path": {"type": "path", "required": True},
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            },
            required_if=[("state", "present", ["rules"])],
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
