"""The configuration files an engine process is started with: whose rights it enforces.

chDB always runs as `default`, so a user's rights are written as those of `default`: grants as GRANT and REVOKE statements,
settings and constraints in its profile, row policies as filters, a quota. Three stubs, `probe`, `probe_role` and
`probe_profile`, let the engine judge statements that name entities it does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

SHIPPED = """<clickhouse>
    <profiles>
        <default/>
        <readonly><readonly>1</readonly></readonly>
    </profiles>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
            <named_collection_control>1</named_collection_control>
            <show_named_collections>1</show_named_collections>
            <show_named_collections_secrets>1</show_named_collections_secrets>
        </default>
    </users>
    <quotas>
        <default>
            <interval>
                <duration>3600</duration>
                <queries>0</queries><errors>0</errors><result_rows>0</result_rows><read_rows>0</read_rows>
                <execution_time>0</execution_time>
            </interval>
        </default>
    </quotas>
</clickhouse>
"""
"""users.xml as ClickHouse ships it, with access management on."""

# In chDB, as in clickhouse-local, these have other values than in a server
_SERVER_SETTINGS = {"implicit_select": "0", "allow_introspection_functions": "0", "storage_file_read_method": "pread"}


def config(users: Path, directory: Path, cluster: str, display_secrets: bool, timezone: str) -> str:
    """The config.xml of an engine process over `directory` with this users.xml."""
    replica = "<shard><replica><host>localhost</host><port>9000</port></replica></shard>"
    return f"""<clickhouse>
    <logger><level>none</level></logger>
    <path>{escape(str(directory))}/engine/</path>
    <user_directories><users_xml><path>{escape(str(users))}</path></users_xml></user_directories>
    <remote_servers><{cluster}>{replica}</{cluster}></remote_servers>
    <display_secrets_in_show_and_select>{int(display_secrets)}</display_secrets_in_show_and_select>
    <timezone>{timezone}</timezone>
</clickhouse>
"""


def render(rights: Any, overlay: str) -> str:
    """The users.xml that gives `default` these rights, and reading the tables of the database `overlay`."""
    raise NotImplementedError
