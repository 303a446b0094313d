"""compose_ports as its users run it: by playbook and as a module, on real files, with Docker Compose beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hardened.clickstack.plugins.module_utils.compose import runner
from ansible_collections.hardened.clickstack.plugins.modules import compose_ports
from tests.integration.servers import NEWEST, VERSIONS
from tests.sandbox.lab.packages import Unavailable, unpacked
from tests.unit.compose.support import CLICKSTACK, CLICKSTACK_ENV, command

pytestmark = pytest.mark.skipif(NEWEST not in VERSIONS, reason="needs no ClickHouse, so it runs once: with the newest")

ROOT = Path(__file__).parents[2]
OTLP: list[dict[str, Any]] = [{"service": "otel-collector", "target": ["4317-4318"], "action": "keep"}]
REMOVE = {"action": "remove", "reason": "why not"}
OVERRIDE = "docker-compose.override.yml"
OF_ANSIBLE = {"changed", "diff", "failed", "msg", "invocation", "warnings", "deprecations"}
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH in which Docker Compose is, as docker-compose."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "docker-compose").symlink_to(command("compose-2.40"))
    return folder


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A ClickStack as upstream ships it."""
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "docker-compose.yml").write_text(CLICKSTACK)
    (folder / ".env").write_text(CLICKSTACK_ENV)
    return folder


@pytest.fixture
def module(stack: Path, programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the module's main() on the stack, with no other Docker on PATH than ours; the result has `failed`."""
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(runner.witness.shutil, "which", _only_in(programs))

    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        capsys.readouterr()
        warnings._global_warnings.clear()
        arguments = {"project_src": str(stack), **options, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit) as end:
            compose_ports.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert bool(end.value.code) is result.setdefault("failed", False)
        assert "Traceback" not in json.dumps(result)
        return result

    return run


def _only_in(folder: Path) -> Callable[[str], str | None]:
    """The machine's own Docker, if it has one, is no part of the test."""
    return lambda name: str(folder / name) if (folder / name).exists() else None


def disturb(programs: Path, config: int, doing: str) -> None:
    """Let something happen when Docker Compose is asked about the project for the nth time, just before it answers."""
    real = os.readlink(programs / "docker-compose")
    (programs / "docker-compose").unlink()
    (programs / "docker-compose").write_text(
        "#!/bin/sh\n"
        'case "$*" in *config*)\n'
        f'echo >>{programs}/count; [ "$(wc -l <{programs}/count)" -ne {config} ] || {{ {doing}; }};; esac\n'
        f'exec {real} "$@"\n'
    )
    (programs / "docker-compose").chmod(0o755)


def compose_file(stack: Path) -> str:
    return (stack / "docker-compose.yml").read_bytes().decode()


def override_file(stack: Path) -> str:
    return (stack / OVERRIDE).read_bytes().decode()


# -- playbooks -------------------------------------------------------------------------------------------------------


def play(
    tmp_path: Path, tasks: list[dict[str, Any]], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run tasks by ansible-playbook, with the installed collection."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], sort_keys=False)
    )
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook), *arguments],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".build/installed")),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_examples_run(tmp_path: Path, stack: Path, programs: Path) -> None:
    """Each in check mode, which predicts, for real, and again; one after the other, on the stack as it is shipped."""
    upstream = tmp_path / "upstream"
    shutil.copytree(stack, upstream)
    (stack / "docker-compose.override.yml").write_text("services:\n  app:\n    ports: !override\n      - 8080:8080\n")
    steps: list[dict[str, Any]] = []
    examples = yaml.safe_load(compose_ports.EXAMPLES)
    for task in examples:
        options = dict(task["hardened.clickstack.compose_ports"])
        options["project_src"] = str({"/opt/clickstack": stack, "/opt/upstream": upstream}[options["project_src"]])
        task = {**task, "hardened.clickstack.compose_ports": options, "diff": True}
        task["environment"] = {"PATH": f"{programs}:{os.environ['PATH']}"}
        steps += [
            {**task, "check_mode": True, "register": "predicted"},
            {
                **task,
                "register": "applied",
                "failed_when": "applied.failed or applied.diff != predicted.diff or not applied.validated "
                "or applied.exposure != predicted.exposure or applied.changed != predicted.changed",
            },
            {**task, "register": "again", "failed_when": "again.failed or again is changed"},
        ]
    run = play(tmp_path, steps)
    assert run.returncode == 0, run.stdout
    assert re.search(rf"ok={len(steps)} +changed=8 ", run.stdout), run.stdout[-500:]
    text = compose_file(stack)
    assert "      - '[::1]:13133:13133' # health check\n" in text
    assert "      # compose_ports: not published (1 line): production exposes OTLP and HTTPS only\n" in text
    assert "      - '127.0.0.1:4317:4317' # OTLP gRPC receiver\n" in text
    assert len(list(stack.glob("docker-compose.yml.*~"))) == 1
    assert compose_file(upstream) == CLICKSTACK and "ports: !override\n" in override_file(upstream)


def test_nothing_secret_is_told(tmp_path: Path, stack: Path, programs: Path) -> None:
    """With all the output there is: diffs, invocations, results, and Docker Compose's complaints."""
    text = compose_file(stack).replace("    restart: always", "    cpus: ${API_KEY}")
    (stack / "bad.yml").write_text(text)
    task = {
        "project_src": str(stack),
        "default": REMOVE,
        "environment": {"API_KEY": "a-secret-of-the-play", "HYPERDX_APP_PORT": "8080"},
    }
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    run = play(
        tmp_path,
        [
            {"hardened.clickstack.compose_ports": task, "environment": environment},
            {"hardened.clickstack.compose_ports": {**task, "files": ["bad.yml"]}, "environment": environment},
        ],
        "--diff",
        "-vvv",
    )
    assert run.returncode == 2 and re.search("does not take the project.*[$]API_KEY", run.stdout), run.stdout
    assert '"published": "8080"' in run.stdout and "-      - '4317:4317' # OTLP gRPC receiver" in run.stdout
    for secret in ("a-secret-of-the-env-file", "a-secret-of-the-play", "written in the file"):
        assert secret not in run.stdout + run.stderr


# -- the module ------------------------------------------------------------------------------------------------------


def test_upstreams_stack_is_trimmed(module: Run, stack: Path) -> None:
    rules = [*OTLP, {"service": "app", "target": ["8080"], "action": "bind"}]
    predicted = module(check=True, rules=rules, default=REMOVE)
    assert compose_file(stack) == CLICKSTACK
    result = module(rules=rules, default=REMOVE)
    assert {key: result[key] for key in ("changed", "diff", "exposure", "validated")} == {
        key: predicted[key] for key in ("changed", "diff", "exposure", "validated")
    }
    assert result["changed"] and result["validated"]
    assert [f"{one['service']}:{one['target']} {one['reach']}" for one in result["exposure"]["after"]] == [
        "otel-collector:4317 all",
        "otel-collector:4318 all",
        "app:8080 loopback",
    ]
    assert len(result["exposure"]["before"]) == 7
    (one,) = result["diff"]
    removed = [line for line in one["prepared"].splitlines() if line.startswith("-      ")]
    assert len(removed) == 5
    again = module(rules=rules, default=REMOVE)
    assert not again["changed"] and again["diff"] == [] and again["exposure"]["before"] == result["exposure"]["after"]
    assert again["exposure"]["before"] == again["exposure"]["after"]


def test_results_are_what_return_says(module: Run) -> None:
    documented = yaml.safe_load(compose_ports.RETURN)
    result = module(default=REMOVE, backup=True)
    refused = module(rules=[{"service": "nobody", "action": "keep"}])
    assert set(result) - OF_ANSIBLE == {key for key, entry in documented.items() if entry["returned"] == "success"}
    assert set(refused) - OF_ANSIBLE == {key for key, entry in documented.items() if entry["returned"] != "success"}
    overridden = module(default=REMOVE, override_file=OVERRIDE)["override"]
    assert set(overridden) == set(documented["override"]["contains"]) == set(documented["override"]["sample"])
    exposure = documented["exposure"]
    for which in ("before", "after"):
        assert set(exposure["sample"][which][0]) == set(exposure["contains"][which]["contains"])
    assert set(result["exposure"]["before"][0]) == set(exposure["contains"]["before"]["contains"])
    assert set(result["files"][0]) == set(documented["files"]["contains"]) == set(documented["files"]["sample"][0])


def test_a_file_keeps_its_mode_owner_and_links(module: Run, stack: Path) -> None:
    real = stack.parent / "elsewhere.yml"
    (stack / "docker-compose.yml").rename(real)
    (stack / "docker-compose.yml").symlink_to(real)
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 2345)
    before = real.stat()
    result = module(default=REMOVE, backup=True)
    after = real.stat()
    assert (stack / "docker-compose.yml").is_symlink() and after.st_ino != before.st_ino
    for key in ("st_mode", "st_uid", "st_gid"):
        assert getattr(after, key) == getattr(before, key)
    (file,) = result["files"]
    assert file["path"] == str(real) and Path(file["backup_file"]).read_text() == CLICKSTACK
    assert sorted(path.name for path in stack.iterdir()) == [".env", "docker-compose.yml"]


def test_check_mode_writes_nothing(module: Run, stack: Path) -> None:
    before = os.stat(stack / "docker-compose.yml")
    result = module(check=True, default=REMOVE, backup=True)
    assert result["changed"] and result["files"][0]["backup_file"] is None
    after = os.stat(stack / "docker-compose.yml")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert compose_file(stack) == CLICKSTACK
    assert sorted(path.name for path in stack.iterdir()) == [".env", "docker-compose.yml"]


def test_variables_come_from_where_they_are_said(module: Run, stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def app_port(**options: Any) -> str:
        return str(module(**options)["exposure"]["after"][-1]["published"])

    monkeypatch.setenv("HYPERDX_APP_PORT", "9001")
    (stack / "one.env").write_text("HYPERDX_APP_PORT=902\nHYPERDX_API_PORT=1\n")
    (stack / "two.env").write_text("HYPERDX_APP_PORT=$HYPERDX_APP_PORT${HYPERDX_API_PORT}\n")
    (stack / "three.env").write_text("HYPERDX_APP_PORT=9003\nHYPERDX_API_PORT=1\n")
    assert app_port() == "8080"
    assert app_port(env_files=["one.env"]) == "902"
    assert app_port(env_files=["one.env", "three.env"]) == "9003"
    assert app_port(env_files=["one.env", "two.env"]) == "9021"
    assert app_port(env_files=["one.env"], environment={"HYPERDX_APP_PORT": 9004}) == "9004"
    assert app_port(env_files=["one.env"], inherit_environment=True) == "9001"
    assert app_port(env_files=["one.env"], inherit_environment=True, environment={"HYPERDX_APP_PORT": "9004"}) == "9004"
    refused = module(env_files=[])
    assert refused["failed"] and "docker-compose.yml:35: " in refused["msg"]
    assert "the variable HYPERDX_API_PORT has no value. Nothing was changed." in refused["msg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project_src": "/nonexistent/stack"}, "project_src: /nonexistent/stack is not a directory"),
        ({"files": []}, "files: an empty list names no Compose file"),
        ({"files": ["no.yml"]}, "no.yml: there is no such file"),
        ({"env_files": ["no.env"]}, "no.env: there is no such environment file"),
        ({"files": ["latin.yml"]}, "latin.yml: byte 12 is not UTF-8"),
        ({"files": ["broken.yml"]}, "broken.yml:2: this is not YAML"),
        ({"rules": [{"service": "nobody", "action": "keep"}]}, "rules[0].service: no service is called nobody"),
        ({"rules": [{"service": "db", "action": "remove"}]}, "rules[0] names no port: db"),
        ({"rules": [{"action": "keep"}, {"service": "app", "action": "keep"}]}, "rules[0] and rules[1] both name"),
        ({"default": {"action": "bind", "address": "203.0.113.77"}}, "the address 203.0.113.77 is not on this machine"),
        ({"default": {"action": "bind", "address": "eth0"}}, "default.address: 'eth0' is not an IP address"),
        ({"default": {}}, "missing required arguments: action found in default"),
        ({"files": ["refused.yml"]}, "Docker Compose does not take the project: "),
    ],
)
def test_bad_input_is_refused_before_anything_changes(module: Run, stack: Path, options: Any, message: str) -> None:
    (stack / "latin.yml").write_bytes(b"services: {}\xe4\n")
    (stack / "broken.yml").write_text("services:\n\tx: 1\n")
    (stack / "refused.yml").write_text(CLICKSTACK.replace("restart: always", "restarts: always"))
    before = {path: path.read_bytes() for path in stack.iterdir()}
    result = module(**{"default": REMOVE, **options})
    assert result["failed"] and message in result["msg"]
    assert {path: path.read_bytes() for path in stack.iterdir()} == before


def test_an_address_may_come_later(module: Run) -> None:
    result = module(default={"action": "bind", "address": "203.0.113.77"}, validate="never")
    assert result["changed"] and not result["validated"]
    assert {one["reach"] for one in result["exposure"]["after"]} == {"address"}


def test_without_docker_compose(module: Run, programs: Path, stack: Path) -> None:
    (programs / "docker-compose").unlink()
    refused = module(default=REMOVE, validate="always")
    assert refused["failed"] and "validate=always needs Docker Compose v2" in refused["msg"]
    assert compose_file(stack) == CLICKSTACK
    result = module(default=REMOVE)
    assert result["changed"] and not result["validated"]


def test_docker_compose_is_found_as_a_plugin(
    module: Run, programs: Path, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is installed with docker-ce and on Debian; the program of its own is for older ways."""
    try:
        docker = unpacked("docker-28.5") / "usr/bin/docker"
    except Unavailable as reason:
        pytest.skip(str(reason))
    plugins = stack.parent / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (programs / "docker").symlink_to(docker)
    (programs / "docker-compose").rename(plugins / "docker-compose")
    assert not module(default=REMOVE, check=True)["validated"]
    monkeypatch.setenv("DOCKER_CONFIG", str(plugins.parent))
    assert module(default=REMOVE, validate="always")["validated"]


def test_an_old_docker_compose_is_none(module: Run, programs: Path) -> None:
    """Version 1 read other files than we do."""
    (programs / "docker-compose").unlink()
    (programs / "docker-compose").write_text("#!/bin/sh\necho 1.29.2\n")
    (programs / "docker-compose").chmod(0o755)
    assert not module(default=REMOVE)["validated"]


def test_without_ruamel_yaml(module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RUAMEL_ERROR", "ImportError")
    assert "ruamel.yaml" in module(default=REMOVE)["msg"]


def test_warnings_name_the_hosts_network(module: Run, stack: Path) -> None:
    (stack / "docker-compose.override.yml").write_text(
        "services:\n  db:\n    network_mode: host\n    networks: !reset []\n"
    )
    result = module(rules=OTLP)
    (warning,) = map(json.dumps, result["warnings"])
    assert "The service db (" in warning and "network_mode host" in warning
    assert [one["service"] for one in result["exposure"]["after"] if one["target"] is None] == ["db"]


def test_what_docker_compose_refuses_afterwards_is_put_back(module: Run, programs: Path, stack: Path) -> None:
    """Another file of the project breaks between the two questions."""
    (stack / "docker-compose.override.yml").write_text("services:\n  app:\n    ports:\n      - 1:1\n")
    disturb(programs, 2, f"echo 'services: [' >{stack}/.env; echo 'volumes: 1' >>{stack}/docker-compose.override.yml")
    result = module(default=REMOVE)
    assert result["failed"] and "Docker Compose does not take the project" in result["msg"]
    assert result["msg"].endswith("The files are as they were. Nothing was changed.")
    assert compose_file(stack) == CLICKSTACK
    assert (stack / "docker-compose.override.yml").read_text() == "services:\n  app:\n    ports:\n      - 1:1\n"


def test_a_file_that_somebody_else_changes_is_left_to_them(module: Run, programs: Path, stack: Path) -> None:
    disturb(programs, 1, f"echo '# mine' >>{stack}/docker-compose.yml")
    result = module(default=REMOVE)
    assert result["failed"] and "was changed by somebody else meanwhile; run again" in result["msg"]
    assert compose_file(stack) == CLICKSTACK + "# mine\n"


KILLED = """
import json, os, signal, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hardened.clickstack.plugins.modules import compose_ports
replace, done = os.replace, []
def killed(source, target):
    done.append(target)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
with patch_module_args(json.loads(sys.argv[1])):
    compose_ports.main()
"""


def test_a_killed_run_is_completed_by_the_next(module: Run, stack: Path) -> None:
    """Each file is the old one or the new one, at any moment."""
    override = "services:\n  app:\n    ports:\n      - 1:1\n"
    (stack / "docker-compose.override.yml").write_text(override)
    arguments = {"project_src": str(stack), "default": REMOVE, "validate": "never"}
    path = os.pathsep.join([str(ROOT / ".build/collections"), str(ROOT)])
    run = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert "# compose_ports" in compose_file(stack)
    assert (stack / "docker-compose.override.yml").read_text() == override
    result = module(default=REMOVE)
    assert [file["changed"] for file in result["files"]] == [False, True]
    assert result["exposure"]["after"] == [] and not module(default=REMOVE)["changed"]


# -- override_file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compose", ["compose-2.26", "compose-2.40"])
def test_upstreams_stack_is_overridden(module: Run, stack: Path, programs: Path, compose: str) -> None:
    """Docker Compose itself, asked as an administrator does, reads the file beside upstream's, which stays as it is."""
    (programs / "docker-compose").unlink()
    (programs / "docker-compose").symlink_to(command(compose))
    rules = [*OTLP, {"service": "app", "target": ["8080"], "action": "bind"}]
    options = {"rules": rules, "default": REMOVE, "override_file": OVERRIDE, "backup": True}
    predicted = module(check=True, **options)
    assert sorted(path.name for path in stack.iterdir()) == [".env", "docker-compose.yml"]
    (stack / "docker-compose.yml").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(stack / "docker-compose.yml", 1234, 2345)
    result = module(**options)
    for key in ("changed", "diff", "exposure", "override", "validated"):
        assert result[key] == predicted[key]
    assert result["changed"] and result["validated"] and not result.get("warnings")
    assert compose_file(stack) == CLICKSTACK
    for key in ("st_mode", "st_uid", "st_gid"):
        assert getattr((stack / OVERRIDE).stat(), key) == getattr((stack / "docker-compose.yml").stat(), key)
    assert [(Path(file["path"]).name, file["changed"], file["backup_file"]) for file in result["files"]] == [
        ("docker-compose.yml", False, None),
        (OVERRIDE, True, None),
    ]
    assert result["override"] == {
        "path": str(stack / OVERRIDE),
        "read_by_default": True,
        "compose_file": f"docker-compose.yml:{OVERRIDE}",
    }
    assert len(result["exposure"]["before"]) == 7
    assert read_by_default(stack, programs) == {
        ("otel-collector", "4317", None),
        ("otel-collector", "4318", None),
        ("app", "8080", "127.0.0.1"),
    }
    again = module(**options)
    assert not again["changed"] and again["diff"] == []
    assert again["exposure"]["before"] == again["exposure"]["after"] == result["exposure"]["after"]
    before = override_file(stack)
    changed = module(**{**options, "rules": OTLP})
    assert changed["changed"] and Path(changed["files"][1]["backup_file"]).read_text() == before
    assert {service for service, _port, _address in read_by_default(stack, programs)} == {"otel-collector"}
    kept = module(override_file=OVERRIDE)
    assert kept["changed"] and override_file(stack).endswith("\nservices: {}\n")
    assert len(read_by_default(stack, programs)) == 7


def read_by_default(stack: Path, programs: Path) -> set[tuple[str, str, str | None]]:
    """What Docker Compose publishes when it is run in the project directory and told nothing else."""
    run = subprocess.run(
        [str(programs / "docker-compose"), "config", "--format", "json"],
        cwd=stack,
        env={"PATH": str(programs), "HOME": str(stack)},
        capture_output=True,
        text=True,
        check=True,
    )
    services = json.loads(run.stdout)["services"]
    return {
        (name, port["published"], port.get("host_ip"))
        for name, service in services.items()
        for port in service.get("ports") or ()
    }


def test_how_docker_compose_comes_to_read_another_name_is_told(module: Run, stack: Path, programs: Path) -> None:
    options = {"default": REMOVE, "override_file": "ports.yml"}
    result = module(**options)
    (warning,) = map(json.dumps, result["warnings"])
    assert "ports.yml by itself. Name it last, by COMPOSE_FILE=docker-compose.yml:ports.yml or by --file" in warning
    assert not result["override"]["read_by_default"] and len(read_by_default(stack, programs)) == 7
    assert not module(files=["docker-compose.yml", "ports.yml"], **options).get("warnings")
    (stack / ".env").write_text(CLICKSTACK_ENV + f"COMPOSE_FILE={result['override']['compose_file']}\n")
    assert read_by_default(stack, programs) == set()
    told = module(**options)
    assert not told["changed"] and told["override"]["read_by_default"] and not told.get("warnings")


@pytest.mark.parametrize("validate", ["auto", "always", "never"])
@pytest.mark.parametrize("version", ["", "2.24.3"])
def test_an_override_needs_a_docker_compose_that_understands_it(
    module: Run, stack: Path, programs: Path, version: str, validate: str
) -> None:
    """The lab has none that old, so a program says that it is; it is asked for nothing else before it is refused."""
    (programs / "docker-compose").unlink()
    if version:
        (programs / "docker-compose").write_text(f'#!/bin/sh\n[ "$*" = "version --short" ] && echo {version}\n')
        (programs / "docker-compose").chmod(0o755)
    result = module(default=REMOVE, override_file=OVERRIDE, validate=validate)
    assert compose_file(stack) == CLICKSTACK
    if validate == "never":
        assert result["changed"] and not result["validated"] and (stack / OVERRIDE).is_file()
        return
    assert result["failed"] and not (stack / OVERRIDE).exists()
    assert "override_file needs Docker Compose 2.24.4 or newer" in result["msg"]
    told = f"this machine has {version}; update it, or leave override_file out" if version else "there is none on PATH"
    assert told in result["msg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is there, and it is not a file"),
        ("folder", "folder is there, and it is not a file"),
        ("no/where.yml", "there is no directory"),
        ("mine.yml", "mine.yml:1: compose_ports did not write this file"),
        ("docker-compose.yml", "docker-compose.yml:1: compose_ports did not write this file"),
        ("latin.yml", "latin.yml: byte 12 is not UTF-8"),
    ],
)
def test_an_override_file_that_cannot_be_is_refused(module: Run, stack: Path, name: str, message: str) -> None:
    (stack / "folder").mkdir()
    (stack / "mine.yml").write_text("services: {}\n")
    (stack / "latin.yml").write_bytes(b"services: {}\xe4\n")
    before = sorted(stack.rglob("*"))
    for check in (True, False):
        result = module(check=check, default=REMOVE, override_file=name)
        assert result["failed"] and message in result["msg"]
        assert result["msg"].endswith("Nothing was changed.")
    assert sorted(stack.rglob("*")) == before and compose_file(stack) == CLICKSTACK


@pytest.mark.parametrize("there", [False, True])
def test_an_override_that_docker_compose_refuses_is_taken_back(
    module: Run, programs: Path, stack: Path, there: bool
) -> None:
    if there:
        assert module(override_file=OVERRIDE)["changed"]
    before = {path.name: path.read_text() for path in stack.iterdir()}
    disturb(programs, 2, f"echo 'volumes: 1' >>{stack}/{OVERRIDE}")
    result = module(default=REMOVE, override_file=OVERRIDE)
    assert result["failed"] and "Docker Compose does not take the project" in result["msg"]
    assert result["msg"].endswith("The files are as they were. Nothing was changed.")
    assert {path.name: path.read_text() for path in stack.iterdir()} == before


def test_an_override_file_that_appears_meanwhile_is_left_to_them(module: Run, programs: Path, stack: Path) -> None:
    disturb(programs, 1, f"echo '# mine' >{stack}/{OVERRIDE}")
    result = module(default=REMOVE, override_file=OVERRIDE)
    assert result["failed"] and "was changed by somebody else meanwhile; run again" in result["msg"]
    assert override_file(stack) == "# mine\n"


def test_an_override_that_upstream_left_behind_is_written_anew(module: Run, stack: Path, programs: Path) -> None:
    """A service that is gone keeps Docker Compose from starting the project, and the module is what mends it."""
    module(default=REMOVE, override_file=OVERRIDE)
    (stack / "docker-compose.yml").write_text(CLICKSTACK.replace("  app:\n", "  hyperdx:\n"))
    with pytest.raises(subprocess.CalledProcessError):
        read_by_default(stack, programs)
    result = module(default=REMOVE, override_file=OVERRIDE)
    assert result["changed"] and result["validated"] and result["exposure"]["after"] == []
    assert read_by_default(stack, programs) == set()
