"""Every statement we make, read back by the real parser, says exactly what was wished, whatever names and texts hold.

Wishes are generated; the entity types turn them into statements; the engine parses each and prints it in its canonical
form; a reader of our own, which knows only that form, carries it out on a plain state. One clause too many, a name that
ends early or a statement that is two would show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import canonical
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.authentication import ShownSecret
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Change,
    Current,
    Document,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    GRANT,
    REVOKE,
    REVOKE_OPTION,
    Grant,
    Rights,
    Scope,
    Step,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import TYPES
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    HIDDEN,
    WishError,
    ident,
    literal,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server
from tests.sandbox.engine import VERSIONS, Engine

Servers = Callable[[str], Server]
Engines = Callable[[str], Engine]
Options = dict[str, Any]

# -- reading the engine's canonical form

TOKEN = re.compile(
    r"\s*(?:'(?P<string>(?:[^'\\]|\\.)*)'|`(?P<name>(?:[^`\\]|\\.)*)`|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>-?\d[0-9.e+-]*)|(?P<mark>\S))",
    re.DOTALL,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}
METHOD_OF_HASH = {"sha256_hash": "sha256_password", "double_sha1_hash": "double_sha1_password"}
METHOD_OF_HASH |= {"bcrypt_hash": "bcrypt_password", "scram_sha256_hash": "scram_sha256_password"}


AFTER_PROFILE = {("mark", ","), ("end", ""), ("word", "TO"), ("word", "GRANTEES"), ("word", "DEFAULT"), ("word", "ADD")}
"""What may stand behind the name of a profile, and not behind that of a setting."""


class Reader:
    """A cursor over the tokens of one canonical statement."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        for match in TOKEN.finditer(text):
            kind, value = str(match.lastgroup), match[str(match.lastgroup)]
            if kind in ("string", "name"):
                value = re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), value, flags=re.DOTALL)
            self.tokens.append((kind, value))
        self.tokens.append(("end", ""))

    def take(self, *words: str) -> bool:
        """Take these keywords or marks, if they are next."""
        if not all(token in (("word", word), ("mark", word)) for token, word in zip(self.tokens, words, strict=False)):
            return False
        del self.tokens[: len(words)]
        return True

    def expect(self, *words: str) -> None:
        assert self.take(*words), f"{words} expected, found {self.tokens[:3]} in {self.text[:2000]}"

    def value(self, *kinds: str) -> str:
        kind, value = self.tokens.pop(0)
        assert kind in kinds, f"{kinds} expected, found {value!r} in {self.text[:2000]}"
        return value

    def name(self) -> str:
        return self.value("name", "word")

    def strings(self) -> list[str]:
        found = [self.value("string")]
        while self.tokens[0] == ("mark", ",") and self.tokens[1][0] == "string":
            found.append(self.value("mark") and self.value("string"))
        return found

    def names(self) -> list[str]:
        found = [self.name()]
        while self.take(","):
            found.append(self.name())
        return found

    def names_or(self, everyone: str) -> Document:
        """``ALL EXCEPT a``, ``NONE`` or ``a, b``."""
        if self.take(everyone.upper()):
            return {everyone: True, "except": sorted(self.names())} if self.take("EXCEPT") else {everyone: True}
        return {"none": True} if self.take("NONE") else {"names": sorted(self.names())}

    def method(self) -> tuple[Document, ShownSecret | None]:
        word = self.value("word")
        document: Document = {"type": METHOD_OF_HASH.get(word, word)}
        secret = None
        if self.take("BY", "KEY"):
            document["ssh_keys"] = []
            while True:
                key = self.name()
                self.expect("TYPE")
                document["ssh_keys"].append({"key": key, "type": self.name()})
                if not self.take(",", "KEY"):
                    break
        elif self.take("BY"):
            hashed = self.value("string")
            secret = ShownSecret(document["type"], hashed, self.value("string") if self.take("SALT") else "")
            document["password"] = HIDDEN
        for keyword, key in (("SERVER", "server"), ("SCHEME", "scheme"), ("REALM", "realm")):
            if self.take(keyword):
                document[key] = self.value("string")
        for keyword, key in (("CN", "common_names"), ("SAN", "subject_alt_names")):
            if self.take(keyword):
                document[key] = self.strings()
        if self.take("VALID", "UNTIL") and (expiry := self.value("string")) != "infinity":
            document["valid_until"] = expiry
        return document, secret

    def host(self) -> Document:
        document: Document = {}
        while True:
            word = self.value("word").lower()
            document[word] = sorted(self.strings()) if self.tokens[0][0] == "string" else True
            if not self.take(","):
                return document

    def elements(self, state: Document) -> None:
        """SETTINGS, which replaces all; or DROP ALL ..., ADD ..., by which 25 and newer say the same."""
        state["settings"], state["profiles"] = [], []
        if self.take("NONE"):
            return
        while True:
            self.take("ADD")
            if not (self.take("PROFILES") or self.take("SETTINGS") or self.take("SETTING")):
                pass
            if self.take("PROFILE") or self.take("INHERIT"):
                state["profiles"].append(self.name())
            elif self.tokens[0][0] == "name" and self.tokens[1] in AFTER_PROFILE:
                state["profiles"].append(self.name())  # one more behind ADD PROFILES
            else:
                state["settings"].append(self.element())
            if not self.take(","):
                return

    def element(self) -> tuple[str, dict[str, tuple[str, str]], str]:
        name = self.name()
        while self.take("."):
            name += "." + self.name()
        values = {}
        for keyword, key in (("=", "value"), ("MIN", "min"), ("MAX", "max")):
            if self.take(keyword):
                self.take("=")
                values[key] = self.tokens.pop(0)
        writability = self.value("word").lower() if self.tokens[0][1] in WRITABILITY else ""
        return name, values, writability


WRITABILITY = ("WRITABLE", "CONST", "CHANGEABLE_IN_READONLY")


def carry_out(state: Document | None, text: str, kind: str, name: str, where: Document) -> Document:
    """The state after one statement, which must be about the entity ``name`` of this kind."""
    reader = Reader(text)
    verb = reader.value("word")
    if verb in ("GRANT", "REVOKE"):
        assert state is not None
        return carry_out_roles(reader, verb, dict(state), name, where)
    reader.expect(*TYPES[kind].keyword.split())
    assert reader.name() == name
    found = {"storage": reader.name() if reader.take("IN") else None}
    found["cluster"] = reader.name() if reader.take("ON", "CLUSTER") else None
    assert found == {**where, "storage": where["storage"] if verb == "CREATE" else None}
    assert (verb == "CREATE") is (state is None)
    state = dict(state or STATES[kind])
    if reader.take("NOT", "IDENTIFIED"):
        state["authentication"], state["secrets"] = [{"type": "no_password"}], []
    elif reader.take("IDENTIFIED", "WITH"):
        methods = [reader.method()]
        while reader.take(","):
            methods.append(reader.method())
        state["authentication"] = [document for document, _secret in methods]
        state["secrets"] = [secret for _document, secret in methods if secret]
    if reader.take("VALID", "UNTIL"):
        expiry = reader.value("string")
        methods_left = [{k: v for k, v in method.items() if k != "valid_until"} for method in state["authentication"]]
        extra = {} if expiry == "infinity" else {"valid_until": expiry}
        state["authentication"] = [{**method, **extra} for method in methods_left]
    if reader.take("HOST"):
        state["host"] = reader.host()
    if reader.take("DEFAULT", "DATABASE"):
        state["default_database"] = "" if reader.take("NONE") else reader.name()
    if reader.take("DEFAULT", "ROLE"):
        state["default_roles"] = reader.names_or("all")
    if reader.take("DROP", "ALL", "SETTINGS"):
        reader.expect(",", "DROP", "ALL", "PROFILES")
        state["settings"], state["profiles"] = [], []
        if reader.take(","):
            reader.elements(state)
    elif reader.take("SETTINGS"):
        reader.elements(state)
    if reader.take("GRANTEES"):
        state["grantees"] = reader.names_or("any")
    if reader.take("TO"):
        state["apply_to"] = reader.names_or("all")
    reader.value("end")
    return state


def carry_out_roles(reader: Reader, verb: str, state: Document, name: str, where: Document) -> Document:
    assert (reader.name() if reader.take("ON", "CLUSTER") else None) == where["cluster"]
    option = reader.take("ADMIN", "OPTION", "FOR")
    roles = reader.names()
    reader.expect("TO" if verb == "GRANT" else "FROM")
    assert reader.name() == name
    option = reader.take("WITH", "ADMIN", "OPTION") or option
    reader.value("end")
    state["roles"] = dict(state["roles"])
    for role in roles:
        if verb == "GRANT":
            state["roles"][role] = option or state["roles"].get(role, False)
        elif option:
            state["roles"][role] = False
        else:
            del state["roles"][role]
    return state


SETTINGS_STATE: Document = {"settings": [], "profiles": []}
STATES: dict[str, Document] = {
    "user": {
        **SETTINGS_STATE,
        "authentication": [{"type": "no_password"}],
        "secrets": [],
        "host": {"any": True},
        "default_database": "",
        "roles": {},
        "default_roles": {"all": True},
        "grantees": {"any": True},
    },
    "role": {**SETTINGS_STATE, "roles": {}},
    "settings_profile": {**SETTINGS_STATE, "apply_to": {"none": True}},
}
"""What CREATE makes of an entity when nothing more is said."""


def in_plain_state(document: Document, server: Server) -> Document:
    """A document of ours in the form `carry_out` gives, secrets apart."""
    state = {key: value for key, value in document.items() if key != "settings"}
    types = server.setting_types([element["name"] for element in document["settings"]])
    state["settings"] = [
        (
            element["name"],
            {key: spelled(types[element["name"]], element[key]) for key in ("value", "min", "max") if key in element},
            element.get("writability", ""),
        )
        for element in document["settings"]
    ]
    if "roles" in document:
        state["roles"] = {role["name"]: role["admin_option"] for role in document["roles"]}
    if "host" in document:
        host = document["host"]
        state["host"] = {key: sorted(value) if isinstance(value, list) else value for key, value in host.items()}
    return state


def spelled(kind: canonical.SettingType, value: Any) -> tuple[str, str]:
    """The token that stands for a value."""
    if isinstance(value, str):
        return ("number" if canonical.is_bare(kind, value) else "string", value)
    return "number", str(int(value)) if isinstance(value, bool) else re.sub(r"e-0(\d)$", r"e-\1", repr(value))


# -- generated wishes

WORDS = ["select", "none", "all", "any", "current_user", "default", "identified", "except", "null", "true", "on", "to"]
WORDS += ["table", "from", "inf", "in", "settings", "profile", "inherit", "const", "grant", "option", "with"]
LONG = "`'\\\"" * 2500
NASTY = [
    "it's", "back\\slash", "tick`tick", 'double"quote', "100%s %d", "line\nbreak\r\ttab", "nul\0here", "😀 emoji é",
    "-- comment", "/* c */", "; DROP USER x", "` HOST ANY --", "' OR 1=1 --", "{p:String}", "$$", "\\", *WORDS,
    "`", "'", " ", "*", "a.b", "a@b", "u@'%'", "\\n", "\x1b\x7f\b\f", "[HIDDEN]", "1", "",
]  # fmt: skip
texts = st.sampled_from([*NASTY, None]).map(lambda text: LONG if text is None else text) | st.text(max_size=20)
names = texts.filter(bool)
few = {"max_size": 3}


def name_sets(everyone: str, words: st.SearchStrategy[str] = names) -> st.SearchStrategy[Options]:
    return st.one_of(
        st.just({}),
        st.just({"none": True}),
        st.fixed_dictionaries({"names": st.lists(words, **few)}),
        st.fixed_dictionaries({everyone: st.just(True)}, optional={"except": st.lists(words, **few)}),
    )


hosts = st.one_of(
    st.sampled_from([{"any": True}, {"none": True}, {}]),
    st.fixed_dictionaries(
        {},
        optional={
            "local": st.booleans(),
            "ip": st.lists(st.ip_addresses().map(str) | st.sampled_from(["10.0.0.9/8", "2001:db8::1/32"]), **few),
            **{kind: st.lists(names, **few) for kind in ("name", "regexp", "like")},
        },
    ),
)
passwords = st.sampled_from(["sha256_password", "double_sha1_password", "plaintext_password"])
methods = st.one_of(
    st.fixed_dictionaries({"type": passwords, "password": texts}, optional={"valid_until": st.just("2040-01-01")}),
    st.fixed_dictionaries(
        {"type": st.just("sha256_password"), "password_hash": st.just("aB" * 32)}, optional={"salt": texts}
    ),
    st.fixed_dictionaries({"type": st.just("ldap"), "server": names}),
    st.fixed_dictionaries({"type": st.just("kerberos")}, optional={"realm": names}),
    st.fixed_dictionaries({"type": st.just("http"), "server": names}, optional={"scheme": st.just("basic")}),
    st.fixed_dictionaries({"type": st.just("ssl_certificate"), "common_names": st.lists(names, min_size=1, **few)}),
    st.fixed_dictionaries(
        {
            "type": st.just("ssl_certificate"),
            "subject_alt_names": st.lists(names.map("DNS:{}".format), min_size=1, **few),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("ssh_key"),
            "ssh_keys": st.lists(
                st.fixed_dictionaries({"key": st.sampled_from(["AAAA", "B+/=", "BY"]), "type": names}),
                min_size=1,
                **few,
            ),
        }
    ),
)
WRITABILITIES = st.sampled_from([None, *canonical.WRITABILITY])
known_settings = st.one_of(
    st.tuples(st.just("max_memory_usage"), st.integers(0, 2**64 - 1) | st.sampled_from(["10Mi", "5M"])),
    st.tuples(st.just("max_execution_time"), st.floats(0, 1e6) | st.integers(0, 1000)),
    st.tuples(st.just("totals_auto_threshold"), st.floats(-1e30, 1e30)),
    st.tuples(st.just("use_uncompressed_cache"), st.booleans()),
    st.tuples(st.just("read_overflow_mode"), st.sampled_from(["throw", "break"])),
    st.tuples(st.just("log_comment"), texts),
)
custom_settings = st.tuples(
    names, texts | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.floats(1e-5, 1e5).filter(lambda x: x % 1 > 0)
)
setting = st.builds(
    lambda pair, low, high, writability: {
        "name": pair[0], "value": pair[1], "min": low and pair[1], "max": high and pair[1], "writability": writability
    },
    known_settings | custom_settings, st.sampled_from([None, True]), st.sampled_from([None, True]), WRITABILITIES,
)  # fmt: skip
with_settings = {
    "settings": st.lists(setting, max_size=4, unique_by=lambda entry: entry["name"]),
    "profiles": st.lists(names, **few),
}
roles = st.lists(
    st.fixed_dictionaries({"name": names, "admin_option": st.booleans()}), max_size=4, unique_by=lambda r: r["name"]
)


def options_of(kind: str, version: str) -> st.SearchStrategy[Options]:
    """What a module of this kind could be given for a server of this version, but for its name."""
    optional: dict[str, st.SearchStrategy[Any]] = dict(with_settings)
    if kind != "settings_profile":
        optional["roles"] = roles
    if kind == "settings_profile":
        optional["apply_to"] = name_sets("all")
    if kind == "user":
        optional |= {
            "authentication": st.lists(methods, min_size=1, max_size=1 if version == "24.8" else 3),
            "valid_until": st.sampled_from(["2041-02-03 04:05:06", "infinity"]),
            "host": hosts if version == "26.9" else hosts.map(with_one_pattern),
            "default_database": texts,
            "default_roles": name_sets("all"),
            "grantees": name_sets("any"),
        }
    return st.fixed_dictionaries({}, optional=optional).map(with_default_roles_granted)


def with_one_pattern(host: Options) -> Options:
    """What older servers take: see the test of LIKE patterns."""
    return {**host, "like": [] if host.get("regexp") else host.get("like", [])[:1]}


def with_default_roles_granted(options: Options) -> Options:
    """Default roles must be granted."""
    if "default_roles" not in options:
        return options
    wanted = {*options["default_roles"].get("names", ()), *options["default_roles"].get("except", ())}
    given = options.get("roles", [])
    missing = sorted(wanted - {role["name"] for role in given})
    return {**options, "roles": given + [{"name": role, "admin_option": False} for role in missing]}


# -- entities


def check(
    version: str, kind: str, name: str, wishes: list[Options], where: Document, tools: tuple[Engine, Server]
) -> None:
    """Create an entity by the first wish, change it by the others: what the engine reads is what was wished."""
    engine, server = tools
    storage = where["storage"] or "local_directory"
    current: Current | None = None
    steps: list[tuple[Wish, Change]] = []
    for options in wishes:
        base = {"name": name, "state": "present", "storage": where["storage"]}
        wished = TYPES[kind].wish({**base, **options}, server)
        change = plan(TYPES[kind], wished, {"": current}, Target(where["cluster"]), server)
        assert change.after is not None
        current = Current(change.after, storage)
        assert plan(TYPES[kind], wished, {"": current}, Target(), server).statements == ()
        steps.append((wished, change))
    canonical_texts = iter(
        parse_all(engine, [statement.sql for _unused, change in steps for statement in change.statements])
    )
    state: Document | None = None
    for wished, change in steps:
        before = state
        for _statement in change.statements:
            state = carry_out(state, next(canonical_texts), kind, name, where)
        assert state is not None
        assert change.after is not None
        assert {key: value for key, value in state.items() if key != "secrets"} == in_plain_state(change.after, server)
        if kind == "user" and wished.credentials and (before is None or state["secrets"] != before["secrets"]):
            pairs = zip(wished.credentials, state["secrets"], strict=True)
            assert all(credential.matches(shown) for credential, shown in pairs)


def parse_all(engine: Engine, statements: list[str]) -> list[str]:
    """Each statement in canonical form; one that is two, or none of the grammar, is an error of the parser."""
    texts = ", ".join(map(literal, statements))
    if len(texts) > 200_000:  # more than one query may have
        return [engine.parse(text) for text in statements]
    answer = engine.query(f"SELECT formatQuerySingleLine(arrayJoin([{texts}]))", "JSONCompactEachRow") if texts else b""
    return [json.loads(line)[0] for line in answer.decode().split("\n") if line]


BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate,),  # a failure is shown as it was found: making it smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
RUNS = [("26.9", 150), ("25.8", 40), ("24.8", 10)]


@pytest.mark.parametrize("kind", ["user", "role", "settings_profile"])
@pytest.mark.parametrize(("version", "examples"), RUNS)
def test_entities_are_read_as_they_were_wished(
    version: str, examples: int, kind: str, engine: Engines, server: Servers
) -> None:
    places = st.fixed_dictionaries({"storage": st.none() | names, "cluster": st.none() | names})

    @settings(BOUNDED, max_examples=examples if kind == "user" else examples // 2)
    @given(name=names, wishes=st.lists(options_of(kind, version), min_size=1, max_size=3), where=places)
    def run(name: str, wishes: list[Options], where: Document) -> None:
        check(version, kind, name, wishes, where, (engine(version), server(version)))

    run()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("host", [{"like": ["a", "b"]}, {"like": ["a"], "regexp": ["b"]}])
def test_like_patterns_that_older_servers_forget_are_refused(version: str, host: Options, server: Servers) -> None:
    options = {"name": "x", "state": "present", "host": host}
    if version == "26.9":
        assert TYPES["user"].wish(options, server(version)).document["host"] == host
    else:
        with pytest.raises(WishError, match=f"host.like: this server .{version}"):
            TYPES["user"].wish(options, server(version))


# -- grants

TABLE_PRIVILEGES = st.sampled_from(["SELECT", "INSERT", "ALTER UPDATE", "ALTER TABLE MODIFY QUERY", "CREATE TABLE"])
OBJECT_PRIVILEGES = st.sampled_from(["NAMED COLLECTION", "SET DEFINER"])


def wildcard(quoted: st.SearchStrategy[str], version: str) -> st.SearchStrategy[str]:
    return quoted if version == "24.8" else st.one_of(quoted, quoted.map("{}*".format))


def grants(version: str) -> st.SearchStrategy[Options]:
    quoted = names.map(ident)
    where = st.one_of(
        st.just("*.*"),
        wildcard(quoted, version).map("{}.*".format),
        st.builds("{}.{}".format, quoted, wildcard(quoted, version)),
    )
    columns = st.lists(quoted, min_size=1, max_size=3).map(lambda found: f"SELECT({', '.join(found)})")
    return st.builds(
        lambda pair, option: {"privilege": [pair[0]], "scope": [pair[1]], "grant_option": option},
        st.one_of(
            st.tuples(TABLE_PRIVILEGES, where),
            st.tuples(columns, st.builds("{}.{}".format, quoted, quoted)),
            st.tuples(OBJECT_PRIVILEGES, wildcard(quoted, version) | st.just("*")),
        ),
        st.booleans(),
    )


def without_option(entries: list[Options]) -> list[Options]:
    return [{key: value for key, value in entry.items() if key != "grant_option"} for entry in entries]


def carry_out_grant(rights: Rights, given: dict[str, bool], text: str, name: str, cluster: str | None) -> Rights:
    """The rights after one statement; the roles, with their admin option, are changed in place."""
    reader = Reader(text)
    verb = reader.value("word")
    if ("word", "ON") not in reader.tokens[3 if cluster else 0 :]:
        state = carry_out_roles(reader, verb, {"roles": given}, name, {"cluster": cluster})
        given.clear()
        given.update(state["roles"])
        return rights
    assert (reader.name() if reader.take("ON", "CLUSTER") else None) == cluster
    option = reader.take("GRANT", "OPTION", "FOR")
    steps: list[tuple[list[tuple[str, tuple[str, ...]]], Scope]] = []
    while True:
        steps.append((privileges(reader), scope(reader)))
        if not reader.take(","):
            break
    reader.expect("TO" if verb == "GRANT" else "FROM")
    assert reader.name() == name
    with_option = reader.take("WITH", "GRANT", "OPTION")
    changed = Rights(rights.catalogue) if reader.take("WITH", "REPLACE", "OPTION") else rights.copy()
    reader.value("end")
    what = GRANT if verb == "GRANT" else REVOKE_OPTION if option else REVOKE
    for pairs, place in steps:
        for privilege, columns in pairs:
            changed.apply(Step(what, Grant(changed.catalogue.resolve(privilege), place, columns, with_option)))
    return changed


def privileges(reader: Reader) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    while True:
        words = [reader.value("word")]
        while reader.tokens[0][0] == "word" and reader.tokens[0][1] != "ON":
            words.append(reader.value("word"))
        columns = tuple(reader.names()) if reader.take("(") else ()
        if columns:
            reader.expect(")")
        found.append((" ".join(words), columns))
        if not reader.take(","):
            reader.expect("ON")
            return found


def scope(reader: Reader) -> Scope:
    if reader.take("*"):
        return Scope() if reader.take(".", "*") else Scope(object="")
    first, star = reader.name(), reader.take("*")
    if not reader.take("."):
        return Scope(object=first, wildcard=star)
    if reader.take("*"):
        return Scope(first, wildcard=star)
    assert not star
    return Scope(first, reader.name(), reader.take("*"))


@pytest.mark.parametrize(("version", "examples"), RUNS)
def test_grants_are_read_as_they_were_wished(version: str, examples: int, engine: Engines, server: Servers) -> None:
    lists = st.lists(grants(version), max_size=4)
    wishes = st.fixed_dictionaries(
        {"mode": st.sampled_from(["append", "exact", "remove"]), "privileges": lists, "roles": roles}
    )

    @settings(BOUNDED, max_examples=examples)
    @given(name=names, wanted=st.lists(wishes, min_size=1, max_size=3), revoked=lists, cluster=st.none() | names)
    def run(name: str, wanted: list[Options], revoked: list[Options], cluster: str | None) -> None:
        known = server(version)
        current = Current({"privileges": Rights(known.privileges), "roles": []})
        rights, given = Rights(known.privileges), dict[str, bool]()
        for options in wanted:
            if options["mode"] != "remove":
                options = {**options, "partial_revokes": without_option(revoked)}
            wished = TYPES["grant"].wish({"grantee": name, "state": "present", **options}, known)
            change = plan(TYPES["grant"], wished, {"": current}, Target(cluster), known)
            assert change.after is not None
            for text in parse_all(engine(version), [statement.sql for statement in change.statements]):
                rights = carry_out_grant(rights, given, text, name, cluster)
            assert rights == change.after["privileges"]
            assert [{"name": role, "admin_option": given[role]} for role in sorted(given)] == change.after["roles"]
            current = Current(change.after)

    run()


# -- what cannot be sent at all

LONE = "a\udc80"
SURROGATES: list[tuple[str, str, Options]] = [
    ("user", "name", {"name": LONE}),
    ("user", "storage", {"storage": LONE}),
    ("user", "default_database", {"default_database": LONE}),
    ("user", "valid_until", {"valid_until": LONE}),
    ("user", "host.name[0]", {"host": {"name": [LONE]}}),
    ("user", "roles[0].name", {"roles": [{"name": LONE}]}),
    ("user", "grantees.names[0]", {"grantees": {"names": [LONE]}}),
    ("user", "default_roles.except[0]", {"default_roles": {"all": True, "except": [LONE]}}),
    ("user", "authentication[0].password", {"authentication": [{"type": "sha256_password", "password": LONE}]}),
    ("user", "authentication[0].server", {"authentication": [{"type": "ldap", "server": LONE}]}),
    ("role", "settings[0].name", {"settings": [{"name": LONE, "value": 1}]}),
    ("role", "settings[0].value", {"settings": [{"name": "log_comment", "value": LONE}]}),
    ("role", "settings[0].max", {"settings": [{"name": "custom", "max": LONE}]}),
    ("settings_profile", "profiles[0]", {"profiles": [LONE]}),
    ("settings_profile", "apply_to.names[0]", {"apply_to": {"names": [LONE]}}),
    ("grant", "grantee", {"grantee": LONE, "roles": []}),
    ("grant", "roles[0].name", {"roles": [{"name": LONE}]}),
    ("grant", "privileges[0].scope", {"privileges": [{"privilege": ["SELECT"], "scope": [f"`{LONE}`.*"]}]}),
    ("grant", "privileges[0].privilege", {"privileges": [{"privilege": [f"SELECT(`{LONE}`)"], "scope": ["a.b"]}]}),
]


@pytest.mark.parametrize(
    ("kind", "option", "options"), SURROGATES, ids=[f"{kind} {name}" for kind, name, _unused in SURROGATES]
)
def test_a_lone_surrogate_is_refused_by_the_name_of_its_option(
    kind: str, option: str, options: Options, server: Servers
) -> None:
    base = {"name": "x", "grantee": "x", "mode": "append", "state": "present"}
    with pytest.raises(WishError, match="not valid Unicode") as caught:
        TYPES[kind].wish({**base, **options}, server("26.9"))
    assert caught.value.option == option
