"""Stand-ins for ClickStack's images, under their names: busybox and scripts that need what the real ones need.

Each starts the way the real one does (same entrypoint, user, working directory and volumes), fails if something
that the real one relies on is not there (its user, a secret, a path it writes to, a neighbour it connects to at start),
and listens on the ports that the real one opens. They follow the Dockerfiles and entrypoints of hyperdxio/hyperdx,
docker-library/mongo and ClickHouse. The proxies are no stand-ins: they are Debian's Caddy and nginx.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import busybox
from .archive import image_archive
from .packages import BUILD, fetch, made_once
from .rootfs import rootfs

NET_BIND_SERVICE = bytes.fromhex("01000002 00040000 00000000 00000000 00000000")
"""What `setcap cap_net_bind_service=+ep` writes: struct vfs_cap_data, revision 2 (linux/capability.h)."""

LIBRARY = r"""
fail() { echo "stand-in: $*" >&2; exit 1; }
runs_as() { [ "$(id -u):$(id -g)" = "$1" ] || fail "runs as $(id -u):$(id -g), the image's user is $1"; }
has() { for name; do eval "[ -n \"\${$name:-}\" ]" || fail "$name is not set"; done; }
writes() { for path; do touch "$path/.written" || fail "cannot write to $path"; done; }
connects() { nc -w 5 "$1" "$2" </dev/null >/dev/null || fail "cannot connect to $1 port $2"; }
listens() { for port; do nc -ll -p "$port" -e /bin/true & done; }
# a connection string's host and port: what stands between // or @ and the next of / and ?
endpoint() { echo "$1" | sed -E 's|^[a-z+]+://([^/?]*@)?([^:/?]+):([0-9]+).*|\2 \3|'; }
serves() { httpd -f -p "$1" -h "$2" & }
stays() { trap 'trap - TERM; kill 0; exit 0' TERM INT; wait; fail "a server ended"; }
"""

APP = r"""
. /stand-in.sh
runs_as 1000:1000
has EXPRESS_SESSION_SECRET MONGO_URI FRONTEND_URL OTEL_EXPORTER_OTLP_ENDPOINT
[ "$PWD" = /app ] || fail "the working directory is $PWD"
echo "window.__ENV = {};" >./packages/app/packages/app/public/__ENV.js || fail "cannot write __ENV.js"
[ -s ./packages/app/packages/app/public/image-file ] || fail "the static files of the image are gone"
mkdir -p ./packages/app/packages/app/.next/cache
writes /tmp ./packages/app/packages/app/.next/cache
[ -z "${NODE_EXTRA_CA_CERTS:-}" ] || [ -r "$NODE_EXTRA_CA_CERTS" ] || fail "cannot read $NODE_EXTRA_CA_CERTS"
connects $(endpoint "$MONGO_URI")
serves "$HYPERDX_API_PORT" /srv/api
serves "$HYPERDX_APP_PORT" /srv/ui
listens "${HYPERDX_OPAMP_PORT:-4320}"
stays
"""

# The health check of the real image is JavaScript; what matters of it here is the address that it asks.
NODE = r"""
[ "$1" = -e ] || exit 2
address=$(echo "$2" | sed -nE "s|.*'(http://[^']+)'.*|\1|p")
exec wget -q -O /dev/null "$address"
"""

COLLECTOR = r"""
. /stand-in.sh
runs_as 10001:10001
[ "$1" = /opampsupervisor ] || fail "the command is $1"
has CLICKHOUSE_ENDPOINT
writes /tmp /etc/otel/supervisor-data
connects $(endpoint "$CLICKHOUSE_ENDPOINT")
[ -z "${CUSTOM_OTELCOL_CONFIG_FILE:-}" ] || [ -r "$CUSTOM_OTELCOL_CONFIG_FILE" ] || fail "cannot read the custom file"
listens 4317 4318 8888 24225
serves 13133 /srv/health
stays
"""

CLICKHOUSE = r"""
. /stand-in.sh
# as root the real entrypoint gives the directories to its user, and goes on as that
if [ "$(id -u)" = 0 ]; then
    chown -R 101:101 /var/lib/clickhouse /var/log/clickhouse-server
    exec su -p -s /bin/sh clickhouse -c 'exec "$@"' sh "$0" "$@"
fi
runs_as 101:101
if [ -z "${CLICKHOUSE_SKIP_USER_SETUP:-}" ]; then
    echo "${CLICKHOUSE_USER:-default}" >/etc/clickhouse-server/users.d/default-user.xml || fail "cannot write users.d"
    [ -z "${CLICKHOUSE_USER:-}" ] || has CLICKHOUSE_PASSWORD
fi
mkdir -p /var/lib/clickhouse/data || fail "cannot write the data"
date >>/var/lib/clickhouse/data/starts
writes /tmp /var/log/clickhouse-server
# a configuration with TLS closes the other ports; there is no TLS here, but somebody listens
if grep -qs https_port /etc/clickhouse-server/config.d/*.xml; then
    [ -r /certs/tls.crt ] && [ -r /certs/tls.key ] || fail "cannot read the certificate"
    listens 8443 9440
else
    serves 8123 /srv/clickhouse
    listens 9000 9004 9005 9009 9363
fi
stays
"""

# What matters of MongoDB's entrypoint: data that is there is never initialised again, but a root user in the
# environment turns authorization on all the same. Without a user in the data nobody could log in then.
MONGODB = r"""
. /stand-in.sh
if [ "$(id -u)" = 0 ]; then
    chown -R 999:999 /data/db /data/configdb
    exec su -p -s /bin/sh mongodb -c 'exec "$@"' sh "$0" "$@"
fi
runs_as 999:999
[ "$1" = mongod ] || fail "the command is $1"
writes /tmp /data/configdb
if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}${MONGO_INITDB_ROOT_PASSWORD:-}" ]; then
    has MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD
    [ -e /data/db/WiredTiger ] || echo "$MONGO_INITDB_ROOT_USERNAME" >/data/db/users
    [ -s /data/db/users ] || fail "authorization is on, and nobody is there who could log in"
fi
touch /data/db/WiredTiger || fail "cannot write the data"
date >>/data/db/starts
unset MONGO_INITDB_ROOT_USERNAME MONGO_INITDB_ROOT_PASSWORD
listens 27017
stays
"""

MONGO_SHELL = r"""
[ "$1" = --quiet ] || exit 2
for argument; do :; done
[ "$argument" = 'db.adminCommand({ping: 1}).ok' ] || exit 2
exec nc -w 2 127.0.0.1 27017 </dev/null
"""

HEADERS = r"""
printf 'Content-Type: text/plain\r\n\r\n'
env | grep ^HTTP_ | sort
"""


@dataclass(frozen=True)
class Program:
    """A program of Debian: its package (place in the pool and SHA-256), its path, the libraries that it is linked to,
    and the file capability that the official image gives it.
    """

    package: tuple[str, str]
    path: str
    libraries: Sequence[str]
    capability: bytes = b""


@dataclass(frozen=True)
class Image:
    """A stand-in: its references, what the real image's config says, and by path its programs (scripts of the shell),
    its folders (owner, also as group, and mode) and its files; its users; and the real program, if it has one.
    """

    names: Sequence[str]
    config: Mapping[str, object]
    programs: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)
    program: Program | None = None


PUBLIC = "app/packages/app/packages/app/public"
IMAGES = {
    "app": Image(
        ["docker.hyperdx.io/hyperdx/hyperdx:2.36.0", "docker.hyperdx.io/hyperdx/hyperdx:2"],
        {"User": "node", "WorkingDir": "/app", "Entrypoint": ["sh", "/etc/local/entry.sh"]},
        {"etc/local/entry.sh": APP, "bin/node": NODE, "srv/ui/cgi-bin/headers": HEADERS},
        {"app": (1000, 0o755), PUBLIC: (1000, 0o755), "app/packages/app/packages/app/.next": (1000, 0o755)},
        {"srv/api/health": "{}", "srv/ui/index.html": "HyperDX", f"{PUBLIC}/image-file": "of this image"},
        {"node": 1000},
    ),
    "otel": Image(
        [f"docker.clickhouse.com/clickhouse/clickstack-otel-collector:{tag}" for tag in ("2.36.0", "2")],
        {"User": "10001:10001", "Entrypoint": ["/entrypoint.sh", "/opampsupervisor"]},
        {"entrypoint.sh": COLLECTOR},
        {"etc/otel/supervisor-data": (10001, 0o777)},
        {"srv/health/index.html": "{}"},
        {"otel": 10001},
    ),
    "clickhouse": Image(
        ["clickhouse/clickhouse-server:26.5-alpine"],
        {"Entrypoint": ["/entrypoint.sh"], "Volumes": {"/var/lib/clickhouse": {}}},
        {"entrypoint.sh": CLICKHOUSE},
        {
            "var/lib/clickhouse": (101, 0o777),
            "var/log/clickhouse-server": (0, 0o777),
            "etc/clickhouse-server/config.d": (0, 0o777),
            "etc/clickhouse-server/users.d": (0, 0o777),
        },
        {"srv/clickhouse/ping": "Ok.\n", "etc/clickhouse-server/config.d/docker_related_config.xml": "<clickhouse/>"},
        {"clickhouse": 101},
    ),
    "mongodb": Image(
        ["mongo:5.0.32-focal"],
        {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["mongod"], "Volumes": {"/data/db": {}, "/data/configdb": {}}},
        {"bin/docker-entrypoint.sh": MONGODB, "bin/mongo": MONGO_SHELL},
        {"data/db": (999, 0o755), "data/configdb": (999, 0o755)},
        {},
        {"mongodb": 999},
    ),
    "proxy": Image(
        ["caddy:2.10.2-alpine"],
        {
            "Env": ["PATH=/bin:/usr/bin", "XDG_CONFIG_HOME=/config", "XDG_DATA_HOME=/data"],
            "WorkingDir": "/srv",
            "Cmd": ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"],
        },
        folders={"config/caddy": (0, 0o755), "data/caddy": (0, 0o755), "etc/caddy": (0, 0o755)},
        files={"etc/caddy/Caddyfile": ":80\n"},
        program=Program(
            (
                "c/caddy/caddy_2.6.2-5_amd64.deb",
                "383b75bbffeee1d5284a9bddb3628fddc31dd16157d8a3d7b1ad6c77cadc5e73",
            ),
            "usr/bin/caddy",
            ["libzstd.so.1"],
            NET_BIND_SERVICE,
        ),
    ),
}
"""What stack_compose runs by default."""

NGINX_CONF = """
user nginx;
pid /run/nginx.pid;
error_log stderr;
events {}
http {
    access_log /dev/stdout;
    client_body_temp_path /var/cache/nginx/client_temp;
    proxy_temp_path /var/cache/nginx/proxy_temp;
    fastcgi_temp_path /var/cache/nginx/fastcgi_temp;
    uwsgi_temp_path /var/cache/nginx/uwsgi_temp;
    scgi_temp_path /var/cache/nginx/scgi_temp;
    include /etc/nginx/conf.d/*.conf;
}
"""
NGINX = Image(
    ["nginx:1.28-alpine"],
    {"Env": ["PATH=/bin:/usr/sbin"], "Cmd": ["nginx", "-e", "stderr", "-g", "daemon off;"]},
    folders={"etc/nginx/conf.d": (0, 0o755), "var/cache/nginx": (0, 0o755)},
    # where the official build has its places, said for Debian's
    files={"etc/nginx/nginx.conf": NGINX_CONF},
    users={"nginx": 101},
    program=Program(
        (
            "n/nginx/nginx_1.22.1-9+deb12u9_amd64.deb",
            "4e7b52f8b31f26d77ffb5c427c41e36223e81b047242ecfa8dc1d7f939734885",
        ),
        "usr/sbin/nginx",
        ["libcrypt.so.1", "libpcre2-8.so.0", "libssl.so.3", "libcrypto.so.3", "libz.so.1"],
    ),
)


def archives() -> list[Path]:
    """Return the archives of the stand-ins for what stack_compose runs by default, for Host.load.

    Raises Unavailable as packages.fetch and rootfs do.
    """
    return [archive(name, image) for name, image in IMAGES.items()]


def archive(name: str, image: Image) -> Path:
    """Return the archive of a stand-in, made once for this recipe.

    Raises Unavailable as packages.fetch and rootfs do.
    """
    sources = (Path(__file__).with_name(name) for name in ("images.py", "archive.py", "busybox.py"))
    recipe = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    folder = BUILD / "images" / f"{name}-{recipe}"
    with made_once(folder) as fresh:
        if fresh:
            _fill(fresh / "root", image)
            if image.program:
                _add_program(fresh / "root", image.program)
            (fresh / "image.tar").write_bytes(image_archive(image.names, fresh / "root", image.config))
            shutil.rmtree(fresh / "root")
    return folder / "image.tar"


def _fill(root: Path, image: Image) -> None:
    """Write the root file system of a stand-in."""
    for folder in ("bin", "etc", "tmp", "run", "srv"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    busybox.install(root)
    users = {"root": 0, **image.users}
    (root / "etc/passwd").write_text("".join(f"{name}:x:{uid}:{uid}::/:/bin/sh\n" for name, uid in users.items()))
    (root / "etc/group").write_text("".join(f"{name}:x:{uid}:\n" for name, uid in users.items()))
    for path, (uid, mode) in image.folders.items():
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path).chmod(mode)
        os.chown(root / path, uid, uid)
    contents = {
        "stand-in.sh": (LIBRARY, 0o644),
        **{path: (f"#!/bin/sh\n{script}", 0o755) for path, script in image.programs.items()},
        **{path: (text, 0o644) for path, text in image.files.items()},
    }
    for path, (text, mode) in contents.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # a name of busybox
        file.write_text(text)
        file.chmod(mode)
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def _add_program(root: Path, program: Program) -> None:
    """Put a program of Debian there, with its libraries from the lab's Debian."""
    unpacked = BUILD / "unpacked" / Path(program.package[0]).stem
    with made_once(unpacked) as fresh:
        if fresh:
            subprocess.run(["dpkg", "-x", fetch(*program.package), fresh], check=True)
    file = root / program.path
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(unpacked / program.path, file)
    debian = rootfs()
    libraries = (f"lib/x86_64-linux-gnu/{library}" for library in ("libc.so.6", *program.libraries))
    for place in ("lib64/ld-linux-x86-64.so.2", *libraries):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy((debian / "usr" / place).resolve(), root / place)
    if program.capability:
        os.setxattr(file, "security.capability", program.capability)
