# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What daemon.json shall hold: what others have put there, and what is asked for, merged; and the way back.

Pure. The rule: take out of the file what we put into it, then merge what is asked for now into the rest. So a key that
is no longer asked for goes back to what it was, and a file that nothing is asked of is the one that was there before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.text import same

DRIVER, OPTIONS = "log-driver", "log-opts"
DEFAULT_DRIVER = "json-file"
"""The engine's own default (docs.docker.com/engine/logging/configure)."""
MISSING = object()
"""The value of a key that is not there; null is a value."""


class MergeError(Exception):
    """What is asked for does not go together with what is there; the message names the key and says what to do."""


@dataclass(frozen=True)
class Taken:
    """A place in the file that we wrote to.

    :param path: the keys that lead there, from the top
    :param values: what we have put there, the newest first: whatever else is there somebody else has put there
    :param previous: what was there before, or MISSING
    """

    path: tuple[str, ...]
    values: tuple[Any, ...]
    previous: Any

    def stored(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        previous = {} if self.previous is MISSING else {"previous": self.previous}
        return {"path": list(self.path), "values": list(self.values), **previous}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Taken:
        """Return what `stored` gave.

        :raises KeyError: if something is missing in it
        """
        return cls(tuple(stored["path"]), tuple(stored["values"]), stored.get("previous", MISSING))


def without(document: Mapping[str, Any], taken: Sequence[Taken]) -> dict[str, Any]:
    """Return the document as it were if we had never written to it.

    :param document: what is in the file
    :param taken: the places that we wrote to, in the order in which we did
    """
    result = copy.deepcopy(dict(document))
    for place in reversed(taken):
        parent = _at(result, place.path[:-1])
        key = place.path[-1]
        if not isinstance(parent, dict) or key not in parent:
            continue
        if any(same(parent[key], value) for value in place.values):
            if place.previous is MISSING:
                del parent[key]
            else:
                parent[key] = copy.deepcopy(place.previous)
    return result


def joined(before: Sequence[Taken], after: Sequence[Taken]) -> list[Taken]:
    """Return the places of two runs, for the moment in which nobody knows which of them the file is of.

    A map comes before what is in it, as `merge` has them.

    :param before: the places of the earlier run
    :param after: those of the later one, which knows the earlier one's values
    """
    known = {place.path for place in after}
    both = [*(place for place in before if place.path not in known), *after]
    return sorted(both, key=lambda place: len(place.path))


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key, MISSING) if isinstance(document, dict) else MISSING
    return document


def merge(
    base: Mapping[str, Any], wish: Mapping[str, Any], before: Sequence[Taken] = ()
) -> tuple[dict[str, Any], list[Taken]]:
    """Return the document with the wish in it, and the places that were written to for that.

    Maps are merged key by key, everything else is replaced. log-opts are replaced as a whole if log-driver becomes
    another one, because they are that driver's: the engine refuses the options of one driver for another.

    :param base: what is there without us
    :param wish: what is asked for
    :param before: the places that we wrote to earlier, for the values that are ours
    :raises MergeError: where one has a map and the other has none
    """
    ours = {place.path: place.values for place in before}
    document = copy.deepcopy(dict(base))
    wish = dict(wish)
    whole: set[tuple[str, ...]] = set()
    if DRIVER in wish and not same(wish[DRIVER], base.get(DRIVER, DEFAULT_DRIVER)) and base.get(OPTIONS):
        whole.add((OPTIONS,))
        wish.setdefault(OPTIONS, {})
    taken: list[Taken] = []

    def put(target: dict[str, Any], key: str, path: tuple[str, ...], value: Any) -> None:
        values = (value, *(old for old in ours.get(path, ()) if not same(old, value)))
        taken.append(Taken(path, copy.deepcopy(values), target.get(key, MISSING)))
        target[key] = copy.deepcopy(value)

    def into(target: dict[str, Any], wanted: Mapping[str, Any], above: tuple[str, ...]) -> None:
        for key, value in wanted.items():
            path = (*above, key)
            if not isinstance(value, Mapping) or path in whole:
                if isinstance(target.get(key), dict) and path not in whole:
                    raise MergeError(f"{'.'.join(path)} is a map in the file, and something else in the task")
                if key not in target or not same(target[key], value):
                    put(target, key, path, value)
                continue
            if key not in target:
                put(target, key, path, {})
            elif not isinstance(target[key], dict):
                raise MergeError(f"{'.'.join(path)} is a map in the task, and something else in the file")
            into(target[key], value, path)

    into(document, wish, ())
    return document, taken


def wish_of(base: Mapping[str, Any], config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be merged: all of config, and of defaults what neither config nor base says anything about.

    :param base: what is there without us
    :param config: what is asked for whatever is there
    :param defaults: what is asked for where nothing is there
    """
    wish = _under(config, _unsaid(defaults, base))
    driver = config.get(DRIVER, base.get(DRIVER, defaults.get(DRIVER, DEFAULT_DRIVER)))
    if not same(driver, defaults.get(DRIVER, DEFAULT_DRIVER)) and OPTIONS not in config:
        wish.pop(OPTIONS, None)  # those of another driver
    return wish


def _unsaid(defaults: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in defaults.items():
        if key not in base:
            result[key] = value
        elif isinstance(value, Mapping) and isinstance(base[key], Mapping):
            deeper = _unsaid(value, base[key])
            if deeper:
                result[key] = deeper
    return result


def _under(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(lower)
    for key, value in upper.items():
        both = isinstance(value, Mapping) and isinstance(lower.get(key), Mapping)
        result[key] = _under(value, lower[key]) if both else value
    return result


def check_wish(wish: Mapping[str, Any], option: str) -> None:
    """Refuse what no daemon.json can hold.

    :param wish: what an option of the module holds
    :param option: the name of that option
    :raises MergeError: naming the key
    """
    for path, value in _leaves(wish, (option,)):
        if value is None:
            raise MergeError(f"{'.'.join(path)} is null. Leave the key out to leave it alone")


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path[:-1], f"{path[-1]}[{index}]"))
    else:
        yield path, value


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the keys at the top whose values differ between two documents."""
    return {key for key in {*before, *after} if not same(before.get(key, MISSING), after.get(key, MISSING))}
