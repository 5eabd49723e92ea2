# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a run, from its first event to its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def request_of_a_run(state_dir: Path) -> dict[str, Any]:
    return {
        "state_dir": str(state_dir),
        "kind": "rollback",
        "environment": "production",
        "database": "shop",
        "reason": "invoices",
        "executed_by": "anna",
    }


def test_a_run_from_start_to_report(run_module: Any, state_dir: Path, request_of_a_run: dict[str, Any]) -> None:
    started = run_module("run_journal", state="started", **request_of_a_run)
    assert started["changed"] is True
    arguments = {"state_dir": str(state_dir), "run_id": started["run_id"]}
    event = run_module(
        "run_journal", state="event", phase="gate", action="ask", outcome="refused", data={"plan": ["a"]}, **arguments
    )
    assert event["changed"] is True
    finished = run_module("run_journal", state="finished", **arguments)
    assert (finished["changed"], finished["run"]["outcome"], finished["run"]["plan"]) == (True, "refused", ["a"])
    assert run_module("run_journal", state="finished", **arguments)["changed"] is False
    folder = Path(finished["folder"])
    assert json.loads((folder / "run.json").read_text()) == finished["run"]
    assert "**Executed By:** anna" in (folder / "report.md").read_text()
    assert {path.name for path in folder.iterdir()} == {
        "journal.jsonl",
        "run.json",
        "impact.json",
        "report.md",
        "report.html",
    }
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_check_mode_writes_nothing(run_module: Any, state_dir: Path, request_of_a_run: dict[str, Any]) -> None:
    started = run_module("run_journal", check_mode=True, state="started", **request_of_a_run)
    assert started["changed"] is True
    assert list(state_dir.iterdir()) == []


def test_a_failure_of_another_task_is_recorded_once(
    run_module: Any, state_dir: Path, request_of_a_run: dict[str, Any]
) -> None:
    run_id = run_module("run_journal", state="started", **request_of_a_run)["run_id"]
    failure = {"action": "Close | the answer is the name", "message": "The rollback was not confirmed."}
    for _again in range(2):
        finished = run_module("run_journal", state="finished", state_dir=str(state_dir), run_id=run_id, failure=failure)
    assert finished["run"]["error"]["message"] == "The rollback was not confirmed."
    assert finished["run"]["outcome"] == "aborted"
    assert len((Path(finished["folder"]) / "journal.jsonl").read_text().splitlines()) == 2


def test_a_state_folder_that_others_can_read_is_refused(
    run_module: Any, state_dir: Path, request_of_a_run: dict[str, Any]
) -> None:
    state_dir.chmod(0o755)
    refused = run_module("run_journal", state="started", **request_of_a_run)
    assert refused["failed"] is True
    assert refused["error"]["kind"] == "refused"
    assert "chmod 0700" in refused["msg"]
    assert list(state_dir.iterdir()) == []


def test_an_edited_journal_is_refused(run_module: Any, state_dir: Path, request_of_a_run: dict[str, Any]) -> None:
    started = run_module("run_journal", state="started", **request_of_a_run)
    journal = Path(started["folder"]) / "journal.jsonl"
    journal.write_text(journal.read_text().replace("anna", "otto"))
    refused = run_module("run_journal", state="finished", state_dir=str(state_dir), run_id=started["run_id"])
    assert "broken at line 1" in refused["msg"]
