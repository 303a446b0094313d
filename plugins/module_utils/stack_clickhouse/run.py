# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to files on a host: the only file here that knows AnsibleModule, and that reads and writes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils import mounted_files
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_clickhouse import judge
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_clickhouse.tree import (
    Malformed,
    Node,
    merge,
    parse,
)

FOLDERS = ("config.d", "users.d")
PREFIX = "hardened-"
_QUERY = (
    "SELECT 'version', version() UNION ALL SELECT 'setting', name FROM system.settings"
    " UNION ALL SELECT 'server', name FROM system.server_settings FORMAT TSV"
)


class Refused(Exception):
    """ClickHouse would not work with the files; the arguments are the problems."""


def run(module: AnsibleModule) -> None:
    """Run the module stack_clickhouse_config.

    :param module: the module, with its arguments
    """
    try:
        result = Files(module).run()
    except Refused as refused:
        said = "Nothing was changed, because ClickHouse would not work with these files:"
        module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename}: {error.strerror}. What was not written yet is written by the next run."
        )
    module.exit_json(**result)


class Files:
    """The files of one ClickHouse: what shall be, what is there, and the way between them."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: dict[str, Any] = module.params
        self._root = Path(self._options["directory"])
        self._user, self._group = self._options["owner"], self._options["group"]
        self._reader = mounted_files.Reader("ClickHouse", self._user, self._group)

    def run(self) -> dict[str, Any]:
        """Judge, write, and return what the module says. Raises Refused before anything is changed, OSError."""
        present = self._present()
        wanted, passwords = self._wanted()
        after = {path: text for path, text in present.items() if not path.rpartition("/")[2].startswith(PREFIX)}
        after.update(wanted)
        self._judge(after, passwords)

        fresh = [
            path
            for path in sorted(wanted)
            if not mounted_files.is_there(self._root / path, wanted[path], self._user, self._group, 0o400)
        ]
        gone = judge.stale(present, wanted, PREFIX)
        folders = [
            self._root / name
            for name in FOLDERS
            if not mounted_files.is_folder(self._root / name, self._user, self._group, 0o500)
        ]
        if not self._module.check_mode:
            self._write(folders, fresh, gone, wanted)
        diff = [
            {
                "before_header": str(self._root / path),
                "after_header": str(self._root / path),
                "before": judge.without_hashes(present.get(path, "")),
                "after": judge.without_hashes(wanted.get(path, "")),
            }
            for path in [*fresh, *gone]
        ]
        return {
            "changed": bool(fresh or gone or folders),
            "written": fresh,
            "removed": gone,
            "diff": diff,
            "problems": [],
        }

    # -- what is there ---------------------------------------------------------------------------------------------

    def _present(self) -> dict[str, str]:
        """The content of the files that ClickHouse would read, by path below the directory. YAML and CONF files are not
        ours; of those, ClickHouse judges."""
        found = {}
        for folder in FOLDERS:
            for path in sorted((self._root / folder).glob("*.xml")):
                if path.is_file() and not path.name.startswith("."):
                    found[f"{folder}/{path.name}"] = path.read_text(encoding="utf-8", errors="surrogateescape")
        return found

    def _wanted(self) -> tuple[dict[str, str], dict[str, str]]:
        """The content of our files, with the digests of passwords in it, and the passwords by their files' paths."""
        passwords: dict[str, str] = {}
        problems: list[str] = []
        hashes: dict[str, str] = dict(self._options["hashes"])
        for token, path in self._options["digests"].items():
            passwords[path] = self._secret(path, problems)
            hashes[token] = hashlib.sha256(passwords[path].encode("utf-8", "surrogateescape")).hexdigest()
        _refuse(problems)
        wanted: dict[str, str] = dict(self._options["files"])
        for token, text in hashes.items():
            wanted = {name: content.replace(token, text) for name, content in wanted.items()}
        return wanted, passwords

    def _secret(self, path: str, problems: list[str]) -> str:
        """A secret's text without the line's end; what is wrong with the file goes to `problems`."""
        what = self._reader.problem(path, is_secret=True)
        if what:
            problems.append(what)
            return ""
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape").rstrip("\r\n")
        if not text:
            problems.append(f"{path}: there is nothing in the first line of this file.")
            return ""
        self._module.no_log_values.add(text)
        return text

    # -- what it is worth ------------------------------------------------------------------------------------------

    def _judge(self, after: Mapping[str, str], passwords: Mapping[str, str]) -> None:
        """Raise Refused if ClickHouse would not work with these files."""
        roots: dict[str, Node] = {}
        problems = []
        for path, content in after.items():
            try:
                roots[path] = parse(path, content)
            except Malformed as error:
                problems.append(str(error))
        _refuse(problems)
        config, users = (
            merge({path: root for path, root in roots.items() if path.startswith(f"{folder}/")}) for folder in FOLDERS
        )
        problems += judge.problems(config, users, self._known())
        for path, password in passwords.items():
            problems += [
                f"{path}: the password breaks a rule of yours; it should {rule}."
                for rule in judge.broken_rules(config, password)
            ]
        problems += self._keys() + self._certificates()
        _refuse(problems)
        self._try(after)

    def _keys(self) -> list[str]:
        problems: list[str] = []
        for key in self._options["keys"]:
            before = len(problems)
            text = self._secret(key["path"], problems)
            if len(problems) == before:
                problems.append(judge.wrong_key(key["path"], text, key["bytes"]))
        return [text for text in problems if text]

    def _certificates(self) -> list[str]:
        """Whether certificate, key and authority are there, are what they shall be, and belong together."""
        paths = self._options["certificates"]
        if not paths:
            return []
        names = {"certificate": False, "key": True, "authority": False}
        problems = [
            self._reader.problem(paths[name], is_secret) for name, is_secret in names.items() if paths.get(name)
        ]
        if not any(problems):
            problems = [mounted_files.pair_problem(paths["certificate"], paths["key"])]
            if paths.get("authority"):
                problems.append(mounted_files.authority_problem(paths["authority"]))
        return [text for text in problems if text]

    def _known(self) -> judge.Known:
        """What ClickHouse says of itself, by `clickhouse local`; nothing if no program was named."""
        program = self._options["program"]
        if not program:
            return judge.Known()
        code, out, err = self._module.run_command([*program, "local", "--query", _QUERY])
        rows = [line.split("\t") for line in out.splitlines() if "\t" in line]
        names: dict[str, set[str]] = {"version": set(), "setting": set(), "server": set()}
        for kind, name in rows:
            names.get(kind, set()).add(name)
        if code or not all(names.values()):
            raise Refused(
                f"stack_clickhouse_program: `{' '.join(program)} local` did not say which settings it has"
                f" (exit {code}): {(err or out).strip()[-500:]}"
            )
        return judge.Known(min(names["version"]), frozenset(names["setting"]), frozenset(names["server"]))

    def _try(self, after: Mapping[str, str]) -> None:
        """Give all files to the command that validates them, in a directory that is gone afterwards."""
        command = self._options["validate"]
        if not command:
            return
        staging = Path(tempfile.mkdtemp(prefix="stack_clickhouse-", dir=self._module.tmpdir))
        try:
            for folder in ("", *FOLDERS):
                (staging / folder).mkdir(exist_ok=True)
                os.chown(staging / folder, self._user, self._group)
                (staging / folder).chmod(0o700)
            for path, content in after.items():
                mounted_files.create(staging / path, content, self._user, self._group, 0o400)
            code, out, err = self._module.run_command([part.replace("{}", str(staging)) for part in command])
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if code:
            said = judge.without_hashes(f"{out}\n{err}".strip())[-2000:]
            raise Refused(f"stack_clickhouse_validate_command exits with {code}: {said}")

    # -- writing ---------------------------------------------------------------------------------------------------

    def _write(
        self, folders: Sequence[Path], fresh: Sequence[str], gone: Sequence[str], wanted: Mapping[str, str]
    ) -> None:
        """Bring the host to what shall be: one file after the other, each whole or not at all."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o755)
        for folder in folders:
            folder.mkdir(exist_ok=True)
            os.chown(folder, self._user, self._group)
            folder.chmod(0o500)
        for name in FOLDERS:
            # what a killed run left; ClickHouse does not read names that begin with a dot
            for left in (self._root / name).glob(f".{PREFIX}*.new"):
                left.unlink()
        for path in fresh:
            mounted_files.replace(self._root / path, wanted[path], self._user, self._group, 0o400)
        for path in gone:
            (self._root / path).unlink()


def _refuse(problems: Sequence[str]) -> None:
    """Raise Refused if there are problems."""
    if problems:
        raise Refused(*problems)
