"""The order and the sharing of many statements: whatever the changes, each entity meets its own in their order."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import access, plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Change, Wish
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import TYPES
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Phase,
    Secret,
    Statement,
    Subjects,
    ident,
    statement,
)

Ranks = Mapping[tuple[str, str], tuple[int, int]]
KINDS = list(TYPES)
# few words, so that many statements have the same text
texts = st.sampled_from(["CREATE", "ALTER", "GRANT r TO", "REVOKE r FROM"])
ends = st.sampled_from(["", "HOST ANY", Secret("one"), Secret("two")])


@st.composite
def statements_of(draw: st.DrawFn, name: str) -> tuple[Statement, ...]:
    """The statements of one entity, in the order of their phases as every kind gives them."""
    found = []
    for phase in sorted(draw(st.lists(st.sampled_from(list(Phase)), max_size=4))):
        about = Subjects((ident(name),)) if draw(st.booleans()) else ident(name)
        end = draw(ends)
        found.append(statement(draw(texts), about, (end,) if isinstance(end, Secret) else end, phase=phase))
    return tuple(found)


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[Change], Ranks]:
    """Changes of entities, each named once, and their ranks."""
    keys = st.tuples(st.sampled_from(KINDS), st.integers(0, 30).map(lambda number: f"e{number}"))
    made, ranks = [], {}
    for kind, name in draw(st.lists(keys, unique=True, max_size=25)):
        made.append(Change(kind, name, None, {}, draw(statements_of(name))))
        ranks[kind, name] = (KINDS.index(kind), draw(st.integers(0, 2)))
    return made, ranks


def parts(ordered: Sequence[Statement]) -> list[tuple[Phase, str]]:
    """What runs, one for each subject: sharing taken back."""
    return [
        (one.phase, (one.about((quoted,)) if quoted else one).sql)
        for one in ordered
        for quoted in (one.subjects or ("",))
    ]


@settings(deadline=None, max_examples=150)
@given(changes())
def test_nothing_is_lost_doubled_or_moved(made: tuple[list[Change], Ranks]) -> None:
    """Sharing is not a change of what runs, phases come one after the other, and each entity keeps its own order."""
    found = plan.ordered(*made)
    assert Counter(parts(found)) == Counter((one.phase, one.sql) for change in made[0] for one in change.statements)
    assert [one.phase for one in found] == sorted(one.phase for one in found)
    assert len(found) <= sum(len(change.statements) for change in made[0])
    for change in made[0]:
        own = [one.sql for one in change.statements]
        rest = iter(text for _phase, text in parts(found))
        assert all(text in rest for text in own), (change, found)


@settings(deadline=None, max_examples=100)
@given(changes())
def test_what_others_refer_to_comes_first_and_goes_last(made: tuple[list[Change], Ranks]) -> None:
    """In a phase the ranks go up, and down where things are dropped."""
    every, ranks = made
    owner = {}
    for change in every:
        for one in change.statements:
            owner.setdefault((one.phase, one.sql), set()).add(ranks[change.kind, change.name])
    for phase in Phase:
        its = [owner[key] for key in parts(plan.ordered(every, ranks)) if key[0] == phase]
        if all(len(places) == 1 for places in its):  # two kinds may have a statement of the same text
            places = [next(iter(places)) for places in its]
            assert places == sorted(places, reverse=phase == Phase.DROP)


def grants(count: int, name: str = "u") -> tuple[list[Change], Ranks]:
    """Changes that give one role to many."""
    made = [
        Change(
            "user",
            f"{name}{number}",
            {},
            {},
            (statement("GRANT r TO", Subjects((ident(f"{name}{number}"),)), phase=Phase.GRANT),),
        )
        for number in range(count)
    ]
    return made, {(change.kind, change.name): (3, 0) for change in made}


def test_one_statement_for_many() -> None:
    """And no more than ClickHouse reads at once."""
    assert [one.sql for one in plan.ordered(*grants(3))] == ["GRANT r TO `u0`, `u1`, `u2`"]
    assert [len(one.subjects) for one in plan.ordered(*grants(2500))] == [1000, 1000, 500]
    long = plan.ordered(*grants(100, "n" * 10_000))
    assert sum(len(one.subjects) for one in long) == 100
    assert max(len(one.sql) for one in long) < 150_000 < sum(len(one.sql) for one in long)


def test_different_secrets_are_never_shared() -> None:
    """What is shared is what the server would be told anyway."""
    made = [
        Change("user", name, None, {}, (statement("CREATE USER", Subjects((ident(name),)), ("BY ", Secret(secret))),))
        for name, secret in (("a", "1"), ("b", "2"), ("c", "1"))
    ]
    ranks = {(change.kind, change.name): (3, 0) for change in made}
    assert [one.sql for one in plan.ordered(made, ranks)] == ["CREATE USER `a`, `c` BY '1'", "CREATE USER `b` BY '2'"]
    assert all("'1'" not in one.shown and "'2'" not in one.shown for one in plan.ordered(made, ranks))


# -- the ranks of profiles -------------------------------------------------------------------------------------------

graphs = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3), max_size=10)


def wishes(graph: Mapping[int, Sequence[int]]) -> list[tuple[access.Item, Wish]]:
    """Profiles that inherit as the graph says."""
    return [
        (
            access.Item("settings_profile", {"name": str(name)}, f"settings_profiles[{index}]"),
            Wish("settings_profile", str(name), document={"profiles": [str(parent) for parent in parents]}),
        )
        for index, (name, parents) in enumerate(graph.items())
    ]


def reaches(graph: Mapping[int, Sequence[int]], start: int, end: int) -> bool:
    """Whether there is a way."""
    seen, queue = set(), list(graph.get(start, ()))
    while queue:
        name = queue.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            queue += graph.get(name, ())
    return False


@settings(deadline=None, max_examples=150)
@given(graphs)
def test_a_circle_is_found_where_there_is_one(graph: dict[int, list[int]]) -> None:
    """New ones are errors, once for each; the way that is told is one; what is so already is none."""
    wanted = {name for name in graph if reaches(graph, name, name)}
    errors = access.circles(wishes(graph), {}, ())
    assert bool(errors) is bool(wanted)
    for error in errors:
        way = [int(name) for name in error.reason.partition(": ")[2].split(" -> ")]
        assert way[0] == way[-1] and set(way) <= wanted and len(set(way)) == len(way) - 1
        assert all(after in graph[before] for before, after in itertools.pairwise(way))
        assert error.option == f"settings_profiles[{list(graph).index(way[0])}].profiles"
    there = {
        "settings_profile": {
            str(name): access.Current({"profiles": [str(parent) for parent in parents]})
            for name, parents in graph.items()
        }
    }
    assert access.circles(wishes(graph), there, ()) == []
    assert access.circles([], there, ()) == []


@settings(deadline=None, max_examples=150)
@given(graphs)
def test_a_profile_comes_after_those_it_inherits_from(graph: dict[int, list[int]]) -> None:
    """Circles end the search too: only what exists already may be in one, and that needs no order."""
    ranks = access._ranks(wishes(graph))
    for name, parents in graph.items():
        for parent in parents:
            if parent in graph and not reaches(graph, parent, parent):
                assert ranks["settings_profile", str(parent)] < ranks["settings_profile", str(name)]


def test_a_long_chain_costs_what_a_short_one_does() -> None:
    """Neither recursion nor squares."""
    chain = {number: [number + 1] for number in range(20_000)}
    assert access.circles(wishes(chain), {}, ()) == []
    ranks = access._ranks(wishes(chain))
    assert [ranks["settings_profile", str(number)][1] for number in (0, 19_999)] == [19_999, 0]
    ring = {**chain, 20_000: [0]}
    (error,) = access.circles(wishes(ring), {}, ())
    assert error.reason.count(" -> ") == 20_001
