"""Access statements made up at random over a small universe of names, so that they often speak of the same entities.

A statement has one fault at most: which of two is told first is nobody's promise. Profiles and quotas spare `default`,
who runs the statements.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

USERS = ("u1", "u2", "`u 3`")
ROLES = ("r1", "r2", "r3")
PROFILES = ("p1", "p2")
QUOTAS = ("q1", "q2")
ON_SERVER = (
    *("SELECT", "INSERT", "ALL", "SHOW", "ALTER", "CREATE", "DROP", "SYSTEM", "ACCESS MANAGEMENT", "INTROSPECTION"),
    *("SHOW ACCESS", "ALTER COLUMN", "ROLE ADMIN", "dictGet", "KILL QUERY", "CREATE USER", "FILE", "SOURCES", "S3"),
)
ON_TABLES = (
    *(
        "SELECT",
        "INSERT",
        "SHOW TABLES",
        "ALTER",
        "CREATE TABLE",
        "ALL",
        "TRUNCATE",
        "OPTIMIZE",
        "ALTER COLUMN",
        "CREATE",
    ),
    *("ALTER DELETE", "DROP", "SHOW", "dictGet", "SYSTEM MERGES"),
)
ON_COLUMNS = ("SELECT", "INSERT", "ALTER ADD COLUMN", "ALTER UPDATE", "SHOW COLUMNS", "ALTER COLUMN")
ON_OBJECTS = (
    "ALTER ROLE ON *.*",
    "NAMED COLLECTION ON nc",
    "TABLE ENGINE ON Memory",
    "SET DEFINER ON d",
    "TABLE ENGINE ON *",
)
VALUES = {
    "max_threads": ("1", "4", "0", "'auto'"),
    "max_memory_usage": ("1000", "'10M'", "1e6"),
    "readonly": ("0", "1", "2"),
    "max_execution_time": ("1.5", "60", "'7'"),
    "log_queries": ("0", "1", "true", "'false'"),
    "read_overflow_mode": ("'throw'", "'break'"),
    "log_comment": ("'a'", "''", "'it\\'s'"),
}
HOSTS = (
    "LOCAL",
    "NONE",
    "IP '10.0.0.1'",
    "IP '10.0.0.0/8'",
    "NAME 'a.b'",
    "NAME 'c'",
    "REGEXP 'x.*'",
    "IP '127.0.0.1'",
)
METHODS = (
    *(
        "WITH plaintext_password BY 'x'",
        "WITH sha256_password BY 'x'",
        "BY 'x'",
        "WITH ldap SERVER 'l'",
        "WITH kerberos",
    ),
    "WITH ssl_certificate CN 'a', 'b'",
)
INTERVALS = ("1 hour", "60 minute", "90 minute", "1 day", "24 hour", "1 month", "3 second", "2 year", "1 quarter")
LIMITS = (
    *("NO LIMITS", "TRACKING ONLY", "MAX queries = 1000000", "MAX errors = 50000, execution_time = 12345.5"),
    "MAX result_rows = '10Mi', queries = 1000000",
)


class Random:
    """Statements from one source of randomness."""

    def __init__(self, source: random.Random) -> None:
        self._random = source

    def _one(self, *texts: str) -> str:
        return self._random.choice(texts)

    def _some(self, names: Sequence[str], most: int = 2) -> str:
        return ", ".join(self._random.sample(names, self._random.randint(1, min(most, len(names)))))

    def _maybe(self, chance: float, text: str) -> str:
        return text if self._random.random() < chance else ""

    def _create(self) -> str:
        return self._one("", "IF NOT EXISTS ", "OR REPLACE ")

    def _names(self) -> str:
        everyone = "ALL EXCEPT default, " + self._some((*USERS, *ROLES))
        return self._one("NONE", everyone, self._some((*USERS, *ROLES), 3), self._some((*USERS, *ROLES), 3))

    def _setting(self) -> str:
        name = self._one(*VALUES)
        text = name + self._maybe(0.75, f" = {self._one(*VALUES[name])}")
        if name.startswith("max") or name == "readonly":
            text += "".join(self._maybe(0.3, f" {bound} {self._one(*VALUES[name])}") for bound in ("MIN", "MAX"))
        return text + self._maybe(0.3, " " + self._one("CONST", "READONLY", "WRITABLE"))

    def _settings(self, word: str) -> str:
        parts = [
            self._one(f"{word} {self._one(*PROFILES)}", self._setting(), self._setting())
            for _index in range(self._random.randint(1, 3))
        ]
        return " SETTINGS " + self._one("NONE", *[", ".join(parts)] * 9)

    def _change_settings(self) -> str:
        parts = [
            self._one(
                f"ADD SETTING {self._setting()}",
                f"ADD SETTINGS {self._setting()}, {self._setting()}",
                f"MODIFY SETTING {self._setting()}",
                f"DROP SETTING {self._one(*VALUES)}",
                f"ADD PROFILE {self._one(*PROFILES)}",
                f"DROP PROFILE {self._one(*PROFILES)}",
                *("DROP ALL SETTINGS", "DROP ALL PROFILES"),
            )
            for _index in range(self._random.randint(1, 3))
        ]
        return self._one(" " + self._one(" ", ", ").join(parts), self._settings("PROFILE"))

    def _user(self) -> str:
        alter = self._random.random() < 0.6
        names = self._one(*USERS, self._some(USERS))
        text = (
            f"ALTER USER {self._maybe(0.2, 'IF EXISTS ')}{names}" if alter else f"CREATE USER {self._create()}{names}"
        )
        expiry = f" VALID UNTIL '20{self._random.randint(30, 60)}-01-02 03:04:05'"
        text += self._maybe(0.3, f" IDENTIFIED {self._one(*METHODS)}{self._maybe(0.3, expiry)}")
        text += self._maybe(0.3, f" {self._one('ADD ', 'DROP ', '') if alter else ''}HOST {self._some(HOSTS, 3)}")
        text += self._maybe(0.1, " DEFAULT DATABASE " + self._one("db", "NONE", "`d b`"))
        role = self._one("ALL", "NONE", self._some(ROLES), f"ALL EXCEPT {self._some(ROLES)}")
        settings = self._change_settings() if alter else self._settings("PROFILE")
        grantees = self._names().replace("ALL", "ANY")
        return text + self._one("", f" DEFAULT ROLE {role}", settings, f" GRANTEES {grantees}")

    def _role(self) -> str:
        if self._random.random() < 0.5:
            return f"CREATE ROLE {self._create()}{self._some(ROLES)}{self._maybe(0.5, self._settings('PROFILE'))}"
        change = self._one(f" RENAME TO {self._one(*ROLES)}", *[self._change_settings()] * 5)
        return f"ALTER ROLE {self._one(*ROLES)}{change}"

    def _profile(self) -> str:
        if self._random.random() < 0.5:
            head = f"CREATE SETTINGS PROFILE {self._create()}{self._some(PROFILES)}"
            return head + self._one(self._settings("INHERIT"), f" TO {self._names()}")
        return f"ALTER PROFILE {self._some(PROFILES)}{self._one(self._change_settings(), f' TO {self._names()}')}"

    def _quota(self) -> str:
        text = f"{self._one(f'CREATE QUOTA {self._create()}', 'ALTER QUOTA ')}{self._some(QUOTAS)}"
        text += self._maybe(0.4, " " + self._one("NOT KEYED", "KEYED BY user_name", "KEYED BY client_key, user_name"))
        intervals = [
            f"FOR {self._maybe(0.2, 'RANDOMIZED ')}INTERVAL {self._one(*INTERVALS)} {self._one(*LIMITS)}"
            for _index in range(self._random.randint(0, 3))
        ]
        return text + (" " + ", ".join(intervals) if intervals else "") + self._maybe(0.5, f" TO {self._names()}")

    def _policy(self) -> str:
        head = self._one(f"CREATE ROW POLICY {self._create()}", "ALTER ROW POLICY ")
        text = f"{head}{self._some(('a', 'b'))} ON {self._one('db.t', 'db.t2', 'db2.t', 'db.*')}"
        text += self._maybe(0.4, f" AS {self._one('RESTRICTIVE', 'PERMISSIVE')}")
        text += self._maybe(0.6, f" USING {self._one('a = 1', 'a>1 AND b=2', '1', 'NONE', 'a IN (1,2)')}")
        return text + self._maybe(0.6, f" TO {self._names()}")

    def _privileges(self) -> str:
        columns = self._some(("a", "b", "`x y`"), 3)
        table = self._one("db.t", "db.t2", "db2.t")
        return self._one(
            f"{self._some(ON_SERVER)} ON *.*",
            f"{self._some(ON_TABLES)} ON {self._one('db.*', 'db2.*')}",
            f"{self._some(ON_TABLES)} ON {table}",
            ", ".join(f"{name}({columns})" for name in self._random.sample(ON_COLUMNS, 2)) + f" ON {table}",
            self._one(*ON_OBJECTS),
        )

    def _grant(self) -> str:
        to = self._some((*USERS, *ROLES))
        replace = self._maybe(0.1, " WITH REPLACE OPTION")
        some = self._one("ALL", f"ALL EXCEPT {self._one(*ROLES)}", self._some(ROLES), self._some(ROLES))
        return self._one(
            *[f"GRANT {self._privileges()} TO {to}{self._maybe(0.3, ' WITH GRANT OPTION')}{replace}"] * 4,
            *[f"REVOKE {self._maybe(0.2, 'GRANT OPTION FOR ')}{self._privileges()} FROM {to}"] * 4,
            *[f"GRANT {self._some(ROLES)} TO {to}{self._maybe(0.2, ' WITH ADMIN OPTION')}{replace}"] * 2,
            f"REVOKE {self._maybe(0.2, 'ADMIN OPTION FOR ')}{some} FROM {to}",
            f"SET DEFAULT ROLE {some} TO {self._some(USERS)}",
        )

    def _drop(self) -> str:
        return self._one(
            f"DROP USER {self._one(*USERS)}",
            f"DROP ROLE {self._some(ROLES)}",
            f"DROP PROFILE {self._one(*PROFILES)}",
            f"DROP QUOTA IF EXISTS {self._some(QUOTAS)}",
            f"DROP ROW POLICY {self._one('a', 'b')} ON db.t",
        )

    def script(self, length: int) -> list[str]:
        """As many statements, after a few that make sure there is something."""
        kinds = (self._user, self._role, self._profile, self._quota, self._policy, self._grant, self._drop)
        start = ["CREATE USER u1, u2", "CREATE ROLE r1, r2", "CREATE PROFILE p1, p2"]
        return start + [self._random.choices(kinds, (5, 2, 3, 2, 2, 9, 1))[0]() for _index in range(length)]
