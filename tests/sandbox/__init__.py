"""A sandbox ClickHouse for tests and the demo; see README.md. `start()` gives a running one."""

from .client import Client, ServerSaid
from .faults import Fault, FaultProxy
from .launch import Sandbox, start

__all__ = ["Client", "Fault", "FaultProxy", "Sandbox", "ServerSaid", "start"]
