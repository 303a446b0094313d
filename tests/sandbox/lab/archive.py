"""Images without a registry: archives that `docker load` takes, made of a folder and what the image's config says."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def image_archive(names: Sequence[str], content: Path, config: Mapping[str, object] | None = None) -> bytes:
    """Return an archive in the form of `docker save` with one image of one layer; the same input gives the same bytes.

    ``names``: the image's references, each with its tag (``mongo:5.0.32``). ``content``: the folder that becomes the
    root file system, with the owners and modes that its files have. ``config``: what the image says of its containers,
    with the keys of the OCI image specification's ``config``: User, ExposedPorts, Env, Entrypoint, Cmd, Volumes,
    WorkingDir, Labels, StopSignal; and Docker's own Healthcheck, whose durations are in nanoseconds.

    The form: https://github.com/moby/docker-image-spec, v1.2, "Combined Image JSON + Filesystem Changeset Format".
    """
    layer = _layer(content)
    image = {
        "architecture": "amd64",
        "os": "linux",
        # Docker Compose cannot read what engines from 28 on say of an image without a date.
        "created": "2026-01-01T00:00:00Z",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    described = json.dumps(image, sort_keys=True).encode()
    described_by = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": described_by, "RepoTags": list(names), "Layers": ["layer.tar"]}]
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in (
            (described_by, described),
            ("layer.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return output.getvalue()


def _layer(content: Path) -> bytes:
    """Return the folder as a tar archive that does not depend on when or by what name its files were made."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(content.rglob("*")):
            entry = archive.gettarinfo(path, str(path.relative_to(content)))
            entry.mtime = 0
            entry.uname = entry.gname = ""
            # a file capability, in the form in which Docker's own archives carry it
            with contextlib.suppress(OSError):
                capability = os.getxattr(path, "security.capability", follow_symlinks=False)
                entry.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("ascii")}
            with path.open("rb") if entry.isreg() else io.BytesIO() as data:
                archive.addfile(entry, data)
    return output.getvalue()
