# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of files, for labels that make Compose recreate what reads them.

A fingerprint is an HMAC with a key that stays on the host, not a plain hash. Labels leave the host (`docker inspect` in
a ticket, container labels as labels of metrics), and whoever has the plain hash of a weak password can guess it. A
file's times and inode would say nothing either, but change when a backup is put back.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

KEY_SIZE = 32


def read_key(path: str, is_check: bool) -> tuple[bytes, bool]:
    """Return the key, and whether it was (or would be) made. A half-written key is never seen.

    :param path: file of the key, readable for root alone
    :param is_check: make one for this run only, and write nothing
    :raises OSError: if it can be neither read nor written
    """
    file = Path(path)
    if file.exists() and file.stat().st_size == KEY_SIZE:
        return file.read_bytes(), False
    key = secrets.token_bytes(KEY_SIZE)
    if not is_check:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:  # mkstemp makes it 0600
                stream.write(key)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    return key, True


def fingerprint(key: bytes, paths: Iterable[str], ignored: Iterable[str] = ()) -> str:
    """Return a text that changes when the name or content of a file changes. What is not there counts as absent.

    :param key: the host's key
    :param paths: files and directories, in any order
    :param ignored: paths below which nothing counts
    :raises OSError: if a file cannot be read
    """
    # an empty path, the default of a directory that is not used, ignores nothing
    skipped = tuple(path.rstrip("/") for path in ignored if path.strip("/"))
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for path in sorted(set(paths)):
        for file in _below(path):
            if any(file == skip or file.startswith(skip + "/") for skip in skipped):
                continue
            for part in (file.encode(), Path(file).read_bytes()):
                digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def _below(path: str) -> Iterator[str]:
    """The path itself if it is a file, else the files in it, always in the same order."""
    if os.path.isfile(path):
        yield path
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            if os.path.isfile(file):
                yield file
