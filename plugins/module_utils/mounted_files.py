# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the host that a container mounts: whether its user can read them and they are what they shall be, and how
they are written whole or not at all. Only the standard library, because this runs on the host.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

# ssl.VERIFY_X509_PARTIAL_CHAIN, which Python has since 3.10: any certificate that is trusted ends the chain
_PARTIAL_CHAIN = 0x80000


@dataclass(frozen=True)
class Reader:
    """Who reads mounted files: a program by its name, as `user` and `group` (numbers) in its container."""

    program: str
    user: int
    group: int

    def can(self, owner: int, group: int, mode: int, bit: int = 4) -> bool:
        """Return whether it has a permission.

        :param owner: uid of the file
        :param group: gid of the file
        :param mode: its permission bits
        :param bit: 4 to read, 1 to enter a directory
        """
        if self.user == 0:
            return True
        return bool(mode & bit << (6 if self.user == owner else 3 if self.group == group else 0))

    def problem(self, path: str, is_secret: bool) -> str:
        """Return what keeps the program from reading a file, or lets others read a secret; empty if all is well.

        :param path: the file, on the host
        :param is_secret: whether nobody else may read it
        """
        try:
            found = os.stat(path)
        except OSError as error:
            return f"{path}: {error.strerror}. {self.program} needs this file."
        if not stat.S_ISREG(found.st_mode):
            return f"{path}: this is not a file."
        if not found.st_size:
            return f"{path}: the file is empty."
        mode = stat.S_IMODE(found.st_mode)
        if not self.can(found.st_uid, found.st_gid, mode):
            return (
                f"{path}: the user {self.user} of {self.program} cannot read it (owner {found.st_uid},"
                f" mode {mode:04o}). Let it belong to {self.user}, mode 0400."
            )
        if is_secret and mode & 0o007:
            return f"{path}: everybody can read it (mode {mode:04o}). Let it belong to {self.user}, mode 0400."
        return ""

    def folder_problem(self, path: str) -> str:
        """Return what keeps the program from files in a directory that is mounted; empty if all is well.

        :param path: the directory, on the host
        """
        try:
            found = os.stat(path)
        except OSError as error:
            return f"{path}: {error.strerror}. {self.program} needs this directory."
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISDIR(found.st_mode):
            return f"{path}: this is not a directory."
        if not self.can(found.st_uid, found.st_gid, mode, 1):
            return (
                f"{path}: the user {self.user} of {self.program} cannot enter this directory (owner {found.st_uid},"
                f" mode {mode:04o}). Let it belong to {self.user}, mode 0500."
            )
        return ""


def pair_problem(certificate: str, key: str) -> str:
    """Return why a certificate and a key cannot be used together; empty if they can. Both files are there.

    :param certificate: the file with the certificate and its chain, in PEM
    :param key: the file with its key, in PEM, without a password
    """
    try:
        # without a password OpenSSL would ask for one where the key has one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="-")
    except ssl.SSLError as error:
        return f"{key}: key and certificate {certificate} cannot be used together: {reason(error)}."
    return ""


def authority_problem(path: str) -> str:
    """Return why a file holds no authority's certificate; empty if it does. It is there.

    :param path: the file, in PEM
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        return f"{path}: this is not an authority's certificate in PEM: {reason(error)}."
    return ""


def server_problem(certificate: str, key: str) -> str:
    """Return why clients would not accept a server's certificate today, whoever signed it; empty if they would.

    A client and a server shake hands in memory: the client trusts this very certificate, so what is left to refuse is
    that it has expired, is not valid yet, or is for something else than a server.

    :param certificate: the file with the certificate and its chain, in PEM
    :param key: the file with its key; the two belong together
    """
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(certificate, key, password="-")
    of_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    of_client.check_hostname = False
    of_client.load_verify_locations(certificate)
    of_client.verify_flags |= ssl.VerifyFlags(_PARTIAL_CHAIN)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = of_server.wrap_bio(to_server, to_client, server_side=True)
    client = of_client.wrap_bio(to_client, to_server)
    waiting = [client, server]
    while client in waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return f"{certificate}: clients will refuse it: {error.verify_message}."
    return ""


def is_there(path: Path, content: str, owner: int, group: int, mode: int) -> bool:
    """Return whether a file has this content, owner, group and mode. Raises OSError where it cannot be read.

    :param path: the file; a link is never as it shall be
    """
    try:
        found = os.lstat(path)
        return (
            stat.S_ISREG(found.st_mode)
            and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (owner, group, mode)
            and path.read_text(encoding="utf-8", errors="surrogateescape") == content
        )
    except FileNotFoundError:
        return False


def is_folder(path: Path, owner: int, group: int, mode: int) -> bool:
    """Return whether there is a directory with this owner, group and mode."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (
        owner,
        group,
        mode,
    )


def create(path: Path, content: str, owner: int, group: int, mode: int) -> None:
    """Make a file that nobody else can read from its first byte on, and that is on the disk. Raises OSError.

    :param path: the file; it is not there yet
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchown(handle, owner, group)
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)


def replace(path: Path, content: str, owner: int, group: int, mode: int) -> None:
    """Write a file that is the old or the new one at every moment, by way of `.<name>.new`. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    create(new, content, owner, group, mode)
    new.rename(path)


def reason(error: ssl.SSLError) -> str:
    """Return what OpenSSL says, in a few words."""
    return (error.reason or str(error)).replace("_", " ").lower()
