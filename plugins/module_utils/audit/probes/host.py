# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: which containers are a ClickStack, and how `docker inspect` and their processes say that they are run.

The rules are CIS Docker's chapters 4 and 5, Docker's documentation of Compose, and ClickStack's "Going to Production".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    NOT_APPLICABLE,
    PASS,
    Json,
    judged,
    listed,
    observe,
    sentence,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.processes import parted

APP, COLLECTOR, CLICKHOUSE, MONGODB, PROXY = "app", "otel-collector", "ch-server", "db", "proxy"
DATABASES = (CLICKHOUSE, MONGODB)
EVERYTHING = (APP, COLLECTOR, CLICKHOUSE, MONGODB)
"""What an all-in-one image is."""

PUBLIC_SESSION_SECRET = "hyperdx is cool 👋"
"""What HyperDX signs its cookies with where nobody says otherwise (packages/api/src/config.ts)."""
SHORTEST_SESSION_SECRET = 32

_IMAGES = (
    (r"(clickstack|hyperdx)-(all-in-one|local)", EVERYTHING),
    (r"hyperdx(-app)?", (APP,)),
    (r"(clickstack|hyperdx)-otel-collector|otelcol.*|opentelemetry-collector.*", (COLLECTOR,)),
    (r"clickhouse(-server)?", (CLICKHOUSE,)),
    (r"mongo(db)?(-community-server|-enterprise-server)?|percona-server-mongodb", (MONGODB,)),
    (r"caddy|nginx(-unprivileged)?|traefik|haproxy", (PROXY,)),
)
_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|ACCESS_KEY|CREDENTIAL|KEY_HEX)", re.IGNORECASE
)
_NOT_SECRET_NAME = re.compile(
    r"(_FILE|_PATH|_DIR|_URL|_ENDPOINT|_TYPE|_TTL|_ENABLED|_SKIP)$|^CLICKHOUSE_SKIP", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@", re.IGNORECASE)
_JSON_PASSWORD = re.compile(r'"password"\s*:\s*"[^"]+"', re.IGNORECASE)
_ADDABLE = {"CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "NET_BIND_SERVICE"}
"""Capabilities that an entrypoint needs to give its directories to its user and become it, and a low port takes."""


@dataclass(frozen=True)
class Process:
    """A process of a container: its environment (secrets are judged here and never leave), users and seccomp mode."""

    pid: int
    environment: Mapping[str, str] = field(default_factory=dict)
    user_id: int = -1
    seccomp: int = -1


@dataclass(frozen=True)
class Container:
    """A running container: what it is of a ClickStack, what Docker says of it, and its processes, the first first."""

    components: tuple[str, ...]
    inspected: Json
    processes: Sequence[Process] = ()

    @property
    def name(self) -> str:
        """Its name, without Docker's slash."""
        return str(self.inspected["Name"]).lstrip("/")

    @property
    def image(self) -> str:
        """Its image, as it was named."""
        return str(self.inspected["Config"]["Image"])

    @property
    def settings(self) -> Json:
        """Its HostConfig."""
        found: Json = self.inspected["HostConfig"]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """What its processes see: each variable from the last process that has it, since wrappers add to it."""
        found: dict[str, str] = dict(parted(self.inspected["Config"].get("Env") or ()))
        for process in self.processes:
            found.update(process.environment)
        return found


def components(image: str) -> tuple[str, ...]:
    """Return what an image is of a ClickStack, by its last name; empty if nothing.

    :param image: as in `docker ps`, with registry, tag or digest
    """
    name = image.split("@")[0].rpartition("/")[2].split(":")[0]
    return next((parts for pattern, parts in _IMAGES if re.fullmatch(pattern, name)), ())


def clickstack(listed_containers: Iterable[Json], project: str = "") -> list[Json]:
    """Return the containers that are a ClickStack's, of those that run on a host.

    A Compose project is one if HyperDX or its collector is in it. Of containers that belong to no project, those with
    ClickStack's images are taken.

    :param listed_containers: as `GET /containers/json` of Docker's API lists them
    :param project: the only Compose project to look at; empty for all
    """
    groups: dict[str, list[Json]] = {}
    for one in listed_containers:
        groups.setdefault(str((one.get("Labels") or {}).get("com.docker.compose.project", "")), []).append(one)
    found = []
    for name, members in groups.items():
        if project and name != project:
            continue
        if name:
            parts = {part for one in members for part in components(one["Image"])}
            if project or parts & {APP, COLLECTOR}:
                found += members
        else:
            alone = [one for one in members if set(components(one["Image"])) & {*EVERYTHING}]
            if any(set(components(one["Image"])) & {APP, COLLECTOR} for one in alone):
                found += alone
    return found


def facts(containers: Sequence[Container]) -> Json:
    """Return what other probes need to know: by component its container, image, process, addresses and published ports.

    :param containers: the ClickStack's; of several that are the same, the first counts
    """
    found: Json = {}
    for one in containers:
        networks = one.inspected["NetworkSettings"].get("Networks") or {}
        addresses = {
            name: text
            for name, network in networks.items()
            for text in [network.get("IPAddress") or network.get("GlobalIPv6Address")]
            if text
        }
        if one.settings.get("NetworkMode") == "host":
            addresses = {"host": "127.0.0.1"}
        labels = one.inspected["Config"].get("Labels") or {}
        for part in one.components:
            found.setdefault(
                part,
                {
                    "name": one.name,
                    "service": labels.get("com.docker.compose.service", ""),
                    "project": labels.get("com.docker.compose.project", ""),
                    "image": one.image,
                    "pid": one.inspected["State"].get("Pid", 0),
                    "addresses": addresses,
                    "ports": [
                        {"address": address, "port": port, "target": target} for address, port, target in published(one)
                    ],
                    "clickhouse_user": one.environment.get("CLICKHOUSE_USER", "") if part == COLLECTOR else "",
                    "database": one.environment.get("HYPERDX_OTEL_EXPORTER_CLICKHOUSE_DATABASE", "")
                    if part == COLLECTOR
                    else "",
                },
            )
    return found


def published(container: Container) -> list[tuple[str, int, str]]:
    """Return address, port of the host, and port of the container of what Docker publishes of it."""
    bindings = container.inspected["NetworkSettings"].get("Ports") or {}
    return sorted(
        {
            (str(one.get("HostIp") or "0.0.0.0"), int(one["HostPort"]), str(target))
            for target, entries in bindings.items()
            for one in entries or ()
        }
    )


# -- containers -------------------------------------------------------------------------------------------------------


def judge_container(one: Container, networks: Mapping[str, Json]) -> list[Json]:
    """Return what is to say of how one container is run.

    :param networks: by name, the networks of the host, as Docker inspects them
    """
    return [judge(one) for judge in _CONTAINER_RULES] + _database_network(one, networks)


def _privileged(one: Container) -> Json:
    return judged(
        "container_privileged",
        one.name,
        not one.settings.get("Privileged"),
        "It is not privileged.",
        "It is privileged: its root is the host's.",
    )


def _namespaces(one: Container) -> Json:
    kinds = {"PidMode": "pid", "IpcMode": "ipc", "UTSMode": "uts", "NetworkMode": "network", "UsernsMode": "user"}
    shared = [name for key, name in kinds.items() if one.settings.get(key) == "host"]
    return judged(
        "container_namespaces",
        one.name,
        not shared,
        "It has namespaces of its own.",
        f"It shares the host's namespaces: {listed(shared)}.",
    )


def _capabilities(one: Container) -> Json:
    dropped = {_capability(name) for name in one.settings.get("CapDrop") or ()}
    added = {_capability(name) for name in one.settings.get("CapAdd") or ()}
    wrong = []
    if "ALL" not in dropped:
        wrong.append("Docker's default capabilities are not dropped")
    if added - _ADDABLE:
        wrong.append(f"it is given {listed(sorted(added - _ADDABLE))}")
    return judged(
        "container_capabilities",
        one.name,
        not wrong,
        f"All capabilities are dropped; added: {listed(sorted(added)) or 'none'}.",
        sentence(wrong),
    )


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _no_new_privileges(one: Container) -> Json:
    options = [text.replace("=", ":") for text in one.settings.get("SecurityOpt") or ()]
    is_set = any(text in ("no-new-privileges", "no-new-privileges:true") for text in options)
    return judged(
        "container_no_new_privileges",
        one.name,
        is_set,
        "no-new-privileges is set.",
        "no-new-privileges is not set: a setuid program in it can become root.",
    )


def _read_only(one: Container) -> Json:
    return judged(
        "container_read_only",
        one.name,
        bool(one.settings.get("ReadonlyRootfs")),
        "Its root file system is read-only.",
        "Its root file system can be written to.",
    )


def _user(one: Container) -> Json:
    said = str(one.inspected["Config"].get("User") or "")
    ids = sorted({process.user_id for process in one.processes if process.user_id >= 0})
    if not ids:
        is_root = said.split(":", maxsplit=1)[0] in ("", "0", "root")
        return judged("container_user", one.name, not is_root, f"It runs as {said}.", "Its user is root.")
    return judged(
        "container_user",
        one.name,
        0 not in ids,
        f"Its processes run as {listed(ids)}.",
        f"Processes in it run as root (their users: {listed(ids)}).",
    )


def _memory(one: Container) -> Json:
    limit = int(one.settings.get("Memory") or 0)
    return judged(
        "container_memory",
        one.name,
        limit > 0,
        f"Its memory is limited to {limit >> 20} MiB.",
        "Its memory is not limited: it can take all of the host's.",
    )


def _cpus(one: Container) -> Json:
    limit = int(one.settings.get("NanoCpus") or 0) / 1e9
    quota = int(one.settings.get("CpuQuota") or 0)
    if quota > 0:
        limit = quota / (int(one.settings.get("CpuPeriod") or 0) or 100_000)
    return judged(
        "container_cpus", one.name, limit > 0, f"It is limited to {limit:g} CPUs.", "Its CPUs are not limited."
    )


def _pids(one: Container) -> Json:
    limit = int(one.settings.get("PidsLimit") or 0)
    return judged(
        "container_pids",
        one.name,
        limit > 0,
        f"It may have {limit} processes.",
        "Its number of processes is not limited.",
    )


def _docker_socket(one: Container) -> Json:
    mounted = [
        str(mount.get("Source"))
        for mount in one.inspected.get("Mounts") or ()
        if re.search(
            r"(docker|containerd|podman|crio)\.sock$|^/var/run/?$|^/run/?$|^/$", str(mount.get("Source") or "")
        )
        and mount.get("Type") == "bind"
    ]
    return judged(
        "container_docker_socket",
        one.name,
        not mounted,
        "No socket of a container engine is mounted.",
        f"{listed(mounted)} of the host is mounted: who is in the container commands the host.",
    )


def _seccomp(one: Container) -> Json:
    options = [text.replace("=", ":") for text in one.settings.get("SecurityOpt") or ()]
    unconfined = [text for text in options if text in ("seccomp:unconfined", "apparmor:unconfined")]
    modes = [process.seccomp for process in one.processes if process.seccomp >= 0]
    wrong = [f"security_opt says {text}" for text in unconfined]
    if 0 in modes:
        wrong.append("a process runs without a seccomp filter (/proc/<pid>/status: Seccomp 0)")
    return judged(
        "container_seccomp",
        one.name,
        not wrong,
        "Its processes run under a seccomp filter." if modes else "No profile is switched off.",
        f"{listed(wrong)}.",
    )


def _healthcheck(one: Container) -> Json:
    test = (one.inspected["Config"].get("Healthcheck") or {}).get("Test") or []
    is_checked = bool(test) and test[0] != "NONE"
    state = (one.inspected["State"].get("Health") or {}).get("Status", "unknown")
    return judged(
        "container_healthcheck",
        one.name,
        is_checked,
        f"It has a health check; it is {state}.",
        "It has no health check.",
    )


def _log_rotation(one: Container) -> Json:
    log = one.settings.get("LogConfig") or {}
    driver, options = str(log.get("Type", "")), log.get("Config") or {}
    is_limited = driver != "json-file" or bool(options.get("max-size"))
    return judged(
        "container_log_rotation",
        one.name,
        is_limited,
        f"Its log driver is {driver}{' with max-size ' + options['max-size'] if options.get('max-size') else ''}.",
        "Its log is a json-file without max-size, which fills the disk.",
    )


def _image_tag(one: Container) -> Json:
    if "@sha256:" in one.image:
        return observe("container_image_tag", one.name, PASS, f"{one.image} is pinned by its digest.")
    last = one.image.rpartition("/")[2]
    tag = last.partition(":")[2]
    if re.fullmatch(r"(sha256:)?[0-9a-f]{12,64}", one.image):
        return observe("container_image_tag", one.name, PASS, "It was started by its image's id.")
    return judged(
        "container_image_tag",
        one.name,
        bool(re.match(r"v?\d+\.\d+", tag)),
        f"{one.image} names a version.",
        f"{one.image} moves: the next pull may bring another {tag or 'latest'}.",
    )


def _restart(one: Container) -> Json:
    policy = str((one.settings.get("RestartPolicy") or {}).get("Name") or "no")
    return judged(
        "container_restart",
        one.name,
        policy != "no",
        f"Its restart policy is {policy}.",
        "It has no restart policy: it stays down after a crash or a reboot.",
    )


_CONTAINER_RULES: tuple[Callable[[Container], Json], ...] = (
    _privileged, _namespaces, _capabilities, _no_new_privileges, _read_only, _user, _memory, _cpus, _pids,
    _docker_socket, _seccomp, _healthcheck, _log_rotation, _image_tag, _restart,
)  # fmt: skip


def _database_network(one: Container, networks: Mapping[str, Json]) -> list[Json]:
    if not set(one.components) & set(DATABASES):
        return []
    names = list(one.inspected["NetworkSettings"].get("Networks") or {})
    if one.settings.get("NetworkMode") == "host":
        names = ["host"]
    outward = [name for name in names if not (networks.get(name) or {}).get("Internal")]
    return [
        judged(
            "container_database_network",
            one.name,
            not outward,
            f"It is in internal networks only: {listed(names) or 'none'}.",
            f"It is in networks that lead outside: {listed(outward)}.",
        )
    ]


def judge_published(one: Container, declared: Iterable[int]) -> Json:
    """Return whether Docker publishes ports of a container that nobody declared, on other addresses than loopback.

    :param declared: ports of the host that shall be open
    """
    known = set(declared)
    wrong = [
        f"{address}:{port}"
        for address, port, _target in published(one)
        if port not in known and not address.startswith("127.") and address != "::1"
    ]
    return judged(
        "docker_published",
        one.name,
        not wrong,
        "Docker publishes nothing of it that is not declared.",
        f"Docker publishes {listed(wrong)}, past ufw and other rules of the host's INPUT chain.",
    )


# -- the processes' environment ---------------------------------------------------------------------------------------


def judge_app(one: Container) -> list[Json]:
    """Return what HyperDX' environment says of its session secret, its address, its log and its usage statistics."""
    environment = one.environment
    if not one.processes:
        return [
            observe(probe, one.name, ERROR, "The environment of its processes cannot be read: the probe needs root.")
            for probe in ("session_secret", "frontend_url", "hyperdx_log_level", "usage_statistics")
        ]
    secret = environment.get("EXPRESS_SESSION_SECRET", "")
    wrong = ""
    if not secret:
        wrong = "EXPRESS_SESSION_SECRET is not set, so sessions are signed with a constant that everybody can read."
    elif secret.startswith(PUBLIC_SESSION_SECRET.rpartition(" ")[0]):
        wrong = "EXPRESS_SESSION_SECRET is the public constant of HyperDX' source: anybody can sign a session."
    elif len(secret) < SHORTEST_SESSION_SECRET:
        wrong = f"EXPRESS_SESSION_SECRET has {len(secret)} characters, fewer than {SHORTEST_SESSION_SECRET}."
    url = environment.get("FRONTEND_URL", "")
    stats = environment.get("USAGE_STATS_ENABLED", "")
    return [
        judged(
            "session_secret",
            one.name,
            not wrong,
            f"EXPRESS_SESSION_SECRET is set, is not the public constant, and has {len(secret)} characters.",
            wrong,
        ),
        judged(
            "frontend_url",
            one.name,
            url.startswith("https://"),
            f"FRONTEND_URL is {url}, so cookies are marked Secure.",
            f"FRONTEND_URL is {url or 'not set'}, so the session cookie goes over plain HTTP.",
        ),
        judge_log_level(one),
        judged(
            "usage_statistics",
            one.name,
            stats.lower() == "false",
            "USAGE_STATS_ENABLED is false.",
            f"USAGE_STATS_ENABLED is {stats or 'not set'}: HyperDX reports table sizes and users to its makers.",
        ),
    ]


def judge_log_level(one: Container) -> Json:
    """Return whether a container's HYPERDX_LOG_LEVEL is one at which it does not log whole messages."""
    level = one.environment.get("HYPERDX_LOG_LEVEL", "")
    return judged(
        "hyperdx_log_level",
        one.name,
        level.lower() not in ("debug", "trace", "silly", "verbose"),
        f"HYPERDX_LOG_LEVEL is {level or 'not set'}.",
        f"HYPERDX_LOG_LEVEL is {level}: whole OpAMP messages are logged, with what is secret in them.",
    )


def judge_collector(one: Container) -> list[Json]:
    """Return what a collector's environment says of its way to ClickHouse, and of its log."""
    if not one.processes:
        return [
            observe(probe, one.name, ERROR, "The environment of its processes cannot be read: the probe needs root.")
            for probe in ("collector_clickhouse_tls", "collector_clickhouse_user")
        ]
    endpoint = one.environment.get("CLICKHOUSE_ENDPOINT", "")
    shown = _URL_PASSWORD.sub(lambda found: found.group().split("//")[0] + "//********@", endpoint)
    shown = re.sub(r"(password=)[^&\s]+", r"\1********", shown)
    user = one.environment.get("CLICKHOUSE_USER", "")
    found = [judge_log_level(one)]
    if not endpoint:
        reason = "CLICKHOUSE_ENDPOINT is not set: where it writes to is said elsewhere."
        return [
            *found,
            observe("collector_clickhouse_tls", one.name, NOT_APPLICABLE, reason),
            observe("collector_clickhouse_user", one.name, NOT_APPLICABLE, reason),
        ]
    return [
        *found,
        judged(
            "collector_clickhouse_tls",
            one.name,
            is_tls_endpoint(endpoint),
            f"CLICKHOUSE_ENDPOINT is {shown}.",
            f"CLICKHOUSE_ENDPOINT is {shown}: telemetry and password cross the network in plain text.",
        ),
        judged(
            "collector_clickhouse_user",
            one.name,
            user not in ("", "default"),
            f"It writes as {user}.",
            f"CLICKHOUSE_USER is {user or 'not set, which means default'}.",
        ),
    ]


def is_tls_endpoint(endpoint: str) -> bool:
    """Return whether CLICKHOUSE_ENDPOINT means TLS with a verified certificate, to clickhouse-go (fromDSN)."""
    scheme, _separator, rest = endpoint.partition("://")
    query = rest.partition("?")[2]
    values = dict(parted(query.split("&")))
    is_true = {name: values.get(name, "false").lower() in ("1", "t", "true", "") for name in ("secure", "skip_verify")}
    return (scheme == "https" or (scheme in ("tcp", "clickhouse") and is_true["secure"])) and not is_true["skip_verify"]


def judge_environment_secrets(one: Container) -> Json:
    """Return whether `docker inspect` shows secrets in a container's environment; names are said, no values."""
    names = [name for name, value in parted(one.inspected["Config"].get("Env") or ()) if is_secret(name, value)]
    return judged(
        "environment_secrets",
        one.name,
        not names,
        "`docker inspect` shows no secret in its environment.",
        f"`docker inspect` shows {listed(sorted(names))}.",
    )


def is_secret(name: str, value: str) -> bool:
    """Return whether a variable holds a secret, by its name or by a password within its value."""
    text = value.strip().strip("\"'")
    if not text or text.startswith("/run/secrets/"):
        return False
    if _URL_PASSWORD.search(text) or _JSON_PASSWORD.search(text):
        return True
    is_named = _SECRET_NAME.search(name) and not _NOT_SECRET_NAME.search(name)
    return bool(is_named) and text.lower() not in ("true", "false", "0", "1")


# -- files ------------------------------------------------------------------------------------------------------------


def secrets_in_text(text: str) -> list[str]:
    """Return the names of what is written out as a secret in a Compose file or .env: NAME: value and NAME=value.

    References (${NAME}) hold no secret, unless they have a default. Of `{NAME: value}` each entry is looked at.

    :param text: the file's content
    """
    found = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        stripped = re.sub(r"\s+#.*$", "", line.strip()).removeprefix("- ")
        flow = re.match(r"[\w-]+:\s+\{(.*)\}$", stripped)
        for entry in flow.group(1).split(",") if flow else [stripped]:
            match = re.match(r"([A-Za-z_][A-Za-z0-9_]*)\s*(?::\s+|=)\s*(.+)$", entry.strip().strip("\"'"))
            if match and is_secret(match.group(1), _resolved(match.group(2))):
                found.append(match.group(1))
    return found


def _resolved(value: str) -> str:
    """A value without its references, and with the defaults that they have."""
    text = value.strip().strip("\"'")
    text = re.sub(r"\$\{[A-Za-z_]\w*(:?[?+][^}]*)?\}|(?<!\$)\$[A-Za-z_]\w*", "", text)
    return re.sub(r"\$\{[A-Za-z_]\w*:?-([^}]*)\}", r"\1", text)


def judge_modes(files: Mapping[str, int]) -> list[Json]:
    """Return whether files are readable by others than their owner and group.

    :param files: by path, the permission bits
    """
    if not files:
        return [observe("file_modes", "host", NOT_APPLICABLE, "No secrets, keys, .env or Compose files were found.")]
    wrong = [f"{path} ({mode:04o})" for path, mode in sorted(files.items()) if mode & 0o007]
    return [
        judged(
            "file_modes",
            "host",
            not wrong,
            f"None of {len(files)} files can be read by others.",
            f"Others can read {listed(wrong)}.",
        )
    ]


def judge_compose_files(found: Mapping[str, Sequence[str]]) -> list[Json]:
    """Return whether secrets are written out in Compose files or .env.

    :param found: by path, the names that hold one
    """
    if not found:
        return [observe("compose_secrets", "host", NOT_APPLICABLE, "No Compose file was found.")]
    return [
        judged(
            "compose_secrets",
            path,
            not names,
            "No secret is written out in it.",
            f"Secrets are written out in it: {listed(sorted(set(names)))}.",
        )
        for path, names in sorted(found.items())
    ]
