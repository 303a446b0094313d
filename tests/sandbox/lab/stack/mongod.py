"""mongod as the image's entrypoint starts it: SecantusDB by what mongod.conf and the environment say.

Usage: mongod.py mongod [--config FILE] ...; the superuser is made of MONGO_INITDB_ROOT_USERNAME and its password's file
where the data is new, as the entrypoint of docker-library/mongo does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.sandbox import mongodb_program

DATA = Path("/data/db")
PASSWORD = "/run/secrets/MONGO_INITDB_ROOT_PASSWORD"


def options(config: dict[str, Any]) -> dict[str, Any]:
    """The options of mongodb_program that this mongod.conf stands for."""
    network, security = config.get("net", {}), config.get("security", {})
    tls, parameters = network.get("tls", {}), config.get("setParameter", {})
    name = os.environ.get("MONGO_INITDB_ROOT_USERNAME", "")
    is_tls = tls.get("mode", "disabled") == "requireTLS"
    return {
        "folder": str(DATA),
        "host": "0.0.0.0",
        "port": network.get("port", 27017),
        "pem": tls["certificateKeyFile"] if is_tls else "",
        # clients without a certificate are let in, as the role asks for
        "authority": "",
        "authorization": bool(name) or security.get("authorization") == "enabled" or "keyFile" in security,
        "replica_set": config.get("replication", {}).get("replSetName", ""),
        "localhost_exception": bool(parameters.get("enableLocalhostAuthBypass", True)),
        "iterations": int(parameters.get("scramSHA256IterationCount", 15000)),
        "version": "5.0.32",
        "superuser": [name, PASSWORD] if name else None,
        "config": config,
    }


def main() -> None:
    """Run it."""
    arguments = sys.argv[2:]
    config: dict[str, Any] = {}
    if "--config" in arguments:
        config = yaml.safe_load(Path(arguments[arguments.index("--config") + 1]).read_text())
    sys.argv[1:] = [json.dumps(options(config))]
    mongodb_program.main()


if __name__ == "__main__":
    main()
