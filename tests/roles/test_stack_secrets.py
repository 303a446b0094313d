"""stack_secrets on this machine: what lies on the disk after a run, whatever was there before and however it ended."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets import run as module_run
from ansible_collections.hardened.clickstack.plugins.modules import stack_secrets_files
from tests.playbook import ROOT, Run, run_playbook

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the role gives files to the users of the containers")
Play = Callable[..., Run]
OWNERS = {
    "express_session_secret": 1000,
    "mongodb_root_password": 999,
    "mongodb_admin_password": 0,
    "mongodb_app_password": 0,
    "mongodb_keyfile": 999,
    "clickhouse_bootstrap_password": 101,
    "clickhouse_admin_password": 0,
    "clickhouse_reader_password": 0,
    "otel_clickhouse_password": 10001,
    "clickhouse_disk_key": 101,
    "clickhouse_named_collections_key": 101,
}
DECLARED = "declared in some vault"


def contents(directory: Path) -> dict[str, str]:
    """What is in the files, hidden ones too."""
    return {path.name: path.read_text() for path in directory.iterdir()}


def modes(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Owner, group and mode of each file."""
    found = {path.name: path.lstat() for path in directory.iterdir()}
    return {name: (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) for name, seen in found.items()}


class Failed(Exception):
    """A module that failed."""


@pytest.fixture
def module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run the module in this process; raises Failed with what it said."""

    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        given = {"directory": str(tmp_path / "secrets"), "secrets": {"one": {"owner": 101}}, **options}
        capsys.readouterr()
        arguments = {**given, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit) as end:
            stack_secrets_files.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        if end.value.code:
            assert "Traceback" not in result["msg"]
            raise Failed(result["msg"])
        return result

    return run


def refused(module: Callable[..., dict[str, Any]], **options: Any) -> str:
    """What the module refuses with."""
    with pytest.raises(Failed) as caught:
        module(**options)
    return str(caught.value)


# -- the role -------------------------------------------------------------------------------------------------------


def test_secrets_are_made_once_for_those_who_read_them(play: Play, tmp_path: Path) -> None:
    """Check mode says so and writes nothing; the second run changes nothing; nothing is printed, even with -vvv."""
    directory = tmp_path / "stack" / "secrets"
    variables = {
        "stack_secrets_directory": str(directory),
        "stack_secrets_values": {"mongodb_app_password": DECLARED},
        "stack_secrets_extra": {"grafana_password": {"owner": 472, "group": 0, "size": 40}},
    }
    predicted = play("stack_secrets", variables, "--check", "--diff")
    assert (predicted.code, predicted.recap["changed"], directory.parent.exists()) == (0, 1, False), predicted.output
    made = play("stack_secrets", variables, "--diff", "-vvv")
    assert (made.code, made.recap["changed"]) == (0, 1), made.output
    first = contents(directory)
    assert modes(directory) == {
        **{name: (owner, owner, 0o400) for name, owner in OWNERS.items()},
        "grafana_password": (472, 0, 0o400),
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o711 and stat.S_IMODE(directory.parent.stat().st_mode) == 0o750
    again = play("stack_secrets", variables, "--diff", "-vvv")
    assert (again.code, again.recap["changed"], contents(directory)) == (0, 0, first), again.output

    assert first["mongodb_app_password"] == DECLARED
    assert re.fullmatch("[0-9a-f]{64}", first["clickhouse_disk_key"])
    assert re.fullmatch("[0-9a-f]{32}", first["clickhouse_named_collections_key"])
    assert len(base64.b64decode(first["mongodb_keyfile"])) == 756
    assert len(first["grafana_password"]) == 40 and len(set(first.values())) == len(first)
    secrets = {line for text in first.values() for line in text.splitlines()}
    assert not [secret for secret in secrets for run in (predicted, made, again) if secret in run.output]
    assert "express_session_secret: owner 1000, group 1000, mode 0400, random" in predicted.output
    assert "mongodb_app_password: owner 0, group 0, mode 0400, declared" in predicted.output


def test_the_default_password_passes_the_rules_of_stack_clickhouse(tmp_path: Path) -> None:
    """They are two roles' defaults; nothing else holds them together."""
    rules = yaml.safe_load((ROOT / "roles/stack_clickhouse/defaults/main.yml").read_text())
    length = yaml.safe_load((ROOT / "roles/stack_secrets/defaults/main.yml").read_text())["stack_secrets_text_length"]
    from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets.kinds import KINDS

    for rule in rules["stack_clickhouse_password_complexity_rules"]:
        assert all(re.search(rule["pattern"], KINDS["text"].make(length)) for _index in range(50))


def test_variables_that_contradict_each_other_are_refused_at_once(play: Play, tmp_path: Path) -> None:
    variables = {
        "stack_secrets_directory": str(tmp_path / "secrets"),
        "stack_secrets_names": ["clickhouse_password", "mongodb_keyfile"],
        "stack_secrets_extra": {"otlp_auth_token": {"owner": 1}},
    }
    run = play("stack_secrets", variables)
    said = " ".join(run.output.split())
    assert run.code != 0 and not (tmp_path / "secrets").exists()
    assert "the role knows no clickhouse_password" in said and "otlp_auth_token would be the same file" in said


def test_no_secret_is_an_argument_of_a_process_or_in_a_file_that_others_read(play: Play, tmp_path: Path) -> None:
    """Every process of the machine and every temporary file of the run is looked at all the time."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(process.read_bytes().decode("utf-8", "replace"))
            for folder, folders, names in os.walk(tmp_path):
                # nobody else comes into a directory that is its owner's alone
                folders[:] = [name for name in folders if is_open(Path(folder, name), 0o011)]
                for path in (Path(folder, name) for name in names if name != "playbook.yml"):
                    if is_open(path, 0o044):
                        with contextlib.suppress(OSError):
                            seen.add(path.read_text(errors="replace"))

    def is_open(path: Path, bits: int) -> bool:
        try:
            return bool(path.stat().st_mode & bits)
        except OSError:
            return False

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run = play(
            "stack_secrets",
            {
                "stack_secrets_directory": str(tmp_path / "secrets"),
                "stack_secrets_values": {"mongodb_app_password": DECLARED},
            },
        )
    finally:
        done.set()
        watcher.join()
    assert run.code == 0, run.output
    assert any("ansible-playbook" in text for text in seen)
    assert (tmp_path / "secrets" / "mongodb_app_password").read_text() == DECLARED
    secrets = {text.splitlines()[0] for text in contents(tmp_path / "secrets").values()}
    assert not [secret for secret in secrets if any(secret in text for text in seen)]


# -- values from elsewhere ------------------------------------------------------------------------------------------


def blocks() -> list[Any]:
    """The YAML of the README."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!vault", lambda loader, node: loader.construct_scalar(node))
    text = (ROOT / "roles/stack_secrets/README.md").read_text()
    return [yaml.load(block, Loader) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_the_readme_s_lookups_are_those_of_collections_that_are_there(tmp_path: Path) -> None:
    """With the options that are used there."""
    text = json.dumps(blocks())
    documented = {}
    lookups = set(re.findall(r"lookup\('([a-z_.0-9]+)'", text))
    assert lookups >= {"ansible.builtin.env", "community.hashi_vault.vault_kv2_get", "community.sops.sops"}
    for lookup in lookups:
        command = [str(Path(sys.executable).with_name("ansible-doc")), "-t", "lookup", "--json", lookup]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and lookup in json.loads(done.stdout), done.stderr
        documented[lookup] = json.loads(done.stdout)[lookup]["doc"]["options"]
    assert {"engine_mount_point"} <= set(documented["community.hashi_vault.vault_kv2_get"])
    assert {"default"} <= set(documented["ansible.builtin.env"])


def test_values_come_from_ansible_vault_and_from_the_environment(tmp_path: Path) -> None:
    """As the README shows them: an encrypted variable, and the control node's environment."""
    (tmp_path / "password").write_text("the password of the vault")
    encrypted = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-vault")),
            "encrypt_string",
            "--vault-password-file",
            str(tmp_path / "password"),
            "--stdin-name",
            "vaulted",
        ],
        input=DECLARED,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    (tmp_path / "vars.yml").write_text(encrypted)
    lookup = re.search(r"\{\{ lookup\('ansible.builtin.env'.*?\}\}", json.dumps(blocks()).replace('\\"', '"'))
    assert lookup
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "stack_secrets_directory": str(tmp_path / "secrets"),
            "stack_secrets_names": ["mongodb_app_password", "otel_clickhouse_password"],
            "stack_secrets_values": {
                "mongodb_app_password": "{{ vaulted }}",
                "otel_clickhouse_password": lookup.group(),
            },
        },
        "roles": ["hardened.clickstack.stack_secrets"],
    }
    arguments = ["-e", f"@{tmp_path / 'vars.yml'}", "--vault-password-file", str(tmp_path / "password"), "-vvv"]
    run = run_playbook([play], *arguments, folder=tmp_path)
    assert run.code != 0 and not (tmp_path / "secrets").exists(), run.output
    run = run_playbook([play], *arguments, folder=tmp_path, OTEL_CLICKHOUSE_PASSWORD="from the environment")
    assert run.code == 0, run.output
    assert contents(tmp_path / "secrets") == {
        "mongodb_app_password": DECLARED,
        "otel_clickhouse_password": "from the environment",
    }
    assert DECLARED not in run.output and "from the environment" not in run.output


# -- what is there already ------------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept_and_its_owner_and_mode_are_mended(module: Any, tmp_path: Path) -> None:
    """With a word of warning if others could read it."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o755)
    (directory / "one").write_text("somebody's own password\n")
    (directory / "one").chmod(0o444)
    (directory / "foreign").write_text("not ours")
    predicted = module(check=True)
    assert modes(directory)["one"] == (0, 0, 0o444)
    done = module()
    assert (predicted["changed"], predicted["mended"], predicted["diff"]) == (True, ["one"], done["diff"])
    assert modes(directory)["one"] == (101, 101, 0o400) and stat.S_IMODE(directory.stat().st_mode) == 0o711
    assert contents(directory) == {"one": "somebody's own password\n", "foreign": "not ours"}
    assert "everybody could read it until now" in json.dumps(done)
    assert module()["changed"] is False


@pytest.mark.parametrize("content", ["", "\n", "half"])
def test_a_file_that_was_cut_off_is_an_error_and_stays(module: Any, tmp_path: Path, content: str) -> None:
    """Nothing is made beside it either."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o711)
    (directory / "one").write_text(content)
    said = refused(module, secrets={"one": {"owner": 101}, "two": {"owner": 101}})
    assert f"{directory}/one: it " in said and contents(directory) == {"one": content}


def test_what_is_no_file_is_refused(module: Any, tmp_path: Path) -> None:
    """A link could lead anywhere, and a directory is what Docker makes of a file that is not there."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o711)
    (directory / "one").symlink_to("/etc/hostname")
    target = os.stat("/etc/hostname").st_mode
    (directory / "two").mkdir()
    (directory / "three").write_bytes(b"x" * 70000)
    said = refused(module, secrets={name: {"owner": 101} for name in ("one", "two", "three")})
    assert "one: this is a link" in said and "two: this is not a file" in said and "three: it has 70000 bytes" in said
    assert os.stat("/etc/hostname").st_mode == target


def test_a_directory_that_others_may_write_to_is_refused(module: Any, tmp_path: Path) -> None:
    """Or that they own, or one above it; and a path that is not absolute."""
    for folder, mode, owner, reason in (
        ("a", 0o777, 0, "others may write to it (mode 0777)"),
        ("b", 0o1777, 0, "others may write to it (mode 1777)"),
        ("c", 0o711, 1000, "it belongs to the user 1000"),
    ):
        path = tmp_path / folder
        path.mkdir()
        os.chown(path, owner, owner)
        path.chmod(mode)
        assert reason in refused(module, directory=str(path)) and not [*path.iterdir()]
        if mode != 0o1777:
            assert f"{path}: " in refused(module, directory=str(path / "below")) and not [*path.iterdir()]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert f"{tmp_path}/a: others may write" in refused(module, directory=str(tmp_path / "link"))
    assert "'secrets' is not an absolute path" in refused(module, directory="secrets")
    (tmp_path / "file").write_text("")
    assert "file: this is not a directory" in refused(module, directory=str(tmp_path / "file"))


# -- runs that end anywhere, and runs at the same time --------------------------------------------------------------

CHANGES = ("open", "fchown", "fchmod", "fsync", "link", "unlink", "rename", "mkdir", "chown", "chmod")
"""What the module asks of the system, as far as it can change something on the disk."""


class Child:
    """The module's work in a process of its own, which ends as a killed one does."""

    def __init__(self, calls: int = 0, user: int = 0, **options: Any) -> None:
        """Begin; before its n-th change (`calls`) the process is killed, with 0 it is not.

        :param user: the user that it runs as
        """
        reading, self._writing = os.pipe()
        self._reading = os.fdopen(reading)
        self._process = os.fork()
        if self._process == 0:
            self._work(calls, user, options)
        os.close(self._writing)

    def _work(self, calls: int, user: int, options: dict[str, Any]) -> None:
        left = [calls]

        def dying(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def call(*arguments: Any, **named: Any) -> Any:
                if left[0] == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return real(*arguments, **named)

            return call

        status = 1
        try:
            for name in CHANGES if calls else ():
                setattr(os, name, dying(name))
            if user:
                os.setuid(user)
            secrets = {"one": {"owner": 101}, "two": {"owner": 999, "kind": "base64", "size": 756}}
            given = {"values": {}, "minimum_length": 16, "text_length": 32, "phase": "present", "rotate": []}
            said = json.dumps(module_run.Files({"secrets": secrets, **given, **options}).run(is_check=False))
            status = 0
        except BaseException as error:
            said = repr(error)
        os.write(self._writing, said.encode())
        os._exit(status)

    def end(self) -> tuple[int, str]:
        """Wait for its end; the status (negative for a signal), and what it said."""
        said = self._reading.read()
        self._reading.close()
        return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1]), said


def child(calls: int = 0, **options: Any) -> tuple[int, str]:
    """Run it to its end."""
    return Child(calls, **options).end()


def completed(**options: Any) -> dict[str, Any]:
    """Run it, unharmed; what it said."""
    status, said = child(**options)
    assert status == 0, said
    result: dict[str, Any] = json.loads(said)
    return result


def whole(directory: Path) -> dict[str, str]:
    """The secrets that are there; each file that has a secret's name is whole and its reader's alone."""
    found = {name: text for name, text in contents(directory).items() if not name.startswith(".")}
    for name, text in found.items():
        assert len(text) == (1024 if name.startswith("two") else 32)
    for name, (_owner, _group, mode) in modes(directory).items():
        assert mode == 0o400, name
    return found


def test_a_run_that_is_killed_anywhere_is_completed_by_the_next(tmp_path: Path) -> None:
    """At every change to the disk: no file is half there, none that was there changes, nothing is left over."""
    for calls in range(1, 100):
        directory = tmp_path / str(calls)
        status, said = child(calls, directory=str(directory))
        before = whole(directory) if directory.exists() else {}
        completed(directory=str(directory))
        after = contents(directory)
        assert set(after) == {"one", "two"} and whole(directory) == after and {**after, **before} == after
        assert modes(directory) == {"one": (101, 101, 0o400), "two": (999, 999, 0o400)}
        assert completed(directory=str(directory))["changed"] is False
        if status == 0:
            break
        assert status == -signal.SIGKILL, said
    assert 20 < calls < 99


@pytest.mark.parametrize("phase", ["stage", "promote", "retire"])
def test_a_rotation_that_is_killed_anywhere_is_completed_by_the_next(phase: str, tmp_path: Path) -> None:
    """At every change to the disk there is a whole secret, the old one until it is promoted, then the new one."""
    phases = ("stage", "promote", "retire")
    for calls in range(1, 100):
        directory = tmp_path / str(calls)
        completed(directory=str(directory))
        old = contents(directory)["one"]
        for earlier in phases[: phases.index(phase)]:
            completed(directory=str(directory), phase=earlier, rotate=["one"])
        staged = contents(directory).get("one.next")
        status, said = child(calls, directory=str(directory), phase=phase, rotate=["one"])
        found = whole(directory)
        if phase == "retire":
            assert found["one"] != old
        else:
            assert found["one"] in {old, staged} and old in found.values()
        for again in phases:
            completed(directory=str(directory), phase=again, rotate=["one"])
        after = contents(directory)
        assert set(after) == {"one", "two"} and after["one"] != old
        if status == 0:
            break
        assert status == -signal.SIGKILL, said
    assert 3 < calls < 99


def test_runs_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    """While somebody works in the directory a run does nothing; of many runs one makes the secrets."""
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o711)
    handle = os.open(directory, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    running = [Child(directory=str(directory)) for _index in range(8)]
    time.sleep(1)
    assert not contents(directory)
    fcntl.flock(handle, fcntl.LOCK_UN)  # the children have the handle too, so closing it would not do
    os.close(handle)
    made = [json.loads(process.end()[1])["made"] for process in running]
    assert sorted(made, key=len) == [[]] * 7 + [["one", "two"]]
    assert set(whole(directory)) == {"one", "two"}


def test_without_root_files_of_others_are_refused(tmp_path: Path) -> None:
    """Before anything is made: a file of the wrong owner would be one that its reader cannot read."""
    status, said = child(user=1000, directory=str(tmp_path / "secrets"))
    assert status == 1 and "become: true" in said and not (tmp_path / "secrets").exists()


# -- documentation --------------------------------------------------------------------------------------------------


def test_the_examples_of_the_module_run(tmp_path: Path) -> None:
    tasks = yaml.safe_load(stack_secrets_files.EXAMPLES)
    for task in tasks:
        task["hardened.clickstack.stack_secrets_files"]["directory"] = str(tmp_path / "secrets")
    run = run_playbook([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], folder=tmp_path)
    assert run.code == 0, run.output
    assert set(contents(tmp_path / "secrets")) == {
        "clickhouse_admin_password",
        "clickhouse_admin_password.next",
        "mongodb_keyfile",
    }


def test_the_readme_s_plays_name_variables_that_the_role_has() -> None:
    options = yaml.safe_load((ROOT / "roles/stack_secrets/meta/argument_specs.yml").read_text())["argument_specs"][
        "main"
    ]
    known = set(options["options"])
    plays = [play for block in blocks() if isinstance(block, list) for play in block if "roles" in play]
    assert plays and all(set(entry.get("vars", {})) <= known for play in plays for entry in play["roles"])
    names = {
        name for block in blocks() if isinstance(block, dict) for name in block if name.startswith("stack_secrets_")
    }
    assert names and names <= known
