# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a result: the only file here that knows AnsibleModule, and that asks the host."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_firewall import declarations, ufw

UFW_RULES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
UFW_SETTINGS = ("/etc/default/ufw", "/etc/ufw/ufw.conf")
NEEDED = {
    "nft": "install the package nftables",
    "ip": "install the package iproute2",
    "systemctl": "the role needs systemd",
    "systemd-run": "the role needs systemd",
    "unshare": "install the package util-linux",
}


def preflight(module: AnsibleModule) -> None:
    """Run the module stack_firewall_preflight.

    :param module: the module, with its arguments
    """
    given = module.params
    if given["state"] == "absent":
        _found(module, [], [], ())
    problems = [f"There is no {name} on this host: {what}." for name, what in NEEDED.items() if not _path(module, name)]
    if not _path(module, "docker") and not _path(module, "dockerd"):
        problems.append("There is no Docker on this host: install it first, or leave this role out.")
    if given["ufw"] and not _path(module, "ufw"):
        problems.append(
            "There is no ufw on this host: install the package ufw, or set stack_firewall_ufw_enabled to false."
        )
    if problems:
        _refuse(module, problems)

    lists: dict[str, list[declarations.Opening]] = {"published": [], "host_ports": []}
    for name, openings in lists.items():
        try:
            openings += declarations.openings(given[name], f"stack_firewall_{name}")
        except declarations.DeclarationError as error:
            problems += error.problems
    trusted = declarations.networks(given["trusted_networks"], "stack_firewall_trusted_networks", problems)
    problems += declarations.wrong_patterns(given["internal_interfaces"])
    if problems:
        _refuse(module, problems)

    declared = [*lists["published"], *lists["host_ports"]]
    interfaces = _interfaces(module)
    rules = _ufw_rules()
    problems += declarations.contradictions(lists["published"], lists["host_ports"])
    problems += declarations.missing(declared, interfaces)
    problems += declarations.pretenders(given["internal_interfaces"], interfaces)
    if given["ufw"] or given["guard_input"]:
        problems += _cut_off(given["connection"], lists["host_ports"], trusted, interfaces)
    if given["guard_input"]:
        problems += ufw.undeclared(rules, declared, trusted)
    if problems:
        _refuse(module, problems)

    _found(module, lists["published"], lists["host_ports"], trusted)


def _found(
    module: AnsibleModule,
    published: list[declarations.Opening],
    host_ports: list[declarations.Opening],
    trusted: tuple[declarations.Network, ...],
) -> None:
    """End with what the declarations mean here, and what there is to do."""
    given = module.params
    present = given["state"] == "present"
    settings = {**_ufw_settings(), "policies": _policies(module) if given["ufw"] else []}
    want: list[ufw.Rule] = []
    if present and given["ufw"]:
        backend = given["firewall_backend"] or _firewall_backend(module)
        bridges = given["internal_interfaces"] if backend == "nftables" else []
        want = ufw.wanted([*host_ports, *published], trusted, bridges, settings["ipv6"])
    plan = ufw.plan(_ufw_rules(), want) if given["ufw"] else ufw.Plan([], [])
    module.exit_json(
        changed=False,
        published=declarations.printed(published),
        host_ports=declarations.printed(host_ports),
        trusted={
            f"ipv{version}": [declarations.plain_network(each) for each in trusted if each.version == version]
            for version in (4, 6)
        },
        ufw=settings,
        # what lets in before what shuts out
        ufw_rules=[
            *({**rule.parameters, "delete": False} for rule in plan.add),
            *({**rule.parameters, "delete": True} for rule in plan.delete),
        ],
        ufw_is_different=bool(
            plan.add
            or plan.delete
            or (present and (not settings["enabled"] or settings["incoming"] == "allow"))
            or (not present and os.path.exists(given["before"]))
        ),
        is_kept=os.path.exists(given["kept"]),
    )


def _refuse(module: AnsibleModule, problems: list[str]) -> None:
    module.fail_json(msg="\n".join([*problems, "Nothing was changed."]), problems=problems)


def _path(module: AnsibleModule, name: str) -> str | None:
    path: str | None = module.get_bin_path(name, opt_dirs=["/usr/local/sbin", "/usr/sbin", "/sbin"])
    return path


def _interfaces(module: AnsibleModule) -> dict[str, list[str]]:
    """Return the addresses of each interface, as iproute2 says them in JSON."""
    _status, output, _errors = module.run_command([_path(module, "ip"), "-json", "address", "show"], check_rc=True)
    return {
        link["ifname"]: [each["local"] for each in link.get("addr_info", [])] for link in json.loads(output) if link
    }


def _ufw_rules() -> list[ufw.Rule]:
    """Return the rules that ufw has, whether it is enabled or not."""
    text = ""
    for path in UFW_RULES:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text += file.read()
    return ufw.parse(text)


def _ufw_settings() -> dict[str, Any]:
    """Return whether ufw is enabled, whether for IPv6 too, and its default for what comes in: allow, deny or reject."""
    words: dict[str, str] = {}
    for path in UFW_SETTINGS:
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
            lines = [line.partition("=") for line in file if not line.lstrip().startswith("#")]
            words.update({name.strip(): value.strip().strip("\"'").lower() for name, _sign, value in lines})
    return {
        "enabled": words.get("ENABLED") == "yes",
        "ipv6": words.get("IPV6", "no") == "yes",
        "incoming": {"accept": "allow", "drop": "deny"}.get(words.get("DEFAULT_INPUT_POLICY", "drop"), "reject"),
    }


def _policies(module: AnsibleModule) -> list[dict[str, str]]:
    """Return the policies of the filter table's chains, of both IP versions, which ``ufw disable`` sets to ACCEPT."""
    found = []
    for version in ("ipv4", "ipv6"):
        # iptables -S would make the chains that it does not find
        path = _path(module, "iptables-save" if version == "ipv4" else "ip6tables-save")
        if path:
            _status, output, _errors = module.run_command([path], check_rc=True)
            found += ufw.policies(output, version)
    return found


def _cut_off(
    connection: str,
    host_ports: list[declarations.Opening],
    trusted: tuple[declarations.Network, ...],
    interfaces: dict[str, list[str]],
) -> list[str]:
    """Return whether the rules would cut off this very run. ``connection``: SSH_CONNECTION, as in ssh(1), or empty."""
    if not connection:
        return []
    source, _source_port, address, port = connection.split()
    if declarations.admits(host_ports, trusted, source, address, int(port), interfaces):
        return []
    return [
        f"The rules would cut off this connection, from {source} to port {port} of {address}: add"
        f" {{port: {port}, sources: [{source}]}} to stack_firewall_host_ports."
    ]


def _firewall_backend(module: AnsibleModule) -> str:
    """Return what the running engine makes its rules with, as 29.0 and later say it; empty where it does not."""
    docker = _path(module, "docker")
    if not docker:
        return ""
    status, output, _errors = module.run_command([docker, "info", "--format", "{{.FirewallBackend.Driver}}"])
    # it may say more, such as nftables+firewalld
    return "" if status else str(output).strip().partition("+")[0]


def guard(module: AnsibleModule) -> None:
    """Run the module stack_firewall_guard.

    :param module: the module, with its arguments
    """
    path, present = module.params["path"], module.params["state"] == "present"
    wanted = module.params["rules"] if present else None
    live = _listing(module)
    after = _checked(module, wanted) if wanted is not None else ""
    written = _read(path)
    is_loaded, is_written = live == after, written == wanted
    if not module.check_mode:
        # The kernel first: rules that it does not take must not lie where the next boot finds them.
        if not is_loaded:
            _nft(module, ["-f", "-"], wanted or f"delete table {module.params['table']}\n")
        if not is_written:
            _write(module, path, wanted)
    module.exit_json(
        changed=not (is_loaded and is_written),
        is_different=not (is_loaded and is_written),
        diff=[
            {"before_header": f"table {module.params['table']}", "after_header": "", "before": live, "after": after},
            {"before_header": path, "after_header": path, "before": written or "", "after": wanted or ""},
        ],
    )


def _nft(module: AnsibleModule, arguments: list[str], rules: str | None = None) -> tuple[int, str, str]:
    status, output, errors = module.run_command(
        [_path(module, "nft") or module.get_bin_path("nft", required=True), *arguments], data=rules
    )
    if status and rules is not None:
        module.fail_json(msg=f"nft refuses the rules, and nothing was changed: {errors.strip()}", rules=rules)
    return status, output, errors


def _listing(module: AnsibleModule) -> str:
    """Return the table as the kernel has it, without counters; empty if it has none."""
    status, output, errors = _nft(module, ["--stateless", "list", "table", *module.params["table"].split()])
    if status and "No such file or directory" not in errors:
        module.fail_json(msg=f"nft cannot list the table {module.params['table']}: {errors.strip()}")
    return str(output) if status == 0 else ""


def _checked(module: AnsibleModule, rules: str) -> str:
    """Return what the kernel will list once the rules are loaded: it is asked in a network namespace of its own.

    Fails where nft or the kernel does not take them.
    """
    _nft(module, ["--check", "-f", "-"], rules)
    nft = _path(module, "nft")
    script = f'"$1" -f - && exec "$1" --stateless list table {module.params["table"]}'
    status, output, errors = module.run_command(
        [_path(module, "unshare"), "--net", "sh", "-c", script, "sh", nft], data=rules
    )
    if status:
        module.fail_json(msg=f"The rules cannot be tried in a network namespace of their own: {errors.strip()}")
    return str(output)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(module: AnsibleModule, path: str, content: str | None) -> None:
    folder = os.path.dirname(path)
    if content is None:
        with contextlib.suppress(OSError):
            os.remove(path)
            os.rmdir(folder)
        return
    os.makedirs(folder, mode=0o755, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    module.atomic_move(fresh, path)
