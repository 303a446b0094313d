"""stack_compose: what its modules decide, without a Docker. Integration tests run the role itself."""

from __future__ import annotations

import copy
import ipaddress
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.filter.stack_compose import (
    stack_compose_address,
    stack_compose_pool,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose import content, host, preflight
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose.preflight import (
    DockerNetwork,
    File,
    Host,
    Port,
)

Json = dict[str, Any]
REGULAR, FOLDER = stat.S_IFREG, stat.S_IFDIR


def net(text: str) -> Any:
    return ipaddress.ip_network(text)


def ip(text: str) -> Any:
    return ipaddress.ip_address(text)


@pytest.fixture
def project() -> Json:
    """A small project in the form that `docker compose config --format json` gives."""
    return {
        "name": "hdx-oss",
        "services": {
            "app": {
                "user": "1000:1000",
                "cpus": 1,
                "networks": {"edge": {"ipv4_address": "172.30.80.10"}, "data": {"ipv4_address": "172.30.81.10"}},
                "secrets": [{"source": "app_MONGO_URI", "target": "MONGO_URI"}],
                "volumes": [{"type": "volume", "source": "public", "target": "/public"}],
            },
            "proxy": {
                "user": "1000:1000",
                "networks": {"edge": {"ipv4_address": "172.30.80.14"}},
                "ports": [
                    {
                        "mode": "ingress",
                        "host_ip": "198.51.100.10",
                        "target": 8443,
                        "published": "443",
                        "protocol": "tcp",
                    }
                ],
                "volumes": [{"type": "bind", "source": "/tls", "target": "/certs", "read_only": True}],
            },
            "db": {
                "user": "999:999",
                "networks": {"data": {"ipv4_address": "172.30.81.13"}},
                "volumes": [{"type": "bind", "source": "/data", "target": "/data/db"}],
            },
        },
        "networks": {
            "edge": {"name": "hdx-oss_edge", "ipam": {"config": [{"subnet": "172.30.80.0/24"}]}},
            "data": {"name": "hdx-oss_data", "ipam": {"config": [{"subnet": "172.30.81.0/24"}]}},
        },
        "secrets": {"app_MONGO_URI": {"name": "hdx-oss_app_MONGO_URI", "file": "/secrets/mongo_uri"}},
    }


FILES = {
    "/secrets/mongo_uri": File("file", 1000, 1000, REGULAR | 0o400, 30),
    "/tls": File("directory", 1000, 1000, FOLDER | 0o500, 4096),
    "/tls/tls.crt": File("file", 0, 0, REGULAR | 0o444, 900),
    "/tls/tls.key": File("file", 1000, 1000, REGULAR | 0o400, 200),
    "/data": File("directory", 999, 999, FOLDER | 0o700, 4096),
}
REQUIRED = {"proxy": ["/tls/tls.crt", "/tls/tls.key"]}


def good_host(**other: Any) -> Host:
    values: Json = {
        "addresses": frozenset({ip("127.0.0.1"), ip("198.51.100.10"), ip("2001:db8:100::10")}),
        "routes": ((net("0.0.0.0/0"), "eth0"), (net("198.51.100.0/24"), "eth0"), (net("172.17.0.0/16"), "docker0")),
        "networks": (DockerNetwork("bridge", "docker0", (net("172.17.0.0/16"),)),),
        "cpus": 2,
        "files": FILES,
    }
    return Host(**{**values, **other})


def found(project: Json, seen: Host | None = None, ours: Sequence[str] = (), required: Json | None = None) -> list[str]:
    return preflight.problems(project, seen or good_host(), ours, REQUIRED if required is None else required)


def test_a_project_that_fits_has_no_problems(project: Json) -> None:
    assert found(project) == []


def test_a_second_run_is_not_in_its_own_way(project: Json) -> None:
    own = DockerNetwork("hdx-oss_edge", "br-0123456789ab", (net("172.30.80.0/24"),))
    routes = (*good_host().routes, (net("172.30.80.0/24"), "br-0123456789ab"))
    assert found(project, good_host(networks=(*good_host().networks, own), routes=routes)) == []


def test_a_network_of_another_shape_is_outdated(project: Json) -> None:
    project["networks"]["data"]["internal"] = True
    edge = DockerNetwork("hdx-oss_edge", "br-1", (net("172.30.80.0/24"),))
    data = DockerNetwork("hdx-oss_data", "br-2", (net("172.30.81.0/24"),), is_internal=True)
    other = DockerNetwork("hdx-oss_internal", "br-3", (net("172.18.0.0/16"),))
    assert preflight.outdated(project, good_host(networks=(edge, data, other))) == []
    open_data = DockerNetwork("hdx-oss_data", "br-2", (net("172.30.81.0/24"),))
    moved_edge = DockerNetwork("hdx-oss_edge", "br-1", (net("172.30.80.0/25"),))
    assert preflight.outdated(project, good_host(networks=(moved_edge, open_data))) == ["hdx-oss_data", "hdx-oss_edge"]


# -- each mistake is named, alone -------------------------------------------------------------------------------------


def change(path: str, value: Any) -> Callable[[Json], None]:
    def apply(project: Json) -> None:
        *way, last = path.split("/")
        place: Any = project
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[int(last) if last.isdigit() else last] = value

    return apply


PORT = "services/proxy/ports"
MISTAKES: dict[str, tuple[Callable[[Json], None], str]] = {
    "networks overlap": (
        change("networks/data/ipam/config/0/subnet", "172.30.0.0/16"),
        "The subnets of the networks edge and data overlap: 172.30.80.0/24 and 172.30.0.0/16.",
    ),
    "overlaps Docker's": (
        change("networks/edge/ipam/config", [{"subnet": "172.30.80.0/24"}, {"subnet": "172.17.128.0/24"}]),
        "The subnet 172.17.128.0/24 of hdx-oss_edge overlaps Docker's network bridge (172.17.0.0/16).",
    ),
    "overlaps a route": (
        change("networks/edge/ipam/config", [{"subnet": "172.30.80.0/24"}, {"subnet": "198.51.100.128/25"}]),
        "overlaps the host's route to 198.51.100.0/24 over eth0.",
    ),
    "outside": (
        change("services/app/networks/data/ipv4_address", "172.30.82.10"),
        "Service app: the address 172.30.82.10 in the network data lies outside of its subnet 172.30.81.0/24.",
    ),
    "no address": (change("services/app/networks/data/ipv4_address", "ten"), "Service app: 'ten' is not an address"),
    "gateway": (
        change("services/app/networks/data/ipv4_address", "172.30.81.1"),
        "Service app: the address 172.30.81.1 in the network data is the network's own, its gateway's or its broadcast",
    ),
    "twice": (
        change("services/db/networks/data/ipv4_address", "172.30.81.10"),
        "Service db: the address 172.30.81.10 in the network data is the one of service app as well.",
    ),
    "not ours": (
        change(f"{PORT}/0/host_ip", "198.51.100.99"),
        "The address 198.51.100.99 of stack_compose_bind_addresses is not on this host, which has 127.0.0.1,",
    ),
    "port twice": (
        lambda project: project["services"]["app"].update(
            ports=[{"host_ip": "0.0.0.0", "target": 8080, "published": "443", "protocol": "tcp"}]
        ),
        "Port 443/tcp of 0.0.0.0 is published twice: by service app and by service proxy.",
    ),
    "cpus": (
        change("services/app/cpus", 4),
        "Service app may use 4 CPUs, but the host has 2, and Docker refuses that.",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_project_is_the_one_that_is_named(project: Json, name: str) -> None:
    mistake, said = MISTAKES[name]
    mistake(project)
    problems = found(project)
    assert len(problems) == 1, problems
    assert said in problems[0]


def without(path: str) -> dict[str, File]:
    return {name: file for name, file in FILES.items() if name != path}


BAD_FILES: dict[str, tuple[dict[str, File], str]] = {
    "missing secret": (without("/secrets/mongo_uri"), "Service app: the secret /secrets/mongo_uri does not exist."),
    "empty secret": ({"/secrets/mongo_uri": File("file", 1000, 1000, REGULAR | 0o400, 0)}, "mongo_uri is empty."),
    "secret is a directory": (
        {"/secrets/mongo_uri": File("directory", 1000, 1000, FOLDER | 0o500, 4096)},
        "/secrets/mongo_uri must be a file.",
    ),
    "open secret": (
        {"/secrets/mongo_uri": File("file", 1000, 1000, REGULAR | 0o444, 30)},
        "is open to every user of the host (mode 0444). Take that away: chmod o-rwx.",
    ),
    "secret of root": (
        {"/secrets/mongo_uri": File("file", 0, 0, REGULAR | 0o400, 30)},
        "must be readable for the container's user 1000:1000, but is owned by 0:0 with mode 0400."
        " For example: chown 1000:1000 and chmod 0400.",
    ),
    "unreadable file below": (
        {"/tls/ca.crt": File("file", 0, 0, REGULAR | 0o600, 30)},
        "Service proxy: /tls/ca.crt must be readable for the container's user 1000:1000, but is owned by 0:0 with mode"
        " 0600.",
    ),
    "link to the outside": (
        {"/tls/ca.crt": File("file", 1000, 1000, REGULAR | 0o444, 30, outside="/etc/ssl/ca.crt")},
        "Service proxy: /tls/ca.crt is a symbolic link to /etc/ssl/ca.crt, outside of the mounted directory",
    ),
    "no key": (without("/tls/tls.key"), "Service proxy: the file /tls/tls.key does not exist."),
    "empty certificate": (
        {"/tls/tls.crt": File("file", 1000, 1000, REGULAR | 0o444, 0)},
        "Service proxy: /tls/tls.crt must be a file that is not empty.",
    ),
    "no data": (without("/data"), "Service db: the path /data does not exist."),
    "data of root": (
        {"/data": File("directory", 0, 0, FOLDER | 0o755, 4096)},
        "Service db: the path /data must be writable for the container's user 999:999, but is owned by 0:0 with mode"
        " 0755.",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_the_one_that_is_named(project: Json, name: str) -> None:
    files, said = BAD_FILES[name]
    if not name.startswith("no ") and name != "missing secret":
        files = {**FILES, **files}
    problems = found(project, good_host(files=files))
    assert len(problems) == 1, problems
    assert said in problems[0]


def test_what_the_role_will_write_need_not_be_there(project: Json) -> None:
    files = {path: file for path, file in FILES.items() if not path.startswith("/tls")}
    assert found(project, good_host(files=files), required={}) == ["Service proxy: the path /tls does not exist."]
    assert found(project, good_host(files=files), ours=["/tls"], required={}) == []


def test_owners_do_not_count_where_docker_remaps_users(project: Json) -> None:
    files = {**FILES, "/secrets/mongo_uri": File("file", 101000, 101000, REGULAR | 0o400, 30)}
    assert found(project, good_host(files=files))
    assert found(project, good_host(files=files, remapped=True)) == []


@pytest.mark.parametrize(
    "taken, is_clash",
    [
        (Port(ip("198.51.100.10"), 443, "tcp", "x"), True),
        (Port(ip("0.0.0.0"), 443, "tcp", "x"), True),
        (Port(ip("127.0.0.1"), 443, "tcp", "x"), False),
        (Port(ip("198.51.100.10"), 443, "udp", "x"), False),
        (Port(ip("198.51.100.10"), 4433, "tcp", "x"), False),
        (Port(ip("::"), 443, "tcp", "x"), False),
    ],
)
def test_a_port_that_somebody_has(project: Json, taken: Port, is_clash: bool) -> None:
    problems = found(project, good_host(taken=(taken, taken)))
    said = "Port 443/tcp of 198.51.100.10, for service proxy, is taken already by x. Stop that, or choose another"
    assert [problem.startswith(said) for problem in problems] == ([True] if is_clash else [])


def test_ipv6_needs_a_docker_that_keeps_networks_apart_over_ipv6(project: Json) -> None:
    assert found(project, good_host(isolates_ipv6=False)) == []
    project["networks"]["data"]["ipam"]["config"].append({"subnet": "fd00:30:81::/64"})
    assert found(project) == []
    (problem,) = found(project, good_host(isolates_ipv6=False))
    assert problem.startswith("This Docker does not keep networks apart over IPv6")


def test_all_problems_are_named_at_once(project: Json) -> None:
    for name in ("outside", "not ours", "cpus"):
        MISTAKES[name][0](project)
    assert len(found(project, good_host(files={**FILES, **BAD_FILES["open secret"][0]}))) == 4


def test_overrides_neither_add_services_nor_publish() -> None:
    overrides = {"services": {"ap": {}, "app": {"ports": ["8080:8080"], "network_mode": "host", "cpus": 2}, "db": 5}}
    assert [problem.partition(";")[0] for problem in preflight.wrong_overrides(["app", "db"], overrides)] == [
        "stack_compose_overrides: there is no service ap",
        "stack_compose_overrides: services.app.ports is refused, because the role alone says what is published",
        "stack_compose_overrides: services.app.network_mode is refused, because the role alone says what is published",
        "stack_compose_overrides: services.db must be a dictionary.",
    ]
    assert preflight.wrong_overrides(["app"], {"services": {"app": {"cpus": 2}}, "x-note": 1}) == []
    assert preflight.wrong_overrides(["app"], {"services": None}) == []


@pytest.mark.parametrize(
    "engine, compose, said",
    [
        ("20.10.24+dfsg1", "2.26.1-4", []),
        ("28.5.2+dfsg4", "v2.40.3", []),
        ("29.0.0", "5.0.0", []),
        ("19.03.15", "2.40.3", ["Docker Engine 19.03.15 is too old: 20.10 or newer is needed."]),
        ("28.5.2", "2.17.3", ["Docker Compose 2.17.3 is too old: 2.18 or newer is needed."]),
        ("28.5.2", "dev", ["Docker Compose dev is too old: 2.18 or newer is needed."]),
    ],
)
def test_versions(engine: str, compose: str, said: list[str]) -> None:
    assert preflight.too_old(engine, compose) == said


# -- reading the host -------------------------------------------------------------------------------------------------


def test_files_are_seen_as_the_container_will_see_them(tmp_path: Path) -> None:
    tls, data = tmp_path / "tls", tmp_path / "data"
    for folder in (tls, data):
        folder.mkdir()
        (folder / "inside").write_text("x")
    (tls / "link").symlink_to("inside")
    (tls / "away").symlink_to(tmp_path / "data" / "inside")
    (tls / "dangling").symlink_to("nothing")
    answers = {
        "info": json.dumps({"NCPU": 3, "SecurityOptions": ["name=seccomp,profile=builtin", "name=userns"]}),
        "container": "",
        "network": "",
    }

    def run(args: Sequence[str]) -> tuple[int, str, str]:
        return 0, answers[args[1]] if args[0] == "docker" else "[]", ""

    seen = host.read(run, host.Docker(run, "docker"), "ip", "27.0", "p", [], [str(tls), "/nowhere"], [str(data)])
    assert (seen.cpus, seen.remapped) == (3, True)
    files = {os.path.relpath(path, tmp_path): file.outside for path, file in seen.files.items()}
    away = str(tmp_path / "data" / "inside")
    assert files == {"tls": "", "tls/inside": "", "tls/link": "", "tls/away": away, "tls/dangling": "", "data": ""}
    assert seen.files[str(tls / "dangling")].kind == "other"


def test_ports_of_the_project_itself_are_not_taken_and_those_of_others_are() -> None:
    import socket

    with socket.socket() as listening, socket.socket() as own:
        for one in (listening, own):
            one.bind(("127.0.0.1", 0))
            one.listen()
        taken, ours = listening.getsockname()[1], own.getsockname()[1]

        def container(name: str, project: str, port: int) -> Json:
            bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}], "90/tcp": None}
            labels = {"com.docker.compose.project": project}
            return {"Name": f"/{name}", "Config": {"Labels": labels}, "NetworkSettings": {"Ports": bindings}}

        containers = [container("ours", "stack", ours), container("other", "else", 7)]

        def run(args: Sequence[str]) -> tuple[int, str, str]:
            if args[0] == "ip":
                return 0, "[]", ""
            if args[1:3] == ["container", "ls"]:
                return 0, "a b\n", ""
            # one of them has gone since: the exit code says so, the rest is there
            return (
                (1, json.dumps(containers), "no such container")
                if args[1] == "container"
                else (0, "{}" * (args[1] == "info"), "")
            )

        wanted = [Port(ip("127.0.0.1"), number, "tcp", "service x") for number in (taken, ours)]
        seen = host.read(run, host.Docker(run, "docker"), "ip", "27.0", "stack", wanted, [], [])
    assert [(port.number, port.owner) for port in seen.taken] == [
        (7, "container other"),
        (taken, "a program of the host"),
    ]


def test_routes_of_the_host_are_those_that_lead_somewhere() -> None:
    routes = {
        "-4": [
            {"dst": "default", "dev": "eth0"},
            {"dst": "10.0.0.0/8", "dev": "tun0"},
            {"dst": "10.9.9.9", "dev": "tun0"},
            {"type": "blackhole", "dst": "192.168.0.0/16"},
            {"type": "local", "dst": "10.1.1.1", "dev": "lo", "table": "local"},
        ],
        "-6": [
            {"dst": "fe80::/64", "dev": "eth0"},
            {"dst": "fd00::/8", "dev": "tun0"},
            {"type": "multicast", "dst": "ff00::/8", "dev": "eth0", "table": "local"},
        ],
    }
    addresses = [{"ifname": "eth0", "addr_info": [{"local": "198.51.100.10"}, {"local": "fe80::1"}, {}]}]

    def run(args: Sequence[str]) -> tuple[int, str, str]:
        if args[0] == "docker":
            return 0, "{}" if args[1] == "info" else "", ""
        return 0, json.dumps(addresses if args[2] == "address" else routes[args[2]]), ""

    seen = host.read(run, host.Docker(run, "docker"), "ip", "27.0", "p", [], [], [])
    assert [(str(route), device) for route, device in seen.routes] == [
        ("0.0.0.0/0", "eth0"),
        ("10.0.0.0/8", "tun0"),
        ("10.9.9.9/32", "tun0"),
        ("192.168.0.0/16", "no device"),
        ("fd00::/8", "tun0"),
    ]
    assert seen.addresses == {ip("198.51.100.10"), ip("fe80::1")}


@pytest.mark.parametrize("engine, isolates", [("20.10.24", False), ("26.1.5", False), ("27.0.1", True), ("29", True)])
def test_ipv6_is_isolated_by_new_engines(engine: str, isolates: bool) -> None:
    def run(args: Sequence[str]) -> tuple[int, str, str]:
        return 0, "{}" if args[1] == "info" else "[]" if args[0] == "ip" else "", ""

    assert host.read(run, host.Docker(run, "docker"), "ip", engine, "p", [], [], []).isolates_ipv6 is isolates


def test_a_docker_that_does_not_answer_says_what_to_do() -> None:
    def run(args: Sequence[str]) -> tuple[int, str, str]:
        return 1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n"

    with pytest.raises(host.HostError, match=r"The Docker daemon does not answer\. Start it.*Cannot connect"):
        host.Docker(run, "docker").versions()


# -- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_fingerprint_tells_names_and_contents_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    (one / "a").write_text("bc")
    (one / "ab").write_text("c")
    key = b"k" * 32

    def print_of(*paths: Path, ignored: Sequence[str] = ()) -> str:
        return content.fingerprint(key, map(str, paths), ignored)

    first = print_of(one, other)
    assert first == print_of(other, one) == print_of(one, one, other)
    assert first != content.fingerprint(b"x" * 32, [str(one), str(other)])
    (one / "a").write_text("b")
    (one / "ab").write_text("cc")  # the same bytes in the same order, cut elsewhere
    second = print_of(one, other)
    assert second != first
    os.utime(one / "a", (1, 1))
    (one / "a").chmod(0o600)
    assert print_of(one, other) == second
    (one / "a").rename(one / "b")
    assert print_of(one, other) != second
    assert print_of(one, other, ignored=[str(one) + "/", ""]) == print_of(other)
    assert print_of(one, ignored=[str(tmp_path / "on")]) == print_of(one)  # a path is not a beginning of a name


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_fingerprint_shows_no_plain_hash_and_changes_with_the_content(before: bytes, after: bytes) -> None:
    import hashlib
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        prints = []
        for value in (before, after):
            Path(file.name).write_bytes(value)
            prints.append(content.fingerprint(b"k" * 32, [file.name]))
            assert prints[-1] not in hashlib.sha256(value).hexdigest()
        assert (prints[0] == prints[1]) is (before == after)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert content.read_key(str(path), is_check=True)[1] and not path.exists()
    key, is_new = content.read_key(str(path), is_check=False)
    assert is_new and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content.read_key(str(path), is_check=False) == (key, False)
    path.write_bytes(b"half")
    assert content.read_key(str(path), is_check=False)[1]
    assert list(tmp_path.iterdir()) == [path]


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subnet, address, pool",
    [
        ("172.30.80.0/24", "172.30.80.14", "172.30.80.128/25"),
        ("10.0.0.32/27", "10.0.0.46", "10.0.0.48/28"),
        ("fd00:30:80::/64", "fd00:30:80::e", "fd00:30:80:0:8000::/65"),
    ],
)
def test_addresses_are_counted_in_the_lower_half_of_the_subnet(subnet: str, address: str, pool: str) -> None:
    assert stack_compose_address(subnet, 14) == address
    assert stack_compose_pool(subnet) == pool
    assert ip(address) not in net(pool)


@pytest.mark.parametrize("subnet", ["172.30.80.0/33", "172.30.80.1/24", "edge", "", None])
def test_what_is_not_a_subnet_is_refused(subnet: Any) -> None:
    for function in (lambda text: stack_compose_address(text, 10), stack_compose_pool):
        with pytest.raises(AnsibleFilterError, match="is not a subnet such as"):
            function(subnet)


def test_a_subnet_without_room_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no address number 14 in its lower half; use a larger one"):
        stack_compose_address("10.0.0.0/28", 14)
    with pytest.raises(AnsibleFilterError, match="too small"):
        stack_compose_pool("10.0.0.0/31")


def test_nothing_is_changed_in_what_is_judged(project: Json) -> None:
    before = copy.deepcopy(project)
    found(project)
    assert project == before
