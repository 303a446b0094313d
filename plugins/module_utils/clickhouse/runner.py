# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a result: the only file that knows AnsibleModule."""

from __future__ import annotations

import contextlib
import glob
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import access, options
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.apply import apply
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import (
    CLICKHOUSE_CONNECT_ERROR,
    AccessError,
    Login,
    Session,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import named_collection
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Change, Document, Wish
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.lockout import Me, lockouts
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import shown
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import PLURALS, TYPES
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
_SECRET_STATES = {"user": "password_state", "named_collection": "values_state"}
"""The results that say whether the stored secrets are the wished ones."""
GUARD_OPTION: dict[str, Any] = {"allow_lockout": {"type": "bool", "default": False}}


# -- one entity -----------------------------------------------------------------------------------------------------


def run(kind: str) -> NoReturn:
    """Run the module of one entity type: read, plan, apply, report."""
    guard = GUARD_OPTION if kind in access.GUARDED else {}
    module = AnsibleModule(argument_spec={**LOGIN_OPTIONS, **guard, **TYPES[kind].options}, supports_check_mode=True)
    with _session(module) as session:
        server = Server(session)
        items = [access.Item(kind, module.params)]
        cluster = _cluster(module)
        replicas = server.load(access.question(items, {kind}, cluster, whole=False))
        wished, errors = access.wishes(items, server)
        access.raise_all(errors)
        state = access.currents(server, {kind}, replicas)
        ((_item, wish),) = wished
        if not (wish.extra.get("gone") and not any(kinds[kind] for kinds in state.values())):
            _see_references(module, server, wish, state)
        ours = next(iter(replicas.values()))
        plan = access.planned(wished, state, server, partial(access.cluster_of, cluster, ours))
        _guard(module, server, state, wished, plan)
        (change,) = plan.changes
        result: dict[str, Any] = {"entity": shown(change.after), "diff": _diff([change])}
        if kind in _SECRET_STATES:
            result[_SECRET_STATES[kind]] = plan.secrets.get((kind, change.name), "none")
        _finish(module, session, plan, result)


def _see_references(module: AnsibleModule, server: Server, wish: Wish, state: access.Currents) -> None:
    """Look up what the wish relies on; in check mode an earlier task may only pretend to make it.

    :raises WishError: for a name that does not exist
    """
    known = {wish.name} if wish.kind == "grant" and any(kinds["grant"] for kinds in state.values()) else set()
    refs = [ref for ref in access.references(wish) if ref.option != "grantee" or ref.name not in known]
    for ref in server.missing(refs):
        problem = f"{' or '.join(ref.kinds).replace('_', ' ')} {ref.name} does not exist"
        if not module.check_mode:
            raise WishError(ref.option, f"{problem}: create it first")
        module.warn(f"{ref.option}: {problem}; in check mode it is taken to be made by an earlier task")


# -- many entities --------------------------------------------------------------------------------------------------


def entity_options(kind: str) -> dict[str, Any]:
    """Return the options of one entity among many: those of its module, without what is said once for all."""
    return {name: spec for name, spec in TYPES[kind].options.items() if name != "cluster"}


ACCESS_OPTIONS: dict[str, Any] = {
    # what is in the entries, options.py checks; no_log, because a run that fails early returns them
    **{plural: {"type": "list", "elements": "dict", "no_log": True} for plural in PLURALS.values()},
    "purge": {
        "type": "dict",
        "options": {
            plural: {"type": "list", "elements": "str"}
            for kind, plural in PLURALS.items()
            if kind not in ("database", "grant")
        },
    },
    "protected": {"type": "list", "elements": "str"},
    "cluster": {"type": "str"},
    "progress_file": {"type": "path"},
}


class _ManyModule(AnsibleModule):  # type: ignore[misc]
    """An AnsibleModule whose input is too large, and too secret, to go to the system's log."""

    def exit_json(self, **result: Any) -> NoReturn:
        """End the module."""
        super().exit_json(**{"invocation": self._said(), **result})
        raise AssertionError("exit_json ends the module")

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End the module with an error."""
        super().fail_json(msg, **{"invocation": self._said(), **result})
        raise AssertionError("fail_json ends the module")

    def _said(self) -> dict[str, Any]:
        """What a result says of the input, which is not looked through for secrets."""
        return {"module_args": {key: self.params.get(key) for key in ("login_host", "login_port", "cluster")}}

    def _log_invocation(self) -> None:
        counts = ", ".join(f"{plural}: {len(self.params.get(plural) or ())}" for plural in PLURALS.values())
        self.log(f"Invoked with {counts}")


def run_access() -> NoReturn:
    """Run clickhouse_access: one state read, one plan, one apply."""
    module = _ManyModule(argument_spec={**LOGIN_OPTIONS, **GUARD_OPTION, **ACCESS_OPTIONS}, supports_check_mode=True)
    # No secret is in what we return: statements, documents and errors carry marks. To look for each of 10,000
    # passwords in each of 100,000 texts, as AnsibleModule would, takes hours.
    module.no_log_values = {value for value in (module.params["login_password"],) if value}
    with _session(module) as session:
        server = Server(session)
        items = _items(module)
        cluster = _cluster(module)
        scope = {kind: (module.params["purge"] or {}).get(plural) or () for kind, plural in PLURALS.items()}
        kinds = {item.kind for item in items} | {kind for kind, patterns in scope.items() if patterns}
        replicas = server.load(access.question(items, kinds, cluster, whole=True))
        if scope["named_collection"]:
            named_collection.check_sight(server)
        state = access.currents(server, kinds, replicas)
        ours, here = next(iter(replicas.values())), next(iter(state.values()))
        names = {kind: {row["name"] for row in ours[f"{kind}s"]} for kind in access.REFERRED}
        for rows in replicas.values():
            rows.forget()
        wished, errors = access.wishes(items, server)
        protected = module.params["protected"] or ()
        declared = {(wish.kind, wish.name) for _item, wish in wished}
        gone = access.purged(scope, state, declared, [*protected, glob.escape(server.user)])
        errors += access.check(items, wished, names, gone, protected)
        wished = access.folded(wished, here)
        errors += access.circles(wished, here, names["user"])
        wished += gone
        plan = access.planned(wished, state, server, partial(access.cluster_of, cluster, ours), errors, names["user"])
        _guard(module, server, state, wished, plan)
        changes = [change for change in plan.changes if change.statements]
        result: dict[str, Any] = {
            "changes": [
                {
                    "kind": change.kind,
                    "name": change.name,
                    "action": "drop" if change.after is None else "create" if change.before is None else "change",
                }
                for change in changes
            ],
            "drift": _drift(access.drifts(state)),
        }
        if module._diff:
            result["diff"] = _diff(changes)
        _finish(module, session, plan, result)


def _items(module: AnsibleModule) -> list[access.Item]:
    """Return the entities as the operator wrote them.

    :raises access.Refused: with everything that is no option, or no value for it
    """
    items: list[access.Item] = []
    errors: list[WishError] = []
    for kind, plural in PLURALS.items():
        entries = options.entries(plural, entity_options(kind), module.params[plural] or (), errors)
        items += [access.Item(kind, entry, f"{plural}[{index}]") for index, entry in enumerate(entries)]
        module.params[plural] = None
    # What was read is not needed twice: AnsibleModule keeps all of it, and with it every text that may be a secret.
    module.validation_result = None
    access.raise_all(errors)
    return items


ACCESS_KINDS = {plural: kind for kind, plural in PLURALS.items() if kind != "database"}
INFO_OPTIONS: dict[str, Any] = {
    "kinds": {"type": "list", "elements": "str", "choices": list(ACCESS_KINDS)},
    "names": {"type": "list", "elements": "str"},
    "read_only": {"type": "bool", "default": False},
    "cluster": {"type": "str"},
}


def run_access_info() -> NoReturn:
    """Run clickhouse_access_info: read the state, and say it in the words of clickhouse_access."""
    module = AnsibleModule(argument_spec={**LOGIN_OPTIONS, **INFO_OPTIONS}, supports_check_mode=True)
    with _session(module) as session:
        server = Server(session)
        wanted = ACCESS_KINDS if module.params["kinds"] is None else module.params["kinds"]
        kinds = {ACCESS_KINDS[plural] for plural in wanted}
        replicas = server.load(access.question((), kinds, _cluster(module), whole=True))
        if "named_collection" in kinds:
            named_collection.check_sight(server)
        state = access.currents(server, kinds, replicas)
        found = access.exported(next(iter(state.values())), module.params["names"], module.params["read_only"])
        module.exit_json(
            changed=False,
            access={plural: found.get(kind, []) for plural, kind in ACCESS_KINDS.items() if kind in kinds},
            drift=_drift(access.drifts(state)),
        )
    raise AssertionError("exit_json ends the module")


# -- what all runs share --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _session(module: AnsibleModule) -> Iterator[Session]:
    """A session for the module's login; what goes wrong before anything is changed ends the module."""
    if CLICKHOUSE_CONNECT_ERROR:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    try:
        session = Session(Login.from_options(module.params))
        try:
            yield session
        finally:
            session.close()
    except WishError as error:
        module.fail_json(msg=f"{error}. Nothing was changed.", option=error.option)
    except access.Refused as refused:
        errors = [{"option": error.option, "reason": error.reason} for error in refused.errors]
        text = " ".join(f"{error}." for error in refused.errors)
        listed = {"errors": errors} if isinstance(module, _ManyModule) else {}
        module.fail_json(msg=f"{text} Nothing was changed.", option=errors[0]["option"], **listed)
    except AccessError as error:
        module.fail_json(msg=f"{error.message} Nothing was changed.", code=error.code, error_name=error.name)
    raise AssertionError("every way through ends the module")


def _cluster(module: AnsibleModule) -> str | None:
    cluster = module.params.get("cluster")
    return check_name("cluster", cluster) if cluster is not None else None


def _guard(
    module: AnsibleModule,
    server: Server,
    state: access.Currents,
    wished: Sequence[tuple[access.Item, Wish]],
    plan: access.Plan,
) -> None:
    """Stop a run that would lock us out; what is only possible is a warning.

    :raises access.Refused: with the wishes that would do it
    """
    if module.params.get("allow_lockout") or not access.touches(plan, server.user):
        return
    ours = next(iter(state.values()))
    if any(kind not in ours for kind in access.GUARDED):
        own = next(iter(server.load(access.own_question(server, plan)).values()))
        ours = next(iter(access.currents(server, access.GUARDED, {"": own}).values()))
    login = server.session.login
    me = Me(
        server.user, server.client_address(), server.now, login.password, bool(login.client_cert) and not login.password
    )
    credentials = [
        item for _item, wish in wished if (wish.kind, wish.name) == ("user", me.name) for item in wish.credentials
    ]
    errors: dict[tuple[str, str], WishError] = {}
    for lockout in lockouts(me, *access.before_and_after(ours, plan), credentials):
        item = access.said(plan.items, lockout.kind, lockout.name, lockout.option)
        if item is None:
            continue  # a consequence of what another wish does, and that one is named
        if lockout.certain:
            reason = f"{lockout.reason}; allow_lockout: true does it all the same"
            error = item.error(WishError(lockout.option, reason))
            errors.setdefault((error.option, error.reason), error)
        else:
            plan.notes.append(str(lockout))
    access.raise_all(list(errors.values()))


def _finish(module: AnsibleModule, session: Session, plan: access.Plan, result: Mapping[str, Any]) -> NoReturn:
    """Apply the plan unless in check mode, and say what was done."""
    for note in plan.notes:
        module.warn(note)
    if not module.check_mode:
        outcome = apply(session, plan.statements, _reporter(module))
        if outcome.error is not None:
            module.fail_json(
                msg=outcome.told,
                changed=bool(outcome.done) or outcome.unknown is not None or outcome.error.partly,
                code=outcome.error.code,
                error_name=outcome.error.name,
                done=list(outcome.done),
                failed_statement=outcome.failed,
                unknown_statement=outcome.unknown,
                pending=list(outcome.pending),
            )
    module.exit_json(
        changed=bool(plan.statements), statements=[statement.shown for statement in plan.statements], **result
    )
    raise AssertionError("exit_json ends the module")


def _reporter(module: AnsibleModule) -> Callable[[int, int], None] | None:
    """What tells how far a long run has come: a line in a file, once a second at most."""
    path = module.params.get("progress_file")
    if not path:
        return None
    told = time.monotonic()

    def report(done: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told >= 1:
            told = time.monotonic()
            with contextlib.suppress(OSError):  # nobody's access depends on it
                Path(path).write_text(f"{done} {of}\n", encoding="ascii")

    return report


def _drift(drifts: Iterable[tuple[str, str, str, Document | None]]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "name": name, "replica": replica, "entity": None if document is None else shown(document)}
        for kind, name, replica, document in drifts
    ]


def _diff(changes: Sequence[Change]) -> dict[str, Any]:
    """The diff of one entity, or of all that change."""
    if len(changes) == 1:
        (change,) = changes
        header = f"{change.kind} {change.name}"
        before, after = shown(change.before), shown(change.after)
    else:
        header = f"{len(changes)} entities"
        before = {f"{change.kind} {change.name}": shown(change.before) for change in changes}
        after = {f"{change.kind} {change.name}": shown(change.after) for change in changes}
    return {"before_header": header, "after_header": header, "before": before, "after": after}
