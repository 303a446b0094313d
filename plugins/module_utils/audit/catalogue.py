# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the audit's controls as the catalogue's YAML files say them, or everything that is wrong with those files.

A file holds the controls of one area, which has the file's name. The catalogue that comes with the collection is in
roles/stack_audit/files/catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

# its safe loader; YAML is on every control node, because Ansible itself needs it
from ansible.module_utils.common.yaml import yaml_load

SEVERITIES = ("critical", "high", "medium", "low")
"""What a failed control means, worst first."""

_ID = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z][A-Z0-9]*)+-[0-9]{2}")
_PROBE = re.compile(r"[a-z][a-z0-9_]*")
_TEXTS = ("id", "title", "severity", "reason", "probe")
_FIELDS = frozenset([*_TEXTS, "recommendation", "remedy", "benchmarks"])


class Malformed(Exception):
    """The catalogue cannot be used; the arguments are the problems, each with its file and entry."""


@dataclass(frozen=True)
class Recommendation:
    """The point of a public page that a control answers."""

    page: str
    point: str


@dataclass(frozen=True)
class Remedy:
    """What to do: with this collection (empty where it has nothing for it), and without it."""

    collection: str
    by_hand: str


@dataclass(frozen=True)
class Benchmark:
    """An entry of a published benchmark, whose name says its version, because the numbers move between versions."""

    name: str
    id: str


@dataclass(frozen=True)
class Control:
    """One thing that the audit holds a ClickStack against. `area` is the name of its file; `probe` measures it."""

    id: str
    area: str
    title: str
    severity: str
    reason: str
    recommendation: Recommendation
    probe: str
    remedy: Remedy
    benchmarks: tuple[Benchmark, ...]


def read(texts: Mapping[str, str]) -> tuple[Control, ...]:
    """Return the controls of a catalogue, in its order.

    :param texts: the content of the files, by their paths
    :raises Malformed: with all that is wrong
    """
    entries: list[tuple[str, str, Any]] = []
    problems: list[str] = []
    for path, text in texts.items():
        area = PurePath(path).stem
        try:
            content = yaml_load(text)
        except Exception as error:  # PyYAML's own classes are not at hand where it is missing
            problems.append(f"{path}: this is not YAML: {' '.join(str(error).split())}.")
            continue
        if not isinstance(content, list) or not content:
            problems.append(f"{path}: a catalogue is a list of controls, with one at least.")
            continue
        for number, entry in enumerate(content, 1):
            name = entry.get("id") if isinstance(entry, dict) else None
            place = f"{path}, entry {number}" + (f" ({name})" if isinstance(name, str) and name else "")
            entries.append((area, place, entry))
    for _area, place, entry in entries:
        problems += [f"{place}: {text}" for text in _problems(entry)]
    problems += _repeated(entries)
    if problems:
        raise Malformed(*problems)
    return tuple(_control(area, entry) for area, _place, entry in entries)


def _problems(entry: Any) -> Iterator[str]:
    """What is wrong with one entry, for itself."""
    if not isinstance(entry, dict):
        yield "a control is a mapping."
        return
    for name in sorted(str(key) for key in entry.keys() - _FIELDS):
        yield f"{name} is not a field of a control; there are {', '.join(sorted(_FIELDS))}."
    for name in _TEXTS:
        if not _is_text(entry.get(name)):
            yield f"{name} must be a text that is not empty."
    if _is_text(entry.get("id")) and not _ID.fullmatch(entry["id"]):
        yield f"id {entry['id']} is not like CH-TLS-01."
    if _is_text(entry.get("probe")) and not _PROBE.fullmatch(entry["probe"]):
        yield f"probe {entry['probe']} is not a name in small letters, such as clickhouse_plaintext."
    if _is_text(entry.get("severity")) and entry["severity"] not in SEVERITIES:
        yield f"severity {entry['severity']} is not one of {', '.join(SEVERITIES)}."
    yield from _mapping("recommendation", entry.get("recommendation"), ("page", "point"), ())
    yield from _mapping("remedy", entry.get("remedy"), ("by_hand",), ("collection",))
    benchmarks = entry.get("benchmarks")
    if not isinstance(benchmarks, list):
        yield "benchmarks must be a list; it is empty where no benchmark has such a control."
        return
    for number, benchmark in enumerate(benchmarks, 1):
        yield from _mapping(f"benchmarks, entry {number}", benchmark, ("name", "id"), ())


def _mapping(name: str, value: Any, required: tuple[str, ...], optional: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with a mapping of texts inside an entry."""
    wanted = " and ".join(required)
    if not isinstance(value, dict):
        yield f"{name} must be a mapping with {wanted}."
        return
    for key in sorted(str(key) for key in value.keys() - {*required, *optional}):
        yield f"{name} has no field {key}."
    for key in required:
        if not _is_text(value.get(key)):
            yield f"{name}: {key} must be a text that is not empty. Write numbers of benchmarks in quotes."
    for key in optional:
        if key in value and not _is_text(value[key]):
            yield f"{name}: {key} must be a text that is not empty, or be left out."


def _repeated(entries: list[tuple[str, str, Any]]) -> Iterator[str]:
    """Ids and probes that two entries have: a finding must be one control's, and an observation too."""
    for name in ("id", "probe"):
        first: dict[str, str] = {}
        for _area, place, entry in entries:
            value = entry.get(name) if isinstance(entry, dict) else None
            if not isinstance(value, str) or not _is_text(value):
                continue
            if value in first:
                yield f"{place}: {name} {value} is taken already by {first[value]}."
            first.setdefault(value, place)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _control(area: str, entry: Mapping[str, Any]) -> Control:
    """The control of an entry that nothing is wrong with."""
    texts = {name: " ".join(entry[name].split()) for name in _TEXTS}
    recommendation = Recommendation(**{key: value.strip() for key, value in entry["recommendation"].items()})
    remedy = Remedy(entry["remedy"].get("collection", "").strip(), entry["remedy"]["by_hand"].strip())
    benchmarks = tuple(Benchmark(benchmark["name"], benchmark["id"]) for benchmark in entry["benchmarks"])
    return Control(area=area, recommendation=recommendation, remedy=remedy, benchmarks=benchmarks, **texts)
