# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence: what a rehearsal proved, and whether it lets production through the gate."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .description import METHODS
from .errors import Refused
from .manifest import same_signature

FORMAT = 1

APPROVALS = 2
"""People who must approve that the gate is overridden."""

REMEDY = "Rehearse again: ansible-playbook rollback.yml -e env=staging (with the same steps or target)."
UNTOUCHED = "Production was not touched."


@dataclass(frozen=True)
class Request:
    """What production is about to do, to be held against what was rehearsed.

    Attributes:
        plan: migrations to revert, newest first.
        plan_id: the hash of the plan and of its files.
        catalogue_hash: the hash of production's catalogue as it is now.
        server_major: production's major version.
        system_identifier: production's cluster.
        database_oid: production's database.
    """

    plan: Sequence[str]
    plan_id: str
    catalogue_hash: str
    server_major: int
    system_identifier: str
    database_oid: int


def seal(content: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    """Complete evidence with the hash of its content, and with a signature when there is a key.

    Args:
        content: everything that the rehearsal proved.
        key: the inventory's C(rollback_signing_key), or None: then the evidence is called unsigned.
    """
    sealed = {"format": FORMAT, **content}
    text = _canonical(sealed)
    return {**sealed, "content_hash": hashlib.sha256(text).hexdigest(), "signature": _sign(text, key) if key else None}


def check_seal(evidence: Mapping[str, Any], key: str | None) -> None:
    """Check that evidence is what was written.

    Raises:
        Refused: it was edited, or there is a key and the signature is missing or wrong.
    """
    content = {name: value for name, value in evidence.items() if name not in ("content_hash", "signature")}
    text = _canonical(content)
    if evidence.get("content_hash") != hashlib.sha256(text).hexdigest():
        raise _refused(evidence, "it was edited after it was written")
    if key and not evidence.get("signature"):
        raise _refused(evidence, "it is not signed, and rollback_signing_key is set")
    if key and not same_signature(evidence["signature"], _sign(text, key)):
        raise _refused(evidence, "its signature is not by this rollback_signing_key")


def choose(candidates: Iterable[Mapping[str, Any]], plan: Sequence[str]) -> Mapping[str, Any]:
    """Return the newest evidence of a plan.

    Raises:
        Refused: there is none; the message says which plans were rehearsed.
    """
    newest_first = sorted(candidates, key=lambda evidence: str(evidence.get("created_at")), reverse=True)
    for evidence in newest_first:
        if list(evidence.get("plan", [])) == list(plan):
            return evidence
    others = "; ".join(dict.fromkeys(", ".join(evidence.get("plan", [])) for evidence in newest_first[:5]))
    raise Refused(
        f"Nobody has rehearsed this plan ({', '.join(plan)})."
        + (f" There is evidence of another plan: {others}." if others else " There is no evidence at all."),
        untouched=UNTOUCHED,
        remedy=REMEDY,
        plan=list(plan),
    )


def check_evidence(evidence: Mapping[str, Any], request: Request, now: datetime, max_age_hours: float) -> None:
    """Check that what was rehearsed is what production is about to do.

    Args:
        evidence: sealed evidence of the same plan, see `choose`.
        request: what production is about to do.
        now: the present time, UTC.
        max_age_hours: the inventory's C(rollback_evidence_max_age).

    Raises:
        Refused: it is too old, or of other files, another schema, another server version or another database.
    """
    age = now - datetime.fromisoformat(str(evidence["created_at"]))
    production = evidence["production"]
    if age < -timedelta(minutes=5):
        raise _refused(
            evidence, f"it was written {_hours(-age)} from now: the clock of this host, or of the one before, is wrong"
        )
    if age > timedelta(hours=max_age_hours):
        raise _refused(
            evidence, f"it is {_hours(age)} old, and rollback_evidence_max_age allows {max_age_hours:g} hours"
        )
    if evidence["plan_id"] != request.plan_id:
        raise _refused(evidence, "a migration file of the plan has changed since it was rehearsed")
    if [production["system_identifier"], production["oid"]] != [request.system_identifier, request.database_oid]:
        raise _refused(evidence, "it was rehearsed on a copy of another database, or production was replaced since")
    if evidence["server_major"] != request.server_major:
        raise _refused(
            evidence,
            f"it was rehearsed on PostgreSQL {evidence['server_major']}, and production runs {request.server_major}",
        )
    if evidence["catalogue_hash"] != request.catalogue_hash:
        raise _refused(evidence, "production's schema has changed since it was rehearsed")


def check_override(override: Mapping[str, Any]) -> None:
    """Check the emergency's way past the gate: a reason, and two different people who approved.

    Raises:
        Refused: one of them is missing.
    """
    names = {str(name).strip() for name in override.get("approved_by") or [] if str(name).strip()}
    if len(names) < APPROVALS or not str(override.get("reason") or "").strip():
        raise Refused(
            "rollback_override needs a reason and the names of two people who approved it.",
            untouched=UNTOUCHED,
            remedy='Pass -e \'{"rollback_override": {"reason": "…", "approved_by": ["…", "…"]}}\', or ' + REMEDY,
        )


COPIES_IN_A_DUMP = 6
"""How many file copies a dump takes as long as, with its verification and the fingerprints (docs/bench.md)."""


def predicted_window(evidence: Mapping[str, Any], size_bytes: int, method: str = METHODS[0]) -> float:
    """Predict the window in seconds from what the rehearsal measured.

    Production's file is copied twice inside the window (candidate, throwaway clone), or, in place, dumped; the plan and
    the trial take what they took on staging.
    """
    timings = evidence["timings"]
    copies = 2 if method == METHODS[0] else COPIES_IN_A_DUMP
    copying = copies * size_bytes / max(float(timings["copy_bytes_per_second"]), 1.0)
    return round(
        copying + float(timings["migrate_seconds"]) + float(timings["trial_seconds"]) + FIXED_WINDOW_SECONDS, 1
    )


FIXED_WINDOW_SECONDS = 10.0
"""What the window takes besides: closing, checking, swapping, Ansible's tasks, the release's start."""


def check_window(seconds: float, maximum: float) -> None:
    """Refuse a window that would be longer than the inventory allows.

    Raises:
        Refused: it would.
    """
    if seconds > maximum:
        raise Refused(
            f"The window is predicted to take {seconds:.0f} s, and rollback_max_window allows {maximum:.0f} s.",
            untouched=UNTOUCHED,
            remedy="Announce a longer window and raise rollback_max_window, or shorten the trial's tests.",
            predicted_window_seconds=seconds,
        )


def _refused(evidence: Mapping[str, Any], reason: str) -> Refused:
    return Refused(
        f"The evidence {evidence.get('evidence_id', '(without a name)')} does not count: {reason}.",
        untouched=UNTOUCHED,
        remedy=REMEDY,
        evidence_id=evidence.get("evidence_id"),
    )


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} hours"


def _sign(text: bytes, key: str) -> str:
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(errors="surrogatepass")
