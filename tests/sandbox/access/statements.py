"""Access-control statements: the engine's canonical text as small objects.

The engine's formatter has already refused what is not grammar, so this reads only what ClickHouse writes. While
reading, it notes where the statement refers to other entities, to a cluster and to a storage, so that `probe_text`
can write the same statement for an engine that has none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from .text import Cursor, quote

KINDS = {
    "USER": "USER",
    "USERS": "USER",
    "ROLE": "ROLE",
    "ROLES": "ROLE",
    "QUOTA": "QUOTA",
    "QUOTAS": "QUOTA",
    "SETTINGS PROFILE": "SETTINGS PROFILE",
    "SETTINGS PROFILES": "SETTINGS PROFILE",
    "PROFILE": "SETTINGS PROFILE",
    "ROW POLICY": "ROW POLICY",
    "ROW POLICIES": "ROW POLICY",
}
CURRENT_USER = "\ud800CURRENT_USER"
"""Stands for the keyword CURRENT_USER in a list of names."""


@dataclass
class Names:
    """A list of users and roles by name: `TO r1, u1`, `DEFAULT ROLE ALL EXCEPT r`."""

    all: bool = False
    names: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)


@dataclass
class PolicyName:
    """A row policy's name in a statement; database '' means the current one; table '' every table (`db.*`)."""

    short: str
    database: str
    table: str

    def full(self, database: str) -> str:
        """The full name, with this current database."""
        return f"{quote(self.short)} ON {quote(self.database or database)}.{quote(self.table) if self.table else '*'}"


@dataclass
class Method:
    """An authentication method as written: its type ('' the default one), `BY` text or hash, SALT, parameters,
    expiry."""

    type: str
    secret: str = ""
    salt: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    expiry: Expiry | None = None
    grants: str = ""


@dataclass
class Expiry:
    """VALID UNTIL 'text', or VALID FOR an interval expression (SQL)."""

    until: str = ""
    interval: str = ""


@dataclass
class SettingClause:
    """One setting or profile; values are SQL literals."""

    profile: str = ""
    name: str = ""
    value: str | None = None
    min: str | None = None
    max: str | None = None
    writability: str | None = None


@dataclass
class SettingsChange:
    """What happens to a list of settings, in the order in which ClickHouse does it."""

    drop_all_settings: bool = False
    drop_all_profiles: bool = False
    drop: list[SettingClause] = field(default_factory=list)
    add: list[SettingClause] = field(default_factory=list)
    modify: list[SettingClause] = field(default_factory=list)


@dataclass
class IntervalClause:
    """One FOR INTERVAL of a quota; `limits` None means NO LIMITS."""

    duration: int
    randomized: bool
    limits: dict[str, float] | None


HostList: TypeAlias = list[tuple[str, str]]
"""Hosts as written: (ANY | LOCAL | NONE | IP | NAME | REGEXP | LIKE, text)."""


@dataclass
class Create:
    """CREATE or ALTER of entities of one kind; a clause that is not written is None."""

    kind: str
    alter: bool
    names: list[str] = field(default_factory=list)
    policies: list[PolicyName] = field(default_factory=list)
    host_patterns: dict[str, str] = field(default_factory=dict)
    if_exists: bool = False
    if_not_exists: bool = False
    or_replace: bool = False
    storage: str = ""
    new_name: str | None = None
    settings: SettingsChange | None = None
    to: Names | None = None
    # users
    methods: list[Method] | None = None
    add_methods: bool = False
    reset_methods: bool = False
    expiry: Expiry | None = None
    hosts: HostList | None = None
    add_hosts: HostList | None = None
    drop_hosts: HostList | None = None
    default_database: str | None = None
    roles: Names | None = None
    default_roles: Names | None = None
    grantees: Names | None = None
    # quotas
    keys: list[str] | None = None
    prefix_bits: dict[str, int] = field(default_factory=dict)
    intervals: list[IntervalClause] = field(default_factory=list)
    # row policies
    restrictive: bool | None = None
    filter: str | None = None


@dataclass
class Drop:
    """DROP, or (with `target`, a storage) MOVE."""

    kind: str
    names: list[str]
    policies: list[PolicyName]
    if_exists: bool = False
    storage: str = ""
    target: str = ""


@dataclass
class Piece:
    """Privileges on one target of a GRANT: names with their columns; the target's names ('*' is None)."""

    privileges: list[tuple[str, tuple[str, ...]]]
    first: str | None
    second: str | None
    dotted: bool
    wildcard: bool


@dataclass
class Grant:
    """GRANT or REVOKE, of privileges or of roles."""

    revoke: bool
    pieces: list[Piece] = field(default_factory=list)
    roles: Names | None = None
    grantees: Names = field(default_factory=Names)
    option: bool = False
    """GRANT/ADMIN OPTION, given or (revoke) taken alone."""
    replace: bool = False
    current: bool = False


@dataclass
class SetDefaultRole:
    """SET DEFAULT ROLE roles TO users."""

    roles: Names
    users: Names


@dataclass
class Show:
    """A SHOW about access; `what` is CREATE, LIST, GRANTS or ACCESS."""

    what: str
    kind: str = ""
    plural: bool = False
    names: list[str] = field(default_factory=list)
    policies: list[PolicyName] = field(default_factory=list)
    modifier: str = ""
    """CURRENT or ENABLED for roles, CURRENT for quotas."""
    short_names: list[str] = field(default_factory=list)
    table: tuple[str | None, str | None] | None = None
    grantees: Names | None = None
    implicit: bool = False
    final: bool = False


Statement: TypeAlias = Create | Drop | Grant | SetDefaultRole | Show


@lru_cache(4)  # each statement is asked for what it is, what the engine is to judge, and what is to be done
def parse(sql: str) -> Statement | None:
    """The access statement in this canonical text, or None where it is another kind of statement. Raises ValueError."""
    return _Parser(sql).statement()


def probe_text(sql: str) -> str | None:
    """The statement with references replaced by `probe` (user or role), `probe_role`, `probe_profile`, without
    cluster and storage.

    None where it is no access statement.
    """
    parser = _Parser(sql)
    if parser.statement() is None:
        return None
    for start, end, text in sorted(parser.spans, reverse=True):
        sql = (sql[:start] if text else sql[:start].rstrip()) + text + sql[end:]
    return sql


class _Parser(Cursor):
    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self.spans: list[tuple[int, int, str]] = []

    def statement(self) -> Statement | None:
        for verb in ("CREATE", "ALTER", "DROP", "MOVE", "SHOW CREATE", "SHOW"):
            words = verb.split()
            if self.ahead(*words):
                start = self.at
                self.at += len(words)
                if verb in ("CREATE", "ALTER"):
                    kind = self.kind(False)
                    if kind:
                        return self.create(kind, verb == "ALTER")
                elif verb in ("DROP", "MOVE"):
                    kind = self.kind(False)
                    if kind:
                        return self.drop(kind, verb == "MOVE")
                elif found := self.show(verb):
                    return found
                self.at = start
        if self.take("GRANT"):
            return self.grant(False)
        if self.take("REVOKE"):
            return self.grant(True)
        if self.take("SET", "DEFAULT", "ROLE"):
            roles = self.names("probe_role")
            self.expect("TO")
            return SetDefaultRole(roles, self.names("probe"))
        return None

    def kind(self, plural: bool) -> str:
        """The kind of entity, or ''; `plural` allows the plural form."""
        for words, kind in KINDS.items():
            if (plural or not words.endswith("S")) and self.take(*words.split()):
                return kind
        return ""

    # names ------------------------------------------------------------------------------------------------------------

    def reference(self, stub: str) -> str:
        token = self.token
        name = self.name()
        if self.take("@"):
            name += "@" + self.name()
        self.spans.append((token.start, self.tokens[self.at - 1].end, stub))
        return name

    def user_or_role(self, stub: str) -> str:
        """One name, or CURRENT_USER: chDB does not come back from ALTER USER ... GRANTEES CURRENT_USER."""
        if self.token.kind == "name" and self.token.text == "CURRENT_USER":
            self.reference(stub)
            return CURRENT_USER
        return self.reference(stub)

    def names(self, stub: str) -> Names:
        """`ALL | ANY | NONE | names [EXCEPT names]`."""
        result = Names()

        def one() -> None:
            if self.keyword("NONE"):
                return
            if self.keyword("ALL") or self.keyword("ANY"):
                result.all = True
            else:
                result.names.append(self.user_or_role(stub))

        def excluded() -> None:
            if not self.keyword("NONE"):
                result.excluded.append(self.user_or_role(stub))

        self.list(one)
        if self.take("EXCEPT"):
            self.list(excluded)
        return result

    def on_cluster(self) -> None:
        start = self.token.start
        if self.take("ON", "CLUSTER"):
            self.name()
            self.spans.append((start, self.tokens[self.at - 1].end, ""))

    def storage(self, keyword: str) -> str:
        start = self.token.start
        if not self.take(keyword):
            return ""
        name = self.name()
        self.spans.append((start, self.tokens[self.at - 1].end, ""))
        return name

    def policies(self) -> list[PolicyName]:
        """`p ON db.t`, `p, q ON db.t`, `p ON db.t, db2.t2`, `p ON db.t, q ON db2.t2`."""
        result: list[PolicyName] = []
        while True:
            shorts = [self.name()]
            while self.take(","):
                shorts.append(self.name())
            self.on_cluster()
            self.expect("ON")
            tables = [self.table()]
            while self.ahead(",") and not self.names_a_policy():
                self.expect(",")
                tables.append(self.table())
            result += [PolicyName(short, database or "", table or "") for short in shorts for database, table in tables]
            if not self.take(","):
                return result

    def names_a_policy(self) -> bool:
        """Whether after this comma comes `name ON`, another policy, rather than another table."""
        after = self.tokens[min(self.at + 2, len(self.tokens) - 1)]
        return after.kind == "name" and after.text.upper() == "ON"

    def table(self) -> tuple[str | None, str | None]:
        """`db.t`, `db.*`, `t`, `*`: the database ('' or None: the current one) and the table (None: all)."""
        first = None if self.take("*") else self.name()
        if not self.take("."):
            return "", first
        return first, None if self.take("*") else self.name()

    # CREATE and ALTER -------------------------------------------------------------------------------------------------

    def create(self, kind: str, alter: bool) -> Create:
        result = Create(kind, alter)
        result.if_exists = self.take("IF", "EXISTS")
        result.if_not_exists = self.take("IF", "NOT", "EXISTS")
        result.or_replace = self.take("OR", "REPLACE")
        if kind == "ROW POLICY":
            result.policies = self.policies()
        else:

            def one() -> None:
                name = self.name()
                if kind == "USER" and self.take("@"):
                    pattern = self.name()
                    name += f"@{pattern}"
                    result.host_patterns[name] = pattern
                result.names.append(name)

            self.list(one)
        while not self.done:
            at = self.at
            self.clause(result)
            if self.at == at:
                raise ValueError(f"unread: {self.sql[self.token.start :]!r}")
        return result

    def clause(self, result: Create) -> None:
        """The next clause."""
        self.on_cluster()
        if storage := self.storage("IN"):
            result.storage = storage
        if self.take("RENAME", "TO"):
            result.new_name = self.name()
        if result.kind == "USER":
            self.user_clause(result)
        elif result.kind == "QUOTA":
            self.quota_clause(result)
        elif result.kind == "ROW POLICY":
            self.policy_clause(result)
        if result.kind in ("USER", "ROLE", "SETTINGS PROFILE"):
            self.settings_clause(result)
        if result.kind != "USER" and self.take("TO"):
            result.to = self.names("probe")

    def user_clause(self, result: Create) -> None:
        if self.take("RESET", "AUTHENTICATION", "METHODS", "TO", "NEW"):
            result.reset_methods = True
        if self.take("NOT", "IDENTIFIED"):
            result.methods = [Method("no_password")]
        if self.ahead("ADD", "IDENTIFIED") or self.ahead("IDENTIFIED"):
            result.add_methods = self.take("ADD")
            self.expect("IDENTIFIED")
            result.methods = self.methods()
        if expiry := self.expiry():
            result.expiry = expiry
        if self.take("ADD", "HOST"):
            result.add_hosts = self.hosts()
        elif self.take("DROP", "HOST"):
            result.drop_hosts = self.hosts()
        elif self.take("HOST"):
            result.hosts = self.hosts()
        if self.take("DEFAULT", "DATABASE"):
            result.default_database = "" if self.keyword("NONE") else self.name()
        if self.take("ROLE"):
            result.roles = self.names("probe_role")
        if self.take("DEFAULT", "ROLE"):
            result.default_roles = self.names("probe_role")
        if self.take("GRANTEES"):
            result.grantees = self.names("probe")

    def methods(self) -> list[Method]:
        result: list[Method] = []
        self.take("WITH")

        def one() -> None:
            method = Method("")
            if not self.ahead("BY"):
                method.type = self.name().lower()
            if method.type == "ssh_key":
                self.expect("BY")
                keys: list[list[str]] = []

                def key() -> None:
                    self.expect("KEY")
                    text = self.name_to("TYPE")
                    self.expect("TYPE")
                    keys.append([text, self.name()])

                key()
                while self.ahead(",", "KEY"):  # else the next method follows
                    self.expect(",")
                    key()
                method.params["keys"] = keys
            elif self.take("BY"):
                method.secret = self.name()
                if self.take("SALT"):
                    method.salt = self.name()
            self.parameters(method)
            method.expiry = self.expiry()
            if self.take("GRANTS"):
                method.grants = self.in_brackets()
            result.append(method)

        self.list(one)
        return result

    def name_to(self, keyword: str) -> str:
        """A name that may have been written without quotes although it holds other signs, up to a keyword."""
        start = self.at
        if self.token.kind in ("quoted", "string"):
            return self.name()
        while not self.ahead(keyword) and not self.done:
            self.at += 1
        return self.sql[self.tokens[start].start : self.tokens[self.at - 1].end]

    def parameters(self, method: Method) -> None:
        params = method.params
        for word in ("SERVER", "REALM", "SCHEME"):
            if self.take(word):
                params[word.lower()] = self.name()
        for word in ("CN", "SAN"):
            if self.take(word):
                names = [self.name()]
                while self.ahead(",") and self.tokens[self.at + 1].kind == "string":  # else the next method follows
                    self.at += 1
                    names.append(self.name())
                params[word.lower()] = names

    def expiry(self) -> Expiry | None:
        if self.take("VALID", "UNTIL"):
            return Expiry(until=self.name())
        if self.take("VALID", "FOR"):
            start = self.token.start
            self.name()
            self.in_brackets()
            return Expiry(interval=self.sql[start : self.tokens[self.at - 1].end])
        return None

    def in_brackets(self) -> str:
        """The text between the round brackets that come next."""
        self.expect("(")
        start, depth = self.token.start, 1
        while depth:
            depth += self.ahead("(") - self.ahead(")")
            self.at += 1
            if self.done and depth:
                raise ValueError("unbalanced brackets")
        return self.sql[start : self.tokens[self.at - 1].start].strip()

    def hosts(self) -> HostList:
        result: HostList = []
        last = "NAME"

        def one() -> None:
            nonlocal last
            for word in ("ANY", "LOCAL", "NONE"):
                if self.take(word):
                    result.append((word, ""))
                    return
            for word in ("IP", "NAME", "REGEXP", "LIKE"):
                if self.take(word):
                    last = word
            result.append((last, self.name()))

        self.list(one)
        return result

    # settings ---------------------------------------------------------------------------------------------------------

    def settings_clause(self, result: Create) -> None:
        change = SettingsChange()
        start = self.at
        if self.take("SETTINGS"):
            change.drop_all_settings = change.drop_all_profiles = True
            if not self.keyword("NONE"):
                self.list(lambda: change.add.append(self.setting()))
        else:
            while self.settings_action(change):
                if not self.ahead(",") or not any(
                    self.tokens[self.at + 1].text == word and self.tokens[self.at + 1].kind == "name"
                    for word in ("ADD", "MODIFY", "DROP")
                ):
                    break
                self.at += 1
        if self.at != start:
            result.settings = change

    def settings_action(self, change: SettingsChange) -> bool:
        if self.take("DROP", "ALL", "SETTINGS"):
            change.drop_all_settings = True
        elif self.take("DROP", "ALL", "PROFILES"):
            change.drop_all_profiles = True
        elif self.take("DROP", "PROFILE") or self.take("DROP", "PROFILES"):
            self.more(lambda: change.drop.append(SettingClause(profile=self.reference("probe_profile"))))
        elif self.take("DROP", "SETTING") or self.take("DROP", "SETTINGS"):
            self.more(lambda: change.drop.append(SettingClause(name=self.name())))
        elif self.take("ADD", "PROFILE") or self.take("ADD", "PROFILES"):
            self.more(lambda: change.add.append(SettingClause(profile=self.reference("probe_profile"))))
        elif self.take("ADD", "SETTING") or self.take("ADD", "SETTINGS"):
            self.more(lambda: change.add.append(self.setting()))
        elif self.take("MODIFY", "SETTING") or self.take("MODIFY", "SETTINGS"):
            self.more(lambda: change.modify.append(self.setting()))
        else:
            return False
        return True

    def more(self, item: Any) -> None:
        """Items with commas between, ended by a comma before the next action."""
        item()
        while self.ahead(","):
            after = self.tokens[self.at + 1 : self.at + 3]
            if after[0].kind == "name" and after[0].text in ("ADD", "MODIFY", "DROP") and after[1].kind == "name":
                return
            self.at += 1
            item()

    def setting(self) -> SettingClause:
        result = SettingClause()
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if (self.ahead("PROFILE") or self.ahead("INHERIT")) and (following.kind, following.text) != ("mark", "="):
            self.at += 1
            result.profile = self.reference("probe_profile")
            return result
        result.name = self.setting_name()
        if self.take("="):
            result.value = self.literal()
        while True:
            if self.take("MIN"):
                self.take("=")
                result.min = self.literal()
            elif self.take("MAX"):
                self.take("=")
                result.max = self.literal()
            else:
                for word in ("CONST", "READONLY", "WRITABLE", "CHANGEABLE_IN_READONLY"):
                    start = self.token.start
                    if self.take(word):
                        if word == "CHANGEABLE_IN_READONLY":  # chDB is built to refuse it
                            self.spans.append((start, self.tokens[self.at - 1].end, ""))
                        result.writability = "CONST" if word == "READONLY" else word
                        break
                else:
                    return result

    def setting_name(self) -> str:
        name = self.name()
        while self.take("."):
            name += "." + self.name()
        return name

    def literal(self) -> str:
        token = self.token
        self.at += 1
        return self.sql[token.start : token.end]

    # quotas and row policies ------------------------------------------------------------------------------------------

    def quota_clause(self, result: Create) -> None:
        if self.take("NOT", "KEYED"):
            result.keys = []
        if self.take("KEYED", "BY"):
            result.keys = []
            self.list(lambda: result.keys.append(self.name()))  # type: ignore[union-attr]
        for word in ("IPV4_PREFIX_BITS", "IPV6_PREFIX_BITS"):
            if self.take(word):
                result.prefix_bits[word[:4].lower()] = int(self.literal())
        if self.take("FOR"):
            self.list(lambda: result.intervals.append(self.interval()))

    def interval(self) -> IntervalClause:
        self.take("FOR")
        randomized = self.take("RANDOMIZED")
        self.expect("INTERVAL")
        number = int(self.literal())
        duration = number * UNITS[self.name().lower()]
        limits: dict[str, float] = {}
        if self.take("NO", "LIMITS"):
            return IntervalClause(duration, randomized, None)
        if not self.take("TRACKING", "ONLY"):
            self.expect("MAX")

            def one() -> None:
                name = self.name()
                self.expect("=")
                limits[name] = float(self.literal()) if name == "execution_time" else int(self.literal())

            one()
            while self.ahead(",") and not self.ahead(",", "FOR"):
                self.at += 1
                self.take("MAX")
                one()
        return IntervalClause(duration, randomized, limits)

    def policy_clause(self, result: Create) -> None:
        if self.take("AS"):
            result.restrictive = self.name().upper() == "RESTRICTIVE"
        self.take("FOR", "SELECT")
        if self.take("USING"):
            start, depth = self.token.start, 0
            while not self.done and (depth or not self.ahead("TO")):
                if self.token.kind == "mark":
                    depth += (self.token.text in "([{") - (self.token.text in ")]}")
                self.at += 1
            result.filter = self.sql[start : self.tokens[self.at - 1].end]
            if result.filter.upper() == "NONE":
                result.filter = ""

    # the others -------------------------------------------------------------------------------------------------------

    def drop(self, kind: str, move: bool) -> Drop:
        if_exists = self.take("IF", "EXISTS")
        names: list[str] = []
        policies: list[PolicyName] = []
        if kind == "ROW POLICY":
            policies = self.policies()
        else:
            self.list(lambda: names.append(self.subject()))
        result = Drop(kind, names, policies, if_exists)
        while not self.done:
            self.on_cluster()
            if move and self.take("TO"):
                result.target = self.name()
            elif storage := self.storage("FROM"):
                result.storage = storage
            elif not self.ahead("ON", "CLUSTER") and not self.done:
                raise ValueError(f"unread: {self.sql[self.token.start :]!r}")
        return result

    def subject(self) -> str:
        name = self.name()
        return f"{name}@{self.name()}" if self.take("@") else name

    def grant(self, revoke: bool) -> Grant:
        result = Grant(revoke)
        self.on_cluster()
        if revoke:
            result.option = self.take("GRANT", "OPTION", "FOR") or self.take("ADMIN", "OPTION", "FOR")
        if self.take("CURRENT", "GRANTS"):
            result.current = True
            if self.take("("):
                result.pieces = self.pieces()
                self.expect(")")
            elif not self.ahead("TO"):
                first, second, dotted, wildcard = self.target()
                result.pieces = [Piece([("ALL", ())], first, second, dotted, wildcard)]
            else:
                result.pieces = [Piece([("ALL", ())], None, None, True, False)]
        elif self.has_target():
            result.pieces = self.pieces()
        else:
            result.roles = self.names("probe_role")
        self.on_cluster()
        self.expect("FROM" if revoke else "TO")
        result.grantees = self.names("probe")
        while self.take("WITH"):
            if self.take("REPLACE", "OPTION"):
                result.replace = True
            elif self.take("GRANT", "OPTION") or self.take("ADMIN", "OPTION"):
                result.option = True
        return result

    def has_target(self) -> bool:
        """Whether a keyword ON follows: privileges are granted, not roles."""
        return any(token.kind == "name" and token.text.upper() == "ON" for token in self.tokens[self.at :])

    def pieces(self) -> list[Piece]:
        result: list[Piece] = []
        privileges: list[tuple[str, tuple[str, ...]]] = []

        def one() -> None:
            words = []
            while self.token.kind in ("name", "quoted") and not self.ahead("ON"):
                words.append(self.name())
            columns: list[str] = []
            if self.take("("):
                self.list(lambda: columns.append(self.name()))
                self.expect(")")
            privileges.append((" ".join(words), tuple(columns)))
            if self.ahead("ON"):
                first, second, dotted, wildcard = self.target()
                result.append(Piece(list(privileges), first, second, dotted, wildcard))
                privileges.clear()

        self.list(one)
        return result

    def target(self) -> tuple[str | None, str | None, bool, bool]:
        """`ON *.*`, `db.*`, `db*.*`, `db.t*`, `t`, `*`, `S3('filter')`."""
        self.expect("ON")
        wildcard = dotted = False
        first = second = None
        if not self.take("*"):
            first = self.name()
            wildcard = self.take("*")
            if self.take("("):
                second = self.name()
                self.expect(")")
        if self.take("."):
            dotted = True
            if not self.take("*"):
                second = self.name()
                wildcard = self.take("*") or wildcard
        return first, second, dotted, wildcard

    def show(self, verb: str) -> Show | None:
        if verb == "SHOW CREATE":
            modifier = ""
            kind = self.kind(True)
            if not kind:
                return None
            result = Show("CREATE", kind, plural=self.tokens[self.at - 1].text.upper().endswith("S"))
        else:
            if self.take("ACCESS"):
                return Show("ACCESS")
            if self.take("GRANTS"):
                result = Show("GRANTS")
                if self.take("FOR"):
                    result.grantees = self.names("probe")
                result.implicit = self.take("WITH", "IMPLICIT")
                result.final = self.take("FINAL")
                return result
            modifier = next((word for word in ("CURRENT", "ENABLED") if self.take(word)), "")
            kind = self.kind(True)
            if not kind:
                return None
            result = Show("LIST", kind, True, modifier=modifier)
        if self.ahead("FORMAT") or self.ahead("INTO", "OUTFILE"):
            return result
        if kind == "ROW POLICY":
            if result.what == "CREATE" and not result.plural:
                result.policies = self.policies()
                return result
            if not self.done and not self.ahead("ON"):
                self.list(lambda: result.short_names.append(self.name()))
            if self.take("ON"):
                result.table = self.table()
        elif not self.done:
            self.list(lambda: result.names.append(self.subject()))
        return result


UNITS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 2629746,
    "quarter": 7889238,
    "year": 31556952,
}
