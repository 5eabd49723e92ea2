# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence on disk, and the gate that reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

CONTENT = {
    "run_id": "20261123t080000abcd",
    "plan": ["2.ts", "1.ts"],
    "plan_id": "p1",
    "production": {"system_identifier": "7001", "oid": 16400, "database": "shop"},
    "server_major": 16,
    "catalogue_hash": "c1",
    "skip_columns": {},
    "canonical_change": {},
    "timings": {"copy_bytes_per_second": 1000.0, "migrate_seconds": 3.0, "trial_seconds": 4.0},
}

REQUEST = {
    "state": "checked",
    "plan": ["2.ts", "1.ts"],
    "plan_id": "p1",
    "catalogue_hash": "c1",
    "server_major": 16,
    "system_identifier": "7001",
    "database_oid": 16400,
    "size_bytes": 5000,
}


@pytest.fixture
def gate(run_module: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    tmp_path.chmod(0o700)

    def call(**arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = run_module("rehearsal_evidence", evidence_dir=str(tmp_path), **arguments)
        return result

    return call


def written_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "evidence").iterdir()
    return path


def test_written_evidence_lets_the_same_plan_through(gate: Any, tmp_path: Path) -> None:
    assert gate(state="written", content=CONTENT, check_mode=True)["changed"] is True
    assert not (tmp_path / "evidence").exists()
    assert gate(state="written", content=CONTENT)["changed"] is True
    assert gate(state="written", content=CONTENT, check_mode=True)["changed"] is False
    assert gate(state="written", content=CONTENT)["changed"] is False
    assert written_file(tmp_path).stat().st_mode & 0o777 == 0o600
    passed = gate(**REQUEST)
    assert (passed["failed"], passed["changed"], passed["signed"]) == (False, False, False)
    assert passed["predicted_window_seconds"] == 27


def test_without_a_rehearsal_production_is_refused(gate: Any) -> None:
    refused = gate(**REQUEST)
    assert refused["error"]["kind"] == "refused"
    assert "Nobody has rehearsed this plan" in refused["msg"]
    assert "ansible-playbook rollback.yml -e env=staging" in refused["msg"]


def test_numbers_that_came_as_text_count(gate: Any, tmp_path: Path) -> None:
    """As an ansible-core before 2.19 hands them over."""
    production = {**CONTENT["production"], "oid": "16400"}  # type: ignore[dict-item]
    gate(state="written", content={**CONTENT, "production": production, "server_major": "16"})
    assert json.loads(written_file(tmp_path).read_text())["production"]["oid"] == 16400
    assert not gate(**REQUEST)["failed"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"plan": ["1.ts"]}, "evidence of another plan: 2.ts, 1.ts"),
        ({"plan_id": "p2"}, "file of the plan has changed"),
        ({"catalogue_hash": "c2"}, "schema has changed"),
        ({"server_major": 18}, "PostgreSQL 16, and production runs 18"),
        ({"database_oid": 1}, "another database"),
        ({"max_window": 26}, "rollback_max_window allows 26 s"),
        ({"max_age_hours": 0.0}, "rollback_evidence_max_age"),
        ({"signing_key": "key-that-was-not-used"}, "not signed"),
    ],
)
def test_evidence_of_something_else_is_refused(gate: Any, changes: dict[str, Any], reason: str) -> None:
    gate(state="written", content=CONTENT)
    refused = gate(**{**REQUEST, **changes})
    assert reason in refused["msg"]
    assert "Production was not touched" in refused["msg"]


def test_edited_evidence_is_refused(gate: Any, tmp_path: Path) -> None:
    gate(state="written", content=CONTENT)
    path = written_file(tmp_path)
    later = {**json.loads(path.read_text()), "created_at": (datetime.now(UTC) + timedelta(0)).isoformat()}
    path.write_text(json.dumps(later))
    assert "edited after it was written" in gate(**REQUEST)["msg"]
    path.write_text(path.read_text()[:-5])
    assert "cut or edited" in gate(**REQUEST)["msg"]


def test_a_signature_is_checked(gate: Any) -> None:
    assert gate(state="written", content=CONTENT, signing_key="a-long-signing-key")["signed"] is True
    assert gate(**REQUEST, signing_key="a-long-signing-key")["signed"] is True
    assert "signature is not by this" in gate(**REQUEST, signing_key="another-signing-key")["msg"]


def test_an_override_needs_two_names(gate: Any) -> None:
    assert gate(**REQUEST, override={"reason": "fire", "approved_by": ["Anna", "Ben"]})["evidence"] == {}
    assert "two people" in gate(**REQUEST, override={"reason": "fire", "approved_by": ["Anna"]})["msg"]
