"""Engines and access controls for the tests of tests/sandbox/access."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.sandbox.access import AccessControl, Options, SessionInfo
from tests.sandbox.engine import Engine

ADMIN = """<default><no_password/><networks><ip>::/0</ip></networks><access_management>1</access_management>
<named_collection_control>1</named_collection_control><show_named_collections_secrets>1</show_named_collections_secrets></default>"""


def users_xml(users: str = "", profiles: str = "", quotas: str = "", roles: str = "") -> str:
    """A users.xml with an all-powerful `default`."""
    return f"""<clickhouse><profiles><default/>{profiles}</profiles><quotas><default/>{quotas}</quotas>
<users>{ADMIN}{users}</users><roles>{roles}</roles></clickhouse>"""


@contextmanager
def engine_with(version: str, folder: Path, xml: str) -> Iterator[Engine]:
    """The real engine, loaded from this users.xml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.xml").write_text(xml, encoding="utf-8")
    config = folder / "config.xml"
    config.write_text(
        f"<clickhouse><user_directories><users_xml><path>{folder}/users.xml</path></users_xml></user_directories></clickhouse>"
    )
    here = os.getcwd()
    os.chdir(folder)  # 24.8 takes no path of a configuration: it reads config.xml where it runs
    try:
        engine = Engine(version, None)
        engine.open(":memory:" if version == "24.8" else f"{folder}/data?config-file={config}")
        with engine:
            yield engine
    finally:
        os.chdir(here)


class Access:
    """An access control and the engine it asks, with statements as a client writes them."""

    def __init__(self, folder: Path, engine: Engine, options: Options | None = None, xml: Path | None = None) -> None:
        self.engine = engine
        if xml is None:
            xml = folder / "users.xml"
            xml.parent.mkdir(parents=True, exist_ok=True)
            xml.write_text(users_xml())
        self.control = AccessControl(folder / "access", engine, xml, options or Options())
        self.session = SessionInfo("default", now=time.time())

    def __call__(self, *statements: str) -> list[Any]:
        """Run statements; the last one's rows, a lone column's values alone."""
        table = None
        for statement in statements:
            table = self.control.execute(self.control.parse(statement), self.session)
        if table is None:
            return []
        return [row[0] if len(row) == 1 else row for row in table.rows]

    def rows(self, table: str, *columns: str, **where: Any) -> list[Any]:
        """These columns of a system table's rows, for the rows in which the others have the given values."""
        result = self.control.table(table, self.session)
        names = [name for name, _other in result.columns]
        dicts = [dict(zip(names, row, strict=True)) for row in result.rows]
        found = [d for d in dicts if all(d[key] == value for key, value in where.items())]
        return [d[columns[0]] if len(columns) == 1 else tuple(d[column] for column in columns) for d in found]
