"""Docker hosts with ufw and nftables in network namespaces; see README.md. `Lab()` gives one that ends with the test."""

from .engines import ENGINES
from .lab import Host, Lab, LabError, Neighbour, WatchResult
from .packages import Unavailable

__all__ = ["ENGINES", "Host", "Lab", "LabError", "Neighbour", "Unavailable", "WatchResult"]
