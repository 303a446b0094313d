#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse quota."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_quota
short_description: Create, change and drop ClickHouse quotas
version_added: 0.1.0
description:
  - Manages one quota of a ClickHouse server; what it is counted by, the limits of each interval, and who it applies
    to. What has been used of it stays counted.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.entity
options:
  keyed_by:
    description:
      - What is counted together. Everything with the same key shares the amounts of the quota.
      - V(none) counts all users together, V(user_name) each user, V(ip_address) each client address,
        V(forwarded_ip_address) each address in the header C(X-Forwarded-For), V(client_key) each key that the client
        gives (C(quota_key)), V(client_key_or_user_name) and V(client_key_or_ip_address) the user or the address where
        the client gives no key, and V(normalized_query_hash) each query without its literals.
      - V(normalized_query_hash) needs ClickHouse 26.4.
      - If omitted, it is left alone; a new quota then has V(none).
    type: str
    choices:
      - none
      - user_name
      - ip_address
      - forwarded_ip_address
      - client_key
      - client_key_or_user_name
      - client_key_or_ip_address
      - normalized_query_hash
  ipv4_prefix_bits:
    description:
      - With an address as the key, how many leading bits of an IPv4 address count, 0 to 32. V(24) counts each network
        of 256 addresses together; V(32) counts each address, as ClickHouse does where nothing is said.
      - If omitted, it is left alone; with a new key it is V(32).
      - Less than V(32) needs ClickHouse 26.6.
    type: int
  ipv6_prefix_bits:
    description:
      - With an address as the key, how many leading bits of an IPv6 address count, 0 to 128. V(128) counts each
        address, as ClickHouse does where nothing is said.
      - If omitted, it is left alone; with a new key it is V(128).
      - Less than V(128) needs ClickHouse 26.6.
    type: int
  intervals:
    description:
      - The intervals with their limits, all of them. Intervals that are not listed are removed, and so are limits that
        an interval does not name.
      - If omitted, intervals are left alone. An empty list removes them all, so that nothing is counted or limited.
      - A limit of 0 is no limit for ClickHouse, the same as an omitted one.
      - Limits may carry a suffix, decimal (C(10M)) or binary (C(10Mi)).
    type: list
    elements: dict
    suboptions:
      duration:
        description:
          - How long the interval is, as a number of seconds, or a number and a unit such as C(90 minutes). Units are
            second, minute, hour, day, week, month, quarter and year. A month has 30.436875 days.
          - At least 1 second, at most 4294967295.
        type: raw
        required: true
      randomized:
        description: Whether the interval begins at a random time instead of a round one.
        type: bool
        default: false
      tracking_only:
        description: Count what is used, and limit nothing. An interval has either this or a limit.
        type: bool
        default: false
      queries:
        description: The most queries of any kind. If omitted, there is no limit.
        type: raw
      query_selects:
        description: The most SELECT queries. If omitted, there is no limit.
        type: raw
      query_inserts:
        description: The most INSERT queries. If omitted, there is no limit.
        type: raw
      errors:
        description: The most queries that fail. If omitted, there is no limit.
        type: raw
      result_rows:
        description: The most rows in results. If omitted, there is no limit.
        type: raw
      result_bytes:
        description: The most bytes in results. If omitted, there is no limit.
        type: raw
      read_rows:
        description: The most rows read from tables, on all servers that take part. If omitted, there is no limit.
        type: raw
      read_bytes:
        description: The most bytes read from tables, on all servers that take part. If omitted, there is no limit.
        type: raw
      execution_time:
        description:
          - The longest execution time of all queries together, in seconds. It may have a fraction, and is compared to
            the microsecond.
          - If omitted, there is no limit.
        type: raw
      written_bytes:
        description: The most bytes written. If omitted, there is no limit.
        type: raw
      failed_sequential_authentications:
        description: The most failed logins in a row. If omitted, there is no limit.
        type: raw
      queries_per_normalized_hash:
        description:
          - The most runs of the same query, literals aside. It needs ClickHouse 26.4.
          - If omitted, there is no limit.
        type: raw
  apply_to:
    description:
      - The users and roles that the quota counts and limits. Where several quotas are for the same user, ClickHouse
        takes only one of them.
      - The user this module logs in as is counted like any other, and where its limits are used up, it cannot change
        the quota either until the interval ends. Leave it out with O(apply_to.except).
      - If omitted, it is left alone; a new quota then applies to nobody. An empty value means nobody.
    type: dict
    suboptions:
      all:
        description: Everybody. With O(apply_to.except), everybody but these.
        type: bool
        default: false
      none:
        description: Nobody, said aloud. The same as an empty value of O(apply_to).
        type: bool
        default: false
      names:
        description: These only. If omitted or empty, nobody.
        type: list
        elements: str
      except:
        description: With O(apply_to.all=true), who is left out. If omitted or empty, nobody is.
        type: list
        elements: str
seealso:
  - module: hardened.clickstack.clickhouse_user
  - module: hardened.clickstack.clickhouse_role
  - module: hardened.clickstack.clickhouse_settings_profile
"""

EXAMPLES = r"""
- name: What each reader may use in an hour and in a month
  hardened.clickstack.clickhouse_quota:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: reading
    keyed_by: user_name
    intervals:
      - duration: 1 hour
        queries: 10k
        read_bytes: 100Gi
        execution_time: 1800
      - duration: 1 month
        read_bytes: 20Ti
    apply_to:
      names:
        - reader

- name: At most ten failed logins in a row, in a quarter of an hour
  hardened.clickstack.clickhouse_quota:
    name: logins
    keyed_by: user_name
    intervals:
      - duration: 15 minutes
        failed_sequential_authentications: 10
    apply_to:
      names:
        - exporter

- name: Each network of a public server by itself, not all at the same time
  hardened.clickstack.clickhouse_quota:
    name: public
    keyed_by: ip_address
    ipv4_prefix_bits: 24
    ipv6_prefix_bits: 64
    intervals:
      - duration: 60
        randomized: true
        queries: 100
        execution_time: 2.5

- name: Only count what is used
  hardened.clickstack.clickhouse_quota:
    name: usage
    intervals:
      - duration: 1 day
        tracking_only: true

- name: A quota that must not exist
  hardened.clickstack.clickhouse_quota:
    name: obsolete
    state: absent
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Secrets read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["CREATE QUOTA `reading` KEYED BY user_name FOR INTERVAL 1 hour MAX queries = 10000 TO `reader`"]
entity:
  description:
    - The quota after the run, in canonical form, in the shape of the module's own options. Durations are in seconds.
      Empty if it does not exist.
  returned: success
  type: dict
  sample: {"apply_to": {"names": ["reader"]}, "intervals": [{"duration": 3600, "queries": 10000, "randomized": false}],
    "keyed_by": "user_name"}
code:
  description: ClickHouse's error code. Null if no server answered.
  returned: when the server refused something
  type: int
  sample: 497
error_name:
  description: The name of that code.
  returned: when the server refused something
  type: str
  sample: ACCESS_DENIED
option:
  description: The option at fault, as a path.
  returned: when the module refused an option; nothing was changed then
  type: str
  sample: intervals[0].duration
done:
  description: The statements that the server confirmed.
  returned: when a statement failed
  type: list
  elements: str
  sample: []
failed_statement:
  description: The statement that the server refused. Null if it gave no answer.
  returned: when a statement failed
  type: str
  sample: DROP QUOTA `reading`
unknown_statement:
  description: The statement whose answer was lost; it may have run or not. A second run finishes the work either way.
  returned: when a statement failed
  type: str
  sample: DROP QUOTA `reading`
pending:
  description: The statements that were not sent.
  returned: when a statement failed
  type: list
  elements: str
  sample: []
"""

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.runner import run


def main() -> None:
    """Run the module."""
    run("quota")


if __name__ == "__main__":
    main()
