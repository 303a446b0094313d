#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: whether a Compose project gets along with the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_compose_preflight
short_description: Find what keeps a Compose project from working on a host, before it is started
version_added: 0.1.0
description:
  - Reads a Compose project the way Compose itself does, and the host, and compares them. It looks for subnets that
    overlap with each other, with the host's routes or with other networks of Docker; addresses outside of their
    subnet; bind addresses that the host does not have; ports that are taken; more CPUs than there are; and mounted
    files and secrets that are missing, empty, open to everybody, or not readable for the user in the container.
  - Fails with all that it found. Changes nothing.
  - It is made for the role P(hardened.clickstack.stack_compose#role), and names its variables.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Runs in check mode as it does otherwise.
    support: full
  diff_mode:
    description: Shows a difference.
    support: none
options:
  name:
    description:
      - Name of the Compose project. What runs under that name already is not in its way.
    type: str
    required: true
  directory:
    description:
      - The project's directory, from which relative paths in the files begin. It need not be there yet.
    type: path
    required: true
  definition:
    description:
      - Content of the Compose file.
    type: str
    required: true
  overrides:
    description:
      - Content of a Compose file that is merged over it, as a dictionary. It may neither add services nor publish
        ports.
      - Empty, the default, for none.
    type: dict
    default: {}
  ours:
    description:
      - Mounted files and directories that are written after this task, and so need not be there.
      - Empty, the default, for none.
    type: list
    elements: path
    default: []
  required:
    description:
      - Files that must be there inside of what is mounted, by service, as lists of paths.
      - Empty, the default, for none.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: See whether the project can run here
  hardened.clickstack.stack_compose_preflight:
    name: hdx-oss
    directory: /opt/clickstack
    definition: "{{ lookup('ansible.builtin.template', 'compose.yml.j2') }}"
    required:
      proxy: [/opt/clickstack/tls/proxy/tls.crt]
"""

RETURN = r"""
problems:
  description: What keeps the project from working, each with what to do. The module fails if there are any.
  returned: always
  type: list
  elements: str
  sample: []
mounted:
  description: The files and directories that each service reads and does not write to.
  returned: when there are no problems
  type: dict
  sample:
    app: [/opt/clickstack/secrets/mongo_uri]
outdated:
  description: The project's networks that Docker has with other subnets, so that they must be removed first.
  returned: when there are no problems
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose.run import preflight


def main() -> None:
    """Run the module."""
    preflight(
        AnsibleModule(
            argument_spec={
                "name": {"type": "str", "required": True},
                "directory": {"type": "path", "required": True},
                "definition": {"type": "str", "required": True},
                "overrides": {"type": "dict", "default": {}},
                "ours": {"type": "list", "elements": "path", "default": []},
                "required": {"type": "dict", "default": {}},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
