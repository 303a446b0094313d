"""The read-only entities of a users.xml: users, roles, profiles, quotas (UsersConfigAccessStorage)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from . import hosts as host_forms
from .model import (
    AuthMethod,
    Hosts,
    Ids,
    Limits,
    Quota,
    Role,
    RowPolicy,
    Setting,
    SettingsProfile,
    User,
)
from .rights import Element, Rights
from .settings import normalise
from .statements import Grant, parse
from .text import literal, quote

if TYPE_CHECKING:
    from .control import AccessControl

_NAMESPACE = uuid.UUID("6f3d1a52-0c1e-4b7e-9a55-6d1c5a0b7e11")


def entity_id(kind: str, name: str) -> str:
    """Ids of users.xml entities follow from their names, so that other entities can keep referring to them."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}\n{name}"))


def load(access: AccessControl, path: Path) -> None:
    """Read users.xml into `access.fixed`."""
    root = ElementTree.parse(path).getroot()
    storage = access.options.users_xml_storage
    put = access.fixed.put

    def common(kind: str, name: str) -> dict[str, Any]:
        return {"name": name, "id": entity_id(kind, name), "storage": storage}

    for node in root.iterfind("profiles/*"):
        put(_profile(access, node, common("SETTINGS PROFILE", node.tag)))
    for node in root.iterfind("quotas/*"):
        put(_quota(root, node, common("QUOTA", node.tag)))
    for node in root.iterfind("roles/*"):
        put(Role(**common("ROLE", node.tag), rights=Rights(access.privileges)))
    for node in root.iterfind("users/*"):
        put(_user(access, node, common("USER", node.tag)))
        for database in node.iterfind("databases/*"):
            for table in database:
                short = node.tag
                name = f"{quote(short)} ON {quote(database.tag)}.{quote(table.tag)}"
                put(
                    RowPolicy(
                        **common("ROW POLICY", name),
                        short_name=short,
                        database=database.tag,
                        table=table.tag,
                        filter=(table.findtext("filter") or "").strip(),
                        to=Ids(ids=[entity_id("USER", node.tag)]),
                    )
                )
    grants = [
        (access.get(cls, node.tag), _with_grantee((query.text or "").strip()))
        for section, cls in (("roles/*", Role), ("users/*", User))
        for node in root.iterfind(section)
        for query in node.iterfind("grants/query")
    ]
    for (grantee, _other), text in zip(grants, access.canonical([text for _other, text in grants]), strict=True):
        statement = parse(text)
        assert isinstance(statement, Grant)
        if statement.roles:
            for name in statement.roles.names:
                grantee.roles[entity_id("ROLE", name)] = statement.option
        else:
            grantee.rights.apply(access.elements(statement, "", strict=False))


def _with_grantee(query: str) -> str:
    """A query of <grants>, which names no grantee, as a whole statement."""
    if query.upper().startswith("REVOKE"):
        return f"{query} FROM probe"
    head, separator, tail = query.partition(" WITH ")
    return f"{head} TO probe{separator}{tail}"


def _user(access: AccessControl, node: ElementTree.Element, common: dict[str, Any]) -> User:
    user = User(**common, rights=Rights(access.privileges), hosts=Hosts(any=node.find("networks") is None))
    user.auth = [_method(node)]
    for host in node.iterfind("networks/*"):
        kind = {"ip": "IP", "host": "NAME", "host_regexp": "REGEXP"}[host.tag]
        host_forms.add(user.hosts, kind, (host.text or "").strip())
    profile = node.findtext("profile")
    if profile:
        user.settings.append(Setting(profile=entity_id("SETTINGS PROFILE", profile.strip())))
    user.default_database = (node.findtext("default_database") or "").strip()
    if node.find("grants") is None:
        rights, everything = user.rights, access.privileges.all
        rights.apply([Element(everything, grant_option=True)])
        if not _flag(node, "access_management"):
            rights.apply(
                [
                    Element(access.privileges.mask("ACCESS MANAGEMENT"), revoke=True),
                    Element(everything, grant_option=True, revoke=True),
                ]
            )
        if not (_flag(node, "named_collection_control") or _flag(node, "named_collection_admin")):
            rights.apply([Element(access.privileges.mask("NAMED COLLECTION ADMIN"), revoke=True)])
        if not _flag(node, "show_named_collections_secrets"):
            rights.apply([Element(access.privileges.mask("SHOW NAMED COLLECTIONS SECRETS"), revoke=True)])
    return user


def _flag(node: ElementTree.Element, name: str) -> bool:
    return (node.findtext(name) or "0").strip() in ("1", "true")


def _method(node: ElementTree.Element) -> AuthMethod:
    def text(name: str) -> str:
        return (node.findtext(name) or "").strip()

    if node.find("password_sha256_hex") is not None:
        return AuthMethod("sha256_password", text("password_sha256_hex").upper())
    if node.find("password_double_sha1_hex") is not None:
        return AuthMethod("double_sha1_password", text("password_double_sha1_hex").upper())
    if node.find("ldap") is not None:
        return AuthMethod("ldap", params={"server": text("ldap/server")})
    if node.find("kerberos") is not None:
        return AuthMethod("kerberos", params={"realm": text("kerberos/realm")})
    if node.find("ssl_certificates") is not None:
        names = sorted({(child.text or "").strip() for child in node.iterfind("ssl_certificates/common_name")})
        others = sorted({(child.text or "").strip() for child in node.iterfind("ssl_certificates/subject_alt_name")})
        return AuthMethod("ssl_certificate", params={"cn": names} if names else {"san": others})
    if node.find("http_authentication") is not None:
        return AuthMethod(
            "http",
            params={"server": text("http_authentication/server"), "scheme": text("http_authentication/scheme").upper()},
        )
    password = text("password")
    return AuthMethod("plaintext_password", password) if password or node.find("password") is not None else AuthMethod()


def _profile(access: AccessControl, node: ElementTree.Element, common: dict[str, Any]) -> SettingsProfile:
    result = SettingsProfile(**common)
    for child in node:
        text = (child.text or "").strip()
        if child.tag == "profile":
            result.settings.append(Setting(profile=entity_id("SETTINGS PROFILE", text)))
        elif child.tag == "constraints":
            for setting in child:
                element = Setting(name=setting.tag)
                for mark in setting:
                    value = (mark.text or "").strip()
                    if mark.tag in ("min", "max"):
                        setattr(element, mark.tag, access.settings.stored(setting.tag, literal(value)))
                    elif mark.tag in ("readonly", "const"):
                        element.writability = "CONST"
                    elif mark.tag == "changeable_in_readonly":
                        element.writability = "CHANGEABLE_IN_READONLY"
                result.settings.append(element)
        else:
            result.settings.append(Setting(name=child.tag, value=access.settings.stored(child.tag, literal(text))))
    if access.release >= (25, 0):
        result.settings = normalise(result.settings)
    return result


def _quota(root: ElementTree.Element, node: ElementTree.Element, common: dict[str, Any]) -> Quota:
    users = [user.tag for user in root.iterfind("users/*") if (user.findtext("quota") or "").strip() == node.tag]
    result = Quota(**common, to=Ids(ids=[entity_id("USER", user) for user in users]))
    if node.find("keyed_by_ip") is not None:
        result.keys = ["ip_address"]
    elif node.find("keyed_by_forwarded_ip") is not None:
        result.keys = ["forwarded_ip_address"]
    elif node.find("keyed") is not None:
        result.keys = ["client_key", "user_name"]
    else:
        result.keys = ["user_name"]
    for interval in node.iterfind("interval"):
        limits = Limits(int(interval.findtext("duration") or "0"), _flag(interval, "randomize"))
        for child in interval:
            if child.tag not in ("duration", "randomize") and float(child.text or "0"):
                limits.max[child.tag] = float(child.text or "0")
        result.limits.append(limits)
    return result
