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

METHODS = ("candidate", "in_place")
"""How a run works: on a copy that takes the name, or on the database itself."""

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
        data: anything else that the next run needs: names, numbers. Never a secret. A run in its window keeps there:
            C(owner), who runs it: C(executed_by), C(host) and C(since); C(method), one of `METHODS`; C(stopped), since
            when the newer release is being stopped; C(counters) of the swap; C(release), what is on record of the
            release: C(is), C(older) or C(kept), and C(since); C(held), why it waits for a person's decision.
    """

    run_id: str
    role: str
    state: str = ""
    lease_until: str = ""
    lease_seconds: int = 0
    original_comment: str | None = None
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def owner_of(description: Description) -> str:
    """Return who runs a run, for a sentence that has just named it; empty where it does not say."""
    owner = description.data.get("owner")
    if not isinstance(owner, dict):
        return ""
    person, host, since = (str(owner.get(name) or "") for name in ("executed_by", "host", "since"))
    return f"{f' of {person}' if person else ''}{f' on {host}' if host else ''}{f', since {since}' if since else ''}"


def method_of(description: Description) -> str:
    """Return how a run works, one of `METHODS`."""
    return str(description.data.get("method") or METHODS[0])


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
