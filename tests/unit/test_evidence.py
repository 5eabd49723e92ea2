# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's rules: which evidence counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.evidence import (
    Request,
    check_evidence,
    check_override,
    check_seal,
    check_window,
    choose,
    predicted_window,
    seal,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)

REQUEST = Request(
    plan=["2-second.ts", "1-first.ts"],
    plan_id="p1",
    catalogue_hash="c1",
    server_major=16,
    system_identifier="7001",
    database_oid=16400,
)


def evidence(**changes: Any) -> dict[str, Any]:
    return {
        "evidence_id": "e1",
        "created_at": (NOW - timedelta(hours=1)).isoformat(),
        "plan": list(REQUEST.plan),
        "plan_id": "p1",
        "production": {"system_identifier": "7001", "oid": 16400, "database": "shop"},
        "server_major": 16,
        "catalogue_hash": "c1",
        "timings": {"copy_bytes_per_second": 1000, "migrate_seconds": 3, "trial_seconds": 4},
        **changes,
    }


def test_matching_evidence_passes() -> None:
    check_evidence(evidence(), REQUEST, NOW, 24)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"created_at": (NOW - timedelta(hours=25)).isoformat()}, "25.0 hours old"),
        ({"created_at": (NOW + timedelta(hours=1)).isoformat()}, "1.0 hours from now: the clock"),
        ({"plan_id": "p2"}, "file of the plan has changed"),
        ({"production": {"system_identifier": "7002", "oid": 16400}}, "another database"),
        ({"production": {"system_identifier": "7001", "oid": 16401}}, "another database"),
        ({"server_major": 15}, "PostgreSQL 15"),
        ({"catalogue_hash": "c2"}, "schema has changed"),
    ],
)
def test_evidence_of_something_else_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refusal:
        check_evidence(evidence(**changes), REQUEST, NOW, 24)
    assert "Production was not touched" in refusal.value.text()
    assert "env=staging" in refusal.value.remedy


def test_the_newest_evidence_of_the_plan_is_chosen() -> None:
    older = evidence(evidence_id="old", created_at=(NOW - timedelta(hours=9)).isoformat())
    newer = evidence(evidence_id="new")
    other = evidence(evidence_id="other", plan=["1-first.ts"], created_at=NOW.isoformat())
    assert choose([newer, other, older], REQUEST.plan)["evidence_id"] == "new"


def test_without_evidence_of_the_plan_the_others_are_named() -> None:
    with pytest.raises(Refused, match=r"another plan: 1-first\.ts"):
        choose([evidence(plan=["1-first.ts"])], REQUEST.plan)
    with pytest.raises(Refused, match="no evidence at all"):
        choose([], REQUEST.plan)


@pytest.mark.parametrize("key", [None, "secret"])
def test_a_seal_holds_until_something_is_edited(key: str | None) -> None:
    sealed = seal(evidence(), key)
    check_seal(sealed, key)
    with pytest.raises(Refused, match="edited"):
        check_seal({**sealed, "created_at": NOW.isoformat()}, key)
    with pytest.raises(Refused, match="edited"):
        check_seal({**sealed, "new": 1}, key)


def test_with_a_key_a_signature_is_demanded_and_checked() -> None:
    with pytest.raises(Refused, match="not signed"):
        check_seal(seal(evidence(), None), "secret")
    with pytest.raises(Refused, match="signature is not by this"):
        check_seal(seal(evidence(), "other"), "secret")


def test_an_override_needs_a_reason_and_two_people() -> None:
    check_override({"reason": "staging burnt down", "approved_by": ["Anna", "Ben"]})
    for override in (
        {"reason": "", "approved_by": ["Anna", "Ben"]},
        {"reason": "x", "approved_by": ["Anna", " Anna "]},
        {"reason": "x", "approved_by": ["Anna", ""]},
        {"reason": "x"},
    ):
        with pytest.raises(Refused, match="two people"):
            check_override(override)


def test_the_window_is_predicted_and_held_to_the_maximum() -> None:
    assert predicted_window(evidence(), 5000) == 2 * 5 + 3 + 4 + 10
    check_window(27, 27)
    with pytest.raises(Refused, match="27 s, and rollback_max_window allows 26 s"):
        check_window(27, 26)


@pytest.mark.parametrize("field", ["plan_id", "server_major", "catalogue_hash", "database_oid", "system_identifier"])
def test_every_field_of_the_request_counts(field: str) -> None:
    changed: dict[str, Any] = {field: 0}
    with pytest.raises(Refused):
        check_evidence(evidence(), replace(REQUEST, **changed), NOW, 24)
