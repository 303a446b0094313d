"""Build the collection's artifact, hold its contents against what belongs in it, and install it into a fresh path.

Usage: artifact.py

The artifact comes to lie in .build/artifact and the installed collection in .build/installed. Needs the dev
environment. Exits with an error that names every file too many and every file missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
INSTALLED = BUILD / "installed"
GALAXY = BUILD / "venv" / "dev" / "bin" / "ansible-galaxy"

# Everything below these belongs in the artifact, and of the rest of the checkout just these files.
FOLDERS = ("docs", "meta", "playbooks", "plugins", "roles")
FILES = {"CHANGELOG.rst", "LICENSE", "README.md", "changelogs/changelog.yaml"}
GENERATED = {"FILES.json", "MANIFEST.json"}


def wanted_files() -> set[str]:
    """Return the paths that belong in the artifact, of those that git has or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    known = {path for path in listing.stdout.split("\0") if path and (ROOT / path).exists()}
    return GENERATED | FILES | {path for path in known if path.split("/")[0] in FOLDERS}


def build() -> Path:
    """Build the artifact as anybody would, from the checkout, and return its path."""
    shutil.rmtree(BUILD / "artifact", ignore_errors=True)
    galaxy("build", "--output-path", str(BUILD / "artifact"), str(ROOT))
    (artifact,) = (BUILD / "artifact").glob("*.tar.gz")
    return artifact


def install(artifact: Path) -> None:
    """Install the artifact, and nothing else, into a path that holds no other collection.

    The path changes hands at once, so that a playbook which runs meanwhile does not lose its modules.
    """
    fresh, old = BUILD / "installed.fresh", BUILD / "installed.old"
    for path in (fresh, old):
        shutil.rmtree(path, ignore_errors=True)
    galaxy("install", "--no-deps", "--offline", "--collections-path", str(fresh), str(artifact))
    if INSTALLED.exists():
        INSTALLED.rename(old)
    fresh.rename(INSTALLED)
    shutil.rmtree(old, ignore_errors=True)


def galaxy(command: str, *arguments: str) -> None:
    """Run ``ansible-galaxy collection`` with the given command."""
    # The path it installs to is named among the configured ones, or it would warn that playbooks do not look there.
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{INSTALLED}.fresh"}
    subprocess.run([str(GALAXY), "collection", command, *arguments], env=environment, check=True)


def main() -> None:
    """Build, check and install."""
    artifact = build()
    with tarfile.open(artifact) as archive:
        contents = {member.name for member in archive if not member.isdir()}
        folders = {member.name for member in archive if member.isdir()}
    wanted = wanted_files()
    strangers = contents - wanted | {path for path in folders if path.split("/")[0] not in (*FOLDERS, "changelogs")}
    wrong = [f"does not belong in the artifact: {path}" for path in sorted(strangers)]
    wrong += [f"missing from the artifact: {path}" for path in sorted(wanted - contents)]
    if wrong:
        sys.exit("\n".join(wrong))
    install(artifact)
    print(f"{artifact.name}: {len(contents)} files, {artifact.stat().st_size} bytes")


if __name__ == "__main__":
    main()
