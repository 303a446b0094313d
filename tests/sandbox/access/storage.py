"""The writable storage: entities in memory, and a journal on disk that survives a kill at any moment.

Every applied statement is one line of JSON, written and synced before the statement is answered: either the whole
statement is there after a restart or nothing of it. Opening folds the journal into one snapshot line per entity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .model import KINDS, Entity, Quota, RowPolicy, SettingsProfile, dump, load
from .privileges import Privileges


class Entities:
    """Entities of one storage by id and by kind and name."""

    def __init__(self) -> None:
        self.by_id: dict[str, Entity] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._kinds: dict[str, dict[str, Entity]] = {kind: {} for kind in KINDS}
        self._applied: dict[tuple[str, str], set[str]] = {}
        """Ids of the entities of a kind whose TO names this user or role; '' for TO ALL."""
        self._ages: dict[str, int] = {}
        self._count = 0

    def find(self, kind: str, name: str) -> Entity | None:
        """The entity of this kind and name."""
        found = self._ids.get((kind, name))
        return self.by_id[found] if found else None

    def of(self, kind: str) -> Iterator[Entity]:
        """All entities of a kind."""
        return iter(self._kinds[kind].values())

    def applying(self, kind: str, ids: Iterable[str]) -> list[Entity]:
        """The profiles, quotas or row policies whose TO is for a user with these ids (its own and its roles'), by age.

        Found by the ids, so that it takes no longer where there are many others.
        """
        ids = list(ids)
        found = set().union(*(self._applied.get((kind, name), ()) for name in ("", *ids)))
        return [
            entity
            for entity in (self.by_id[name] for name in sorted(found, key=self._ages.__getitem__))
            if isinstance(entity, (SettingsProfile, Quota, RowPolicy)) and entity.to.applies(ids)
        ]

    def put(self, entity: Entity) -> None:
        """Add an entity, or replace the one with its id."""
        self.remove(entity.id)
        self.by_id[entity.id] = entity
        self._ids[entity.kind, entity.name] = entity.id
        self._kinds[entity.kind][entity.id] = entity
        self._count += 1
        self._ages[entity.id] = self._count
        for name in _named_in_to(entity):
            self._applied.setdefault((entity.kind, name), set()).add(entity.id)

    def remove(self, entity_id: str) -> None:
        """Forget the entity with this id, if there is one."""
        old = self.by_id.pop(entity_id, None)
        if old is None:
            return
        del self._kinds[old.kind][entity_id], self._ages[entity_id]
        for name in _named_in_to(old):
            self._applied[old.kind, name].discard(entity_id)
        if self._ids.get((old.kind, old.name)) == entity_id:
            del self._ids[old.kind, old.name]


def _named_in_to(entity: Entity) -> Iterable[str]:
    """The ids of the users and roles that an entity's TO names; '' for ALL."""
    if not isinstance(entity, (SettingsProfile, Quota, RowPolicy)):
        return ()
    return ("",) if entity.to.all else entity.to.ids


class Journal:
    """The writable storage's file."""

    def __init__(self, path: Path, privileges: Privileges) -> None:
        """Open `path`, read what it holds into `entities`, and write it anew without what has been superseded."""
        self._path = path
        self.entities = Entities()
        self.version = 0
        """Counts the changes since the start."""
        # committed, and not written yet
        self._put: dict[str, Entity] = {}
        self._removed: dict[str, None] = {}
        self._together = False
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                try:
                    record = json.loads(line)
                except ValueError:
                    break  # the last write was cut short: its statement was never answered
                self._apply((load(data, privileges) for data in record["put"]), record["remove"])
        path.parent.mkdir(parents=True, exist_ok=True)
        snapshot = path.with_suffix(".new")
        with snapshot.open("w", encoding="utf-8") as file:
            for entity in self.entities.by_id.values():
                file.write(self._line([entity], []))
            file.flush()
            os.fsync(file.fileno())
        snapshot.replace(path)
        self._sync_directory()
        self._file = path.open("ab")

    def _sync_directory(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _line(put: Iterable[Entity], remove: Iterable[str]) -> str:
        return json.dumps({"put": [dump(entity) for entity in put], "remove": list(remove)}) + "\n"

    def _apply(self, put: Iterable[Entity], remove: Iterable[str]) -> None:
        for entity_id in remove:
            self.entities.remove(entity_id)
        for entity in put:
            self.entities.put(entity)

    def commit(self, put: list[Entity], remove: Iterable[str] = ()) -> None:
        """Make these changes, all or none; `remove` lists ids. Within a `statement()` they last from its end on."""
        remove = list(remove)
        self._apply(put, remove)
        self.version += 1
        for entity_id in (*remove, *(entity.id for entity in put)):
            self._put.pop(entity_id, None)
        self._removed |= dict.fromkeys(remove)
        self._put |= {entity.id: entity for entity in put}
        if not self._together:
            self._write()

    @contextmanager
    def statement(self) -> Iterator[None]:
        """What is committed in this block is written as one line, also where an error ends it: a statement on many
        entities keeps what it did before."""
        self._together = True
        try:
            yield
        finally:
            self._together = False
            self._write()

    def _write(self) -> None:
        """Put on disk what was committed since the last time."""
        if self._put or self._removed:
            self._file.write(self._line(self._put.values(), self._removed).encode())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._put, self._removed = {}, {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()
