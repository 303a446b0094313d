"""Lockouts: each way to lose the login or the administration, its harmless twin, and who is named for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.authentication import Credential
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import (
    role,
    settings_profile,
    user,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    PrivilegeCatalogue,
    Rights,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.lockout import Lockout, Me, lockouts
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import HIDDEN
from tests.sandbox.engine import Engine

Docs = dict[str, dict[str, dict[str, Any]]]
DEFAULTS: dict[str, dict[str, Any]] = {
    "user": {**user.DEFAULTS, "authentication": [{"type": "sha256_password", "password": HIDDEN}]},
    "role": role.DEFAULTS,
    "grant": {"roles": []},
    "settings_profile": settings_profile.DEFAULTS,
}
ME = Me("admin", "10.0.0.7", "2030-01-02 03:04:05", "our own")
NEW = {"type": "sha256_password", "password": user.NEW_PASSWORD}


@pytest.fixture(scope="module")
def catalogues(engine: Callable[[str], Engine]) -> Callable[[str], PrivilegeCatalogue]:
    """The privileges of a version, from its engine."""

    def get(version: str) -> PrivilegeCatalogue:
        answer = engine(version).query(
            "SELECT privilege, aliases, level, parent_group FROM system.privileges", "JSONEachRow"
        )
        return PrivilegeCatalogue.from_rows(json.loads(line) for line in answer.decode().splitlines())

    return get


@pytest.fixture(scope="module")
def catalogue(catalogues: Callable[[str], PrivilegeCatalogue]) -> PrivilegeCatalogue:
    """The privileges of the newest version."""
    return catalogues("26.9")


def with_(docs: Docs, kind: str, name: str, **fields: Any) -> Docs:
    """The documents with some fields of one entity set, which is made if it is not there."""
    document = {**DEFAULTS[kind], **docs.get(kind, {}).get(name, {}), **fields}
    return {**docs, kind: {**docs.get(kind, {}), name: document}}


def without(docs: Docs, kind: str, name: str) -> Docs:
    return {**docs, kind: {key: value for key, value in docs[kind].items() if key != name}}


def roles(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "admin_option": False} for name in names]


def readonly(value: str = "1") -> list[dict[str, Any]]:
    return [{"name": "max_threads", "value": "4"}, {"name": "readonly", "value": value}]


def named(found: Sequence[Lockout]) -> list[tuple[str, str, str]]:
    assert all(one.certain for one in found)
    return [(one.kind, one.name, one.option) for one in found]


@pytest.fixture(scope="module")
def rights(catalogue: PrivilegeCatalogue) -> Callable[..., Rights]:
    """Rights from privileges on `*.*`, or `privilege @ scope`, with grant option but for `~privilege`; `-` revokes."""

    def get(*privileges: str, catalogue: PrivilegeCatalogue = catalogue) -> Rights:
        result = Rights(catalogue)
        for text in privileges:
            privilege, _at, scope = text.partition(" @ ")
            if privilege.startswith("-"):
                result.revoke(catalogue.grant(privilege[1:], scope or "*.*"))
            else:
                grant_option = not privilege.startswith("~")
                result.grant(catalogue.grant(privilege.lstrip("~"), scope or "*.*", grant_option))
        return result

    return get


@pytest.fixture(scope="module")
def world(rights: Callable[..., Rights]) -> Docs:
    """An administrator who has it all from one role, and somebody else."""
    docs: Docs = {"user": {}, "role": {}, "grant": {}, "settings_profile": {}}
    docs = with_(docs, "user", "admin", roles=roles("admins"))
    docs = with_(docs, "role", "admins")
    docs = with_(docs, "grant", "admin", privileges=rights(), roles=roles("admins"))
    docs = with_(docs, "grant", "admins", privileges=rights("ACCESS MANAGEMENT"))
    docs = with_(docs, "user", "other")
    return with_(docs, "grant", "other", privileges=rights("ALL"))


class TestLogin:
    def login(self, had: dict[str, Any], has: dict[str, Any], *credentials: Credential, me: Me = ME) -> list[Lockout]:
        before = with_({}, "user", "admin", **had)
        return lockouts(me, before, with_(before, "user", "admin", **has), credentials)

    def test_dropped(self, world: Docs) -> None:
        (found,) = lockouts(ME, world, without(world, "user", "admin"))
        assert (found.kind, found.name, found.option) == ("user", "admin", "state")
        assert str(found) == "user admin, state: admin, the user this run is logged in as, would be dropped"
        assert lockouts(ME, world, without(world, "user", "other")) == []

    def test_a_user_the_server_does_not_show_is_not_judged(self, world: Docs) -> None:
        assert lockouts(ME, without(world, "user", "admin"), without(world, "user", "admin")) == []

    @pytest.mark.parametrize(
        ("had", "has", "address", "certain"),
        [
            ({"any": True}, {"ip": ["10.1.0.0/16"]}, "10.0.0.7", True),
            ({"any": True}, {"local": True}, "10.0.0.7", True),
            ({"any": True}, {"none": True}, "10.0.0.7", True),
            ({"name": ["ops.example"]}, {"ip": ["10.1.0.0/16"]}, "10.0.0.7", True),
            ({"any": True}, {"none": True}, None, True),
            ({"any": True}, {"name": ["ops.example"]}, "10.0.0.7", False),
            ({"any": True}, {"ip": ["10.0.0.0/16"]}, "10.0.0.7", None),
            ({"any": True}, {"local": True}, "127.0.0.1", None),
            ({"any": True}, {"ip": ["10.0.0.7"], "name": ["x"]}, "10.0.0.7", None),
            ({"ip": ["10.1.0.0/16"]}, {"ip": ["10.2.0.0/16"]}, "10.0.0.7", None),  # it was so before
            ({"any": True}, {"ip": ["10.1.0.0/16"]}, None, None),  # nobody knows
            ({"none": True}, {"none": True}, "10.0.0.7", None),
        ],
    )
    def test_host(self, had: Any, has: Any, address: str | None, certain: bool | None) -> None:
        me = Me("admin", address, ME.now, ME.password)
        found = self.login({"host": had}, {"host": has}, me=me)
        assert [(one.option, one.certain) for one in found] == ([] if certain is None else [("host", certain)])

    @pytest.mark.parametrize(
        ("had", "has", "expected"),
        [
            ("", "2030-01-02 03:04:05", "valid_until"),
            ("2031-01-01 00:00:00", "1970-01-01 00:00:01", "valid_until"),
            ("", "2030-01-02 03:04:06", None),
            ("2029-01-01 00:00:00", "2028-01-01 00:00:00", None),  # over already
            ("2031-01-01 00:00:00", "", None),
        ],
    )
    def test_expiry(self, had: str, has: str, expected: str | None) -> None:
        def methods(until: str) -> dict[str, Any]:
            expiry = {"valid_until": until} if until else {}
            return {"authentication": [{"type": "sha256_password", "password": HIDDEN, **expiry}]}

        found = self.login(methods(had), methods(has))
        assert named(found) == ([("user", "admin", expected)] if expected else [])
        if expected:
            assert has in found[0].reason and ME.now in found[0].reason

    def test_one_of_two_methods_may_expire(self) -> None:
        one, other = ({"type": kind, "password": HIDDEN} for kind in ("sha256_password", "bcrypt_password"))
        over = {**one, "valid_until": "2029-01-01 00:00:00"}
        assert self.login({"authentication": [one, other]}, {"authentication": [over, other]}) == []
        key = {"type": "ssh_key", "ssh_keys": [{"key": "AAAA", "type": "ssh-rsa"}]}
        found = self.login({"authentication": [one, key]}, {"authentication": [over, key]})
        assert named(found) == [("user", "admin", "valid_until")]  # a password does not open an ssh key

    def test_another_password(self) -> None:
        mine, others = (Credential("sha256_password", password=text) for text in ("our own", "rotated"))
        (found,) = self.login({}, {"authentication": [NEW]}, others)
        assert (found.option, found.certain) == ("authentication", True)
        assert "later runs have to use the new one" in found.reason
        assert "our own" not in f"{found} {found!r} {ME!r}" and "rotated" not in str(found)
        assert self.login({}, {"authentication": [NEW]}, mine) == []
        assert self.login({}, {"authentication": [NEW, {**NEW, "type": "plaintext_password"}]}, others, mine) == []
        assert len(self.login({}, {"authentication": [NEW]})) == 1
        assert self.login({}, {"host": {"any": True}}, others) == []  # what is left alone is not asked

    def test_another_password_as_hash(self) -> None:
        def hashed(text: str, salt: str) -> Credential:
            return Credential(
                "sha256_password", hash=hashlib.sha256((text + salt).encode()).hexdigest().upper(), salt=salt
            )

        assert self.login({}, {"authentication": [NEW]}, hashed("our own", "AB")) == []
        assert self.login({}, {"authentication": [NEW]}, hashed("our own", "")) == []
        assert len(self.login({}, {"authentication": [NEW]}, hashed("rotated", "AB"))) == 1

    def test_the_first_password(self) -> None:
        """A server comes without a password: giving it the one that is used already is no lockout."""
        none = {"authentication": [{"type": "no_password"}]}
        assert self.login(none, {"authentication": [NEW]}, Credential("sha256_password", password="our own")) == []
        assert len(self.login(none, {"authentication": [NEW]}, Credential("sha256_password", password="other"))) == 1
        without_password = Me("admin", None, ME.now, None)
        first = Credential("sha256_password", password="first")
        assert len(self.login(none, {"authentication": [NEW]}, first, me=without_password)) == 1

    @pytest.mark.parametrize(
        ("had", "has", "blocked"),
        [
            ("sha256_password", "no_password", False),
            ("no_password", "no_password", False),
            ("sha256_password", "no_authentication", True),
            ("sha256_password", "ssl_certificate", True),
            ("sha256_password", "ldap", True),
            ("ldap", "http", True),
            ("ldap", "ldap", False),
            ("kerberos", "ssl_certificate", False),  # this is not how we came in
        ],
    )
    def test_another_method(self, had: str, has: str, blocked: bool) -> None:
        parameters = {"ssl_certificate": {"common_names": ["ops"]}, "ldap": {"server": "one"}, "http": {"server": "x"}}
        old = {"type": had, **parameters.get(had, {})}
        new = {"type": has, **parameters.get(has, {})}
        found = self.login({"authentication": [old]}, {"authentication": [new]})
        assert named(found) == ([("user", "admin", "authentication")] if blocked else [])
        assert self.login({"authentication": [old]}, {"authentication": [new, old]}) == []

    def test_certificates(self) -> None:
        me = Me("admin", None, ME.now, None, certificate=True)

        def names(*common: str, **more: Any) -> dict[str, Any]:
            return {"authentication": [{"type": "ssl_certificate", "common_names": list(common), **more}]}

        assert named(self.login(names("a", "b"), names("c"), me=me)) == [("user", "admin", "authentication")]
        assert self.login(names("a", "b"), names("b", "c"), me=me) == []
        wild = {"type": "ssl_certificate", "subject_alt_names": ["URI:spiffe://ops/*"]}
        assert self.login(names("a"), {"authentication": [wild]}, me=me) == []
        password = {"type": "sha256_password", "password": user.NEW_PASSWORD}
        assert len(self.login(names("a"), {"authentication": [password]}, me=me)) == 1
        both = {"authentication": [*names("a")["authentication"], password]}
        assert self.login(names("a"), both, me=me) == []
        assert len(self.login(names("a"), names("a", valid_until="2029-01-01 00:00:00"), me=me)) == 1


class TestAdministration:
    def test_nothing_changed(self, world: Docs) -> None:
        assert lockouts(ME, world, world) == []
        assert lockouts(ME, world, {kind: dict(docs) for kind, docs in world.items()}) == []

    @pytest.mark.parametrize("version", ["26.9", "25.8", "24.8"])
    def test_revoked_from_the_role(
        self, world: Docs, rights: Callable[..., Rights], catalogues: Callable[[str], PrivilegeCatalogue], version: str
    ) -> None:
        catalogue = catalogues(version)
        before = with_(world, "grant", "admin", privileges=rights(catalogue=catalogue))
        before = with_(before, "grant", "admins", privileges=rights("ALL", catalogue=catalogue))
        (found,) = lockouts(ME, before, with_(before, "grant", "admins", privileges=rights(catalogue=catalogue)))
        assert (found.kind, found.name, found.option) == ("grant", "admins", "privileges")
        assert found.reason == "admin, the user this run is logged in as, would lose ACCESS MANAGEMENT ON *.*"
        less = with_(before, "grant", "admins", privileges=rights("ACCESS MANAGEMENT", catalogue=catalogue))
        assert lockouts(ME, before, less) == []  # it may read no more, but it administers

    def test_a_part_is_named(self, world: Docs, rights: Callable[..., Rights]) -> None:
        kept = rights("ACCESS MANAGEMENT", "-CREATE USER", "-ROLE ADMIN", "-CREATE ROW POLICY @ system.*")
        (found,) = lockouts(ME, world, with_(world, "grant", "admins", privileges=kept))
        assert found.reason.endswith("would lose ROLE ADMIN ON *.*, CREATE USER ON *, CREATE ROW POLICY ON system.*"), (
            found.reason
        )

    def test_the_grant_option_counts(self, world: Docs, rights: Callable[..., Rights]) -> None:
        (found,) = lockouts(ME, world, with_(world, "grant", "admins", privileges=rights("~ACCESS MANAGEMENT")))
        assert found.reason.endswith("would lose the grant option of ACCESS MANAGEMENT ON *.*")
        plain = with_(world, "grant", "admins", privileges=rights("~ACCESS MANAGEMENT"))
        assert lockouts(ME, plain, plain) == []

    def test_the_grant_option_of_a_part(self, world: Docs, rights: Callable[..., Rights]) -> None:
        less = rights("ACCESS MANAGEMENT")
        less.revoke_grant_option(less.catalogue.grant("CREATE USER", "app*"))
        after = with_(world, "grant", "admins", privileges=less)
        (found,) = lockouts(ME, world, after)
        assert found.reason.endswith("would lose the grant option of CREATE USER ON app*")
        plain = with_(world, "grant", "admins", privileges=rights("~ACCESS MANAGEMENT"))
        (found,) = lockouts(ME, plain, with_(world, "grant", "admins", privileges=rights("ROLE ADMIN")))
        assert "grant option" not in found.reason and "CREATE USER" in found.reason

    def test_a_narrow_administrator(self, world: Docs, rights: Callable[..., Rights]) -> None:
        before = with_(world, "grant", "admins", privileges=rights("CREATE USER @ app*", "CREATE ROW POLICY @ app.*"))
        (found,) = lockouts(
            ME, before, with_(before, "grant", "admins", privileges=rights("CREATE ROW POLICY @ app.*"))
        )
        assert found.reason.endswith("would lose CREATE USER ON app*")
        wider = with_(before, "grant", "admins", privileges=rights("CREATE USER", "CREATE ROW POLICY"))
        assert lockouts(ME, before, wider) == []

    def test_role_dropped(self, world: Docs) -> None:
        assert named(lockouts(ME, world, without(world, "role", "admins"))) == [("role", "admins", "state")]

    def test_role_taken(self, world: Docs) -> None:
        expected = {"user": ("user", "admin", "roles"), "grant": ("grant", "admin", "roles")}
        for kind, culprit in expected.items():
            assert named(lockouts(ME, world, with_(world, kind, "admin", roles=[]))) == [culprit]
        names = with_(world, "user", "admin", default_roles={"names": ["admins"]})
        gone = with_(names, "user", "admin", roles=[], default_roles={"none": True})
        assert named(lockouts(ME, names, gone)) == [("user", "admin", "roles")]  # not twice

    def test_default_roles(self, world: Docs) -> None:
        def default(**fields: Any) -> Docs:
            return with_(world, "user", "admin", roles=roles("admins", "r"), default_roles=fields)

        blocked = [{"none": True}, {"all": True, "except": ["admins"]}, {"names": ["r"]}]
        fine = [{"all": True}, {"all": True, "except": ["r"]}, {"names": ["admins"]}, {"names": ["admins", "r"]}]
        for before in fine:
            for after in blocked:
                found = lockouts(ME, default(**before), default(**after))
                assert named(found) == [("user", "admin", "default_roles")], (before, after)
                assert lockouts(ME, default(**after), default(**before)) == []
            for after in fine:
                assert lockouts(ME, default(**before), default(**after)) == []

    def test_roles_of_roles(self, world: Docs, rights: Callable[..., Rights]) -> None:
        before = with_(world, "user", "admin", roles=roles("staff"))
        before = with_(before, "grant", "admin", roles=roles("staff"))
        before = with_(with_(before, "role", "staff", roles=roles("ops")), "role", "ops", roles=roles("admins"))
        before = with_(before, "role", "admins", roles=roles("staff"))  # a circle harms nobody
        for culprit, after in {
            ("role", "ops", "roles"): with_(before, "role", "ops", roles=[]),
            ("role", "staff", "state"): without(before, "role", "staff"),
            ("grant", "admins", "privileges"): with_(before, "grant", "admins", privileges=rights()),
            ("grant", "ops", "roles"): with_(before, "grant", "ops", privileges=rights(), roles=[]),
        }.items():
            if culprit[:2] == ("grant", "ops"):
                start = with_(before, "grant", "ops", privileges=rights(), roles=roles("admins"))
            else:
                start = before
            assert named(lockouts(ME, start, after)) == [culprit]
        shortcut = with_(before, "role", "staff", roles=roles("admins"))
        assert lockouts(ME, before, without(shortcut, "role", "ops")) == []

    def test_rights_may_move(self, world: Docs, rights: Callable[..., Rights]) -> None:
        taken = with_(world, "grant", "admins", privileges=rights())
        own = with_(taken, "grant", "admin", privileges=rights("ACCESS MANAGEMENT"))
        assert lockouts(ME, world, own) == []
        moved = with_(taken, "grant", "new", privileges=rights("ACCESS MANAGEMENT"))
        moved = with_(moved, "role", "new")
        assert named(lockouts(ME, world, moved)) == [("grant", "admins", "privileges")]  # nobody has the new role
        assert lockouts(ME, world, with_(moved, "user", "admin", roles=roles("new"))) == []
        assert lockouts(ME, world, with_(moved, "grant", "admin", roles=roles("new"))) == []
        assert lockouts(ME, world, with_(moved, "role", "admins", roles=roles("new"))) == []
        off = with_(moved, "user", "admin", roles=roles("admins", "new"), default_roles={"names": ["admins"]})
        found = lockouts(ME, world, off)  # either wish would do without the other
        assert named(found) == [("user", "admin", "default_roles"), ("grant", "admins", "privileges")]

    def test_one_role_revokes_what_another_grants(self, world: Docs, rights: Callable[..., Rights]) -> None:
        before = with_(with_(world, "role", "two"), "user", "admin", roles=roles("admins", "two"))
        before = with_(before, "grant", "two", privileges=rights("CREATE USER @ app*"))
        after = with_(before, "grant", "admins", privileges=rights("ACCESS MANAGEMENT", "-CREATE USER @ app*"))
        assert lockouts(ME, before, after) == []
        after = with_(before, "grant", "admins", privileges=rights("ACCESS MANAGEMENT", "-CREATE USER @ ap*"))
        (found,) = lockouts(ME, before, after)
        assert found.reason.endswith("would lose CREATE USER ON ap*")

    def test_several_are_to_blame_together(self, world: Docs, rights: Callable[..., Rights]) -> None:
        before = with_(world, "grant", "admin", privileges=rights("ACCESS MANAGEMENT"))
        before = with_(before, "role", "third")
        after = with_(with_(before, "grant", "admin", privileges=rights()), "grant", "admins", privileges=rights())
        after = with_(after, "user", "admin", roles=roles("admins", "third"), profiles=["x"])
        assert named(lockouts(ME, before, after)) == [
            ("grant", "admin", "privileges"),
            ("grant", "admins", "privileges"),
        ]
        for name in ("admin", "admins"):
            assert lockouts(ME, before, with_(after, "grant", name, privileges=rights("ACCESS MANAGEMENT"))) == []

    def test_who_does_it_alone_is_blamed_and_who_has_no_part_is_not(
        self, world: Docs, rights: Callable[..., Rights]
    ) -> None:
        after = with_(world, "grant", "admins", privileges=rights())
        after = with_(after, "user", "admin", roles=[], profiles=["x"])
        after = with_(after, "role", "admins", profiles=["x"])
        assert named(lockouts(ME, world, after)) == [("user", "admin", "roles"), ("grant", "admins", "privileges")]

    def test_what_is_left_without_the_blamed_would_do_it_too(self, world: Docs, rights: Callable[..., Rights]) -> None:
        before = with_(with_(world, "role", "b"), "role", "staff", roles=roles("admins", "b"))
        before = with_(before, "grant", "b", privileges=rights("ACCESS MANAGEMENT"))
        before = with_(with_(before, "grant", "admin", roles=[]), "user", "admin", roles=roles("staff"))
        after = with_(before, "user", "admin", roles=[])
        for name in ("admins", "b"):
            after = with_(after, "grant", name, privileges=rights())
        after = with_(after, "role", "staff", profiles=["x"])
        found = named(lockouts(ME, before, after))
        assert found == [("user", "admin", "roles"), ("grant", "admins", "privileges"), ("grant", "b", "privileges")]

    def test_each_is_blamed_for_its_own(self, world: Docs, rights: Callable[..., Rights]) -> None:
        before = with_(world, "grant", "admin", privileges=rights("CREATE USER"))
        before = with_(before, "grant", "admins", privileges=rights("CREATE ROLE"))
        after = with_(with_(before, "grant", "admin", privileges=rights()), "grant", "admins", privileges=rights())
        found = {(one.kind, one.name): one.reason for one in lockouts(ME, before, after)}
        assert found["grant", "admin"].endswith("would lose CREATE USER ON *")
        assert found["grant", "admins"].endswith("would lose CREATE ROLE ON *")

    def test_grants_of_a_name_that_is_user_and_role(self, world: Docs, rights: Callable[..., Rights]) -> None:
        """The kind grant means the user then, whose rights are not the role's."""
        before = with_(with_(world, "role", "other"), "user", "admin", roles=roles("admins", "other"))
        before = with_(before, "grant", "admins", privileges=rights())
        assert lockouts(ME, before, with_(before, "grant", "other", privileges=rights())) == []

    def test_grantees(self, world: Docs) -> None:
        after = with_(world, "user", "admin", grantees={"none": True})
        (found,) = lockouts(ME, world, after)
        assert (found.option, found.reason[-13:]) == ("grantees", "GRANTEES NONE")
        assert lockouts(ME, after, after) == []
        assert lockouts(ME, world, with_(world, "user", "admin", grantees={"any": True, "except": ["admin"]})) == []

    def test_many_lost_scopes_are_cut_short(self, world: Docs, rights: Callable[..., Rights]) -> None:
        many = rights(*(f"CREATE USER @ u{number:02}" for number in range(50)))
        before = with_(world, "grant", "admins", privileges=many)
        (found,) = lockouts(ME, before, with_(before, "grant", "admins", privileges=rights()))
        assert found.reason.endswith("CREATE USER ON u29 and 20 more")


class TestSettings:
    @pytest.mark.parametrize("value", ["1", "2"])
    @pytest.mark.parametrize(
        ("kind", "name", "fields", "option"),
        [
            ("user", "admin", {}, "settings"),
            ("role", "admins", {}, "settings"),
            ("settings_profile", "mine", {}, "settings"),
            ("settings_profile", "deep", {}, "settings"),
            ("settings_profile", "of_role", {}, "settings"),
            ("settings_profile", "new", {"apply_to": {"all": True}}, "settings"),
            ("settings_profile", "new", {"apply_to": {"names": ["admin"]}}, "settings"),
            ("settings_profile", "new", {"apply_to": {"names": ["admins", "x"]}}, "settings"),
            ("settings_profile", "new", {"apply_to": {"all": True, "except": ["x"]}}, "settings"),
        ],
    )
    def test_readonly_comes(
        self, world: Docs, kind: str, name: str, fields: dict[str, Any], option: str, value: str
    ) -> None:
        before = with_(world, "settings_profile", "deep")
        before = with_(before, "settings_profile", "mine", profiles=["deep"])
        before = with_(before, "settings_profile", "of_role")
        before = with_(before, "user", "admin", profiles=["mine"])
        before = with_(before, "role", "admins", profiles=["of_role"])
        after = with_(before, kind, name, settings=readonly(value), **fields)
        (found,) = lockouts(ME, before, after)
        assert (found.kind, found.name, found.option) == (kind, name, option)
        assert "readonly" in found.reason
        assert lockouts(ME, after, after) == []  # it was so before
        assert lockouts(ME, before, with_(before, kind, name, settings=readonly("0"), **fields)) == []
        only_bounds = [{"name": "readonly", "min": "0", "max": "2"}, {"name": "allow_ddl", "value": "0"}]
        assert lockouts(ME, before, with_(before, kind, name, settings=only_bounds, **fields)) == []

    @pytest.mark.parametrize(
        "apply_to",
        [
            {"none": True},
            {"names": ["other"]},
            {"all": True, "except": ["admin"]},
            {"all": True, "except": ["admins"]},
        ],
    )
    def test_a_profile_for_others(self, world: Docs, apply_to: dict[str, Any]) -> None:
        after = with_(world, "settings_profile", "new", settings=readonly(), apply_to=apply_to)
        assert lockouts(ME, world, after) == []

    def test_how_a_profile_comes_to_us(self, world: Docs) -> None:
        before = with_(world, "settings_profile", "locked", settings=readonly(), apply_to={"names": ["other"]})
        before = with_(before, "role", "r", profiles=["locked"])
        for culprit, after in {
            ("user", "admin", "profiles"): with_(before, "user", "admin", profiles=["locked"]),
            ("user", "admin", "roles"): with_(before, "user", "admin", roles=roles("admins", "r")),
            ("grant", "admin", "roles"): with_(before, "grant", "admin", roles=roles("admins", "r")),
            ("role", "admins", "roles"): with_(before, "role", "admins", roles=roles("r")),
            ("role", "admins", "profiles"): with_(before, "role", "admins", profiles=["locked"]),
            ("settings_profile", "locked", "apply_to"): with_(
                before, "settings_profile", "locked", apply_to={"all": True, "except": ["other"]}
            ),
        }.items():
            assert named(lockouts(ME, before, after)) == [culprit]
        not_default = with_(
            before, "user", "admin", roles=roles("admins", "r"), default_roles={"all": True, "except": ["r"]}
        )
        assert lockouts(ME, before, not_default) == []

    def test_what_counts_more(self, world: Docs) -> None:
        """The user's own settings win over the roles', and these over profiles applied by TO (measured on 25.8)."""
        locked = with_(world, "settings_profile", "locked", settings=readonly(), apply_to={"all": True})
        assert named(lockouts(ME, world, locked)) == [("settings_profile", "locked", "settings")]
        for kind, name in (("user", "admin"), ("role", "admins")):
            own = with_(world, kind, name, settings=readonly("0"))
            after = with_(own, "settings_profile", "locked", settings=readonly(), apply_to={"all": True})
            assert lockouts(ME, own, after) == []
            assert named(lockouts(ME, after, with_(after, kind, name, settings=[]))) == [(kind, name, "settings")]

    def test_of_equals_the_one_that_locks_counts(self, world: Docs) -> None:
        """In which order profiles applied by TO are merged, and roles' settings, nobody can know."""
        before = with_(world, "settings_profile", "free", settings=readonly("0"), apply_to={"all": True})
        after = with_(before, "settings_profile", "locked", settings=readonly(), apply_to={"all": True})
        assert named(lockouts(ME, before, after)) == [("settings_profile", "locked", "settings")]

    def test_the_last_profile_counts(self, world: Docs) -> None:
        before = with_(world, "settings_profile", "free", settings=readonly("0"))
        before = with_(before, "settings_profile", "locked", settings=readonly("2"), profiles=["free", "locked"])
        before = with_(before, "user", "admin", profiles=["locked", "free"])
        turned = with_(before, "user", "admin", profiles=["free", "locked"])
        assert named(lockouts(ME, before, turned)) == [("user", "admin", "profiles")]
        assert lockouts(ME, before, with_(before, "user", "admin", profiles=["locked", "free"])) == []

    def test_a_new_role_that_locks(self, world: Docs) -> None:
        after = with_(world, "role", "r", settings=readonly())
        assert lockouts(ME, world, after) == []
        given_away = with_(after, "user", "other", roles=roles("r"))
        assert lockouts(ME, world, given_away) == []
        found = lockouts(ME, world, with_(after, "user", "admin", roles=roles("admins", "r")))
        assert named(found) == [("user", "admin", "roles"), ("role", "r", "settings")]


NAMES = ["r1", "r2", "r3"]
PRIVILEGES = [
    "ACCESS MANAGEMENT",
    "~ACCESS MANAGEMENT",
    "CREATE USER",
    "-CREATE USER @ app*",
    "~CREATE USER @ app*",
    "CREATE ROW POLICY @ d.*",
    "ALL",
]


@st.composite
def changes(
    draw: st.DrawFn, names: Sequence[str], profiles: Sequence[str]
) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Some changes: kind, name, and the new fields, or None to drop it."""
    some_roles = st.lists(st.sampled_from(names), unique=True, max_size=2).map(lambda chosen: roles(*chosen))
    some_settings = st.sampled_from([[], readonly("0"), readonly("1"), readonly("2")])
    some_profiles = st.lists(st.sampled_from(profiles), unique=True, max_size=2)
    fields: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "role": {"roles": some_roles, "settings": some_settings, "profiles": some_profiles},
        "grant": {"privileges": st.lists(st.sampled_from(PRIVILEGES), max_size=3)},
        "settings_profile": {"settings": some_settings, "profiles": some_profiles},
    }
    result = []
    for _index in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(sorted(fields)))
        name = draw(st.sampled_from(profiles if kind == "settings_profile" else names))
        chosen = draw(st.lists(st.sampled_from(sorted(fields[kind])), unique=True, min_size=1))
        drop = kind != "grant" and draw(st.booleans()) and draw(st.booleans())
        result.append((kind, name, None if drop else {key: draw(fields[kind][key]) for key in chosen}))
    return result


def applied(docs: Docs, steps: Sequence[tuple[str, str, dict[str, Any] | None]], rights: Callable[..., Rights]) -> Docs:
    for kind, name, fields in steps:
        if fields is None:
            docs = without(docs, kind, name) if name in docs[kind] else docs
        else:
            if "privileges" in fields:
                fields = {**fields, "privileges": rights(*fields["privileges"])}
            docs = with_(docs, kind, name, **fields)
    return docs


def held(docs: Docs, rights: Callable[..., Rights]) -> set[tuple[str, bool]]:
    """The probes that the administrator may, by itself or by a role; with and without grant option."""

    def granted(kind: str, name: str) -> set[str]:
        return {entry["name"] for entry in docs[kind][name]["roles"]} & set(docs["role"])

    default = docs["user"]["admin"]["default_roles"]
    found = granted("user", "admin")
    found = found - set(default.get("except", ())) if default.get("all") else found & set(default.get("names", ()))
    for _depth in docs["role"]:
        found = found.union(*(granted("role", name) for name in found))
    known = rights().catalogue
    probes = [("CREATE USER", "app1"), ("CREATE USER", "zzz"), ("ROLE ADMIN", "*.*"), ("CREATE ROW POLICY", "d.t")]
    all_rights = [docs["grant"].get(name, {}).get("privileges", rights()) for name in ("admin", *found)]
    return {
        (" ".join(probe), option)
        for probe in probes
        for option in (False, True)
        if any(one.covers(known.grant(*probe, option)) for one in all_rights)
    }


ENDURING = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


class TestAnyChange:
    @ENDURING
    @given(start=changes(NAMES, ["p1", "p2"]), then=changes(NAMES, ["p1", "p2"]))
    def test_what_does_not_reach_us_never_locks_us_out(
        self, world: Docs, rights: Callable[..., Rights], start: Any, then: Any
    ) -> None:
        before = applied(world, start, rights)
        assert lockouts(ME, before, applied(before, then, rights)) == []

    @ENDURING
    @given(
        start=changes([*NAMES, "admins"], ["p1"]),
        then=changes([*NAMES, "admins", "admin"], ["p1"]),
        own=st.sets(st.sampled_from([*NAMES, "admins"])),
        default=st.sampled_from(
            [{"all": True}, {"all": True, "except": ["r1"]}, {"names": ["admins"]}, {"none": True}]
        ),
    )
    def test_privileges_as_covers_sees_them(
        self, world: Docs, rights: Callable[..., Rights], start: Any, then: Any, own: set[str], default: Any
    ) -> None:
        """One probe for each scope that the changes know says the same, privilege by privilege and role by role."""
        before = with_(world, "user", "admin", roles=roles("admins", "r1"))
        before = with_(before, "grant", "admin", roles=[])
        for name in NAMES:
            before = with_(before, "role", name)
        before = applied(before, start, rights)
        after = with_(applied(before, then, rights), "user", "admin", roles=roles(*sorted(own)), default_roles=default)
        lost = held(before, rights) - held(after, rights)
        blamed = [one for one in lockouts(ME, before, after) if "would lose" in one.reason]
        assert bool(lost) == bool(blamed)
        for one in blamed:
            assert before[one.kind].get(one.name) != after[one.kind].get(one.name)
        for privilege, option in lost:
            words = (privilege.rpartition(" ")[0], "ACCESS MANAGEMENT")
            assert any(word in one.reason for one in blamed for word in words), (privilege, option)

    @ENDURING
    @given(start=changes(NAMES, ["p1"]), more=st.sets(st.sampled_from(NAMES)))
    def test_more_rights_never_lock_us_out(
        self, world: Docs, rights: Callable[..., Rights], start: Any, more: set[str]
    ) -> None:
        before = with_(world, "user", "admin", roles=roles("admins", *NAMES), settings=readonly("0"))
        after = before = applied(before, start, rights)
        for name in more:
            privileges = after["grant"].get(name, {}).get("privileges", rights()).copy()
            privileges.grant(rights().catalogue.grant("ALTER USER", "*", True))
            after = with_(after, "grant", name, privileges=privileges)
        assert lockouts(ME, before, after) == []


def test_a_large_run_costs_little(world: Docs, rights: Callable[..., Rights]) -> None:
    """10,000 users, roles and profiles that are none of our business, all of them changed."""
    numbers = range(10_000)
    before = {
        "user": {**world["user"], **{f"u{n}": {**DEFAULTS["user"], "roles": roles(f"r{n}")} for n in numbers}},
        "role": {**world["role"], **{f"r{n}": {**DEFAULTS["role"]} for n in numbers}},
        "grant": {**world["grant"], **{f"u{n}": {"privileges": rights(), "roles": []} for n in numbers}},
        "settings_profile": {f"p{n}": {**DEFAULTS["settings_profile"]} for n in numbers},
    }
    after = {
        kind: {name: doc if name in world[kind] else {**doc, "settings": readonly()} for name, doc in docs.items()}
        for kind, docs in before.items()
    }
    started = time.process_time()
    assert lockouts(ME, before, after) == []
    assert time.process_time() - started < 0.5
    del after["role"]["admins"]
    assert named(lockouts(ME, before, after)) == [("role", "admins", "state")]
