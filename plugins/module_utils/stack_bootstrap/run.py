# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a HyperDX team: what the module stack_bootstrap_hyperdx asks, changes and writes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils import mounted_files
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap import opamp, wanted
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_bootstrap.api import Api, ApiError, Unreachable

try:
    from pymongo import MongoClient
    from pymongo.errors import ConfigurationError, PyMongoError

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

Json = dict[str, Any]
MODE = 0o400
_PAUSE = 0.5
_REQUEST_SECONDS, _CHECK_SECONDS = 30, 10
_ENFORCE = "db.teams.updateMany({}, {$set: {collectorAuthenticationEnforced: true}})"


class Refused(Exception):
    """It cannot be done like this, and nothing was changed; the arguments are the problems."""


class Failed(Exception):
    """Something did not come out as it should; the text says what to do."""


def run(module: AnsibleModule) -> None:
    """Run the module stack_bootstrap_hyperdx.

    :param module: the module, with its arguments
    """
    team = Team(module)
    try:
        team.run()
    except Refused as refused:
        told = "Nothing was changed:" if not team.result["changed"] or module.check_mode else "The run ends here:"
        team.fail("\n- ".join([told, *refused.args]) if len(refused.args) > 1 else f"{told} {refused.args[0]}")
    except (ApiError, Failed) as error:
        team.fail(str(error))
    except OSError as error:
        team.fail(f"{error.filename}: {error.strerror}. Nothing is half written; the next run goes on.")
    module.exit_json(**team.result)


class Team:
    """A HyperDX team, and what this run did to it."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: Json = module.params
        self._check: bool = module.check_mode
        self._connection: Json | None = self._options["connection"]
        self._sources = wanted.listed(self._options["sources"])
        self._secrets: dict[str, str] = {}
        self._done: list[str] = []
        self.result: Json = {
            "changed": False,
            "registered": False,
            "collector_authentication": None,
            "ingestion_key": "unchanged",
            "connection": "unchanged",
            "sources_created": [],
            "sources_updated": [],
            "diff": {"before": {}, "after": {}},
        }

    def fail(self, text: str) -> None:
        """Fail, and say what was done before."""
        said = f" Before that: {'; '.join(self._done)}." if self._done else ""
        self._module.fail_json(msg=f"{text}{said}", **self.result)

    def run(self) -> None:
        """Bring the team to what it shall be. Raises Refused before anything is changed, ApiError, Failed,"
        " OSError."""
        self._read_files()
        try:
            seconds = _CHECK_SECONDS if self._check else _REQUEST_SECONDS
            self._api = Api(self._options["url"], self._options["ca_cert"], seconds)
        except ApiError as error:
            raise Refused(str(error)) from None
        except OSError as error:
            # ssl names no file
            raise Refused(f"{self._options['ca_cert']}: {error.strerror or error}.") from None
        try:
            is_new = not self._wait()
        except Unreachable as error:
            key_file = self._options["ingestion_key_file"]
            if not self._check or not key_file or os.path.lexists(key_file):
                raise
            # a host on which this has never run: the container will be there when it does
            self._module.warn(f"{error}. It is taken for one that is still to be started, with nobody registered.")
            is_new = True
        try:
            self._bring(is_new)
        finally:
            self._api.log_out()

    def _bring(self, is_new: bool) -> None:
        """Go through what the team shall have, in order."""
        is_known = not (is_new and self._check)
        if is_new:
            self._register()
        if is_known:
            self._log_in(is_new)
            self._authentication()
        connections = self._api.get("/connections") if is_known and self._connection else []
        sources = self._api.get("/sources") if is_known and self._sources else []
        problems = list(wanted.source_problems(self._options["sources"], wanted.by_name(sources)))
        if problems:
            raise Refused(*problems)
        connection = self._bring_connection(connections)
        if self._sources:
            self._bring_sources(sources, connection)
        self._bring_key(is_known)
        if connection and self._connection and self._connection["test"] and self.result["connection"] != "unchanged":
            self._prove(connection)

    # -- what is given -------------------------------------------------------------------------------------------------

    def _read_files(self) -> None:
        """Read the secrets, and see that the key can be written. Raises Refused with all that is wrong."""
        problems = []
        files = {"owner": self._options["owner_password_file"]}
        if self._connection:
            files["connection"] = self._connection["password_file"]
        if self._options["mongodb_uri_file"]:
            files["mongodb"] = self._options["mongodb_uri_file"]
        for name, path in files.items():
            try:
                text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{path}: {getattr(error, 'strerror', None) or error}.")
                continue
            if not text or "\n" in text:
                problems.append(f"{path}: a secret is one line; this file has {'none' if not text else 'several'}.")
            self._secrets[name] = text
            self._module.no_log_values.add(text)
        key_file = self._options["ingestion_key_file"]
        if key_file and not Path(key_file).parent.is_dir() and not self._check:
            problems.append(
                f"{Path(key_file).parent}: this directory is not there, and the ingestion key belongs in it."
            )
        if key_file and Path(key_file).is_dir():
            problems.append(
                f"{key_file}: this is a directory, which Docker makes where a mounted file is missing. Remove it."
            )
        if self._sources and not self._connection:
            problems.append("sources need a connection, which they belong to.")
        if problems and self._check and self._is_bare(files):
            # the secrets will be made by what runs before this
            self._secrets = {name: self._secrets.get(name, "") for name in files}
            return
        if problems:
            raise Refused(*problems)

    def _is_bare(self, files: Mapping[str, str]) -> bool:
        """Whether none of the secrets is there, as in check mode on a host that has nothing yet."""
        return not any(os.path.lexists(path) for path in files.values())

    def _wait(self) -> bool:
        """Wait until HyperDX works; whether it has a team. Raises ApiError."""
        end = time.monotonic() + (0 if self._check else self._options["timeout"])
        while True:
            try:
                if self._api.is_ready():
                    return self._api.is_team_there()
                problem = Unreachable(f"{self._api.url}: HyperDX has no connection to its MongoDB. Its log says why")
            except Unreachable as error:
                problem = error
            if time.monotonic() > end:
                raise problem
            time.sleep(_PAUSE)

    # -- the owner -----------------------------------------------------------------------------------------------------

    def _register(self) -> None:
        """Become the owner of an instance that has none. Raises Refused, ApiError."""
        missing = wanted.password_problems(self._secrets["owner"]) if self._secrets["owner"] or not self._check else []
        if missing:
            raise Refused(
                f"{self._options['owner_password_file']}: HyperDX registers nobody with this password. It wants"
                f" {', '.join(missing)}. stack_secrets makes such a one with kind: password; remove the file first."
            )
        self._changed(
            "registered", True, f"registered {self._options['owner_email']}", owner=self._options["owner_email"]
        )
        if not self._check and not self._api.register(self._options["owner_email"], self._secrets["owner"]):
            # somebody was faster; the login shows whether that was this run's twin
            self.result["registered"] = False
            self._done.pop()

    def _log_in(self, is_new: bool) -> None:
        """Sign in as the owner. Raises Refused, ApiError."""
        email = self._options["owner_email"]
        problem = self._api.log_in(email, self._secrets["owner"])
        if problem == "passwordAuthNotAllowed":
            raise Refused(f"{self._api.url}: this HyperDX lets nobody sign in by password, so {email} cannot either.")
        if problem == "unknown":
            raise Failed(
                f"{self._api.url}: {email} signs in, but belongs to no team. An earlier registration was ended in its"
                " middle: remove this user from the collection users in HyperDX's MongoDB and run this again."
            )
        if problem:
            owned = " Somebody registered while this run did." if is_new else ""
            raise Refused(
                f"{self._api.url}: this HyperDX has a team, and {email} cannot sign in with the password in"
                f" {self._options['owner_password_file']}.{owned} If the team is yours, give the email and the"
                " password of one of its members. If you do not know who registered, whoever reached HyperDX first"
                " owns it: stop it, look at the collection users in its MongoDB, and if it holds nothing of yours"
                " drop HyperDX's database and run this again."
            )

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _authentication(self) -> None:
        """See that collectors refuse senders without a key. Raises Refused, Failed."""
        found = self._is_enforced()
        self.result["collector_authentication"] = found
        if not self._options["collector_authentication"] or found:
            return
        if found is None:
            self._module.warn(
                f"{self._api.url}: this HyperDX does not say whether collectors want a key, and it was not to be"
                " seen by OpAMP (opamp_url). Look at collectorAuthenticationEnforced in the collection teams of"
                " its MongoDB."
            )
            return
        if not self._options["mongodb_uri_file"]:
            raise Refused(
                f"{self._api.url}: collectors take data from everybody (collectorAuthenticationEnforced is false),"
                " as in teams that older versions made, and HyperDX has no route to change that. In mongosh, as a"
                f" user that may write to HyperDX's database: {_ENFORCE}. Or give mongodb_uri_file, and this module"
                " does it. Collectors learn of it by themselves; have the key in all senders before."
            )
        if not HAS_PYMONGO:
            raise Refused("mongodb_uri_file needs pymongo (Debian, Ubuntu: python3-pymongo) on this host.")
        self._changed(
            "collector_authentication", True, "enforced collector authentication", collector_authentication=True
        )
        self.result["diff"]["before"]["collector_authentication"] = False
        if self._check:
            return
        try:
            client: Any
            with MongoClient(self._secrets["mongodb"], serverSelectionTimeoutMS=10000) as client:
                teams = client.get_default_database()["teams"]
                teams.update_many({}, {"$set": {"collectorAuthenticationEnforced": True}})
        except PyMongoError as error:
            # what is wrong with a connection string may quote it
            told = "it cannot be used" if isinstance(error, ConfigurationError) else str(error)
            place = self._options["mongodb_uri_file"]
            raise Failed(f"{place}: MongoDB, by this connection string: {type(error).__name__}, {told}.") from None
        if not self._is_enforced():
            raise Failed(
                f"{self._options['mongodb_uri_file']}: the database of this connection string has been written, and"
                " HyperDX does not know of it. Is it another MongoDB, or another database than HyperDX's?"
            )

    def _is_enforced(self) -> bool | None:
        """Whether collectors want a key: what HyperDX says of its team, or else what it tells collectors."""
        me = self._api.get("/me")
        said = (me.get("team") or {}).get("collectorAuthenticationEnforced") if isinstance(me, dict) else None
        if isinstance(said, bool) or not self._options["opamp_url"]:
            return said if isinstance(said, bool) else None
        return ask_opamp(self._options["opamp_url"])

    def _bring_key(self, is_known: bool) -> None:
        """Make another ingestion key if that is wanted, and write it. Raises ApiError, OSError."""
        if self._options["rotate_ingestion_key"]:
            self._changed("ingestion_key", "rotated", "made another ingestion key", ingestion_key="(another)")
            if not self._check:
                self._api.send("PATCH", "/team/apiKey")
        path = self._options["ingestion_key_file"]
        if not path:
            return
        file, owner = Path(path), self._options["ingestion_key_owner"]
        if is_known:
            team = self._api.get("/team")
            key = team.get("apiKey") if isinstance(team, dict) else None
            if not isinstance(key, str) or not key:
                raise Failed(f"{self._api.url}: the team has no ingestion key. Make one with rotate_ingestion_key.")
            self._module.no_log_values.add(key)
            left = file.with_name(f".{file.name}.new")
            is_there = any(mounted_files.is_there(file, text, owner, owner, MODE) for text in (key, f"{key}\n"))
            if is_there and not left.exists() and self.result["ingestion_key"] == "unchanged":
                return
        if self.result["ingestion_key"] == "unchanged":
            self._changed("ingestion_key", "written", f"wrote {path}", ingestion_key=f"{path} (hidden)")
        if not self._check:
            left.unlink(missing_ok=True)
            mounted_files.replace(file, f"{key}\n", owner, owner, MODE)

    # -- ClickHouse ----------------------------------------------------------------------------------------------------

    def _bring_connection(self, connections: list[Json]) -> str:
        """Make or change the connection; its id, empty where there is none yet. Raises Refused, Failed, ApiError."""
        options = self._connection
        if not options:
            return ""
        fields = {"name": options["name"], "host": options["host"].rstrip("/"), "username": options["username"]}
        if options["setting_prefix"] is not None:
            fields["hyperdxSettingPrefix"] = options["setting_prefix"]
        current = wanted.by_name(connections).get(options["name"])
        if current is None:
            self._changed("connection", "created", f"made the connection {options['name']}", connection=fields)
            if self._check:
                return ""
            data = {key: value for key, value in fields.items() if value}
            made = self._api.send("POST", "/connections", {**data, "password": self._secrets["connection"]}).data()
            return str(made["id"])
        # HyperDX may keep a slash at the end, which means the same
        before = {**current, "host": str(current.get("host", "")).rstrip("/")}
        changes = wanted.differences(before, fields)
        # as it is, it need not work where something else of it changes
        if changes or options["update_password"] == "always" or self._is_refused(current["_id"]):
            changes["password"] = ("(hidden)", "(the one in the file)")
        if not changes:
            return str(current["_id"])
        self._changed(
            "connection",
            "updated",
            f"changed the connection {options['name']}",
            connection=wanted.shown(changes, 1),
        )
        self.result["diff"]["before"]["connection"] = wanted.shown(changes, 0)
        if not self._check:
            kept = {key: current[key] for key in ("prometheusEndpoint",) if current.get(key)}
            if "hyperdxSettingPrefix" not in fields and current.get("hyperdxSettingPrefix"):
                kept["hyperdxSettingPrefix"] = current["hyperdxSettingPrefix"]
            # null takes a prefix away; an empty text is refused
            data = {**kept, **{key: value or None for key, value in fields.items()}, "id": current["_id"]}
            if "password" in changes:
                data["password"] = self._secrets["connection"]
            self._api.send("PUT", f"/connections/{current['_id']}", data)
        return str(current["_id"])

    @property
    def _wanted(self) -> Json:
        """The connection that is asked for; empty if none is."""
        return self._connection or {}

    def _is_refused(self, connection: str) -> bool:
        """Whether ClickHouse refuses the password that HyperDX has. Raises Refused where that cannot be seen."""
        if not self._wanted["test"]:
            return False
        found, said = self._probe(connection)
        if found == "fails":
            raise Refused(f"{self._no_answer(said)} Whether HyperDX has the right password cannot be seen without it.")
        return found == "refused"

    def _prove(self, connection: str) -> None:
        """See that HyperDX reads from ClickHouse. Raises Failed."""
        if self._check:
            return
        found, said = self._probe(connection)
        if found == "refused":
            raise Failed(
                f"{self._wanted['host']}: ClickHouse refuses {self._wanted['username']} with the password in"
                f" {self._wanted['password_file']} ({said}). HyperDX has that one now: let ClickHouse have the"
                " user with it, allowed from the app's address (stack_access_reader_host), and run this again."
            )
        if found == "fails":
            raise Failed(self._no_answer(said))

    def _probe(self, connection: str) -> tuple[str, str]:
        """Ask ClickHouse through HyperDX, until it answers or the time is over."""
        end = time.monotonic() + (0 if self._check else self._options["timeout"])
        while True:
            found, said = self._api.probe(connection)
            if found != "fails" or time.monotonic() > end:
                return found, said
            time.sleep(_PAUSE)

    def _no_answer(self, said: str) -> str:
        return (
            f"{self._wanted['host']}: HyperDX gets no answer from ClickHouse: {said}. Is it running, is this its"
            " address in HyperDX's network, and does HyperDX trust its certificate (NODE_EXTRA_CA_CERTS)?"
        )

    # -- sources -------------------------------------------------------------------------------------------------------

    def _bring_sources(self, sources: list[Json], connection: str) -> None:
        """Make and change sources. Raises Failed, ApiError."""
        changes = self._source_changes(sources, connection)
        if not changes:
            return
        there = wanted.by_name(sources)
        created = [name for name in changes if name not in there]
        updated = [name for name in changes if name in there]
        self.result.update(changed=True, sources_created=created, sources_updated=updated)
        self.result["diff"]["before"]["sources"] = {name: wanted.shown(changes[name], 0) for name in updated}
        self.result["diff"]["after"]["sources"] = {name: wanted.shown(changes[name], 1) for name in changes}
        if self._check:
            return
        self._create_sources(sources, connection)
        self._done += [f"made the source {name}" for name in created]
        # references between new ones, and what differs of the old
        now = self._api.get("/sources")
        there, ids = wanted.by_name(now), _ids(now)
        for source in self._sources:
            if source["name"] in self._source_changes(now, connection):
                body = wanted.resolved(source, ids, connection)
                current = there[source["name"]]
                path = f"/sources/{current['_id']}"
                self._api.send("PUT", path, wanted.replacement(current, source, body))
        self._done += [f"changed the source {name}" for name in updated]
        left = self._source_changes(self._api.get("/sources"), connection)
        if left:
            told = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in left.items())
            raise Failed(
                f"{self._api.url}: HyperDX took the sources, but this version does not keep {told}. Leave that out."
            )

    def _create_sources(self, sources: list[Json], connection: str) -> None:
        """Make the sources that are not there; those that need another one after it. Raises Failed, ApiError."""
        ids = _ids(sources)
        waiting = [source for source in self._sources if source["name"] not in ids]
        while waiting:
            bodies = [(source, wanted.resolved(source, ids, connection)) for source in waiting]
            ready = [(source, body) for source, body in bodies if wanted.can_be_created(body)]
            if not ready:
                names = ", ".join(source["name"] for source in waiting)
                raise Failed(f"{names}: a session source needs traceSourceId, the name of a trace source.")
            for source, body in ready:
                made = self._api.send("POST", "/sources", body).data()
                ids[source["name"]] = str(made["_id"])
            waiting = [source for source in waiting if source["name"] not in ids]

    def _source_changes(self, sources: list[Json], connection: str) -> dict[str, dict[str, tuple[Any, Any]]]:
        """What is not as it shall be, by the names of sources."""
        there = wanted.by_name(sources)
        found = {}
        for source in self._sources:
            current = there.get(source["name"])
            given = {key: value for key, value in source.items() if value is not None}
            if current is None:
                found[source["name"]] = wanted.differences({}, given)
                continue
            changes = wanted.differences(wanted.named(current, sources), source)
            if current.get("connection") != connection:
                changes["connection"] = ("another", self._connection["name"] if self._connection else "")
            if changes:
                found[source["name"]] = changes
        return found

    def _changed(self, what: str, value: object, done: str, **after: object) -> None:
        """Note a change, for the result and its diff."""
        self.result.update({"changed": True, what: value})
        self.result["diff"]["after"].update(after)
        if not self._check:
            self._done.append(done)


def _ids(sources: list[Json]) -> dict[str, str]:
    return {name: str(source["_id"]) for name, source in wanted.by_name(sources).items()}


def ask_opamp(url: str) -> bool | None:
    """Whether HyperDX tells its collectors to want a key; None where it does not say.

    :param url: where its OpAMP is
    """
    try:
        api = Api(url, None, _REQUEST_SECONDS)
        answer = api.ask("POST", opamp.PATH, body=opamp.question(), **{"Content-Type": opamp.CONTENT_TYPE})
        return opamp.is_enforced(answer.body) if answer.status == 200 else None
    except (ApiError, ValueError):
        return None
