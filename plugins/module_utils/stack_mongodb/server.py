# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an Ansible task to a running MongoDB: what the module stack_mongodb_server asks and commands."""

from __future__ import annotations

import socket
import ssl
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb import accounts, judge
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.accounts import MECHANISM, Account

try:
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure, PyMongoError
    from pymongo.saslprep import saslprep

    PYMONGO_ERROR = ""
except ImportError:
    PYMONGO_ERROR = traceback.format_exc()

Json = dict[str, Any]
UNAUTHORIZED, AUTHENTICATION_FAILED, NOT_INITIALIZED, COMMAND_NOT_FOUND = 13, 18, 94, 59
_PAUSE = 0.2


class Failed(Exception):
    """The server is not what it shall be, and the run could not change that; the text says what to do."""


def run(module: AnsibleModule) -> None:
    """Run the module stack_mongodb_server.

    :param module: the module, with its arguments
    """
    if PYMONGO_ERROR:
        module.fail_json(msg=missing_required_lib("pymongo (Debian, Ubuntu: python3-pymongo)"), exception=PYMONGO_ERROR)
    server = Server(module)
    try:
        server.run()
    except Failed as error:
        server.fail(str(error))
    except PyMongoError as error:
        server.fail(f"{server.where}: {error}")
    except OSError as error:
        server.fail(f"{error.filename or server.where}: {error.strerror or error}.")
    module.exit_json(**server.result)


class Server:
    """One MongoDB, and what this run did to it."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: Json = module.params
        self._client: Any = None
        self.where = f"{self._options['host']}:{self._options['port']}"
        self.result: Json = {
            "changed": False,
            "login": "",
            "authorization": None,
            "localhost_exception": None,
            "initiated": False,
            "rotated": False,
            "created": [],
            "updated": [],
            "removed": [],
            "diff": {"before": {}, "after": {}},
        }

    def fail(self, text: str) -> None:
        """Fail, and say what was done before."""
        done = [
            f"{what} {', '.join(self.result[what])}" for what in ("created", "updated", "removed") if self.result[what]
        ]
        said = f" Before that: {'; '.join(done)}." if done and not self._module.check_mode else ""
        self._module.fail_json(msg=f"{text}{said}", **self.result)

    def run(self) -> None:
        """Bring the server to what it shall be. Raises Failed, PyMongoError, OSError."""
        wanted = self._wanted()
        self._log_in()
        self._check_version()
        if self._options["replica_set"] and not self._replica_set():
            return  # another member is the primary, or this run would have made it one
        if self._options["certificate"]:
            self._certificate()
        self._refuse_lockout(wanted)
        for account in wanted:
            self._account(account)
        for user in self._options["absent"]:
            self._remove(user["name"], user["database"])
        if wanted:
            self._look_closed()

    # -- what shall be -----------------------------------------------------------------------------------------------

    def _wanted(self) -> list[Account]:
        """The users, with their passwords. Raises Failed with all that is wrong."""
        problems: list[str] = []
        found = []
        for user in self._options["users"]:
            password = self._password(user["password_file"], problems)
            for text in [*user["client_source"], *user["server_address"]]:
                problems += judge.wrong_network(f"addresses of the user {user['name']}", text)
            roles = user["roles"]
            found.append(
                Account(
                    user["name"],
                    user["database"],
                    password,
                    None if roles is None else tuple((role["role"], role["database"]) for role in roles),
                    tuple(user["client_source"]),
                    tuple(user["server_address"]),
                    self._options["iterations"],
                )
            )
        for login in self._options["logins"]:
            self._password(login["password_file"], problems)
        if problems:
            raise Failed("\n- ".join(["Nothing was changed:", *dict.fromkeys(problems)]))
        return found

    def _password(self, path: str, problems: list[str]) -> str:
        """The password in a file on the host; what is wrong with it goes to `problems`."""
        try:
            text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}.")
            return ""
        except UnicodeDecodeError:
            problems.append(f"{path}: the password is not text in UTF-8.")
            return ""
        problems += judge.wrong_password(path, text)
        if text:
            self._module.no_log_values.add(text)
        return text

    # -- the way in --------------------------------------------------------------------------------------------------

    def _connect(self, login: tuple[str, str, str] | None = None) -> Any:
        """A connection to this one server, with a login (user, password, database) or without. Raises PyMongoError."""
        options: Json = {
            "host": self._options["host"],
            "port": self._options["port"],
            "directConnection": True,
            "serverSelectionTimeoutMS": self._options["timeout"] * 1000,
            "connectTimeoutMS": self._options["timeout"] * 1000,
            "appname": "hardened.clickstack",
        }
        if self._options["tls"]:
            options.update(tls=True, tlsCAFile=self._options["ca_file"])
            if self._options["certificate_key_file"]:
                options["tlsCertificateKeyFile"] = self._options["certificate_key_file"]
        if login:
            user, password, database = login
            options.update(username=user, password=password, authSource=database, authMechanism=MECHANISM)
        client = MongoClient(**options)
        try:
            client["admin"].command("ping")
        except BaseException:
            client.close()
            raise
        return client

    def _try_login(self, user: str, password: str, database: str) -> Any:
        """A connection as this user; None if the server does not take the password."""
        try:
            return self._connect((user, password, database))
        except OperationFailure as error:
            if error.code != AUTHENTICATION_FAILED:
                raise
            return None

    def _log_in(self) -> None:
        """Log in as the first user that can, or work without where the server asks for none. Raises Failed."""
        names = []
        for login in self._options["logins"]:
            password = self._password(login["password_file"], [])
            names.append(login["name"])
            client = self._try_login(login["name"], password, login["database"])
            if client:
                self._client, self.result["login"] = client, login["name"]
                return
        self._client = self._connect()
        try:
            self._client["admin"].command({"usersInfo": 1})
        except OperationFailure as error:
            if error.code not in (UNAUTHORIZED, AUTHENTICATION_FAILED):
                raise
            raise Failed(
                f"{self.where}: MongoDB wants a login, and takes none of {', '.join(names) or '(no users)'} with"
                f" the password in its file. It sees this host as {self._own_address()}. A user may have another"
                " password than its file says, or may not log in from here; see `Locked out` in the role's README."
            ) from error

    def _own_address(self) -> str:
        """This host's address as the server sees it."""
        answer = self._client["admin"].command("whatsmyuri")
        return str(answer["you"]).rpartition(":")[0].strip("[]")

    def _check_version(self) -> None:
        """Raise Failed where another MongoDB runs than the configuration was made for."""
        wanted = self._options["version"]
        if not wanted:
            return
        runs = str(self._client["admin"].command("buildInfo")["version"])
        if runs.split(".")[:2] != wanted.split(".")[:2]:
            raise Failed(
                f"{self.where}: MongoDB {runs} runs here, but stack_mongodb_version is {wanted}. Its configuration was"
                " judged by that version: set it to the one of the image."
            )

    # -- the replica set ---------------------------------------------------------------------------------------------

    def _replica_set(self) -> bool:
        """Bring the replica set up; return whether this server is its primary. Raises Failed."""
        name, members = self._options["replica_set"]["name"], self._options["replica_set"]["members"]
        hello = self._hello()
        if not hello.get("setName") and not hello.get("isreplicaset"):
            raise Failed(
                f"{self.where}: this mongod was not started as a member of the replica set {name}. Let it start with"
                " the mongod.conf of this role first, then run this again."
            )
        if not hello.get("setName") and self._options["replica_set"]["initiate"]:
            self.result.update(changed=True, initiated=True)
            self.result["diff"]["after"]["replica_set"] = {"name": name, "members": members}
            if self._module.check_mode:
                return False
            config = {"_id": name, "members": [{"_id": number, "host": host} for number, host in enumerate(members)]}
            self._client["admin"].command({"replSetInitiate": config})
        elif not hello.get("setName") and self._module.check_mode:
            return False
        hello = self._wait_for_primary()
        if hello["setName"] != name:
            raise Failed(
                f"{self.where}: this is a member of the replica set {hello['setName']}, not of {name}. MongoDB cannot"
                " rename a replica set: set stack_mongodb_replica_set to its name."
            )
        if not hello.get("isWritablePrimary", hello.get("ismaster")):
            return False
        there = self._members()
        if there is not None and sorted(there) != sorted(members):
            raise Failed(
                f"{self.where}: the members of the replica set are {', '.join(there)}, but {', '.join(members)} are"
                " wanted. Add or remove one at a time with community.mongodb.mongodb_replicaset (reconfigure: true)."
            )
        return True

    def _hello(self) -> Json:
        """What the server says of itself; servers before 4.4.2 know isMaster alone."""
        return dict(self._client["admin"].command("hello"))

    def _wait_for_primary(self) -> Json:
        """Wait until the replica set has a primary, and return what the server then says. Raises Failed."""
        end = time.monotonic() + self._options["timeout"]
        while True:
            hello = self._hello()
            if hello.get("setName") and (hello.get("isWritablePrimary", hello.get("ismaster")) or hello.get("primary")):
                return hello
            if time.monotonic() > end:
                state = hello.get("info") or "it has no primary"
                raise Failed(f"{self.where}: the replica set is not ready after {self._options['timeout']} s: {state}.")
            time.sleep(_PAUSE)

    def _members(self) -> list[str] | None:
        """The members of the replica set; None where the server does not say."""
        try:
            return accounts.member_hosts(self._client["admin"].command("replSetGetConfig")["config"])
        except OperationFailure as error:
            if error.code == COMMAND_NOT_FOUND:
                return None
            raise

    # -- the certificate ---------------------------------------------------------------------------------------------

    def _certificate(self) -> None:
        """Let mongod read its certificate again, if it shows another than the one that lies there. Raises Failed."""
        wanted = ssl.PEM_cert_to_DER_cert(_first_certificate(self._options["certificate"]))
        if self._shown() == wanted:
            return
        self.result.update(changed=True, rotated=True)
        self.result["diff"]["after"]["certificate"] = self._options["certificate"]
        if self._module.check_mode:
            return
        self._client["admin"].command({"rotateCertificates": 1, "message": "Ansible: hardened.clickstack"})
        if self._shown() != wanted:
            raise Failed(
                f"{self.where}: MongoDB has read its certificates again, and still shows another than"
                f" {self._options['certificate']}. It reads net.tls.certificateKeyFile; the container must see the"
                " directory, not the single file."
            )

    def _shown(self) -> bytes:
        """The certificate that the server shows now, whether it is still valid or not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self._options["certificate_key_file"]:
            context.load_cert_chain(self._options["certificate_key_file"])
        address = (self._options["host"], self._options["port"])
        with socket.create_connection(address, self._options["timeout"]) as plain, context.wrap_socket(plain) as secure:
            return secure.getpeercert(binary_form=True) or b""

    # -- users -------------------------------------------------------------------------------------------------------

    def _refuse_lockout(self, wanted: Sequence[Account]) -> None:
        """Raise Failed where a user that runs log in with could not log in from here again."""
        names = {(login["name"], login["database"]) for login in self._options["logins"]}
        ours = [account for account in wanted if (account.name, account.database) in names]
        address = self._own_address() if ours else ""
        for account in ours:
            if not account.allows(address):
                raise Failed(
                    f"{account.name}@{account.database}: this user could no longer log in from here, which is {address}"
                    f" for MongoDB. Nothing was changed. Add it to {', '.join(account.client_source)}."
                )

    def _account(self, wanted: Account) -> None:
        """Make or change one user, and see that the server kept it. Raises Failed."""
        label = f"{wanted.name}@{wanted.database}"
        current = self._info(wanted)
        fields = self._changes(wanted, current)
        if not fields:
            return
        self.result["changed"] = True
        self.result["created" if current is None else "updated"].append(label)
        self.result["diff"]["before"][label] = _shown_user(current, fields)
        self.result["diff"]["after"][label] = accounts.described(fields)
        if self._module.check_mode:
            return
        self._client[wanted.database].command(accounts.command(wanted.name, current is None, fields))
        left = self._changes(wanted, self._info(wanted))
        if left:
            raise Failed(f"{label}: MongoDB took the command, but did not keep {', '.join(sorted(left))}.")

    def _changes(self, wanted: Account, current: Json | None) -> Json:
        is_right = False
        if current is not None and not isinstance(current.get("credentials"), dict):
            client = self._try_login(wanted.name, wanted.password, wanted.database)
            is_right = client is not None
            if client:
                client.close()
        return accounts.changes(wanted, current, saslprep(wanted.password), is_right)

    def _info(self, wanted: Account) -> Json | None:
        """What the server says of one user; None if there is none."""
        answer = self._client[wanted.database].command(
            {
                "usersInfo": {"user": wanted.name, "db": wanted.database},
                "showCredentials": True,
                "showAuthenticationRestrictions": True,
            }
        )
        return dict(answer["users"][0]) if answer["users"] else None

    def _remove(self, name: str, database: str) -> None:
        """Remove a user, as a user that stays. Raises Failed."""
        label = f"{name}@{database}"
        if not self._client[database].command({"usersInfo": {"user": name, "db": database}})["users"]:
            return
        self.result["changed"] = True
        self.result["removed"].append(label)
        self.result["diff"]["before"][label] = {"user": name, "db": database}
        if self._module.check_mode:
            return
        stays = self._options["logins"][0] if self._options["logins"] else None
        if stays is None or stays["name"] == name:
            raise Failed(f"{label}: the user that this run logs in with first cannot be removed.")
        if self.result["login"] != stays["name"]:
            client = self._try_login(stays["name"], self._password(stays["password_file"], []), stays["database"])
            if client is None:
                raise Failed(
                    f"{label}: it is not removed, because {stays['name']} cannot log in and nobody else may be left."
                )
            self._client.close()
            self._client, self.result["login"] = client, stays["name"]
        self._client[database].command({"dropUser": name})

    def _look_closed(self) -> None:
        """See whether the server asks everybody who they are, and whether its localhost exception is off."""
        with self._connect() as nobody:
            try:
                nobody["admin"].command({"usersInfo": 1})
                self.result["authorization"] = False
            except OperationFailure as error:
                if error.code not in (UNAUTHORIZED, AUTHENTICATION_FAILED):
                    raise
                self.result["authorization"] = True
        try:
            answer = self._client["admin"].command({"getParameter": 1, "enableLocalhostAuthBypass": 1})
            self.result["localhost_exception"] = bool(answer["enableLocalhostAuthBypass"])
        except (OperationFailure, KeyError):
            self.result["localhost_exception"] = None


def _shown_user(current: Json | None, fields: Json) -> Json:
    """A user as it was, as far as it changes."""
    if current is None:
        return {}
    kept = {**current, "authenticationRestrictions": accounts.stored_restrictions(current)}
    return {key: "(hidden)" if key == "pwd" else kept.get(key) for key in sorted(fields)}


def _first_certificate(path: str) -> str:
    """The first certificate of a file, which is the server's own. Raises Failed, OSError."""
    start, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = Path(path).read_text(encoding="ascii", errors="replace")
    if start not in text or end not in text:
        raise Failed(f"{path}: there is no certificate in this file.")
    return text[text.index(start) : text.index(end) + len(end)] + "\n"
