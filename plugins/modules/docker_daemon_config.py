#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: keys of Docker's daemon.json."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_config
short_description: Merge keys into Docker's daemon.json, and take them out again
version_added: 0.1.0
description:
  - Merges keys into the configuration file of the Docker Engine. What is in the file already stays, with its order,
    spaces and indentation; only the keys that are asked for differ.
  - The file comes into place only after the installed engine has started with it. For this a second C(dockerd) is
    started for a moment in namespaces of its own, with an empty network and copies of C(/etc), C(/opt), C(/run) and
    C(/var) that go away with it. It neither sees nor touches the containers, images, networks and rules of the host.
  - What the module put into the file is recorded in C(/var/lib/hardened-clickstack). A key that is no longer asked for
    gets back the value that it had before, and O(state=absent) gives back the file as it was, byte for byte.
  - Does not restart or reload the engine. RV(restart_required) and RV(reload_sufficient) say what is left to do.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
requirements:
  - Docker Engine 20.10 or newer on the host, started by systemd
  - C(unshare) and C(mount) of util-linux on the host
attributes:
  check_mode:
    description: Does everything but write, the trial start included, which leaves nothing behind.
    support: full
  diff_mode:
    description: Shows the difference of the file, without the secrets in it.
    support: full
options:
  path:
    description:
      - The configuration file. It has to be the one that O(service) reads. Its directory is made if it is not there.
    type: path
    default: /etc/docker/daemon.json
  state:
    description:
      - V(present) makes sure that O(config) and O(defaults) are in the file.
      - V(absent) takes everything out of the file that this module put there. A value that somebody has changed since
        then stays. A file that was not there before goes away, if nothing else is in it.
    type: str
    choices: [present, absent]
    default: present
  config:
    description:
      - Keys of the file and their values. They replace the values in the file; maps are merged key by key, lists are
        replaced as a whole.
      - With another C(log-driver) than the one in the file, C(log-opts) are replaced as a whole too, because
        they are the driver's.
      - Empty, the default, for none.
    type: dict
    default: {}
  defaults:
    description:
      - Keys and values for where the file says nothing. What is in the file already stays.
      - C(log-opts) are left out if the file names another C(log-driver) than O(defaults) do.
      - Empty, the default, for none.
    type: dict
    default: {}
  unsupported:
    description:
      - What to do with a key that the installed engine refuses, or accepts and ignores.
      - V(fail) refuses it, and changes nothing. V(skip) leaves it out, and says so in RV(left_out).
      - It is about keys that the module knows a reason for. Whatever else the engine refuses at the trial start is an
        error in the engine's own words.
    type: str
    choices: [fail, skip]
    default: fail
  backup:
    description:
      - Whether to keep a copy of the file, with the time in its name, before it is changed.
    type: bool
    default: false
  service:
    description:
      - The systemd unit that starts the engine. It says which C(dockerd) that is, and with which flags; a key that is
        given both by a flag and in the file keeps the engine from starting, and is refused.
    type: str
    default: docker.service
notes:
  - C(live-restore) takes effect on a reload. To keep the containers running through the first restart, reload the
    service before you restart it.
  - An engine that starts while containers are running, as it does with C(live-restore), leaves the default bridge as it
    is; C(ip) and C(icc) come into force there when it starts without any. A container keeps its published ports as they
    are until it is created anew, and a network its options.
  - Files with the same key twice in the same map are refused, because the engine takes one of them and says nothing.
"""

EXAMPLES = r"""
- name: Keep containers to the host's own addresses, and their logs small
  hardened.clickstack.docker_daemon_config:
    config:
      live-restore: true
      ip: 127.0.0.1
      default-network-opts:
        bridge:
          com.docker.network.bridge.host_binding_ipv4: 127.0.0.1
    defaults:
      log-driver: json-file
      log-opts:
        max-size: 10m
        max-file: "3"
    unsupported: skip
  register: daemon_json

- name: Let the running engine know of live-restore
  ansible.builtin.systemd_service:
    name: docker.service
    state: reloaded
  when: daemon_json.restart_required or daemon_json.reload_sufficient

- name: Start the engine with the new configuration
  ansible.builtin.systemd_service:
    name: docker.service
    state: restarted
  when: daemon_json.restart_required

- name: Take out everything again
  hardened.clickstack.docker_daemon_config:
    state: absent
"""

RETURN = r"""
restart_required:
  description:
    - Whether the running engine has to be restarted for the file to be in force. It stays true until that is done, so
      that a run that was interrupted in between is made up for by the next one.
    - In check mode, whether it would have to be.
  returned: success
  type: bool
  sample: true
reload_sufficient:
  description: Whether this run changed only keys that C(systemctl reload) brings into force.
  returned: success
  type: bool
  sample: false
left_out:
  description: The keys that were asked for and left out, each with the reason.
  returned: success
  type: list
  elements: dict
  sample:
    - key: default-network-opts
      reason: Docker Engine 20.10 accepts it and ignores it; it is in force from 24.0 on
engine:
  description: The version of the installed engine, which is not always the running one.
  returned: success
  type: str
  sample: 28.5.2
before:
  description: What was in the file, without secrets. Null if there was no file.
  returned: success
  type: dict
  sample: {}
after:
  description: What is in the file now, without secrets. Null if there is none.
  returned: success
  type: dict
  sample:
    live-restore: true
backup_file:
  description: The copy of the file as it was.
  returned: when O(backup) is set, the file was there, and it was changed
  type: str
  sample: /etc/docker/daemon.json.1234.2026-11-24@04:00:00~
"""

from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.run import run


def main() -> None:
    """Run the module."""
    run()


if __name__ == "__main__":
    main()
