# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what operators write about many entities against the options of their modules. Pure.

AnsibleModule could do it, but it stops at the first mistake without saying in which of 10,000 entries it is, and takes
most of a run's time for it. The rules for one value are Ansible's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.validation import (
    check_type_bool,
    check_type_dict,
    check_type_float,
    check_type_int,
    check_type_list,
    check_type_str,
)

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError

Spec = Mapping[str, Mapping[str, Any]]
"""Options as AnsibleModule takes them: ``type``, ``required``, ``default``, ``choices``, ``elements``, ``options``."""


def _text(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        raise TypeError("not a text")
    return str(check_type_str(value))


_TYPES: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any], str]] = {
    "str": (str, _text, "a text"),
    "bool": (bool, check_type_bool, "true or false"),
    "int": (int, check_type_int, "a whole number"),
    "float": (float, check_type_float, "a number"),
    "list": (list, check_type_list, "a list"),
    "dict": (dict, check_type_dict, "a dictionary"),
}


@dataclass(frozen=True)
class _Option:
    """One option, taken apart once for all entries."""

    name: str
    kind: str
    choices: frozenset[str] | None
    elements: str | None
    nested: _Options | None
    secret: bool


class _Options:
    """The options of a dictionary."""

    def __init__(self, spec: Spec) -> None:
        self.options = {
            name: _Option(
                name,
                option.get("type", "str"),
                frozenset(option["choices"]) if "choices" in option else None,
                option.get("elements"),
                _Options(option["options"]) if "options" in option else None,
                bool(option.get("no_log")),
            )
            for name, option in spec.items()
        }
        self.required = [name for name, option in spec.items() if option.get("required")]
        self.defaults = {name: option["default"] for name, option in spec.items() if option.get("default") is not None}

    def read(self, path: str, given: Mapping[str, Any], errors: list[WishError]) -> dict[str, Any]:
        """Return what was given, in its type, and defaults. What was omitted is not in it: 10,000 entries are many."""
        found = dict(self.defaults)
        for name, value in given.items():
            option = self.options.get(name)
            if option is None:
                errors.append(WishError(path, f"{name} is no option here; there are {', '.join(sorted(self.options))}"))
            elif value is not None:
                found[name] = self._value(option, f"{path}.{name}", value, errors)
        for name in self.required:
            if found.get(name) is None:
                errors.append(WishError(f"{path}.{name}", "is required"))
        return found

    def _value(self, option: _Option, path: str, value: Any, errors: list[WishError]) -> Any:
        value = _typed(option.kind, path, value, option.secret, errors)
        if value is None:
            return None
        if option.choices is not None and value not in option.choices:
            said = "this" if option.secret else repr(value)
            errors.append(WishError(path, f"{said} is none of {', '.join(sorted(option.choices))}"))
        if option.kind == "list" and option.elements:
            value = [
                _typed(option.elements, f"{path}[{index}]", entry, option.secret, errors)
                for index, entry in enumerate(value)
            ]
            if option.nested is not None:
                nested = option.nested
                value = [
                    nested.read(f"{path}[{index}]", entry, errors) if entry is not None else {}
                    for index, entry in enumerate(value)
                ]
        elif option.nested is not None:
            value = option.nested.read(path, value, errors)
        return value


def _typed(kind: str, path: str, value: Any, secret: bool, errors: list[WishError]) -> Any:
    """Return the value in its type; ``None`` for one that has none, with an error added."""
    if kind == "raw":
        return value
    own, convert, what = _TYPES[kind]
    if isinstance(value, own) and (own is not int or not isinstance(value, bool)):
        return value
    try:
        return convert(value)
    except (TypeError, ValueError):
        said = "this" if secret or isinstance(value, (Mapping, list)) else repr(value)
        errors.append(WishError(path, f"{said} is not {what}"))
        return None


def entries(plural: str, spec: Spec, given: Sequence[Any], errors: list[WishError]) -> list[dict[str, Any]]:
    """Check the entries of one kind.

    :param plural: the option that lists them, for errors
    :param spec: the options of one entry
    :param given: what the operator wrote
    :param errors: everything that is wrong is added to it
    :return: the entries with every option in its type; one that was omitted and has no default is left out
    """
    options = _Options(spec)
    found = []
    for index, entry in enumerate(given):
        path = f"{plural}[{index}]"
        if isinstance(entry, Mapping):
            found.append(options.read(path, entry, errors))
        else:
            errors.append(WishError(path, "is not a dictionary"))
    return found
