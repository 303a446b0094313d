# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a result: read, decide, try, write. The only file here that knows AnsibleModule."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon import keys, service, trial
from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.merge import (
    MergeError,
    Taken,
    changed_keys,
    check_wish,
    joined,
    merge,
    wish_of,
    without,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.text import (
    JsonError,
    edited,
    masked,
    parse,
    same,
)

RECORDS = Path("/var/lib/hardened-clickstack/docker-daemon-config")
"""Where it is kept what we put into which file."""
MARKS = Path("/run/hardened-clickstack/docker-daemon-config")
"""Where it is kept since when an engine has to be restarted; a reboot does that, and clears this."""


class ConfigError(Exception):
    """The run cannot go on; the message says what is wrong, where, and what to do."""


class _Module(AnsibleModule):  # type: ignore[misc]
    """An AnsibleModule that knows which values of its input are secret before it logs them."""

    def _log_invocation(self) -> None:
        for option in ("config", "defaults"):
            self.no_log_values.update(keys.secrets(self.params[option]))
        super()._log_invocation()


@dataclass(frozen=True)
class Record:
    """What we know of a file that we wrote to.

    :param original: its content before, or None if it was not there
    :param made: the directory that we made for it, or None
    :param taken: the places in it that are ours
    """

    original: str | None
    made: str | None = None
    taken: list[Taken] = field(default_factory=list)

    def stored(self) -> str:
        """Return it as a text."""
        taken = [place.stored() for place in self.taken]
        return json.dumps({"original": self.original, "made": self.made, "taken": taken}, indent=1)

    @classmethod
    def read(cls, text: str) -> Record:
        """Return what `stored` gave.

        :raises KeyError, ValueError, TypeError: if it is something else
        """
        stored = json.loads(text)
        return cls(stored["original"], stored["made"], [Taken.read(place) for place in stored["taken"]])


def run() -> NoReturn:
    """Run the module docker_daemon_config."""
    module = _Module(
        argument_spec={
            "path": {"type": "path", "default": service.DEFAULT_FILE},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "config": {"type": "dict", "default": {}},
            "defaults": {"type": "dict", "default": {}},
            "unsupported": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
            "backup": {"type": "bool", "default": False},
            "service": {"type": "str", "default": "docker.service"},
        },
        supports_check_mode=True,
    )
    try:
        result = _run(module)
    except (ConfigError, MergeError, service.ServiceError) as error:
        module.fail_json(msg=f"{error}. Nothing was changed.")
    module.exit_json(**result)
    raise AssertionError("exit_json ends the module")


def _run(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    check_wish(options["config"], "config")
    check_wish(options["defaults"], "defaults")
    if os.geteuid() != 0:
        raise ConfigError("this needs root, to try the configuration and to write it: set `become: true` for the task")
    # A link is followed: what it names is the file, and stays the file.
    path = Path(os.path.realpath(options["path"]))
    unit = _service(module, options["service"])
    if os.path.realpath(unit.config_file) != str(path):
        raise ConfigError(
            f"{options['service']} starts the engine with the configuration file {unit.config_file}, not with {path}: "
            "set `path` to that"
        )
    name = str(path).strip("/").replace("%", "%25").replace("/", "%")
    record_file, mark = RECORDS / f"{name}.json", MARKS / name
    record = _record(record_file)
    text = _read(path)
    before = _parsed(text, str(path))
    module.no_log_values.update(keys.secrets(before))

    base = without(before, record.taken if record else ())
    engine = _engine(module, unit.program, _data_root(before, unit.flags))
    after = base
    taken: list[Taken] = []
    left_out: dict[str, str] = {}
    if options["state"] == "present":
        after, taken, left_out = _wanted(base, options, engine, record)
    module.no_log_values.update(keys.secrets(after))
    original = record.original if record else text
    wanted = _text(text, before, after, original, str(path))
    changed = wanted != text
    differs = changed_keys(before, after)
    if changed and wanted is not None:
        bad = keys.bad_log_option(after) if differs & {"log-driver", "log-opts"} else None
        if bad:
            raise ConfigError(f"{bad}. The engine would start with that, but no container would")
        _try(unit, engine, wanted, after, before, text, str(path))

    result = _result(changed, before, after, text, wanted, str(path))
    result["engine"] = engine.text
    result["left_out"] = [{"key": key, "reason": reason} for key, reason in left_out.items()]
    if "userns-remap" in differs:
        module.warn(
            "userns-remap changes: the engine keeps the data of each mapping in a folder of its own, so that after the "
            "restart all images, containers and volumes of before are out of sight (they come back with the old value)"
        )
    reloaded = changed and keys.is_reloaded(differs, after, engine)
    result["reload_sufficient"] = reloaded
    due = changed and not reloaded
    if not module.check_mode:
        if due:
            _write(mark, str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
        if changed and options["backup"] and text is not None:
            result["backup_file"] = module.backup_local(str(path))
        _bring_about(module, path, wanted if changed else text, changed, record_file, record, original, taken)
    result["restart_required"] = unit.started is not None and (due or _is_due(mark, unit.started))
    if not result["restart_required"] and not module.check_mode:
        _forget(mark)
    return result


# -- deciding ---------------------------------------------------------------------------------------------------------


def _wanted(
    base: dict[str, Any], options: dict[str, Any], engine: keys.Engine, record: Record | None
) -> tuple[dict[str, Any], list[Taken], dict[str, str]]:
    """Return what the file shall hold, what of it is ours, and what is left out with the reasons."""
    wish = wish_of(base, options["config"], options["defaults"])
    left_out: dict[str, str] = {}
    while True:
        after, taken = merge(base, wish, record.taken if record else ())
        refused = {key: reason for key, reason in keys.refusals(after, engine).items() if key in wish}
        if not refused:
            return after, taken, left_out
        if options["unsupported"] == "fail":
            reasons = "; ".join(f"{key}: {reason}" for key, reason in refused.items())
            raise ConfigError(f"{reasons}. Take it out of the task, or set `unsupported: skip`")
        left_out.update(refused)
        wish = {key: value for key, value in wish.items() if key not in refused}


def _text(
    text: str | None, before: dict[str, Any], after: dict[str, Any], original: str | None, path: str
) -> str | None:
    """Return the text for what the file shall hold; None for no file."""
    if same(before, after):
        return text
    if same(after, _parsed(original, path)):
        return original
    return edited(text or "", after, original or "")


def _parsed(text: str | None, path: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = parse(text or "").data
    except JsonError as error:
        line, column = error.place
        raise ConfigError(
            f"{path}:{line}:{column}: {error.reason}\n{error.excerpt}\n"
            "The engine does not start with this file, or not with what it seems to say. Mend it first"
        ) from error
    return data


def _result(
    changed: bool, before: dict[str, Any], after: dict[str, Any], text: str | None, wanted: str | None, path: str
) -> dict[str, Any]:
    return {
        "changed": changed,
        "before": None if text is None else before,
        "after": None if wanted is None else after,
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": masked(text or "", [*keys.secrets(before)]),
            "after": masked(wanted or "", [*keys.secrets(after)]),
        },
    }


def _try(
    unit: service.Service,
    engine: keys.Engine,
    wanted: str,
    after: dict[str, Any],
    before: dict[str, Any],
    text: str | None,
    path: str,
) -> None:
    """Refuse what the engine does not start with.

    :raises ConfigError: in its words
    """
    for key, flag in keys.conflicts(after, unit.flags):
        raise ConfigError(
            f"{key} is given twice: in {path}, and as {flag} in the command line of the service. The engine does not "
            "start like that: take one of them away"
        )

    def refusal(document: dict[str, Any], content: str) -> str:
        try:
            if engine.validates:
                trial.validate(unit.program, unit.flags_without_file, content)
            trial.start(unit.program, keys.flags_for_trial(unit.flags), keys.for_trial(document))
        except trial.TrialError as error:
            return str(error)
        return ""

    said = refusal(after, wanted)
    if said:
        # Whose fault it is shows without us.
        older = refusal(before, text) if text is not None else ""
        blame = f". With {path} as it is now, it does not start either: {older}" if older else ""
        raise ConfigError(f"Docker Engine {engine.text} does not start with what {path} would hold: {said}{blame}")


# -- the host ---------------------------------------------------------------------------------------------------------


def _service(module: AnsibleModule, name: str) -> service.Service:
    systemctl = module.get_bin_path("systemctl")
    if not systemctl:
        raise ConfigError("there is no systemctl on this host: only engines that systemd starts are supported")
    properties = f"--property={','.join(service.PROPERTIES)}"
    status, shown, errors = module.run_command([systemctl, "show", properties, "--", name])
    if status:
        raise ConfigError(f"systemctl show {name} failed: {errors.strip()}")
    return service.read(name, shown, lambda path: _read(Path(path)))


def _engine(module: AnsibleModule, program: str, data_root: str) -> keys.Engine:
    """Return what is installed, which is what a restart starts; another one may be running."""
    try:
        status, said, errors = module.run_command([program, "--version"], handle_exceptions=False)
    except OSError as error:
        raise ConfigError(f"{program} cannot be run: {error.strerror}. Is the Docker Engine installed?") from error
    words = said.replace(",", " ").split()
    if status or words[:2] != ["Docker", "version"] or len(words) < 3:
        raise ConfigError(f"{program} --version does not say which Docker Engine it is: {(errors or said).strip()}")
    in_swarm = Path(data_root, "swarm/docker-state.json").exists()
    return keys.Engine(words[2].partition("+")[0], in_swarm)


def _data_root(document: dict[str, Any], flags: list[str]) -> str:
    for index, flag in enumerate(flags):
        name, given, value = flag.partition("=")
        if name in keys.PLACES["data-root"]:
            return value if given else flags[index + 1]
    return str(document.get("data-root", document.get("graph", "/var/lib/docker")))


def _is_due(mark: Path, started: int) -> bool:
    """Return whether the engine that runs was started before it had to be restarted."""
    with contextlib.suppress(ValueError):
        return started < int(_read(mark) or 0)
    return False


def _read(path: Path) -> str | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8, as JSON has to be. Mend the file first") from error


def _record(path: Path) -> Record | None:
    text = _read(path)
    if text is None:
        return None
    try:
        return Record.read(text)
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not what this module wrote there: take it away to begin anew") from error


def _bring_about(
    module: AnsibleModule,
    path: Path,
    wanted: str | None,
    changed: bool,
    record_file: Path,
    record: Record | None,
    original: str | None,
    taken: list[Taken],
) -> None:
    """Write the file and the record of it, in an order in which a killed run is completed by the next.

    The record comes first, and for that moment knows the places of before too: what it names and the file does not
    hold is nobody's loss.
    """
    made = record.made if record else None
    if changed and wanted is not None and not path.parent.exists():
        made = str(path.parent)
    both = joined(record.taken if record else (), taken)
    if both:
        _store(record_file, Record(original, made, both))
    if changed:
        if wanted is None:
            path.unlink()
            if made:
                with contextlib.suppress(OSError):  # something else is in it
                    os.rmdir(made)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(module, path, wanted)
    if not taken:
        _forget(record_file)
    elif len(both) > len(taken):
        _store(record_file, Record(original, made, taken))


def _store(path: Path, record: Record) -> None:
    text = record.stored()
    if _read(path) != text:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    """Write a file of our own, for root alone, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    for folder in path.parents[:2]:
        with contextlib.suppress(OSError):  # something else is in it, or it is not there
            folder.rmdir()


def _replace(module: AnsibleModule, path: Path, text: str) -> None:
    """Write the engine's file at once or not at all, with the owner, the mode and the label that it has."""
    descriptor, fresh = tempfile.mkstemp(prefix=".daemon.json.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if not path.exists():
            os.chmod(fresh, 0o644)
        module.atomic_move(fresh, str(path))
    finally:
        Path(fresh).unlink(missing_ok=True)
