"""Setting values: cast to the setting's type as ClickHouse stores them, and printed as SHOW CREATE prints them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .model import ServerError, Setting
from .text import literal, unescape

INTEGERS = ("UInt64", "Int64", "Int32", "NonZeroUInt64", "UInt64Auto", "MaxThreads", "Milliseconds", "Char")
Rows = Callable[[str], list[dict[str, Any]]]


class SettingTypes:
    """What the engine knows about settings."""

    def __init__(self, rows: Rows, prefixes: tuple[str, ...]) -> None:
        """`rows` asks the engine; `prefixes` are the server's custom_settings_prefixes."""
        self._rows, self._prefixes = rows, prefixes
        self._types: dict[str, str] = {}
        self._cache: dict[tuple[str, str], str] = {}

    def type(self, name: str) -> str:
        """The setting's type; 'custom' or 'merge_tree' for those outside system.settings. Raises ServerError 115."""
        if not self._types:
            self._types = {row["name"]: row["type"] for row in self._rows("SELECT name, type FROM system.settings")}
        if name in self._types:
            return self._types[name]
        if name.startswith("merge_tree_") or name == "allow_backup":
            return "merge_tree"
        if any(name.startswith(prefix) for prefix in self._prefixes):
            return "custom"
        if self._prefixes:
            raise ServerError(
                115,
                "UNKNOWN_SETTING",
                f"Setting {name} is neither a builtin setting nor started with the prefix "
                f"{' or '.join(repr(prefix) for prefix in self._prefixes)} registered for user-defined settings",
            )
        raise ServerError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")

    def stored(self, name: str, written: str | None) -> str | None:
        """The text in which the server keeps this SQL literal for this setting."""
        if written is None or written.upper() == "NULL":
            return None
        kind = self.type(name)
        if kind in ("custom", "merge_tree"):
            return written
        key = (name, written)
        if key not in self._cache:
            self._cache[key] = self._cast(kind, name, written)
        return self._cache[key]

    def _cast(self, kind: str, name: str, written: str) -> str:
        plain = unescape(written[1:-1], "'") if written.startswith("'") else written
        if written in ("true", "false"):
            written = plain = "1" if written == "true" else "0"
        if kind == "Bool":
            return {"true": "1", "false": "0"}.get(plain.lower(), plain)
        if kind == "MaxThreads" and (plain == "0" or plain.startswith("auto")):
            return self._cores()
        if kind in INTEGERS and re.fullmatch(r"-?\d+", plain):
            return plain
        if kind == "String" and written.startswith("'"):
            return plain
        try:
            rows = self._rows(
                f"SELECT value FROM system.settings WHERE name = {literal(name)} SETTINGS {name} = {written}"
            )
        except Exception:  # the engine has checked the value before: this setting only cannot be set for one query
            return plain
        return str(rows[0]["value"]) if rows else plain

    def _cores(self) -> str:
        """How many threads `auto` means: the value of a setting that nobody has changed, `auto(N)`."""
        (row,) = self._rows("SELECT default FROM system.settings WHERE name = 'max_threads'")
        return re.sub(r"\D", "", str(row["default"]))

    def shown(self, name: str, value: str) -> str:
        """A stored value as SHOW CREATE prints it."""
        kind = self.type(name)
        if kind in ("custom", "merge_tree"):
            return value
        if kind == "Bool":
            return "true" if value == "1" else "false"
        if kind in INTEGERS and re.fullmatch(r"-?\d+", value) and kind != "Char":
            return value
        if kind == "Seconds" and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return value if "." in value else value + "."
        if kind in ("Float", "Double", "FloatAuto") and re.fullmatch(r"-?\d.*|-?inf|nan", value):
            return value + "." if re.fullmatch(r"-?\d+", value) else value
        return literal(value)


def normalise(settings: list[Setting]) -> list[Setting]:
    """Profiles first, each where it was last named; then settings, each where it was first, with what was said later
    (SettingsProfileElements::normalize)."""
    profiles = dict.fromkeys(reversed([setting.profile for setting in settings if setting.profile]))
    merged: dict[str, Setting] = {}
    for setting in settings:
        if setting.name:
            at = merged.setdefault(setting.name, Setting(name=setting.name))
            for part in ("value", "min", "max", "writability"):
                if getattr(setting, part) is not None:
                    setattr(at, part, getattr(setting, part))
    return [*(Setting(profile=profile) for profile in reversed(profiles)), *merged.values()]
