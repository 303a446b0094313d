"""stack_otel: what its module decides without a collector. The real one is in tests/roles."""

from __future__ import annotations

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_otel import endpoint


@pytest.mark.parametrize(
    "address",
    [
        "tcp://ch-server:9440?secure=true",
        "tcp://ch-server:9440?dial_timeout=10s&secure=true",
        "clickhouse://ch-server:9440?secure=1",
        "tcp://[fd00::12]:9440/?secure",
        "https://ch-server:8443",
        "https://abc123.eu-central-1.aws.clickhouse.cloud:8443",
        "tcp://abc123.eu-central-1.aws.clickhouse.cloud:9440?secure=true",
    ],
)
def test_addresses_that_both_readers_take_for_tls(address: str) -> None:
    assert endpoint.problems(address, is_tls=True) == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://ch-server:9000", "Add ?secure=true"),
        ("tcp://ch-server:9440?secure=false", "Add ?secure=true"),
        ("clickhouse://ch-server:9440", "Add ?secure=true"),
        ("http://ch-server:8123", "Write https://"),
        ("tcps://ch-server:9440", "do not both understand"),
        ("tls://ch-server:9440?secure=true", "do not both understand"),
        ("ch-server:9440", "do not both understand"),
        ("", "do not both understand"),
        ("https://", "do not both understand"),
        ("https://ch-server", "there is no port"),
        ("tcp://ch-server?secure=true", "there is no port"),
        ("https://ch-server:port", "no address"),
        ("tcp://a:9440,b:9440?secure=true", "no address"),
        ("tcp://a,b:9440?secure=true", "takes one host"),
        ("https://ch-server:8443?skip_verify=true", "skip_verify"),
        ("tcp://ch-server:9440?secure=true&skip_verify", "skip_verify"),
    ],
)
def test_addresses_that_are_refused(address: str, said: str) -> None:
    (problem,) = endpoint.problems(address, is_tls=True)
    assert said in problem


@pytest.mark.parametrize(
    "address",
    [
        "https://otel:hidden-word@ch-server:8443",
        "tcp://ch-server:9440?secure=true&password=hidden-word",
        "tcp://ch-server:9440?secure=true&username=hidden-word",
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(address: str) -> None:
    (problem,) = endpoint.problems(address, is_tls=True)
    assert "CLICKHOUSE_" in problem and "hidden-word" not in problem


def test_plain_text_is_accepted_where_it_is_asked_for() -> None:
    assert endpoint.problems("tcp://ch-server:9000", is_tls=False) == []
    assert endpoint.problems("http://ch-server:8123", is_tls=False) == []
    assert endpoint.problems("tcps://ch-server:9440", is_tls=False)
