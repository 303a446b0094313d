"""The inputs of the access playbook for a sandbox, and tries of what its users may do; for the demo and the tests."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path

from clickhouse_connect import common, get_client
from clickhouse_connect.driver.exceptions import ClickHouseError

from tests.demo import cases


def variables(port: int, ca: Path, users_d: Path) -> dict[str, object]:
    """The inputs of the access playbook, with passwords made up for this run."""
    return {
        "stack_access_login_host": "localhost",
        "stack_access_login_port": port,
        "stack_access_login_ca_cert": str(ca),
        "stack_access_admin_password": secrets.token_urlsafe(24),
        "stack_access_admin_host": {"local": True},
        "stack_access_ingest_password": secrets.token_urlsafe(24),
        "stack_access_ingest_host": {"ip": [cases.INGEST_NETWORK]},
        "stack_access_reader_password": secrets.token_urlsafe(24),
        "stack_access_reader_host": {"ip": [cases.READER_NETWORK]},
        "stack_access_users_d": str(users_d),
    }


def logins(given: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """Name and password of each user that a case may be about, from the inputs of the playbook."""
    return {
        "admin": ("clickstack_admin", str(given["stack_access_admin_password"])),
        "ingest": ("otel_ingest", str(given["stack_access_ingest_password"])),
        "reader": ("hyperdx", str(given["stack_access_reader_password"])),
        "default": ("default", ""),
    }


def attempt(case: cases.Case, port: int, ca: Path, user: str, password: str) -> int:
    """Try a case; return ClickHouse's error code, 0 if it worked."""
    common.set_setting("invalid_setting_action", "send")  # the server decides, not the client, which would warn
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)
    try:
        client = get_client(
            host="localhost",
            port=port,
            interface="https",
            ca_cert=str(ca),
            username=user,
            password=password,
            autogenerate_session_id=False,
            headers={"X-Sandbox-Peer": case.address},
        )
        try:
            known = {row[0] for row in client.query("SELECT name FROM system.settings").result_rows}
            settings = {k: v for k, v in case.settings.items() if k in known or k == "wait_end_of_query"}
            if case.user == "reader":
                settings |= {k: v for k, v in cases.HYPERDX_OPTIMISATIONS.items() if k in known}
            client.raw_query(case.sql, settings=settings)
        finally:
            client.close()
    except ClickHouseError as error:
        return error.code or -1
    return 0
