"""stack_bootstrap's pure parts: what differs, what a source is replaced by, and what HyperDX tells collectors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap import opamp, wanted
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap.api import (
    Answer,
    Api,
    ApiError,
    _told,
)
from tests.sandbox.otel import hyperdx, protobuf

Json = dict[str, Any]
PORTS = hyperdx.Ports(4317, 4318, 24225, 13133, 8888)


# -- The owner's password ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("Aa1.bcdefghi", 0),
        ("Aa1.bcdefgh", 1),
        ("aa1.bcdefghi", 1),
        ("AA1.BCDEFGHI", 1),
        ("Aab.bcdefghi", 1),
        ("Aa1-bcdefghi", 1),
        ("", 4),
    ],
)
def test_what_hyperdx_wants_of_a_password(password: str, missing: int) -> None:
    assert len(wanted.password_problems(password)) == missing


# -- Sources -----------------------------------------------------------------------------------------------------------


def test_what_is_left_out_takes_its_references_along() -> None:
    sources = {"Logs": {"kind": "log", "traceSourceId": "Traces", "metricSourceId": "Metrics"}, "Metrics": None}
    assert wanted.listed(sources) == [{"name": "Logs", "kind": "log", "traceSourceId": "Traces"}]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"Logs": {"kind": "log"}}, []),
        ({"Logs": None}, []),
        ({"Logs": {"kind": "log", "traceSourceId": "There"}}, []),
        ({"Logs": {"kind": "log", "traceSourceId": "Nowhere"}}, ["traceSourceId is Nowhere"]),
        ({"Logs": {"kind": "log", "id": "1", "connection": "x"}}, ["id, connection cannot be given"]),
        ({"Logs": {}, "Traces": {"kind": "traces"}}, ["not None", "not traces"]),
        ({"Logs": "otel_logs"}, ["a dictionary of its fields"]),
    ],
)
def test_wrong_sources_are_named(sources: Json, said: list[str]) -> None:
    problems = list(wanted.source_problems(sources, ["There"]))
    assert len(problems) == len(said) and all(part in problem for part, problem in zip(said, problems, strict=True))


@pytest.mark.parametrize(
    ("current", "asked", "found"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": (1, 2)}),
        ({}, {"a": 2}, {"a": (None, 2)}),
        ({"a": ""}, {"a": None}, {}),
        ({}, {"a": ""}, {}),
        ({"a": "x"}, {"a": None}, {"a": ("x", None)}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {}),
        ({"a": {"x": 1}}, {"a": {"x": 2}}, {"a": ({"x": 1}, {"x": 2})}),
        ({"a": "x"}, {"a": {"x": 2}}, {"a": ("x", {"x": 2})}),
        ({"a": [1, 2]}, {"a": [2, 1]}, {"a": ([1, 2], [2, 1])}),
    ],
)
def test_differences(current: Json, asked: Json, found: Json) -> None:
    assert wanted.differences(current, asked) == found


def test_names_and_ids_of_sources_are_exchanged() -> None:
    there = [{"_id": "1", "name": "Logs", "traceSourceId": "2"}, {"_id": "2", "name": "Traces", "logSourceId": "9"}]
    assert [wanted.named(source, there).get("traceSourceId") for source in there] == ["Traces", None]
    # an id that belongs to no source stays one
    assert wanted.named(there[1], there)["logSourceId"] == "9"
    source = {"name": "Logs", "kind": "log", "traceSourceId": "Traces", "metricSourceId": "Metrics", "section": None}
    assert wanted.resolved(source, {"Traces": "2"}, "7") == {
        "connection": "7",
        "name": "Logs",
        "kind": "log",
        "traceSourceId": "2",
    }
    assert wanted.by_name([{"name": "a", "_id": "1"}, {"name": "a", "_id": "2"}])["a"]["_id"] == "1"


def test_a_session_waits_for_its_trace_source() -> None:
    session = {"kind": "session", "traceSourceId": "Traces"}
    assert not wanted.can_be_created(wanted.resolved(session, {}, "7"))
    assert wanted.can_be_created(wanted.resolved(session, {"Traces": "2"}, "7"))
    assert wanted.can_be_created(wanted.resolved({"kind": "log", "traceSourceId": "Traces"}, {}, "7"))


def test_a_replacement_keeps_what_nobody_asked_about() -> None:
    current = {
        "_id": "1",
        "id": "1",
        "__v": 0,
        "team": "t",
        "createdAt": "now",
        "kind": "metric",
        "section": "Shop",
        "logSourceId": None,
        "bodyExpression": "Body",
        "metricTables": {"gauge": "a", "sum": "b"},
    }
    source = {"kind": "metric", "bodyExpression": "", "metricTables": {"sum": "c"}}
    body = wanted.resolved(source, {}, "7")
    assert wanted.replacement(current, source, body) == {
        "id": "1",
        "kind": "metric",
        "connection": "7",
        "section": "Shop",
        "metricTables": {"gauge": "a", "sum": "c"},
    }
    # of another kind nothing is kept
    other = {"kind": "log"}
    assert wanted.replacement(current, other, wanted.resolved(other, {}, "7")) == {
        "id": "1",
        "kind": "log",
        "connection": "7",
    }


# -- OpAMP -------------------------------------------------------------------------------------------------------------


def test_the_question_is_one_of_an_agent_that_takes_configurations() -> None:
    fields = dict(protobuf.fields(opamp.question()))
    assert isinstance(fields[1], bytes) and len(fields[1]) == 16 and fields[4] == 0b11


@pytest.mark.parametrize(
    ("keys", "is_enforced", "found"), [(["k"], True, True), (["k"], False, False), ([], True, False)]
)
def test_whether_a_collector_wants_a_key(keys: list[str], is_enforced: bool, found: bool) -> None:
    answer = hyperdx.opamp_answer(opamp.question(), hyperdx.remote(PORTS, keys, is_enforced))
    assert opamp.is_enforced(answer) is found


def test_one_open_protocol_is_open() -> None:
    config = hyperdx.remote(PORTS, ["k"])
    del config["receivers"]["otlp/hyperdx"]["protocols"]["http"]["auth"]
    assert opamp.is_enforced(hyperdx.opamp_answer(opamp.question(), config)) is False


def test_what_says_nothing_and_what_is_no_opamp() -> None:
    assert opamp.is_enforced(protobuf.field(1, b"an agent") + protobuf.field(7, 7)) is None
    assert opamp.is_enforced(hyperdx.opamp_answer(opamp.question(), {"receivers": {}})) is None
    for answer in (b"<html>", b"\x1a\xff", b"\x0b"):
        with pytest.raises(ValueError, match=r"."):
            opamp.is_enforced(answer)


# -- HTTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["172.30.80.10:8000", "ftp://host", "http://", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ApiError, match="no address"):
        Api(url, None, 1)


def test_errors_are_told_in_their_own_words() -> None:
    issues = [
        {"type": "Body", "errors": {"issues": [{"path": ["password"], "message": "Too short"}], "name": "ZodError"}}
    ]
    for body, text in (
        (json.dumps(issues), "password: Too short"),
        ('{"error": "invalid"}', "invalid"),
        ('{"message": "no"}', "no"),
        ("Internal Server Error", "Internal Server Error"),
        ("[]", ""),
    ):
        assert _told(Answer(400, {}, [], body.encode())) == text
