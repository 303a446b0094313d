#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: judge certificate requests before they are signed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_tls_requests
short_description: Judge certificate requests before they are signed
version_added: 0.1.0
description:
  - Compares certificate requests that a host made with what it should ask for, and says how long each may be good for.
  - It runs on the host that signs, and believes nothing of what the other host says of itself. Fails if a request is
    for other
    names, another subject or another use, asks to be an authority, or has extensions that nobody needs.
  - It signs and changes nothing.
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
  requests:
    description:
      - The requests in PEM, by the names in RV(hardened.clickstack.stack_tls_certificates#module:wanted[].name).
      - Empty, there is nothing to judge.
    type: dict
    required: true
  signer:
    description:
      - The certificate of the authority that will sign, in PEM. What it signs ends before it does.
    type: str
    required: true
  services:
    description:
      - Services with certificates of our own authority, as
        O(hardened.clickstack.stack_tls_certificates#module:services).
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
  clients:
    description:
      - Clients, as O(hardened.clickstack.stack_tls_certificates#module:clients).
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
  host_names:
    description:
      - Names and addresses of the host.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
  container_addresses:
    description:
      - By service, addresses of its container.
      - Empty, the default, for none.
    type: dict
    default: {}
  organization:
    description:
      - Organization in the subjects.
    type: str
    default: ClickStack
  valid_days:
    description:
      - How many days a certificate is good for.
    type: int
    default: 365
"""

EXAMPLES = r"""
- name: May this be signed?
  hardened.clickstack.stack_tls_requests:
    requests: {clickhouse: "{{ request.csr }}"}
    signer: "{{ lookup('ansible.builtin.file', '~/.clickstack-ca/clickstack/ca.crt') }}"
    services: [{name: clickhouse}]
    host_names: ["{{ inventory_hostname }}"]
  delegate_to: localhost
"""

RETURN = r"""
orders:
  description: The requests, with their names, and when what is signed shall end.
  returned: success
  type: list
  elements: dict
  sample: [{name: clickhouse, csr: "-----BEGIN CERTIFICATE REQUEST-----", not_after: 20271128120000Z}]
problems:
  description: What is wrong, each with its place. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.run import requests


def main() -> None:
    """Run the module."""
    entries = {"type": "list", "elements": "dict", "default": []}
    requests(
        AnsibleModule(
            argument_spec={
                "requests": {"type": "dict", "required": True},
                "signer": {"type": "str", "required": True},
                "services": entries,
                "clients": entries,
                "host_names": {"type": "list", "elements": "str", "default": []},
                "container_addresses": {"type": "dict", "default": {}},
                "organization": {"type": "str", "default": "ClickStack"},
                "valid_days": {"type": "int", "default": 365},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
