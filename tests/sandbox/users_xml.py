"""The configuration files an engine process is started with: whose rights it enforces.

chDB always runs as `default`, so a user's rights are written as those of `default`: grants as GRANT and REVOKE
statements,
settings and constraints in its profile, row policies as filters, a quota. Three stubs, `probe`, `probe_role` and
`probe_profile`, let the engine judge statements that name entities it does not know.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from .access import SessionRights
from .access.model import Quota, Setting

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

# In chDB, as in clickhouse-local, the first three have other values than in a server. An exception's stack trace,
# which goes
# nowhere here, would cost up to half a second when a process makes its first.
_SERVER_SETTINGS = {
    "implicit_select": "0",
    "allow_introspection_functions": "0",
    "storage_file_read_method": "pread",
    "calculate_text_stack_trace": "0",
}


def config(users: Path, directory: Path, cluster: str, display_secrets: bool, timezone: str) -> str:
    """The config.xml of an engine process over `directory` with this users.xml. What reads from the cluster never
    reaches the engine, which only has to know the cluster's name."""
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


def render(rights: SessionRights, overlay: str) -> str:
    """The users.xml that gives `default` these rights, and reading the tables of the database `overlay`."""
    grants = [_without_grantee(line) for line in rights.grants] + [f"GRANT SELECT ON {overlay}.*"]
    grants.append("GRANT probe_role WITH ADMIN OPTION")  # who may hand out which roles is judged by the model
    filters = {
        ("system", "databases"): f"name != '{overlay}'",
        ("system", "tables"): f"database != '{overlay}'",
        ("system", "columns"): f"database != '{overlay}'",
    }
    for place, condition in rights.row_filters.items():
        filters[place] = f"({filters[place]}) AND ({condition})" if place in filters else condition
    databases: dict[str, list[str]] = {}
    for (database, table), condition in filters.items():
        databases.setdefault(database, []).append(
            f"<table name={quoteattr(table)}><filter>{escape(condition)}</filter></table>"
        )
    policies = "".join(
        f"<database name={quoteattr(database)}>{''.join(tables)}</database>" for database, tables in databases.items()
    )
    plain = "<password></password><networks><ip>::/0</ip></networks><quota>{}</quota>"
    return f"""<clickhouse>
    <profiles><default>{_profile(rights.settings)}</default><probe_profile/></profiles>
    <roles><probe_role/></roles>
    <users>
        <default>{plain.format("default")}<profile>default</profile>
            <grants>{"".join(f"<query>{escape(grant)}</query>" for grant in grants)}</grants>
            <databases>{policies}</databases>
        </default>
        <probe>{plain.format("probe")}<grants><query>GRANT probe_role</query></grants></probe>
    </users>
    <quotas><default>{_quota(rights.quota)}</default><probe/></quotas>
</clickhouse>
"""


def _without_grantee(line: str) -> str:
    """A GRANT or REVOKE as users.xml takes it, without TO or FROM."""
    word = " TO default" if line.startswith("GRANT") else " FROM default"
    head, _other, tail = line.rpartition(word)
    return head + tail


def changeable_in_readonly(settings: list[Setting]) -> frozenset[str]:
    """The settings that may change although the session starts with readonly = 1; empty for any other session.

    chDB refuses CHANGEABLE_IN_READONLY, so such a session starts writable and the server sets readonly itself, after
    these.
    """
    last = {setting.name: setting.writability for setting in settings if setting.writability}
    values = {setting.name: setting.value for setting in settings if setting.value is not None}
    names = frozenset(name for name, writability in last.items() if writability == "CHANGEABLE_IN_READONLY")
    return names if values.get("readonly") == "1" else frozenset()


def _profile(settings: list[Setting]) -> str:
    """The content of a profile: the settings' last values, and their constraints."""
    values = dict(_SERVER_SETTINGS)
    constraints: dict[str, str] = {}
    for setting in settings:
        if setting.value is not None:
            values[setting.name] = setting.value
        limits = "".join(
            f"<{bound}>{escape(value)}</{bound}>"
            for bound, value in (("min", setting.min), ("max", setting.max))
            if value is not None
        )
        if setting.writability == "CONST":
            limits += "<const/>"
        if limits or setting.writability:
            constraints[setting.name] = limits
    if changeable_in_readonly(settings):
        del values["readonly"]
    text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    return (
        text
        + "<constraints>"
        + "".join(f"<{name}>{limits}</{name}>" for name, limits in constraints.items() if limits)
        + "</constraints>"
    )


def _quota(quota: Quota | None) -> str:
    """The content of a quota."""
    if quota is None:
        return ""
    text = "<keyed/>" if quota.keys else ""
    for limits in quota.limits:
        values = "".join(
            f"<{name}>{value:g}</{name}>" if name == "execution_time" else f"<{name}>{int(value)}</{name}>"
            for name, value in limits.max.items()
        )
        randomize = "<randomize>1</randomize>" if limits.randomized else ""
        text += f"<interval><duration>{limits.duration}</duration>{randomize}{values}</interval>"
    return text
