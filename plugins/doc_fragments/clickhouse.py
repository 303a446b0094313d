# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that every ClickHouse module shares: the connection, and what a module promises."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments ``hardened.clickstack.clickhouse`` (connection) and its parts."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of the ClickHouse server.
      - If omitted, the environment variable E(CLICKHOUSE_HOST) is used.
    type: str
    default: localhost
  login_port:
    description:
      - Port of the server's HTTP interface.
      - If omitted, the environment variable E(CLICKHOUSE_PORT) is used, else V(8443) with TLS and V(8123) without.
    type: int
  login_user:
    description:
      - The user to log in as. It needs C(ACCESS MANAGEMENT ON *.*) with grant option and C(SELECT ON system.*), and
        with grant option whatever it shall grant.
      - If omitted, the environment variable E(CLICKHOUSE_USER) is used.
    type: str
    default: default
  login_password:
    description:
      - Its password. It is sent only to O(login_host).
      - If omitted, the environment variable E(CLICKHOUSE_PASSWORD) is used, else an empty password.
      - With O(login_client_cert) and no password, the certificate alone decides who is logged in
        (C(ssl_certificate)).
    type: str
  login_secure:
    description:
      - Whether to use TLS. Without it, passwords and hashes cross the network in the clear.
      - If omitted, the environment variable E(CLICKHOUSE_SECURE) is used.
    type: bool
    default: true
  login_validate_certs:
    description:
      - Whether the server's certificate must be valid for its name and signed by a trusted authority.
      - If omitted, the environment variable E(CLICKHOUSE_VALIDATE_CERTS) is used.
    type: bool
    default: true
  login_ca_cert:
    description:
      - File with the certificates of the authorities to trust (PEM).
      - If omitted, the environment variable E(CLICKHOUSE_CA_CERT) is used, else the authorities that Python trusts.
    type: path
  login_client_cert:
    description:
      - File with a client certificate (PEM), for servers that ask for one. It may contain the key.
      - If omitted, the environment variable E(CLICKHOUSE_CLIENT_CERT) is used, else no certificate is presented.
    type: path
  login_client_key:
    description:
      - File with the key of O(login_client_cert) (PEM).
      - If omitted, the environment variable E(CLICKHOUSE_CLIENT_KEY) is used, else the key is read from
        O(login_client_cert).
    type: path
  login_server_host_name:
    description:
      - The name to expect in the server's certificate, where it is not O(login_host), as behind a tunnel.
      - If omitted, the environment variable E(CLICKHOUSE_SERVER_HOST_NAME) is used, else O(login_host).
    type: str
  login_connect_timeout:
    description:
      - How long to wait for a connection, in seconds.
      - If omitted, the environment variable E(CLICKHOUSE_CONNECT_TIMEOUT) is used.
    type: int
    default: 10
  login_timeout:
    description:
      - How long to wait for an answer to one statement, in seconds. With O(cluster) the server waits for all
        replicas.
      - If omitted, the environment variable E(CLICKHOUSE_TIMEOUT) is used.
    type: int
    default: 60
  cluster:
    description:
      - Run every statement C(ON CLUSTER) this cluster. The state is read from O(login_host) alone.
      - If omitted, statements run on O(login_host). Leave it out where access entities are kept in replicated
        storage.
      - An empty name is refused.
    type: str
requirements:
  - clickhouse-connect >= 1.0
attributes:
  check_mode:
    description: Says what would change without changing it; result and diff are those of a real run.
    support: full
  diff_mode:
    description: Shows the entity before and after in canonical form; every secret reads C([HIDDEN]).
    support: full
  platform:
    description: Where the module runs. It needs no access to the server's files, so C(localhost) is the usual place.
    platforms: posix
    support: full
notes:
  - Tested with ClickHouse 24.8, 25.8 and 26.9 over HTTP and HTTPS.
  - Values are compared in the form the server stores them. C(127.0.0.1) is C(LOCAL), C(10M) is C(10000000),
    C(TRUNCATE TABLE) is
    C(TRUNCATE); another spelling of the same thing is no change.
  - An option that is omitted leaves what is there alone. An option that is empty clears it.
  - A refused statement or read fails the task and names the missing privilege.
"""

    ENTITY = r"""
options:
  name:
    description:
      - Name of the entity. Any text but an empty one; quoting is the module's business.
    type: str
    required: true
  state:
    description:
      - Whether the entity should exist. With V(absent) all other options but O(storage) and O(cluster) are ignored.
    type: str
    choices: [present, absent]
    default: present
  storage:
    description:
      - The access storage to keep the entity in, as C(system.user_directories) names it. An entity that lives in
        another one is moved.
      - If omitted, a new entity goes where the server puts it, and an existing one stays where it is.
      - An empty name is refused. With O(state=absent) only an entity in this storage is dropped.
    type: str
"""

    SETTINGS = r"""
options:
  settings:
    description:
      - The settings, all of them. Settings that are not listed are removed.
      - If omitted, settings are left alone. An empty list removes them all.
    type: list
    elements: dict
    suboptions:
      name:
        description: The setting. An alias stands for the setting it names.
        type: str
        required: true
      value:
        description:
          - Its value, in the setting's own unit (C(max_memory_usage) in bytes, C(max_execution_time) in seconds).
          - Integers may carry a suffix, decimal (C(10M)) or binary (C(10Mi)).
          - If omitted, only the constraints are set and the value comes from elsewhere.
        type: raw
      min:
        description: The smallest value a user may choose, in the same unit. If omitted, there is no lower bound.
        type: raw
      max:
        description:
          - The largest value a user may choose, in the same unit. If omitted, there is no upper bound.
          - Where 0 means unlimited, it passes any O(settings[].max); give O(settings[].min) as well.
        type: raw
      writability:
        description:
          - V(writable) may be changed within the bounds, V(const) may not, V(changeable_in_readonly) may even where
            C(readonly=1).
          - If omitted, the setting can be changed unless something else forbids it.
        type: str
        choices: [writable, const, changeable_in_readonly]
  profiles:
    description:
      - The settings profiles to inherit from, all of them, in order. Where two say the same setting, the later one
        counts.
      - If omitted, profiles are left alone. An empty list removes them all.
    type: list
    elements: str
"""

    ROLES = r"""
options:
  roles:
    description:
      - The roles granted, all of them. Roles that are not listed are revoked.
      - If omitted, granted roles are left alone. An empty list revokes them all.
    type: list
    elements: dict
    suboptions:
      name:
        description: The role. It must exist.
        type: str
        required: true
      admin_option:
        description: Whether the role may be passed on to others.
        type: bool
        default: false
"""

    GUARD = r"""
options:
  allow_lockout:
    description:
      - Allow a run that leaves the user it is logged in as unable to connect or to manage access. It would be dropped,
        kept out by its host, expiry or authentication, or lose privileges, roles or default roles that it manages
        access with.
      - Without it such a run fails before the first statement, and says which option would do it.
    type: bool
    default: false
"""
