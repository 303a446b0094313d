#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: files in ClickHouse's config.d and users.d."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_clickhouse_config
short_description: Judge files for ClickHouse's config.d and users.d, then write them
version_added: 0.1.0
description:
  - Reads the given files together with those that are there already, merged as ClickHouse merges them, and looks for
    what would keep ClickHouse from starting or would mean something else than it says. It looks for XML that is not
    well-formed; ports that two listeners share; regular expressions that RE2 does not understand; users with no, two or
    a forbidden kind of authentication; networks that are none; references to disks, LDAP or HTTP servers that are not
    there; settings that do not exist (if it is told how to run ClickHouse); passwords that break the configured rules;
    keys of the wrong length; and certificates, keys and secrets that are missing, do not belong together, or that
    ClickHouse's user cannot read and others can.
  - Fails with all that it found, and has changed nothing then.
  - Each file is written whole or not at all. Files whose name begins with C(hardened-) and that are not wanted are
    removed, all others are left alone.
  - It is made for the role P(hardened.clickstack.stack_clickhouse#role), and names its variables.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
attributes:
  check_mode:
    description: Judges, and says what would be written.
    support: full
  diff_mode:
    description: Shows the files, without hashes of passwords.
    support: full
options:
  directory:
    description:
      - Directory on the host in which config.d and users.d are. It is made if it is not there.
    type: path
    required: true
  files:
    description:
      - Content of the files, by their paths below the directory, such as C(config.d/hardened-tls.xml).
      - Empty, all files that begin with C(hardened-) are removed.
    type: dict
    required: true
  owner:
    description:
      - Number of the user that ClickHouse runs as. The files belong to it, mode 0400, in directories of mode 0500.
    type: int
    default: 101
  group:
    description:
      - Number of its group.
    type: int
    default: 101
  digests:
    description:
      - Texts that stand for a password in the files, with the file on the host that holds the password. Each is
        replaced by the SHA-256 digest of the password, in hexadecimal digits.
      - Empty, the default, for none.
    type: dict
    default: {}
  hashes:
    description:
      - Texts that stand for a hash in the files, with the hash. So it is in no log of the task.
      - Empty, the default, for none.
    type: dict
    default: {}
  keys:
    description:
      - Files on the host that hold encryption keys in hexadecimal digits. They are looked at, not copied.
      - Empty, the default, for none.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - The file.
        type: path
        required: true
      bytes:
        description:
          - How many bytes the algorithm wants.
        type: int
        required: true
  certificates:
    description:
      - The server's certificate and key as they lie on the host. They are looked at, not copied.
      - If omitted, there are none. Empty is refused.
    type: dict
    suboptions:
      certificate:
        description:
          - The certificate, followed by its chain, in PEM.
        type: path
        required: true
      key:
        description:
          - Its key, in PEM, without a password.
        type: path
        required: true
      authority:
        description:
          - The certificate of the authority in PEM.
          - If omitted, there is none to look at.
        type: path
  program:
    description:
      - How to run C(clickhouse) of the version that will read the files. The module appends C(local --query ...).
      - Empty, the default, settings are not compared with those that ClickHouse has.
    type: list
    elements: str
    default: []
  validate:
    description:
      - A command that judges the files before they are written. V({}) in it stands for a directory with the config.d
        and users.d that would be. It fails by a status that is not 0.
      - Empty, the default, for none.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: ClickHouse tells nobody about its crashes
  hardened.clickstack.stack_clickhouse_config:
    directory: /opt/clickstack/clickhouse
    files:
      config.d/hardened-crash-reports.xml: |
        <clickhouse>
            <send_crash_reports><enabled>false</enabled></send_crash_reports>
        </clickhouse>
"""

RETURN = r"""
written:
  description: The files that were written, by their paths below the directory.
  returned: success
  type: list
  elements: str
  sample: [config.d/hardened-tls.xml]
removed:
  description: The files that were removed.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What is wrong, each with its place and what to do. The module fails if there is anything.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_clickhouse.run import run


def main() -> None:
    """Run the module."""
    key = {"path": {"type": "path", "required": True, "no_log": False}, "bytes": {"type": "int", "required": True}}
    certificates = {
        "certificate": {"type": "path", "required": True},
        "key": {"type": "path", "required": True, "no_log": False},
        "authority": {"type": "path"},
    }
    run(
        AnsibleModule(
            argument_spec={
                "directory": {"type": "path", "required": True},
                "files": {"type": "dict", "required": True},
                "owner": {"type": "int", "default": 101},
                "group": {"type": "int", "default": 101},
                "digests": {"type": "dict", "default": {}, "no_log": False},
                "hashes": {"type": "dict", "default": {}, "no_log": True},
                "keys": {"type": "list", "elements": "dict", "default": [], "options": key, "no_log": False},
                "certificates": {"type": "dict", "options": certificates},
                "program": {"type": "list", "elements": "str", "default": []},
                "validate": {"type": "list", "elements": "str", "default": []},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
