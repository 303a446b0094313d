"""What the lab is made of: it is what it should be, or the error says what is wrong. No host is needed here."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.lab import Unavailable, packages
from tests.sandbox.lab.archive import image_archive
from tests.sandbox.lab.go_modules import GoModule, build

PLACE = "s/some/some_1_amd64.deb"
CONTENT = b"a package"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mirror on loopback with one package, and an empty cache; returns where the package lies."""
    package = tmp_path / "mirror/pool/main" / PLACE
    package.parent.mkdir(parents=True)
    package.write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=tmp_path / "mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(packages, "MIRROR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(packages, "BUILD", tmp_path / "build")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield package
        server.shutdown()


def test_a_package_is_fetched_once(mirror: Path) -> None:
    """The second time it comes from the cache."""
    checksum = hashlib.sha256(CONTENT).hexdigest()
    assert packages.fetch(PLACE, checksum).read_bytes() == CONTENT
    mirror.unlink()
    assert packages.fetch(PLACE, checksum).read_bytes() == CONTENT


def test_a_package_that_the_mirror_has_forgotten_is_unavailable(mirror: Path) -> None:
    """Only this is a reason to skip a test."""
    mirror.unlink()
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:\d+/pool/main/s/some/some_1_amd64.deb is there no longer"):
        packages.fetch(PLACE, "0" * 64)


def test_another_file_by_that_name_is_an_error(mirror: Path) -> None:
    """Nothing of it is kept."""
    with pytest.raises(OSError, match=r"some_1_amd64.deb is not the file it was"):
        packages.fetch(PLACE, "0" * 64)
    assert not (packages.BUILD / "packages").exists()


def test_a_mirror_that_cannot_be_asked_is_an_error(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have the package."""
    monkeypatch.setattr(packages, "MIRROR", "http://127.0.0.1:1")
    with pytest.raises(OSError, match=r"some_1_amd64.deb cannot be fetched: .*refused"):
        packages.fetch(PLACE, "0" * 64)


def test_what_is_made_once_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A maker that fails leaves nothing that the next one would take for the whole."""
    with pytest.raises(ZeroDivisionError), packages.made_once(tmp_path / "thing") as fresh:
        assert fresh
        (fresh / "half").touch()
        raise ZeroDivisionError
    assert not (tmp_path / "thing").exists()
    for expected in (["whole"], None):
        with packages.made_once(tmp_path / "thing") as fresh:
            assert (fresh is None) == (expected is None)
            if fresh:
                assert os.listdir(fresh) == []
                (fresh / "whole").touch()
    assert os.listdir(tmp_path / "thing") == ["whole"]


def test_without_go_a_module_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one that needs a C compiler, without one."""
    module = GoModule("example.org/program", "v1.0.0", "h1:", {"usr/bin/program": "."}, {})
    (tmp_path / "go").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"example.org/program is built here, and there is no gcc"):
        build(dataclasses.replace(module, libraries=tmp_path), tmp_path)
    (tmp_path / "go").unlink()
    with pytest.raises(Unavailable, match=r"example.org/program is built here, and there is no go$"):
        build(module, tmp_path)


def test_an_image_is_its_content_and_its_config(tmp_path: Path) -> None:
    """The same bytes each time; files keep their modes and owners, and links their targets."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/program").write_bytes(b"#!")
    (tmp_path / "bin/program").chmod(0o4755)
    (tmp_path / "bin/name").symlink_to("program")
    content = image_archive(["a:1", "b:2"], tmp_path, {"User": "101"})
    os.utime(tmp_path / "bin/program", (1, 1))
    assert image_archive(["a:1", "b:2"], tmp_path, {"User": "101"}) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["a:1", "b:2"]
    config = json.loads(files[manifest["Config"]])
    assert config["config"] == {"User": "101"}
    layer = files[manifest["Layers"][0]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        entries = {entry.name: (entry.mode, entry.uid, entry.linkname) for entry in archive}
    owner = os.getuid()
    assert entries == {
        "bin": (0o755, owner, ""),
        "bin/name": (0o777, owner, "program"),
        "bin/program": (0o4755, owner, ""),
    }
