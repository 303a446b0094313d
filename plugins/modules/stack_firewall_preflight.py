#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: whether the declared ports make sense on a host, and what they mean."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_firewall_preflight
short_description: Find what is wrong with declared ports before a firewall is changed
version_added: 0.1.0
description:
  - Compares declared ports with each other and with the host. It looks for ports, protocols and networks that are none,
    ports that are declared twice, interfaces and addresses that are not there, interfaces that only look like Docker's,
    rules of ufw that the guard would overrule, and for an SSH connection that would be cut off.
  - Fails with all that it found. Changes nothing.
  - It is made for the role P(hardened.clickstack.stack_firewall#role), and names its variables.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
attributes:
  check_mode:
    description: Runs in check mode as it does otherwise.
    support: full
  diff_mode:
    description: Shows a difference.
    support: none
options:
  state:
    description:
      - With V(absent) nothing is asked about the declared ports. Only the rules that ufw has from earlier runs are
        looked for.
    type: str
    choices: [present, absent]
    default: present
  published:
    description:
      - The ports that containers publish and that are open, as in the role's C(stack_firewall_published).
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
  host_ports:
    description:
      - The host's own ports that are open, as in the role's C(stack_firewall_host_ports).
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
  trusted_networks:
    description:
      - Networks that every port is open to.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
  internal_interfaces:
    description:
      - Names of the bridges of containers; one that ends with an asterisk is for all that begin with it.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
  connection:
    description:
      - C(SSH_CONNECTION) of the run.
      - Empty, the default, if it does not come over SSH; then nothing is asked about it.
    type: str
    default: ""
  guard_input:
    description:
      - Whether the guard shuts the host's own ports that are not declared.
    type: bool
    default: true
  ufw:
    description:
      - Whether ufw gets rules for the declared ports.
    type: bool
    default: true
  firewall_backend:
    description:
      - The C(firewall-backend) that Docker is about to get.
      - Empty, the default, if it stays what it is.
    type: str
    default: ""
  kept:
    description:
      - Where the rules before a change are kept until it is confirmed.
    type: path
    required: true
  before:
    description:
      - Where it is said what ufw was set to before the first run.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: See whether the declared ports make sense here
  hardened.clickstack.stack_firewall_preflight:
    published:
      - port: 4317
        sources: [192.0.2.0/24]
    host_ports:
      - port: 22
    kept: /var/lib/stack-firewall/kept
    before: /var/lib/stack-firewall/ufw.json
    connection: "{{ ansible_facts.env.SSH_CONNECTION | default('') }}"
"""

RETURN = r"""
problems:
  description: What is wrong, each with the place and what to do.
  returned: failure
  type: list
  elements: str
  sample: ["stack_firewall_published[0]: port must be a number from 1 to 65535 or a range such as 6000-6010, not 0."]
published:
  description: What O(published) opens, an entry for each IP version, in the terms of nftables.
  returned: success
  type: list
  elements: dict
  sample:
    - {addresses: [], interface: "", ip: ip, nfproto: ipv4, port: "4317", protocol: tcp, sources: [192.0.2.0/24],
       where: "stack_firewall_published[0] (port 4317/tcp)"}
host_ports:
  description: The same for O(host_ports).
  returned: success
  type: list
  elements: dict
  sample: []
trusted:
  description: O(trusted_networks) by IP version.
  returned: success
  type: dict
  sample: {ipv4: [], ipv6: []}
ufw:
  description:
    - Whether ufw is enabled, whether for IPv6 too, its default for incoming connections, and the policies of the filter
      table's chains, as options of M(ansible.builtin.iptables); C(ufw disable) sets them all to C(ACCEPT).
  returned: success
  type: dict
  sample: {enabled: true, incoming: deny, ipv6: true, policies: [{chain: FORWARD, ip_version: ipv4, policy: DROP}]}
ufw_is_different:
  description: Whether anything has to be done to ufw.
  returned: success
  type: bool
  sample: false
is_kept:
  description: Whether an earlier change was never confirmed.
  returned: success
  type: bool
  sample: false
ufw_rules:
  description:
    - The rules that ufw lacks, then those it has from an earlier run that are no longer asked for, as options of
      M(community.general.ufw).
  returned: success
  type: list
  elements: dict
  sample: [{comment: hardened.clickstack stack_firewall, delete: false, from_ip: 192.0.2.0/24, proto: tcp, rule: allow,
            to_ip: any, to_port: "22"}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_firewall.run import preflight


def main() -> None:
    """Run the module."""
    preflight(
        AnsibleModule(
            argument_spec={
                "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                "published": {"type": "list", "elements": "dict", "default": []},
                "host_ports": {"type": "list", "elements": "dict", "default": []},
                "trusted_networks": {"type": "list", "elements": "str", "default": []},
                "internal_interfaces": {"type": "list", "elements": "str", "default": []},
                "connection": {"type": "str", "default": ""},
                "guard_input": {"type": "bool", "default": True},
                "ufw": {"type": "bool", "default": True},
                "firewall_backend": {"type": "str", "default": ""},
                "kept": {"type": "path", "required": True},
                "before": {"type": "path", "required": True},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
