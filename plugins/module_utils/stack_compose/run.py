# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a result: the only file here that knows AnsibleModule."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose import content as contents
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose import host
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose.preflight import (
    mounts,
    outdated,
    problems,
    published,
    too_old,
    wrong_overrides,
)


class Refused(Exception):
    """The project would not work; the arguments are the problems."""


def preflight(module: AnsibleModule) -> None:
    """Run the module stack_compose_preflight.

    :param module: the module, with its arguments
    """
    try:
        found = _preflight(module)
    except (Refused, host.HostError) as refused:
        said = "Nothing was changed, because the stack would not work on this host:"
        module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))
    module.exit_json(changed=False, problems=[], **found)


def _preflight(module: AnsibleModule) -> dict[str, Any]:
    """Return what the module says if nothing stands in the way. Raises Refused as early as a problem hides others."""
    options = module.params

    def run(args: Sequence[str]) -> tuple[int, str, str]:
        result: tuple[int, str, str] = module.run_command(list(args))
        return result

    def refuse(found: Sequence[str]) -> None:
        if found:
            raise Refused(*found)

    programs = {"docker": "Docker", "ip": "iproute2"}
    paths = {program: shutil.which(program) or "" for program in programs}
    refuse([f"{programs[name]} is not installed: there is no {name} command." for name in programs if not paths[name]])
    docker = host.Docker(run, paths["docker"])
    engine, compose = docker.versions()
    refuse(too_old(engine, compose))
    texts = [options["definition"]]
    project = docker.merged(texts, options["name"], options["directory"])
    if options["overrides"]:
        refuse(wrong_overrides(project["services"], options["overrides"]))
        texts.append(json.dumps(options["overrides"]))  # JSON is YAML, and holds the dictionary as it was given
        project = docker.merged(texts, options["name"], options["directory"])
    mounted = mounts(project)
    read_only = {
        service: [mount.path for mount in mounted if mount.service == service and not mount.is_writable]
        for service in project["services"]
    }
    seen = host.read(
        run,
        docker,
        paths["ip"],
        engine,
        options["name"],
        published(project),
        sorted({path for group in (read_only, options["required"]) for paths in group.values() for path in paths}),
        sorted({mount.path for mount in mounted if mount.is_writable}),
    )
    refuse(problems(project, seen, options["ours"], options["required"]))
    return {"mounted": read_only, "outdated": outdated(project, seen)}


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
