#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: secrets that are made once on the host and kept, one file each."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_secrets_files
short_description: Make secrets once, keep them in files, and rotate them
version_added: 0.1.0
description:
  - Sees to it that each secret has a file in one directory, which only the user that reads it can read (mode 0400).
    A file that is not there is made, with a random value or a declared one. A file that is there is kept; its owner
    and mode are mended, its content is never changed.
  - Random values are made on the host and never leave it. No value is in a result, a diff, a log or an argument of a
    process.
  - A secret is rotated in three phases. V(stage) makes C(NAME.next); now its server is told to accept both. V(promote)
    puts that in the place of C(NAME) and keeps the old one as C(NAME.previous); now its clients are restarted, and the
    server is told to forget the old one. V(retire) removes C(NAME.previous). Each can be run again, also after it was
    killed. P(hardened.clickstack.stack_secrets#role) and the playbook C(hardened.clickstack.rotate) do all of it.
  - Everything is judged first. It fails with all that is wrong, and has changed nothing then.
  - Files are written whole or not at all, and runs at the same time wait for each other.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Judges, and says what would be done.
    support: full
  diff_mode:
    description: Shows names, owners and modes of files, never what is in them.
    support: full
options:
  directory:
    description:
      - Directory on the host, by its absolute path. It is made if it is not there, for the user who runs the module,
        mode 0711; directories above it that are not there get mode 0750. One that is open to fewer stays as it is.
      - Refused if others may write to it or could replace it.
    type: path
    required: true
  secrets:
    description:
      - The secrets by name, which is the name of the file. Files of the directory that belong to none of them are left
        alone.
      - C(owner) is the number of the user that reads it in its container, C(group) the number of its group (the same
        number if it is omitted).
      - C(kind) is C(text) if it is omitted, for passwords and the like. A random one has letters and digits alone, so
        that it means itself in URLs, XML, YAML and shells, with at least one small letter, one capital letter and one
        digit. C(password) has a full stop in it too, for programs that want a special character.
        C(hex) are hexadecimal digits, always two for each byte of C(size). C(base64) has the form of
        C(openssl rand -base64), as MongoDB's keyfile.
      - C(size) is the length of a random one, in characters for C(text) and C(password) (O(text_length) if it is
        omitted), in bytes before encoding for the others (32). Less than 128 bits are refused.
      - C(fixed) says why it cannot be rotated, as a sentence for the error. If omitted or empty, it can.
      - Empty, there are none.
    type: dict
    required: true
  values:
    description:
      - Declared values by the names of secrets, for those that come from elsewhere. A file that is not there is made
        with it. A file with another value is an error, unless O(phase=stage) rotates this secret.
      - Empty, the default, all are random.
    type: dict
    default: {}
  text_length:
    description:
      - Characters of a random C(text) or C(password) that has no C(size).
    type: int
    default: 32
  minimum_length:
    description:
      - Least characters of a declared C(text) or C(base64), and of one that is there already.
    type: int
    default: 16
  phase:
    description:
      - V(present) makes what is missing. The others do one phase of the rotation of those in O(rotate), and leave all
        others alone.
      - A rotation that was not ended goes on where it was; V(stage) does not begin another.
    type: str
    choices: [present, stage, promote, retire]
    default: present
  rotate:
    description:
      - Names of the secrets to rotate.
      - Empty, the default, for none; only V(present) takes that.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: The password of ClickHouse's administrator, and MongoDB's keyfile
  hardened.clickstack.stack_secrets_files:
    directory: /opt/clickstack/secrets
    secrets:
      clickhouse_admin_password: {owner: 0}
      mongodb_keyfile: {owner: 999, kind: base64, size: 756}

- name: A new password is staged, beside the one in use
  hardened.clickstack.stack_secrets_files:
    directory: /opt/clickstack/secrets
    secrets:
      clickhouse_admin_password: {owner: 0}
    phase: stage
    rotate: [clickhouse_admin_password]
"""

RETURN = r"""
made:
  description: Files that were made.
  returned: success
  type: list
  elements: str
  sample: [clickhouse_admin_password]
mended:
  description: Files that got their owner and mode.
  returned: success
  type: list
  elements: str
  sample: []
promoted:
  description: Secrets that have their new value now.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Files that were removed; old values, and what a killed run had not finished.
  returned: success
  type: list
  elements: str
  sample: []
rotation:
  description:
    - How far the rotation of each secret is. V(staged) means that C(NAME.next) is there, V(promoted) that
      C(NAME.previous) is, V(none) that neither is.
  returned: success
  type: dict
  sample:
    clickhouse_admin_password: none
problems:
  description: What is wrong, each with its place and what to do. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets.plan import PHASES
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets.run import run


def main() -> None:
    """Run the module."""
    run(
        AnsibleModule(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "secrets": {"type": "dict", "required": True, "no_log": False},
                "values": {"type": "dict", "default": {}, "no_log": True},
                "text_length": {"type": "int", "default": 32},
                "minimum_length": {"type": "int", "default": 16},
                "phase": {"type": "str", "choices": list(PHASES), "default": "present"},
                "rotate": {"type": "list", "elements": "str", "default": []},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
