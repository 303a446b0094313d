"""users.xml with the files of users.d merged in, as ClickHouse's ConfigProcessor does, and read again when they change.

The merged file lies in preprocessed_configs, where ClickHouse keeps its own. Only what users.d files use is here:
elements
merge by name, text replaces, `remove` and `replace` do what they say.
"""

from __future__ import annotations

import time
from pathlib import Path
from xml.etree import ElementTree

POLL_SECONDS = 0.2
"""How often changes are looked for; the server itself looks every two seconds."""


def merge(into: ElementTree.Element, addition: ElementTree.Element) -> None:
    """Merge the children of `addition` into `into`."""
    for child in addition:
        known = into.find(child.tag)
        if known is not None and ("remove" in child.attrib or "replace" in child.attrib):
            into.remove(known)
            known = None
        if "remove" in child.attrib:
            continue
        if known is None:
            child.attrib.pop("replace", None)
            into.append(child)
        elif len(child):
            merge(known, child)
        else:
            known.text = child.text


class UsersConfiguration:
    """A users.xml and the users.d beside it. `path` is the merged file; `changed()` says whether it has been made
    anew.
    """

    def __init__(self, users_xml: Path, preprocessed: Path) -> None:
        """Merge once. Raises ElementTree.ParseError for a users.xml that cannot be read."""
        self._users_xml = users_xml
        self._users_d = users_xml.with_name("users.d")
        self.path = preprocessed / "users.xml"
        preprocessed.mkdir(parents=True, exist_ok=True)
        self._looked = time.monotonic()
        self._signature = self._sign()
        self._write()

    def changed(self, now: bool = False) -> bool:
        """Merge again if a file has changed; `now`: look even if the last look was a moment ago."""
        if not now and time.monotonic() - self._looked < POLL_SECONDS:
            return False
        self._looked = time.monotonic()
        signature = self._sign()
        if signature == self._signature:
            return False
        try:
            self._write()
        except ElementTree.ParseError:
            return False  # half written, or wrong: the server, too, goes on with what it has
        self._signature = signature
        return True

    def _files(self) -> list[Path]:
        return [self._users_xml, *sorted(self._users_d.glob("*.xml"))]

    def _sign(self) -> list[tuple[str, int, int]]:
        return [(file.name, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in self._files()]

    def _write(self) -> None:
        first, *others = (ElementTree.parse(file) for file in self._files())
        for other in others:
            merge(first.getroot(), other.getroot())
        first.write(self.path, encoding="unicode")
