"""docker_daemon_config on Docker hosts of the lab: engines start with what it writes, it refuses what they would not
start with, and neither leaves a trace where none belongs.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon import keys, trial
from tests.lab.conftest import LAB_ENGINES
from tests.sandbox.lab import Host, Lab

Json = dict[str, Any]
FILE = "/etc/docker/daemon.json"
RECORD = "/var/lib/hardened-clickstack"
MARK = "/run/hardened-clickstack"
SAFE: Json = {
    "config": {
        "live-restore": True,
        "icc": False,
        "ip": "127.0.0.1",
        "no-new-privileges": True,
        "default-network-opts": {"bridge": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}},
    },
    "defaults": {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}},
    "unsupported": "skip",
}
THEIRS = """\
{
    "labels": ["rack=7",  "row=2"],

    "log-opts": { "max-size": "50m" },
    "icc": true
}
"""
HTTPD = ("httpd", "-f", "-p", "80")
MAIN_ENGINE = "26.1" if "26.1" in LAB_ENGINES else LAB_ENGINES[0]
each_engine = pytest.mark.parametrize("engine", LAB_ENGINES)
one_engine = pytest.mark.parametrize("engine", [MAIN_ENGINE])


class Daemon:
    """The engine of a host, and the module that writes its configuration."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self.lab, self.host = lab, host

    def configure(self, *arguments: str, **options: Any) -> Json:
        """Run the module; return its result."""
        return self.configure_all(*arguments, tasks=[options])[0]

    def configure_all(self, *arguments: str, tasks: list[Json]) -> list[Json]:
        """Run the module once for each set of options, whether one fails or not; return the results."""
        said = self.play("--diff", *arguments, tasks=tasks, env={"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"})
        done = json.loads(said[said.index("{") :])["plays"][0]["tasks"]
        return [task["hosts"][self.host.name] for task in done]

    def play(self, *arguments: str, tasks: list[Json], env: Json) -> str:
        """Run the module once for each set of options, whether one fails or not; return what Ansible said."""
        play = {
            "hosts": self.host.name,
            "gather_facts": False,
            "ignore_errors": True,
            "tasks": [
                {"name": f"Task {number}", "hardened.clickstack.docker_daemon_config": options}
                for number, options in enumerate(tasks)
            ],
        }
        playbook = self.lab.folder / f"{self.host.name}.json"
        playbook.write_text(json.dumps([play]))
        done = self.lab.ansible(f"/run/lab/{playbook.name}", *arguments, env=env)
        return done.stdout + done.stderr

    def begin(self, content: str | None) -> None:
        """Begin with this daemon.json, an engine that runs with it, and no containers."""
        self.host.sh(f"""
            docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
            rm -rf {FILE} {RECORD} {MARK} /etc/docker/daemon.json.*
        """)
        if content is not None:
            self.host.write(FILE, content)
        self.restart()

    def restart(self) -> None:
        """Restart the engine, also the fourth time in a minute."""
        self.host.sh("systemctl reset-failed docker.service; systemctl restart docker.service")

    def reload(self) -> None:
        """Have the engine read its file again, which it does in its own time, and wait for that."""
        self.host.sh("""
            before=$(date +%s.%N)
            systemctl reload docker.service
            for attempt in $(seq 100); do
                journalctl --quiet --unit docker.service --since "@$before" |
                    grep -qE 'Reloaded configuration|invalid userland-proxy-path' && break
                sleep 0.05
            done
        """)

    def info(self, field: str) -> str:
        """Return what the running engine says of itself."""
        return self.host.docker("info", "--format", f"{{{{.{field}}}}}")

    def pid(self, container: str) -> str:
        """Return the process of a container that runs."""
        return self.host.docker("inspect", "--format", "{{.State.Pid}}", container)

    def started(self) -> str:
        """Return what tells one start of the engine from another."""
        return self.host.sh("systemctl show docker.service --property=ActiveState,ExecMainStartTimestampMonotonic")


@pytest.fixture(scope="module")
def daemons() -> dict[str, Daemon]:
    """What there is already, by engine."""
    return {}


@pytest.fixture
def daemon(daemons: dict[str, Daemon], lab: Lab, new_host: Callable[..., Host], busybox: Path, engine: str) -> Daemon:
    """A host with this engine and an image."""
    if engine not in daemons:
        host = new_host(f"daemon-{engine}", engine)
        host.load(busybox)
        folder = "/root/ansible_collections/hardened/clickstack/plugins/module_utils/docker_daemon"
        for source in (trial, keys):
            path = Path(str(source.__file__))
            host.write(f"{folder}/{path.name}", path.read_text())
        host.write(f"{folder}/text.py", path.with_name("text.py").read_text())
        daemons[engine] = Daemon(lab, host)
    return daemons[engine]


# -- the trial --------------------------------------------------------------------------------------------------------

TRIAL = """
import json, sys
sys.path.insert(0, "/root")
from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon import trial
program, validates, documents = json.load(sys.stdin)
said = []
for document in documents:
    try:
        if validates:
            trial.validate(program, [], json.dumps(document))
        trial.start(program, [], document)
        said.append("")
    except trial.TrialError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def engine_of(daemon: Daemon) -> keys.Engine:
    """The installed engine as the module knows it."""
    return keys.Engine(daemon.host.run("dockerd", "--version").stdout.split()[2].rstrip(",").partition("+")[0])


def tried(daemon: Daemon, documents: list[Json]) -> list[str]:
    """Return what the host's engine says to each of the documents; nothing if it starts."""
    given = json.dumps(["/usr/sbin/dockerd", engine_of(daemon).validates, documents])
    said: list[str] = json.loads(daemon.host.run("python3", "-IBc", TRIAL, input=given).stdout)
    return said


KEYS: list[Json] = [
    {"proxies": {"http-proxy": "http://127.0.0.1:3128"}},
    {"http-proxy": "http://127.0.0.1:3128"},
    {"cdi-spec-dirs": ["/etc/cdi"]},
    {"log-format": "json"},
    {"bip6": "fd00:7::1/64"},
    {"host-gateway-ips": ["192.0.2.1"]},
    {"ip-forward-no-drop": True},
    {"allow-direct-routing": True},
    {"bridge-accept-fwmark": "0x7/0x7"},
    {"firewall-backend": "nftables"},
    {"graph": "/x"},
    {"oom-score-adjust": -100},
    {"api-cors-header": "*"},
    {"ip6tables": True},
    {"ip6tables": True, "experimental": True},
    {"seccomp-profile": "builtin"},
]


@each_engine
def test_the_table_says_what_the_engine_does(daemon: Daemon) -> None:
    """Each key that the table is about, on each engine: a real start."""
    engine = engine_of(daemon)
    said = tried(daemon, [keys.for_trial(document) for document in KEYS])
    # graph names a place, which a trial has itself: that one is for --validate, and for the next test.
    differing = {
        json.dumps(document): (answer, keys.refusals(document, engine))
        for document, answer in zip(KEYS, said, strict=True)
        if "graph" not in document and bool(answer) is not bool(keys.refusals(document, engine))
    }
    assert not differing


@each_engine
def test_an_engine_takes_all_at_once_that_the_table_lets_through(daemon: Daemon) -> None:
    """No key of the ordinary ones keeps an engine from starting; what does not go together it says itself."""
    ordinary: Json = {
        **SAFE["config"],
        "log-driver": "local",
        "log-opts": {"max-size": "10m"},
        "default-address-pools": [{"base": "10.200.0.0/16", "size": 24}],
        "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}},
        "userland-proxy": False,
        "init": True,
        "labels": ["a=b"],
        "registry-mirrors": ["https://mirror.example"],
        "userns-remap": "default",
    }
    wrong: list[Json] = [
        {"nonsense": 1},
        {"icc": False, "iptables": False},
        {"log-opts": {"nonsense": "1"}},
        {"log-opts": {"max-file": 3}},
        {"live-restore": "yes"},
        {"default-address-pools": [{"base": "10.200.0.0/16"}]},
    ]
    answers = tried(daemon, [ordinary, *wrong])
    assert answers[0] == ""
    assert all(answers[1:]), answers
    assert "the following directives don't match any configuration option: nonsense" in answers[1]
    assert "unknown log opt 'nonsense' for json-file log driver" in answers[3]


SNAPSHOT = r"""
{
    find / -xdev -printf '%p %m %u %g %s %T@\n'
    find /run /tmp -xdev -printf '%p %m %u %g %s %T@\n'
} 2>/dev/null | grep -vE '^(/proc|/run/log|/var/log)|^/(tmp|run/systemd/journal/streams) ' | sort
nft list ruleset
ip -brief address
cat /proc/mounts
find /sys/fs/cgroup -type d | sort
ps -e -o pid,args | grep -vE 'ps -e|grep|find|sort|sh -euc|\[' || :
sysctl -a 2>/dev/null | grep -E '^net|^kernel\.keys' | grep -v nf_conntrack_count
getent passwd
cat /etc/subuid
"""


@each_engine
def test_a_trial_leaves_nothing_behind(daemon: Daemon) -> None:
    """Neither one that starts, with a key for which the engine makes a user and moves its data, nor one that fails."""
    daemon.begin(None)
    started = daemon.started()
    tried(daemon, [{}])  # the kernel's modules, and python's own first time
    before = daemon.host.sh(SNAPSHOT)
    answers = tried(daemon, [{"userns-remap": "default", "bip": "10.99.0.1/24"}, {"log-opts": {"nonsense": "1"}}])
    after = daemon.host.sh(SNAPSHOT)
    assert [bool(answer) for answer in answers] == [False, True]
    assert list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")) == []
    assert "dockremap" not in after
    assert daemon.started() == started


@one_engine
def test_a_trial_ends_if_the_module_is_killed(daemon: Daemon) -> None:
    """Nobody is left to end it, and still it ends."""
    # A program that does not end in place of an engine, and a second instead of a minute.
    host = daemon.host
    host.write("/root/forever", "#!/bin/sh\nexec sleep 1000\n", "755")
    host.write("/root/trial.py", TRIAL.replace("said = []", "said = []\ntrial.GRACE = 1 - trial.TIMEOUT"))
    host.write("/root/trial.json", json.dumps(["/root/forever", False, [{}]]))
    host.sh("""
        python3 -IB /root/trial.py </root/trial.json >/dev/null 2>&1 &
        python=$!
        for attempt in $(seq 500); do pgrep -f '^slee[p] 1000' >/dev/null && break; sleep 0.01; done
        kill -KILL $python
        pgrep -f '^slee[p] 1000' >/dev/null
    """)
    deadline = time.monotonic() + 15
    while host.run("pgrep", "-f", "docker-daemon-.*/space|^sleep 1000", check=False).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "docker-daemon-" not in host.read("/proc/mounts")
    host.sh("rm -rf /tmp/docker-daemon-* /root/trial.* /root/forever")


# -- the module -------------------------------------------------------------------------------------------------------


@each_engine
def test_from_the_first_run_to_the_last(daemon: Daemon, lab: Lab) -> None:
    """A file that somebody wrote, a container that runs: merged, in force, unchanged, and back byte for byte."""
    host, old = daemon.host, engine_of(daemon).version < (24, 0)
    daemon.begin(THEIRS)
    host.docker("run", "--detach", "--name", "before", "--publish=8001:80", "lab/busybox:1", *HTTPD)
    pid = daemon.pid("before")

    (told,) = daemon.configure_all("--check", tasks=[SAFE])
    assert told["changed"]
    assert told["restart_required"]
    assert host.read(FILE) == THEIRS
    assert host.sh(f"ls -d {RECORD} {MARK} 2>/dev/null || :") == ""

    done = daemon.configure(backup=True, **SAFE)
    assert done["changed"]
    assert done["diff"] == told["diff"]
    assert done["restart_required"]
    assert not done["reload_sufficient"]
    assert [item["key"] for item in done["left_out"]] == (["default-network-opts"] if old else [])
    written = host.read(FILE)
    assert host.read(done["backup_file"]) == THEIRS
    # What they wrote is there as they wrote it; what is asked for differs, what is a default gives way.
    assert '"labels": ["rack=7",  "row=2"],\n\n    "log-opts": { "max-size": "50m", "max-file": "3" },' in written
    document = json.loads(written)
    wanted = {key: value for key, value in SAFE["config"].items() if not (old and key == "default-network-opts")}
    theirs = {
        "labels": ["rack=7", "row=2"],
        "log-driver": "json-file",
        "log-opts": {"max-size": "50m", "max-file": "3"},
    }
    assert document == {**theirs, **wanted}
    assert done["after"] == document

    # A run that was killed before the restart is made up for by the next.
    again = daemon.configure(**SAFE)
    assert not again["changed"]
    assert again["restart_required"]

    # In force, with the container all along.
    daemon.reload()
    daemon.restart()
    assert daemon.info("LiveRestoreEnabled") == "true"
    assert daemon.pid("before") == pid
    after_restart = daemon.configure(**SAFE)
    assert (after_restart["changed"], after_restart["restart_required"]) == (False, False)
    assert host.read(FILE) == written

    # New networks publish to the host alone where the engine has that.
    web = {"image": "lab/busybox:1", "command": HTTPD, "ports": ["8002:80"], "stop_grace_period": "1s"}
    host.write("/root/project/compose.yml", json.dumps({"services": {"web": web}}))
    host.docker("compose", "--project-directory", "/root/project", "up", "--detach", "--wait")
    assert host.docker("port", "project-web-1", "80").splitlines()[0] == ("0.0.0.0:8002" if old else "127.0.0.1:8002")
    assert lab.untrusted.connects(host.wan4, 8002) is old
    assert lab.untrusted.connects(host.wan6, 8002) is old
    assert host.run("nc", "-z", "127.0.0.1", "8002", check=False).returncode == 0
    host.docker("compose", "--project-directory", "/root/project", "down")

    # The default bridge, once the engine starts without containers.
    host.docker("rm", "--force", "before")
    daemon.restart()
    host.docker("run", "--detach", "--name", "new", "--publish=8003:80", "lab/busybox:1", *HTTPD)
    assert host.docker("port", "new", "80") == "127.0.0.1:8003"
    limits = host.docker("inspect", "--format", "{{json .HostConfig.LogConfig}}", "new")
    assert json.loads(limits) == {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "3"}}
    assert host.docker("exec", "new", "grep", "NoNewPrivs", "/proc/self/status").split() == ["NoNewPrivs:", "1"]

    gone = daemon.configure(state="absent")
    assert (gone["changed"], gone["restart_required"]) == (True, True)
    assert host.read(FILE) == THEIRS
    daemon.restart()
    last = daemon.configure(state="absent")
    assert (last["changed"], last["restart_required"]) == (False, False)
    assert host.sh(f"ls -d {RECORD} {MARK} 2>/dev/null || :") == ""


@one_engine
def test_where_there_was_no_file_there_is_none_again(daemon: Daemon) -> None:
    daemon.begin(None)
    daemon.host.sh("rm -rf /etc/docker")
    options: Json = {"config": {"live-restore": True}}
    first, again, gone = daemon.configure_all(tasks=[options, options, {"state": "absent"}])
    assert (first["changed"], again["changed"], gone["changed"]) == (True, False, True)
    assert first["before"] is None
    assert (first["reload_sufficient"], first["restart_required"]) == (True, False)
    assert gone["after"] is None
    assert gone["restart_required"]  # a key that is gone is not taken back on a reload
    assert daemon.host.sh("ls -d /etc/docker 2>/dev/null || :") == ""


@one_engine
def test_what_is_no_longer_asked_for_goes_back(daemon: Daemon) -> None:
    """Also with somebody else's changes in between, which stay; the file keeps its owner and mode."""
    daemon.begin(THEIRS)
    host = daemon.host
    host.sh(f"chmod 640 {FILE}; chown root:docker {FILE}")
    daemon.configure(config={"icc": False, "labels": ["ours=1"], "debug": True, "log-opts": {"tag": "x"}})
    host.write(FILE, host.read(FILE).replace('"debug": true', '"debug": true,\n    "dns": ["192.0.2.53"]'), "640")
    host.sh(f"chown root:docker {FILE}")
    changed, gone = daemon.configure_all(tasks=[{"config": {"debug": False}}, {"state": "absent"}])
    theirs = {"labels": ["rack=7", "row=2"], "log-opts": {"max-size": "50m"}, "icc": True, "dns": ["192.0.2.53"]}
    assert changed["after"] == {**theirs, "debug": False}
    assert gone["after"] == theirs
    assert host.read(FILE).startswith(THEIRS.rstrip("}\n"))
    assert host.sh(f"stat --format '%a %U %G' {FILE}") == "640 root docker\n"


BROKEN = {
    '{\n  "icc": false\n  "ip": ""\n}\n': (
        ":3:3: a comma, or }, is missing after the value of icc",
        '\n  "ip": ""\n  ^\n',
    ),
    '{\n  "icc": false,\n  "icc": true\n}\n': (":3:3: icc is in line 2 already", ""),
    "[]": (":1:1: the file holds a list", ""),
    '{\n  "proxies": {"http-proxy": "http://me:geheim@proxy"},,\n}\n': (":2:", ""),
}


@one_engine
@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_broken_file_is_refused_with_its_line_and_the_engine_runs_on(daemon: Daemon, state: str) -> None:
    daemon.begin(None)
    started = daemon.started()
    for content, (words, excerpt) in BROKEN.items():
        daemon.host.write(FILE, content)
        result = daemon.configure(state=state, config={"live-restore": True})
        assert result["failed"]
        assert FILE + words in result["msg"]
        assert excerpt in result["msg"]
        assert "Nothing was changed" in result["msg"]
        assert "geheim" not in json.dumps(result)
        assert daemon.host.read(FILE) == content
    assert daemon.started() == started
    assert daemon.host.sh(f"ls -d {RECORD} {MARK} 2>/dev/null || :") == ""
    daemon.host.sh(f"rm {FILE}")


@each_engine
def test_what_the_engine_would_not_start_with_never_comes_into_place(daemon: Daemon) -> None:
    daemon.begin(THEIRS)
    started = daemon.started()
    refusals: list[tuple[Json, str]] = [
        ({"config": {"nonsense": 1}}, "the following directives don't match any configuration option: nonsense"),
        ({"config": {"log-opts": {"nonsense": "1"}}}, "unknown log opt 'nonsense'"),
        ({"config": {"log-opts": {"max-size": "1q"}}}, "log-opts.max-size is '1q', which is no size"),
        ({"config": {"iptables": False, "icc": False}}, "ICC=false uses iptables"),
        ({"config": {"hosts": ["tcp://127.0.0.1:2375"]}}, "hosts is given twice"),
        ({"config": {"graph": "/srv"}, "unsupported": "skip"}, ""),
        ({"config": {"labels": {"rack": "7"}}}, "labels is a map in the task, and something else in the file"),
        ({"config": {"icc": None}}, "config.icc is null"),
    ]
    if engine_of(daemon).version < (27, 0):
        refusals.append(({"config": {"ip6tables": True}}, "ip6tables: Docker Engine 2"))
    for (options, words), result in zip(
        refusals, daemon.configure_all(tasks=[options for options, _words in refusals]), strict=True
    ):
        if words:
            assert result.get("failed"), options
            assert words in result["msg"]
            assert "Nothing was changed" in result["msg"]
    daemon.configure(state="absent")
    assert daemon.host.read(FILE) == THEIRS
    assert daemon.started() == started


@one_engine
def test_a_file_that_was_wrong_before_is_named_as_such(daemon: Daemon) -> None:
    daemon.begin(None)
    daemon.host.write(FILE, '{"nonsense": 1}')
    result = daemon.configure(config={"live-restore": True})
    assert f"With {FILE} as it is now, it does not start either" in result["msg"]
    daemon.host.sh(f"rm {FILE}")


@one_engine
def test_flags_of_the_service_count(daemon: Daemon) -> None:
    """They come from the unit, its drop-ins and its environment file; the engine is tried with them."""
    daemon.begin(None)
    host = daemon.host
    host.write("/etc/default/docker", 'DOCKER_OPTS="--icc=false --data-root /srv/docker"\n')
    twice, place, fine = daemon.configure_all(
        tasks=[{"config": {"icc": True}}, {"config": {"data-root": "/srv"}}, {"config": {"debug": True}}]
    )
    assert "specified both as a flag and in the configuration file: icc" in twice["msg"]
    assert "data-root is given twice: in /etc/docker/daemon.json, and as --data-root" in place["msg"]
    assert fine["changed"]
    host.write("/etc/default/docker", 'DOCKER_OPTS="--config-file=/srv/daemon.json"\n')
    other, right, unknown = daemon.configure_all(
        tasks=[
            {"config": {"debug": True}},
            {"config": {"debug": True}, "path": "/srv/daemon.json"},
            {"config": {"debug": True}, "service": "podman.service"},
        ]
    )
    assert "starts the engine with the configuration file /srv/daemon.json, not with /etc/docker" in other["msg"]
    assert json.loads(host.read("/srv/daemon.json")) == {"debug": True}
    assert right["changed"]
    assert "there is no podman.service on this host" in unknown["msg"]
    assert daemon.configure(state="absent", path="/srv/daemon.json")["changed"]
    host.write("/etc/default/docker", "")
    assert daemon.configure(state="absent")["changed"]
    assert host.sh(f"ls -d {RECORD} {FILE} /srv/daemon.json 2>/dev/null || :") == ""


@each_engine
def test_a_reload_is_said_to_suffice_only_where_it_does(daemon: Daemon) -> None:
    """live-restore comes into force with it; not where the file holds what the engine refuses on a reload."""
    for others, suffices in ({}, True), ({"userland-proxy": True}, engine_of(daemon).version < (25, 0)):
        daemon.begin(json.dumps(others))
        result = daemon.configure(config={"live-restore": True})
        assert result["reload_sufficient"] is suffices
        assert result["restart_required"] is not suffices
        daemon.reload()
        assert daemon.info("LiveRestoreEnabled") == str(suffices).lower()


@one_engine
def test_secrets_are_shown_nowhere(daemon: Daemon) -> None:
    """Neither those of the task nor those in the file, in results, diffs or the host's journal."""
    daemon.begin(
        '{"log-driver": "splunk", "log-opts": {"splunk-token": "old\\/geheim", "splunk-url": "https://splunk.example"}}'
    )
    said = daemon.play(
        "-vvv",
        "--diff",
        tasks=[
            {"config": {"labels": ["proxy=http://me:new-geheim@proxy.example:3128"]}},
            {"config": {"log-opts": {"splunk-token": "other-geheim", "splunk-url": 7}}},
            {"config": {"insecure-registries": ["http://me:bad-geheim@x/y z"]}},
            {"state": "absent"},
        ],
        env={},
    )
    journal = daemon.host.journal()
    assert (said.count("changed: ["), said.count("fatal: [")) == (2, 2)
    assert "splunk.example" in said
    assert "geheim" not in said
    assert "docker_daemon_config" in journal
    assert "geheim" not in journal
    assert daemon.host.sh("grep -rl geheim /tmp /root/.ansible /var/tmp 2>/dev/null || :") == ""
