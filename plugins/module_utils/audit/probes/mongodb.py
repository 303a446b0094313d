# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what MongoDB's answers mean, and its configuration where it does not say it itself.

The rules are MongoDB's security checklist and CIS MongoDB's; the codes are those of its src/mongo/base/error_codes.yml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    Json,
    judged,
    listed,
    observe,
)

BAD_VALUE, UNAUTHORIZED, AUTHENTICATION_FAILED, COMMAND_NOT_FOUND, JS_FAILURE = 2, 13, 18, 59, 139
SUPERUSERS = (
    "root", "__system", "userAdminAnyDatabase", "dbAdminAnyDatabase", "readWriteAnyDatabase", "readAnyDatabase",
    "clusterAdmin", "clusterManager", "hostManager", "backup", "restore", "userAdmin", "dbOwner",
)  # fmt: skip
"""Roles that are, or can become, more than the work of an application."""


@dataclass(frozen=True)
class Reply:
    """MongoDB's answer: the code of the error (0 for none, -1 for no answer), its text, and the document."""

    code: int
    text: str = ""
    document: Json | None = None

    @property
    def short(self) -> str:
        """The answer in a few words."""
        return "accepted" if not self.code else f"{self.code} {self.text}"[:120] if self.code > 0 else self.text[:160]


def judge_plaintext(subject: str, plain: Reply) -> Json:
    """Return whether MongoDB answers without TLS.

    :param plain: its answer on ping without TLS
    """
    return judged(
        "mongodb_plaintext",
        subject,
        plain.code != 0,
        f"Without TLS there is no answer ({plain.short}).",
        "It answers without TLS: what HyperDX stores, and logins, can be read on the way.",
    )


def judge_anonymous(subject: str, replies: Mapping[str, Reply]) -> Json:
    """Return whether MongoDB wants a login.

    :param replies: by place, the answer on listDatabases without one
    """
    said = "; ".join(f"{place}: {reply.short}" for place, reply in replies.items())
    opened = [place for place, reply in replies.items() if not reply.code]
    if opened:
        return observe("mongodb_anonymous", subject, FAIL, f"Without a login it lists its databases {listed(opened)}.")
    if any(reply.code not in (UNAUTHORIZED, AUTHENTICATION_FAILED) for reply in replies.values()):
        return observe("mongodb_anonymous", subject, ERROR, f"No answer that tells: {said}.")
    return observe("mongodb_anonymous", subject, PASS, f"listDatabases without a login: {said}.")


def judge_mechanisms(subject: str, mechanisms: Sequence[str], source: str) -> Json:
    """Return whether passwords are proven by SCRAM-SHA-256 alone.

    :param mechanisms: those that the server offers
    :param source: where that was said
    """
    weak = [name for name in mechanisms if name in ("SCRAM-SHA-1", "MONGODB-CR", "PLAIN")]
    return judged(
        "mongodb_mechanisms",
        subject,
        not weak,
        f"{source}: {listed(mechanisms)}.",
        f"{source}: {listed(weak)} beside {listed(set(mechanisms) - set(weak)) or 'nothing else'}.",
    )


def judge_javascript(subject: str, reply: Reply) -> Json:
    """Return whether $where is refused.

    :param reply: the answer on a query with $where
    """
    probe = "mongodb_javascript"
    if not reply.code:
        return observe(probe, subject, FAIL, "A query with $where is accepted: queries run JavaScript in the server.")
    is_about_it = re.search(r"where|script", reply.text, re.IGNORECASE)
    if reply.code in (BAD_VALUE, JS_FAILURE) or (
        is_about_it and reply.code not in (UNAUTHORIZED, AUTHENTICATION_FAILED)
    ):
        return observe(probe, subject, PASS, f"A query with $where is refused: {reply.short}.")
    return observe(probe, subject, ERROR, f"A query with $where got no answer that tells: {reply.short}.")


def judge_rights(subject: str, database: str, roles: Iterable[Mapping[str, Any]], tried: Mapping[str, Reply]) -> Json:
    """Return whether HyperDX' user has the rights on its database and no others.

    :param database: its own
    :param roles: of connectionStatus
    :param tried: by what it was, the answer on what it must not do
    """
    held = [(str(role.get("role")), str(role.get("db"))) for role in roles]
    wrong = [f"{role} on {place}" for role, place in held if role in SUPERUSERS or place != database]
    allowed = [what for what, reply in tried.items() if not reply.code]
    parts = ([f"roles {listed(wrong)}"] if wrong else []) + ([f"allowed: {listed(allowed)}"] if allowed else [])
    said = listed(f"{role} on {place}" for role, place in held) or "none"
    return judged(
        "mongodb_app_rights",
        subject,
        not parts,
        f"Its roles: {said}. Refused: {listed(tried)}.",
        f"It has more than its database: {'; '.join(parts)}.",
    )


def judge_sources(subject: str, users: Mapping[str, Sequence[Mapping[str, Any]]], elsewhere: Reply | None) -> Json:
    """Return whether users may log in from their own addresses only.

    :param users: by name, their authenticationRestrictions; empty if they cannot be read
    :param elsewhere: the answer on HyperDX' login from this host instead of its container; None if it was not tried
    """
    probe = "mongodb_app_sources"
    anywhere = [
        user for user, restrictions in users.items() if not any(one.get("clientSource") for one in restrictions)
    ]
    tried = f" HyperDX' login from this host: {elsewhere.short}." if elsewhere else ""
    if anywhere or (elsewhere and not elsewhere.code):
        wrong = (
            f"May log in from anywhere: {listed(anywhere)}."
            if anywhere
            else "HyperDX' user logs in from elsewhere too."
        )
        return observe(probe, subject, FAIL, f"{wrong}{tried}")
    if users:
        return observe(probe, subject, PASS, f"Each of {len(users)} users has a clientSource.{tried}")
    if elsewhere and elsewhere.code == AUTHENTICATION_FAILED:
        return observe(probe, subject, PASS, f"HyperDX' user cannot log in from elsewhere.{tried}")
    return observe(probe, subject, ERROR, f"The users cannot be read.{tried}")


def judge_localhost(subject: str, value: Any) -> Json:
    """Return whether the localhost exception is off.

    :param value: of the parameter enableLocalhostAuthBypass
    """
    return judged(
        "mongodb_localhost_exception",
        subject,
        value is False,
        "enableLocalhostAuthBypass is false.",
        f"enableLocalhostAuthBypass is {value}: who reaches its loopback while it has no user makes the first.",
    )


def judge_keyfile(subject: str, replica_set: str, security: Mapping[str, Any]) -> Json:
    """Return whether members of a replica set prove themselves.

    :param replica_set: its name; empty for a standalone server
    :param security: the section `security` of its configuration
    """
    probe = "mongodb_keyfile"
    if not replica_set:
        return observe(probe, subject, NOT_APPLICABLE, "It is no member of a replica set.")
    mode = str(security.get("clusterAuthMode") or "keyFile")
    proven = bool(security.get("keyFile")) or mode in ("x509", "sendX509")
    return judged(
        probe,
        subject,
        proven,
        f"Members of {replica_set} prove themselves by {mode}.",
        f"Members of {replica_set} prove nothing: there is no keyFile, and clusterAuthMode is not x509.",
    )


def judge_verbosity(subject: str, verbosity: Mapping[str, Any]) -> Json:
    """Return whether logins are logged: accessControl, or everything, at 1 or more.

    :param verbosity: of the parameter logComponentVerbosity
    """
    component = verbosity.get("accessControl") or {}
    levels = [
        level for level in (component.get("verbosity"), verbosity.get("verbosity")) if isinstance(level, (int, float))
    ]
    level = max(levels, default=0)
    return judged(
        "mongodb_log_verbosity",
        subject,
        level >= 1,
        f"accessControl is logged at {int(level)}.",
        "accessControl is logged at the default level, which leaves out who logged in.",
    )


# -- the configuration ------------------------------------------------------------------------------------------------


def configured(text: str) -> Json:
    """Return what a mongod.conf says, by dotted names: `{"security.keyFile": "/etc/mongo/keyfile"}`.

    It is read where the server does not tell its options. mongod takes YAML; this reads nested mappings of scalars,
    which is what they are in practice.

    :param text: its content
    """
    found: Json = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"( *)([\w.]+):(?:\s+(.*?))?\s*$", line)
        if not match:
            continue
        indent, key, value = (
            len(match.group(1)),
            match.group(2),
            re.sub(r"(^|\s)#.*$", "", match.group(3) or "").strip(),
        )
        path = [one for one in path if one[0] < indent] + [(indent, key)]
        if value:
            words = {"true": True, "false": False}
            scalar: Any = value.strip("\"'")
            name = ".".join(part for _indent, part in path)
            found[name] = words.get(scalar.lower(), int(scalar) if scalar.isdecimal() else scalar)
    return found
