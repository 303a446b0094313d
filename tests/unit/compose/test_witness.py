"""Docker Compose as a witness: what it says that we do not is told, and values of variables are not."""

from __future__ import annotations

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from tests.unit.compose.support import Folder

TEXT = "services:\n  a:\n    image: x\n    ports: ['1:1', '[0:0::1]:2:2/udp']\n    cpus: ${CPUS}\n"


def test_a_difference_is_told(folder: Folder, version: str) -> None:
    folder.first = {"CPUS": "1"}
    folder.write({"compose.yml": TEXT})
    compose, exposed = folder.compose(version), folder.exposed()
    compose.check(exposed)
    with pytest.raises(ComposeError, match=r"[(]only Docker Compose: a ::1:2:2/udp[)]; please report it"):
        compose.check(exposed[:1])
    with pytest.raises(ComposeError, match=r"[(]only this module: b :1:1/tcp[)]"):
        compose.check([*exposed, {**exposed[0], "service": "b"}])


def test_values_of_variables_are_masked(folder: Folder, version: str) -> None:
    folder.first = {"CPUS": "not a number of processors", "OTHER": "not a number"}
    folder.write({"compose.yml": TEXT})
    with pytest.raises(ComposeError, match="Docker Compose does not take the project: ") as refused:
        folder.compose(version).published()
    assert "$CPUS" in str(refused.value) and "number" not in str(refused.value)


def test_only_our_variables_count(folder: Folder, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the process, and not those of .env again."""
    monkeypatch.setenv("CPUS", "1")
    monkeypatch.setenv("COMPOSE_FILE", "elsewhere.yml")
    folder.write(
        {"compose.yml": TEXT.replace("'1:1'", "'${PORT:-5}:1'").replace("${CPUS}", "1${CPUS-}"), ".env": "PORT=6"}
    )
    folder.compose(version).check(folder.exposed())
    assert folder.ports()[0] == "a *:6:1/tcp"
    (folder.path / ".env").unlink()
    compose = folder.compose(version)
    (folder.path / ".env").write_text("PORT=7\n")
    assert ("a", 1, "5", "", "tcp") in compose.published()
