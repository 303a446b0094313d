# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on a host, read and written: each is there whole or not at all, and only its reader's from its first byte
on."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path


class Blocked(Exception):
    """Something else is where a file or directory belongs; the argument says what."""


@dataclass(frozen=True)
class Target:
    """A file as it shall be. `order` says when it is written: authorities before certificates, so that whoever connects
    trusts the new one; key and certificate one right after the other.
    """

    path: Path
    content: bytes
    uid: int
    gid: int
    order: int
    mode: int = 0o400


@dataclass(frozen=True)
class Folder:
    """A directory as it shall be."""

    path: Path
    gid: int
    mode: int
    uid: int = 0


def content_of(path: Path) -> bytes | None:
    """Return what is in a file, or None if there is nothing at its path. Raises Blocked, OSError.

    :param path: the file
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Blocked(f"{path}: this is not a file.")
    return path.read_bytes()


def is_file(target: Target) -> bool:
    """Return whether a file is there as it shall be: content, owner and mode.

    :param target: how it shall be
    """
    return has_content(target) and _attributes(os.lstat(target.path)) == (target.uid, target.gid, target.mode)


def has_content(target: Target) -> bool:
    """Return whether a file has its content, whoever it belongs to.

    :param target: how it shall be
    """
    try:
        return stat.S_ISREG(os.lstat(target.path).st_mode) and target.path.read_bytes() == target.content
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_folder(folder: Folder) -> bool:
    """Return whether a directory is there as it shall be. Raises Blocked.

    :param folder: how it shall be
    """
    try:
        found = os.stat(folder.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise Blocked(f"{folder.path}: this is not a directory.")
    return _attributes(found) == (folder.uid, folder.gid, folder.mode)


def make_folder(folder: Folder) -> None:
    """Make a directory, or give it its owner and mode. Raises OSError.

    :param folder: how it shall be
    """
    folder.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.path.mkdir(mode=0o700)
    os.chown(folder.path, folder.uid, folder.gid)
    folder.path.chmod(folder.mode)


def write(target: Target, staging: Path) -> None:
    """Write a file under another name, and give it its own when it is on the disk; who reads meanwhile reads the old
    one. Where the content is there already, only owner and mode are set. Raises OSError.

    :param target: how it shall be
    :param staging: directory on the same file system, which nobody else can read
    """
    if has_content(target):
        os.chown(target.path, target.uid, target.gid)
        target.path.chmod(target.mode)
        return
    new = staging / f"{target.path.parent.name}.{target.path.name}.new"
    new.unlink(missing_ok=True)  # of a run that was killed
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(handle, "wb") as file:
        os.fchown(handle, target.uid, target.gid)
        os.fchmod(handle, target.mode)
        file.write(target.content)
        file.flush()
        os.fsync(handle)
    new.rename(target.path)


def _attributes(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)
