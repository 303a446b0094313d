#!/usr/bin/python
# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: which ports a Docker Compose project publishes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_ports
short_description: Keep, bind or remove the published ports of a Docker Compose project
version_added: 0.1.0
description:
  - Trims the Compose files of a project in place, or, with O(override_file), leaves them as they are and writes one
    more file that overrides their ports. Each published port is kept, bound to an address of the host, or removed, as
    the rules say, and a default for what no rule names.
  - Docker publishes ports past ufw and other firewalls of the host, so a port that nobody needs should
    not be published.
  - Comments, order, anchors, quotes and line breaks stay as they are; only lines of C(ports) ever differ. Files are
    replaced at one blow, with their owner and mode. A symbolic link stays, and its target is edited.
  - Every syntax of the Compose specification is understood; short and long entries, ranges, variables with
    their defaults, merge keys, aliases, C(x-) extensions, C(include), C(extends), several files, C(!reset) and
    C(!override).
  - A removed entry becomes a comment with the reason above it. A later run knows it again, and a rule to keep or bind
    it that names its O(rules[].target) brings the old line back. Other rules and the default never do.
  - A list that loses its last port becomes V([]), because Docker Compose refuses an empty key, and because ports of a
    merge key would come back without it.
  - In Compose, ports of several files are appended to each other. So an override file cannot take a port of the base
    file away, unless it says C(ports:) with C(!reset) or C(!override), which needs Docker Compose 2.24.4. With
    O(override_file), this module writes such a file. Without, it edits the file in which the port is written, which
    works with every version.
  - A line that several services share, by an anchor, a merge key or C(extends), is edited once if the same happens to
    the port in all of them; otherwise the run is refused. An override file shares nothing, so rules may treat each of
    these services differently there.
author:
  - hardened.clickstack contributors (@hardened-clickstack)
extends_documentation_fragment: []
requirements:
  - ruamel.yaml >= 0.17 on the host (C(python3-ruamel.yaml) on Debian and Ubuntu)
attributes:
  check_mode:
    support: full
    description: Says what would change, with the same diff.
  diff_mode:
    support: full
    description: Shows the lines that change and no others, because what stands around them may be secret.
options:
  project_src:
    description:
      - The project directory, which relative paths and C(.env) are looked for in.
    type: path
    required: true
  files:
    description:
      - The Compose files, the base first; relative to O(project_src).
      - Files that these include, or whose services they extend, are found by themselves and trimmed as well.
      - If omitted, those that Docker Compose would take; C(COMPOSE_FILE) if a variable of this name is set, else
        C(compose.yaml), C(compose.yml), C(docker-compose.yml) or C(docker-compose.yaml), and the override file
        beside it.
      - An empty list is refused.
    type: list
    elements: path
  override_file:
    description:
      - A file for the ports of a project whose files are not yours to edit, such as a checkout of upstream; relative to
        O(project_src). Its directory must be there.
      - O(files) stay as they are. Each service whose ports the rules change stands in this file with all ports that it
        keeps, under C(ports) with C(!override), or with C(!reset) if it keeps none. Removed ports are comments with the
        reason, unless O(removal=delete).
      - Rules are judged against the ports of O(files) alone, so the same rules give the same file. What the rules no
        longer change leaves the file, and with nothing to override it stays, without services.
      - Run the module after each update of O(files). Until then, a port that is new in a service of this file is not
        published, and a new service publishes what it says.
      - Entries are written as they are in O(files), variables included, except where a variable would mean something
        else here, as one of an included file may; then its value is written. C(x-) keys of an entry are not copied.
      - Docker Compose must read it after all others. It does so by itself if it is called
        C(docker-compose.override.yml) or C(compose.override.yml) beside the base file, and there is no other override
        file. With any other name, or more files, name all of them by C(COMPOSE_FILE) (in C(.env), for example) or by
        C(--file), this one last; RV(override) says how. If O(files) or C(COMPOSE_FILE) names it, it must be the last.
      - A new file gets owner and mode of the base file. A file of this name that this module did not write is refused.
      - Needs Docker Compose 2.24.4 on the host; an older one, or none, is refused, unless O(validate=never).
      - If omitted, O(files) are edited in place. An empty path is refused.
    type: path
  env_files:
    description:
      - Files with variables, relative to O(project_src); a later file counts before an earlier one.
      - If omitted, C(.env) in O(project_src), if there is one.
      - An empty list means no file, not even C(.env).
    type: list
    elements: path
  environment:
    description:
      - Variables that count before those of files. Only those that C(ports) use are needed.
      - If omitted or empty, there are none.
    type: dict
  inherit_environment:
    description:
      - Whether the variables of the module's own process count as well, before those of files and after
        O(environment). Docker Compose does so; in Ansible this is the environment of the connection.
    type: bool
    default: false
  rules:
    description:
      - What happens to which ports. A port is named by one rule at most; two are refused, whatever they say.
      - A rule that names no port is refused, so that a misspelt one is noticed. With O(removal=delete) in place, a rule
        to remove may find nothing, since that is what its first run leaves.
      - A range of ports in one entry is treated as a whole; rules that divide it are refused. In O(override_file),
        they divide it.
      - If omitted or empty, all ports are left to O(default).
    type: list
    elements: dict
    suboptions:
      service:
        description:
          - The service, or a pattern with C(*), C(?) and C([]).
          - If omitted, all services.
        type: str
      target:
        description:
          - Container ports, or ranges of them such as V(4317-4318).
          - If omitted, all ports; those that are comments already stay comments then. An empty list is refused.
        type: list
        elements: str
      protocol:
        description:
          - The protocol.
          - If omitted, any.
        type: str
        choices: [tcp, udp, sctp]
      host_ip:
        description:
          - The address that the port is published on now. V(0.0.0.0) and V(::) also stand for ports without an address.
          - What the rule has bound stays named by it.
          - If omitted, any address.
        type: str
      action:
        description:
          - V(keep) leaves the port as it is written, V(bind) publishes it on one address, V(remove)
            does not publish it.
        type: str
        required: true
        choices: [keep, bind, remove]
      address:
        description:
          - For O(rules[].action=bind), the address of the host, IPv4 or IPv6. It must be on the host, unless
            O(validate=never).
          - If omitted, V(127.0.0.1).
        type: str
      reason:
        description:
          - For O(rules[].action=remove), why; one line of the comment.
          - If omitted, that the port is not needed outside of the project's networks.
        type: str
  default:
    description:
      - What happens to ports that no rule names.
      - If omitted, they are kept. An empty dict is refused.
    type: dict
    suboptions:
      action:
        description:
          - As in O(rules[].action). A port that is a comment already stays one.
        type: str
        required: true
        choices: [keep, bind, remove]
      address:
        description:
          - As in O(rules[].address). If omitted, V(127.0.0.1).
        type: str
      reason:
        description:
          - As in O(rules[].reason). If omitted, that the port is not needed outside of the project's networks.
        type: str
  removal:
    description:
      - Whether removed lines become comments or are deleted. Ports in a list in brackets are written with one port to a
        line to become comments.
    type: str
    choices: [comment, delete]
    default: comment
  backup:
    description:
      - Whether to keep a copy of each file that changes, with the time in its name.
    type: bool
    default: false
  validate:
    description:
      - Whether C(docker compose config) must take the project and see the same ports as this module, before anything
        is written and again afterwards. If the result is refused, the old files are put back.
      - V(auto) does so where Docker Compose v2 is on the host, V(always) fails where it is not. With O(override_file),
        both fail there.
      - V(never) neither asks Docker Compose nor looks whether the host has the addresses.
    type: str
    choices: [auto, always, never]
    default: auto
notes:
  - Before Docker 28, a port on 127.0.0.1 is still reached by a neighbour that routes to 127.0.0.1 through the host.
    Drop such packets by a firewall.
  - Trimming cannot help a service with C(network_mode=host). It is reported with RV(exposure) and by a warning.
  - Containers that run already publish what they did until Docker Compose recreates them.
seealso:
  - name: Compose specification, ports
    description: The syntax of the entries.
    link: https://github.com/compose-spec/compose-spec/blob/main/05-services.md#ports
  - name: Docker and ufw
    description: Why a firewall on the host does not close published ports.
    link: https://docs.docker.com/engine/network/packet-filtering-firewalls/#docker-and-ufw
"""

EXAMPLES = r"""
- name: See what is exposed to whom
  hardened.clickstack.compose_ports:
    project_src: /opt/clickstack
  register: ports

- name: Publish the OTLP receivers, the UI for a reverse proxy on the host, and nothing else
  hardened.clickstack.compose_ports:
    project_src: /opt/clickstack
    rules:
      - service: otel-collector
        target: [4317-4318]
        action: keep
      - service: app
        target: [8080]
        action: bind
        address: 127.0.0.1
    default:
      action: remove
      reason: production exposes OTLP and HTTPS only
    backup: true

- name: Take one port back, in a project of several files
  hardened.clickstack.compose_ports:
    project_src: /opt/clickstack
    files:
      - docker-compose.yml
      - docker-compose.override.yml
    rules:
      - service: otel-collector
        target: [13133]
        protocol: tcp
        action: bind
        address: "::1"

- name: Bind whatever is published on all addresses
  hardened.clickstack.compose_ports:
    project_src: /opt/clickstack
    environment:
      HYPERDX_APP_PORT: "8080"
    rules:
      - service: "*"
        host_ip: 0.0.0.0
        action: bind

- name: Leave a checkout of upstream as it is, and say beside it what it publishes
  hardened.clickstack.compose_ports:
    project_src: /opt/upstream
    override_file: docker-compose.override.yml
    rules:
      - service: otel-collector
        target: [4317-4318]
        action: keep
      - service: app
        target: [8080]
        action: bind
    default:
      action: remove
"""

RETURN = r"""
exposure:
  description: What is exposed to whom; one item for each port, and one for each service with network_mode host.
  returned: success
  type: dict
  contains:
    before:
      description: What the files published, the override file as it was among them.
      type: list
      elements: dict
      contains: &exposed
        service:
          description: The service that publishes the port.
          type: str
        target:
          description: The container's port; null for network_mode host, where it is whatever the container listens on.
          type: int
        published:
          description: The host's port, or a range that Docker takes a free one of; null for any free port.
          type: str
        protocol:
          description: tcp, udp or sctp.
          type: str
        host_ip:
          description: The host's address; null for all.
          type: str
        mode:
          description: ingress or host, as in the long syntax.
          type: str
        reach:
          description: V(all) addresses of the host, one V(address), or V(loopback).
          type: str
        network_mode:
          description: The network_mode of the service; null if it has none.
          type: str
        shared_with:
          description: Services in this one's network (network_mode service), whose port it may be.
          type: list
          elements: str
        where:
          description: The file and line that publishes it.
          type: str
    after:
      description: What they publish now, or would in check mode; the keys are the same.
      type: list
      elements: dict
      contains: *exposed
  sample:
    before:
      - service: app
        target: 8080
        published: "8080"
        protocol: tcp
        host_ip: null
        mode: ingress
        reach: all
        network_mode: null
        shared_with: []
        where: /opt/clickstack/docker-compose.yml:54
    after:
      - service: app
        target: 8080
        published: "8080"
        protocol: tcp
        host_ip: 127.0.0.1
        mode: ingress
        reach: loopback
        network_mode: null
        shared_with: []
        where: /opt/clickstack/docker-compose.yml:59
files:
  description: All files of the project, those that are included or extended among them.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file, without symbolic links.
      type: str
    changed:
      description: Whether it was changed or made, or would be in check mode.
      type: bool
    backup_file:
      description: The copy of it; null without O(backup), in check mode, and if it did not change or is new.
      type: str
  sample:
    - path: /opt/clickstack/docker-compose.yml
      changed: true
      backup_file: null
override:
  description: Where O(override_file) is, and how Docker Compose comes to read it; null if it is omitted.
  returned: success
  type: dict
  contains:
    path:
      description: The file.
      type: str
    read_by_default:
      description: Whether Docker Compose, run in O(project_src), reads this file and the others without C(--file).
      type: bool
    compose_file:
      description: The value of C(COMPOSE_FILE) with which it does, whatever the names.
      type: str
  sample:
    path: /opt/upstream/docker-compose.override.yml
    read_by_default: true
    compose_file: docker-compose.yml:docker-compose.override.yml
validated:
  description: Whether Docker Compose was asked.
  returned: success
  type: bool
  sample: true
errors:
  description: Everything that is wrong with the rules, one text each; nothing was changed then.
  returned: when rules cannot be followed
  type: list
  elements: str
  sample:
    - "rules[0].service: no service is called ap; there are: app, otel-collector"
"""

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.runner import run


def main() -> None:
    """Run the module."""
    run()


if __name__ == "__main__":
    main()
