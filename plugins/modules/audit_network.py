#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what of a ClickStack can be reached, and how it answers, from where the module runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_network
short_description: See a ClickStack from outside
version_added: 0.1.0
description:
  - Tries ports over IPv4 and IPv6, speaks TLS, asks HyperDX what it tells to strangers, and sends an empty OTLP request
    without a key. Nobody is registered, and nothing is stored.
  - Run it where an attacker would be. From the Docker host itself, ports that a firewall closes are open.
  - TLS up to 1.1 is tried by a ClientHello of its own, because OpenSSL does not offer it any more.
  - It is made for the role P(hardened.clickstack.stack_audit#role).

author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: It changes nothing, and measures the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  addresses:
    description:
      - Addresses of the host, IPv4 and IPv6, as they are reached from here.
      - Empty, nothing is measured.
    type: list
    elements: str
    required: true
  declared_ports:
    description:
      - Ports that shall be open.
      - Empty, none.
    type: list
    elements: int
    default: [22, 443, 4317, 4318]
  ports:
    description:
      - Ports to try beside the declared ones, or V(all) for 1 to 65535, which takes longer.
      - Empty, those of ClickStack, its databases and Docker.
    type: list
    elements: str
    default: []
  host_name:
    description:
      - The name that people open HyperDX by. Its certificate must be valid for it.
      - If omitted, no name is asked for, and a certificate is judged by its authority and its days alone.
    type: str
    default: ""
  https_port:
    description:
      - Port of HyperDX over HTTPS. V(0), it has none.
    type: int
    default: 443
  otlp_grpc_port:
    description:
      - Port of OTLP over gRPC. V(0), it has none.
    type: int
    default: 4317
  otlp_http_port:
    description:
      - Port of OTLP over HTTP. V(0), it has none.
    type: int
    default: 4318
  otlp_name:
    description:
      - The name that senders of telemetry use.
      - If omitted, that of O(host_name).
    type: str
    default: ""
  ca_file:
    description:
      - The authority that HyperDX' certificate comes from, in PEM, on the host that the module runs on.
      - If omitted, or if the file is not there, those of the operating system.
    type: path
  otlp_ca_file:
    description:
      - The authority that the collector's certificate comes from.
      - If omitted, that of O(ca_file).
    type: path
  certificate_days:
    description:
      - Days that certificates must still be valid for.
    type: int
    default: 14
  timeout:
    description:
      - Seconds for each connection and answer. What is silent is tried twice, except with V(all) ports.
    type: float
    default: 2
"""

EXAMPLES = r"""
- name: See it from outside
  hardened.clickstack.audit_network:
    addresses: [192.0.2.10, "2001:db8::10"]
    host_name: clickstack.example.com
  delegate_to: vantage.example.com
  register: network
"""

RETURN = r"""
observations:
  description: What was seen, for M(hardened.clickstack.audit_report). There is no secret in it.
  returned: always
  type: list
  elements: dict
  sample:
    - probe: port_opamp
      subject: 192.0.2.10
      status: fail
      evidence: "Open: 4320 (OpAMP)."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.network_run import run


def main() -> None:
    """Run the module."""
    run(
        AnsibleModule(
            argument_spec={
                "addresses": {"type": "list", "elements": "str", "required": True},
                "declared_ports": {"type": "list", "elements": "int", "default": [22, 443, 4317, 4318]},
                "ports": {"type": "list", "elements": "str", "default": []},
                "host_name": {"type": "str", "default": ""},
                "https_port": {"type": "int", "default": 443},
                "otlp_grpc_port": {"type": "int", "default": 4317},
                "otlp_http_port": {"type": "int", "default": 4318},
                "otlp_name": {"type": "str", "default": ""},
                "ca_file": {"type": "path"},
                "otlp_ca_file": {"type": "path"},
                "certificate_days": {"type": "int", "default": 14},
                "timeout": {"type": "float", "default": 2},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
