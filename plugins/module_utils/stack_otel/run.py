# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to the collector's custom file: the only file here that knows AnsibleModule and does I/O."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils import mounted_files
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_otel import endpoint

MODE = 0o440
"""The file belongs to root and to the group of the collector, which reads it and cannot change it."""
FOLDER_MODE = 0o755


class Refused(Exception):
    """The collector would not work with the file, or not as it says; the arguments are the problems."""


def run(module: AnsibleModule) -> None:
    """Run the module stack_otel_config.

    :param module: the module, with its arguments
    """
    try:
        result = File(module).run()
    except Refused as refused:
        said = "Nothing was changed, because the collector would not work with this file:"
        module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}. Nothing is half written; the next run goes on.")
    module.exit_json(**result)


class File:
    """The custom file of one collector: what shall be, what is there, and the way between them."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: dict[str, Any] = module.params
        self._path = Path(self._options["path"])
        self._content: str = self._options["content"]
        self._owner, self._group = self._options["owner"], self._options["group"]
        self._reader = mounted_files.Reader("otel-collector", self._options["user"], self._group)

    def run(self) -> dict[str, Any]:
        """Judge, write, and return what the module says. Raises Refused before anything is changed, OSError."""
        problems = list(self._problems())
        if problems:
            raise Refused(*problems)
        self._try()
        # what a killed run left; nobody reads it
        left = self._path.with_name(f".{self._path.name}.new")
        folder = self._path.parent
        is_folder = mounted_files.is_folder(folder, self._owner, 0, FOLDER_MODE)
        is_file = mounted_files.is_there(self._path, self._content, self._owner, self._group, MODE)
        before = self._path.read_text(encoding="utf-8", errors="replace") if self._path.is_file() else ""
        changed = not (is_folder and is_file) or left.exists()
        if changed and not self._module.check_mode:
            if not is_folder:
                folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
                os.chown(folder, self._owner, 0)
                folder.chmod(FOLDER_MODE)
            left.unlink(missing_ok=True)
            if not is_file:
                mounted_files.replace(self._path, self._content, self._owner, self._group, MODE)
        diff = {
            "before_header": str(self._path),
            "after_header": str(self._path),
            "before": before,
            "after": self._content,
        }
        return {"changed": changed, "diff": diff, "problems": []}

    def _problems(self) -> Iterator[str]:
        """What is wrong with the files and the address that the collector works with."""
        if self._path.is_dir():
            yield f"{self._path}: this is a directory, which Docker makes where a mounted file is missing. Remove it."
        yield from endpoint.problems(self._options["endpoint"], self._options["secure"])
        for folder in self._options["folders"]:
            problem = self._reader.folder_problem(folder)
            if problem:
                yield problem
        for pair in self._options["certificates"]:
            yield from self._pair(pair)
        for path in self._options["authorities"]:
            problem = self._reader.problem(path, is_secret=False) or mounted_files.authority_problem(path)
            if problem:
                yield problem
        for path in self._options["secrets"]:
            yield from self._secret(path)

    def _pair(self, pair: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with a certificate and its key."""
        certificate, key = pair["certificate"], pair["key"]
        problems = [self._reader.problem(certificate, is_secret=False), self._reader.problem(key, is_secret=True)]
        if not any(problems):
            problems = [mounted_files.pair_problem(certificate, key)]
        if not any(problems) and pair["is_server"]:
            problems = [mounted_files.server_problem(certificate, key)]
        yield from filter(None, problems)

    def _secret(self, path: str) -> Iterator[str]:
        """What is wrong with a secret, which a shell in the container reads into an environment variable."""
        problem = self._reader.problem(path, is_secret=True)
        if problem:
            yield problem
            return
        text = Path(path).read_bytes().rstrip(b"\n")
        if not text.strip():
            yield f"{path}: there is nothing in this file."
            return
        self._module.no_log_values.add(text.decode("utf-8", "surrogateescape"))
        if text != text.strip() or b"\n" in text or b"\0" in text:
            yield f"{path}: a secret is one line, without blanks around it; this one would not arrive as it is."

    def _try(self) -> None:
        """Give the file to the command that validates it, in a directory that is gone afterwards."""
        command = self._options["validate"]
        if not command:
            return
        staging = Path(tempfile.mkdtemp(prefix="stack_otel-", dir=self._module.tmpdir))
        try:
            os.chown(staging, self._owner, self._group)
            staging.chmod(0o750)
            mounted_files.create(staging / self._path.name, self._content, self._owner, self._group, MODE)
            code, out, err = self._module.run_command([part.replace("{}", str(staging)) for part in command])
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if code:
            said = f"{out}\n{err}".strip()[-2000:]
            raise Refused(f"stack_otel_validate_command exits with {code}: {said}")
