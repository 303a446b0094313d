"""The writable storage: entities in memory, and a journal on disk that survives a kill at any moment.

Every applied statement is one line of JSON, written and synced before the statement is answered: either the whole
statement is there after a restart or nothing of it. Opening folds the journal into one snapshot line per entity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .model import Entity, dump, load
from .privileges import Privileges


class Entities:
    """Entities of one storage by id and by kind and name."""

    def __init__(self) -> None:
        self.by_id: dict[str, Entity] = {}
        self._ids: dict[tuple[str, str], str] = {}

    def find(self, kind: str, name: str) -> Entity | None:
        """The entity of this kind and name."""
        found = self._ids.get((kind, name))
        return self.by_id[found] if found else None

    def of(self, kind: str) -> Iterator[Entity]:
        """All entities of a kind."""
        return (entity for entity in self.by_id.values() if entity.kind == kind)

    def put(self, entity: Entity) -> None:
        """Add an entity, or replace the one with its id."""
        self.remove(entity.id)
        self.by_id[entity.id] = entity
        self._ids[entity.kind, entity.name] = entity.id

    def remove(self, entity_id: str) -> None:
        """Forget the entity with this id, if there is one."""
        old = self.by_id.pop(entity_id, None)
        if old is not None and self._ids.get((old.kind, old.name)) == entity_id:
            del self._ids[old.kind, old.name]


class Journal:
    """The writable storage's file."""

    def __init__(self, path: Path, privileges: Privileges) -> None:
        """Open `path`, read what it holds into `entities`, and write it anew without what has been superseded."""
        self._path = path
        self.entities = Entities()
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
        """Make these changes last, all or none; `remove` lists ids."""
        remove = list(remove)
        self._file.write(self._line(put, remove).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._apply(put, remove)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
