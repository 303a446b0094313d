# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to trimmed files: the only file of compose that knows AnsibleModule, and that writes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import tempfile
from dataclasses import replace
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.hardened.clickstack.plugins.module_utils.compose import override, project, witness
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import RUAMEL_ERROR, ComposeError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import (
    Decision,
    Rule,
    RulesError,
    decision,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.trim import Trim, trim

_ACTION: dict[str, Any] = {
    "action": {"type": "str", "choices": ["keep", "bind", "remove"]},
    "address": {"type": "str"},
    "reason": {"type": "str"},
}
OPTIONS: dict[str, Any] = {
    "project_src": {"type": "path", "required": True},
    "files": {"type": "list", "elements": "path"},
    "override_file": {"type": "path"},
    "env_files": {"type": "list", "elements": "path"},
    # no_log keeps the values out of the system's log; what is exposed is not looked through for them, see run()
    "environment": {"type": "dict", "no_log": True},
    "inherit_environment": {"type": "bool", "default": False},
    "rules": {
        "type": "list",
        "elements": "dict",
        "options": {
            "service": {"type": "str"},
            "target": {"type": "list", "elements": "str"},
            "protocol": {"type": "str", "choices": ["tcp", "udp", "sctp"]},
            "host_ip": {"type": "str"},
            **_ACTION,
            "action": {**_ACTION["action"], "required": True},
        },
    },
    "default": {"type": "dict", "options": {**_ACTION, "action": {**_ACTION["action"], "required": True}}},
    "removal": {"type": "str", "choices": ["comment", "delete"], "default": "comment"},
    "backup": {"type": "bool", "default": False},
    "validate": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
}


def run() -> NoReturn:
    """Run compose_ports: read all files, decide, check, write, check again."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    said = {name: value for name, value in module.params.items() if name != "environment"}
    # AnsibleModule would black out every port number that is also the value of a variable.
    module.no_log_values.clear()
    result: dict[str, Any] = {"invocation": {"module_args": said}}
    if RUAMEL_ERROR:
        module.fail_json(msg=missing_required_lib("ruamel.yaml"), exception=RUAMEL_ERROR, **result)
    try:
        result.update(_run(module))
    except RulesError as error:
        module.fail_json(msg=f"{'. '.join(error.problems)}. Nothing was changed.", errors=error.problems, **result)
    except ComposeError as error:
        module.fail_json(msg=f"{error}. Nothing was changed.", **result)
    except OSError as error:
        module.fail_json(
            msg=f"{error}. Run again once that is mended; each file is the old one or the new one.", **result
        )
    module.exit_json(**result)
    raise AssertionError("exit_json ends the module")


def _run(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    files = Disk()
    directory = os.path.abspath(params["project_src"])
    if not os.path.isdir(directory):
        raise ComposeError(f"project_src: {directory} is not a directory")
    first = {name: "" if value is None else str(value) for name, value in (params["environment"] or {}).items()}
    if params["inherit_environment"]:
        first = {**os.environ, **first}
    environment = project.read_environment(directory, params["env_files"], first, files)
    place = _place(params, directory, environment, files)
    paths = list(place.base) if place else project.compose_files(directory, params["files"], environment, files)
    rules, default = _rules(params)
    compose = _witness(params["validate"], bool(place), directory, paths, environment)
    deletes = params["removal"] == "delete"
    if place:
        found = override.override(directory, place, environment, files, rules, default, deletes)
    else:
        found = trim(directory, paths, environment, files, rules, default, deletes)
    if params["validate"] != "never":
        _check_addresses([*(rule.decision for rule in rules), default])
    for note in [*found.notes, *(place.notes(directory, environment) if place else ())]:
        module.warn(note)
    if compose:
        compose.check(found.exposed_base)
        compose = replace(compose, paths=found.paths)
    backups = {} if module.check_mode else _write(module, found, compose)
    return {
        "changed": bool(found.changed),
        "exposure": {"before": found.exposed_before, "after": found.exposed_after},
        "files": [
            {"path": path, "changed": path in found.changed, "backup_file": backups.get(path)} for path in found.after
        ],
        "override": place.result(directory, environment) if place else None,
        "validated": compose is not None,
        "diff": [{"prepared": found.diff(path)} for path in found.changed],
    }


def _place(
    params: dict[str, Any], directory: str, environment: dict[str, str], files: project.Files
) -> override.Place | None:
    """Where the override file stands, if one is wanted.

    :raises ComposeError: if it cannot be one, or cannot be written there
    """
    if params["override_file"] is None:
        return None
    path = os.path.normpath(os.path.join(directory, params["override_file"]))
    folder = os.path.dirname(files.real(path))
    if os.path.lexists(files.real(path)) and not files.exists(path):
        raise ComposeError(f"override_file: {path} is there, and it is not a file")
    if not os.path.isdir(folder):
        raise ComposeError(f"override_file: there is no directory {folder}; make it first")
    return override.place(directory, params["files"], environment, files, path)


def _rules(params: dict[str, Any]) -> tuple[list[Rule], Decision]:
    """The rules and the default; without a default, what no rule names is kept.

    :raises RulesError: with everything in them that cannot be
    """
    problems: list[str] = []
    rules: list[Rule] = []
    default = Decision("keep", named=False)
    for index, given in enumerate(params["rules"] or ()):
        try:
            rules.append(Rule.of(f"rules[{index}]", given))
        except RulesError as error:
            problems += error.problems
    try:
        if params["default"]:
            default = decision("default", params["default"], named=False)
    except RulesError as error:
        problems += error.problems
    if problems:
        raise RulesError(problems)
    return rules, default


def _check_addresses(decisions: list[Decision]) -> None:
    """See that this machine has the addresses that ports are bound to.

    :raises RulesError: with those that it has not
    """
    problems = []
    for host_ip in dict.fromkeys(one.address for one in decisions if one.action == "bind"):
        family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((host_ip, 0))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                problems.append(
                    f"the address {host_ip} is not on this machine, so Docker could not publish a port there; "
                    "validate=never if it will be there later"
                )
    if problems:
        raise RulesError(problems)


def _witness(
    wanted: str, overrides: bool, directory: str, paths: list[str], environment: dict[str, str]
) -> witness.Compose | None:
    """Docker Compose, if it is wanted and there.

    :param overrides: whether it must understand an override file
    :raises ComposeError: if it must be there and is not, or is too old
    """
    if wanted == "never":
        return None
    needs = ".".join(map(str, override.NEEDS))
    program = witness.find()
    if not program and overrides:
        raise ComposeError(
            f"override_file needs Docker Compose {needs} or newer on this machine, and there is none on PATH; install "
            "it, or say validate=never if it will be there later"
        )
    if not program and wanted == "always":
        raise ComposeError("validate=always needs Docker Compose v2 on this machine, and there is none on PATH")
    if program and overrides and not program.is_at_least(override.NEEDS):
        raise ComposeError(
            f"override_file needs Docker Compose {needs} or newer, which knows !override, and this machine has "
            f"{program.version}; update it, or leave override_file out, so that the files themselves are edited"
        )
    return witness.Compose(program.command, directory, paths, environment) if program else None


class Disk:
    """The file system, as `project.Files` wants it."""

    def read(self, path: str) -> str:
        """Return the text of a file, its line breaks as they are."""
        try:
            with open(path, "rb") as file:
                return file.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ComposeError(f"{path}: byte {error.start} is not UTF-8, which Docker Compose wants") from None
        except OSError as error:
            raise ComposeError(f"{path}: {error.strerror}") from None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(path)

    def real(self, path: str) -> str:
        """Return the path without symbolic links."""
        return os.path.realpath(path)


def _write(module: AnsibleModule, found: Trim, compose: witness.Compose | None) -> dict[str, str]:
    """Write the files that change, and see what Docker Compose makes of them; return the backups that were asked for.

    :raises ComposeError: with the old files back in place
    """
    disk = Disk()
    for path in found.changed:
        if (disk.read(path) if disk.exists(path) else None) != found.before.get(path):
            raise ComposeError(f"{path} was changed by somebody else meanwhile; run again")
    there = [path for path in found.changed if path in found.before]
    backups = {path: module.backup_local(path) for path in there} if module.params["backup"] else {}
    base = disk.real(found.paths[0])
    written: list[str] = []
    try:
        for path in found.changed:
            written.append(path)
            _replace(path, found.after[path], path if path in there else base)
        if compose and written:
            compose.check(found.exposed_after)
    except (ComposeError, OSError) as error:
        for path in written:
            if path in there:
                _replace(path, found.before[path], path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        raise ComposeError(f"{error}. The files are as they were") from None
    return backups


def _replace(path: str, text: str, like: str) -> None:
    """Replace a file at one blow.

    :param like: the file that it gets owner, mode, access control list and security context from; itself, if it is
        there
    """
    folder, before = os.path.dirname(path), os.stat(like)
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            if (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            shutil.copystat(like, temporary)
            os.utime(temporary)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    of_folder = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(of_folder)
    finally:
        os.close(of_folder)
