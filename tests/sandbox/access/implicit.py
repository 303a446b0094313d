"""What ClickHouse lets a user do beyond its grants: SHOW GRANTS … WITH IMPLICIT
(ContextAccess::addImplicitAccessRights)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rights import END, Element, Rights, Tree, find, level

if TYPE_CHECKING:
    from .control import AccessControl

ENGINES_OF_SOURCES = {
    "FILE": "File Filesystem DeltaLakeLocal IcebergLocal PaimonLocal",
    "URL": "URL",
    "REMOTE": "Distributed Remote RemoteSecure",
    "MONGO": "MongoDB",
    "REDIS": "Redis",
    "MYSQL": "MySQL",
    "POSTGRES": "PostgreSQL MaterializedPostgreSQL",
    "SQLITE": "SQLite",
    "ODBC": "ODBC",
    "JDBC": "JDBC",
    "HDFS": "HDFS IcebergHDFS PaimonHDFS",
    "HIVE": "Hive",
    "KAFKA": "Kafka",
    "NATS": "NATS",
    "S3": "S3 S3Queue COSN DeltaLake DeltaLakeS3 GCS Hudi Iceberg IcebergS3 OSS Paimon PaimonS3",
    "RABBITMQ": "RabbitMQ",
    "AZURE": "AzureBlobStorage AzureQueue DeltaLakeAzure IcebergAzure PaimonAzure",
    "YTSAURUS": "YTsaurus",
    "BIGQUERY": "BigQuery",
    "ARROW FLIGHT": "ArrowFlight",
}
"""Engines that may be used by whoever may read and write the source."""
ONE_EACH = {
    "AZURE": "AzureBlobStorage",
    "S3": "S3",
    "FILE": "File",
    "REMOTE": "Distributed",
    "HDFS": "HDFS",
    "POSTGRES": "PostgreSQL",
}
"""Before 26, one engine for each source."""

OPEN = (
    "aggregate_function_combinators",
    "collations",
    "columns",
    "contributors",
    "current_roles",
    "data_type_families",
    "database_engines",
    "databases",
    "enabled_roles",
    "formats",
    "functions",
    "licenses",
    "one",
    "privileges",
    "quota_usage",
    "settings",
    "table_engines",
    "table_functions",
    "tables",
    "time_zones",
)
"""Tables of `system` that everyone may read (measured on 24.8 and 25.8)."""
OPENED = {
    "users": "SHOW USERS",
    "roles": "SHOW ROLES",
    "row_policies": "SHOW ROW POLICIES",
    "quotas": "SHOW QUOTAS",
    "settings_profiles": "SHOW SETTINGS PROFILES",
}
"""... and those that a privilege opens, wherever it is granted."""


def add_implicit(access: AccessControl, rights: Rights) -> Rights:
    """The rights with what follows from them, and with what everybody may do."""
    result = rights.copy()
    for tree in (result.access, result.option):
        if tree:
            _extend(access, tree)
    result = result.union(Rights(access.privileges))
    select = access.privileges.mask("SELECT")
    if access.options.system_is_open:
        everybody = [Element(select, (name,)) for name in ("system", "information_schema", "INFORMATION_SCHEMA")]
    else:
        mask = access.privileges.mask
        opened = [table for table, privilege in OPENED.items() if rights.largest() & mask(privilege)]
        everybody = [Element(select, ("system", table)) for table in (*OPEN, *opened)]
    result.apply(everybody + _engines(access, result))
    return result


def _extend(access: AccessControl, tree: Tree) -> None:
    """Add to each scope of a tree what its privileges bring along."""
    mask = access.privileges.mask
    for scope in list(tree):  # names above the granted ones get SHOW of their own
        for end in (at + 1 for at, sign in enumerate(scope[:-1]) if sign == END):
            tree.setdefault(scope[:end], find(tree, scope[:end]) & access.privileges.levels[level(scope[:end])])
    tree.setdefault("", 0)
    create_table = mask("CREATE TABLE")
    follows = [
        (create_table, mask("CREATE VIEW")),
        (mask("DROP TABLE"), mask("DROP VIEW")),
        (mask("ALTER TABLE"), mask("ALTER VIEW")),
        (mask("ALTER TTL"), mask("ALTER MATERIALIZE TTL")),
    ]
    columns, tables = access.privileges.column, access.privileges.by_level["TABLE"] | access.privileges.by_level["VIEW"]
    show_columns, show_tables = mask("SHOW COLUMNS"), mask("SHOW TABLES")
    below_tables = show_tables | mask("SHOW DICTIONARIES")
    for scope in sorted(tree, key=lambda key: (level(key), len(key)), reverse=True):
        depth, flags = level(scope), tree[scope]
        inside = flags
        for key, value in tree.items():
            if key.startswith(scope):
                inside |= value
        for cause, effect in follows:
            if flags & cause == cause or (flags & cause and access.release < (26, 0)):
                flags |= effect
        if depth == 0 and inside & create_table:
            flags |= mask("CREATE ARBITRARY TEMPORARY TABLE")
        if depth == 0 and access.release >= (26, 0) and (inside | flags) & mask("CREATE VIEW"):
            flags |= mask("CREATE TEMPORARY VIEW")
        if depth == 0 and flags & mask("SYSTEM RELOAD DICTIONARY"):
            flags |= mask("SYSTEM RELOAD EMBEDDED DICTIONARIES")
        if flags & columns:
            flags |= show_columns
        if flags & tables or (depth <= 2 and flags & show_columns) or (depth == 2 and inside & show_columns):
            flags |= show_tables
        if flags & access.privileges.by_level["DICTIONARY"]:
            flags |= mask("SHOW DICTIONARIES")
        inside |= flags
        if (
            flags & access.privileges.by_level["DATABASE"]
            or (depth <= 1 and flags & below_tables)
            or (depth == 1 and inside & below_tables)
        ):
            flags |= mask("SHOW DATABASES")
        if flags & mask("ALTER DELETE") and flags & mask("SELECT") and depth <= 2:
            flags |= mask("ALTER MOVE PARTITION")
        tree[scope] = flags & access.privileges.levels[depth]


def _engines(access: AccessControl, rights: Rights) -> list[Element]:
    """Table engines: any of them but those that reach a source which the user may not use."""
    privileges = access.privileges
    engine = privileges.mask("TABLE ENGINE")

    def may_use(source: str) -> bool:
        if privileges.sources:
            return rights.contains(Element(privileges.sources, (source,)))
        return rights.contains(Element(privileges.mask(source)))

    if access.release < (26, 0):
        known = [source for source in ENGINES_OF_SOURCES if source not in ("YTSAURUS", "BIGQUERY", "ARROW FLIGHT")]
        if not privileges.sources:
            known = [source for source in known if source not in ("KAFKA", "NATS", "RABBITMQ")]
        forbidden = [ONE_EACH.get(source, ENGINES_OF_SOURCES[source]) for source in known if not may_use(source)]
        return [Element(engine), *(Element(engine, (name,), revoke=True) for name in forbidden)]
    rows = access.engine.rows(
        "SELECT name FROM system.table_engines UNION DISTINCT SELECT name FROM system.database_engines"
    )
    refused = {name for source, names in ENGINES_OF_SOURCES.items() if not may_use(source) for name in names.split()}
    return [Element(engine, (row["name"],)) for row in rows if row["name"] not in refused]
