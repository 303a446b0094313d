# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to files of secrets: the only file here that knows AnsibleModule, and that reads and writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets import kinds, plan

DIRECTORY_MODE = 0o711
LARGEST_FILE = 65536
"""Bytes; no secret is that long."""
LOCK_SECONDS = 60.0
_UNFINISHED = ".unfinished"


class Refused(Exception):
    """What was declared, or what is there, is wrong; the arguments are the problems."""


def run(module: AnsibleModule) -> None:
    """Run the module stack_secrets_files.

    :param module: the module, with its arguments
    """
    try:
        files = Files(module.params)
        result = files.run(is_check=module.check_mode)
    except Refused as refused:
        said = "No secret was changed:"
        module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))
    except OSError as error:
        # with its kind alone where the error names no file, such as a full disk
        module.fail_json(
            msg=f"{error.filename or module.params['directory']}: {error.strerror}. What was not done yet is done by"
            " the next run."
        )
    for text in files.warnings:
        module.warn(text)
    module.exit_json(**result)


class Files:
    """The secrets of one directory: what shall be, what is there, and the way between them."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Take the options of the module stack_secrets_files."""
        self._options = options
        self._path: str = options["directory"].rstrip("/") or "/"
        self._root = Path(self._path)
        self.warnings: list[str] = []

    def run(self, is_check: bool) -> dict[str, Any]:
        """Judge, write, and return what the module says. Raises Refused before anything is changed, OSError."""
        secrets = self._judged()
        found, steps, left = self._decided(secrets)
        is_new = not self._is_directory()
        if not is_check:
            self._make_directory()
            with self._locked():
                # another run may have been here since
                found, steps, left = self._decided(secrets)
                for file in left:
                    (self._root / file).unlink()
                for step in steps:
                    self._do(step, found)
        for file, there in found.items():
            if there.open_to and any(step.action == "mend" and step.file == file for step in steps):
                self.warnings.append(
                    f"{self._path}/{file}: {there.open_to} {'can read it' if is_check else 'could read it until now'}."
                    " Rotate this secret if others use this host."
                )
        return self._result(secrets, found, steps, left, is_new)

    def _result(
        self,
        secrets: Sequence[plan.Secret],
        found: Mapping[str, plan.Found],
        steps: Sequence[plan.Step],
        left: Sequence[str],
        is_new: bool,
    ) -> dict[str, Any]:
        texts = [plan.described(secret, found, steps) for secret in secrets]
        before, after = ("".join(text[index] for text in texts) for index in (0, 1))
        afterwards = plan.after(found, steps)
        by_action = {action: [step.file for step in steps if step.action == action] for action in ("make", "mend")}
        gone = [*left, *(step.file for step in steps if step.action == "remove")]
        return {
            "changed": bool(steps or left or is_new),
            "made": by_action["make"],
            "mended": by_action["mend"],
            "promoted": [step.file for step in steps if step.action == "promote"],
            "removed": gone,
            "rotation": {secret.name: plan.rotation(secret, afterwards) for secret in secrets},
            "diff": {"before_header": self._path, "after_header": self._path, "before": before, "after": after},
            "problems": [],
        }

    # -- what shall be, and what is there ----------------------------------------------------------------------------

    def _judged(self) -> list[plan.Secret]:
        """What was declared, as far as the phase is about it. Raises Refused if that can never be."""
        options = self._options
        secrets, problems = plan.declared(options["secrets"], options["values"], options["text_length"])
        problems += plan.wrong_values(secrets, options["minimum_length"])
        secrets, unknown = plan.concerned(options["phase"], options["rotate"], secrets)
        problems += unknown
        me = (os.geteuid(), os.getegid())
        if me[0] != 0 and any((secret.owner, secret.group) != me for secret in secrets):
            problems.append("Only root can give files to other users. Run this with become: true.")
        if not os.path.isabs(self._path):
            problems.append(f"directory: {self._path!r} is not an absolute path.")
        elif me[0] == 0 or not problems:  # others may not even look
            problems += self._directory_problems()
        if problems:
            raise Refused(*problems)
        return secrets

    def _directory_problems(self) -> list[str]:
        """Whether somebody else could put another file, or another directory, in the place of ours."""
        problems = []
        real = Path(os.path.realpath(self._path))
        for path in sorted({real, *real.parents, self._root, *self._root.parents}):
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode):
                continue  # where it points to is among the real ones, and who may replace it is asked of its parent
            mode = stat.S_IMODE(found.st_mode)
            if not stat.S_ISDIR(found.st_mode):
                problems.append(f"{path}: this is not a directory.")
            elif found.st_uid not in (0, os.geteuid()):
                problems.append(f"{path}: it belongs to the user {found.st_uid}, who could replace what is in it.")
            elif (mode & 0o002 or (mode & 0o020 and found.st_gid != 0)) and (path == real or not mode & stat.S_ISVTX):
                problems.append(f"{path}: others may write to it (mode {mode:04o}). Take that from them: chmod go-w.")
        return problems

    def _decided(self, secrets: Sequence[plan.Secret]) -> tuple[dict[str, plan.Found], list[plan.Step], list[str]]:
        """What is there, what is to do, and what a killed run left. Raises Refused."""
        options = self._options
        names = [file for secret in secrets for file in secret.files]
        found = {name: there for name in names for there in [self._found(name)] if there is not None}
        problems = plan.wrong_files(secrets, found, self._path, options["minimum_length"])
        steps: list[plan.Step] = []
        if not problems:
            steps, problems = plan.plan(options["phase"], secrets, found, self._path)
        if problems:
            raise Refused(*problems)
        return found, steps, [_unfinished(name) for name in names if os.path.lexists(self._root / _unfinished(name))]

    def _found(self, name: str) -> plan.Found | None:
        """A file of the directory, None if there is nothing of this name."""
        path = self._root / name
        try:
            seen = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(seen.st_mode):
            return plan.Found("this is a link, and not a file" if stat.S_ISLNK(seen.st_mode) else "this is not a file")
        if seen.st_size > LARGEST_FILE:
            return plan.Found(f"it has {seen.st_size} bytes, and no secret is that long")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            content = file.read(LARGEST_FILE).decode("utf-8", "surrogateescape")
        return plan.Found("", content, seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode))

    # -- writing -----------------------------------------------------------------------------------------------------

    def _is_directory(self) -> bool:
        """Whether the directory is there and is as it shall be; one that is open to fewer may stay so."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & ~DIRECTORY_MODE

    def _make_directory(self) -> None:
        if not self._is_directory():
            for path in reversed([path for path in self._root.parents if not path.exists()]):
                path.mkdir(exist_ok=True, mode=0o750)
            self._root.mkdir(exist_ok=True, mode=DIRECTORY_MODE)
            os.chown(self._path, os.geteuid(), os.getegid())
            self._root.chmod(DIRECTORY_MODE)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other runs out. The kernel ends the lock with the process, however that ends."""
        handle = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            end = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Refused(
                            f"{self._path}: another run has been working here for {LOCK_SECONDS:.0f} s."
                        ) from None
                    time.sleep(0.2)
            yield
        finally:
            os.close(handle)

    def _do(self, step: plan.Step, found: Mapping[str, plan.Found]) -> None:
        """Carry out one step: afterwards it is on the disk, before that nothing of it is there."""
        path, secret = self._root / step.file, step.secret
        if step.action == "make":
            value = kinds.KINDS[secret.kind].make(secret.size) if step.value is None else step.value
            self._create(path, value, secret, is_new=step.file not in found)
        elif step.action == "mend":
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(handle, plan.MODE)
                os.fchown(handle, secret.owner, secret.group)
            finally:
                os.close(handle)
        elif step.action == "keep":
            os.link(self._root / secret.name, path)
        elif step.action == "promote":
            os.rename(self._root / (secret.name + plan.NEXT), path)
        else:
            path.unlink()
        self._flush()

    def _create(self, path: Path, value: str, secret: plan.Secret, is_new: bool) -> None:
        """Make a file that only its reader can read, from its first byte on."""
        unfinished = self._root / _unfinished(path.name)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, plan.MODE)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                os.fchown(handle, secret.owner, secret.group)
                os.fchmod(handle, plan.MODE)
                file.write(value)
                file.flush()
                os.fsync(handle)
            if is_new:
                os.link(unfinished, path)  # unlike rename, it never takes the place of a file
                unfinished.unlink()
            else:
                unfinished.rename(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                unfinished.unlink()
            raise

    def _flush(self) -> None:
        """Bring the directory's names to the disk."""
        handle = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unfinished(name: str) -> str:
    """The name of a file that is being written."""
    return f".{name}{_UNFINISHED}"
