"""ClickStack's images, under their names, with servers that do what the real ones do.

| image | what is in it |
|---|---|
| ClickHouse | ClickHouse's own server of 25.8, of the chDB wheel; config.xml and users.xml as open as the image's |
| MongoDB | SecantusDB, started by mongod.conf (mongod.py) |
| collector | the real collector and the real OpAMP supervisor (tests/sandbox/otel) |
| app | tests/sandbox/hyperdx_app.py: HyperDX's API as far as the bootstrap and the audit use it, its OpAMP |
| proxy | the real Caddy of Debian, as in ../images.py |

Each starts as its stand-in in ../images.py does, and fails where that one fails. What the real images have and these
have not is in KNOWN_DIFFERENCES.md.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from tests.sandbox.engine import python_of
from tests.sandbox.otel import hyperdx, programs
from tests.sandbox.users_xml import SHIPPED

from .. import images
from ..archive import image_archive
from ..packages import BUILD, made_once
from ..rootfs import rootfs

HERE = Path(__file__).parent
SANDBOX = HERE.parents[1]
ROOT = HERE.parents[3]
PYTHON = '#!/bin/sh\nexec env PYTHONPATH=/opt/sandbox python3 -B {} "$@"\n'
CLICKHOUSE_VERSION = "25.8"

# -- What each container runs: the checks of its stand-in, then the server --------------------------------------------


def _instead_of(script: str, marker: str, command: str) -> str:
    """The script of a stand-in up to a line, and from there on a command. Raises ValueError without such a line."""
    head, found, _rest = script.partition(marker)
    if not found:
        raise ValueError(f"the stand-in has no line {marker!r} any more")
    return f"{head}{command}\n"


# As the real one, it waits for MongoDB, and without a session secret it goes on with a constant that everybody knows.
APP = _instead_of(
    images.APP.replace("has EXPRESS_SESSION_SECRET ", "has ").replace('connects $(endpoint "$MONGO_URI")\n', ""),
    'serves "$HYPERDX_API_PORT"',
    "exec python3 -B -m tests.sandbox.hyperdx_app",
)

SUPERVISOR = """
server: {endpoint: "$OPAMP_SERVER_URL/v1/opamp", tls: {insecure_skip_verify: true}}
capabilities:
  reports_effective_config: true
  reports_health: true
  accepts_remote_config: true
  reports_remote_config: true
agent:
  executable: /usr/bin/otelcontribcol
  config_files: [/etc/otel/config.json$CUSTOM]
  bootstrap_timeout: 30s
storage: {directory: /etc/otel/supervisor-data}
"""
# The exporter makes the tables here, where HyperDX's image has a program for it.
COLLECTOR = _instead_of(
    images.COLLECTOR,
    "listens 4317",
    f"""export HYPERDX_OTEL_EXPORTER_CREATE_LEGACY_SCHEMA=true
export HYPERDX_OTEL_BATCH_TIMEOUT=200ms
CUSTOM="${{CUSTOM_OTELCOL_CONFIG_FILE:+, $CUSTOM_OTELCOL_CONFIG_FILE}}"
cat >/tmp/supervisor.yaml <<END
{SUPERVISOR}END
exec /usr/bin/opampsupervisor --config /tmp/supervisor.yaml""",
)
# What the image's entrypoint writes: the one user of the environment, or a `default` for the container alone.
FIRST_USER = """{
name=${CLICKHOUSE_USER:-default}
networks="<ip>::1</ip><ip>127.0.0.1</ip>"
given="${CLICKHOUSE_USER:-}${CLICKHOUSE_PASSWORD:-}${CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT:-}"
[ -z "$given" ] || networks="<ip>::/0</ip>"
cat <<END
<clickhouse><users><default remove="remove"/><$name replace="replace">
<password>${CLICKHOUSE_PASSWORD:-}</password><networks>$networks</networks><profile>default</profile><quota>default</quota>
<access_management>${CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT:-0}</access_management>
</$name></users></clickhouse>
END
}"""
CLICKHOUSE = _instead_of(
    images.CLICKHOUSE.replace('echo "${CLICKHOUSE_USER:-default}"', FIRST_USER),
    "# a configuration with TLS closes",
    """export CLICKHOUSE_WATCHDOG_ENABLE=0
cd /var/lib/clickhouse
exec python3 -I -B /opt/sandbox/tests/sandbox/server_program.py --config-file=/etc/clickhouse-server/config.xml""",
)
MONGODB = _instead_of(
    images.MONGODB,
    "touch /data/db/WiredTiger",
    'touch /data/db/WiredTiger\nexec python3 -B -m tests.sandbox.lab.stack.mongod "$@"',
)

LOGS = ("query_log", "trace_log", "part_log", "metric_log", "asynchronous_metric_log", "text_log", "error_log")
CONFIG_XML = (
    """<clickhouse>
    <logger><level>warning</level><console>1</console></logger>
    <path>/var/lib/clickhouse/</path><tmp_path>/var/lib/clickhouse/tmp/</tmp_path>
    <user_files_path>/var/lib/clickhouse/user_files/</user_files_path>
    <mark_cache_size>16777216</mark_cache_size>
    <http_port>8123</http_port><tcp_port>9000</tcp_port><mysql_port>9004</mysql_port>
    <postgresql_port>9005</postgresql_port><interserver_http_port>9009</interserver_http_port>
    <openSSL><server><verificationMode>none</verificationMode></server></openSSL>
    <allow_plaintext_password>1</allow_plaintext_password><allow_no_password>1</allow_no_password>
    <custom_settings_prefixes>SQL_</custom_settings_prefixes>
    """
    + "".join(f"<{name}><database>system</database><table>{name}</table></{name}>" for name in LOGS)
    + """
    <user_directories>
        <users_xml><path>/etc/clickhouse-server/users.xml</path></users_xml>
        <local_directory><path>/var/lib/clickhouse/access/</path></local_directory>
    </user_directories>
</clickhouse>
"""
)
UPSTREAM_CONFIG_XML = CONFIG_XML.replace(
    "<openSSL>",
    "<prometheus><endpoint>/metrics</endpoint><port>9363</port><metrics>true</metrics></prometheus><openSSL>",
)
"""The config.xml that upstream's Compose file mounts: metrics for everybody."""
UPSTREAM_USERS_XML = SHIPPED.replace(
    "</users>",
    "".join(
        f"<{name}><password>{name}</password><networks><ip>::/0</ip></networks><profile>default</profile>"
        f"<quota>default</quota></{name}>"
        for name in ("api", "worker")
    )
    + "</users>",
)
"""The users.xml that upstream's Compose file mounts: two more users beside `default`, whose passwords are known."""
LISTEN = """<clickhouse>
    <listen_host>::</listen_host><listen_host>0.0.0.0</listen_host><listen_try>1</listen_try>
</clickhouse>
"""


def _definitions() -> Mapping[str, tuple[images.Image, Callable[[Path], None]]]:
    """By service, its image and what is put into it beside scripts."""
    shipped = images.IMAGES
    path = {"Env": ["PATH=/bin:/usr/bin", "PYTHONPATH=/opt/sandbox"]}

    def changed(name: str, programs: Mapping[str, str], files: Mapping[str, str] | None = None) -> images.Image:
        image = shipped[name]
        config = {**image.config, **path}
        return replace(
            image, config=config, programs={**image.programs, **programs}, files={**image.files, **(files or {})}
        )

    return {
        "app": (changed("app", {"etc/local/entry.sh": APP}), lambda root: _add_python(root, "pymongo")),
        "otel": (changed("otel", {"entrypoint.sh": COLLECTOR}), _add_collector),
        "clickhouse": (
            changed(
                "clickhouse",
                {"entrypoint.sh": CLICKHOUSE},
                {
                    "etc/clickhouse-server/config.xml": CONFIG_XML,
                    "etc/clickhouse-server/users.xml": SHIPPED,
                    "etc/clickhouse-server/config.d/docker_related_config.xml": LISTEN,
                },
            ),
            _add_clickhouse,
        ),
        "mongodb": (
            changed("mongodb", {"bin/docker-entrypoint.sh": MONGODB}),
            _add_mongodb,
        ),
    }


def archives() -> list[Path]:
    """Return the archives for Host.load, made once for this recipe.

    Raises Unavailable where there is no Go (the collector) or a package of Debian is gone.
    """
    built = [_archive(name, *definition) for name, definition in _definitions().items()]
    return [*built, images.archive("proxy", images.IMAGES["proxy"])]


def _archive(name: str, image: images.Image, add: Callable[[Path], None]) -> Path:
    # the largest one is not made again for every word that changes in the sandbox
    programs_of = [SANDBOX / "server_program.py"] if name == "clickhouse" else sorted(SANDBOX.rglob("*.py"))
    sources = [
        *sorted(HERE.parent.rglob("*.py")),
        *programs_of,
        *sorted((ROOT / "tests" / "requirements").glob("*.txt")),
    ]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    folder = BUILD / "images" / f"stack-{name}-{digest}"
    with made_once(folder) as fresh:
        if fresh:
            for former in folder.parent.glob(f"stack-{name}-*"):
                if former.name.split(".")[0] not in (folder.name, fresh.name):
                    shutil.rmtree(former)
            root = fresh / "root"
            images._fill(root, image)
            add(root)
            (fresh / "image.tar").write_bytes(image_archive(image.names, root, image.config))
            shutil.rmtree(root)
    return folder / "image.tar"


# -- What is put into them ---------------------------------------------------------------------------------------------


def _add_python(root: Path, *distributions: str) -> None:
    """Debian's Python, packages of this environment with what they require, and the sandbox's programs."""
    debian = rootfs() / "usr"
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy(debian / "bin/python3.11", root / "usr/bin/python3.11")
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "usr/bin/env").symlink_to("/bin/busybox")
    shutil.copytree(
        debian / "lib/python3.11",
        root / "usr/lib/python3.11",
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__", "test", "lib2to3", "config-*"),
    )
    packages = root / "opt/sandbox"
    packages.mkdir(parents=True)
    for distribution in _required(distributions):
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file))).resolve()
            if ".." not in file.parts and file.suffix != ".pyc" and source.is_file():
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, packages / file)
    for source in sorted(SANDBOX.rglob("*.py")):
        target = packages / "tests" / "sandbox" / source.relative_to(SANDBOX)
        target.parent.mkdir(parents=True, exist_ok=True)
        # what the packages import for tests is not in the image
        target.write_text("" if source.name == "__init__.py" else source.read_text())
    _add_libraries(
        root, [root / "usr/bin/python3.11", *root.glob("usr/lib/python3.11/**/*.so"), *packages.rglob("*.so*")]
    )


def _required(names: Iterable[str]) -> list[metadata.Distribution]:
    """The distributions of this environment and all that they require, without extras."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found[name] = metadata.distribution(name)
            waiting += [
                re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0]
                for requirement in found[name].requires or ()
                if "extra ==" not in requirement and "python_version <" not in requirement
            ]
    return list(found.values())


def _add_libraries(root: Path, programs: Iterable[Path]) -> None:
    """The shared libraries of Debian that these are linked to."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    debian = rootfs()
    for name in {*re.findall(r"^\s+([^\s/]+\.so\S*) ", said, re.MULTILINE), "libc.so.6"}:
        source = debian / "usr/lib/x86_64-linux-gnu" / name
        if source.exists() and not name.startswith("ld-linux"):
            (root / "lib/x86_64-linux-gnu").mkdir(parents=True, exist_ok=True)
            shutil.copy(source.resolve(), root / "lib/x86_64-linux-gnu" / name)
    (root / "lib64").mkdir(exist_ok=True)
    shutil.copy((debian / "usr/lib64/ld-linux-x86-64.so.2").resolve(), root / "lib64/ld-linux-x86-64.so.2")


def _program(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # a name of busybox
    path.write_text(text)
    path.chmod(0o755)


def _add_collector(root: Path) -> None:
    """The collector, its supervisor, and the image's own configuration."""
    built = programs.build()
    (root / "usr/bin").mkdir(parents=True)
    for program in (built.collector, built.supervisor):
        shutil.copy(program, root / "usr/bin" / program.name)
    _add_libraries(root, [built.collector, built.supervisor])
    ports = hyperdx.Ports(grpc=4317, http=4318, fluent=24225, health=13133, metrics=8888)
    (root / "etc/otel/config.json").write_text(json.dumps(hyperdx.base(ports)))


def _add_clickhouse(root: Path) -> None:
    """ClickHouse's server, which the wheel holds as a library that Python loads."""
    _add_python(root)
    source = python_of(CLICKHOUSE_VERSION).parents[1] / "lib/python3.11/site-packages"
    target = root / "usr/lib/python3.11/site-packages"
    for name in ("chdb", "chdb.libs"):
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*_3.*.so"))
    _add_libraries(root, [*target.rglob("*.so"), root / "usr/bin/python3.11"])
    _program(root / "bin/wget", PYTHON.format("/opt/sandbox/tests/sandbox/lab/stack/wget.py"))


def _add_mongodb(root: Path) -> None:
    """SecantusDB and a shell that pings."""
    _add_python(root, "secantusdb", "pyyaml")
    _program(root / "bin/mongo", PYTHON.format("-m tests.sandbox.lab.stack.shell"))
