"""What a user or a role may do: the rights that GRANT and REVOKE build up, and how ClickHouse shows them.

ClickHouse keeps two trees of names (what may be done; what may be granted on), each node holding the privileges
valid there and below. Here a tree is a dict from a prefix to privileges: a scope is a text, and whatever lies inside
it begins with it: `` (everything), `db/` (a database, or an object such as a source or a user name), `db` (every
name that begins with db), `db/t/`, `db/pre`, `db/t/column/`, where `/` is the separator. A key is kept only where its
privileges differ from those of the longest shorter key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .privileges import Privileges

END = "\ud800"
"""Ends a name within a scope; a lone surrogate is in no name."""

Tree = dict[str, int]


@dataclass(frozen=True)
class Element:
    """One piece of a GRANT: privileges on one scope. `names`: database or parameter, table or filter, without the
    columns."""

    mask: int
    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    wildcard: bool = False
    grant_option: bool = False
    revoke: bool = False

    def scopes(self) -> list[str]:
        """The keys of the trees that this element speaks of."""
        prefix = "".join(name + END for name in self.names)
        if self.columns:
            return [prefix + column + END for column in self.columns]
        return [prefix.removesuffix(END) if self.wildcard else prefix]


def level(scope: str) -> int:
    """How deep a scope is: 0 everything, 1 database or parameter, 2 table, 3 column."""
    return min(scope.count(END) + (not scope.endswith(END) and scope != ""), 3)


def _parent(tree: Tree, scope: str) -> int:
    for end in range(len(scope) - 1, -1, -1):
        if (mask := tree.get(scope[:end])) is not None:
            return mask
    return 0


def find(tree: Tree, scope: str) -> int:
    """The privileges of a scope as such, whatever is revoked inside it."""
    mask = tree.get(scope)
    return _parent(tree, scope) if mask is None else mask


def _is_node(tree: Tree, prefix: str) -> bool:
    """Whether ClickHouse's tree, which shares the beginnings of names, has a node here: names part or end, or
    something is granted."""
    following = {key[len(prefix) : len(prefix) + 1] for key in tree if key.startswith(prefix)}
    return prefix in tree or prefix == "" or prefix.endswith(END) or END in following or len(following) > 1


def _shared(one: str, two: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _hidden(tree: Tree, scope: str) -> bool:
    """Whether a scope leaves the tree in the middle of an edge.

    ClickHouse walks both trees together and forgets to show a grant option on a scope that the tree of access does
    not have, where that tree has another name with the same beginning (AccessRights::getElementsRec).
    """
    common = max((_shared(scope, key) for key in tree), default=0)
    return not scope.endswith(END) if common == len(scope) else not _is_node(tree, scope[:common])


class Rights:
    """The rights of one user or role."""

    __slots__ = ("_elements", "access", "option", "privileges")

    def __init__(self, privileges: Privileges, access: Tree | None = None, option: Tree | None = None) -> None:
        self.privileges = privileges
        self.access: Tree = access if access is not None else {}
        self.option: Tree = option if option is not None else {}
        self._elements: list[Element] | None = None

    def copy(self) -> Rights:
        """An independent copy."""
        return Rights(self.privileges, dict(self.access), dict(self.option))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rights) and self.access == other.access and self.option == other.option

    def _set(self, tree: Tree, scope: str, added: int, removed: int) -> None:
        levels = self.privileges.levels
        below = [key for key in tree if key.startswith(scope)]
        if scope not in tree:
            tree[scope] = _parent(tree, scope) & levels[level(scope)]
            below.append(scope)
        for key in below:
            tree[key] = (tree[key] | added & levels[level(scope)] & levels[level(key)]) & ~removed
        for key in sorted(below, key=len):
            if tree[key] == _parent(tree, key) & levels[level(key)]:
                del tree[key]

    def apply(self, elements: Iterable[Element]) -> None:
        """Grant, or revoke, each element in order."""
        self._elements = None
        for element in elements:
            for scope in element.scopes():
                if not element.revoke:
                    self._set(self.access, scope, element.mask, 0)
                    if element.grant_option:
                        self._set(self.option, scope, element.mask, 0)
                    continue
                if self.option:
                    self._set(self.option, scope, 0, element.mask)
                if not element.grant_option and self.access:
                    self._set(self.access, scope, 0, element.mask)

    def _combine(self, other: Rights, intersect: bool) -> Rights:
        result = Rights(self.privileges)
        for mine, theirs, tree in (
            (self.access, other.access, result.access),
            (self.option, other.option, result.option),
        ):
            for scope in sorted({*mine, *theirs}, key=len):
                allowed = self.privileges.levels[level(scope)]
                a, b = find(mine, scope) & allowed, find(theirs, scope) & allowed
                mask = a & b if intersect else a | b
                if mask != _parent(tree, scope) & allowed:
                    tree[scope] = mask
        return result

    def union(self, other: Rights) -> Rights:
        """What either allows."""
        return self._combine(other, False)

    def intersection(self, other: Rights) -> Rights:
        """What both allow."""
        return self._combine(other, True)

    def contains(self, element: Element) -> bool:
        """Whether all of the element is allowed (with its grant option, if it has one), in its whole scope."""
        tree = self.option if element.grant_option else self.access
        for scope in element.scopes():
            deepest = self.privileges.levels[level(scope)] & element.mask
            if deepest & ~find(tree, scope):
                return False
            for key, mask in tree.items():
                if key.startswith(scope) and deepest & self.privileges.levels[level(key)] & ~mask:
                    return False
        return True

    def largest(self) -> int:
        """Every privilege that is allowed somewhere."""
        result = 0
        for mask in self.access.values():
            result |= mask
        return result

    def elements(self, shown: bool = True) -> list[Element]:
        """The grants and partial revokes that make these rights, in ClickHouse's order (AccessRights::getElements).

        `shown`: with what ClickHouse's way through its trees hides or adds; else what truly holds.
        """
        if not shown:
            return list(self._merge_columns(self._pieces(False)))
        if self._elements is None:
            self._elements = list(self._merge_columns(self._pieces(True)))
        return self._elements

    def _pieces(self, shown: bool) -> list[Element]:
        pieces: list[Element] = []
        levels = self.privileges.levels
        for scope in {*self.access, *self.option}:
            if shown and self.privileges.has_wildcards and scope not in self.access and _hidden(self.access, scope):
                continue
            wildcard = scope != "" and not scope.endswith(END)
            allowed = above = levels[level(scope)]
            if (
                shown
                and self.option
                and wildcard
                and self.privileges.compares_wildcards_above
                and not any(_is_node(self.access, scope[:end]) for end in range(scope.rfind(END) + 2, len(scope)))
            ):
                above = levels[level(scope) - 1]
            before = _parent(self.access, scope) & (above if scope in self.access else allowed)
            before_go = _parent(self.option, scope) & above
            now, now_go = find(self.access, scope) & allowed, find(self.option, scope) & allowed
            names = tuple(scope.removesuffix(END).split(END)) if scope else ()
            revoked = before & ~now
            granted_go = now_go & ~before_go
            for mask, option, revoke in (
                (revoked, False, True),
                (before_go & ~now_go & ~revoked, True, True),
                (now & ~before & ~granted_go, False, False),
                (granted_go, True, False),
            ):
                if mask:
                    pieces.append(Element(mask, names, (), wildcard, option, revoke))
        pieces.sort(key=lambda e: (e.names, len(e.names), e.revoke, e.grant_option, e.mask.to_bytes(48, "little")))
        return pieces

    def _merge_columns(self, pieces: list[Element]) -> Iterable[Element]:
        if len(pieces) == 1 and pieces[0].mask == self.privileges.all:
            yield pieces[0]
            return
        start = 0
        while start < len(pieces):
            first = pieces[start]
            end = start + 1
            while len(first.names) == 3 and end < len(pieces) and self._differ_in_column_only(first, pieces[end]):
                end += 1
            if end - start > 1:
                yield from _columns_together(pieces[start:end])
            else:
                for mask in self.privileges.split(first.mask):
                    columns = first.names[2:]
                    yield replace(first, mask=mask, names=first.names[:2], columns=columns)
            start = end

    def _differ_in_column_only(self, one: Element, two: Element) -> bool:
        kind = self.privileges.parameter_type
        return (
            len(two.names) == 3
            and one.names[:2] == two.names[:2]
            and one.grant_option == two.grant_option
            and one.revoke == two.revoke
            and kind(one.mask) == kind(two.mask)
        )


def _columns_together(pieces: list[Element]) -> Iterable[Element]:
    """Elements on columns of one table, written with as many columns together as possible."""
    handled = 0
    while True:
        while pieces and not pieces[0].mask & ~handled:
            pieces = pieces[1:]
        while pieces and not pieces[-1].mask & ~handled:
            pieces = pieces[:-1]
        if not pieces:
            return
        common = pieces[0].mask & ~handled
        for piece in pieces[1:]:
            common = piece.mask & ~handled & common or common
        columns = tuple(p.names[2] for p in pieces if p.mask & ~handled & common == common)
        yield replace(pieces[0], mask=common, names=pieces[0].names[:2], columns=columns)
        handled |= common
