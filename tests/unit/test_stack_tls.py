"""stack_tls: what its modules decide without a host. What they do to one is in tests/roles."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls import judge, pem, run
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.names import (
    WrongName,
    covers,
    name_of,
    outside,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.wanted import SERVICES, Wanted, resolve

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
POLICY = judge.Policy("ecdsa", "secp256r1", "ClickStack", 365 * DAY, 30 * DAY)


def text(thing: Any) -> bytes:
    """PEM of a certificate, a request or a key."""
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    is_key = hasattr(thing, "private_bytes")
    content: bytes = (
        thing.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        if is_key
        else thing.public_bytes(encoding)
    )
    return content


def certificate(
    name: str = "ca",
    issuer: str = "ca",
    key: Any = None,
    signer: Any = None,
    end: float = 100,
    extensions: Any = (),
    **sign: Any,
) -> pem.Certificate:
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = signer or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + end * DAY)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return pem.read_certificates(text(builder.sign(signer, algorithm, **sign)))[0]


def service(**entry: Any) -> tuple[list[Wanted], list[str]]:
    return resolve([entry], [], ["click.example.com"], {}, False)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("DB.Example.com.", "DNS:db.example.com"),
        ("*.example.com", "DNS:*.example.com"),
        ("ch_server", "DNS:ch_server"),
        ("127.0.0.1", "IP:127.0.0.1"),
        ("0:0:0:0:0:0:0:1", "IP:::1"),
    ],
)
def test_names_are_written_as_certificates_have_them(given: str, wanted: str) -> None:
    assert name_of(given) == wanted


@pytest.mark.parametrize(
    "given", ["", "a b", "-x", "*", "*.com", "a.*.com", "300.1.1.1", "bücher.de", "a" * 64, "a..b"]
)
def test_what_is_no_name_is_refused(given: str) -> None:
    with pytest.raises(WrongName):
        name_of(given)


def test_a_star_stands_for_one_label() -> None:
    present = {"DNS:*.example.com", "IP:10.0.0.1"}
    assert covers(present, "DNS:a.example.com") and covers(present, "IP:10.0.0.1")
    assert not any(covers(present, name) for name in ("DNS:example.com", "DNS:a.b.example.com", "IP:10.0.0.2"))


def test_constraints_limit_names_of_their_kind_alone() -> None:
    limits = ["DNS:example.com", "IP:10.0.0.0/8"]
    names = ["DNS:example.com", "DNS:a.example.com", "DNS:badexample.com", "IP:10.1.2.3", "IP:11.0.0.1"]
    assert outside(limits, names) == ["DNS:badexample.com", "IP:11.0.0.1"]
    assert outside(limits[:1], names[3:]) == []


# -- what is wanted --------------------------------------------------------------------------------------------------


def test_clickstack_s_services_are_known() -> None:
    wanted, problems = resolve([{"name": name} for name in SERVICES], [], [], {}, False)
    assert not problems
    assert {one.name: (one.uid, one.gid, one.pem) for one in wanted} == {
        "proxy": (1000, 1000, ""),
        "app": (1000, 1000, ""),
        "otel": (10001, 10001, ""),
        "clickhouse": (101, 101, ""),
        "mongodb": (999, 999, "mongodb.pem"),
    }
    # whom MongoDB takes for a member has its unit, and nobody else has
    assert len({one.unit for one in wanted}) == len(wanted)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            {"name": "clikhouse"},
            "there is no such service; those of ClickStack are proxy, app, otel, clickhouse, mongodb",
        ),
        ({"name": "../etc"}, "cannot be a directory's name"),
        ({"name": "clients"}, "cannot be a directory's name"),
        ({"name": "app", "names": ["a b"]}, "'a b' is neither a host's name nor an address"),
        ({"name": "app", "user_id": "node"}, "user_id must be numbers"),
        ({"name": "app", "pem": "tls.key"}, "pem is the name of a file, and none of"),
        ({"name": "app", "pem": "../x"}, "pem is the name of a file"),
        ({"name": "app", "usages": ["clientAuth"]}, "usages must have serverAuth"),
        ({"name": "app", "key_file": "/k"}, "key_file is for the source provided"),
        ({"name": "app", "source": "provided"}, "needs certificate_file (on the host), or certificate"),
        ({"name": "app", "source": "provided", "key": "x", "key_file": "y"}, "key and key_file are both there"),
        ({"name": "proxy", "source": "provided"}, "say in names under which names it is opened"),
        ({"name": "proxy", "source": "acme"}, "say in names what the certificate by ACME"),
        ({"name": "proxy", "source": "acme", "names": ["localhost"]}, "localhost is no public name"),
        ({"name": "proxy", "source": "acme", "names": ["203.0.113.1"]}, "203.0.113.1 is no public name"),
        ({"name": "proxy", "source": "acme", "names": ["*.example.com"]}, "needs the challenge dns-01"),
    ],
)
def test_entries_that_cannot_be_are_refused(entry: dict[str, Any], problem: str) -> None:
    _wanted, problems = service(**entry)
    assert any(problem in said and said.startswith("stack_tls_services: ") for said in problems), problems


def test_a_name_that_is_there_twice_is_refused_and_a_client_s_common_name_is_not_too_long() -> None:
    _wanted, problems = resolve(
        [{"name": "app"}, {"name": "app"}], [{"name": "a", "common_name": "x" * 65}], [], {}, False
    )
    assert problems == [
        "stack_tls_clients: a: common_name has more than 64 letters, which X.509 does not allow.",
        "app: it is named twice.",
    ]


# -- certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "sign"),
    [
        (ec.generate_private_key(ec.SECP384R1()), {}),
        (rsa.generate_private_key(65537, 2048), {}),
        (rsa.generate_private_key(65537, 2048), {"rsa_padding": padding.PSS(padding.MGF1(hashes.SHA256()), 32)}),
        (ed25519.Ed25519PrivateKey.generate(), {}),
    ],
)
def test_signatures_are_checked_by_key_and_not_by_name(key: Any, sign: Any) -> None:
    authority = certificate(key=key, **sign)
    assert pem.is_signed_by(certificate("leaf", signer=key, **sign), authority)
    assert not pem.is_signed_by(certificate("leaf"), authority)  # another key of the same name
    assert not pem.is_signed_by(certificate("leaf", "other", signer=key, **sign), authority)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_and_no_key_is_said(content: bytes) -> None:
    with pytest.raises(pem.Unreadable):
        pem.read_certificates(content)
    with pytest.raises(pem.Unreadable):
        pem.read_key(content)


def test_a_file_that_ends_within_a_certificate_is_not_taken_for_a_shorter_chain() -> None:
    whole = certificate().pem.encode()
    assert len(pem.read_certificates(b"text\n" + whole + whole)) == 2
    with pytest.raises(pem.Unreadable, match="has no end"):
        pem.read_certificates(whole + whole[:200])


def ours() -> tuple[Wanted, pem.Certificate, pem.Key, pem.Certificate]:
    """A certificate as it shall be: what is wanted, the certificate, its key and the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority_key = ec.generate_private_key(ec.SECP256R1())
    (wanted,), _problems = service(name="otel")
    leaf = certificate("leaf", signer=authority_key, key=key)
    leaf = replace(
        leaf,
        common_name=wanted.common_name,
        organization="ClickStack",
        unit=wanted.unit,
        names=frozenset(wanted.names),
        usages=frozenset(wanted.usages),
        key_usages=frozenset(["digital_signature"]),
    )
    return wanted, leaf, pem.read_key(text(key)), certificate(key=authority_key)


def test_a_certificate_as_it_shall_be_is_kept() -> None:
    wanted, leaf, key, authority = ours()
    assert judge.why_new_certificate(wanted, [leaf], key, authority, POLICY, NOW) == ""
    assert judge.why_new_key(key, POLICY) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"end": NOW + 30 * DAY}, "it ends on"),
        ({"begin": NOW + DAY}, "it begins on"),
        ({"names": frozenset(["DNS:a"])}, "its names are others"),
        ({"usages": frozenset(["serverAuth", "clientAuth"])}, "it is for another use: -clientAuth"),
        ({"usages": None}, "it is for another use: +serverAuth"),
        ({"unit": "mongodb"}, "its subject is"),
        ({"is_authority": True}, "its key usage is another"),
        ({"key_usages": None}, "its key usage is another"),
        ({"public": b""}, "do not belong together"),
    ],
)
def test_a_certificate_that_is_another_is_replaced(change: dict[str, Any], why: str) -> None:
    wanted, leaf, key, authority = ours()
    assert why in judge.why_new_certificate(wanted, [replace(leaf, **change)], key, authority, POLICY, NOW)


def test_another_authority_and_another_kind_of_key_are_seen() -> None:
    wanted, leaf, key, _authority = ours()
    for signer in (certificate(), None):
        assert "did not sign" in judge.why_new_certificate(wanted, [leaf], key, signer, POLICY, NOW)
    assert judge.why_new_key(key, replace(POLICY, kind="rsa", size="3072")) == (
        "the key is ecdsa secp256r1, not rsa 3072"
    )


def test_a_chain_is_followed_to_a_root_that_signed_itself() -> None:
    constraints = [x509.BasicConstraints(ca=True, path_length=None)]
    top, middle = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("root", "root", top, extensions=constraints)
    issuing = certificate("issuing", "root", middle, top, extensions=constraints)
    leaf = certificate("leaf", "issuing", signer=middle)

    def wrong(chain: list[pem.Certificate], roots: list[pem.Certificate]) -> list[str]:
        return list(judge._wrong_chain(chain, roots, NOW))

    assert wrong([leaf, issuing], [root]) == wrong([leaf], [issuing, root]) == []
    assert "did not sign it: leaf was signed by somebody else than root" in wrong([leaf], [root])[0]
    assert "did not sign it: issuing was signed by somebody else" in wrong([leaf], [issuing])[0]
    forged = certificate("issuing", "root", middle, top)
    assert wrong([leaf, forged], [root]) == ["issuing signed leaf, but is no authority"]


# -- the authority's files -----------------------------------------------------------------------------------------


def authority_files(folder: Path, key: Any, form: Any, passphrase: bytes = b"correct horse battery") -> None:
    """An authority as somebody made it, with its key in a form of theirs."""
    lock = serialization.BestAvailableEncryption(passphrase)
    (folder / "ca.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))
    (folder / "ca.key").chmod(0o400)
    constraints = [x509.BasicConstraints(ca=True, path_length=0)]
    (folder / "ca.crt").write_text(certificate(key=key, extensions=constraints).pem)


def test_an_authority_of_somebody_else_s_making_is_judged(tmp_path: Path) -> None:
    key, pkcs8 = ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8

    def wrong(passphrase: str = "correct horse battery", is_signer: bool = True) -> list[str]:
        return run._read_authority(tmp_path, passphrase, is_signer)[1]

    assert run._read_authority(tmp_path, "x", True) == (None, [])
    authority_files(tmp_path, key, pkcs8)
    assert wrong() == []
    with pytest.raises(pem.Unreadable, match=r"ca\.key: the passphrase is wrong"):
        wrong("another")
    assert wrong("another", is_signer=False) == []
    (tmp_path / "ca.key").unlink()
    assert ["its key is not. Bring it back" in said for said in wrong()] == [True]
    assert wrong(is_signer=False) == []
    authority_files(tmp_path, key, serialization.PrivateFormat.TraditionalOpenSSL)
    assert ["in OpenSSL's old form" in said for said in wrong()] == [True]
    (tmp_path / "ca.key").unlink()
    authority_files(tmp_path, key, pkcs8)
    middle = certificate("middle", "root", key, ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "ca.crt").write_text(middle.pem)
    assert ["this is no authority's certificate" in said for said in wrong()] == [True]
    middle = certificate(
        "m", "root", key, ec.generate_private_key(ec.SECP256R1()), -0.5, [x509.BasicConstraints(True, 0)]
    )
    (tmp_path / "ca.crt").write_text(middle.pem)
    assert [("it did not sign itself" in said, "it ended on" in said) for said in wrong()] == [
        (True, False),
        (False, True),
    ]


# -- requests --------------------------------------------------------------------------------------------------------


def request(wanted: Wanted, *extensions: Any, names: list[str] | None = None) -> pem.Request:
    pairs = [("ClickStack", NameOID.ORGANIZATION_NAME), (wanted.unit, NameOID.ORGANIZATIONAL_UNIT_NAME)]
    pairs.append((wanted.common_name, NameOID.COMMON_NAME))
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, value) for value, oid in pairs])
    )
    for extension in (x509.SubjectAlternativeName([x509.DNSName(name) for name in names or ["spare"]]), *extensions):
        builder = builder.add_extension(extension, critical=False)
    return pem.read_request(text(builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())))


def test_a_host_is_signed_what_it_should_have_and_nothing_else() -> None:
    (wanted,), _problems = service(name="otel")
    wanted = replace(wanted, names=("DNS:spare",))
    use = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")])
    good = request(wanted, use)
    assert judge.wrong_with_request(wanted, good, "ClickStack") == ""
    both = x509.ExtendedKeyUsage([*use, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")])
    for asked, why in (
        (request(wanted, use, names=["db"]), "it asks for other names: +DNS:spare -DNS:db"),
        (request(replace(wanted, unit="mongodb"), use), "it asks for the subject otel-collector, ClickStack, mongodb"),
        (request(wanted, both), "it asks for another use: -clientAuth"),
        (request(wanted, use, x509.BasicConstraints(True, None)), "it asks to be an authority"),
        (request(wanted, use, x509.OCSPNoCheck()), "it asks for extensions that nobody needs: 1.3.6.1.5.5.7.48.1.5"),
        (replace(good, is_signed=False), "its key did not sign it"),
    ):
        assert judge.wrong_with_request(wanted, asked, "ClickStack") == why
