"""What the documentation shows works: every example is run, and every result is as its RETURN says."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.servers import administrator, on_newest, root

Module = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("clickhouse_*.py"))
VARIABLES = {
    "admin_password": "",
    "ingest_password": "example ingest",
    "analyst_hash": "0" * 64,
    "analyst_salt": "example salt",
    "auditor_password": "example auditor",
    "auditor_password_new": "example auditor two",
    "vault_admin_password": "",
    "exports_key_id": "example exports id",
    "exports_key": "example exports key",
    "mailer_password": "example mailer",
    "alice_password": "example alice",
    "team_users": [{"name": "team_carol", "roles": [{"name": "team_reader"}]}, {"name": "team_break_glass"}],
    "team_roles": [{"name": "team_reader"}],
    "team_grants": [{"grantee": "team_reader", "privileges": [{"privilege": ["SELECT"], "scope": ["team.*"]}]}],
}
"""What the examples take from the operator's vault."""
WORLD = {
    "ROLE": ("reader", "exporter", "administrators", "otel_ingest", "analyst", "former_employee", "obsolete"),
    "SETTINGS PROFILE": ("base", "obsolete"),
    "USER": (),
    "QUOTA": (),
    "NAMED COLLECTION": (),
}
"""What the examples take to be there already."""
TEAM = ["team_limits", "team_reader", "team_alice", "team_bob", "team_carol", "team_break_glass"]
"""What the examples of clickhouse_access make."""


def examples(name: str) -> list[dict[str, Any]]:
    """The example tasks of a module."""
    module = importlib.import_module(f"ansible_collections.hardened.clickstack.plugins.modules.{name}")
    return list(yaml.safe_load(module.EXAMPLES))


def blocks(document: Path) -> list[Any]:
    """The YAML blocks of a Markdown page."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL)]


def without_login(task: dict[str, Any]) -> dict[str, Any]:
    """A task that goes to the server under test."""
    return {
        key: {option: value for option, value in content.items() if not option.startswith("login_")}
        if isinstance(content, dict)
        else content
        for key, content in task.items()
    }


def prepare(clickhouse: Any, created: list[str]) -> None:
    """Start from what the examples take for granted: these roles and profiles, and nothing else of such names."""
    client = root(clickhouse)
    for kind, names in WORLD.items():
        for name in {*names, *created}:
            client.query(f"DROP {kind} IF EXISTS {name}")
    client.query("DROP ROW POLICY IF EXISTS acme ON telemetry.logs, recent ON telemetry.*")
    client.query("DROP DATABASE IF EXISTS otel")
    for kind, names in WORLD.items():
        for name in names:
            client.query(f"CREATE {kind} {name}")


def runs(playbook: Any, tasks: list[dict[str, Any]], **play: Any) -> None:
    """Each task three times: in check mode, which predicts; for real, the same; and again, with nothing left to do."""
    steps: list[dict[str, Any]] = []
    for task in tasks:
        predicted = {**task, "check_mode": True, "register": "predicted"}
        applied = {**task, "register": "applied", "failed_when": "applied.failed or applied.diff != predicted.diff"}
        again = {**task, "register": "again", "failed_when": "again.failed or again is changed"}
        steps += [predicted, {**applied, "diff": True}, again]
        steps[-3]["diff"] = True
    plays = [{"hosts": "localhost", "gather_facts": False, "vars": VARIABLES, **play, "tasks": steps}]
    run = playbook(plays, ANSIBLE_PIPELINING="1")
    assert run.code == 0, run.output
    assert run.recap["ok"] == len(steps)


@on_newest
@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_run(playbook: Any, clickhouse: Any, name: str) -> None:
    """All of them, one after the other."""
    tasks = [without_login(task) for task in examples(name)]
    action = f"hardened.clickstack.{name}"
    assert all(task["name"] for task in tasks) and any(action in task for task in tasks)
    prepare(clickhouse, [str(task[action].get("name")) for task in tasks if action in task] + TEAM)
    if name.endswith("_info"):
        run = playbook([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
        assert run.code == 0 and run.recap["changed"] == 0, run.output
    else:
        runs(playbook, tasks)


@on_newest
def test_the_modules_in_the_readme_run(playbook: Any, clickhouse: Any) -> None:
    """The play with module_defaults, and the inputs of the playbook are inputs of the role."""
    found = blocks(ROOT / "README.md")
    (variables,) = (block for block in found if "stack_access_login_host" in block)
    (play,) = (play for block in found if isinstance(block, list) for play in block if "module_defaults" in play)
    assert set(variables) <= INPUTS
    prepare(clickhouse, [])
    defaults = play["module_defaults"]["group/hardened.clickstack.clickhouse"]
    assert {"login_host", "login_user", "login_password"} == set(defaults)
    runs(
        playbook, [{"name": "readme", **task} for task in play["tasks"]], module_defaults=here(play["module_defaults"])
    )
    (((role,),),) = ([play["roles"] for play in block] for block in blocks(ROOT / "roles/stack_access/README.md"))
    assert role["role"] == "hardened.clickstack.stack_access" and set(role["vars"]) <= INPUTS


INPUTS = set(
    yaml.safe_load((ROOT / "roles/stack_access/meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
)


def here(defaults: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """module_defaults without the connection, which the environment gives."""
    return {
        group: {option: value for option, value in options.items() if not option.startswith("login_")}
        for group, options in defaults.items()
    }


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "database": (
        {"name": "ex_database"},
        {"name": "ex_other"},
        {"name": ""},
    ),
    "grant": (
        {"grantee": "ex_role", "privileges": [{"privilege": ["SELECT"], "scope": ["ex.*"]}]},
        {"grantee": "ex_role", "privileges": [{"privilege": ["INSERT"], "scope": ["ex.*"]}]},
        {"grantee": "ex_role", "privileges": [{"privilege": ["NOTHING"], "scope": ["ex.*"]}]},
    ),
    "quota": ({"name": "ex_new"}, {"name": "ex_denied"}, {"name": ""}),
    "named_collection": (
        {"name": "ex_new", "keys": [{"name": "a", "value": "example value"}]},
        {"name": "ex_denied", "keys": [{"name": "a", "value": "example value"}]},
        {"name": "ex_new", "keys": []},
    ),
    "role": ({"name": "ex_new"}, {"name": "ex_denied"}, {"name": "", "settings": []}),
    "row_policy": (
        {"name": "ex_new", "database": "ex", "filter": "a=1"},
        {"name": "ex_denied", "database": "ex", "table": "t"},
        {"name": "ex_new", "database": "ex", "filter": "a, b"},
    ),
    "settings_profile": ({"name": "ex_new"}, {"name": "ex_denied"}, {"name": ""}),
    "user": ({"name": "ex_new"}, {"name": "ex_denied"}, {"name": "ex_new", "authentication": []}),
}
"""For each module: options that work, options that the server refuses, options that the module refuses."""
TYPES = {"list": list, "str": str, "dict": dict, "int": int}
OF_ANSIBLE = {"changed", "diff", "failed", "msg", "invocation", "warnings", "deprecations"}
"""What every module returns, documented by Ansible."""


def _is(value: Any, kind: str) -> bool:
    """Whether a value has a type of Ansible's documentation; a boolean is no integer."""
    return isinstance(value, TYPES[kind]) and not isinstance(value, bool)


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_what_return_says(module: Module, failed: Any, clickhouse: Any, kind: str) -> None:
    """Every key of every kind of result is documented with its type, and every documented key occurs when it says."""
    documented = yaml.safe_load(
        importlib.import_module(f"ansible_collections.hardened.clickstack.plugins.modules.clickhouse_{kind}").RETURN
    )
    client = root(clickhouse)
    for statement in (
        "DROP USER IF EXISTS ex_new, ex_denied",
        "DROP ROLE IF EXISTS ex_role, ex_new, ex_denied",
        "DROP SETTINGS PROFILE IF EXISTS ex_new, ex_denied",
        "DROP QUOTA IF EXISTS ex_new, ex_denied",
        "DROP ROW POLICY IF EXISTS ex_new ON ex.*, ex_denied ON ex.t",
        "DROP DATABASE IF EXISTS ex_database",
        "DROP NAMED COLLECTION IF EXISTS ex_new",
        "CREATE ROLE ex_role",
    ):
        client.query(statement)
    watcher = administrator(
        clickhouse,
        "ex_watcher",
        "GRANT SELECT ON system.* TO {}",
        "GRANT SHOW ACCESS, SHOW NAMED COLLECTIONS ON *.* TO {}",
    )
    works, denied, wrong = KINDS[kind]
    results = {
        "success": module(kind, works),
        "when a statement failed": failed(kind, denied, **watcher),
        "when the module refused an option; nothing was changed then": failed(kind, wrong),
    }
    results["when the server refused something"] = results["when a statement failed"]
    assert {entry["returned"] for entry in documented.values()} == set(results)
    for when, result in results.items():
        expected = {key for key, entry in documented.items() if entry["returned"] == when}
        assert expected <= set(result), when
        assert set(result) - OF_ANSIBLE <= set(documented), when
        for key, entry in documented.items():
            if result.get(key) is not None:
                assert _is(result[key], entry["type"]), key
                if entry["type"] == "list":
                    assert all(_is(item, entry["elements"]) for item in result[key]), key
    for entry in documented.values():
        assert _is(entry["sample"], entry["type"])
    client.query("DROP USER ex_watcher")
