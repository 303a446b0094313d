#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: one ClickHouse user."""

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_user
short_description: Create, change and drop ClickHouse users
version_added: 0.1.0
description:
  - Manages one user of a ClickHouse server with everything that belongs to it; how it authenticates, from which
    hosts, until when,
    its roles and default roles, its settings and profiles, its default database, and whom it may grant to.
  - Passwords leave the module as salted hashes that it computes itself, wherever the method has a hash form.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment:
  - hardened.clickstack.clickhouse
  - hardened.clickstack.clickhouse.guard
  - hardened.clickstack.clickhouse.entity
  - hardened.clickstack.clickhouse.settings
  - hardened.clickstack.clickhouse.roles
options:
  authentication:
    description:
      - How the user authenticates; one method, or several of which any will do. The list is the whole.
      - If omitted, an existing user's methods are left alone, and a new user gets C(no_password).
      - An empty list is refused, because it would leave the user without authentication. Say V(no_password) if you
        mean it.
      - More than one method needs ClickHouse 24.9.
      - A password method with neither O(authentication[].password) nor O(authentication[].password_hash) keeps the
        secret that is stored. Beside it other methods can be added, but none can be taken away or get another
        password, because ClickHouse then wants the secret of every method; give all of them for that.
      - What a method is limited to by C(GRANTS) (newer than ClickHouse 25.8) is left alone. A change that would take it
        off is refused.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - The method. V(scram_sha256_password) needs ClickHouse 25.3, V(no_authentication) ClickHouse 25.8.
        type: str
        required: true
        choices:
          - no_password
          - no_authentication
          - plaintext_password
          - sha256_password
          - double_sha1_password
          - bcrypt_password
          - scram_sha256_password
          - ldap
          - kerberos
          - ssl_certificate
          - ssh_key
          - http
      password:
        description:
          - For password methods, the password as text. An empty one is a password like any other.
          - If omitted, O(authentication[].password_hash) counts, and without that the secret that is stored is kept,
            whatever it is. Where the user has none of this type, or does not exist, that is refused.
          - V(plaintext_password) is the only method that sends and stores it as it is.
          - For V(bcrypt_password) it has at most 72 bytes, and the Python library bcrypt must be installed.
        type: str
      password_hash:
        description:
          - For password methods, the finished hash; hexadecimal, or bcrypt's own form. If omitted,
            O(authentication[].password) counts.
        type: str
      salt:
        description:
          - The salt of O(authentication[].password_hash), for V(sha256_password) (appended to the password before
            hashing) and
            V(scram_sha256_password) (base64). If omitted or empty, the hash has no salt.
          - With O(authentication[].password) the module makes a random one.
        type: str
      valid_until:
        description:
          - When this method expires, as O(valid_until) says it. If omitted, O(valid_until) counts, and without that it
            is left alone. Empty means never.
        type: str
      server:
        description:
          - For V(ldap) and V(http), the name of the server in the configuration. Required there, omitted elsewhere.
        type: str
      scheme:
        description: For V(http), the scheme. If omitted or empty, C(BASIC).
        type: str
      realm:
        description: For V(kerberos), the realm. If omitted or empty, any realm.
        type: str
      common_names:
        description: For V(ssl_certificate), the accepted names. If omitted, subject_alt_names are needed.
        type: list
        elements: str
      subject_alt_names:
        description:
          - For V(ssl_certificate), the accepted subject alternative names, as C(DNS:name) or C(URI:uri). If omitted,
            O(authentication[].common_names) are needed.
        type: list
        elements: str
      ssh_keys:
        description: For V(ssh_key), the accepted public keys. Required there, omitted elsewhere.
        type: list
        elements: dict
        suboptions:
          key:
            description: The key's base64 part alone.
            type: str
            required: true
          type:
            description: The key's type, like C(ssh-ed25519).
            type: str
            required: true
  update_password:
    description:
      - When the passwords of an existing user are set again. A changed authentication type is always seen and set.
      - It has no effect on methods that keep their secret.
      - V(on_drift) compares with the stored hash where the server shows secrets; else it tries one login for each
        password from this machine,
        if the user's hosts admit it; else it warns that it cannot know, and leaves the password alone. Each attempt
        is one request over the connection of the task.
      - V(on_create) never looks at the password of an existing user.
      - V(always) sets it on every run, which then always reports a change.
      - Each login attempt counts for quotas on C(failed_sequential_authentications).
    type: str
    choices: [on_drift, on_create, always]
    default: on_drift
  valid_until:
    description:
      - When the user expires, in any form that ClickHouse's best-effort parser takes, like C(2030-12-31 23:59:59).
        Without a zone it is
        in the server's time zone. Resolution one second.
      - If omitted, it is left alone. Empty or C(infinity) means never.
    type: str
  host:
    description:
      - From where the user may connect; a client that matches any part is admitted. The value is the whole.
      - If omitted, it is left alone; a new user may then connect from anywhere.
      - An empty value admits nobody, like O(host.none=true).
    type: dict
    suboptions:
      any:
        description: Anybody. Everything beside it is then without effect.
        type: bool
        default: false
      none:
        description: Nobody. Nothing can stand beside it.
        type: bool
        default: false
      local:
        description: The server's own machine (loopback).
        type: bool
        default: false
      ip:
        description:
          - Addresses and subnets, IPv4 and IPv6, with prefix length or netmask. Host bits are masked away.
          - If omitted or empty, none.
        type: list
        elements: str
      name:
        description: Host names, resolved by the server. If omitted or empty, none.
        type: list
        elements: str
      regexp:
        description: Regular expressions (RE2) for the client's host name. If omitted or empty, none.
        type: list
        elements: str
      like:
        description: LIKE patterns for the client's host name. If omitted or empty, none.
        type: list
        elements: str
  default_database:
    description:
      - The database of a session that names none. If omitted, it is left alone. Empty means the server's default.
    type: str
  default_roles:
    description:
      - The roles that are active after login. They must be granted.
      - If omitted, it is left alone; a new user then has all its roles as default. An empty value means none.
    type: dict
    suboptions:
      all:
        description: Everybody. With O(default_roles.except), everybody but these.
        type: bool
        default: false
      none:
        description: Nobody, said aloud. The same as an empty value of O(default_roles).
        type: bool
        default: false
      names:
        description: These only. If omitted or empty, nobody.
        type: list
        elements: str
      except:
        description: With O(default_roles.all=true), who is left out. If omitted or empty, nobody is.
        type: list
        elements: str
  grantees:
    description:
      - The users and roles to whom this user may pass on what it may grant.
      - If omitted, it is left alone; a new user may then grant to anybody. An empty value means nobody.
    type: dict
    suboptions:
      any:
        description: Everybody. With O(grantees.except), everybody but these.
        type: bool
        default: false
      none:
        description: Nobody, said aloud. The same as an empty value of O(grantees).
        type: bool
        default: false
      names:
        description: These only. If omitted or empty, nobody.
        type: list
        elements: str
      except:
        description: With O(grantees.any=true), who is left out. If omitted or empty, nobody is.
        type: list
        elements: str
seealso:
  - module: hardened.clickstack.clickhouse_role
  - module: hardened.clickstack.clickhouse_grant
  - module: hardened.clickstack.clickhouse_settings_profile
"""

EXAMPLES = r"""
- name: The collector's user, only from its own network
  hardened.clickstack.clickhouse_user:
    login_host: clickhouse.example.com
    login_user: admin
    login_password: "{{ admin_password }}"
    name: otel_ingest
    authentication:
      - type: sha256_password
        password: "{{ ingest_password }}"
    host:
      ip:
        - 10.20.0.0/24
    default_database: otel

- name: A user with roles, limits and an expiry; the connection comes from module_defaults
  hardened.clickstack.clickhouse_user:
    name: analyst
    authentication:
      - type: sha256_password
        password_hash: "{{ analyst_hash }}"
        salt: "{{ analyst_salt }}"
    valid_until: "2040-12-31 23:59:59"
    host:
      local: true
      ip:
        - 192.168.10.0/24
        - "2001:db8::/32"
      like:
        - "%.example.com"
    roles:
      - name: reader
      - name: exporter
        admin_option: true
    default_roles:
      all: true
      except:
        - exporter
    grantees:
      none: true
    settings:
      - name: max_memory_usage
        value: 10Gi
        max: 20Gi
      - name: readonly
        value: 2
        writability: const
    profiles:
      - base

- name: Two ways to log in, a certificate and a password with its own expiry
  hardened.clickstack.clickhouse_user:
    name: auditor
    authentication:
      - type: sha256_password
        password: "{{ auditor_password }}"
        valid_until: "2040-06-30"
      - type: bcrypt_password
        password: "{{ auditor_password_new }}"
    update_password: on_create

- name: One more way in for the analyst, whose password stays what it is
  hardened.clickstack.clickhouse_user:
    name: analyst
    authentication:
      - type: sha256_password
      - type: ssl_certificate
        common_names:
          - analyst.example.com

- name: A user that authenticates by client certificate
  hardened.clickstack.clickhouse_user:
    name: exporter
    authentication:
      - type: ssl_certificate
        subject_alt_names:
          - DNS:exporter.example.com

- name: A user that must not exist
  hardened.clickstack.clickhouse_user:
    name: former_employee
    state: absent
"""

RETURN = r"""
statements:
  description:
    - The statements that were run, or with check mode would have been, in order. Secrets read C([HIDDEN]).
  returned: success
  type: list
  elements: str
  sample: ["ALTER USER `analyst` VALID UNTIL '2030-12-31 23:59:59'"]
entity:
  description:
    - The user after the run, in canonical form, in the shape of the module's own options. Empty if it does not exist.
  returned: success
  type: dict
  sample: {"authentication": [{"type": "sha256_password", "password": "[HIDDEN]"}], "host": {"local": true}}
password_state:
  description:
    - What is known of the stored passwords. V(same) and V(different) from the wished ones, V(unknown) if nothing
      could tell (a warning
      says why), V(none) if no password was given. A password that was added beside a kept one is V(different) from
      what was stored.
  returned: success
  type: str
  sample: same
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
  sample: authentication[0].password_hash
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
  sample: DROP ROLE `reader`
unknown_statement:
  description: The statement whose answer was lost; it may have run or not. A second run finishes the work either way.
  returned: when a statement failed
  type: str
  sample: DROP ROLE `reader`
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
    run("user")


if __name__ == "__main__":
    main()
