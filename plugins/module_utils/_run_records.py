# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin and end a run: its folder, its first event, and the records made from its journal."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ._domain.errors import Refused
from ._domain.names import new_run_id
from ._domain.outcome import has_failed, summarise
from ._domain.report import render_report
from ._run import Run, check_private_folder, write_private_file


def check_lasting_folder(state_dir: Path, job_controller: bool) -> None:
    """Check that the state folder outlives the job.

    A job controller throws its execution environment away after each job; a folder on the container's root file
    system goes with it, a mounted one does not.

    Raises:
        Refused: the folder would vanish.
    """
    in_container = Path("/run/.containerenv").exists() or Path("/.dockerenv").exists() or Path("/runner").is_dir()
    if job_controller and in_container and state_dir.stat().st_dev == Path("/").stat().st_dev:
        raise Refused(
            f"The state folder {state_dir} lies inside the job's container and would vanish with it, backups included.",
            untouched="Nothing was touched.",
            remedy="Let the host be a machine that stays (ansible_host in the inventory), or mount a volume there.",
        )


def begin(state_dir: Path, request: Mapping[str, Any], *, job_controller: bool, check_mode: bool) -> str:
    """Begin a run and return its name; in check mode nothing is written.

    Args:
        state_dir: the host's state folder.
        request: kind, environment, host, database, reason, executed_by, and what was asked for.
        job_controller: the run was started by a job controller.
        check_mode: only check.
    """
    check_private_folder(state_dir)
    check_lasting_folder(state_dir, job_controller)
    run_id = new_run_id(datetime.now(timezone.utc), secrets.token_hex(2))
    if not check_mode:
        run = Run(state_dir, run_id)
        run.create()
        run.record("preflight", "the run begins", data=dict(request))
    return run_id


def end(run: Run, failure: Mapping[str, Any] | None) -> tuple[dict[str, Any], bool]:
    """End a run: write run.json, impact.json and report.md beside its journal.

    Args:
        run: the run.
        failure: the task that failed without a record of its own (phase, action, message, and what a module returned
            under C(error)), or None. It is only recorded where the journal holds no failure of its own.

    Returns:
        The content of run.json, and whether anything was written that was not there before.
    """
    events = run.events()
    if failure and not has_failed(events):
        forward = [event["phase"] for event in events if event["phase"] != "restore"]
        phase = failure.get("phase") or forward[-1]
        told = {name: value for name, value in failure.items() if name != "error"}
        error = {"kind": "failed", "untouched": "", "remedy": "", **told, **(failure.get("error") or {})}
        run.record(phase, str(failure.get("action") or "a task failed"), outcome=error["kind"], data={"error": error})
        events = run.events()
    summary = summarise(events)
    changed = [
        write_private_file(run.folder / "run.json", _pretty(summary)),
        write_private_file(run.folder / "impact.json", _pretty(_impact(run, summary))),
        write_private_file(run.folder / "report.md", render_report(summary, events)),
    ]
    return summary, any(changed)


def _impact(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    names = ("loss", "window_seconds", "window_breakdown", "restore_seconds", "outcome")
    changes = [event["data"]["change"] for event in run.events() if "change" in event["data"]]
    return {"run_id": run.run_id, "change": changes[-1] if changes else [], **{name: summary[name] for name in names}}


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
