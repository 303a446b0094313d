"""Docker hosts with ufw and nftables in network namespaces; see README.md. `Lab()` is one that ends with its test."""

from .engines import ENGINES
from .lab import Host, Lab, LabError, Neighbour, WatchResult
from .packages import Unavailable

__all__ = ["ENGINES", "Host", "Lab", "LabError", "Neighbour", "Unavailable", "WatchResult"]
