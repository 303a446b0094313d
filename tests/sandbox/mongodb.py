"""A MongoDB for tests: SecantusDB in a process of its own, on a loopback address, started and ended by the test."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

_PROGRAM = Path(__file__).with_name("mongodb_program.py")


class MongoDB:
    """A running server. Its data in `folder` outlives it, so that another can start on it with other options."""

    def __init__(
        self,
        folder: Path,
        authorization: bool = True,
        pem: Path | str = "",
        authority: Path | str = "",
        replica_set: str = "",
        localhost_exception: bool = False,
        iterations: int = 15000,
        version: str = "8.0.16",
        superuser: tuple[str, Path] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Start it.

        :param folder: where its data lies; made if it is not there
        :param authorization: whether it wants a login (mongod: security.authorization)
        :param pem: key and certificate; empty for no TLS
        :param authority: whom client certificates must come from; empty for no one
        :param replica_set: the set that it waits to be initiated as; empty for a standalone server
        :param localhost_exception: what it says of enableLocalhostAuthBypass; it has no such exception
        :param iterations: of new passwords' hashes (scramSHA256IterationCount)
        :param version: the version that it says it is
        :param superuser: a user with the role root and its password's file, made before it listens, as the image does
        :raises RuntimeError: if it does not come up within 20 seconds
        """
        folder.mkdir(parents=True, exist_ok=True)
        options = {
            "folder": str(folder),
            "authorization": authorization,
            "pem": str(pem),
            "authority": str(authority),
            "replica_set": replica_set,
            "localhost_exception": localhost_exception,
            "iterations": iterations,
            "version": version,
            "superuser": superuser and [superuser[0], str(superuser[1])],
            "host": host,
            "port": port,
        }
        with (folder.parent / f"{folder.name}.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout
        ready, _write, _error = select.select([self._process.stdout], [], [], 20)
        line = self._process.stdout.readline() if ready else ""
        if not line.strip().isdecimal():
            self.close()
            raise RuntimeError(f"SecantusDB did not start: {Path(log.name).read_text()[-2000:]}")
        self.host, self.port = host, int(line)

    def client(self, user: str = "", password: str = "", database: str = "admin", **options: Any) -> Any:
        """A pymongo client, with a login or without."""
        from pymongo import MongoClient

        if user:
            options.update(username=user, password=password, authSource=database, authMechanism="SCRAM-SHA-256")
        options.setdefault("serverSelectionTimeoutMS", 5000)
        return MongoClient(self.host, self.port, directConnection=True, **options)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> MongoDB:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
