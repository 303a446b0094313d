#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: look at the authorities that sign ClickStack's certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_tls_authority
short_description: Look at the authorities that sign ClickStack's certificates
version_added: 0.1.0
description:
  - Reads authorities from directories of their names, each with C(ca.key) and C(ca.crt), and says which are not there
    yet.
  - Fails where one could not be used. Its key lies there unencrypted, can be read by others, does not open with the
    passphrase or does not belong to the certificate; the certificate ended, is damaged, or is no authority's.
  - It changes nothing, and returns certificates, never keys.
  - It is made for the role P(hardened.clickstack.stack_tls#role), and names its variables.
  - It needs the Python library cryptography (3.4 or newer) where it runs.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Changes nothing in any case.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
options:
  directory:
    description:
      - Directory of the authorities, on the host that signs.
    type: path
    required: true
  names:
    description:
      - Their names. The first one signs, so its key must be there; of the others the certificate is enough.
      - Empty, there is nothing to look at.
    type: list
    elements: str
    required: true
  passphrase:
    description:
      - What the key of the first is encrypted with.
    type: str
    required: true
  permitted:
    description:
      - The name constraints that the first one should have, such as C(DNS:example.com). The module warns if it has
        others.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: The authority
  hardened.clickstack.stack_tls_authority:
    directory: ~/.clickstack-ca
    names: [clickstack]
    passphrase: "{{ vault_ca_passphrase }}"
  delegate_to: localhost
"""

RETURN = r"""
authorities:
  description: The authorities by their names, with their directories and certificates in PEM, which are empty where
    there are none.
  returned: success
  type: list
  elements: dict
  sample: [{name: clickstack, directory: /home/admin/.clickstack-ca/clickstack, certificate: "-----BEGIN …"}]
missing:
  description: Those of them that have to be made.
  returned: success
  type: list
  elements: dict
  sample: []
problems:
  description: What is wrong, each with its place and what to do. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.run import authority


def main() -> None:
    """Run the module."""
    authority(
        AnsibleModule(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "names": {"type": "list", "elements": "str", "required": True},
                "passphrase": {"type": "str", "required": True, "no_log": True},
                "permitted": {"type": "list", "elements": "str", "default": []},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
