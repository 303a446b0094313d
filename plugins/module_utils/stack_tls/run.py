# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From Ansible tasks to certificates on a host: the only file here that knows AnsibleModule."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls import files, judge, names, pem
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.files import Blocked, Folder, Target
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.pem import Certificate, Key, Unreadable
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.wanted import Wanted, resolve

LIBRARY = (
    f"The Python library cryptography is missing for {sys.executable}. Install the package python3-cryptography of the"
    " distribution, or set ansible_python_interpreter to a Python that has it."
)
MINIMUM_PASSPHRASE = 12


class Refused(Exception):
    """Something stands in the way; the arguments are the problems."""


def _refuse(problems: Sequence[str]) -> None:
    """Raise Refused if there are problems."""
    if problems:
        raise Refused(*problems)


def _fail(module: AnsibleModule, refused: Refused) -> None:
    said = "Nothing was changed, and the certificates that were there are still there:"
    module.fail_json(msg="\n- ".join([said, *refused.args]), problems=list(refused.args))


# -- the authority, on the host that signs -------------------------------------------------------------------------


def authority(module: AnsibleModule) -> None:
    """Run the module stack_tls_authority.

    :param module: the module, with its arguments
    """
    if not pem.HAS_CRYPTOGRAPHY:
        module.fail_json(msg=LIBRARY)
    options = module.params
    found, problems = [], []
    for place, name in enumerate(dict.fromkeys(options["names"])):
        folder = Path(options["directory"]).expanduser() / name
        try:
            certificate, problem = _read_authority(folder, options["passphrase"], is_signer=place == 0)
            problems += problem
        except Unreadable as error:
            problems.append(str(error))
            continue
        except (OSError, Blocked) as error:
            problems.append(_said(error))
            continue
        if certificate and place == 0 and set(certificate.permitted) != set(options["permitted"]):
            module.warn(
                f"{folder}/ca.crt: this authority has the name constraints [{', '.join(certificate.permitted)}], not"
                f" those of stack_tls_ca_permitted. Only another authority can have those (stack_tls_ca_name)."
            )
        found.append({"name": name, "directory": str(folder), "certificate": certificate.pem if certificate else ""})
    try:
        _refuse(problems)
    except Refused as refused:
        _fail(module, refused)
    missing = [one for one in found if not one["certificate"]]
    module.exit_json(changed=False, authorities=found, missing=missing, problems=[])


def _read_authority(folder: Path, passphrase: str, is_signer: bool) -> tuple[Certificate | None, list[str]]:
    """An authority's certificate, None if it has to be made, and what is wrong with it. Raises Unreadable, OSError."""
    key_file, certificate_file = folder / "ca.key", folder / "ca.crt"
    key_text, text = files.content_of(key_file), files.content_of(certificate_file)
    problems: list[str] = []
    key = None
    if key_text is not None:
        # one that is only trusted may have another passphrase, and its key is not used
        try:
            key = pem.read_key(key_text, passphrase)
        except Unreadable as error:
            if is_signer or text is None:
                raise Unreadable(f"{key_file}: {error}. The passphrase is in stack_tls_ca_passphrase.") from error
        if key and not key.is_encrypted:
            problems.append(
                f"{key_file}: the authority's key lies there unencrypted. Encrypt it: openssl pkcs8 -topk8 -v2 aes256"
                f" -in {key_file} -out new.key, and move that over it."
            )
        elif b"Proc-Type: 4,ENCRYPTED" in key_text:
            problems.append(
                f"{key_file}: the authority's key is encrypted in OpenSSL's old form, in which a passphrase is guessed"
                f" quickly. Write it anew: openssl pkcs8 -topk8 -v2 aes256 -in {key_file} -out new.key, and move that"
                " over it."
            )
        if key_file.stat().st_mode & 0o077:
            problems.append(
                f"{key_file}: others than its owner may read the authority's key. Take that away: chmod 0400."
            )
    if text is None:
        return None, problems
    try:
        certificate = pem.read_certificates(text)[0]
    except Unreadable as error:
        raise Unreadable(f"{certificate_file}: {error}.") from error
    if is_signer and key_text is None:
        problems.append(f"{key_file}: the authority's certificate is there, but its key is not. Bring it back.")
    if key and key.public != certificate.public:
        problems.append(f"{key_file}: this key does not belong to the authority's certificate ({certificate_file}).")
    now = datetime.now(timezone.utc)
    if is_signer:
        problems += [f"{certificate_file}: {what}." for what in judge.wrong_with_authority(certificate, now)]
    return certificate, problems


def requests(module: AnsibleModule) -> None:
    """Run the module stack_tls_requests.

    :param module: the module, with its arguments
    """
    if not pem.HAS_CRYPTOGRAPHY:
        module.fail_json(msg=LIBRARY)
    options = module.params
    wanted, problems = resolve(
        options["services"], options["clients"], options["host_names"], options["container_addresses"], True
    )
    known = {one.name: one for one in wanted}
    for name, text in options["requests"].items():
        try:
            if name not in known:
                problems.append(f"{name}: nobody wants a certificate of that name.")
                continue
            wrong = judge.wrong_with_request(known[name], pem.read_request(text.encode()), options["organization"])
        except Unreadable as error:
            wrong = str(error)
        if wrong:
            problems.append(f"{name}: the host wants something else signed than it should: {wrong}.")
    if problems:
        said = "Nothing was signed. Is the host still yours?"
        module.fail_json(msg="\n- ".join([said, *problems]), problems=problems)
    signer = pem.read_certificates(options["signer"].encode())[0]
    end = min(datetime.now(timezone.utc) + timedelta(days=options["valid_days"]), signer.end)
    orders = [
        {"name": name, "csr": text, "not_after": end.strftime("%Y%m%d%H%M%SZ")}
        for name, text in options["requests"].items()
    ]
    module.exit_json(changed=False, orders=orders, problems=[])


# -- the certificates, on the host that uses them ------------------------------------------------------------------


@dataclass
class Present:
    """What a host has of a certificate: key and chain (None and empty for what is missing or cannot be read), the
    authorities beside it, and the bytes of the files.
    """

    key: Key | None = None
    chain: list[Certificate] = field(default_factory=list)
    roots: list[Certificate] = field(default_factory=list)
    key_text: bytes = b""


def certificates(module: AnsibleModule) -> None:
    """Run the module stack_tls_certificates.

    :param module: the module, with its arguments
    """
    if not pem.HAS_CRYPTOGRAPHY:
        if module.check_mode:
            module.exit_json(changed=True, library=False, wanted=[], files=[], reload=[], problems=[])
        module.fail_json(msg=LIBRARY)
    try:
        result = Host(module).run()
    except Refused as refused:
        _fail(module, refused)
    except (OSError, Blocked) as error:
        module.fail_json(msg=f"{_said(error)} What is not done yet is done by the next run.")
    module.exit_json(library=True, problems=[], **result)


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}."
    return str(error)


class Host:
    """The certificates of a host: what shall be, what is there, and the way between them."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._options: dict[str, Any] = module.params
        self._root = Path(self._options["directory"])
        self._staging = self._root / ".staging"
        self._now = datetime.now(timezone.utc)
        kind = self._options["key_type"]
        self._policy = judge.Policy(
            kind,
            "secp256r1" if kind == "ecdsa" else str(self._options["key_size"]),
            self._options["organization"],
            timedelta(days=self._options["valid_days"]),
            timedelta(days=self._options["renew_days"]),
        )
        self._signer: Certificate | None = None
        self._trusted: list[Certificate] = []
        self._problems: list[str] = []
        self._to_sign: list[dict[str, Any]] = []
        self._notes: list[str] = []

    def run(self) -> dict[str, Any]:
        """Judge, write, and return what the module says. Raises Refused before anything is changed, OSError,
        Blocked."""
        wanted = self._wanted()
        self._authorities(wanted)
        present = {one.path: self._present(one) for one in wanted}
        brought = {one.path: self._brought(one) for one in wanted if one.source == "provided"}
        for one in wanted:
            if one.source == "ca":
                self._keep_trust(one, present[one.path])
        pairs = {one.path: brought.get(one.path) or self._own(one, present[one.path]) for one in wanted}
        if self._to_sign and not self._module.check_mode:
            self._problems += [
                f"{one['name']}: nobody signed a certificate, and {one['why']}." for one in self._to_sign
            ]
        _refuse(self._problems)
        for note in self._notes:
            self._module.warn(note)

        roots = [*self._trusted]
        for one in wanted:
            if one.path in brought and not one.is_public_face:
                roots += brought[one.path].roots
        targets = [
            target
            for one in wanted
            for target in self._targets(one, pairs[one.path], [*roots, *(brought.get(one.path) or Present()).roots])
        ]
        folders = self._folders(wanted)
        stale = [target for target in targets if not files.is_file(target)]
        missing = [folder for folder in folders if not files.is_folder(folder)]
        fresh = {target.path.parent for target in stale if not files.has_content(target)}
        diff = [self._diff(target) for target in stale]
        # A service that had no certificate is not there to be told.
        told = [
            one
            for one in wanted
            if one.reload and self._folder(one) in fresh and (self._folder(one) / "tls.crt").exists()
        ]
        is_changed = bool(stale or missing or self._to_sign)
        if not self._module.check_mode:
            self._write(missing, stale, told)
            self._tidy()
        return {
            "changed": is_changed,
            "wanted": self._to_sign,
            "files": [str(target.path) for target in stale],
            "reload": [] if self._module.check_mode else self._reload(wanted),
            "diff": diff,
        }

    # -- what shall be ---------------------------------------------------------------------------------------------

    def _wanted(self) -> list[Wanted]:
        options = self._options
        wanted, problems = resolve(
            options["services"],
            options["clients"],
            options["host_names"],
            options["container_addresses"],
            options["acme_challenge"] == "dns-01",
        )
        # nothing else can be judged by entries that are wrong
        _refuse(problems)
        return wanted

    def _authorities(self, wanted: Sequence[Wanted]) -> None:
        """Our own authority, which signs, and those that are trusted besides."""
        if self._options["signer"]:
            self._signer = pem.read_certificates(self._options["signer"].encode())[0]
        texts = [self._options["signer"], *self._options["authorities"]]
        for text in filter(None, texts):
            for one in pem.read_certificates(text.encode()):
                if one.end <= self._now:
                    self._notes.append(
                        f"The authority {one.title} ended on {judge.day(one.end)}; it is left out of ca.crt."
                    )
                else:
                    self._trusted.append(one)
        if self._signer and any(one.source == "ca" for one in wanted):
            too_old = judge.wrong_with_signer(self._signer, self._policy, self._now)
            self._problems += [too_old] if too_old else judge.not_permitted(self._signer, wanted)
            self._notes += judge.warn_of_signer(self._signer, self._policy, self._now)
        elif not self._signer:
            self._problems += [
                f"{one.name}: stack_tls_ca_permitted does not take in {name.partition(':')[2]}. Correct one of them."
                for one in wanted
                if one.source == "ca"
                for name in names.outside(self._options["permitted"], one.names)
            ]

    # -- what is there ---------------------------------------------------------------------------------------------

    def _folder(self, one: Wanted) -> Path:
        return self._root / one.path

    def _present(self, one: Wanted) -> Present:
        """What is there. What cannot be read is as good as nothing: it is replaced, and nothing was there to lose."""
        folder, found = self._folder(one), Present()
        found.key_text = files.content_of(folder / "tls.key") or b""
        found.key = _key(found.key_text)
        found.chain = _chain(files.content_of(folder / "tls.crt"))
        found.roots = _chain(files.content_of(folder / "ca.crt"))
        return found

    def _keep_trust(self, one: Wanted, present: Present) -> None:
        """An authority whose certificates are in use is not replaced by accident."""
        if self._options["replace_authority"] or not present.chain or present.chain[0].end <= self._now:
            return
        above = next((root for root in present.roots if pem.is_signed_by(present.chain[0], root)), None)
        if above and above.end > self._now:
            problem = judge.not_trusted(above, self._trusted, str(self._folder(one) / "tls.crt"))
            self._problems += [problem] if problem else []

    def _own(self, one: Wanted, present: Present) -> Present:
        """The pair that will be there, of our authority or by ACME: the present one, or the one that was signed."""
        signer = self._signer if one.source == "ca" else None
        if one.name in self._options["issued"]:
            return self._signed(one, present, signer)
        why_key = judge.why_new_key(present.key, self._policy)
        why = why_key or judge.why_new_certificate(one, present.chain, present.key, signer, self._policy, self._now)
        if why:
            is_new = bool(why_key) or self._options["renew_keys"]
            self._to_sign.append(
                {
                    "name": one.name,
                    "source": one.source,
                    "why": why if present.chain or present.key_text else "there is none yet",
                    "new_key": is_new,
                    "key": str(self._staged_key(one) if is_new else self._folder(one) / "tls.key"),
                    "subject": [{"O": self._policy.organization}, {"OU": one.unit}, {"CN": one.common_name}],
                    "names": list(one.names),
                    "key_usages": [_WORDS[usage] for usage in judge.key_usages(self._policy.kind)],
                    "usages": list(one.usages),
                }
            )
        return present

    def _signed(self, one: Wanted, present: Present, signer: Certificate | None) -> Present:
        """What came back from who signs, judged as what is there is judged."""
        chain = _chain(self._options["issued"][one.name].encode())
        staged = files.content_of(self._staged_key(one)) or b""
        key = _key(staged)
        new = Present(key, chain, [], staged)
        if not (key and chain and chain[0].public == key.public):
            new = Present(present.key, chain, [], present.key_text)
        # a certificate of ACME may be shorter than our own renewal asks for
        policy = self._policy if one.source == "ca" else _without_renewal(self._policy)
        why = judge.why_new_key(new.key, policy) or judge.why_new_certificate(
            one, chain, new.key, signer, policy, self._now
        )
        if why:
            self._problems.append(f"{one.name}: what was signed is not what was asked for: {why}.")
        return new

    def _brought(self, one: Wanted) -> Present:
        """A certificate that the user brings, with its key and authority; what is wrong with it goes to the
        problems."""
        entry = next(entry for entry in self._options["services"] if entry["name"] == one.name)
        found, texts, problems = Present(), {}, []
        for what in ("certificate", "key", "authority"):
            place = entry[f"{what}_file"] or f"stack_tls_services: {what}"
            try:
                texts[what] = self._text(entry, what)
                if what == "key":
                    found.key_text = texts[what]
                    found.key = pem.read_key(texts[what])
                elif texts[what]:
                    read = pem.read_certificates(texts[what])
                    if what == "certificate":
                        found.chain = read
                    else:
                        found.roots = read
            except Unreadable as error:
                problems.append(f"{one.name}: {place}: {error}.")
            except (OSError, Blocked) as error:
                problems.append(f"{one.name}: {_said(error)}")
        if not problems and found.key:
            where = f"{one.name}: {entry['certificate_file'] or 'the certificate that was brought'}"
            wrong = judge.wrong_with_brought(one, found.chain, found.key, found.roots, self._now)
            problems += [f"{where}: {what}." for what in wrong]
            soon = judge.warn_of_brought(found.chain, found.roots, self._policy, self._now)
            self._notes += [f"{where}: {what}." for what in soon]
        self._problems += problems
        return found

    def _text(self, entry: Mapping[str, Any], what: str) -> bytes:
        """What was brought, from the variable or the file on the host. Raises Unreadable, OSError, Blocked."""
        if entry[what]:
            return str(entry[what]).strip().encode() + b"\n"
        if not entry[f"{what}_file"]:
            return b""
        path = Path(entry[f"{what}_file"])
        content = files.content_of(path)
        if content is None:
            raise Unreadable("there is no such file on the host")
        if not content.strip():
            raise Unreadable("the file is empty")
        if what == "key" and path.stat().st_mode & 0o004:
            self._notes.append(f"{path}: everybody on the host can read this key. Take that away: chmod o-r.")
        return content.strip() + b"\n"

    # -- writing ---------------------------------------------------------------------------------------------------

    def _staged_key(self, one: Wanted) -> Path:
        return self._staging / f"{one.path.replace('/', '.')}.key"

    def _marker(self, one: Wanted) -> Path:
        """Is there from before a certificate changes until its service was told."""
        return self._staging / f"{one.path.replace('/', '.')}.reload"

    def _targets(self, one: Wanted, pair: Present, roots: Sequence[Certificate]) -> Iterator[Target]:
        folder = self._folder(one)
        bundle = "".join({root.fingerprint: root.pem for root in roots}.values())
        chain = "".join(certificate.pem for certificate in pair.chain).encode()
        if any(ask["name"] == one.name for ask in self._to_sign):
            chain = b""  # not known yet
        contents = [("ca.crt", bundle.encode(), 0)]
        if chain:
            contents += [("tls.key", pair.key_text, 1), ("tls.crt", chain, 2)]
            contents += [(one.pem, pair.key_text.rstrip() + b"\n" + chain, 3)] if one.pem else []
        for name, content, order in contents:
            if content:
                yield Target(folder / name, content, one.uid, one.gid, order)

    def _folders(self, wanted: Sequence[Wanted]) -> list[Folder]:
        shared = [Folder(self._root, 0, 0o711)]
        if any(one.path.startswith("clients/") for one in wanted):
            shared.append(Folder(self._root / "clients", 0, 0o711))
        return shared + [Folder(self._folder(one), one.gid, 0o750) for one in wanted]

    def _write(self, folders: Sequence[Folder], stale: Sequence[Target], told: Sequence[Wanted]) -> None:
        for folder in folders:
            files.make_folder(folder)
        if stale:
            files.make_folder(Folder(self._staging, 0, 0o700))
        for one in told:
            self._marker(one).touch(mode=0o600)
        for target in sorted(stale, key=lambda one: (one.order > 0, one.path.parent, one.order)):
            files.write(target, self._staging)

    def _tidy(self) -> None:
        """Remove what runs left that were killed: everything that was staged, but not who must still be told."""
        if not self._staging.exists():
            return
        for left in self._staging.iterdir():
            if left.suffix != ".reload":
                left.unlink()
        if not any(self._staging.iterdir()):
            self._staging.rmdir()

    def _reload(self, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
        return [
            {"name": one.name, "command": list(one.reload)}
            for one in wanted
            if one.reload and self._marker(one).exists()
        ]

    def _diff(self, target: Target) -> dict[str, str]:
        return {
            "before_header": str(target.path),
            "after_header": str(target.path),
            "before": _shown(target.path, files.content_of(target.path)),
            "after": _shown(target.path, target.content),
        }


_WORDS = {"digital_signature": "digitalSignature", "key_encipherment": "keyEncipherment"}


def _without_renewal(policy: judge.Policy) -> judge.Policy:
    return judge.Policy(policy.kind, policy.size, policy.organization, policy.valid, timedelta(0))


def _key(content: bytes) -> Key | None:
    """A key, or None where there is none that can be read. One that is encrypted is none for a service."""
    try:
        return pem.read_key(content) if content else None
    except Unreadable:
        return None


def _chain(content: bytes | None) -> list[Certificate]:
    """Certificates, or nothing where there are none that can be read."""
    try:
        return pem.read_certificates(content) if content else []
    except Unreadable:
        return []


def _shown(path: Path, content: bytes | None) -> str:
    """What a diff shows of a file: of certificates what is in them, of keys nothing."""
    if content is None:
        return ""
    lines = [
        f"{one.title}: {one.fingerprint.hex()[:16]}, until {judge.day(one.end)}, {' '.join(sorted(one.names))}".rstrip(
            ", "
        )
        for one in _chain(content)
    ]
    if path.suffix in (".key", ".pem"):
        lines.insert(0, "(a private key)")
    return "\n".join(lines) + "\n"
