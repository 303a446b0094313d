# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that compute addresses in a subnet, so that a subnet is all that has to be said."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError


def _subnet(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(str(text))
    except ValueError as error:
        raise AnsibleFilterError(f"{text!r} is not a subnet such as 172.30.80.0/24 or fd00:80::/64: {error}") from error


def stack_compose_address(subnet: Any, number: Any) -> str:
    """Return the address with this number in the subnet.

    :param subnet: an IPv4 or IPv6 subnet in CIDR notation
    :param number: 1 is the first address after the network's own
    :raises AnsibleFilterError: if the text is not a subnet, or the subnet has no such address
    """
    network = _subnet(subnet)
    # the upper half is left to containers without a fixed address
    if not 0 < int(number) < network.num_addresses // 2:
        raise AnsibleFilterError(
            f"The subnet {network} has no address number {number} in its lower half; use a larger one"
        )
    return str(network[int(number)])


def stack_compose_pool(subnet: Any) -> str:
    """Return the upper half of the subnet, from which containers without a fixed address get theirs (Docker's IPRange).

    :param subnet: an IPv4 or IPv6 subnet in CIDR notation
    :raises AnsibleFilterError: if the text is not a subnet, or one that cannot be halved
    """
    network = _subnet(subnet)
    if network.num_addresses < 4:
        raise AnsibleFilterError(f"The subnet {network} is too small; use a larger one")
    return str(list(network.subnets())[1])


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return them by name."""
        return {"stack_compose_address": stack_compose_address, "stack_compose_pool": stack_compose_pool}
