# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a result: the only file here that knows AnsibleModule."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose import content as contents
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose import host
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose.preflight import (
    mounts,
    problems,
    published,
    too_old,
    wrong_overrides,
)


def preflight(module: AnsibleModule) -> None:
    """Run the module stack_compose_preflight.

    :param module: the module, with its arguments
    """
    try:
        found, mounted = _preflight(module)
    except host.HostError as error:
        found, mounted = [str(error)], {}
    if found:
        module.fail_json(
            msg="\n".join(
                [
                    "Nothing was changed, because the stack would not work on this host:",
                    *(f"- {each}" for each in found),
                ]
            ),
            problems=found,
        )
    module.exit_json(changed=False, problems=[], mounted=mounted)


def _preflight(module: AnsibleModule) -> tuple[list[str], dict[str, list[str]]]:
    options = module.params

    def run(args: Sequence[str]) -> tuple[int, str, str]:
        result: tuple[int, str, str] = module.run_command(list(args))
        return result

    missing = [
        f"{what} is not installed: there is no {program} command."
        for program, what in (("docker", "Docker"), ("ip", "iproute2"))
        if shutil.which(program) is None
    ]
    if missing:
        return missing, {}
    docker = host.Docker(run, shutil.which("docker") or "")
    engine, compose = docker.versions()
    found = too_old(engine, compose)
    if found:
        return found, {}
    directory, name = options["directory"], options["name"]
    own = docker.merged([options["definition"]], name, directory)
    found = wrong_overrides(own["services"], options["overrides"])
    if found:
        return found, {}
    project = own
    if options["overrides"]:
        # JSON is YAML, and holds the dictionary as it was given
        project = docker.merged([options["definition"], json.dumps(options["overrides"])], name, directory)
    mounted = mounts(project)
    mounted_read_only: dict[str, list[str]] = {service: [] for service in project["services"]}
    for mount in mounted:
        if not mount.is_writable:
            mounted_read_only[mount.service].append(mount.path)
    required = options["required"]
    trees = {mount.path for mount in mounted if not mount.is_writable} | {
        path for paths in required.values() for path in paths
    }
    single = {mount.path for mount in mounted if mount.is_writable}
    seen = host.read(
        run, docker, shutil.which("ip") or "", engine, name, published(project), sorted(trees), sorted(single)
    )
    return problems(project, seen, options["ours"], required), mounted_read_only


def content(module: AnsibleModule) -> None:
    """Run the module stack_compose_content.

    :param module: the module, with its arguments
    """
    options = module.params
    try:
        key, is_new = contents.read_key(options["key_file"], module.check_mode)
        prints = {
            service: contents.fingerprint(key, paths, options["ignored"])
            for service, paths in options["services"].items()
        }
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}. Nothing was restarted.")
    module.exit_json(changed=is_new, content=prints)
