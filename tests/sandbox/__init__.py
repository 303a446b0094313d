"""A sandbox ClickHouse for tests and the demo; see README.md. `start()` gives a running one."""

from .client import Client, ServerSaid
from .faults import Fault, FaultProxy
from .launch import Replica, Sandbox, start

__all__ = ["Client", "Fault", "FaultProxy", "Replica", "Sandbox", "ServerSaid", "start"]
