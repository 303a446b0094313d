"""Put the collections that ours works with into .build/companions, where Ansible finds them beside ours.

Usage: companions.py

They come from the `ansible` package on PyPI, of which only these folders are unpacked: the rest is large, and a machine
without a way to a Galaxy server can have them too. A second run does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "12.3.0"
COLLECTIONS = (
    "ansible/posix",
    "community/crypto",
    "community/docker",
    "community/general",
    "community/hashi_vault",
    "community/library_inventory_filtering_v1",
    "community/mongodb",
    "community/sops",
)
COMPANIONS = Path(__file__).resolve().parents[2] / ".build" / "companions"


def main() -> None:
    """Unpack what is missing, or all of it where it is of another version."""
    wanted = f"ansible {VERSION}: {' '.join(COLLECTIONS)}\n"
    stamp = COMPANIONS / "stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(COMPANIONS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
            f"ansible=={VERSION}",
        ]
        subprocess.run(fetch, check=True)
        (wheel,) = Path(folder).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as content:
            folders = tuple(f"ansible_collections/{name}/" for name in COLLECTIONS)
            content.extractall(COMPANIONS, [name for name in content.namelist() if name.startswith(folders)])
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
