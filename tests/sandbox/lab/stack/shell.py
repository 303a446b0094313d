"""mongo, the shell, as far as a health check needs it: it pings.

Usage: mongo --quiet [--tls --tlsCAFile FILE --host NAME] --eval 'db.adminCommand({ping: 1}).ok'
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

from pymongo import MongoClient


def main() -> None:
    """Ping; raises pymongo's errors."""
    arguments = sys.argv[1:]
    given = dict(pairwise(arguments))
    if given["--eval"] != "db.adminCommand({ping: 1}).ok":
        sys.exit(f"this shell does not know {given['--eval']}")
    tls: dict[str, Any] = {"tls": True, "tlsCAFile": given["--tlsCAFile"]} if "--tls" in arguments else {}
    client: MongoClient[dict[str, Any]] = MongoClient(
        given.get("--host", "localhost"), directConnection=True, serverSelectionTimeoutMS=5000, **tls
    )
    print(client.admin.command("ping")["ok"])


if __name__ == "__main__":
    main()
