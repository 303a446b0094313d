# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""I/O: run the statements of a change, and say truthfully how far it came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import AccessError, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import Statement


@dataclass(frozen=True)
class Outcome:
    """How far a run came; statements in the form people may see.

    :param done: the server confirmed these
    :param failed: the server refused this one; ``None`` if it did not
    :param unknown: no answer came to this one: it may have run or not
    :param pending: these were not sent
    :param error: what went wrong
    """

    done: tuple[str, ...] = ()
    failed: str | None = None
    unknown: str | None = None
    pending: tuple[str, ...] = ()
    error: AccessError | None = None

    @property
    def told(self) -> str:
        """What people read: what failed and why, how far the run came, and what to do; empty if nothing failed."""
        if self.error is None:
            return ""
        number, of = len(self.done) + 1, len(self.done) + 1 + len(self.pending)
        if self.unknown is not None:
            what, then = "may have run or not", "then run it again: what is done is not done again"
        else:
            what = "was refused, and may be done in part" if self.error.partly else "was refused"
            then = "once that is mended, a second run finishes the work"
        return (
            f"Of {of} statements, statement {number} {what}. {self.error.message}"
            f" Done: {len(self.done)}, pending: {len(self.pending)}; {then}."
        )


def apply(
    session: Session, statements: Sequence[Statement], report: Callable[[int, int], None] | None = None
) -> Outcome:
    """Run statements in order and stop at the first that fails.

    :param report: told how many are done, and of how many, before each of them
    """
    shown = tuple(statement.shown for statement in statements)
    for index, statement in enumerate(statements):
        if report is not None:
            report(index, len(statements))
        try:
            session.execute(statement)
        except AccessError as error:
            return Outcome(
                done=shown[:index],
                failed=shown[index] if error.answered else None,
                unknown=None if error.answered else shown[index],
                pending=shown[index + 1 :],
                error=error,
            )
    return Outcome(done=shown)
