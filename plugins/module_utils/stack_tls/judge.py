# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: is a certificate the one that is wanted, is one that was brought good, may an authority sign?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.names import covers, outside
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.pem import (
    Certificate,
    Key,
    Request,
    is_signed_by,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.wanted import Wanted

WEAK_HASHES = ("md5", "sha1")
MINIMUM_RSA = 2048
"""What OpenSSL at its security level 2, of Debian and Ubuntu, still takes."""


@dataclass(frozen=True)
class Policy:
    """How keys and certificates shall be: `kind` and `size` of keys as Key has them, the organization of the subjects,
    how long a certificate is good for, and how long before its end another one is wanted.
    """

    kind: str
    size: str
    organization: str
    valid: timedelta
    renew: timedelta


def day(moment: datetime) -> str:
    """Return a moment as people write it: the minute, in UTC."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def why_new_key(key: Key | None, policy: Policy) -> str:
    """Return why there must be another key, or nothing.

    :param key: the present one; None if there is none that could be read
    :param policy: how it shall be
    """
    if key is None:
        return "there is no key that could be read"
    if key.is_encrypted:
        return "the key is encrypted, so the service could not read it"
    if (key.kind, key.size) != (policy.kind, policy.size):
        return f"the key is {key.kind} {key.size}, not {policy.kind} {policy.size}"
    return ""


def why_new_certificate(
    wanted: Wanted,
    chain: Sequence[Certificate],
    key: Key | None,
    signer: Certificate | None,
    policy: Policy,
    now: datetime,
) -> str:
    """Return why a certificate of ours, or one by ACME, must be replaced, or nothing.

    :param wanted: what it shall be
    :param chain: what is there, the server's own first; empty for nothing
    :param key: the key that is there
    :param signer: our authority; None where another one signs (ACME), or where it is not there yet
    :param policy: when it is renewed
    :param now: the time
    """
    if not chain:
        return "there is no certificate that could be read"
    leaf = chain[0]
    if key is None or leaf.public != key.public:
        return "certificate and key do not belong together"
    if now + policy.renew >= leaf.end:
        return f"it ends on {day(leaf.end)}"
    if leaf.begin > now:
        return f"it begins on {day(leaf.begin)}"
    if leaf.names != frozenset(wanted.names):
        return "its names are others: " + _difference(leaf.names, frozenset(wanted.names))
    if wanted.source == "acme":
        return ""
    if signer is None or not is_signed_by(leaf, signer):
        return "the authority did not sign it"
    if leaf.usages != frozenset(wanted.usages):
        return "it is for another use: " + _difference(leaf.usages or frozenset(), frozenset(wanted.usages))
    subject = (leaf.common_name, leaf.organization, leaf.unit)
    if subject != (wanted.common_name, policy.organization, wanted.unit):
        return f"its subject is {', '.join(subject)}"
    if leaf.is_authority or leaf.key_usages != frozenset(key_usages(key.kind)):
        return "its key usage is another"
    return ""


def _difference(present: frozenset[str], wanted: frozenset[str]) -> str:
    parts = [f"+{name}" for name in sorted(wanted - present)] + [f"-{name}" for name in sorted(present - wanted)]
    return " ".join(parts)


def key_usages(kind: str) -> list[str]:
    """Return the key usages of a certificate, as pem.Certificate has them. Key encipherment is for the RSA key
    exchange of
    TLS 1.2, which old clients of MongoDB want and an ECDSA key cannot do.

    :param kind: kind of key
    """
    return ["digital_signature", "key_encipherment"] if kind == "rsa" else ["digital_signature"]


def wrong_with_request(wanted: Wanted, request: Request, organization: str) -> str:
    """Return why a request must not be signed, or nothing: a host that somebody else rules could ask for the names of
    another one, or to be an authority itself.

    :param wanted: what it should ask for
    :param request: what it asks for
    :param organization: of the subject
    """
    if not request.is_signed:
        return "its key did not sign it"
    if request.names != frozenset(wanted.names):
        return "it asks for other names: " + _difference(request.names, frozenset(wanted.names))
    subject = (request.common_name, request.organization, request.unit)
    if subject != (wanted.common_name, organization, wanted.unit):
        return f"it asks for the subject {', '.join(subject)}"
    if request.usages != frozenset(wanted.usages):
        return "it asks for another use: " + _difference(request.usages, frozenset(wanted.usages))
    if request.is_authority or not request.key_usages <= set(key_usages("rsa")):
        return "it asks to be an authority"
    if request.others:
        return f"it asks for extensions that nobody needs: {', '.join(request.others)}"
    return ""


# -- what was brought ----------------------------------------------------------------------------------------------


def wrong_with_brought(
    wanted: Wanted, chain: Sequence[Certificate], key: Key, roots: Sequence[Certificate], now: datetime
) -> Iterator[str]:
    """Yield what is wrong with a certificate that was brought.

    :param wanted: what it must be good for; its names are those that it must have, it may have more
    :param chain: what was brought, the server's own first
    :param key: the key that came with it
    :param roots: the authority that came with it; empty for none
    :param now: the time
    """
    leaf = chain[0]
    if key.is_encrypted:
        yield "the key is encrypted, so the service could not read it"
    if key.kind == "rsa" and int(key.size) < MINIMUM_RSA:
        yield f"the key has {key.size} bits; RSA needs {MINIMUM_RSA} or more"
    if leaf.public != key.public:
        if any(other.public == key.public for other in chain[1:]):
            yield "the key belongs to a later certificate in the file; that must be the first, followed by its chain"
        else:
            yield "the key does not belong to the certificate"
    yield from _wrong_times(chain, now)
    missing = [name.partition(":")[2] for name in wanted.names if not covers(leaf.names, name)]
    if missing:
        has = ", ".join(name.partition(":")[2] for name in sorted(leaf.names)) or "none"
        yield f"it is not for {', '.join(missing)} (it has the names {has})"
    lacking = sorted(set(wanted.usages) - leaf.usages) if leaf.usages is not None else []
    if lacking:
        yield f"its extended key usage lacks {', '.join(lacking)}"
    if leaf.is_authority:
        yield "it is an authority's certificate, not a server's"
    for one in chain:
        if one.signature_hash in WEAK_HASHES:
            yield f"{one.title} is signed with {one.signature_hash}, which TLS libraries refuse"
    if roots:
        yield from _wrong_chain(chain, roots, now)


def _wrong_times(chain: Sequence[Certificate], now: datetime) -> Iterator[str]:
    for one in chain:
        if one.end <= now:
            yield f"{one.title} ended on {day(one.end)}"
        elif one.begin > now:
            yield f"{one.title} begins on {day(one.begin)} (is the host's clock right?)"


def _wrong_chain(chain: Sequence[Certificate], roots: Sequence[Certificate], now: datetime) -> Iterator[str]:
    """OpenSSL wants a way from the first certificate over the others to one of the roots that signed itself."""
    at, others = chain[0], list(chain[1:])
    for _step in range(len(chain) + len(roots) + 1):
        above = next((root for root in roots if is_signed_by(at, root)), None)
        above = above or next((other for other in others if is_signed_by(at, other)), None)
        if above is None:
            yield (
                f"the authority that came with it did not sign it: {at.title} was signed by somebody else than"
                f" {', '.join(root.title for root in roots)}"
            )
            return
        if not above.is_authority:
            yield f"{above.title} signed {at.title}, but is no authority"
            return
        if above.end <= now:
            yield f"the authority {above.title} ended on {day(above.end)}"
            return
        if is_signed_by(above, above) and above in roots:
            return
        at = above
    yield "its chain goes round in circles"


def warn_of_brought(
    chain: Sequence[Certificate], roots: Sequence[Certificate], policy: Policy, now: datetime
) -> list[str]:
    """Return what will be wrong with a certificate that was brought, soon. That is no reason to refuse it: another one
    can only come by the next run.

    :param chain: what was brought
    :param roots: the authority that came with it
    :param policy: how long before the end it is time
    :param now: the time
    """
    ending = [one for one in (*chain, *roots) if now < one.end <= now + policy.renew]
    return [f"{one.title} ends on {day(one.end)}; bring another one before that" for one in ending]


# -- authorities ---------------------------------------------------------------------------------------------------


def wrong_with_authority(certificate: Certificate, now: datetime) -> Iterator[str]:
    """Yield why nobody would believe what an authority signs.

    :param certificate: the authority's
    :param now: the time
    """
    if not certificate.is_authority:
        yield "this is no authority's certificate (basic constraints, CA:TRUE)"
    elif certificate.key_usages is not None and "key_cert_sign" not in certificate.key_usages:
        yield "it may not sign certificates (key usage, keyCertSign)"
    elif not is_signed_by(certificate, certificate):
        yield "it did not sign itself; an intermediate authority cannot be used here"
    if certificate.end <= now:
        yield f"it ended on {day(certificate.end)}"
    elif certificate.begin > now:
        yield f"it begins on {day(certificate.begin)} (is the clock right?)"


def wrong_with_signer(signer: Certificate, policy: Policy, now: datetime) -> str:
    """Return why an authority is too old to sign, or nothing: what it signs would end with it, and be renewed in every
    run.

    :param signer: the authority
    :param policy: how long before its end a certificate is renewed
    :param now: the time
    """
    if signer.end > now + policy.renew:
        return ""
    return (
        f"The authority {signer.title} ends on {day(signer.end)}, and with it everything that it signs. Make another"
        " one: the role's README says how (a new authority)."
    )


def warn_of_signer(signer: Certificate, policy: Policy, now: datetime) -> list[str]:
    """Return that certificates will end earlier than asked, because the authority does.

    :param signer: the authority
    :param policy: how long certificates are good for
    :param now: the time
    """
    if now + policy.valid <= signer.end:
        return []
    return [
        f"The authority {signer.title} ends on {day(signer.end)}, before a certificate that is made now would;"
        " it is time for another one (the role's README: a new authority)."
    ]


def not_permitted(signer: Certificate, wanted: Sequence[Wanted]) -> list[str]:
    """Return the names that the authority's own name constraints forbid it to sign, each with what to do.

    :param signer: the authority
    :param wanted: what it shall sign
    """
    return [
        f"{one.name}: the authority {signer.title} may not sign for"
        f" {', '.join(name.partition(':')[2] for name in found)} (it is constrained to {', '.join(signer.permitted)})."
        " Take the names out, or make an authority with other constraints (stack_tls_ca_permitted, stack_tls_ca_name)."
        for one in wanted
        if one.source == "ca" and (found := outside(signer.permitted, one.names))
    ]


def not_trusted(signer_of: Certificate, trusted: Sequence[Certificate], path: str) -> str:
    """Return why an authority cannot be left out at once: it signed what is in use.

    :param signer_of: the authority, as the host has it
    :param trusted: those that will be trusted
    :param path: the certificate that it signed
    """
    if any(one.fingerprint == signer_of.fingerprint for one in trusted):
        return ""
    return (
        f"{path} is in use, and {signer_of.title} signed it, an authority that would be trusted no more: who connects"
        " meanwhile would be turned away. If its files are lost (stack_tls_ca_directory), bring them back; to replace"
        " it step by step, name it in stack_tls_ca_also_trusted first; to replace it at once, set stack_tls_ca_replace."
    )
