"""What docker_daemon_config decides before it touches anything: daemon.json as text, what is merged into it and taken
out of it again, which engine takes which key, and how a unit starts the engine.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon import keys, service
from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.merge import (
    MISSING,
    MergeError,
    Taken,
    changed_keys,
    check_wish,
    joined,
    merge,
    wish_of,
    without,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.docker_daemon.text import (
    JsonError,
    edited,
    masked,
    parse,
    same,
)

NAMES = st.sampled_from(["icc", "ip", "log-driver", "log-opts", "labels", "max-size", "a,b", 'a"b', "ä", "", " "])
SCALARS = (
    st.booleans()
    | st.none()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=5)
FORMS: Any = st.sampled_from(
    [
        {"indent": 2},
        {"indent": 4},
        {"indent": "\t"},
        {"indent": 2, "separators": (",", ":")},
        {"indent": 2, "separators": (" ,", " : ")},
        {},
        {"separators": (",", ":")},
    ]
)
LINE_ENDS = st.sampled_from(["\n", "\r\n"])

# -- text: reading ----------------------------------------------------------------------------------------------------


@given(DOCUMENTS, FORMS)
def test_a_text_is_read_as_json_reads_it(document: dict[str, Any], form: dict[str, Any]) -> None:
    assert same(parse(json.dumps(document, **form)).data, document)


def strictly(text: str) -> Any:
    """What the json module reads, without what it takes beyond RFC 8259, and what we refuse beyond it."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _value in pairs}) < len(pairs):
            raise ValueError("a key is there twice")
        return dict(pairs)

    def no(word: str) -> None:
        raise ValueError(word)

    data = json.loads(text, object_pairs_hook=once, parse_constant=no)
    if not isinstance(data, dict):
        raise ValueError("no object")
    return data


@given(DOCUMENTS, FORMS, st.data())
def test_what_is_no_json_is_refused_and_nothing_else(document: dict[str, Any], form: Any, data: st.DataObject) -> None:
    text = json.dumps(document, **form)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 2))
    new = data.draw(st.sampled_from([*'{}[],:"\\/ \n\t0-1.eEtn#\x01', ""]))
    text = text[:at] + new + text[at + cut :]
    if not text.strip(" \t\r\n"):
        assert parse(text).data == {}
        return
    try:
        expected = strictly(text)
    except ValueError:
        with pytest.raises(JsonError):
            parse(text)
    else:
        assert same(parse(text).data, expected)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{"icc": false', (1, 14), "a comma, or }, is missing after the value of icc: the file ends here"),
        ('{\n  "icc": false\n  "ip": ""\n}', (3, 3), "a comma, or }, is missing after the value of icc"),
        ('{\n  "icc": false,\n}', (2, 15), "a comma after the last value, before }"),
        ('{"dns": ["1.1.1.1",]}', (1, 19), "a comma after the last value, before ]"),
        ('{\n  // off\n  "icc": false}', (2, 3), "JSON has no comments"),
        ('{\n  "icc": False\n}', (2, 10), "a value is missing"),
        ('{"icc" false}', (1, 8), "the colon after icc is missing"),
        ("{'icc': false}", (1, 2), "a key in double quotes, or }, is missing"),
        ('{"ip": "127.0.0.1\n}', (1, 8), "this string does not end in its line"),
        ('{"ip": "a\\x"}', (1, 8), "an escape that JSON does not know"),
        ('{"icc": 01}', (1, 10), "a comma, or }, is missing after the value of icc"),
        ('{"icc": NaN}', (1, 9), "a value is missing"),
        ("{}\n{}", (2, 1), "something after the end of the object"),
        ("[]", (1, 1), "the file holds a list"),
        ('"icc"', (1, 1), "the file holds a string"),
        ("null", (1, 1), "the file holds null"),
        ("\ufeff{}", (1, 1), "a byte order mark"),
        ('{\n  "icc": true,\n  "ip": "",\n  "icc": false\n}', (4, 3), "icc is in line 2 already"),
        ('{"log-opts": {"a": "1", "a": "2"}}', (1, 25), "a is in line 1 already"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", (1, 107), "more than 100 deep"),
    ],
)
def test_an_error_says_where_and_what(text: str, place: tuple[int, int], reason: str) -> None:
    with pytest.raises(JsonError) as refused:
        parse(text)
    assert refused.value.place == place
    assert reason in refused.value.reason


def test_the_excerpt_points_at_the_place_and_shows_no_value() -> None:
    with pytest.raises(JsonError) as refused:
        parse('{\n\t"http-proxy": "http://me:geheim@proxy" "icc": false\n}')
    line, mark = refused.value.excerpt.split("\n")
    assert "geheim" not in line
    assert "http-proxy" in line
    assert "icc" in line
    assert line[len(mark) - 1 :].startswith('"icc"')
    assert mark.startswith("\t")


@pytest.mark.parametrize(
    "line",
    [
        '{"splunk-token": "geheim',
        '{"splunk-token: "geheim"}',
        '{"splunk-token": geheim}',
        '{"splunk-token": "a\\"geheim" x',
        '{"splunk-token": "geheim": "x"}',
        '{"a": "x, "splunk-token": "geheim"}',
        '{"a": ["geheim" "x"]}',
    ],
)
def test_no_excerpt_of_a_broken_string_shows_it(line: str) -> None:
    with pytest.raises(JsonError) as refused:
        parse(line)
    assert "geheim" not in refused.value.excerpt


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (True, 1, False),
        (0, False, False),
        ([True], [1], False),
        ({"a": 0}, {"a": False}, False),
        (1, 1.0, True),
        ("1", 1, False),
        (None, False, False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ({}, [], False),
    ],
)
def test_same(one: Any, other: Any, alike: bool) -> None:
    assert same(one, other) is alike


# -- text: editing ----------------------------------------------------------------------------------------------------


@given(DOCUMENTS, FORMS, LINE_ENDS, DOCUMENTS)
def test_an_edited_text_holds_what_is_wanted(
    document: dict[str, Any], form: dict[str, Any], end: str, wanted: dict[str, Any]
) -> None:
    text = json.dumps(document, **form).replace("\n", end)
    assert same(parse(edited(text, wanted)).data, wanted)


@given(DOCUMENTS, FORMS, LINE_ENDS, DOCUMENTS)
@example({"a,b": [1, 2], "ip": "x"}, {"indent": 2}, "\n", {"a,b": [1, 2]})
def test_what_is_kept_keeps_its_form(
    document: dict[str, Any], form: dict[str, Any], end: str, wanted: dict[str, Any]
) -> None:
    text = json.dumps(document, **form).replace("\n", end)
    result = edited(text, wanted)
    kept = {member.key: member.value for member in parse(result).members}
    for member in parse(text).members:
        if member.key in wanted and same(member.value.data, wanted[member.key]):
            found = kept[member.key]
            assert result[found.start : found.end] == text[member.value.start : member.value.end]
    assert edited(text, document) == text
    order = [member.key for member in parse(text).members if member.key in wanted]
    assert [key for key in kept if key in document] == order


@pytest.mark.parametrize(
    ("text", "wanted", "result"),
    [
        ("", {"icc": False}, '{\n  "icc": false\n}\n'),
        ("{}\n", {"icc": False}, '{\n  "icc": false\n}\n'),
        ("\n { } \n", {"icc": False}, '\n {\n  "icc": false\n} \n'),
        ('{"ip": ""}', {"ip": "", "icc": False}, '{"ip": "", "icc": false}'),
        ('{"ip":""}', {"ip": "::", "icc": False}, '{"ip":"::", "icc":false}'),
        (
            '{\n\t"ip": ""\n}',
            {"ip": "", "o": {"a": ["1"]}},
            '{\n\t"ip": "",\n\t"o": {\n\t\t"a": [\n\t\t\t"1"\n\t\t]\n\t}\n}',
        ),
        (
            '{\n    "dns": [ "1.1.1.1",  "9.9.9.9" ],\n    "log-opts": { "max-size": "1m" }\n}\n',
            {"dns": ["1.1.1.1", "9.9.9.9"], "log-opts": {"max-size": "1m", "max-file": "3"}},
            '{\n    "dns": [ "1.1.1.1",  "9.9.9.9" ],\n    "log-opts": { "max-size": "1m", "max-file": "3" }\n}\n',
        ),
        ('{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}', {"a": 1, "c": 3}, '{\n  "a": 1,\n  "c": 3\n}'),
        ('{\n  "a": 1,\n  "b": 2\n}', {"a": 1}, '{\n  "a": 1\n}'),
        ('{\n  "a": 1,\n  "b": 2\n}', {"b": 2}, '{\n  "b": 2\n}'),
        ('{\n  "a": 1\n}\n', {}, "{}\n"),
        ('{\n  "a": 1\n}\n', {"b": 2}, '{\n  "b": 2\n}\n'),
        ('{\r\n  "a": 1\r\n}', {"a": 1, "b": {"c": 2}}, '{\r\n  "a": 1,\r\n  "b": {\r\n    "c": 2\r\n  }\r\n}'),
        ('{\n  "n": 1e3\n}', {"n": 1000.0, "ä": "ö"}, '{\n  "n": 1e3,\n  "ä": "ö"\n}'),
    ],
)
def test_edited(text: str, wanted: dict[str, Any], result: str) -> None:
    assert edited(text, wanted) == result


def test_a_value_that_comes_back_comes_back_in_its_form() -> None:
    earlier = '{\n  "dns": [ "a" ],\n  "o": {"x": [1,2]}\n}'
    text = edited(earlier, {"dns": ["b"], "o": {"x": [3]}, "new": True})
    assert (
        edited(text, {"dns": ["a"], "o": {"x": [1, 2]}, "new": True}, earlier) == earlier[:-2] + ',\n  "new": true\n}'
    )
    assert edited("{}", {"dns": ["a"]}, earlier) == '{\n  "dns": [ "a" ]\n}'


def test_masked() -> None:
    text = '{"log-opts": {"splunk-token": "geheim\\/1"}, "registry-mirrors": ["https://me:pass@x", "y"]}'
    secrets = list(keys.secrets(parse(text).data))
    assert secrets == ["geheim/1", "pass"]
    shown = masked(text, secrets)
    assert shown == '{"log-opts": {"splunk-token": "********"}, "registry-mirrors": ["https://me:********@x", "y"]}'


# -- merging ----------------------------------------------------------------------------------------------------------

WISHES = st.recursive(
    st.booleans() | st.integers(-2, 2) | st.text(max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
WISH = st.dictionaries(NAMES, WISHES, max_size=4)


def merged(base: dict[str, Any], wish: dict[str, Any], before: Any = ()) -> tuple[dict[str, Any], list[Taken]]:
    """Merge, and store and read what was taken on the way, as two runs do."""
    try:
        document, taken = merge(base, wish, before)
    except MergeError:
        return base, []
    return document, [Taken.read(json.loads(json.dumps(place.stored()))) for place in taken]


def holds(document: Any, wish: Any) -> bool:
    """Whether all of the wish is in the document."""
    if isinstance(wish, dict):
        return isinstance(document, dict) and all(
            key in document and holds(document[key], value) for key, value in wish.items()
        )
    return same(document, wish)


@given(WISH, WISH)
def test_the_wish_is_in_it_and_taking_it_out_gives_back_what_was_there(
    base: dict[str, Any], wish: dict[str, Any]
) -> None:
    document, taken = merged(base, wish)
    assert same(without(document, taken), base)
    try:
        merge(base, wish)
    except MergeError:
        return
    assert holds(document, wish)
    assert bool(taken) is not same(document, base)


@given(WISH, WISH, WISH)
def test_a_second_wish_takes_the_place_of_the_first(base: Any, first: Any, second: Any) -> None:
    document, taken = merged(base, first)
    again, taken_again = merged(without(document, taken), first, taken)
    assert (again, taken_again) == (document, taken)
    changed, taken_then = merged(without(document, taken), second, taken)
    assert same(changed, merged(base, second)[0])
    assert same(without(changed, taken_then), base)
    # A run that was killed between the record and the file: the record knows both, the file holds the first.
    both = joined(taken, taken_then)
    assert same(without(document, both), base)
    assert same(without(changed, both), base)


@given(WISH, WISH, NAMES, WISHES)
def test_what_somebody_else_changes_stays(base: Any, wish: Any, key: str, value: Any) -> None:
    document, taken = merged(base, wish)
    if any(place.path[0] == key for place in taken):
        return
    document[key] = value
    assert same(without(document, taken), {**base, key: value})


def test_a_value_of_ours_that_somebody_changed_is_theirs() -> None:
    document, taken = merge({"icc": True, "log-opts": {"tag": "x"}}, {"icc": False, "log-opts": {"max-size": "1m"}})
    assert document == {"icc": False, "log-opts": {"tag": "x", "max-size": "1m"}}
    document["log-opts"]["max-size"] = "9m"
    assert without(document, taken) == {"icc": True, "log-opts": {"tag": "x", "max-size": "9m"}}


def test_a_map_that_we_made_stays_if_somebody_uses_it() -> None:
    document, taken = merge({}, {"log-opts": {"max-size": "1m"}})
    assert without(document, taken) == {}
    document["log-opts"]["tag"] = "x"
    assert without(document, taken) == {"log-opts": {"tag": "x"}}


def test_what_was_there_already_is_not_ours() -> None:
    assert merge({"icc": False}, {"icc": False}) == ({"icc": False}, [])
    document, taken = merge({"icc": 0}, {"icc": False})
    assert document["icc"] is False
    assert [place.previous for place in taken] == [0]


def test_null_that_was_there_is_not_the_same_as_nothing() -> None:
    _document, taken = merged({"ip": None}, {"ip": "::1"})
    assert [place.previous for place in taken] == [None]
    _document, taken = merged({}, {"ip": "::1"})
    assert [place.previous for place in taken] == [MISSING]


@pytest.mark.parametrize(
    ("base", "wish", "words"),
    [
        ({"log-opts": "x"}, {"log-opts": {"max-size": "1m"}}, "log-opts is a map in the task"),
        ({"log-opts": {"a": "1"}}, {"log-opts": ["x"]}, "log-opts is a map in the file"),
        ({"a": {"b": {}}}, {"a": {"b": 1}}, "a.b is a map in the file"),
    ],
)
def test_a_map_and_no_map_do_not_merge(base: dict[str, Any], wish: dict[str, Any], words: str) -> None:
    with pytest.raises(MergeError, match=words):
        merge(base, wish)


@pytest.mark.parametrize(
    ("base", "wish", "document"),
    [
        # the options of another driver go with it
        (
            {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://x"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "1m"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "1m"}},
        ),
        (
            {"log-driver": "syslog", "log-opts": {"syslog-address": "udp://x"}},
            {"log-driver": "local"},
            {"log-driver": "local", "log-opts": {}},
        ),
        # json-file is the driver of a file that names none
        (
            {"log-opts": {"max-file": "2"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "1m"}},
            {"log-driver": "json-file", "log-opts": {"max-file": "2", "max-size": "1m"}},
        ),
        ({"log-opts": {"max-file": "2"}}, {"log-driver": "local"}, {"log-driver": "local", "log-opts": {}}),
        ({}, {"log-driver": "local"}, {"log-driver": "local"}),
    ],
)
def test_log_opts_are_the_drivers(base: dict[str, Any], wish: dict[str, Any], document: dict[str, Any]) -> None:
    result, taken = merge(base, wish)
    assert result == document
    assert without(result, taken) == base


LIMITS = {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}


@pytest.mark.parametrize(
    ("base", "config", "wish"),
    [
        ({}, {}, LIMITS),
        ({"log-opts": {"max-size": "50m"}}, {}, {"log-driver": "json-file", "log-opts": {"max-file": "3"}}),
        ({"log-driver": "json-file"}, {}, {"log-opts": LIMITS["log-opts"]}),
        ({"log-driver": "syslog"}, {}, {}),
        ({"log-driver": "syslog", "log-opts": {"tag": "x"}}, {}, {}),
        ({"log-driver": "syslog"}, {"log-driver": "json-file"}, LIMITS),
        ({}, {"log-driver": "journald"}, {"log-driver": "journald"}),
        (
            {},
            {"log-opts": {"max-size": "1m"}},
            {"log-driver": "json-file", "log-opts": {"max-size": "1m", "max-file": "3"}},
        ),
        (LIMITS, {}, {}),
    ],
)
def test_defaults_give_way(base: dict[str, Any], config: dict[str, Any], wish: dict[str, Any]) -> None:
    assert wish_of(base, config, LIMITS) == wish


def test_null_is_refused_with_its_place() -> None:
    check_wish({"log-opts": {}, "dns": []}, "config")
    with pytest.raises(MergeError, match=r"config\.log-opts\.tag is null"):
        check_wish({"log-opts": {"tag": None}}, "config")
    with pytest.raises(MergeError, match=r"defaults\.dns\[1\] is null"):
        check_wish({"dns": ["1.1.1.1", None]}, "defaults")


def test_changed_keys() -> None:
    assert changed_keys({"a": 1, "b": True, "c": {}}, {"a": 1, "b": 1, "d": None}) == {"b", "c", "d"}


# -- keys -------------------------------------------------------------------------------------------------------------

ENGINES = ("20.10.24", "23.0.6", "24.0.9", "25.0.6", "26.1.5", "27.5.1", "28.0.0", "28.5.2", "29.0.0")


@pytest.mark.parametrize(
    ("document", "refusing"),
    [
        ({"icc": False, "live-restore": True, "ip": "127.0.0.1", "log-opts": {}, "nonsense": 1}, ()),
        ({"default-network-opts": {}}, ("20.10.24", "23.0.6")),
        ({"ip6tables": True}, ("20.10.24", "23.0.6", "24.0.9", "25.0.6", "26.1.5")),
        ({"ip6tables": True, "experimental": True}, ()),
        ({"ip6tables": True, "experimental": False}, ("20.10.24", "23.0.6", "24.0.9", "25.0.6", "26.1.5")),
        ({"ip6tables": False}, ()),
        ({"seccomp-profile": "builtin"}, ("20.10.24",)),
        ({"seccomp-profile": "/etc/docker/seccomp.json"}, ()),
        ({"proxies": {}}, ("20.10.24",)),
        ({"log-format": "json"}, ("20.10.24", "23.0.6", "24.0.9")),
        ({"allow-direct-routing": True}, ENGINES[:7]),
        ({"ip-forward-no-drop": True}, ENGINES[:6]),
        ({"firewall-backend": "nftables"}, ENGINES[:8]),
        ({"graph": "/x"}, ENGINES[2:]),
        ({"oom-score-adjust": 1}, ENGINES[3:]),
        ({"userland-proxy": True}, ENGINES[3:]),
        ({"userland-proxy": True, "userland-proxy-path": "/usr/sbin/docker-proxy"}, ()),
        ({"userland-proxy": False}, ()),
    ],
)
def test_which_engine_takes_which_key(document: dict[str, Any], refusing: tuple[str, ...]) -> None:
    assert tuple(engine for engine in ENGINES if keys.refusals(document, keys.Engine(engine))) == refusing


@pytest.mark.parametrize(
    ("document", "refused"),
    [
        ({"live-restore": True}, {"live-restore"}),
        ({"live-restore": False}, set()),
        ({"firewall-backend": "nftables"}, {"firewall-backend"}),
        ({"firewall-backend": "iptables"}, set()),
    ],
)
def test_what_a_swarm_does_not_take(document: dict[str, Any], refused: set[str]) -> None:
    assert set(keys.refusals(document, keys.Engine("29.0.0", in_swarm=True))) == refused
    assert not keys.refusals(document, keys.Engine("29.0.0"))


def test_a_reason_names_the_engine_and_the_way_out() -> None:
    reason = keys.refusals({"default-network-opts": {}}, keys.Engine("20.10.24"))["default-network-opts"]
    assert reason == "Docker Engine 20.10 accepts it and ignores it; 24.0 is the first that heeds it"


@pytest.mark.parametrize(("text", "version"), [("20.10.24", (20, 10)), ("29.8.1-rc.1", (29, 8)), ("26.1", (26, 1))])
def test_versions(text: str, version: tuple[int, int]) -> None:
    assert keys.Engine(text).version == version
    assert keys.Engine(text).validates is (version >= (23, 0))


def test_no_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="'dev' is not the version of a Docker Engine"):
        assert keys.Engine("dev").version


@pytest.mark.parametrize(
    ("changed", "after", "reloaded"),
    [
        ({"live-restore", "labels"}, {"live-restore": True, "labels": []}, True),
        ({"live-restore"}, {}, False),  # taken out: the engine keeps what it has
        ({"live-restore", "icc"}, {"live-restore": True, "icc": False}, False),
        ({"live-restore"}, {"live-restore": True, "userland-proxy": True}, False),  # it refuses the file
        ({"live-restore"}, {"live-restore": True, "userland-proxy": False}, True),
    ],
)
def test_what_a_reload_brings_into_force(changed: set[str], after: dict[str, Any], reloaded: bool) -> None:
    assert keys.is_reloaded(changed, after, keys.Engine("28.5.2")) is reloaded


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"log-opts": {"max-size": "10m", "max-file": "3", "compress": "true"}}, None),
        ({"log-opts": {"max-size": "1.5 GiB"}}, None),
        ({"log-opts": {"max-size": "100"}}, None),
        ({"log-opts": {"max-size": "1q"}}, "max-size is '1q'"),
        ({"log-opts": {"max-size": "0"}}, "max-size is '0'"),
        ({"log-opts": {"max-size": "-1"}}, "max-size is '-1'"),
        ({"log-opts": {"max-size": "m"}}, "max-size is 'm'"),
        ({"log-opts": {"max-size": ""}}, "max-size is ''"),
        ({"log-opts": {"max-file": "0"}}, "max-file is '0'"),
        ({"log-opts": {"max-file": "many"}}, "max-file is 'many'"),
        ({"log-opts": {"compress": "yes"}}, "compress is 'yes'"),
        ({"log-opts": {"compress": "true"}}, "compress is true"),
        ({"log-opts": {"compress": "true", "max-file": "2"}}, "compress is true"),
        ({"log-opts": {"compress": "false"}}, None),
        ({"log-driver": "local", "log-opts": {"compress": "true"}}, None),
        ({"log-driver": "local", "log-opts": {"max-file": "1"}}, "local compresses"),
        ({"log-driver": "local", "log-opts": {"max-file": "1", "compress": "false"}}, None),
        ({"log-driver": "syslog", "log-opts": {"max-size": "1q"}}, None),
        ({"log-opts": {"max-file": 3}}, None),  # the engine refuses that itself
    ],
)
def test_bad_values_of_log_options(document: dict[str, Any], words: str | None) -> None:
    found = keys.bad_log_option(document)
    assert found is None if words is None else words in str(found)


def test_a_trial_has_places_of_its_own() -> None:
    document = {
        "hosts": ["fd://"],
        "data-root": "/srv/docker",
        "storage-driver": "zfs",
        "bridge": "br0",
        "authorization-plugins": ["x"],
        "icc": False,
        "log-driver": "loki",
        "log-opts": {"loki-url": "x"},
    }
    assert keys.for_trial(document) == {"icc": False}
    assert keys.for_trial({"bridge": "none", "log-driver": "syslog", "log-opts": {"tag": "x"}}) == {
        "bridge": "none",
        "log-driver": "syslog",
        "log-opts": {"tag": "x"},
    }
    assert keys.for_trial({"log-driver": 3}) == {"log-driver": 3}


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["-H", "fd://", "--containerd=/run/containerd/containerd.sock"], []),
        (["-Hfd://", "--icc=false", "-H=fd://", "--host", "fd://"], ["--icc=false"]),
        (["--label", "a=b", "--config-file", "/x", "-D"], ["--label", "a=b", "-D"]),
        (["--graph=/x", "-g", "/y", "-s", "zfs", "--bip", "10.0.0.1/24"], ["--bip", "10.0.0.1/24"]),
    ],
)
def test_flags_for_a_trial(flags: list[str], left: list[str]) -> None:
    assert keys.flags_for_trial(flags) == left


@pytest.mark.parametrize(
    ("document", "flags", "found"),
    [
        ({"hosts": []}, ["-H", "fd://"], [("hosts", "-H")]),
        ({"hosts": []}, ["--host=fd://"], [("hosts", "--host")]),
        ({"hosts": []}, ["-Hfd://"], [("hosts", "-Hfd://")]),
        ({"hosts": []}, ["--containerd=x", "-D"], []),
        ({"icc": False}, ["-H", "fd://"], []),
        (
            {"data-root": "/x", "containerd": ""},
            ["--containerd", "x", "-g", "/y"],
            [("containerd", "--containerd"), ("data-root", "-g")],
        ),
    ],
)
def test_what_is_said_twice(document: dict[str, Any], flags: list[str], found: list[tuple[str, str]]) -> None:
    assert keys.conflicts(document, flags) == found


def test_secrets() -> None:
    document = {
        "proxies": {"http-proxy": "http://user:pw1@proxy:3128", "no-proxy": "localhost"},
        "registry-mirrors": ["https://token2@mirror", "https://open"],
        "log-opts": {"splunk-token": "t3", "logentries-token": "", "max-size": "10m"},
        "labels": ["owner=a@b.example"],
        "icc": False,
    }
    assert list(keys.secrets(document)) == ["pw1", "token2", "t3"]


# -- the unit ---------------------------------------------------------------------------------------------------------

SHOWN = """\
ExecMainStartTimestampMonotonic={started}
ExecStart={{ path=/usr/bin/dockerd ; argv[]={command} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 }}
Environment={environment}
EnvironmentFiles=/etc/default/docker (ignore_errors=yes)
EnvironmentFiles=/etc/sysconfig/docker (ignore_errors=no)
LoadState={loaded}
ActiveState={active}
"""


def unit(command: str, files: dict[str, str] | None = None, **given: str) -> service.Service:
    shown = {"started": "77", "environment": "", "loaded": "loaded", "active": "active", **given}
    return service.read("docker.service", SHOWN.format(command=command, **shown), (files or {}).get)


def test_what_a_unit_starts() -> None:
    found = unit("/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS")
    assert found.program == "/usr/sbin/dockerd"
    assert found.flags == ["-H", "fd://", "--containerd=/run/containerd/containerd.sock"]
    assert found.started == 77
    assert found.config_file == "/etc/docker/daemon.json"


def test_variables_are_put_in_as_systemd_does() -> None:
    file = '# DOCKER_OPTS=-D\n\nDOCKER_OPTS="--icc=false --config-file /srv/d.json"\n ; DOCKER_OPTS=-D\n'
    found = unit(
        "/usr/bin/dockerd $DOCKER_OPTS --label=${NAME} $NOTHING",
        {"/etc/default/docker": file},
        environment='NAME=x "OTHER=a b"',
    )
    assert found.flags == ["--icc=false", "--config-file", "/srv/d.json", "--label=x"]
    assert found.config_file == "/srv/d.json"
    assert found.flags_without_file == ["--icc=false", "--label=x"]


def test_the_later_file_wins() -> None:
    files = {"/etc/default/docker": "A=--old", "/etc/sysconfig/docker": "A=--config-file=/x"}
    found = unit("/usr/bin/dockerd $A", files, environment="A=--oldest")
    assert found.config_file == "/x"
    assert found.flags_without_file == []


@pytest.mark.parametrize("given", [{"active": "inactive"}, {"active": "failed"}, {"started": "0"}])
def test_no_engine_runs(given: dict[str, str]) -> None:
    assert unit("/usr/bin/dockerd", **given).started is None


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("LoadState=not-found\nExecStart=\n", "install the Docker Engine first"),
        ("LoadState=masked\n", "install the Docker Engine first"),
        ("LoadState=loaded\nExecStart=\n", "starts no program"),
        ("", "no docker.service"),
    ],
)
def test_a_unit_that_starts_no_engine_is_refused(shown: str, words: str) -> None:
    with pytest.raises(service.ServiceError, match=words):
        service.read("docker.service", shown, {}.get)
