"""What the tests of compose share: a project made of texts, trimmed as by a task, and Docker Compose as a witness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.exposure import exposed
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.override import override, place
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.project import (
    Project,
    compose_files,
    load,
    read_environment,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import Decision, Rule, decision
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.runner import Disk
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.trim import Trim, trim
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.witness import Compose
from tests.sandbox.lab.packages import Unavailable, unpacked

VERSIONS = ("compose-2.26", "compose-2.40")
KEEP: dict[str, Any] = {"action": "keep"}
KEEP_ALL: dict[str, Any] = {"action": "keep", "target": ["1-65535"]}
"""Keeps what is there, and brings back what was removed."""
REMOVE: dict[str, Any] = {"action": "remove"}


def command(version: str) -> str:
    """The real Docker Compose of a version; a test without it is skipped, and says so."""
    try:
        return str(unpacked(version) / "usr/libexec/docker/cli-plugins/docker-compose")
    except Unavailable as reason:
        pytest.skip(str(reason))


class Folder:
    """A project directory with these files; `names` are its Compose files."""

    def __init__(self, path: Path, names: Sequence[str] | None = None, **environment: str) -> None:
        self.path = path
        self.names = names
        self.first = environment

    def write(self, files: Mapping[str, str]) -> Folder:
        """Put texts into files; line breaks stay as they are."""
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return self

    def texts(self) -> dict[str, str]:
        """What is in the files."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes().decode() for path in files}

    @property
    def arguments(self) -> tuple[str, list[str], dict[str, str]]:
        environment = read_environment(str(self.path), None, self.first, Disk())
        return str(self.path), compose_files(str(self.path), self.names, environment, Disk()), environment

    def load(self) -> Project:
        directory, paths, environment = self.arguments
        return load(directory, paths, environment, Disk())

    def trim(self, rules: Sequence[Mapping[str, Any]] = (), default: Any = None, deletes: bool = False) -> Trim:
        """Trim the files on disk, if the rules can be followed."""
        directory, paths, environment = self.arguments
        return _written(trim(directory, paths, environment, Disk(), *_decisions(rules, default), deletes))

    def override(
        self, name: str, rules: Sequence[Mapping[str, Any]] = (), default: Any = None, deletes: bool = False
    ) -> Trim:
        """Write an override file, if the rules can be followed."""
        environment = read_environment(str(self.path), None, self.first, Disk())
        where = place(str(self.path), self.names, environment, Disk(), str(self.path / name))
        return _written(
            override(str(self.path), where, environment, Disk(), *_decisions(rules, default), deletes),
        )

    def compose(self, version: str, paths: Sequence[str] | None = None) -> Compose:
        """The real Docker Compose on these files, or on those of the project."""
        directory, own, environment = self.arguments
        return Compose([command(version)], directory, paths or own, environment)

    def exposed(self) -> list[dict[str, Any]]:
        """What is exposed to whom."""
        return exposed(self.load())

    def ports(self) -> list[str]:
        """What is exposed, in short."""
        return [
            f"{one['service']} {one['host_ip'] or '*'}:{one['published'] or ''}:{one['target']}/{one['protocol']}"
            for one in self.exposed()
        ]


def _decisions(rules: Sequence[Mapping[str, Any]], default: Any) -> tuple[list[Rule], Decision]:
    made = [Rule.of(f"rules[{index}]", rule) for index, rule in enumerate(rules)]
    return made, decision("default", default, False) if default else Decision("keep", named=False)


def _written(found: Trim) -> Trim:
    for path in found.changed:
        Path(path).write_bytes(found.after[path].encode())
    return found


CLICKSTACK = """\
name: stack
services:
  # ONLY FOR A DEMO
  # proxy:
  #   image: nginx
  #   ports:
  #     - 80:80
  db:
    image: mongo:5
    volumes:
      - .volumes/db:/data/db
    # Publish the database for debugging only.
    # ports:
    #   - 27017:27017
    networks:
      - internal
  otel-collector:
    image: ${REPOSITORY}/collector:${VERSION}
    environment:
      ENDPOINT: 'tcp://ch-server:9000?dial_timeout=10s'
      API_KEY: ${API_KEY}
      PASSWORD: 'written in the file'
    ports:
      - '13133:13133' # health check
      - '24225:24225' # fluentd receiver
      - '4317:4317' # OTLP gRPC receiver
      - '4318:4318' # OTLP http receiver
      - '8888:8888' # metrics
    restart: always
    networks:
      - internal
  app:
    image: ${REPOSITORY}/app:${VERSION}
    ports:
      - ${HYPERDX_API_PORT}:${HYPERDX_API_PORT}
      - ${HYPERDX_APP_PORT}:${HYPERDX_APP_PORT}
    environment:
      FRONTEND_URL: ${APP_URL}:${HYPERDX_APP_PORT}
      STATS: ${STATS:-true}
      # Uncomment the next line for more
      # MORE: 'true'
      CONNECTIONS:
        '[{"name":"Local
        ClickHouse","host":"http://ch-server:8123"}]'
    networks:
      - internal
    depends_on:
      - db
  ch-server:
    image: clickhouse/clickhouse-server
    # ports:
    #   - 8123:8123 # http api
    networks:
      - internal
networks:
  internal:
"""
"""A Compose file with the structures of ClickStack's own."""
CLICKSTACK_ENV = """\
# Used by docker-compose.yml
REPOSITORY=example
VERSION=2
API_KEY=a-secret-of-the-env-file
HYPERDX_API_PORT=8000 #optional (should not be taken by other services)
HYPERDX_APP_PORT=8080
APP_URL=http://localhost
"""
