"""Create the virtual environments under .build/venv that the Makefile works with.

Usage: environments.py pythons | cores | setup NAME...

``pythons`` lists the interpreters found, ``cores`` the ansible-core versions they allow (and, on standard
error, those they do not), ``setup`` creates what is missing or out of date. Each environment is what its
file in tests/requirements says and nothing else: a stamp holds the hash of that file and of the interpreter,
and an environment whose stamp differs is made anew. Runs on the standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENVS = ROOT / ".build" / "venv"
REQUIREMENTS = ROOT / "tests" / "requirements"
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Environment:
    """One virtual environment: the Python versions it may run on, the best first, and the ansible-core in it."""

    pythons: tuple[str, ...]
    core: str | None = None


# The tools and the sandbox's front run in dev; each engine needs an environment of its own, because one
# process can load only one ClickHouse. The other control nodes are the oldest and the newest ansible-core.
ENVIRONMENTS = {
    "core-2.17": Environment(("3.10", "3.11", "3.12"), core="2.17"),
    "dev": Environment(("3.11", "3.12", "3.13"), core="2.19"),
    "core-2.21": Environment(("3.13", "3.12"), core="2.21"),
    "chdb-26.9": Environment(("3.11", "3.12", "3.13", "3.10")),
    "chdb-25.8": Environment(("3.11", "3.12", "3.13", "3.10")),
    "chdb-25.5": Environment(("3.11", "3.12", "3.13", "3.10")),
    "chdb-24.8": Environment(("3.11", "3.12", "3.10")),
}


def search_path() -> list[str]:
    """Return the folders to look for interpreters in: PATH, with pyenv's shims replaced by what they stand for.

    A shim answers for versions that are not active, and then fails; the folders beside it hold the real ones.
    """
    shims = [folder for folder in os.get_exec_path() if Path(folder).name == "shims"]
    # an environment cannot be made anew by its own interpreter
    own = [folder for folder in os.get_exec_path() if Path(folder).resolve().is_relative_to(VENVS)]
    plain = [folder for folder in os.get_exec_path() if folder not in (*shims, *own)]
    roots = [os.path.dirname(folder) for folder in shims]
    roots += [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
    return list(dict.fromkeys(plain + [found for root in roots if root for found in pyenv_folders(root)]))


def pyenv_folders(root: str) -> list[str]:
    """Return the ``bin`` folders of the Python versions installed under the pyenv root, the newest first."""
    return sorted(glob.glob(os.path.join(root, "versions", "3.*", "bin")), reverse=True)


@functools.cache
def find_pythons() -> dict[str, str]:
    """Return the path of a working interpreter for each supported version that has one.

    One that can make virtual environments by itself (Debian ships ensurepip apart) goes before one that cannot.
    """
    found: dict[str, str] = {}
    for version in SUPPORTED:
        candidates = [path for folder in search_path() if (path := shutil.which(f"python{version}", path=folder))]
        working = [path for path in candidates if runs(path, "pass")]
        able = [path for path in working if runs(path, "import ensurepip, venv")]
        if working:
            found[version] = (able or working)[0]
    return found


def runs(python: str, code: str) -> bool:
    """Return whether the interpreter runs the code without an error."""
    return subprocess.run([python, "-Ic", code], capture_output=True, check=False).returncode == 0


def choose_python(environment: Environment) -> str | None:
    """Return the interpreter to build the environment with, or None where the machine has none for it."""
    return next((find_pythons()[version] for version in environment.pythons if version in find_pythons()), None)


def fingerprint(name: str, python: str) -> str:
    """Return the text that an up-to-date environment carries in its stamp."""
    requirements = (REQUIREMENTS / f"{name}.txt").read_bytes()
    return f"{python} {hashlib.sha256(requirements).hexdigest()}\n"


def create(name: str) -> None:
    """Create the environment, or leave it as it is where its stamp says that it is up to date.

    :raises SystemExit: no interpreter on this machine can run it, or a package cannot be installed
    """
    python = choose_python(ENVIRONMENTS[name])
    if python is None:
        wanted = " or ".join(ENVIRONMENTS[name].pythons)
        sys.exit(f"environment {name} needs Python {wanted}; found: {', '.join(find_pythons()) or 'none'}")
    target, stamp = VENVS / name, VENVS / name / "stamp"
    if stamp.is_file() and stamp.read_text() == fingerprint(name, python):
        return
    started = time.monotonic()
    shutil.rmtree(target, ignore_errors=True)
    with one_at_a_time():
        make_empty(target, python)
    # --no-deps: the file lists everything that belongs in the environment, so nothing unpinned can slip in.
    install = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    install += ["--disable-pip-version-check", "--no-input", "-r", str(REQUIREMENTS / f"{name}.txt")]
    if subprocess.run(install, check=False).returncode:
        sys.exit(f"environment {name}: pip could not install what tests/requirements/{name}.txt lists")
    stamp.write_text(fingerprint(name, python))
    print(f"  ready  {name} on Python {version_of(python)} ({time.monotonic() - started:.0f} s)", flush=True)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Keep two runs of this script from both installing what Python lacks."""
    VENVS.mkdir(parents=True, exist_ok=True)
    with (VENVS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def version_of(python: str) -> str:
    """Return the interpreter's full version."""
    code = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-Ic", code], capture_output=True, text=True, check=True).stdout.strip()


def make_empty(target: Path, python: str) -> None:
    """Create an environment with pip in it.

    Debian ships ensurepip in a package of its own. Without it, a pip that is there anyway fills the
    environment from outside; without that, root installs the package, and everybody else is told to.

    :raises SystemExit: nothing of that is possible
    """
    if runs(python, "import ensurepip"):
        subprocess.run([python, "-m", "venv", str(target)], check=True)
    elif runs(python, "import pip"):
        subprocess.run([python, "-m", "venv", "--without-pip", str(target)], check=True)
        outside = [python, "-m", "pip", "--python", str(target / "bin" / "python"), "install", "--quiet", "pip"]
        subprocess.run(outside, check=True)
    else:
        package = f"{Path(python).name}-venv"
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            sys.exit(f"{python} cannot make virtual environments: install {package} first (apt-get install {package})")
        apt = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        print(f"  installing {package}, which {python} needs", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], env=apt, check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], env=apt, stdout=subprocess.DEVNULL, check=True)
        subprocess.run([python, "-m", "venv", str(target)], check=True)


def link_checkout() -> None:
    """Make the checkout importable as ``ansible_collections.hardened.clickstack`` for unit tests and mypy."""
    link = ROOT / ".build" / "collections" / "ansible_collections" / "hardened" / "clickstack"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)


def print_cores() -> None:
    """Print "core environment" for each ansible-core that can run here, and what is left out on standard error."""
    for name, environment in ENVIRONMENTS.items():
        if environment.core and choose_python(environment):
            print(environment.core, name)
        elif environment.core:
            needed = " or ".join(sorted(environment.pythons))
            print(f"  left out: ansible-core {environment.core}, which needs Python {needed}", file=sys.stderr)


def main() -> None:
    """Run the command given on the command line."""
    match sys.argv[1:]:
        case ["pythons"]:
            print(*(f"{version} {path}" for version, path in find_pythons().items()), sep="\n")
        case ["cores"]:
            print_cores()
        case ["setup", *names] if names:
            link_checkout()
            for name in names:
                create(name)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
