"""A stand-in for the HyperDX app: the routes that setting up a team needs, its user interface's proxy, and its OpAMP.

Usage: hyperdx_app.py, configured by the real app's environment variables (HYPERDX_API_PORT, MONGO_URI, FRONTEND_URL,
...). Tests run it in their own process: `with HyperDX(environment) as app`. It needs Python's standard library, and
pymongo where MONGO_URI is set; without that, what it knows ends with it. `image_files()` are the files for an image.

It follows packages/api and packages/app of hyperdxio/hyperdx 2.36: routes, status codes, what is refused, the documents
in MongoDB, sessions in signed cookies. KNOWN_DIFFERENCES.md says what it lacks.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import http.server
import ipaddress
import json
import os
import re
import secrets
import signal
import ssl
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.sandbox.otel import hyperdx

try:
    import bson
    import pymongo
except ImportError:
    bson = pymongo = None  # type: ignore[assignment]

Json = dict[str, Any]
PUBLIC_SECRET = "hyperdx is cool 👋"
"""What HyperDX signs its cookies with where EXPRESS_SESSION_SECRET is not set (packages/api/src/config.ts)."""
VERSION = "2.36.0"
SESSION_SECONDS = 30 * 24 * 3600
COOKIE = "connect.sid"

PASSWORD_RULES = (
    (r".{12}", "Password must have at least 12 characters"),
    (r"(?=.*[a-z])(?=.*[A-Z])", "Password must include both lower and upper case characters"),
    (r"\d", "Password must include at least one number"),
    (r'[!@#$%^&*(),.?":{}|<>]', "Password must include at least one special character"),
)
"""Of a registration, in the words that HyperDX answers with."""

_TEXTS = ("serviceNameExpression", "eventAttributesExpression", "resourceAttributesExpression")
_LOG_AND_TRACE = (
    *_TEXTS,
    "metricSourceId",
    "traceIdExpression",
    "spanIdExpression",
    "implicitColumnExpression",
    "displayedTimestampValueExpression",
    "orderByExpression",
    "useTextIndexForImplicitColumn",
    "highlightedTraceAttributeExpressions",
    "highlightedRowAttributeExpressions",
    "materializedViews",
    "metadataMaterializedViews",
)
_SPAN = ("parentSpanIdExpression", "spanNameExpression", "spanKindExpression")
REQUIRED: dict[str, tuple[str, ...]] = {
    "log": ("defaultTableSelectExpression",),
    "trace": ("defaultTableSelectExpression", "durationExpression", "traceIdExpression", "spanIdExpression", *_SPAN),
    "session": ("traceSourceId",),
    "metric": ("resourceAttributesExpression",),
    "promql": (),
}
"""Fields that are text and not empty, by the kind of a source, beside those that all sources have."""
OPTIONAL: dict[str, tuple[str, ...]] = {
    "log": (
        *_LOG_AND_TRACE,
        "severityTextExpression",
        "bodyExpression",
        "traceSourceId",
        "tableFilterExpression",
    ),
    "trace": (
        *_LOG_AND_TRACE,
        "durationPrecision",
        "sampleRateExpression",
        "logSourceId",
        "sessionSourceId",
        "statusCodeExpression",
        "statusMessageExpression",
        "spanEventsValueExpression",
    ),
    "session": ("resourceAttributesExpression",),
    "metric": ("metricTables", "serviceNameExpression", "logSourceId"),
    "promql": (),
}
"""What else a source of each kind keeps. Anything beside is dropped without a word, as Mongoose does."""
COMMON = ("name", "kind", "connection", "from", "timestampValueExpression", "section", "disabled", "querySettings")
METRIC_TABLES = ("gauge", "histogram", "sum", "summary", "exponential histogram")


# -- Requests and answers ----------------------------------------------------------------------------------------------


@dataclass
class Request:
    """A request, with its session as far as it has one."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes
    session: Json = field(default_factory=dict)
    session_id: str = ""
    user: Json = field(default_factory=dict)

    def data(self) -> Json:
        """The body as an object, of JSON or of a form. Raises Answer."""
        kind = self.headers.get("Content-Type", "").split(";")[0].strip()
        if kind == "application/x-www-form-urlencoded":
            return dict(urllib.parse.parse_qsl(self.body.decode()))
        if kind != "application/json":
            return {}
        try:
            data = json.loads(self.body or b"{}")
        except ValueError:
            raise answer(400, {"message": "Unexpected token in JSON"}) from None
        return data if isinstance(data, dict) else {}


@dataclass(eq=False)
class Answer(Exception):
    """An answer, which a route returns or raises."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


def answer(status: int, data: object = None) -> Answer:
    """An answer of JSON; of nothing without data."""
    if data is None:
        return Answer(status)
    return Answer(status, json.dumps(data, default=_plain).encode(), [("Content-Type", "application/json")])


def redirect(target: str) -> Answer:
    """An answer that sends the browser elsewhere."""
    return Answer(302, f"Found. Redirecting to {target}".encode(), [("Location", target)])


def invalid(place: str, *problems: tuple[str, str]) -> Answer:
    """What zod-express-middleware answers: where, and each problem with its field."""
    issues = [{"code": "custom", "path": [path], "message": text} for path, text in problems]
    return answer(400, [{"type": place, "errors": {"issues": issues, "name": "ZodError"}}])


def _plain(value: object) -> str:
    """What JSON has no form for, as Mongoose writes it."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return str(value)


# -- What it knows -----------------------------------------------------------------------------------------------------


def identity(text: str = "") -> Any:
    """An ObjectId: a new one, or the one that a text is. Raises Answer (400) for a text that is none."""
    if text and not re.fullmatch("[0-9a-fA-F]{24}", text):
        raise invalid("Params", ("id", "Invalid input"))
    return bson.ObjectId(text or None) if bson else text.lower() or secrets.token_hex(12)


class Memory:
    """A collection as pymongo has them, as far as it is used here, for a stand-in without a MongoDB."""

    def __init__(self) -> None:
        self._documents: list[Json] = []

    def find(self, wanted: Json) -> Iterator[Json]:
        return (dict(found) for found in self._documents if wanted.items() <= found.items())

    def find_one(self, wanted: Json) -> Json | None:
        return next(self.find(wanted), None)

    def count_documents(self, wanted: Json) -> int:
        return len(list(self.find(wanted)))

    def insert_one(self, document: Json) -> None:
        self._documents.append(dict(document))

    def delete_one(self, wanted: Json) -> None:
        found = self.find_one(wanted)
        self._documents = [document for document in self._documents if document != found]

    def replace_one(self, wanted: Json, document: Json, upsert: bool = False) -> None:
        for at, found in enumerate(self._documents):
            if wanted.items() <= found.items():
                self._documents[at] = dict(document)
                return
        if upsert:
            self.insert_one(document)


class Store:
    """HyperDX's collections: in MongoDB, or in memory where there is no URI."""

    def __init__(self, uri: str) -> None:
        self._memory: dict[str, Memory] = {}
        self._client: Any = pymongo.MongoClient(uri, serverSelectionTimeoutMS=3000, tz_aware=True) if uri else None

    def __getitem__(self, name: str) -> Any:
        if self._client is None:
            return self._memory.setdefault(name, Memory())
        return self._client.get_default_database("test")[name]

    def is_ready(self) -> bool:
        """Whether MongoDB answers."""
        if self._client is None:
            return True
        try:
            self._client.admin.command("ping")
        except pymongo.errors.PyMongoError:
            return False
        return True

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()


def document(**fields: Any) -> Json:
    """A new document with what Mongoose adds to it."""
    moment = now()
    return {"_id": identity(), **fields, "createdAt": moment, "updatedAt": moment, "__v": 0}


def now() -> datetime.datetime:
    """This moment, as exact as MongoDB keeps it."""
    moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def shown(found: Json, *hidden: str) -> Json:
    """A document as Mongoose's toJSON with virtuals."""
    return {**{key: value for key, value in found.items() if key not in hidden}, "id": found["_id"]}


def hashed(password: str, salt: str, iterations: int) -> str:
    """A password's hash as passport-local-mongoose stores it."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations, 512).hex()


# -- The app -----------------------------------------------------------------------------------------------------------


class HyperDX:
    """The app. `api`, `ui` and `opamp` are its addresses (URLs) while it runs."""

    def __init__(
        self,
        environment: Mapping[str, str],
        host: str = "127.0.0.1",
        collector: hyperdx.Ports | None = None,
        iterations: int = 25000,
    ) -> None:
        """Listen.

        :param environment: the variables; a port that is not there is any free one
        :param host: where it listens
        :param collector: the ports that collectors are told to open; the real ones if it is left out
        :param iterations: of passwords' hashes; those of the real one take a quarter of a second
        """
        self._iterations = iterations
        self.environment = environment
        self.frontend = environment.get("FRONTEND_URL") or "http://localhost:8080"
        self._secret = (environment.get("EXPRESS_SESSION_SECRET") or PUBLIC_SECRET).encode()
        self._authority = environment.get("NODE_EXTRA_CA_CERTS")
        self.collector = collector or hyperdx.Ports(4317, 4318, 24225, 13133, 8888, "0.0.0.0")
        self.store = Store(environment.get("MONGO_URI", ""))
        self.requests: list[str] = []
        """Method and path of each request to the API."""
        self._registering = threading.Lock()
        self._servers = [
            _Server((host, int(environment.get(name) or 0)), handle)
            for name, handle in (
                ("HYPERDX_API_PORT", self.api_answer),
                ("HYPERDX_APP_PORT", self.ui_answer),
                ("HYPERDX_OPAMP_PORT", self.opamp_answer),
            )
        ]
        self.api, self.ui, self.opamp = (f"http://{host}:{server.server_port}" for server in self._servers)
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in self._servers
        ]

    def __enter__(self) -> HyperDX:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
        self.store.close()

    # -- the API -------------------------------------------------------------------------------------------------------

    def api_answer(self, request: Request) -> Answer:
        """Answer a request to the API, and keep its session."""
        self.requests.append(f"{request.method} {request.path}")
        try:
            self._load_session(request)
            found = self._route(request)
        except Answer as raised:
            found = raised
        except Exception as error:
            if pymongo is None or not isinstance(error, pymongo.errors.PyMongoError):
                raise
            found = answer(500, {"message": "Something went wrong :("})
        found.headers += [
            ("Access-Control-Allow-Origin", self.frontend),
            ("Access-Control-Allow-Credentials", "true"),
        ]
        if request.session:
            found.headers += self._keep_session(request)
        return found

    def _route(self, request: Request) -> Answer:
        first, _slash, rest = request.path.strip("/").partition("/")
        public: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "health"): lambda _request: answer(200, {"data": "OK", "version": VERSION, "ip": "127.0.0.1"}),
            ("GET", "ready"): self._ready,
            ("GET", "installation"): lambda _request: answer(200, {"isTeamExisting": self._is_team()}),
            ("POST", "login/password"): self._log_in,
            ("POST", "register/password"): self._register,
            ("GET", "logout"): self._log_out,
        }
        route = public.get((request.method, request.path.strip("/")))
        if route:
            return route(request)
        private: dict[str, Callable[[Request, str], Answer]] = {
            "me": self._me,
            "team": self._team,
            "connections": self._connections,
            "sources": self._sources,
            "clickhouse-proxy": self._clickhouse_proxy,
        }
        if first not in private:
            return answer(404, {"message": "Not Found"})
        if not request.user:
            return Answer(401, b"Unauthorized", [("Content-Type", "text/plain; charset=utf-8")])
        return private[first](request, rest.strip("/"))

    def _ready(self, _request: Request) -> Answer:
        is_ready = self.store.is_ready()
        return answer(200 if is_ready else 503, {"data": "OK" if is_ready else "MongoDB is not connected"})

    def _is_team(self) -> bool:
        return int(self.store["teams"].count_documents({})) > 0

    # -- who asks ------------------------------------------------------------------------------------------------------

    def _signature(self, session_id: str) -> str:
        """cookie-signature: the HMAC in base64 without padding."""
        digest = hmac.digest(self._secret, session_id.encode(), "sha256")
        return base64.b64encode(digest).decode().rstrip("=")

    def _load_session(self, request: Request) -> None:
        for part in request.headers.get("Cookie", "").split(";"):
            name, _equals, value = part.strip().partition("=")
            session_id, _dot, signature = urllib.parse.unquote(value).removeprefix("s:").partition(".")
            if name != COOKIE or not hmac.compare_digest(signature.encode(), self._signature(session_id).encode()):
                continue
            found = self.store["sessions"].find_one({"_id": session_id})
            if found:
                request.session_id, request.session = session_id, json.loads(found["session"])
        user = request.session.get("passport", {}).get("user")
        if user:
            request.user = self.store["users"].find_one({"_id": identity(user)}) or {}

    def _keep_session(self, request: Request) -> list[tuple[str, str]]:
        """Store the session as connect-mongo does; the header that gives its cookie anew (express-session, rolling)."""
        expires = now() + datetime.timedelta(seconds=SESSION_SECONDS)
        request.session_id = request.session_id or secrets.token_urlsafe(24)
        host = urllib.parse.urlsplit(self.frontend).hostname
        is_secure = self.frontend.startswith("https://")
        request.session["cookie"] = {"originalMaxAge": SESSION_SECONDS * 1000, "secure": is_secure, "path": "/"}
        stored = {"_id": request.session_id, "expires": expires, "session": json.dumps(request.session)}
        self.store["sessions"].replace_one({"_id": request.session_id}, stored, upsert=True)
        # trust proxy 1: the last proxy says how the browser came
        if is_secure and request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() != "https":
            return []
        value = urllib.parse.quote(f"s:{request.session_id}.{self._signature(request.session_id)}", safe="")
        moment = expires.strftime("%a, %d %b %Y %H:%M:%S GMT")
        secure = "; Secure" if is_secure else ""
        text = f"{COOKIE}={value}; Domain={host}; Path=/; Expires={moment}; HttpOnly{secure}; SameSite=Lax"
        return [("Set-Cookie", text)]

    def _sign_in(self, request: Request, user: Json) -> None:
        """Begin a new session, as passport does at a login."""
        request.session_id, request.user = "", user
        request.session = {"passport": {"user": str(user["_id"])}}

    def _authenticated(self, email: str, password: str) -> Json | None:
        user: Json | None = self.store["users"].find_one({"email": email.lower()})
        if user and hmac.compare_digest(hashed(password, user["salt"], self._iterations), user["hash"]):
            return user
        return None

    def _log_in(self, request: Request) -> Answer:
        data = request.data()
        email, password = data.get("email"), data.get("password")
        if not (isinstance(email, str) and isinstance(password, str) and email and password):
            request.session["messages"] = [*request.session.get("messages", []), "Missing credentials"]
            return redirect(f"{self.frontend}/login?err=unknown")
        user = self._authenticated(email, password)
        if user is None:
            told = "Password or username is incorrect"
            request.session["messages"] = [*request.session.get("messages", []), told]
            return redirect(f"{self.frontend}/login?err=authFail")
        self._sign_in(request, user)
        return redirect(f"{self.frontend}/search" if user.get("team") else f"{self.frontend}/login?err=unknown")

    def _log_out(self, request: Request) -> Answer:
        if request.session_id:
            self.store["sessions"].delete_one({"_id": request.session_id})
        request.session = {}
        return redirect(f"{self.frontend}/login")

    def _register(self, request: Request) -> Answer:
        data = request.data()
        email, password = data.get("email"), data.get("password")
        problems = []
        if not isinstance(email, str) or not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", email):
            problems.append(("email", "Invalid email"))
        if not isinstance(password, str):
            problems.append(("password", "Required"))
        else:
            problems += [("password", text) for rule, text in PASSWORD_RULES if not re.search(rule, password)]
        if data.get("confirmPassword") != password:
            problems.append(("confirmPassword", "Passwords don't match"))
        if problems:
            return invalid("Body", *problems)
        assert isinstance(email, str) and isinstance(password, str)
        # two at once: the real app checks again before it makes the team
        with self._registering:
            if self._is_team():
                return answer(409, {"error": "teamAlreadyExists"})
            if self.store["users"].find_one({"email": email.lower()}):
                return answer(400, {"error": "invalid"})
            salt = secrets.token_hex(32)
            user = document(
                email=email.lower(),
                name=email,
                accessKey=str(uuid.uuid4()),
                salt=salt,
                hash=hashed(password, salt, self._iterations),
            )
            self.store["users"].insert_one(user)
            team = document(
                name=f"{email}'s Team",
                allowedAuthMethods=[],
                hookId=str(uuid.uuid4()),
                apiKey=str(uuid.uuid4()),
                collectorAuthenticationEnforced=True,
                isMetricsSeriesTableEnabled=False,
            )
            self.store["teams"].insert_one(team)
            user["team"] = team["_id"]
            self.store["users"].replace_one({"_id": user["_id"]}, user)
            self._defaults(team)
        self._sign_in(request, user)
        return answer(200, {"status": "success"})

    def _defaults(self, team: Json) -> None:
        """DEFAULT_CONNECTIONS and DEFAULT_SOURCES, for the team that was made just now."""
        ids: dict[str, Any] = {}
        for given in json.loads(self.environment.get("DEFAULT_CONNECTIONS") or "[]"):
            if given.get("name") and given.get("host"):
                made = document(team=team["_id"], **{"password": "", **given})
                self.store["connections"].insert_one(made)
                ids[given["name"]] = made["_id"]
        sources = [
            given for given in json.loads(self.environment.get("DEFAULT_SOURCES") or "[]") if given["connection"] in ids
        ]
        made = {given["name"]: document(team=team["_id"]) for given in sources}
        for given in sources:
            fields = {**given, "connection": ids[given["connection"]]}
            for key, value in given.items():
                if key.endswith("SourceId"):
                    fields[key] = str(made[value]["_id"]) if value in made else None
            self.store["sources"].insert_one({**made[given["name"]], **kept_fields(fields)})

    # -- the team ------------------------------------------------------------------------------------------------------

    def _me(self, request: Request, rest: str) -> Answer:
        if rest or request.method != "GET":
            return answer(404, {"message": "Not Found"})
        user, team = request.user, self.store["teams"].find_one({"_id": request.user.get("team")})
        if team is None:
            return answer(404, {"message": f"Team not found for user {user['_id']}"})
        said = {key: user[key] for key in ("accessKey", "createdAt", "email", "name")}
        is_sent = self.environment.get("USAGE_STATS_ENABLED", "true") != "false"
        more = {"id": user["_id"], "team": shown(team), "usageStatsEnabled": is_sent, "aiAssistantEnabled": False}
        return answer(200, {**said, **more})

    def _team(self, request: Request, rest: str) -> Answer:
        team = self.store["teams"].find_one({"_id": request.user.get("team")})
        if (request.method, rest) == ("GET", ""):
            hidden = ("hookId", "collectorAuthenticationEnforced", "updatedAt", "__v")
            return answer(200, shown(team, *hidden))
        if (request.method, rest) == ("PATCH", "apiKey"):
            team.update(apiKey=str(uuid.uuid4()), updatedAt=now())
            self.store["teams"].replace_one({"_id": team["_id"]}, team)
            return answer(200, {"newApiKey": team["apiKey"]})
        return answer(404, {"message": "Not Found"})

    def _connections(self, request: Request, rest: str) -> Answer:
        collection, team = self.store["connections"], request.user["team"]
        if (request.method, rest) == ("GET", ""):
            return answer(200, [shown(found, "password") for found in collection.find({"team": team})])
        data = request.data()
        if (request.method, rest) == ("POST", ""):
            self._check_connection(data, "name", "host", "username")
            made = document(team=team, **{**_connection_fields(data), "password": data.get("password", "")})
            collection.insert_one(made)
            return answer(200, {"id": str(made["_id"])})
        wanted = {"_id": identity(rest), "team": team}
        if request.method == "DELETE":
            collection.delete_one(wanted)
            return Answer(200)
        if request.method != "PUT":
            return answer(404, {"message": "Not Found"})
        self._check_connection(data, "id", "name", "host", "username")
        found = collection.find_one(wanted)
        if found is None:
            return Answer(404)
        found.update(_connection_fields(data), updatedAt=now())
        if data.get("password"):
            found["password"] = data["password"]
        if "hyperdxSettingPrefix" in data and not data["hyperdxSettingPrefix"]:
            found.pop("hyperdxSettingPrefix", None)
        collection.replace_one(wanted, found)
        return Answer(200)

    def _check_connection(self, data: Json, *required: str) -> None:
        problems = [(name, "Required") for name in required if not isinstance(data.get(name), str)]
        if not isinstance(data.get("password", ""), str):
            problems.append(("password", "Expected string"))
        prefix = data.get("hyperdxSettingPrefix")
        if prefix is not None and not re.fullmatch("[A-Za-z0-9_]+", str(prefix)):
            problems.append(("hyperdxSettingPrefix", "Invalid"))
        if problems:
            raise invalid("Body", *problems)

    def _sources(self, request: Request, rest: str) -> Answer:
        collection, team = self.store["sources"], request.user["team"]
        if (request.method, rest) == ("GET", ""):
            return answer(200, [shown(found) for found in collection.find({"team": team})])
        wanted = {"_id": identity(rest), "team": team} if rest else {}
        if request.method == "DELETE" and wanted:
            collection.delete_one(wanted)
            return Answer(200)
        if (request.method, bool(wanted)) not in (("POST", False), ("PUT", True)):
            return answer(404, {"message": "Not Found"})
        data = request.data()
        problems = source_problems(data)
        if wanted and not isinstance(data.get("id"), str):
            problems.append(("id", "Required"))
        if problems:
            return invalid("Body", *problems)
        used = {"_id": identity(data["connection"]), "team": team}
        if self.store["connections"].find_one(used) is None:
            return answer(400, {"message": "Connection not found"})
        fields = {**kept_fields(data), "connection": used["_id"]}
        if not wanted:
            made = document(team=team, **fields)
            collection.insert_one(made)
            return answer(200, shown(made))
        found = collection.find_one(wanted)
        if found is None:
            return Answer(404, b"Source not found")
        # what the request leaves out is gone afterwards
        ours = {key: found[key] for key in ("_id", "team", "createdAt", "__v")}
        collection.replace_one(wanted, {**ours, **fields, "updatedAt": now()})
        return Answer(200)

    # -- ClickHouse ----------------------------------------------------------------------------------------------------

    def _clickhouse_proxy(self, request: Request, rest: str) -> Answer:
        if (request.method, rest) == ("POST", "test"):
            return self._test_connection(request.data())
        try:
            wanted = {"_id": identity(request.headers.get("X-HyperDX-Connection-Id") or "-")}
        except Answer:
            return invalid("Headers", ("x-hyperdx-connection-id", "Invalid input"))
        found = self.store["connections"].find_one({**wanted, "team": request.user["team"]})
        if found is None:
            return Answer(404, b"Connection not found")
        if request.method != "POST":
            return Answer(405, b"Method Not Allowed")
        query = urllib.parse.parse_qsl(request.query, keep_blank_values=True)
        if found.get("hyperdxSettingPrefix"):
            query.append((f"{found['hyperdxSettingPrefix']}_user", request.user["email"]))
        headers = {
            name: request.headers[name]
            for name in ("Content-Type", "Accept", "Accept-Encoding")
            if name in request.headers
        }
        headers["User-Agent"] = f"hyperdx {VERSION}"
        headers["X-ClickHouse-User"] = found["username"]
        if found.get("password"):
            headers["X-ClickHouse-Key"] = found["password"]
        try:
            target = f"/{rest}?{urllib.parse.urlencode(query)}"
            return _asked(found["host"], "POST", target, request.body, headers, self._authority)
        except (OSError, http.client.HTTPException) as error:
            return answer(500, {"success": False, "error": str(error) or "Failed to connect to ClickHouse server"})

    def _test_connection(self, data: Json) -> Answer:
        host = str(data.get("host", ""))
        parts = urllib.parse.urlsplit(host)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return invalid("Body", ("host", "Invalid url"))
        is_private = parts.hostname == "localhost"
        with contextlib.suppress(ValueError):
            is_private = not ipaddress.ip_address(parts.hostname).is_global
        if is_private:
            return answer(400, {"success": False, "error": "Private addresses are not allowed"})
        headers = {
            "X-ClickHouse-User": data.get("username") or "",
            "X-ClickHouse-Key": data.get("password") or "",
        }
        try:
            said = _asked(host, "GET", "/?query=SELECT%201", b"", headers, self._authority)
        except (OSError, http.client.HTTPException) as error:
            text = f"{error}, please check the host and credentials and try again."
            return answer(500, {"success": False, "error": text})
        if said.status >= 400:
            return answer(said.status, {"success": False, "error": said.body.decode(errors="replace")})
        return answer(200, {"success": said.body.strip() == b"1"})

    # -- the user interface, and OpAMP ---------------------------------------------------------------------------------

    def ui_answer(self, request: Request) -> Answer:
        """Answer a request to the user interface, which gives /api to the API."""
        denied = ("X-Frame-Options", "DENY")
        if request.path == "/api/config":
            is_told = self.environment.get("HDX_EXPORTER_ENABLED", "true") != "false"
            said = {
                "apiKey": self.environment.get("HYPERDX_API_KEY") if is_told else None,
                "collectorUrl": self.environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
                "serviceName": self.environment.get("OTEL_SERVICE_NAME", "hdx-oss-dev-app"),
            }
            found = answer(200, {key: value for key, value in said.items() if value is not None})
        elif request.path.startswith("/api/"):
            target = f"{request.path.removeprefix('/api')}{f'?{request.query}' if request.query else ''}"
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
            try:
                found = _asked(
                    self.environment.get("SERVER_URL") or self.api, request.method, target, request.body, headers
                )
            except (OSError, http.client.HTTPException):
                found = Answer(500, b"API proxy error")
        elif request.path == "/__ENV.js":
            public = {name: value for name, value in self.environment.items() if name.startswith("NEXT_PUBLIC_")}
            script = f"window.__ENV = {json.dumps(public)};".encode()
            found = Answer(200, script, [("Content-Type", "application/javascript"), denied])
        elif request.path in ("/", "/search", "/login", "/register"):
            page = b"<!DOCTYPE html><title>HyperDX</title><p>A stand-in for HyperDX."
            found = Answer(200, page, [("Content-Type", "text/html; charset=utf-8"), denied])
        else:
            found = Answer(404, b"Not found", [denied])
        return found

    def opamp_answer(self, request: Request) -> Answer:
        """Answer a collector: what it shall do, with the keys of all teams."""
        if request.path in ("/health", "/ready"):
            return answer(200, {"data": "OK", "version": VERSION})
        if (request.method, request.path) != ("POST", hyperdx.OPAMP_PATH):
            return Answer(404)
        if request.headers.get("Content-Type") != hyperdx.OPAMP_TYPE:
            return Answer(415, b"Unsupported Media Type: Content-Type must be application/x-protobuf")
        teams = list(self.store["teams"].find({}))
        keys = [team["apiKey"] for team in teams if team.get("apiKey")]
        is_enforced = bool(teams and teams[0].get("collectorAuthenticationEnforced"))
        config = hyperdx.remote(self.collector, keys, is_enforced)
        return Answer(200, hyperdx.opamp_answer(request.body, config), [("Content-Type", hyperdx.OPAMP_TYPE)])


def _connection_fields(data: Json) -> Json:
    """What a connection keeps of a request, without its password."""
    names = ("name", "host", "username", "hyperdxSettingPrefix", "prometheusEndpoint")
    return {name: data[name] for name in names if data.get(name) is not None}


def source_problems(data: Json) -> list[tuple[str, str]]:
    """What HyperDX refuses of a source (SourceSchema of packages/common-utils/src/types.ts)."""
    kind = data.get("kind")
    if kind not in REQUIRED:
        return [("kind", "Invalid discriminator value")]
    texts = ("name", "connection", "timestampValueExpression", *REQUIRED[kind])
    problems = [(name, "Required") for name in texts if not isinstance(data.get(name), str) or not data[name]]
    place = data.get("from")
    if not isinstance(place, dict) or not place.get("databaseName"):
        problems.append(("from", "Database is required"))
    elif not isinstance(place.get("tableName"), str) or (kind != "metric" and not place["tableName"]):
        problems.append(("from", "Table is required"))
    for name in OPTIONAL[kind]:
        value = data.get(name)
        if name.endswith(("Expression", "SourceId")) and not isinstance(value, (str, type(None))):
            problems.append((name, "Expected string"))
        if name.endswith("SourceId") and name in data and value is None and (kind, name) != ("trace", "logSourceId"):
            problems.append((name, "Expected string, received null"))
    if kind == "metric":
        tables = data.get("metricTables")
        if not isinstance(tables, dict) or not any(tables.get(name) for name in METRIC_TABLES):
            problems.append(("metricTables", "At least one metric table must be specified"))
    precision = data.get("durationPrecision", 3)
    if kind == "trace" and (not isinstance(precision, int) or not 0 <= precision <= 9):
        problems.append(("durationPrecision", "Number must be between 0 and 9"))
    settings = data.get("querySettings", [])
    if not isinstance(settings, list) or len(settings) > 10:
        problems.append(("querySettings", "Array must contain at most 10 element(s)"))
    return problems


def kept_fields(data: Json) -> Json:
    """What a source keeps of a request, which has no problems."""
    kind = data["kind"]
    kept = {name: data[name] for name in (*COMMON, *REQUIRED[kind], *OPTIONAL[kind]) if name in data}
    kept["from"] = {name: data["from"].get(name) for name in ("databaseName", "tableName")}
    if "metricTables" in kept:
        kept["metricTables"] = {
            name: data["metricTables"][name] for name in METRIC_TABLES if data["metricTables"].get(name)
        }
    if kind == "trace":
        kept.setdefault("durationPrecision", 3)
    kept.setdefault("querySettings", [])
    return kept


_HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "host"))


def _asked(
    host: str, method: str, target: str, body: bytes, headers: Mapping[str, str], authority: str | None = None
) -> Answer:
    """What another server says; `authority` is a file with one more that is trusted. Raises OSError, HTTPException."""
    parts = urllib.parse.urlsplit(host)
    assert parts.hostname
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if authority:
            context.load_verify_locations(authority)
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, target, body, dict(headers))
        said = connection.getresponse()
        kept = [(name, value) for name, value in said.getheaders() if name.lower() not in _HOP_BY_HOP]
        return Answer(said.status, said.read(), kept)


class _Server(http.server.ThreadingHTTPServer):
    """One of the app's ports."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handle: Callable[[Request], Answer]) -> None:
        self.handle = handle
        super().__init__(address, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    """From HTTP to a Request, and from an Answer to HTTP."""

    timeout = 60

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        path, _mark, query = self.path.partition("?")
        body = hyperdx.request_body(self.headers, self.rfile)
        found = self.server.handle(Request(self.command, path, query, self.headers, body))
        self.send_response(found.status)
        for name, value in found.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def version_string(self) -> str:
        """Name no software, as Express with x-powered-by off."""
        return "stand-in"

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def image_files() -> dict[str, str]:
    """The files that an image of this stand-in needs, by their paths under one directory: tests/sandbox/... .

    Beside them it needs Python 3.10 or newer and pymongo (with its bson and dns). It is started by
    `python3 <directory>/tests/sandbox/hyperdx_app.py`.
    """
    here = Path(__file__).parent
    names = ("hyperdx_app.py", "otel/__init__.py", "otel/hyperdx.py", "otel/protobuf.py")
    return {"tests/sandbox/__init__.py": ""} | {f"tests/sandbox/{name}": (here / name).read_text() for name in names}


def main() -> None:
    """Run as the real image does, until a signal ends it."""
    missing = [name for name in ("MONGO_URI",) if not os.environ.get(name)]
    if missing:
        sys.exit(f"{missing[0]} is not set")
    if pymongo is None:
        sys.exit("pymongo is not installed")
    defaults = {"HYPERDX_API_PORT": "8000", "HYPERDX_APP_PORT": "8080", "HYPERDX_OPAMP_PORT": "4320"}
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_arguments: ended.set())
    with HyperDX({**defaults, **os.environ}, os.environ.get("HYPERDX_APP_LISTEN_HOSTNAME") or "0.0.0.0") as app:
        print(json.dumps({"api": app.api, "ui": app.ui, "opamp": app.opamp}), flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
