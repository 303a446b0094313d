"""stack_clickhouse: what is refused before anything is changed, what a killed run leaves, and what a run says.

The role writes files with its defaults; its module then runs in this process on copies of them in which something is
wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_clickhouse import tree
from ansible_collections.hardened.clickstack.plugins.modules import stack_clickhouse_config
from tests.sandbox.certificates import Authority

from .servers import NEWEST, VERSIONS
from .test_stack_clickhouse import PASSWORD, SECRETS, USER, Site

Json = dict[str, Any]
pytestmark = pytest.mark.skipif(NEWEST not in VERSIONS, reason="needs no server, so it runs once: with the newest")


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The files that the role writes with its defaults."""
    site = Site(tmp_path_factory.mktemp("refused"))
    site.converge()
    return site


class Module:
    """stack_clickhouse_config on a copy of what the role wrote."""

    def __init__(self, converged: Site, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        shutil.copytree(converged.etc, folder / "etc")
        shutil.copytree(converged.tls, folder / "tls")
        for name in SECRETS:
            shutil.copy2(converged.folder / name, folder / name)
        self.etc = folder / "etc"
        self.options: Json = {
            "directory": str(self.etc),
            "files": {
                f"{path.parent.name}/{path.name}": path.read_text() for path in sorted(self.etc.glob("*.d/hardened-*"))
            },
            "owner": os.getuid(),
            "group": os.getgid(),
            "digests": {"@bootstrap-password@": str(folder / "password")},
            "keys": [{"path": str(folder / "disk"), "bytes": 32}, {"path": str(folder / "collections"), "bytes": 16}],
            "certificates": {
                "certificate": str(folder / "tls/tls.crt"),
                "key": str(folder / "tls/tls.key"),
                "authority": str(folder / "tls/ca.crt"),
            },
        }

    def run(self, check: bool = False) -> Json:
        """Run it and return what it says."""
        self._capsys.readouterr()
        arguments = {**self.options, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            stack_clickhouse_config.main()
        result: Json = json.loads(self._capsys.readouterr().out)
        return result

    def write(self, path: str, content: str, mode: int = 0o400) -> None:
        """Put a file there, as an administrator does."""
        file = self.folder / path
        file.unlink(missing_ok=True)
        file.write_text(content)
        file.chmod(mode)

    def site(self, content: str, folder: str = "config.d") -> None:
        """Put a file of the site's own beside those of the role."""
        self.write(f"etc/{folder}/site.xml", f"<clickhouse>\n{content}\n</clickhouse>\n")

    def state(self) -> dict[str, tuple[int, bytes]]:
        """All files with the time of their last change."""
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in self.etc.rglob("*") if path.is_file()
        }


@pytest.fixture
def module(converged: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Module:
    return Module(converged, tmp_path, capsys)


def other_key(module: Module) -> None:
    shutil.copy(Authority(module.folder / "other").server()[1], module.folder / "tls/tls.key")


WRONG: dict[str, tuple[Callable[[Module], Any], str]] = {
    "XML that is cut off": (
        lambda m: m.write("etc/config.d/site.xml", "<clickhouse>\n<a>"),
        "config.d/site.xml:2: this is",
    ),
    "another root": (
        lambda m: m.write("etc/config.d/site.xml", "<config/>"),
        "site.xml:1: the root element is",
    ),
    "a port twice": (
        lambda m: m.site("<mysql_port>1111</mysql_port>\n<postgresql_port>1111</postgresql_port>"),
        "site.xml:3: the port 1111 of <postgresql_port> is already taken by <mysql_port> (config.d/site.xml:2)",
    ),
    "no port": (lambda m: m.site("<tcp_port>0</tcp_port>"), "site.xml:2: <tcp_port> is 0, which is not a port"),
    "a pattern of Perl's": (
        lambda m: m.site(
            "<password_complexity><rule><pattern>(?=a)</pattern></rule></password_complexity>",
        ),
        "site.xml:2: the regular expression (?=a) cannot be used: RE2",
    ),
    "half a pattern": (
        lambda m: m.site("<query_masking_rules><rule><regexp>(</regexp></rule></query_masking_rules>"),
        "the regular expression ( cannot be used: missing )",
    ),
    "a disk before the one it lies on": (
        lambda m: m.site("<storage_configuration><disks><a><disk>b</disk></a></disks></storage_configuration>"),
        "site.xml:2: the disk a lies on b, which must be described before it",
    ),
    "a disk that is not there": (
        lambda m: m.site(
            "<storage_configuration><policies><a><volumes><v><disk>b</disk></v></volumes></a></policies></storage_configuration>"
        ),
        "site.xml:2: there is no disk b; there are: default, encrypted",
    ),
    "an LDAP server that is not there": (
        lambda m: m.site("<user_directories><ldap><server>corp</server></ldap></user_directories>"),
        "site.xml:2: <ldap> names the server corp, which is not in <ldap_servers>",
    ),
    "an LDAP server without a host": (
        lambda m: m.site("<ldap_servers><corp><port>636</port></corp></ldap_servers>"),
        "<corp> in <ldap_servers> has no <host>",
    ),
    "two kinds of Kerberos": (
        lambda m: m.site("<kerberos><realm>A</realm><principal>b</principal></kerberos>"),
        "<kerberos> takes a realm or a principal, not both",
    ),
    "a user with a plain password": (
        lambda m: m.site("<users><u><password>x</password></u></users>", "users.d"),
        "the user u has <password>, but allow_plaintext_password is 0",
    ),
    "a user with two ways in": (
        lambda m: m.site("<users><u><kerberos/><password_sha256_hex>00</password_sha256_hex></u></users>", "users.d"),
        "the user u has <kerberos> and <password_sha256_hex>",
    ),
    "a user with no way in": (
        lambda m: m.site("<users><u><profile>default</profile></u></users>", "users.d"),
        "the user u has no way to log in",
    ),
    "a network that is none": (
        lambda m: m.site(f"<users><{USER}><networks><ip>10.0.0.0/40</ip></networks></{USER}></users>", "users.d"),
        "<ip> is 10.0.0.0/40, which is neither an address nor a network",
    ),
    "a short password": (lambda m: m.write("password", "short"), "breaks a rule of yours; it should be at least 16"),
    "a missing password": (lambda m: (m.folder / "password").unlink(), "password: No such file or directory"),
    "an empty password": (lambda m: m.write("password", "\n"), "there is nothing in the first line"),
    "a short key": (
        lambda m: m.write("disk", "ab" * 16),
        "has 32 hexadecimal digits, but its algorithm wants 64",
    ),
    "a key of words": (lambda m: m.write("disk", "words"), "the key must be hexadecimal digits"),
    "a key for everybody": (lambda m: m.write("disk", "ab" * 32, 0o444), "everybody can read it (mode 0444)"),
    "a missing certificate": (lambda m: (m.folder / "tls/tls.crt").unlink(), "tls.crt: No such file or directory"),
    "an empty certificate": (lambda m: m.write("tls/tls.crt", ""), "tls.crt: the file is empty"),
    "a certificate that is none": (lambda m: m.write("tls/tls.crt", "words"), "cannot be used together"),
    "the key of another": (other_key, "cannot be used together: key values mismatch"),
    "an authority that is none": (lambda m: m.write("tls/ca.crt", "words"), "not an authority's certificate in PEM"),
    "another user": (lambda m: m.options.update(owner=101, group=101), "the user 101 of ClickHouse cannot read it"),
    "a program that is none": (
        lambda m: m.options.update(program=["false"]),
        "did not say which settings it has (exit 1",
    ),
    "a judge that refuses": (
        lambda m: m.options.update(validate=["sh", "-c", 'test ! -e "$0/config.d/hardened-tls.xml"', "{}"]),
        "stack_clickhouse_validate_command exits with 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_would_not_work_is_refused_and_nothing_is_changed(module: Module, case: str) -> None:
    spoil, message = WRONG[case]
    assert module.run()["changed"] is False
    # there would be something to do
    module.options["files"]["config.d/hardened-crash-reports.xml"] += "<!-- another -->"
    spoil(module)
    before = module.state()
    for check in (True, False):
        result = module.run(check)
        assert result.get("failed") and message in result["msg"], result
        assert "Nothing was changed" in result["msg"] and len(result["problems"]) == 1
    assert module.state() == before


def test_settings_that_do_not_exist_are_refused(module: Module, converged: Site) -> None:
    module.options["program"] = converged.tool("25.8")
    assert module.run()["changed"] is False
    limits = module.options["files"]
    limits["config.d/hardened-limits.xml"] = "<clickhouse><max_conections>1</max_conections></clickhouse>"
    limits["users.d/hardened-limits.xml"] = (
        "<clickhouse><profiles><default><max_memory_usag>1</max_memory_usag><hyperdx_a>1</hyperdx_a>"
        "<constraints><max_thread><max>1</max></max_thread></constraints></default></profiles></clickhouse>"
    )
    module.site("<max_memory_usage>1</max_memory_usage>")
    before = module.state()
    assert module.run()["problems"] == [
        "users.d/hardened-limits.xml:1: ClickHouse 25.8.2.1 has no setting max_memory_usag (see system.settings)."
        " Is max_memory_usage meant?",
        "users.d/hardened-limits.xml:1: ClickHouse 25.8.2.1 has no setting max_thread (see system.settings)."
        " Is max_threads meant?",
        "config.d/hardened-limits.xml:1: ClickHouse 25.8.2.1 has no server setting max_conections"
        " (see system.server_settings). Is max_connections meant?",
        "config.d/site.xml:2: max_memory_usage is a setting of users; it belongs in users.d, in a profile.",
    ]
    assert module.state() == before


def test_a_killed_run_is_finished_by_the_next(module: Module) -> None:
    wanted = module.state()
    module.write("etc/config.d/.hardened-tls.xml.new", "<clickhouse><htt")
    module.write("etc/config.d/hardened-tls.xml", "<clickhouse/>")
    (module.etc / "users.d/hardened-default-user.xml").unlink()
    module.write("etc/users.d/hardened-gone.xml", "<clickhouse/>")
    predicted, done = module.run(check=True), module.run()
    assert predicted == done and done["changed"]
    assert done["written"] == ["config.d/hardened-tls.xml", "users.d/hardened-default-user.xml"]
    assert done["removed"] == ["users.d/hardened-gone.xml"]
    assert {path: text for path, (_time, text) in module.state().items()} == {
        path: text for path, (_time, text) in wanted.items()
    }
    assert module.run()["changed"] is False


def test_owner_and_mode_are_kept(module: Module) -> None:
    file = module.etc / "config.d/hardened-tls.xml"
    file.chmod(0o644)
    (module.etc / "users.d").chmod(0o755)
    assert module.run()["changed"]
    assert (file.stat().st_mode & 0o777, (module.etc / "users.d").stat().st_mode & 0o777) == (0o400, 0o500)
    assert module.run()["changed"] is False


@pytest.mark.parametrize("given", ["a file", "a hash"])
def test_no_secret_is_in_what_a_run_says(tmp_path: Path, given: str) -> None:
    site = Site(tmp_path / "site")
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    hashed = {} if given == "a file" else {"stack_clickhouse_bootstrap_password_sha256": digest}
    done = site.play("-vvv", "--diff", **hashed)
    assert done.returncode == 0 and "hardened-bootstrap.xml" in done.stdout
    assert digest in (site.etc / "users.d/hardened-bootstrap.xml").read_text()
    for secret in (digest, *SECRETS.values()):
        assert secret not in done.stdout + done.stderr


def test_variables_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    done = site.play(
        stack_clickhouse_tls=False,
        stack_clickhouse_default_user=False,
        stack_clickhouse_kerberos=True,
        stack_clickhouse_bootstrap_networks=[],
        stack_clickhouse_limits_server={"a b": 1},
    )
    assert done.returncode and not (site.etc / "config.d").exists()
    for words in ("no port at all", "empty password", "wants one of", "nobody could log in", "cannot be names", "a b"):
        assert words in done.stdout, words


# By folder: what each file says. The names are in the order in which ClickHouse merges them.
MERGED = {
    "a.xml": "<a>1</a><b><c>2</c><d>3</d></b><e><f>4</f></e><g>5</g><h x='1'>6</h><h x='2'>7</h>",
    "b.xml": "<a>10</a><b><c>20</c></b><e replace='1'><i>40</i></e><g remove='1'/><h x='2'>70</h><j remove='1'/>",
    "c.xml": "<g>500</g><b><d remove='remove'/></b>",
}


def test_files_are_merged_as_clickhouse_merges_them(converged: Site, tmp_path: Path) -> None:
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.xml").write_text("<clickhouse/>")
    roots = {}
    for name, text in MERGED.items():
        content = f"<clickhouse>{text}</clickhouse>"
        (tmp_path / "config.d" / name).write_text(content)
        roots[name] = tree.parse(name, content)
    ours = tree.merge(roots)
    for key in ("a", "b.c", "b.d", "e.f", "e.i", "g", "h", "h[1]", "j"):
        arguments = ["extract-from-config", "--config-file", tmp_path / "config.xml", "--key", key, "--try"]
        done = subprocess.run([*converged.tool("25.8"), *arguments], capture_output=True, text=True, check=False)
        name, _bracket, number = key.removesuffix("]").partition("[")
        found = ours.all(*name.split("."))[int(number or 0) :]
        assert (found[0].text if found else "") == done.stdout.strip(), key
