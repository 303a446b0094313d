# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What shall become of the files of secrets: to make, mend, keep, stage, promote or remove. No I/O.

A secret NAME is the file NAME. In the middle of its rotation there is another one:

======== ===================== =========================================================================
state    files                 what the server that knows the secret shall accept
======== ===================== =========================================================================
none     NAME                  NAME
staged   NAME, NAME.next       both
promoted NAME, NAME.previous   both, until every client has the new one
======== ===================== =========================================================================

Between the last two, NAME and NAME.previous are the same for a moment: first the old one gets its second name, then
NAME.next becomes NAME. So there is a whole NAME at every moment, and what a killed run left says where to go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets.kinds import KINDS, is_same, wrong

MODE = 0o400
NEXT, PREVIOUS = ".next", ".previous"
PHASES = ("present", "stage", "promote", "retire")
FIELDS = ("owner", "group", "kind", "size", "fixed")
DEFAULT_BYTES = 32
LARGEST_SIZE = 4096
LARGEST_ID = 2**32 - 2
"""chown(2) takes 2^32 - 1 for `leave it`."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class Secret:
    """One secret that shall be.

    :param name: its name and its file's
    :param kind: a key of KINDS
    :param size: of a random one, in the unit of the kind
    :param owner: number of the user that reads it
    :param group: number of its group
    :param value: the value that was declared; None for a random one
    :param fixed: why it cannot be rotated; empty if it can
    """

    name: str
    kind: str
    size: int
    owner: int
    group: int
    value: str | None = field(default=None, repr=False)
    fixed: str = ""

    @property
    def files(self) -> tuple[str, str, str]:
        """The names that its files can have."""
        return self.name, self.name + NEXT, self.name + PREVIOUS


@dataclass(frozen=True)
class Found:
    """A file that is there.

    :param problem: why it is no file to read, empty if it is one
    :param content: what is in it
    """

    problem: str = ""
    content: str = field(default="", repr=False)
    owner: int = 0
    group: int = 0
    mode: int = MODE

    @property
    def open_to(self) -> str:
        """Who could read it beside its owner; empty if nobody."""
        if self.mode & 0o004:
            return "everybody"
        return f"the group {self.group}" if self.mode & 0o040 else ""


@dataclass(frozen=True)
class Step:
    """One change of one file.

    :param action: `make` (with `value`, or a random one), `mend` (owner and mode), `keep` (give NAME its second name
        NAME.previous), `promote` (NAME.next becomes NAME) or `remove`
    :param file: the file's name; of `keep` and `promote` the one that is there afterwards
    """

    action: str
    file: str
    secret: Secret
    value: str | None = field(default=None, repr=False)


def declared(entries: Mapping[str, Any], values: Mapping[str, Any], text_length: int) -> tuple[list[Secret], list[str]]:
    """Read what was declared; return the secrets and what is wrong with any of them.

    :param entries: by the names of secrets, dictionaries with `owner` and perhaps `group`, `kind`, `size` and `fixed`
    :param values: declared values by the names of secrets
    :param text_length: size of a text that has none, in characters
    """
    problems: list[str] = []
    found = []
    for name, entry in entries.items():
        if not _NAME.fullmatch(name):
            problems.append(f"{name!r} cannot be the name of a secret: use letters, digits, _, - and . (no path).")
        elif name.endswith((NEXT, PREVIOUS)):
            problems.append(f"{name}: names that end in {NEXT} or {PREVIOUS} are those of a rotation. Choose another.")
        if not isinstance(entry, Mapping):
            problems.append(f"{name}: say a dictionary with `owner`, the number of the user that reads it.")
            continue
        before = len(problems)
        for key in sorted(set(entry) - set(FIELDS)):
            problems.append(f"{name}: it has no {key!r}. There are {', '.join(FIELDS)}.")
        kind = entry.get("kind", "text")
        size = _number(entry.get("size", text_length if kind in ("text", "password") else DEFAULT_BYTES))
        if kind not in KINDS:
            problems.append(f"{name}: its kind {kind!r} is none of {', '.join(KINDS)}.")
        elif size is None or size < KINDS[kind].smallest:
            least = f"{KINDS[kind].smallest} {KINDS[kind].unit}"
            problems.append(
                f"{name}: its size {entry.get('size', text_length)!r} is no number from {least} on, 128 bits."
            )
        elif size > LARGEST_SIZE:
            problems.append(f"{name}: its size {size} is more than {LARGEST_SIZE} {KINDS[kind].unit}.")
        ids = {"owner": _number(entry.get("owner")), "group": _number(entry.get("group", entry.get("owner")))}
        for what, number in ids.items():
            if number is None and (what == "owner" or what in entry):
                problems.append(
                    f"{name}: its {what} must be a number from 0 to {LARGEST_ID}, because only the image knows names,"
                    f" and not {entry.get(what)!r}."
                )
        value = values.get(name)
        if name in values and not isinstance(value, str):
            problems.append(f"{name}: the declared value is a {type(value).__name__}, not a text. Put it in quotes.")
        owner, group = ids["owner"], ids["group"]
        if len(problems) == before and size is not None and owner is not None and group is not None:
            found.append(Secret(name, kind, size, owner, group, value, str(entry.get("fixed", ""))))
    for name in sorted(set(values) - set(entries)):
        problems.append(f"{name}: a value is declared for it, and there is no secret of this name.")
    return found, problems


def wrong_values(secrets: Iterable[Secret], minimum: int) -> list[str]:
    """Say which declared values cannot be what their readers want.

    :param minimum: least characters of a text
    """
    problems = []
    for secret in secrets:
        reason = "" if secret.value is None else wrong(secret.kind, secret.value, secret.size, minimum)
        if reason:
            empty = " Leave it out for a random one." if reason == "is empty" else ""
            problems.append(f"{secret.name}: the declared value {reason}.{empty}")
    return problems


def wrong_files(secrets: Iterable[Secret], found: Mapping[str, Found], directory: str, minimum: int) -> list[str]:
    """Say which files that are there cannot be what they shall be. Nothing overwrites them.

    :param found: the files of the directory by name
    :param minimum: least characters of a text
    """
    problems = []
    for secret in secrets:
        for file in secret.files:
            there = found.get(file)
            if there is None:
                continue
            path = f"{directory}/{file}"
            if there.problem:
                problems.append(f"{path}: {there.problem}. Move it away.")
                continue
            reason = wrong(secret.kind, there.content, secret.size, minimum)
            if reason:
                problems.append(
                    f"{path}: it {reason}, as if somebody's writing had been cut off. Put back the right one from a"
                    " backup; if nothing ever used it, remove the file, and the next run makes another."
                )
        if secret.name not in found and any(file in found for file in secret.files):
            left = next(file for file in secret.files if file in found)
            problems.append(
                f"{directory}/{secret.name}: it is missing, and {left} is there. Move that one back to this name if it"
                " is the one in use, else remove it."
            )
    return problems


def concerned(phase: str, names: Sequence[str], secrets: Sequence[Secret]) -> tuple[list[Secret], list[str]]:
    """Return the secrets that a phase is about, and what is wrong with the names of those to rotate.

    A rotation leaves all others alone, whatever is wrong with them.
    """
    known = {secret.name: secret for secret in secrets}
    problems = [
        f"rotate: there is no secret {name}. There are {', '.join(sorted(known))}."
        for name in sorted(set(names) - set(known))
    ]
    if phase == "present":
        if names:
            problems.append("rotate: this is for the phases stage, promote and retire alone. Leave it out.")
        return list(secrets), problems
    if not names:
        problems.append("rotate: say which secrets are to be rotated.")
    return [secret for secret in secrets if secret.name in names], problems


def plan(
    phase: str, secrets: Sequence[Secret], found: Mapping[str, Found], directory: str
) -> tuple[list[Step], list[str]]:
    """Return the changes, in order, and what is wrong; with anything wrong, nothing shall be done.

    :param phase: one of PHASES
    :param secrets: those that the phase is about
    :param found: the files of the directory, all of which have been judged by wrong_files
    """
    problems: list[str] = []
    steps: list[Step] = []
    if phase == "present":
        for secret in secrets:
            steps += _present(secret, found, directory, problems)
        return steps, problems
    for secret in secrets:
        if secret.fixed:
            problems.append(f"{secret.name}: it cannot be rotated: {secret.fixed}")
        elif secret.name not in found:
            problems.append(f"{directory}/{secret.name}: it is not there yet, so there is nothing to rotate.")
        else:
            steps += _mended(secret, found)
            steps += _PHASES[phase](secret, found, directory, problems)
    return steps, problems


def _present(secret: Secret, found: Mapping[str, Found], directory: str, problems: list[str]) -> list[Step]:
    there = found.get(secret.name)
    if there is None:
        return [Step("make", secret.name, secret, secret.value)]
    if secret.value is not None and not _is_value(secret, there):
        # in the middle of its rotation, the declared value is the one to come
        coming = found.get(secret.name + NEXT)
        if coming is None or not _is_value(secret, coming):
            how = (
                f"It cannot be rotated: {secret.fixed}"
                if secret.fixed
                else f"Rotate it (ansible-playbook hardened.clickstack.rotate, with rotate: [{secret.name}]), or"
                " declare the value that is there. If its server knows the declared one already, remove the file first."
            )
            problems.append(
                f"{directory}/{secret.name}: the declared value is another one than that in the file. {how}"
            )
    return _mended(secret, found)


def _mended(secret: Secret, found: Mapping[str, Found]) -> list[Step]:
    wanted = (secret.owner, secret.group, MODE)
    return [
        Step("mend", file, secret)
        for file in secret.files
        if file in found and (found[file].owner, found[file].group, found[file].mode) != wanted
    ]


def _stage(secret: Secret, found: Mapping[str, Found], directory: str, problems: list[str]) -> list[Step]:
    there, coming = found[secret.name], found.get(secret.name + NEXT)
    if coming is None and secret.name + PREVIOUS in found:
        # the rotation that is under way has come further than this; it is to be finished first
        if secret.value is not None and not _is_value(secret, there):
            problems.append(
                f"{directory}/{secret.name}: its last rotation has not ended, and the declared value is yet another"
                f" one. Declare the value that is there, and end that rotation first."
            )
        return []
    if secret.value is None:
        return [] if coming else [Step("make", secret.name + NEXT, secret)]
    if _is_value(secret, there):
        problems.append(
            f"{secret.name}: the declared value is the one that is in use. Declare the new one, then rotate."
        )
        return []
    # Nobody uses NAME.next yet: another one may take its place.
    return [] if coming and _is_value(secret, coming) else [Step("make", secret.name + NEXT, secret, secret.value)]


def _promote(secret: Secret, found: Mapping[str, Found], directory: str, problems: list[str]) -> list[Step]:
    there, coming, gone = found[secret.name], found.get(secret.name + NEXT), found.get(secret.name + PREVIOUS)
    if coming is None:
        if gone is None:
            problems.append(
                f"{directory}/{secret.name}{NEXT}: it is not there. Run the phase `stage` before `promote`."
            )
        return []
    if gone is None:
        return [Step("keep", secret.name + PREVIOUS, secret), Step("promote", secret.name, secret)]
    if not is_same(secret.kind, there.content, gone.content):
        problems.append(
            f"{directory}/{secret.name}: both {secret.name}{NEXT} and {secret.name}{PREVIOUS} are there, and the latter"
            f" is not what is in use. Remove {secret.name}{NEXT} if nothing was told of it, and run again."
        )
        return []
    return [Step("promote", secret.name, secret)]


def _retire(secret: Secret, found: Mapping[str, Found], directory: str, problems: list[str]) -> list[Step]:
    if secret.name + NEXT in found:
        problems.append(f"{directory}/{secret.name}{NEXT}: it is still there. Run the phase `promote` before `retire`.")
        return []
    return [Step("remove", secret.name + PREVIOUS, secret)] if secret.name + PREVIOUS in found else []


_PHASES = {"stage": _stage, "promote": _promote, "retire": _retire}


def after(files: Iterable[str], steps: Sequence[Step]) -> set[str]:
    """Return the names of the files that are there after the steps."""
    left = set(files)
    for step in steps:
        if step.action == "remove":
            left.discard(step.file)
        else:
            left.add(step.file)
            if step.action == "promote":
                left.discard(step.secret.name + NEXT)
    return left


def rotation(secret: Secret, files: Iterable[str]) -> str:
    """Return how far the rotation of a secret is, by the names of the files that are there."""
    names = set(files)
    if secret.name + NEXT in names:
        return "staged"
    return "promoted" if secret.name + PREVIOUS in names else "none"


def described(secret: Secret, found: Mapping[str, Found], steps: Sequence[Step]) -> tuple[str, str]:
    """Return a secret's files before and after the steps as lines for a diff; never what is in them."""
    lines = {
        file: f"{file}: owner {there.owner}, group {there.group}, mode {there.mode:04o}\n"
        for file, there in found.items()
        if file in secret.files
    }
    before = "".join(lines[file] for file in sorted(lines))
    for step in steps:
        if step.secret is not secret:
            continue
        whole = f"{step.file}: owner {secret.owner}, group {secret.group}, mode {MODE:04o}"
        if step.action == "remove":
            del lines[step.file]
        elif step.action == "make":
            lines[step.file] = f"{whole}, {'random' if step.value is None else 'declared'}\n"
        elif step.action == "promote":
            del lines[secret.name + NEXT]
            lines[step.file] = f"{whole}, from {secret.name}{NEXT}\n"
        else:
            lines[step.file] = f"{whole}\n"
    return before, "".join(lines[file] for file in sorted(lines))


def _is_value(secret: Secret, there: Found) -> bool:
    return secret.value is not None and is_same(secret.kind, secret.value, there.content)


def _number(value: Any) -> int | None:
    """A user's or group's number, None if it is none. YAML's true is no number, `"101"` is one."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}", str(value)):
        return None
    return int(value) if int(value) <= LARGEST_ID else None
