# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a result: the only file that knows AnsibleModule."""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.apply import apply
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import (
    CLICKHOUSE_CONNECT_ERROR,
    AccessError,
    Login,
    Session,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import grant
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Change,
    EntityType,
    Ref,
    Target,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan, shown
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import TYPES
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError, check_name
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server


def _login_option(variable: str, **spec: Any) -> dict[str, Any]:
    return {"type": "str", **spec, "fallback": (env_fallback, [variable])}


LOGIN_OPTIONS: dict[str, Any] = {
    "login_host": _login_option("CLICKHOUSE_HOST", default="localhost"),
    "login_port": _login_option("CLICKHOUSE_PORT", type="int"),
    "login_user": _login_option("CLICKHOUSE_USER", default="default"),
    "login_password": _login_option("CLICKHOUSE_PASSWORD", no_log=True),
    "login_secure": _login_option("CLICKHOUSE_SECURE", type="bool", default=True),
    "login_validate_certs": _login_option("CLICKHOUSE_VALIDATE_CERTS", type="bool", default=True),
    "login_ca_cert": _login_option("CLICKHOUSE_CA_CERT", type="path"),
    "login_client_cert": _login_option("CLICKHOUSE_CLIENT_CERT", type="path"),
    "login_client_key": _login_option("CLICKHOUSE_CLIENT_KEY", type="path", no_log=False),
    "login_server_host_name": _login_option("CLICKHOUSE_SERVER_HOST_NAME"),
    "login_connect_timeout": _login_option("CLICKHOUSE_CONNECT_TIMEOUT", type="int", default=10),
    "login_timeout": _login_option("CLICKHOUSE_TIMEOUT", type="int", default=60),
}


def run(kind: str) -> NoReturn:
    """Run the module of one entity type: read, plan, apply, report."""
    entity_type = TYPES[kind]
    module = AnsibleModule(argument_spec={**LOGIN_OPTIONS, **entity_type.options}, supports_check_mode=True)
    if CLICKHOUSE_CONNECT_ERROR:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    try:
        session = Session(Login.from_options(module.params))
        try:
            _converge(module, entity_type, session)
        finally:
            session.close()
    except WishError as error:
        module.fail_json(msg=f"{error}. Nothing was changed.", option=error.option)
    except AccessError as error:
        module.fail_json(msg=f"{error.message} Nothing was changed.", code=error.code, error_name=error.name)
    raise AssertionError("every way through ends the module")


def _converge(module: AnsibleModule, entity_type: EntityType, session: Session) -> None:
    server = Server(session)
    options = module.params
    if entity_type.kind != "grant" and options.get("state") == "absent":
        options = {key: options.get(key) for key in ("name", "state", "storage", "cluster", "allow_lockout")}
    wish = entity_type.wish(options, server)
    current = entity_type.read(server, [wish.name]).get(wish.name)
    refs = list(wish.refs) if wish.present else []
    if entity_type.kind == "grant" and current is None:
        if options["state"] == "absent":
            module.exit_json(**_result(Change(entity_type.kind, wish.name, None, None), None))
        refs.insert(0, Ref(("user", "role"), wish.name, "grantee"))
        current = grant.nothing(server)
    # References are looked up before anything is changed; in check mode an earlier task may only pretend to make them.
    for ref in server.missing(refs) if refs else []:
        problem = f"{' or '.join(ref.kinds).replace('_', ' ')} {ref.name} does not exist"
        if not module.check_mode:
            raise WishError(ref.option, f"{problem}: create it first")
        module.warn(f"{ref.option}: {problem}; in check mode it is taken to be made by an earlier task")
    if entity_type.settle is not None:
        wish, notes = entity_type.settle(server, wish, current)
        for note in notes:
            module.warn(note)
    cluster = check_name("cluster", options["cluster"]) if options.get("cluster") is not None else None
    change = plan(entity_type, wish, current, Target(cluster), server)
    result = _result(change, wish.extra.get("password"))
    if not module.check_mode:
        outcome = apply(session, change.statements)
        if outcome.error is not None:
            module.fail_json(
                msg=f"{outcome.error.message} Done: {len(outcome.done)}, pending: {len(outcome.pending)};"
                " once that is mended, a second run finishes the work.",
                changed=bool(outcome.done) or outcome.unknown is not None,
                code=outcome.error.code,
                error_name=outcome.error.name,
                done=list(outcome.done),
                failed_statement=outcome.failed,
                unknown_statement=outcome.unknown,
                pending=list(outcome.pending),
            )
    module.exit_json(**result)


def _result(change: Change, password: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "changed": bool(change.statements),
        "statements": [statement.shown for statement in change.statements],
        "entity": shown(change.after),
        "diff": {
            "before_header": f"{change.kind} {change.name}",
            "after_header": f"{change.kind} {change.name}",
            "before": shown(change.before),
            "after": shown(change.after),
        },
    }
    if change.kind == "user":
        result["password_state"] = password or "none"
    return result
