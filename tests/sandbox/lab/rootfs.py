"""The root file systems of the lab's hosts: Debian 12 or 13 with systemd, ufw, nftables, their Docker Engine and sshd.

debootstrap makes it, in about a minute, once. What would reach past the host's own namespaces is masked or left out.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .packages import BUILD, MIRROR, Unavailable, made_once

RELEASES = {"bookworm": [], "trixie": ["docker-cli"]}
"""Debian's releases, and what each needs beyond PACKAGES."""
# Without firewalld: it comes with polkit, which cannot be configured where no system bus runs.
PACKAGES = [
    "ca-certificates",
    "curl",
    "dbus",
    "docker.io",
    "iproute2",
    "iptables",
    "iputils-ping",
    "netcat-openbsd",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    # what community.crypto and community.mongodb want where their modules run; debootstrap does not find cffi's by
    # itself, which is asked for by the name of what it provides
    "python3-cffi-backend",
    "python3-cryptography",
    "python3-pymongo",
    # what the module pip wants where it runs
    "python3-packaging",
    "python3-requests",
    "python3-ruamel.yaml",
    # virtual environments, as site makes one for clickhouse-connect
    "python3-venv",
    "systemd",
    "systemd-sysv",
    "ufw",
]
# These act on the machine, not on the host: devices, kernel modules, the clock, kernel settings that have no namespace.
MASKED = [
    "console-getty.service",
    "getty.target",
    "kmod-static-nodes.service",
    "systemd-modules-load.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
]


def rootfs(release: str = "bookworm") -> Path:
    """Return the folder with the root file system of a release of Debian; it is read, never written to.

    Raises Unavailable without root, OSError where debootstrap fails.
    """
    if os.geteuid() != 0:
        raise Unavailable("the lab makes network namespaces and mounts: it needs root")
    # All that decides what comes out and nothing else: a word changed in a comment costs nobody a minute.
    packages = [*PACKAGES, *RELEASES[release]]
    recipe = json.dumps([release, packages, MASKED, inspect.getsource(_debootstrap)])
    folder = BUILD / f"rootfs-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with made_once(folder) as fresh:
        if fresh:
            _debootstrap(fresh, release, packages)
    return folder


def _debootstrap(folder: Path, release: str, packages: Sequence[str]) -> None:
    if not shutil.which("debootstrap"):
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "debootstrap"], check=True)
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, folder, MIRROR],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise OSError(f"debootstrap failed; the end of {log}:\n{log.read_text()[-2000:]}")
    for unit in MASKED:
        (folder / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for path in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(folder / path, ignore_errors=True)
    # The machine's names and resolver, which debootstrap copies: a host of the lab has no way to either.
    (folder / "etc/resolv.conf").write_text("")
    # An identity of its own for each host, made at its first boot.
    (folder / "etc/machine-id").write_text("")
