# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a container as the host's root sees them in /proc: who descends from the first, and with what."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def children() -> dict[int, list[int]]:
    """Return the children of each process.

    A container's processes descend from its first one; what `docker exec` starts does not.
    """
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                # the name of the program stands in parentheses and may hold anything
                parent = int(Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it has ended
            found.setdefault(parent, []).append(int(name))
    return found


def descendants(first: int, by_parent: dict[int, list[int]]) -> list[int]:
    """Return a process and all that descend from it, itself first.

    :param by_parent: from `children`
    """
    pids = [first] if first else []
    for pid in pids:
        pids += sorted(by_parent.get(pid, ()))
    return pids


def parted(variables: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return names and values of NAME=value."""
    for text in variables:
        name, separator, value = text.partition("=")
        if separator:
            yield name, value


def environment(pid: int) -> dict[str, str]:
    """Return what a process was started with. Raises OSError if it cannot be read, which takes root."""
    return dict(parted(Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")))


def environment_of_all(first: int) -> dict[str, str]:
    """Return what a container's processes see: each variable from the last that has it, since wrappers add to it.

    :param first: its first process; 0 for none
    """
    found: dict[str, str] = {}
    for pid in descendants(first, children()):
        try:
            found.update(environment(pid))
        except OSError:
            continue  # it has ended, or is not ours to read
    return found
