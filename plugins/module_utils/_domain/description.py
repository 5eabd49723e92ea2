# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a database describes itself: the JSON in its comment.

A run writes it onto every database that it closes or makes, so that the next run, from any controller and with the
state folder lost, knows what it looks at. The comment that was there before is kept inside.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

KEY = "balcon.rollback"

_KINDS = {
    **dict.fromkeys(("run_id", "role", "state", "lease_until", "note"), (str,)),
    "lease_seconds": (int,),
    "original_comment": (str, type(None)),
    "data": (dict,),
}

ROLES = ("original", "current", "candidate", "before", "failed", "rehearsal", "trial", "restored")


@dataclass(frozen=True)
class Description:
    """What a database says of itself.

    Attributes:
        run_id: the run that wrote this.
        role: one of `ROLES`: ``original`` is production's own database while a run works on its candidate, ``current``
            a candidate that has taken the name, and the rest is named like the suffix of the database.
        state: of a run in its window, one of `run_states.STATES`; empty elsewhere.
        lease_until: UTC ISO 8601, by the server's clock; when it has passed before the swap, the keeper opens the
            original again. Empty where there is no lease.
        lease_seconds: how far each renewal moves it.
        original_comment: the comment that the database had before, or None.
        note: one sentence for a person who finds the database.
        data: anything else that the next run needs: names, numbers. Never a secret.
    """

    run_id: str
    role: str
    state: str = ""
    lease_until: str = ""
    lease_seconds: int = 0
    original_comment: str | None = None
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def render_description(description: Description) -> str:
    """Return the text that goes into the database's comment."""
    return json.dumps({KEY: asdict(description)}, ensure_ascii=False, sort_keys=True)


def parse_description(comment: str | None) -> Description | None:
    """Read a database's comment; None where it is a person's, none at all, or nothing that we can have written."""
    try:
        content = json.loads(comment or "")[KEY]
        description = Description(**content)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return description if _has_its_types(description) else None


def _has_its_types(description: Description) -> bool:
    """Whoever owns the database can write its comment: what is read there is not believed to be of any kind."""
    found = vars(description)
    return all(type(found[name]) in kinds for name, kinds in _KINDS.items())
