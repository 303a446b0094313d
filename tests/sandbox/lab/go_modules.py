"""Programs that are in no Debian release, built from the Go modules of their projects, by checksum."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .packages import Unavailable


@dataclass(frozen=True)
class GoModule:
    """A version of a Go module, and what to build of it."""

    path: str
    version: str
    checksum: str
    """The hash of the module's files, as go.sum has it."""
    programs: Mapping[str, str]
    """Where each program lies on a root file system, and the folder of its main package in the module."""
    variables: Mapping[str, str]
    """Values that the project's own build puts into string variables of the program (-ldflags -X)."""
    tags: str = ""
    libraries: Path | None = None
    """A folder with C libraries to link, as their Debian packages unpack; without it, the program is pure Go."""


def build(module: GoModule, root: Path) -> None:
    """Build the module's programs, linked statically, into a root file system.

    Dependencies are those that the module itself names, held against its own go.sum. Raises Unavailable, with what the
    tool said, where that does not work here.
    """
    for tool in ("go", "gcc", "pkg-config") if module.libraries else ("go",):
        if not shutil.which(tool):
            raise Unavailable(f"{module.path} is built here, and there is no {tool}")
    source = root / "source"
    source.mkdir()
    try:
        fetched = json.loads(_go(["mod", "download", "-json", f"{module.path}@{module.version}"], source))
        if fetched["Sum"] != module.checksum:
            raise Unavailable(f"{module.path} {module.version} is not what it was: its checksum is {fetched['Sum']}")
        shutil.rmtree(source)
        # A copy, since what Go fetched is read-only, and a main module is what its go.mod and go.sum count for.
        shutil.copytree(fetched["Dir"], source)
        subprocess.run(["chmod", "-R", "u+w", source], check=True)
        for kind in ("mod", "sum"):
            # Docker's CLI has its own names for them, so as not to be taken for a library.
            if not (source / f"go.{kind}").exists():
                (source / f"vendor.{kind}").rename(source / f"go.{kind}")
        linker = ["-s", "-w", *(f"-X {name}={value}" for name, value in module.variables.items())]
        if module.libraries:
            linker += ["-linkmode external", "-extldflags -static"]
        for program, package in module.programs.items():
            (root / program).parent.mkdir(parents=True, exist_ok=True)
            flags = ["-mod=mod", "-buildvcs=false", "-trimpath", f"-tags={module.tags}", f"-ldflags={' '.join(linker)}"]
            _go(["build", *flags, "-o", str(root / program), f"./{package}"], source, module.libraries)
    finally:
        shutil.rmtree(source, ignore_errors=True)


def _go(arguments: list[str], folder: Path, libraries: Path | None = None) -> str:
    environment = {**os.environ, "CGO_ENABLED": "1" if libraries else "0"}
    if libraries:
        environment |= {
            "PKG_CONFIG_LIBDIR": str(libraries / "usr/lib/x86_64-linux-gnu/pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": str(libraries),
            # Go's cache gives back objects with the folder of the libraries that they were first built with.
            "GOCACHE": str(folder / ".cache"),
        }
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"go {' '.join(arguments)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout
