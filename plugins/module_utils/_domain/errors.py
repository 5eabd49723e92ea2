# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways in which this collection says no."""

from __future__ import annotations


def _ended(sentence: str) -> str:
    """End a sentence that another one follows: what a server or program said often ends without a full stop."""
    return f"{sentence}." if sentence and (sentence[-1].isalnum() or sentence[-1] in "\"')") else sentence


class RollbackError(Exception):
    """Something that a person must read: what happened, what was left alone, and what to do next.

    Args:
        message: what happened, to what, and why; one or two sentences.
        remedy: what to do next, with the command to type where there is one.
        untouched: what was not touched, for example "Production was not touched."
        details: data for programs: names, numbers, lists. Never a secret.
    """

    kind = "failed"

    def __init__(self, message: str, *, remedy: str, untouched: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = _ended(message)
        self.remedy = remedy
        self.untouched = _ended(untouched)
        self.details = details

    def text(self) -> str:
        """Return the whole message as one paragraph."""
        return " ".join(part for part in (self.message, self.untouched, self.remedy) if part)

    def as_dict(self) -> dict[str, object]:
        """Return the message in parts, as modules return it under C(error)."""
        return {
            "kind": self.kind,
            "message": self.message,
            "remedy": self.remedy,
            "untouched": self.untouched,
            **self.details,
        }


class Refused(RollbackError):
    """It was not safe, or not possible, to begin; nothing was changed."""

    kind = "refused"


class Failed(RollbackError):
    """It was begun and did not end as it should have."""

    kind = "failed"
