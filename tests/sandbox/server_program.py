"""ClickHouse's own server, out of the chDB wheels of 24.8, 25.5 and 25.8, which hold the whole clickhouse program.

Run by the interpreter of that version's environment; the arguments are those of `clickhouse-server`. It ends with its
parent.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path


def die_with_parent(parent: int) -> None:
    """End this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def main() -> int:
    """Run the server until it is told to end."""
    threading.Thread(target=die_with_parent, args=(os.getppid(),), daemon=True).start()
    (library,) = Path(sys.prefix).glob("lib/python3*/site-packages/chdb/_chdb*.so")
    program = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL | os.RTLD_NOW)
    arguments = [b"clickhouse-server", *(argument.encode() for argument in sys.argv[1:])]
    # the C++ name of mainEntryClickHouseServer(int, char **)
    return int(
        program._Z25mainEntryClickHouseServeriPPc(
            len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)
        )
    )


os._exit(main())
