"""The stand-ins for ClickStack's images refuse what the real ones could not work with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sandbox.lab import Host
from tests.sandbox.lab.images import IMAGES, archives

APP, COLLECTOR, CLICKHOUSE, MONGODB = (IMAGES[key].names[0] for key in ("app", "otel", "clickhouse", "mongodb"))
CADDY = IMAGES["proxy"].names[0]
APP_ENVIRONMENT = (
    "-e", "EXPRESS_SESSION_SECRET=x", "-e", "FRONTEND_URL=x", "-e", "OTEL_EXPORTER_OTLP_ENDPOINT=x",
    "-e", "MONGO_URI=mongodb://user:word@127.0.0.1:9/hyperdx?authSource=admin",
)  # fmt: skip
READ_ONLY = ("--read-only", "--tmpfs", "/tmp")
REFUSED = {
    "no secret": ((APP,), "EXPRESS_SESSION_SECRET is not set"),
    "another user": (("--user", "0:0", APP), "runs as 0:0, the image's user is 1000:1000"),
    "no static files": ((*APP_ENVIRONMENT, *READ_ONLY, APP), "cannot write __ENV.js"),
    "no database": (
        (*APP_ENVIRONMENT, "--tmpfs", "/app/packages/app/packages/app/.next/cache:uid=1000", APP),
        "cannot connect to 127.0.0.1 port 9",
    ),
    "no place for the supervisor": (
        ("-e", "CLICKHOUSE_ENDPOINT=tcp://127.0.0.1:9", *READ_ONLY, COLLECTOR),
        "cannot write to /etc/otel/supervisor-data",
    ),
    "no ClickHouse": (
        ("-e", "CLICKHOUSE_ENDPOINT=https://127.0.0.1:9?secure=true", COLLECTOR),
        "cannot connect to 127.0.0.1 port 9",
    ),
    "no place for users": (("--user", "101:101", *READ_ONLY, CLICKHOUSE), "cannot write users.d"),
    "a user without a password": (
        ("--user", "101:101", "-e", "CLICKHOUSE_USER=x", CLICKHOUSE),
        "CLICKHOUSE_PASSWORD is not set",
    ),
    "data of nobody": (("--user", "998:998", MONGODB), "runs as 998:998, the image's user is 999:999"),
    "a root user without a password": (
        ("-e", "MONGO_INITDB_ROOT_USERNAME=root", MONGODB),
        "MONGO_INITDB_ROOT_PASSWORD is not set",
    ),
}


@pytest.fixture(scope="module")
def host(new_host: Callable[..., Host]) -> Host:
    """A host that has the stand-ins."""
    made = new_host("images")
    for file in archives():
        made.load(file)
    return made


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_real_image_could_not_work_with_is_refused(host: Host, name: str) -> None:
    arguments, said = REFUSED[name]
    done = host.run("docker", "run", "--rm", "--pull", "never", *arguments, check=False)
    assert done.returncode == 1
    assert said in done.stderr


def test_authorization_over_data_without_users_is_refused(host: Host) -> None:
    """As a takeover with a root user in the environment would do it."""
    credentials = ("-e", "MONGO_INITDB_ROOT_USERNAME=root", "-e", "MONGO_INITDB_ROOT_PASSWORD=x")
    host.docker("run", "--detach", "--name", "first", "--volume", "data:/data/db", MONGODB)
    host.sh("until docker exec first test -e /data/db/WiredTiger; do sleep 0.1; done; docker rm -f first")
    done = host.run("docker", "run", "--rm", "--volume", "data:/data/db", *credentials, MONGODB, check=False)
    assert done.returncode == 1
    assert "authorization is on, and nobody is there who could log in" in done.stderr


def test_started_as_root_the_databases_go_on_as_their_own_users(host: Host) -> None:
    for name, image in (("mongodb", MONGODB), ("clickhouse", CLICKHOUSE)):
        host.docker("run", "--detach", "--init", "--name", name, image)
        users = host.sh(f"sleep 1; docker exec {name} ps -o user,args | grep 'sh .*entrypoint.sh'").splitlines()
        assert users and all(line.startswith(name[:8]) for line in users), users
        host.docker("rm", "-f", name)


def test_caddy_is_not_executed_without_the_capability_that_its_file_carries(host: Host) -> None:
    """Why the role gives it back to this one service."""
    run = ("docker", "run", "--rm", "--pull", "never", "--cap-drop", "ALL")
    refused = host.run(*run, CADDY, "caddy", "version", check=False)
    assert refused.returncode != 0 and "operation not permitted" in refused.stderr
    host.run(*run, "--cap-add", "NET_BIND_SERVICE", CADDY, "caddy", "version")
