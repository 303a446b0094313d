"""ClickHouse's access control with a writable storage, as a model beside the real engine (which has none)."""

from .control import AccessControl
from .interface import Engine, Options, SessionInfo, Table
from .model import AuthMethod, Hosts, ServerError, User
from .session import SessionRights

__all__ = [
    "AccessControl",
    "AuthMethod",
    "Engine",
    "Hosts",
    "Options",
    "ServerError",
    "SessionInfo",
    "SessionRights",
    "Table",
    "User",
]
