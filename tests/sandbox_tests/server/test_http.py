"""The HTTP interface: what curl, clickhouse-connect and plain requests meet, beside ClickHouse 25.8's own server."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import zlib

import brotli
import clickhouse_connect
import lz4.frame
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.sandbox import Client, Sandbox, ServerSaid
from tests.sandbox.compression import decode_blocks, encode_blocks

DECODERS = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "xz": lzma.decompress,
    "br": brotli.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
# Header names whose values belong to the server and the moment; that they are there is compared
VARY = {"date", "connection", "keep-alive", "x-clickhouse-summary", "x-clickhouse-query-id"}
VARY.add("x-clickhouse-server-display-name")


@pytest.mark.parametrize("compress", [True, False, "gzip", "zstd", "lz4"])
def test_clickhouse_connect_writes_and_reads(server: Sandbox, compress: bool | str) -> None:
    table = f"default.connect_{str(compress).lower()}"
    client = clickhouse_connect.get_client(
        host="localhost", port=server.https_port, secure=True, ca_cert=server.ca, compress=compress
    )
    client.command(f"CREATE TABLE {table} (a UInt32, s LowCardinality(String), n Nullable(Float64)) ORDER BY a")
    rows = [(i, f"line\n\n{i % 7};", None if i % 2 else 0.5) for i in range(70_000)]
    client.insert(table, rows, column_names=["a", "s", "n"])
    result = client.query(f"SELECT * FROM {table} ORDER BY a")
    assert result.result_rows == rows
    assert [kind.name for kind in result.column_types] == ["UInt32", "LowCardinality(String)", "Nullable(Float64)"]
    assert client.query("SELECT {p:String}", parameters={"p": "a'b\\\t\n😀"}).first_row == ("a'b\\\t\n😀",)
    assert client.query("SELECT 1 WHERE 0").result_rows == []
    with pytest.raises(DatabaseError, match=r"code: 60.*UNKNOWN_TABLE"):
        client.query("SELECT * FROM nosuch")
    client.command(f"DROP TABLE {table}")
    client.close()


def test_curl(server: Sandbox) -> None:
    def curl(*arguments: str) -> str:
        return subprocess.run(
            ["curl", "-sS", *arguments], capture_output=True, text=True, check=True, timeout=30
        ).stdout

    assert curl(f"{server.url}/ping") == "Ok.\n"
    assert curl(server.url) == "Ok.\n"
    assert curl(f"{server.url}/?query=SELECT%201") == "1\n"
    assert curl(server.url, "--data-binary", "SELECT 1 FORMAT CSVWithNames") == '"1"\n1\n'
    assert (
        curl("--cacert", str(server.ca), str(server.https_url), "-u", "default:", "-d", "SELECT user()") == "default\n"
    )
    assert "Code: 62. DB::Exception: Syntax error" in curl(server.url, "-d", "SELEC 1")
    assert curl("--compressed", f"{server.url}/?enable_http_compression=1", "-d", "SELECT 'x'") == "x\n"


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_compression_of_answers(server: Sandbox, name: str) -> None:
    answer = server.session().request("SELECT number FROM numbers(5)", headers={"Accept-Encoding": name})
    assert answer.headers["content-encoding"] == name
    assert DECODERS[name](answer.body) == b"0\n1\n2\n3\n4\n"
    error = server.session().request("SELEC", headers={"Accept-Encoding": name})
    assert DECODERS[name](error.body).startswith(b"Code: 62.")


@pytest.mark.parametrize(
    ("name", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("lz4", lz4.frame.compress),
     ("br", brotli.compress), ("xz", lzma.compress), ("zstd", zstandard.ZstdCompressor().compress)],
)  # fmt: skip
def test_compression_of_requests(server: Sandbox, name: str, encode: object) -> None:
    assert callable(encode)
    answer = server.session().request(encode(b"SELECT 'sent'"), headers={"Content-Encoding": name})
    assert answer.body == b"sent\n"


def test_clickhouse_blocks_both_ways(server: Sandbox, real: Sandbox) -> None:
    for one in (server, real):
        answer = one.session().request("SELECT 'x' FROM numbers(3)", parameters={"compress": "1"})
        assert decode_blocks(answer.body) == b"x\nx\nx\n"
        sent = one.session().request(encode_blocks(b"SELECT 'sent'"), parameters={"decompress": "1"})
        assert sent.body == b"sent\n"


CASES: list[tuple[str, str, str, dict[str, str], dict[str, str]]] = [
    # method, path, body, URL parameters, headers
    ("GET", "/", "", {}, {}),
    ("GET", "/ping", "", {}, {}),
    ("GET", "/replicas_status", "", {}, {}),
    ("GET", "/nosuch", "", {}, {}),
    ("HEAD", "/", "", {"query": "SELECT 1"}, {}),
    ("GET", "/", "", {"query": "SELECT 1"}, {}),
    ("GET", "/", "", {"query": "SELECT 1 FORMAT JSONCompactEachRow"}, {}),
    ("GET", "/", "", {"query": "CREATE DATABASE x"}, {}),
    ("GET", "/", "", {"query": "SELECT 1", "readonly": "0"}, {}),
    ("GET", "/", "", {"query": "SELECT 1", "readonly": "2"}, {}),
    ("GET", "/", "", {"query": "SET readonly = 0"}, {}),
    ("GET", "/", "", {"query": "SELECT getSetting('readonly')"}, {}),
    ("POST", "/", "SELECT getSetting('readonly')", {}, {}),
    ("GET", "/", "", {"query": "SELECT 1", "max_threads": "3", "max_block_size": "7"}, {}),
    ("GET", "/", "", {"query": "SELECT getSetting('max_threads')", "max_threads": "3"}, {}),
    ("GET", "/", "", {"query": "SELECT 1", "nosuch": "1"}, {}),
    ("GET", "/", "", {"query": "SELECT 1", "max_threads": "x"}, {}),
    ("POST", "/", "", {"query": ""}, {}),
    ("POST", "/", "-- nothing", {}, {}),
    ("POST", "/", "SELECT 1; SELECT 2", {}, {}),
    ("POST", "/", "SELECT ';' ; -- end", {}, {}),
    ("POST", "/", "2", {"query": "SELECT 1 +"}, {}),
    ("POST", "/", "SELECT {a:String} || {b:String}", {"param_a": "x", "param_b": "\\t'"}, {}),
    ("POST", "/", "SELECT {a:UInt8}", {"param_a": "x"}, {}),
    ("POST", "/", "SELECT {a:UInt8}", {}, {}),
    ("POST", "/", "SELECT currentDatabase()", {"database": "system"}, {}),
    ("POST", "/", "SELECT currentDatabase()", {}, {"X-ClickHouse-Database": "system"}),
    ("POST", "/", "SELECT 1", {"database": "nosuch"}, {}),
    ("POST", "/", "SELECT 1 AS a", {"default_format": "JSONEachRow"}, {}),
    ("POST", "/", "SELECT 1 AS a", {}, {"X-ClickHouse-Format": "CSVWithNames"}),
    ("POST", "/", "SELECT 1 FORMAT Nosuch", {}, {}),
    ("POST", "/", "SELECT 1", {"default_format": "Nosuch"}, {}),
    ("POST", "/", "SELECT 1", {"query_id": "mine"}, {}),
    ("POST", "/", "SELECT 1", {"wait_end_of_query": "1", "buffer_size": "9", "send_progress_in_http_headers": "0"}, {}),
    ("POST", "/", "SELECT 1 FORMAT Native", {"client_protocol_version": "54405"}, {}),
    ("POST", "/", "SELECT 1 WHERE 0 FORMAT Native", {"client_protocol_version": "54405"}, {}),
    ("POST", "/", "SELECT 1 FORMAT Native", {}, {}),
    ("POST", "/", "SELECT 1 FORMAT Null", {}, {}),
    ("POST", "/", "SELECT 1 INTO OUTFILE '/tmp/never'", {}, {}),
    ("POST", "/", "SELECT * FROM nosuch.nosuch", {}, {}),
    ("POST", "/", "SELECT nosuch()", {}, {}),
    ("POST", "/", "SELECT throwIf(1, 'x', 159::Int16)", {"allow_custom_error_code_in_throwif": "1"}, {}),
    ("POST", "/", "CREATE TABLE default.h (a Int8) ENGINE = Memory", {}, {}),
    ("POST", "/", "(1), (2),\n\n(3)", {"query": "INSERT INTO default.h VALUES"}, {}),
    ("POST", "/", "4\n5\n", {"query": "INSERT INTO default.h FORMAT TSV"}, {}),
    ("POST", "/", 'INSERT INTO default.h (a) SETTINGS async_insert = 0 FORMAT JSONEachRow {"a": 6}', {}, {}),
    ("POST", "/", "INSERT INTO default.h SELECT 7", {}, {}),
    ("POST", "/", "INSERT INTO default.h VALUES ('x')", {}, {}),
    ("POST", "/", "INSERT INTO default.h FORMAT RowBinary \x08", {}, {}),
    ("GET", "/", "", {"query": "SELECT arraySort(groupArray(a)) FROM default.h"}, {}),
    ("POST", "/", "DROP TABLE default.h", {}, {}),
    ("POST", "/", "x", {}, {"Content-Encoding": "nosuch"}),
    ("POST", "/", "x", {"decompress": "1"}, {}),
    ("POST", "/", "SELECT 1", {"session_id": "a", "session_check": "1"}, {}),
    ("POST", "/", "SELECT 1", {"session_id": "a", "session_timeout": "x"}, {}),
    ("POST", "/", "SET max_threads = 3", {"session_id": "b"}, {}),
    ("POST", "/", "SELECT getSetting('max_threads'), getSetting('max_block_size')",
     {"session_id": "b", "max_block_size": "7"}, {}),
    ("POST", "/", "SELECT getSetting('max_threads'), getSetting('max_block_size') < 8", {"session_id": "b"}, {}),
    ("POST", "/", "USE system", {"session_id": "b"}, {}),
    ("POST", "/", "SELECT currentDatabase()", {"session_id": "b"}, {}),
    ("POST", "/", "CREATE TEMPORARY TABLE tt (a Int8)", {"session_id": "b"}, {}),
    ("POST", "/", "INSERT INTO tt VALUES (5)", {"session_id": "b"}, {}),
    ("POST", "/", "SELECT * FROM tt", {"session_id": "b", "close_session": "1"}, {}),
    ("POST", "/", "SELECT * FROM tt", {"session_id": "b"}, {}),
    ("POST", "/", "SELECT 1", {"role": "nosuch"}, {}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]} {case[2] or case[3]}"[:60])
def test_same_as_clickhouse(
    server: Sandbox, real: Sandbox, case: tuple[str, str, str, dict[str, str], dict[str, str]]
) -> None:
    """Status, headers and body are those of 25.8; of an error, code and name (the engines word some messages apart)."""
    method, path, body, parameters, headers = case

    def ask(one: Sandbox) -> tuple[object, ...]:
        answer = one.session().request(body, method=method, path=path, parameters=parameters, headers=headers)
        kept = {name: "" if name in VARY else value for name, value in answer.headers.items()}
        kept["access-control-expose-headers"] = ""  # 26.9 exposes one more, and has it
        kept.pop("x-clickhouse-exception-tag", None)
        content = answer.body
        if "x-clickhouse-exception-code" in kept:
            text = content.decode().rsplit(" (version", 1)[0]
            content = text.rsplit("(", 1)[-1].encode()
            kept["content-type"] = kept["x-clickhouse-format"] = ""  # depends on how far the query got
        return answer.status, kept, content

    assert ask(server) == ask(real)


def test_query_id_and_summary(server: Sandbox) -> None:
    answer = server.session().request("SELECT 1", parameters={"query_id": "mine"})
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    summary = json.loads(answer.headers["x-clickhouse-summary"])
    assert int(summary["elapsed_ns"]) > 0
    assert all(isinstance(value, str) for value in summary.values())


def test_error_text_names_the_version(server: Sandbox) -> None:
    with pytest.raises(ServerSaid) as caught:
        server.session().query("SELECT * FROM system.nosuch")
    assert caught.value.code == 60
    assert caught.value.text.endswith("(UNKNOWN_TABLE) (version 26.9.2.1 (official build))\n")


def test_keep_alive_and_large_answers(server: Sandbox) -> None:
    connection = Client(server.url)
    assert len(connection.query("SELECT repeat('x', 1000) FROM numbers(20000)")) == 20_000 * 1001


def test_every_output_format(server: Sandbox, real: Sandbox) -> None:
    """The Content-Type and X-ClickHouse-Format of every output format that both versions have."""
    ask = [set(one.session().lines("SELECT name FROM system.formats WHERE is_output")) for one in (server, real)]
    differ = []
    for name in sorted(ask[0] & ask[1]):
        answers = [
            one.session().request("SELECT 1 AS a", parameters={"default_format": name}) for one in (server, real)
        ]
        seen = [
            (answer.status, answer.headers["content-type"], answer.headers.get("x-clickhouse-format"))
            for answer in answers
        ]
        if seen[0] != seen[1]:
            differ.append((name, *seen))
    assert not differ
