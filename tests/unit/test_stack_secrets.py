"""What the module stack_secrets_files decides, without a file: kinds of secrets, what is refused, and the phases."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets import kinds, plan
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_secrets.plan import Found, Secret, Step

GOOD = "a good password of 30 letters "[:29]
OLD, NEW = "old-old-old-old-old", "new-new-new-new-new"
SECRET = Secret("name", "text", 32, 101, 101)


def found(*files: str, **contents: str) -> dict[str, Found]:
    """Files that are as they shall be; `next_` and `previous` say what is in them."""
    texts = {
        "name": OLD,
        "name.next": NEW,
        "name.previous": OLD,
        **{key.replace("_", "."): text for key, text in contents.items()},
    }
    return {file: Found("", texts[file], 101, 101, 0o400) for file in files}


# -- kinds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [22, 32, 64])
def test_a_random_text_means_itself_everywhere_and_keeps_the_usual_rules(size: int) -> None:
    texts = {kinds.KINDS["text"].make(size) for _index in range(200)}
    assert len(texts) == 200
    for text in texts:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", text) and len(text) == size
        assert re.search("[a-z]", text) and re.search("[A-Z]", text) and re.search("[0-9]", text)
        # stack_clickhouse_password_complexity_rules
        assert re.search(".{16}", text) and not kinds.wrong("text", text, size, 16)


@pytest.mark.parametrize("size", [23, 32])
def test_a_random_password_has_a_special_character_too(size: int) -> None:
    password = kinds.KINDS["password"].make(size)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*\.[A-Za-z0-9]+", password) and len(password) == size
    assert re.search("[a-z]", password) and re.search("[A-Z]", password) and re.search("[0-9]", password)
    assert not kinds.wrong("password", password, size, 16)


def test_a_random_key_has_the_form_its_reader_wants() -> None:
    key = kinds.KINDS["hex"].make(32)
    assert re.fullmatch("[0-9a-f]{64}", key) and not kinds.wrong("hex", key, 32, 16)
    keyfile = kinds.KINDS["base64"].make(756)
    lines = keyfile.splitlines()
    # MongoDB reads 6 to 1024 characters; openssl writes 64 in a line
    assert [len(line) for line in lines] == [64] * 15 + [48] and sum(map(len, lines)) == 1008
    assert keyfile.endswith("\n") and not kinds.wrong("base64", keyfile, 756, 16)
    assert kinds.KINDS["base64"].make(756) != keyfile


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("text", "", "is empty"),
        ("text", "\n", "is empty"),
        ("text", "too short", "has 9 characters, and at least 16 are wanted"),
        ("text", f"{GOOD}\n{GOOD}", "more than one line"),
        ("text", f"{GOOD}\t", "cannot be printed"),
        ("text", f"{GOOD}\udcff", "cannot be printed"),
        ("text", f" {GOOD}", "begins or ends with a space"),
        ("hex", "g" * 64, "no hexadecimal digits"),
        ("hex", "a" * 63, "has 63 hexadecimal digits, and 64 are wanted"),
        ("base64", "not base64 !", "is not base64"),
        ("base64", "abc", "is not base64, or not all of it"),
        ("base64", "abcd", "has 4 characters of base64, and 16 to 1024 are wanted"),
        ("base64", "abcd" * 257, "has 1028 characters of base64"),
    ],
)
def test_what_cannot_be_a_secret_says_why(kind: str, value: str, reason: str) -> None:
    assert reason in kinds.wrong(kind, value, 32, 16)


def test_the_same_secret_in_another_spelling_is_the_same() -> None:
    assert kinds.is_same("text", "abc\n", "abc") and not kinds.is_same("text", "abc", "ABC")
    assert kinds.is_same("hex", "ABCD\n", "abcd") and kinds.is_same("base64", "ab\ncd\n", "abcd")
    assert not kinds.is_same("text", "abc\udcff", "abc")


# -- what is declared -----------------------------------------------------------------------------------------------


def problems(entries: dict[str, Any], **values: Any) -> str:
    secrets, wrong = plan.declared(entries, values, 32)
    return "\n".join([*wrong, *plan.wrong_values(secrets, 16)])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, "its owner must be a number"),
        (
            {"owner": "clickhouse"},
            "its owner must be a number from 0 to 4294967294, because only the image knows names",
        ),
        ({"owner": True}, "its owner must be a number"),
        ({"owner": -1}, "its owner must be a number"),
        ({"owner": 2**32 - 1}, "its owner must be a number"),
        ({"owner": 1, "group": "adm"}, "its group must be a number"),
        ({"owner": 1, "kind": "uuid"}, "its kind 'uuid' is none of text, password, hex, base64"),
        ({"owner": 1, "size": 21}, "its size 21 is no number from 22 characters on"),
        ({"owner": 1, "kind": "hex", "size": 15}, "its size 15 is no number from 16 bytes on"),
        ({"owner": 1, "size": 5000}, "more than 4096"),
        ({"owner": 1, "length": 20}, "it has no 'length'"),
        ("101", "say a dictionary with `owner`"),
    ],
)
def test_a_wrong_declaration_is_named(entry: Any, reason: str) -> None:
    assert re.search(f"^name: .*{re.escape(reason)}", problems({"name": entry}), re.MULTILINE)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "two words", "x.next", "x.previous", "x" * 201])
def test_a_name_that_is_no_file_of_the_directory_is_refused(name: str) -> None:
    assert "name" in problems({name: {"owner": 1}})


def test_all_that_is_wrong_is_said_at_once_and_no_value_is() -> None:
    said = problems(
        {"one": {"owner": 1}, "two": {"owner": "x"}, "three": {"owner": 1, "kind": "hex", "size": 16}},
        one="secret\nsecret",
        three="secret",
        four="secret",
        two=7,
    )
    assert len(said.splitlines()) == 5 and "secret\n" not in said and "four: a value is declared" in said
    assert "two: the declared value is a int, not a text" in said and "'secret" not in said


def test_numbers_may_come_as_text() -> None:
    (secret,), wrong = plan.declared({"name": {"owner": "101", "size": "24"}}, {}, 32)
    assert (wrong, secret) == ([], Secret("name", "text", 24, 101, 101))


# -- what is there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"name": Found("", "")}, "it is empty, as if somebody's writing had been cut off"),
        ({"name": Found("", "half")}, "it has 4 characters, and at least 16 are wanted"),
        ({"name": Found("this is a link, and not a file")}, "/d/name: this is a link, and not a file. Move it away"),
        ({"name.next": Found("", NEW)}, "it is missing, and name.next is there"),
        ({"name.previous": Found("", NEW)}, "it is missing, and name.previous is there"),
        ({"name": Found("", OLD), "name.next": Found("", "")}, "/d/name.next: it is empty"),
    ],
)
def test_a_file_that_cannot_be_right_is_named_and_not_overwritten(files: dict[str, Found], reason: str) -> None:
    (said,) = plan.wrong_files([SECRET], files, "/d", 16)
    assert reason in said


def steps(phase: str, files: dict[str, Found], value: str | None = None, fixed: str = "") -> tuple[list[Step], str]:
    secret = Secret("name", "text", 32, 101, 101, value, fixed)
    done, wrong = plan.plan(phase, [secret], files, "/d")
    return done, " ".join(wrong)


def actions(phase: str, files: dict[str, Found], value: str | None = None) -> list[tuple[str, str]]:
    done, wrong = steps(phase, files, value)
    assert not wrong
    return [(step.action, step.file) for step in done]


def test_what_is_missing_is_made_and_what_is_there_is_kept() -> None:
    assert actions("present", {}) == [("make", "name")]
    assert steps("present", {}, NEW)[0][0].value == NEW
    assert actions("present", found("name")) == [] == actions("present", found("name"), OLD + "\n")
    others = {"name": Found("", OLD, 0, 101, 0o400), "name.next": Found("", NEW, 101, 101, 0o440)}
    assert actions("present", others) == [("mend", "name"), ("mend", "name.next")]


def test_another_declared_value_is_a_rotation() -> None:
    assert "Rotate it (" in steps("present", found("name"), NEW)[1]
    assert "It cannot be rotated: it is the disk's." in steps("present", found("name"), NEW, "it is the disk's.")[1]
    assert actions("present", found("name", "name.next"), NEW) == []
    assert (
        "another one than that in the file"
        in steps("present", found("name", "name.next"), "a third a third a third")[1]
    )


@pytest.mark.parametrize(
    ("phase", "files", "expected"),
    [
        ("stage", ["name"], [("make", "name.next")]),
        ("stage", ["name", "name.next"], []),
        ("stage", ["name", "name.previous"], []),
        ("stage", ["name", "name.next", "name.previous"], []),
        ("promote", ["name", "name.next"], [("keep", "name.previous"), ("promote", "name")]),
        ("promote", ["name", "name.next", "name.previous"], [("promote", "name")]),
        ("promote", ["name", "name.previous"], []),
        ("retire", ["name", "name.previous"], [("remove", "name.previous")]),
        ("retire", ["name"], []),
    ],
)
def test_each_phase_goes_on_where_it_was(phase: str, files: list[str], expected: list[tuple[str, str]]) -> None:
    assert actions(phase, found(*files)) == expected


@pytest.mark.parametrize(
    ("phase", "files", "reason"),
    [
        ("stage", found(), "there is nothing to rotate"),
        ("promote", found("name"), "Run the phase `stage` before `promote`"),
        (
            "promote",
            {**found("name", "name.next"), **found("name.previous", name_previous=NEW * 2)},
            "is not what is in use",
        ),
        ("retire", found("name", "name.next"), "Run the phase `promote` before `retire`"),
    ],
)
def test_a_phase_out_of_order_is_refused(phase: str, files: dict[str, Found], reason: str) -> None:
    done, wrong = steps(phase, files)
    assert reason in wrong and not done


def test_what_cannot_be_rotated_says_why() -> None:
    for phase in ("stage", "promote", "retire"):
        assert steps(phase, found("name"), fixed="it is the disk's.") == (
            [],
            "name: it cannot be rotated: it is the disk's.",
        )


def test_a_declared_value_is_staged() -> None:
    assert actions("stage", found("name"), NEW) == [("make", "name.next")]
    assert actions("stage", found("name", "name.next"), NEW) == []
    # nobody uses it yet
    assert (
        steps("stage", found("name", "name.next"), "a third a third a third")[0][0].value == "a third a third a third"
    )
    assert "is the one that is in use" in steps("stage", found("name"), OLD)[1]
    assert "its last rotation has not ended" in steps("stage", found("name", "name.previous"), NEW)[1]


def test_a_rotation_ends_from_wherever_it_stopped() -> None:
    """After any part of the steps, all phases in order lead to the new secret alone; it was there at every moment."""
    whole = [("stage", step) for step in steps("stage", found("name"), NEW)[0]]
    whole += [("promote", step) for step in steps("promote", found("name", "name.next"), NEW)[0]]
    whole += [("retire", step) for step in steps("retire", found("name", "name.previous", name=NEW), NEW)[0]]
    assert [step.action for _phase, step in whole] == ["make", "keep", "promote", "remove"]
    for stop in range(len(whole)):
        files = {"name": OLD}
        for _phase, step in whole[:stop]:
            files = after(files, step)
        for phase in ("stage", "promote", "retire"):
            there = {file: Found("", text, 101, 101, 0o400) for file, text in files.items()}
            done, wrong = steps(phase, there, NEW if files["name"] == OLD else None)
            assert not wrong
            for step in done:
                files = after(files, step)
                assert files["name"] in (OLD, NEW)
        assert files == {"name": NEW}


def after(files: dict[str, str], step: Step) -> dict[str, str]:
    """The files' content after a step, as the module carries it out."""
    files = dict(files)
    if step.action == "make":
        assert step.value is not None
        files[step.file] = step.value
    elif step.action == "keep":
        files[step.file] = files["name"]
    elif step.action == "promote":
        files["name"] = files.pop("name.next")
    elif step.action == "remove":
        del files[step.file]
    assert plan.after(files, [step]) == set(files)
    return files


def test_the_state_of_a_rotation_is_read_off_the_files() -> None:
    states = {(): "none", (".next",): "staged", (".previous",): "promoted", (".next", ".previous"): "staged"}
    for ends in itertools.chain.from_iterable(
        itertools.combinations((".next", ".previous"), size) for size in range(3)
    ):
        assert plan.rotation(SECRET, ["name", *(f"name{end}" for end in ends)]) == states[ends]


def test_a_diff_names_files_owners_and_modes_alone() -> None:
    there = {**found("name"), "name.next": Found("", NEW, 0, 0, 0o644)}
    secret = Secret("name", "text", 32, 101, 101)
    done, _wrong = plan.plan("promote", [secret], there, "/d")
    before, later = plan.described(secret, there, done)
    assert before == "name: owner 101, group 101, mode 0400\nname.next: owner 0, group 0, mode 0644\n"
    assert later == (
        "name: owner 101, group 101, mode 0400, from name.next\nname.previous: owner 101, group 101, mode 0400\n"
    )


def test_no_value_is_in_what_is_printed() -> None:
    secret = Secret("name", "text", 32, 101, 101, NEW)
    assert NEW not in repr([secret, Step("make", "name", secret, NEW), Found("", NEW)])
