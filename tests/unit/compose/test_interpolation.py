"""Variables and .env files, held against Docker Compose itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.interpolation import (
    VariableError,
    env_file,
    interpolate,
)
from tests.unit.compose.support import command

VARIABLES = {"A": "a", "B": "b2", "EMPTY": "", "_x1": "under"}
TEMPLATES = {
    "": "",
    "plain": "plain",
    "$A": "a",
    "${A}": "a",
    "$A$B": "ab2",
    "$Ax-${_x1}": "-under",
    "$$A": "$A",
    "$$$A": "$a",
    "a$": "a$",
    "$5": "$5",
    "${A:-d}": "a",
    "${EMPTY:-d}": "d",
    "${NONE:-d}": "d",
    "${A-d}": "a",
    "${EMPTY-d}": "",
    "${NONE-d}": "d",
    "${NONE:-}": "",
    "${A:?e}": "a",
    "${EMPTY?e}": "",
    "${A:+r}": "r",
    "${EMPTY:+r}": "",
    "${NONE:+r}": "",
    "${EMPTY+r}": "r",
    "${NONE+r}": "",
    "${NONE:-$A}": "a",
    "${NONE:-${A}}": "a",
    "${NONE:-${EMPTY:-${B:-x}}}": "b2",
    "${NONE:-x${A}y}z": "xayz",
    "${NONE:-{a\\}}b": "{a\\}b",
    "${NONE:-a:-b}": "a:-b",
    "${NONE-a:-b}": "a:-b",
    "${NONE:-http://x:80/?a=b-c+d}": "http://x:80/?a=b-c+d",
    "${A:-${NONE}}": "a",
    "x${NONE:-1}y${NONE:-2}z": "x1y2z",
    "${NONE:-$$A}": "$A",
    "${A:+${B}}": "b2",
}


def labels(version: str, folder: Path, values: dict[str, str], env: dict[str, str]) -> dict[str, str]:
    """What Docker Compose makes of these texts, as labels of a service."""
    compose = {"services": {"s": {"image": "x", "labels": values}}}
    (folder / "compose.yml").write_text(json.dumps(compose))
    answer = subprocess.run(
        [command(version), "--project-directory", str(folder), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    found = json.loads(answer.stdout)["services"]["s"]["labels"]
    return {name: value.replace("$$", "$") for name, value in found.items()}


def test_templates_become_what_docker_compose_makes_of_them(tmp_path: Path, version: str) -> None:
    values = {f"l{index}": template for index, template in enumerate(TEMPLATES)}
    theirs = labels(version, tmp_path, values, VARIABLES)
    assert [theirs[name] for name in values] == list(TEMPLATES.values())
    assert [interpolate(template, VARIABLES, strict=False) for template in TEMPLATES] == list(TEMPLATES.values())


@pytest.mark.parametrize("template", ["$NONE", "${NONE}", "${EMPTY}", "x${NONE:-$EMPTY}"])
def test_a_variable_without_value_is_an_error_unless_the_text_gives_one(template: str) -> None:
    with pytest.raises(VariableError, match=r"^the variable (NONE|EMPTY) has no value$"):
        interpolate(template, VARIABLES)
    assert interpolate(template, VARIABLES, strict=False) in ("", "x")


@pytest.mark.parametrize("template", ["${NONE:?}", "${NONE:?say it}", "${EMPTY:?say it}", "${NONE?say $A}"])
def test_a_variable_that_must_have_a_value(template: str) -> None:
    with pytest.raises(VariableError, match=r"^the variable (NONE|EMPTY) has no value"):
        interpolate(template, VARIABLES, strict=False)


@pytest.mark.parametrize("template", ["${", "${A", "${NONE:-${A}", "${}", "${5}", "${A!b}", "${ A}"])
def test_what_is_no_template_is_refused_without_its_text(template: str) -> None:
    with pytest.raises(VariableError, match=r"^a [$]{ (has no closing brace|is not followed by the name of)"):
        interpolate(template, {})


ENV_FILE = r"""
# a comment
V0=plain
V1 = spaced value
export V2=exported
V3=with # comment
V4=with#hash
V5='single $V0 # "x" \n it\'s'
V6="double $V0 # \"x\" \n\ttab \\ \$V0 $$V0"
V7=${V0}-${KNOWN}
V8=${NONE:-fallback}
V9=
V10=""
V11='several
lines'
V12: yaml-style
KNOWN_INHERITED
V13=  leading
V14=trailing   
V15=a=b
V16="a" # comment
V17=# hash
V18='$V0'
V0=again
V19=$V0
V20="\q \101 \0101"
  V21=indented
V.22=dots
KNOWN=of the file
V23=$KNOWN
V24=no newline at the end"""  # noqa: W291


def test_env_files_say_what_docker_compose_reads_in_them(tmp_path: Path, version: str) -> None:
    known = {"KNOWN": "known", "KNOWN_INHERITED": "inherited"}
    (tmp_path / ".env").write_text(ENV_FILE)
    names = [*(f"V{index}" for index in range(25) if index != 22), *known]
    theirs = labels(version, tmp_path, {name: f"${{{name}-unset}}" for name in names}, known)
    own = {**env_file(ENV_FILE, known), **known}
    assert {name: own.get(name, "unset") for name in names} == theirs
    assert own["V0"] == "again" and own["V11"] == "several\nlines"


def test_env_files_with_windows_line_breaks_and_a_byte_order_mark() -> None:
    assert env_file("\ufeffA=1\r\n# c\r\nB='2'\r\n", {}) == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\n=2\n", 2), ("A=1\n\n# x\nB='open\n", 4), ('A="open', 1), ("a secret\n", 1), ("A=1\nB C=2\n", 2)],
)
def test_broken_env_files_are_refused_with_their_line_and_without_values(text: str, line: int) -> None:
    with pytest.raises(VariableError, match=f"^line {line}: ") as refused:
        env_file(text, {})
    assert "secret" not in str(refused.value) and "open" not in str(refused.value)
