# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys of daemon.json which Docker Engine takes, and what the engine itself does not tell.

Pure. The engine's own word is the trial start (trial.py). The table here says before that which keys can be left out on
an engine, and why; and it knows what no trial shows: keys that are ignored without a word, and what depends on the
host's state. Versions are those of the first release whose configuration structures have the key, or have it no more
(github.com/docker/docker, daemon/config, up to 28; github.com/moby/moby/v2 for 29).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.text import same

_ANY = object()
"""Any value, of a key that is there."""


@dataclass(frozen=True)
class Engine:
    """The installed engine, and what of the host its configuration depends on.

    :param text: its version as it says it, like 20.10.24
    :param in_swarm: whether the host is a node of a swarm
    """

    text: str
    in_swarm: bool = False

    @property
    def version(self) -> tuple[int, int]:
        """The first two numbers of the version.

        :raises ValueError: if it does not begin with two
        """
        found = re.match(r"(\d+)\.(\d+)", self.text)
        if not found:
            raise ValueError(f"{self.text!r} is not the version of a Docker Engine")
        return int(found[1]), int(found[2])

    @property
    def validates(self) -> bool:
        """Whether it has `dockerd --validate`: from 23.0 on (moby#42393)."""
        return self.version >= (23, 0)


@dataclass(frozen=True)
class Rule:
    """Where an engine does not take a key.

    :param key: a key at the top of the file
    :param since: the first version that takes it
    :param until: the first version that does not
    :param value: the only value the rule is about
    :param unless: other keys of the file, and the values with which the engine takes this one
    :param swarm: the rule is about nodes of a swarm only
    :param why: what happens otherwise, after "Docker Engine 26.1 "
    """

    key: str
    why: str
    since: tuple[int, int] = (0, 0)
    until: tuple[int, int] = (10_000, 0)
    value: Any = _ANY
    unless: Mapping[str, Any] = field(default_factory=dict)
    swarm: bool = False

    def forbids(self, document: Mapping[str, Any], engine: Engine) -> bool:
        """Return whether the engine, with the whole document as its file, does not take the key as it is there."""
        if self.key not in document:
            return False
        if self.value is not _ANY and not same(document[self.key], self.value):
            return False
        if self.unless and all(
            key in document and (value is _ANY or same(document[key], value)) for key, value in self.unless.items()
        ):
            return False
        if self.swarm and not engine.in_swarm:
            return False
        return self.since <= engine.version < self.until


def _new(version: tuple[int, int], *keys: str) -> Iterator[Rule]:
    for key in keys:
        yield Rule(key, f"does not know it; {_text(version)} is the first that does", until=version)


def _gone(version: tuple[int, int], instead: str, *keys: str) -> Iterator[Rule]:
    for key in keys:
        yield Rule(key, f"does not know it any more, since {_text(version)}{instead}", since=version)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


RULES: tuple[Rule, ...] = (
    *_new((23, 0), "http-proxy", "https-proxy", "no-proxy", "proxies"),
    *_new((25, 0), "cdi-spec-dirs", "log-format"),
    *_new((28, 0), "bip6", "host-gateway-ips", "ip-forward-no-drop"),
    *_new((28, 2), "allow-direct-routing"),
    *_new((29, 0), "bridge-accept-fwmark", "firewall-backend"),
    *_gone((24, 0), "", "cluster-advertise", "cluster-store", "cluster-store-opts"),
    *_gone((24, 0), "; it is called data-root now", "graph"),
    *_gone((25, 0), "; the unit's OOMScoreAdjust= does it", "oom-score-adjust"),
    *_gone((28, 0), "", "api-cors-header"),
    # Older ones take it for the map that they flatten: {"bridge": ...} inside of it passes for the key `bridge`.
    Rule(
        "default-network-opts",
        "accepts it and ignores it; 24.0 is the first that heeds it",
        until=(24, 0),
    ),
    Rule(
        "ip6tables",
        "takes it only together with experimental: true; from 27.0 on it needs that no more, and is the default",
        until=(27, 0),
        value=True,
        unless={"experimental": True},
    ),
    Rule(
        "seccomp-profile",
        "takes builtin for the name of a file; 23.0 is the first that knows it. Without the key it is the default",
        until=(23, 0),
        value="builtin",
    ),
    # It checks the file before it adds its own defaults to it (moby, Reload in daemon/config/config.go).
    Rule(
        "userland-proxy",
        "starts with it, but refuses every reload; true is the default: leave it out, or set userland-proxy-path too",
        since=(25, 0),
        value=True,
        unless={"userland-proxy-path": _ANY},
    ),
    Rule("live-restore", "does not start with it on a node of a swarm", value=True, swarm=True),
    Rule(
        "firewall-backend",
        "does not start with nftables on a node of a swarm",
        since=(29, 0),
        value="nftables",
        swarm=True,
    ),
)


def refusals(document: Mapping[str, Any], engine: Engine) -> dict[str, str]:
    """Return the keys of a document that the engine does not take, or ignores, each with the reason.

    :param document: what the whole file is going to hold
    :param engine: the engine that is going to read it
    """
    return {
        rule.key: f"Docker Engine {_text(engine.version)} {rule.why}"
        for rule in RULES
        if rule.forbids(document, engine)
    }


RELOADED = frozenset(
    {
        "debug",
        "default-cgroupns-mode",
        "default-ipc-mode",
        "default-runtime",
        "default-shm-size",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
"""What the engine reads again on SIGHUP (moby, daemon/reload.go and reload_unix.go, from 20.10 to 29)."""


def is_reloaded(changed: set[str], after: Mapping[str, Any], engine: Engine) -> bool:
    """Return whether a reload brings these keys into force.

    A key that was taken out is not among them: on a reload the engine keeps what the file does not name.

    :param changed: the keys that differ
    :param after: what the file holds now
    :param engine: the engine that reads it
    """
    return "userland-proxy" not in refusals(after, engine) and all(key in RELOADED and key in after for key in changed)


_SIZE = re.compile(r"(?=.*[1-9])[0-9]+(?:\.[0-9]+)? ?(?:[kmgtp]i?b?|b)?", re.IGNORECASE)
_YES, _NO = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


def bad_log_option(document: Mapping[str, Any]) -> str | None:
    """Return what no engine looks at when it starts, and what then keeps every container from starting.

    Only the names of the options are checked at the start; the values are when a container's log is opened (moby,
    daemon/logger, jsonfilelog and local). Values that are no strings the engine refuses itself.

    :param document: what the file is going to hold
    """
    driver, options = document.get("log-driver", "json-file"), document.get("log-opts", {})
    if driver not in ("json-file", "local") or not isinstance(options, Mapping):
        return None
    size, files, compress = (options.get(key) for key in ("max-size", "max-file", "compress"))
    if isinstance(size, str) and not _SIZE.fullmatch(size):
        return f"log-opts.max-size is {size!r}, which is no size: a number and k, m or g, like 10m"
    if isinstance(files, str) and not re.fullmatch("0*[1-9][0-9]*", files):
        return f"log-opts.max-file is {files!r}, which is no number from 1 on"
    if isinstance(compress, str) and compress not in _YES + _NO:
        return f"log-opts.compress is {compress!r}, which is neither true nor false"
    rotated = int(files) > 1 if isinstance(files, str) else driver == "local"
    if compress in _YES and not (rotated and (size is not None or driver == "local")):
        return "log-opts.compress is true, which needs a max-file of 2 or more, and with json-file a max-size"
    if driver == "local" and compress is None and not rotated:
        return 'log-opts.max-file is 1, and local compresses older files: set compress to "false" too'
    return None


PLACES: dict[str, tuple[str, ...]] = {
    "hosts": ("-H", "--host"),
    "containerd": ("--containerd",),
    "data-root": ("--data-root", "-g", "--graph"),
    "graph": ("--data-root", "-g", "--graph"),
    "exec-root": ("--exec-root",),
    "pidfile": ("-p", "--pidfile"),
}
"""Keys that say where an engine keeps and offers things, with the flags that say so: a trial has places of its own."""

_HOSTS_OWN = ("bridge", "metrics-addr", "storage-driver", "storage-opts", "cpu-rt-period", "cpu-rt-runtime")
"""Keys about what there is only on the host itself: its interfaces, its disk, its control groups."""
_HOSTS_OWN_FLAGS = ("-b", "--bridge", "--metrics-addr", "-s", "--storage-driver", "--storage-opt")
_LOG_DRIVERS = frozenset(
    (
        "awslogs", "fluentd", "gcplogs", "gelf", "journald", "json-file",
        "local", "logentries", "none", "splunk", "syslog",
    )
)  # fmt: skip
"""The log drivers that are part of an engine. Others are plugins, which a trial does not have."""


def for_trial(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document for a start apart from the host: without what only works, or matters, on the host itself.

    :param document: what the file is going to hold
    """
    left_out = {*PLACES, *_HOSTS_OWN, "authorization-plugins"}
    if document.get("log-driver", "json-file") not in _LOG_DRIVERS and isinstance(document["log-driver"], str):
        left_out |= {"log-driver", "log-opts"}
    if document.get("bridge") == "none":
        left_out.remove("bridge")
    return {key: value for key, value in document.items() if key not in left_out}


def flags_for_trial(flags: list[str]) -> list[str]:
    """Return the flags of the service for such a start: without those that for_trial leaves out as keys.

    :param flags: what the service gives the engine on its command line
    """
    dropped = {"--config-file", "--authorization-plugin", *_HOSTS_OWN_FLAGS}
    dropped.update(flag for names in PLACES.values() for flag in names)
    result: list[str] = []
    skip = False
    for flag in flags:
        name, given, _value = flag.partition("=")
        if skip:
            skip = False
        elif name in dropped:
            skip = not given
        elif not any(len(short) == 2 and flag.startswith(short) and flag != short for short in dropped):
            result.append(flag)
    return result


def conflicts(document: Mapping[str, Any], flags: list[str]) -> list[tuple[str, str]]:
    """Return the places that both the file and the service name, as key and flag: with them the engine does not start.

    :param document: what the file is going to hold
    :param flags: what the service gives the engine on its command line
    """
    found = []
    for key, names in PLACES.items():
        for flag in flags:
            name = flag.partition("=")[0]
            short = flag[:2] if not flag.startswith("--") else ""
            if key in document and (name in names or short in names):
                found.append((key, name))
                break
    return found


_SECRET_NAMES = re.compile(r"token|passw|secret|credential|private|api-?key", re.IGNORECASE)
_USER_INFO = re.compile(r"//([^/@\s]+)@")


def secrets(document: Any, name: str = "") -> Iterator[str]:
    """Yield the values in a document that are not to be shown: by the names of their keys, and in addresses.

    :param document: a file's content, or a part of it
    :param name: the key that leads to it
    """
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from secrets(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from secrets(value, name)
    elif isinstance(document, str):
        if document and _SECRET_NAMES.search(name):
            yield document
        for found in _USER_INFO.finditer(document):
            user, colon, password = found[1].partition(":")
            yield password if colon and password else user
