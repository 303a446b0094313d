# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What probes have in common: an observation, what a text may say of a secret, and answers of a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]
PASS, FAIL, NOT_APPLICABLE, ERROR = "pass", "fail", "not_applicable", "error"
_EVIDENCE = 600
"""Characters of an evidence: what a server says can be long."""


def observe(probe: str, subject: str, status: str, evidence: str) -> Json:
    """Return what a probe says, as the audit's report takes it.

    :param probe: its name, by which a control of the catalogue asks for it
    :param subject: what was looked at
    :param status: `pass`, `fail`, `not_applicable` or `error`
    :param evidence: what was tried, and what came back, in one or two lines
    """
    text = " ".join(evidence.split())
    if len(text) > _EVIDENCE:
        text = text[: _EVIDENCE - 1] + "…"
    return {"probe": probe, "subject": subject, "status": status, "evidence": text}


def judged(probe: str, subject: str, is_right: bool, right: str, wrong: str) -> Json:
    """Return `pass` with the one evidence or `fail` with the other.

    :param is_right: whether what was measured is as it shall be
    """
    return observe(probe, subject, PASS if is_right else FAIL, right if is_right else wrong)


def unmeasured(probes: Iterable[str], subject: str, evidence: str, status: str = NOT_APPLICABLE) -> list[Json]:
    """Return the same for several probes that could not be asked."""
    return [observe(probe, subject, status, evidence) for probe in probes]


def without(secrets: Iterable[str], observations: Sequence[Json]) -> list[Json]:
    """Return observations in which no secret stands, even if a server repeats it in an error.

    :param secrets: passwords and the like; empty ones count for nothing
    """
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    cleaned = []
    for observation in observations:
        texts = {name: str(observation[name]) for name in ("subject", "evidence")}
        for secret in known:
            texts = {name: text.replace(secret, "********") for name, text in texts.items()}
        cleaned.append({**observation, **texts})
    return cleaned


def listed(items: Iterable[Any], limit: int = 8) -> str:
    """Return items with commas between them, and how many more there are.

    :param limit: how many are named
    """
    texts = [str(item) for item in items]
    rest = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {rest} more" if rest > 0 else "")


def sentence(parts: Sequence[str]) -> str:
    """Return parts as one sentence, with semicolons between them."""
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
