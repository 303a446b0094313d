#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the certificates of ClickStack's services on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_tls_certificates
short_description: Judge the certificates of ClickStack's services on a host, and write those that changed
version_added: 0.1.0
description:
  - Compares the certificates on a host with those that shall be there, and says which of them somebody has to sign. It
    signs nothing itself. What was signed is given to it in a second run, and is judged as everything else.
  - For each it keeps a directory with C(tls.crt) (with its chain), C(tls.key) and C(ca.crt) (the authorities to
    trust), and
    where it is asked for one file with key and chain. All belong to the user of the service, mode 0400.
  - It fails with everything that is wrong, and has changed nothing then. Certificates that were brought may have
    ended, lack
    a name, not belong to their key, or not be signed by the authority that came with them; an authority may be too old
    to sign,
    or in use and left out.
  - Each file is replaced whole, by another name that is given to it, so a service that reads it finds the old or the
    new one.
    The authorities come first, then key and certificate. What does not change is not touched.
  - It is made for the role P(hardened.clickstack.stack_tls#role), and names its variables.
  - It needs the Python library cryptography (3.4 or newer) on the host.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Judges, and says what would be signed and written. Where cryptography is missing it says that alone.
    support: full
  diff_mode:
    description: Shows names, ends and fingerprints of certificates; of keys nothing.
    support: full
options:
  directory:
    description:
      - Directory on the host for the certificates. It is made if it is not there.
    type: path
    required: true
  services:
    description:
      - Services that get a certificate.
      - Empty, none does.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name, and so the directory.
        type: str
        required: true
      source:
        description:
          - Where the certificate comes from, our own authority, the user, or ACME.
        type: str
        choices: [ca, provided, acme]
        default: ca
      names:
        description:
          - Names and addresses that the certificate must have; with our own authority, besides those that are known.
          - If omitted, those that are known of the service.
        type: list
        elements: str
      usages:
        description:
          - What it is for.
          - If omitted, what is known of the service.
        type: list
        elements: str
        choices: [serverAuth, clientAuth]
      user_id:
        description:
          - User and group of the service in its container, by number, C(uid:gid).
          - If omitted, those of ClickStack's image.
        type: str
      pem:
        description:
          - Name of a file that gets key and chain together.
          - If omitted, C(mongodb.pem) for MongoDB, none for others.
        type: str
      reload:
        description:
          - Command that makes the service read its certificate again. It is returned, not run.
          - If omitted, there is none.
        type: list
        elements: str
      certificate:
        description:
          - A certificate that is brought, with its chain, in PEM.
          - If omitted, it is in O(services[].certificate_file).
        type: str
      certificate_file:
        description:
          - File on the host with it.
          - If omitted, it is in O(services[].certificate).
        type: path
      key:
        description:
          - Its key in PEM, not encrypted.
          - If omitted, it is in O(services[].key_file).
        type: str
      key_file:
        description:
          - File on the host with it.
          - If omitted, it is in O(services[].key).
        type: path
      authority:
        description:
          - The authority that signed it, in PEM.
          - If omitted, it is in O(services[].authority_file). Only the proxy can do without.
        type: str
      authority_file:
        description:
          - File on the host with it.
          - If omitted, it is in O(services[].authority).
        type: path
  clients:
    description:
      - Clients that get a certificate, in directories below C(clients).
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name, and so the directory.
        type: str
        required: true
      common_name:
        description:
          - Common name of the subject.
          - If omitted, the name.
        type: str
      names:
        description:
          - Names and addresses that the certificate has.
          - If omitted, none.
        type: list
        elements: str
      user_id:
        description:
          - User and group that read it, by number, C(uid:gid).
          - If omitted, root.
        type: str
      pem:
        description:
          - Name of a file that gets key and chain together.
          - If omitted, there is none.
        type: str
      reload:
        description:
          - Command that makes who uses it read it again. It is returned, not run.
          - If omitted, there is none.
        type: list
        elements: str
  host_names:
    description:
      - Names and addresses of the host, for every certificate that our own authority signs.
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
  key_type:
    description:
      - Kind of keys. V(ecdsa) is on the curve P-256.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
  key_size:
    description:
      - Bits of an RSA key.
    type: int
    default: 3072
  valid_days:
    description:
      - How many days a certificate is good for.
    type: int
    default: 365
  renew_days:
    description:
      - How many days before its end another one is asked for. For one that was brought there is a warning then.
    type: int
    default: 30
  renew_keys:
    description:
      - Whether a certificate that is renewed gets another key.
    type: bool
    default: false
  acme_challenge:
    description:
      - How a certificate by ACME is asked for. Names such as C(*.example.com) need V(dns-01).
    type: str
    choices: [http-01, dns-01]
    default: http-01
  signer:
    description:
      - The certificate of our own authority, in PEM. The default says that there is none yet.
    type: str
    default: ""
  authorities:
    description:
      - Certificates of authorities that are trusted besides, in PEM.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
  permitted:
    description:
      - Name constraints that our own authority will have once it is made.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
  replace_authority:
    description:
      - Whether an authority whose certificates are in use may be left out.
    type: bool
    default: false
  issued:
    description:
      - What was signed, in PEM with its chain, by the names in the return value RV(wanted).
      - Empty, the default, for nothing.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Which certificates have to be signed?
  hardened.clickstack.stack_tls_certificates:
    directory: /opt/clickstack/tls
    signer: "{{ lookup('ansible.builtin.file', '~/.clickstack-ca/clickstack/ca.crt') }}"
    services:
      - name: clickhouse
      - name: proxy
        source: provided
        names: [clickstack.example.com]
        certificate_file: /etc/ssl/clickstack.pem
        key_file: /etc/ssl/private/clickstack.key
  check_mode: true
  register: plan
"""

RETURN = r"""
wanted:
  description:
    - The certificates that somebody has to sign, and why.
    - Where RV(wanted[].new_key) says so, a key has to be made at RV(wanted[].key) first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Of what.
      type: str
      returned: success
      sample: clickhouse
    source:
      description: By whom, V(ca) or V(acme).
      type: str
      returned: success
      sample: ca
    why:
      description: The reason.
      type: str
      returned: success
      sample: it ends on 2026-12-24 12:00 UTC
    new_key:
      description: Whether it needs a new key.
      type: bool
      returned: success
      sample: false
    key:
      description: File with its key.
      type: str
      returned: success
      sample: /opt/clickstack/tls/clickhouse/tls.key
    subject:
      description: The subject, in its order.
      type: list
      elements: dict
      returned: success
      sample: [{O: ClickStack}, {OU: clickhouse}, {CN: ch-server}]
    names:
      description: The subject's alternative names.
      type: list
      elements: str
      returned: success
      sample: ["DNS:ch-server", "IP:127.0.0.1"]
    key_usages:
      description: The key usages.
      type: list
      elements: str
      returned: success
      sample: [digitalSignature]
    usages:
      description: The extended key usages.
      type: list
      elements: str
      returned: success
      sample: [serverAuth]
files:
  description: The files that were written, or got another owner or mode.
  returned: success
  type: list
  elements: str
  sample: [/opt/clickstack/tls/clickhouse/tls.crt]
reload:
  description:
    - Which commands are to be run, because certificates changed that were in use. They are named in every run until
      somebody removes the directory C(.staging), so that nothing is forgotten where a run is killed.
  returned: success
  type: list
  elements: dict
  sample: [{name: proxy, command: [systemctl, reload, nginx]}]
library:
  description: Whether the library cryptography is there. Without it, check mode says nothing else.
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong, each with its place and what to do. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.run import certificates


def main() -> None:
    """Run the module."""
    client = {
        "name": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str"},
        "user_id": {"type": "str"},
        "pem": {"type": "str"},
        "reload": {"type": "list", "elements": "str"},
    }
    service = {
        **client,
        "source": {"type": "str", "choices": ["ca", "provided", "acme"], "default": "ca"},
        "usages": {"type": "list", "elements": "str", "choices": ["serverAuth", "clientAuth"]},
        "certificate": {"type": "str"},
        "certificate_file": {"type": "path"},
        "key": {"type": "str", "no_log": True},
        "key_file": {"type": "path", "no_log": False},
        "authority": {"type": "str"},
        "authority_file": {"type": "path"},
    }
    texts = {"type": "list", "elements": "str", "default": []}
    certificates(
        AnsibleModule(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "services": {"type": "list", "elements": "dict", "required": True, "options": service},
                "clients": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {**client, "common_name": {"type": "str"}},
                },
                "host_names": texts,
                "container_addresses": {"type": "dict", "default": {}},
                "organization": {"type": "str", "default": "ClickStack"},
                "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa", "no_log": False},
                "key_size": {"type": "int", "default": 3072, "no_log": False},
                "valid_days": {"type": "int", "default": 365},
                "renew_days": {"type": "int", "default": 30},
                "renew_keys": {"type": "bool", "default": False, "no_log": False},
                "acme_challenge": {"type": "str", "choices": ["http-01", "dns-01"], "default": "http-01"},
                "signer": {"type": "str", "default": ""},
                "authorities": texts,
                "permitted": texts,
                "replace_authority": {"type": "bool", "default": False},
                "issued": {"type": "dict", "default": {}},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
