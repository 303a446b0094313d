# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to MongoDB's files on a host: what the module stack_mongodb_config reads and writes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils import mounted_files
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb import judge
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.handshake import wrong_certificate

CONFIG, KEYFILE = "mongod.conf", "keyfile"
_HEADER = "Written by Ansible, by the role hardened.clickstack.stack_mongodb. Changes belong into its variables."
_HIDDEN = "(hidden)\n"


class Refused(Exception):
    """MongoDB or its clients would not work with what is asked; the arguments are the problems."""


@dataclass(frozen=True)
class File:
    """A file that shall be there."""

    path: Path
    content: str
    user: int
    group: int
    is_secret: bool = False

    def is_there(self) -> bool:
        """Return whether it is, with this content, owner and mode. Raises OSError."""
        return mounted_files.is_there(self.path, self.content, self.user, self.group, 0o400)

    def write(self) -> None:
        """Write it whole or not at all; only its owner can read it from its first byte on. Raises OSError."""
        self.path.with_name(f".{self.path.name}.new").unlink(missing_ok=True)  # what a killed run left
        mounted_files.replace(self.path, self.content, self.user, self.group, 0o400)


def run(module: AnsibleModule) -> None:
    """Run the module stack_mongodb_config.

    :param module: the module, with its arguments
    """
    try:
        result = Files(module).run()
    except Refused as refused:
        said = "Nothing was changed, because MongoDB would not work with this:"
        module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename}: {error.strerror}. What was not written yet is written by the next run."
        )
    module.exit_json(**result)


class Files:
    """MongoDB's files on a host: what shall be, what is there, and the way between them."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: dict[str, Any] = module.params
        self._root = Path(self._options["directory"])
        self._user, self._group = self._options["owner"], self._options["group"]

    def run(self) -> dict[str, Any]:
        """Judge, write, and return what the module says. Raises Refused before anything is changed, OSError."""
        wanted = self._wanted()
        config = next(file for file in wanted if file.path.name == CONFIG)
        self._try(config.content)
        fresh = [file for file in wanted if not file.is_there()]
        keyfile = self._root / KEYFILE
        gone = [keyfile] if keyfile not in [file.path for file in wanted] and os.path.lexists(keyfile) else []
        is_folder_fresh = not self._is_folder()
        diff = [self._diff(file) for file in fresh]
        if not self._module.check_mode:
            if is_folder_fresh:
                self._root.mkdir(parents=True, exist_ok=True, mode=0o755)
                os.chown(self._root, self._user, self._group)
                self._root.chmod(0o500)
            for file in fresh:
                file.path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
                file.write()
            for path in gone:
                path.unlink()
        return {
            "changed": bool(fresh or gone or is_folder_fresh),
            "written": [str(file.path) for file in fresh],
            "removed": [str(path) for path in gone],
            "diff": diff,
            "problems": [],
        }

    # -- what shall be -----------------------------------------------------------------------------------------------

    def _wanted(self) -> list[File]:
        """The files, keyfile first, so that no configuration names one that is not there. Raises Refused, OSError."""
        options = self._options
        problems: list[str] = []
        config = judge.typed(options["config"])
        try:
            version = judge.version_of(options["version"])
            problems += judge.problems(config, version, options["enterprise"], options["unchecked"])
        except ValueError as error:
            problems.append(f"stack_mongodb_version: {error}")
        problems += (
            judge.wrong_members("stack_mongodb_members", options["members"]) if options["members"] is not None else []
        )
        passwords = self._users(problems)
        wanted: list[File] = []
        if options["keyfile"]:
            text = self._secret(options["keyfile"], problems, "mongod wants a keyfile", not_empty=True)
            problems += judge.wrong_keyfile(options["keyfile"], text) if text else []
            wanted.append(File(self._root / KEYFILE, text, self._user, self._group, is_secret=True))
        problems += self._certificate()
        wanted.append(File(self._root / CONFIG, judge.render(config, _HEADER), self._user, self._group))
        uri = options["uri"]
        if uri:
            problems += judge.wrong_database("stack_mongodb_database", uri["database"])
            for host in uri["hosts"]:
                problems += judge.wrong_member("stack_mongodb_uri_hosts", host)
            password = passwords.get(uri["user"], "")
            text = judge.connection_string(uri["user"], password, uri["hosts"], uri["database"], uri["options"])
            self._module.no_log_values.add(text)
            wanted.append(File(Path(uri["path"]), text + "\n", uri["owner"], uri["group"], is_secret=True))
        if problems:
            raise Refused(*dict.fromkeys(problems))
        return wanted

    def _users(self, problems: list[str]) -> dict[str, str]:
        """The passwords of the users, by their names; what is wrong with users goes to `problems`."""
        passwords: dict[str, str] = {}
        for user in self._options["users"]:
            name = user["name"]
            if not name:
                problems.append(f"{user['password_file']}: the name of this user is empty.")
            elif name in passwords:
                problems.append(
                    f"{name}: two users have this name; administrator, application and root need their own."
                )
            for text in [*user["client_source"], *user["server_address"]]:
                problems += judge.wrong_network(f"addresses of the user {name}", text)
            passwords[name] = self._secret(user["password_file"], problems, f"it holds the password of {name}")
        return passwords

    def _certificate(self) -> list[str]:
        """What is wrong with the certificate, its key and its authority."""
        options = self._options["certificate"]
        if not options:
            return []
        pem, authority = options["key_file"], options["authority"]
        found = [
            self._unfit(pem, True, self._user, self._group),
            self._unfit(authority, False, self._user, self._group),
        ]
        if any(found):
            return [f"{text}" for text in found if text]
        return wrong_certificate(pem, authority, options["names"], options["is_client"])

    def _secret(self, path: str, problems: list[str], why: str, not_empty: bool = False) -> str:
        """A secret's text without the last line's end; what is wrong with the file goes to `problems`."""
        what = self._unfit(path, True, os.geteuid(), os.getegid())
        if what:
            problems.append(f"{what} ({why}.)")
            return ""
        text = _read(Path(path)).rstrip("\r\n")
        if text:
            self._module.no_log_values.add(text)
        if not not_empty:
            problems += judge.wrong_password(path, text)
        return text

    def _unfit(self, path: str, is_secret: bool, user: int, group: int) -> str:
        """What keeps a user from reading a file, or lets others read it; empty if nothing does.

        mongod takes no keyfile and no key that its group can read.
        """
        what = mounted_files.Reader("MongoDB", user, group).problem(path, is_secret=False)
        if what or not is_secret:
            return what
        found = os.stat(path)
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            return f"{path}: others than its owner {found.st_uid} can read it (mode {mode:04o}). Let its mode be 0400."
        return ""

    # -- what is there -----------------------------------------------------------------------------------------------

    def _is_folder(self) -> bool:
        """Whether MongoDB's directory is as it shall be."""
        return mounted_files.is_folder(self._root, self._user, self._group, 0o500)

    def _diff(self, file: File) -> dict[str, str]:
        try:
            before = _read(file.path)
        except FileNotFoundError:
            before = ""
        return {
            "before_header": str(file.path),
            "after_header": str(file.path),
            "before": _HIDDEN if file.is_secret and before else before,
            "after": _HIDDEN if file.is_secret else file.content,
        }

    def _try(self, content: str) -> None:
        """Give the configuration to the command that validates it, in a directory that is gone afterwards."""
        command: Sequence[str] = self._options["validate"]
        if not command:
            return
        staging = Path(tempfile.mkdtemp(prefix="stack_mongodb-", dir=self._module.tmpdir))
        try:
            os.chown(staging, self._user, self._group)
            File(staging / CONFIG, content, self._user, self._group).write()
            code, out, err = self._module.run_command([part.replace("{}", str(staging)) for part in command])
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if code:
            raise Refused(f"stack_mongodb_validate_command exits with {code}: {f'{out}{err}'.strip()[-2000:]}")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")
