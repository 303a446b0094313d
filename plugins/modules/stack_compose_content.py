#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: fingerprints of the files that services of a Compose project read."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_compose_content
short_description: Tell, by service, when a mounted file has another content
version_added: 0.1.0
description:
  - Gives a fingerprint for each service of a Compose project. As a label of the service it makes Compose recreate the
    container when one of its files has changed, and only then.
  - A fingerprint is an HMAC with a key that stays on the host. Labels are seen in C(docker inspect) and often become
    labels of metrics; a plain hash of a weak password could be guessed from there.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Makes no key in check mode. Without one the fingerprints are those of a key for this run only.
    support: full
  diff_mode:
    description: Shows a difference.
    support: none
options:
  key_file:
    description:
      - File with the key, readable for root alone. It is made if it is not there; its directory must be.
    type: path
    required: true
  services:
    description:
      - By service, the files and directories that it reads, as lists of paths. What is not there counts as absent.
      - Empty, and there are no fingerprints.
    type: dict
    required: true
  ignored:
    description:
      - Files and directories whose change does not matter, because the service sees it by itself.
      - Empty, the default, for none; an empty path ignores nothing.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Fingerprints of what is mounted
  hardened.clickstack.stack_compose_content:
    key_file: /opt/clickstack/.content-key
    services:
      app: [/opt/clickstack/secrets/mongo_uri]
      proxy: [/opt/clickstack/tls/proxy]
  register: content
"""

RETURN = r"""
content:
  description: The fingerprint of each service.
  returned: success
  type: dict
  sample:
    app: 5f0c1f8e6a3d4b7f9c2e1d0a8b7c6d5e
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose.run import content


def main() -> None:
    """Run the module."""
    content(
        AnsibleModule(
            argument_spec={
                "key_file": {"type": "path", "required": True, "no_log": False},
                "services": {"type": "dict", "required": True},
                "ignored": {"type": "list", "elements": "str", "default": []},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
