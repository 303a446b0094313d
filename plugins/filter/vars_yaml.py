# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes data as a vars file that Ansible reads back as the same data, whatever its texts hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

DOCUMENTATION = r"""
name: vars_yaml
short_description: Write data as YAML for a vars file
version_added: 0.1.0
description:
  - Writes data as YAML that Ansible reads back as the same data. A text that holds the signs of a template is written
    with the tag C(!unsafe), so that it stays a text; a database may be called C({{ name }}).
positional: _input
options:
  _input:
    description: The data, of dictionaries, lists, texts, numbers and booleans.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Keep what was read
  ansible.builtin.copy:
    dest: access.yml
    content: "{{ found.access | hardened.clickstack.vars_yaml }}"
    mode: "0640"
"""

RETURN = r"""
_value:
  description: The YAML text.
  type: str
"""

_TEMPLATES = ("{{", "{%", "{#")


class _Dumper(yaml.SafeDumper):
    """Writes Ansible's own kinds of text, list and dictionary as the plain ones."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: an anchor is harder to edit."""
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    text = str(data)
    if any(sign in text for sign in _TEMPLATES):
        return dumper.represent_scalar("!unsafe", text, style='"')
    return dumper.represent_str(text)


_Dumper.add_multi_representer(str, _text)
_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(dict, lambda dumper, data: dumper.represent_dict(dict(data).items()))
_Dumper.add_multi_representer(list, lambda dumper, data: dumper.represent_list(list(data)))


def vars_yaml(data: Any) -> str:
    """Return data as YAML for a vars file.

    :param data: dictionaries, lists, texts, numbers and booleans
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {"vars_yaml": vars_yaml}
