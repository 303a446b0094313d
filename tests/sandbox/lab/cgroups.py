"""The control groups of a lab: the only thing of it that the kernel does not end with its last process."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "hardened-lab-"


def hierarchies() -> list[Path]:
    """Return where the hierarchies of control groups are mounted: one (v2), or one for each controller and v2 (v1)."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(path for path in ROOT.iterdir() if (path / "cgroup.procs").exists())


def enter(name: str, pid: int) -> None:
    """Make the control group ``name`` (a path below the root) in each hierarchy, and move a process into it."""
    for hierarchy in hierarchies():
        group = hierarchy
        for part in Path(name).parts:
            if group != hierarchy and (group / "cgroup.controllers").exists():
                # What v2 gives to our group we hand on; the root of the hierarchy is the machine's matter.
                controllers = (group / "cgroup.controllers").read_text().split()
                (group / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))
            group /= part
            group.mkdir(exist_ok=True)
            # A new group of cpuset has no processors and no memory until it is told.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if hierarchy.name == "cpuset":
                    (group / file).write_text((group.parent / file).read_text())
        (group / "cgroup.procs").write_text(str(pid))


def remove(name: str) -> None:
    """Remove the control group and all below it. What still has processes stays, for the next to sweep."""
    for hierarchy in hierarchies():
        for folder, _folders, _files in os.walk(hierarchy / name, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                continue


def sweep() -> None:
    """Remove the control groups of labs whose keeper was killed before it could."""
    names = {path.name for hierarchy in hierarchies() for path in hierarchy.glob(f"{PREFIX}*")}
    for name in names:
        if not Path("/proc", name.removeprefix(PREFIX)).exists():
            remove(name)
