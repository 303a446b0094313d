"""What the users of a ClickStack may and may not do, as queries: shown by the demo, asserted by the integration tests.

The queries and settings are those that the OpenTelemetry collector's ClickHouse exporter and HyperDX 2.36 send.
"""

from __future__ import annotations

from dataclasses import dataclass, field

INGEST_NETWORK = "10.20.0.0/24"
READER_NETWORK = "10.30.0.0/24"
INGEST_ADDRESS = "10.20.0.7"
READER_ADDRESS = "10.30.0.5"
OUTSIDE = "192.0.2.9"

LOGS = """CREATE TABLE IF NOT EXISTS otel.otel_logs (
    Timestamp DateTime64(9), TraceId String, SeverityText LowCardinality(String), ServiceName LowCardinality(String),
    Body String, INDEX idx_body Body TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8
) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, Timestamp)
TTL toDateTime(Timestamp) + INTERVAL 30 DAY"""
ROLLUP = """CREATE TABLE IF NOT EXISTS otel.otel_logs_kv_rollup (Hour DateTime, ServiceName String, Count UInt64)
ENGINE = SummingMergeTree ORDER BY (ServiceName, Hour)"""
ROLLUP_VIEW = """CREATE MATERIALIZED VIEW IF NOT EXISTS otel.otel_logs_kv_rollup_mv TO otel.otel_logs_kv_rollup AS
SELECT toStartOfHour(Timestamp) AS Hour, ServiceName, count() AS Count FROM otel.otel_logs GROUP BY Hour, ServiceName"""
INSERT = "INSERT INTO otel.otel_logs VALUES (now(), 't1', 'INFO', 'checkout', 'order placed')"

HYPERDX_ALWAYS = {
    "allow_experimental_analyzer": "1",
    "date_time_output_format": "iso",
    "wait_end_of_query": "0",
    "cancel_http_readonly_queries_on_client_close": "1",
    "output_format_json_quote_64bit_integers": "1",
    "max_execution_time": "60",
}
"""What HyperDX sends with every query. wait_end_of_query is a parameter of the HTTP interface, not a setting."""
HYPERDX_OPTIMISATIONS = {
    "query_plan_optimize_lazy_materialization": "1",
    "query_plan_max_limit_for_lazy_materialization": "100000",
    "use_skip_indexes_for_top_k": "1",
    "query_plan_max_limit_for_top_k_optimization": "100000",
    "use_skip_indexes_on_data_read": "1",
    "use_skip_indexes_for_disjunctions": "1",
    "enable_full_text_index": "1",
}
"""What it sends beside that, each where system.settings has it."""
HYPERDX_SITUATIONS: dict[str, dict[str, str]] = {
    "looking up keys": {"max_rows_to_read": "3000000", "read_overflow_mode": "break"},
    "looking up keys without a limit": {"max_rows_to_read": "0"},
    "metadata under a time limit": {"timeout_overflow_mode": "break", "max_execution_time": "15"},
    "metadata in two seconds": {"timeout_overflow_mode": "break", "max_execution_time": "2"},
    "values of a field": {"max_rows_to_group_by": "10000", "group_by_overflow_mode": "any"},
    "a page of raw SQL": {"max_result_rows": "1000", "result_overflow_mode": "break"},
    "a raw SQL chart or alert": {"readonly": "2"},
    "an MCP trace tool": {"readonly": "1"},
    "the benchmark page": {"use_query_cache": "0"},
    "a source's own settings": {"max_threads": "2", "optimize_read_in_order": "0"},
}
"""What it sends now and then, by what the user is doing."""

ACCESS_DENIED, READONLY, CONSTRAINT, DDL_PROHIBITED = 497, 164, 452, 392
LOGIN_FAILED, PASSWORD_REQUIRED = 516, 194


@dataclass(frozen=True)
class Case:
    """One thing that somebody tries.

    :param user: ``admin``, ``ingest``, ``reader`` or ``default``
    :param what: what it is, in words
    :param sql: the query
    :param refused: ClickHouse's error codes that count as the right refusal; empty if it must work
    :param settings: what is sent along
    :param address: where it comes from
    """

    user: str
    what: str
    sql: str
    refused: tuple[int, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def is_right(self, code: int) -> bool:
        """Whether this error code (0 for none) is what should come of it."""
        return code in self.refused if self.refused else code == 0


def _ingest(what: str, sql: str, *refused: int, **more: object) -> Case:
    return Case("ingest", what, sql, refused, address=str(more.get("address", INGEST_ADDRESS)))


def _reader(what: str, sql: str, *refused: int, settings: dict[str, str] | None = None, address: str = "") -> Case:
    return Case("reader", what, sql, refused, {**HYPERDX_ALWAYS, **(settings or {})}, address or READER_ADDRESS)


CASES: tuple[Case, ...] = (
    _ingest("create the database at start", "CREATE DATABASE IF NOT EXISTS otel"),
    _ingest("create the table of logs", LOGS),
    _ingest("create a rollup table", ROLLUP),
    _ingest("create its materialized view", ROLLUP_VIEW),
    _ingest("describe the table", "DESCRIBE TABLE otel.otel_logs"),
    _ingest("insert a log line", INSERT),
    _ingest("drop the table", "DROP TABLE otel.otel_logs", ACCESS_DENIED),
    _ingest("delete log lines", "ALTER TABLE otel.otel_logs DELETE WHERE 1", ACCESS_DENIED),
    _ingest("write to another database", "CREATE TABLE default.t (a UInt8) ENGINE = Memory", ACCESS_DENIED),
    _ingest("read the users", "SELECT name FROM system.users", ACCESS_DENIED),
    _ingest("make itself a user", "CREATE USER intruder", ACCESS_DENIED),
    _ingest("pass its rights on", "GRANT SELECT ON otel.* TO otel_ingest", ACCESS_DENIED),
    _ingest("log in from elsewhere", "SELECT 1", LOGIN_FAILED, address=OUTSIDE),
    _reader("search the logs", "SELECT * FROM otel.otel_logs ORDER BY Timestamp DESC LIMIT 100"),
    *(
        _reader(f"{situation}", "SELECT count() FROM otel.otel_logs", settings=settings)
        for situation, settings in HYPERDX_SITUATIONS.items()
    ),
    _reader("list tables", "SELECT name FROM system.tables WHERE database = 'otel'"),
    _reader("list settings", "SELECT count() FROM system.settings"),
    _reader("list table engines", "SELECT count() FROM system.table_engines"),
    _reader("list skip indices", "SELECT count() FROM system.data_skipping_indices WHERE database = 'otel'"),
    _reader("list parts", "SELECT sum(rows) FROM system.parts WHERE database = 'otel'"),
    _reader("describe a table", "DESCRIBE TABLE otel.otel_logs"),
    _reader("show databases", "SHOW DATABASES"),
    _reader("show tables", "SHOW TABLES FROM otel"),
    _reader("explain a query", "EXPLAIN ESTIMATE SELECT count() FROM otel.otel_logs"),
    _reader("ask the version", "SELECT version()"),
    _reader("insert a log line", INSERT, ACCESS_DENIED),
    _reader("drop the table", "DROP TABLE otel.otel_logs", ACCESS_DENIED, DDL_PROHIBITED),
    _reader("create a table", "CREATE TABLE otel.t (a UInt8) ENGINE = Memory", ACCESS_DENIED, DDL_PROHIBITED),
    _reader("create a temporary table", "CREATE TEMPORARY TABLE t (a UInt8)", ACCESS_DENIED, DDL_PROHIBITED),
    _reader("read the users", "SELECT name FROM system.users", ACCESS_DENIED),
    _reader("read a file of the server", "SELECT * FROM file('/etc/passwd', LineAsString)", ACCESS_DENIED),
    _reader("reach into the network", "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)", ACCESS_DENIED),
    _reader("make itself a user", "CREATE USER intruder", ACCESS_DENIED, DDL_PROHIBITED),
    _reader("take more memory", "SELECT 1", CONSTRAINT, settings={"max_memory_usage": "100000000000"}),
    _reader("run for an hour", "SELECT 1", CONSTRAINT, settings={"max_execution_time": "3600"}),
    _reader("allow itself DDL", "SELECT 1", CONSTRAINT, DDL_PROHIBITED, settings={"allow_ddl": "1"}),
    _reader("log in from elsewhere", "SELECT 1", LOGIN_FAILED, address=OUTSIDE),
    Case("admin", "read the users", "SELECT name FROM system.users"),
    Case("admin", "create and drop a user", "CREATE USER short_lived HOST NONE"),
    Case("admin", "drop it again", "DROP USER short_lived"),
    Case("admin", "log in from elsewhere", "SELECT 1", (LOGIN_FAILED,), address=OUTSIDE),
    Case("default", "log in without a password", "SELECT 1", (LOGIN_FAILED, PASSWORD_REQUIRED)),
)
