# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what trimming a project comes to; its texts before and after, and what is exposed with each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.compose import exposure
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError, lines_of
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.edit import edited
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import Port
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.project import (
    Entry,
    Files,
    Overlay,
    Project,
    load,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import Decision, Rule, decide


@dataclass(frozen=True)
class Trim:
    """What trimming comes to.

    :param before: the text of each file, by its real path; nothing for a file that is not there
    :param after: the same, afterwards
    :param paths: the Compose files that Docker Compose reads afterwards, the base first
    :param exposed_base: what the files that rules were judged against expose to whom, as `exposure.exposed` gives it
    :param exposed_before: the same of all files, before
    :param exposed_after: the same of all files, afterwards
    :param notes: what the operator should know, trimming or not
    """

    before: dict[str, str]
    after: dict[str, str]
    paths: list[str]
    exposed_base: list[dict[str, Any]]
    exposed_before: list[dict[str, Any]]
    exposed_after: list[dict[str, Any]]
    notes: list[str]

    @property
    def changed(self) -> list[str]:
        """The real paths of the files that change."""
        return [path for path, text in self.after.items() if text != self.before.get(path)]

    def diff(self, path: str) -> str:
        """Return the lines of a file that change, and no others: what stands around them may be secret."""
        before, after = (_lines(texts.get(path, "")) for texts in (self.before, self.after))
        return "".join(difflib.unified_diff(before, after, f"before: {path}", f"after: {path}", n=0))


def _lines(text: str) -> list[str]:
    return [line.rstrip("\r\n") + "\n" for line in lines_of(text)]


def trim(
    directory: str,
    paths: Sequence[str],
    environment: Mapping[str, str],
    files: Files,
    rules: Sequence[Rule],
    default: Decision,
    deletes: bool = False,
) -> Trim:
    """Return what trimming a project by rules comes to; nothing is written.

    :param directory: the project directory
    :param paths: its Compose files, the base first
    :param environment: the variables that count
    :param deletes: whether lines are deleted rather than made comments of
    :raises ComposeError: for what cannot be read or written so, with file and line
    :raises RulesError: for rules that cannot be followed
    """
    project = load(directory, paths, environment, files)
    decisions = decide(project, rules, default, deletes)
    before = {path: document.current for path, document in project.documents.items()}
    after = {
        path: edited(
            document, {entry: what for entry, what in decisions.items() if entry.document is document}, deletes
        )
        for path, document in project.documents.items()
    }
    result = checked(directory, paths, environment, Overlay(files, after), wanted(project, decisions))
    exposed = exposure.exposed(project)
    return Trim(before, after, list(paths), exposed, exposed, exposure.exposed(result), exposure.notes(project))


def checked(
    directory: str,
    paths: Sequence[str],
    environment: Mapping[str, str],
    files: Files,
    expected: Mapping[str, set[Port]],
) -> Project:
    """Return the project that new files make, once it is sure that it publishes what it shall.

    :param files: the file system with the new files
    :param expected: what each service shall publish
    :raises ComposeError: if it cannot be read, or publishes anything else
    """
    try:
        result = load(directory, paths, environment, files)
    except ComposeError as error:
        raise ComposeError(f"the result would be broken, please report this; {error}") from None
    if publishes(result) != expected:
        raise ComposeError("the result would not publish what the rules say, please report this")
    return result


def wanted(project: Project, decisions: Mapping[Entry, Decision]) -> dict[str, set[Port]]:
    """Return what each service shall publish."""
    out = {}
    for service in project.services.values():
        kept = [
            (port, decisions[entry])
            for entry in service.entries
            if decisions[entry].action != "remove"
            for port in entry.ports
        ]
        out[service.name] = {
            replace(port, host_ip=what.address) if what.action == "bind" else port for port, what in kept
        }
    return out


def publishes(project: Project) -> dict[str, set[Port]]:
    """Return what each service publishes."""
    return {
        service.name: {port for entry in service.entries if not entry.removed for port in entry.ports}
        for service in project.services.values()
    }
