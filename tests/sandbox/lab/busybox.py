"""Debian's static busybox: the content of the lab's small images, and one image of nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .archive import image_archive
from .packages import BUILD, made_once, unpacked


def install(root: Path) -> None:
    """Put busybox and its command names into the bin folder of a root file system."""
    program = unpacked("busybox") / "bin/busybox"
    (root / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(program, root / "bin/busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")


def archive() -> Path:
    """Return an archive for Host.load with the image `lab/busybox:1`."""
    folder = BUILD / "images" / "busybox-2"
    with made_once(folder) as fresh:
        if fresh:
            install(fresh / "root")
            (fresh / "root/tmp").mkdir()
            (fresh / "root/tmp").chmod(0o1777)
            image = image_archive(["lab/busybox:1"], fresh / "root", {"Cmd": ["sh"], "Env": ["PATH=/bin"]})
            (fresh / "image.tar").write_bytes(image)
            shutil.rmtree(fresh / "root")
    return folder / "image.tar"
