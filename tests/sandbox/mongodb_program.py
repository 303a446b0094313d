"""SecantusDB as a process, with what of MongoDB's access control it lacks.

Usage: mongodb_program.py <options as JSON>, which are those of `mongodb.MongoDB`. Prints its port when it listens, and
ends on SIGTERM.

SecantusDB speaks MongoDB's wire protocol, does SCRAM, and enforces roles. Ours is, after MongoDB's manual:
authenticationRestrictions (kept, shown to who asks for them, and enforced at login), the mechanisms of updateUser, the
roles clusterManager and hostManager, rotateCertificates, enableLocalhostAuthBypass in getParameter, the version that it
says it is, and a member of a replica set that waits to be initiated.
"""

from __future__ import annotations

import ipaddress
import json
import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from secantus import auth, commands, rbac
from secantus.server import SecantusDBServer

Json = dict[str, Any]
HANDLERS: dict[str, Any] = commands._HANDLERS
RESTRICTIONS = "authenticationRestrictions"


def refusal(text: str, code: int, name: str) -> Json:
    """An error as the server sends it."""
    return {"ok": 0.0, "errmsg": text, "code": code, "codeName": name}


def restrictions(document: Json) -> list[Json]:
    """What a command gives as restrictions, in the spelling that is stored."""
    return [
        {kind: [str(ipaddress.ip_network(text, strict=False)) for text in texts] for kind, texts in one.items()}
        for one in document[RESTRICTIONS]
    ]


def create_user(document: Json, context: Any, inherited: Any = HANDLERS["createUser"]) -> Json:
    """createUser with restrictions."""
    answer: Json = inherited(document, context)
    if answer.get("ok") == 1.0 and RESTRICTIONS in document:
        record = context.storage.get_user(context.db_name, document["createUser"])
        record[RESTRICTIONS] = restrictions(document)
        context.storage.add_user(context.db_name, document["createUser"], record, replace=True)
    return answer


def update_user(document: Json, context: Any, inherited: Any = HANDLERS["updateUser"]) -> Json:
    """updateUser with restrictions and mechanisms."""
    name = document["updateUser"]
    record = context.storage.get_user(context.db_name, name)
    if record is not None:
        if RESTRICTIONS in document:
            record[RESTRICTIONS] = restrictions(document)
        if "mechanisms" in document:
            record["mechanisms"] = list(document["mechanisms"])
        context.storage.add_user(context.db_name, name, record, replace=True)
        if "pwd" not in document and "roles" not in document:
            return {"ok": 1.0}
    answer: Json = inherited(document, context)
    return answer


def users_info(document: Json, context: Any, inherited: Any = HANDLERS["usersInfo"]) -> Json:
    """usersInfo: restrictions are shown to who asks for them."""
    answer: Json = inherited(document, context)
    for user in answer.get("users", ()):
        found = user.pop(RESTRICTIONS, [])
        if document.get("showAuthenticationRestrictions"):
            user[RESTRICTIONS] = found
    return answer


def sasl_continue(document: Json, context: Any, inherited: Any = HANDLERS["saslContinue"]) -> Json:
    """The end of a login: who comes from elsewhere than allowed is told what a wrong password is told."""
    before = list(context.connection_auth.authenticated_principals)
    answer: Json = inherited(document, context)
    for database, name in set(context.connection_auth.authenticated_principals).difference(before):
        record = context.storage.get_user(database, name) or {}
        peer = ipaddress.ip_address(context.connections.get(context.connection_id).peer_addr[0])
        here = ipaddress.ip_address(context.server_address[0])
        for one in record.get(RESTRICTIONS, ()):
            for address, texts in ((peer, one.get("clientSource")), (here, one.get("serverAddress"))):
                if texts and not any(address in ipaddress.ip_network(text) for text in texts):
                    context.connection_auth.authenticated_principals.remove((database, name))
                    context.connection_auth.effective_roles.clear()
                    return refusal("Authentication failed.", 18, "AuthenticationFailed")
    return answer


class ReplicaSet:
    """The state of a member: initiated or not, kept beside its data."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "replica-set.json"

    @property
    def config(self) -> Json | None:
        """The configuration; None before it is initiated."""
        return json.loads(self._file.read_text()) if self._file.exists() else None

    def hello(self, document: Json, context: Any, inherited: Any = HANDLERS["hello"]) -> Json:
        """What a member says: before it is initiated, and then of the members that its configuration names."""
        answer: Json = inherited(document, context)
        if self.config is not None:
            members = [member["host"] for member in self.config["members"]]
            answer.update(hosts=members, me=members[0], primary=members[0])
        else:
            for key in ("setName", "setVersion", "hosts", "passives", "arbiters", "primary", "me", "electionId"):
                answer.pop(key, None)
            answer.update(ismaster=False, isWritablePrimary=False, secondary=False, isreplicaset=True)
            answer["info"] = "Does not have a valid replica set config"
        return answer

    def writes(self, inherited: Any) -> Any:
        """A command that only a primary takes."""

        def command(document: Json, context: Any) -> Any:
            if self.config is None:
                return refusal("not primary", 10107, "NotWritablePrimary")
            return inherited(document, context)

        return command

    def initiate(self, document: Json, _context: Any) -> Json:
        """replSetInitiate."""
        if self.config is not None:
            return refusal("already initialized", 23, "AlreadyInitialized")
        self._file.write_text(json.dumps({**document["replSetInitiate"], "version": 1}))
        return {"ok": 1.0}

    def show(self, _document: Json, _context: Any) -> Json:
        """replSetGetConfig."""
        if self.config is None:
            return refusal("no replset config has been received", 94, "NotYetInitialized")
        return {"config": self.config, "ok": 1.0}


def add_roles() -> None:
    """clusterManager and hostManager, as far as their actions are known here."""
    rotate, manage = "rotateCertificates", "replSetConfigure"
    monitor = frozenset({rbac.A_INPROG})
    managers = {
        "clusterManager": monitor | {manage},
        "hostManager": monitor | {rotate, rbac.A_SET_PARAMETER, rbac.A_KILLOP, rbac.A_FSYNC},
    }
    for name, actions in managers.items():
        rbac.BUILT_IN_ROLES[name] = rbac._RoleSpec(actions, any_db=True, cluster=True, admin_only=True)
    for name in ("clusterAdmin", "root"):
        spec = rbac.BUILT_IN_ROLES[name]
        spec.actions = spec.actions | {rotate, manage}
    commands._COMMAND_ACTIONS["rotateCertificates"] = (rotate, commands.SCOPE_CLUSTER)
    for command in ("replSetInitiate", "replSetGetConfig"):
        commands._COMMAND_ACTIONS[command] = (manage, commands.SCOPE_CLUSTER)


def make_superuser(server: SecantusDBServer, name: str, password_file: str) -> None:
    """What the image does in its init phase, if the data has no such user."""
    if server.storage.get_user("admin", name) is None:
        context = commands.CommandContext(
            connection_id=0, storage=server.storage, cursors=server.cursors, db_name="admin"
        )
        password = Path(password_file).read_text().rstrip("\n")
        create_user({"createUser": name, "pwd": password, "roles": ["root"]}, context)


def main() -> None:
    """Run the server."""
    options: Json = json.loads(sys.argv[1])
    pem, authority, name = options["pem"], options["authority"], options["replica_set"]
    add_roles()
    auth._MECH_PARAMS[auth.SCRAM_SHA_256]["default_iterations"] = options["iterations"]
    server = SecantusDBServer(
        host=options["host"],
        port=options["port"],
        storage_path=options["folder"],
        replica_set_name=name or None,
        require_auth=options["authorization"],
        enable_test_commands=False,
        tls_cert_file=pem or None,
        tls_key_file=pem or None,
        tls_ca_file=authority or None,
        cache_size="256M",
    )

    def rotate(_document: Json, _context: Any) -> Json:
        try:
            server._ssl_context.load_cert_chain(pem)
        except (ssl.SSLError, OSError) as error:
            return refusal(f"Unable to rotate certificates: {error}", 10007, "CannotRotate")
        return {"ok": 1.0}

    def get_parameter(document: Json, context: Any, inherited: Any = HANDLERS["getParameter"]) -> Json:
        answer: Json = inherited(document, context)
        if "enableLocalhostAuthBypass" in document:
            answer["enableLocalhostAuthBypass"] = options["localhost_exception"]
        return answer

    def build_info(document: Json, context: Any, inherited: Any = HANDLERS["buildInfo"]) -> Json:
        numbers = [*map(int, options["version"].split(".")), 0]
        return {**inherited(document, context), "version": options["version"], "versionArray": numbers}

    def get_command_line(document: Json, context: Any, inherited: Any = HANDLERS["getCmdLineOpts"]) -> Any:
        if "config" in options:
            return {"argv": ["mongod"], "parsed": options["config"], "ok": 1.0}
        return inherited(document, context)

    HANDLERS.update(
        getCmdLineOpts=get_command_line,
        buildInfo=build_info,
        buildinfo=build_info,
        createUser=create_user,
        updateUser=update_user,
        usersInfo=users_info,
        saslContinue=sasl_continue,
        getParameter=get_parameter,
        rotateCertificates=rotate,
    )
    if name:
        member = ReplicaSet(Path(options["folder"]))
        for command in ("createUser", "updateUser", "dropUser", "insert"):
            HANDLERS[command] = member.writes(HANDLERS[command])
        HANDLERS.update(
            hello=member.hello,
            isMaster=member.hello,
            ismaster=member.hello,
            replSetInitiate=member.initiate,
            replSetGetConfig=member.show,
        )
    if options["superuser"]:
        make_superuser(server, *options["superuser"])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_arguments: stop.set())
    server.start()
    print(server.address[1], flush=True)
    stop.wait()
    server.stop()


if __name__ == "__main__":
    main()
