# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switching the application's release: commands, and what is seen of them from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._database.dialect import Window
from ._domain.errors import Refused, RollbackError
from ._probe import check_probe, make_endpoints, probe_until
from ._releases import Way, ways
from ._run import Run

_NOT_GONE = (
    "The newer release must be gone before the database is swapped: it would write to the rolled-back schema,"
    " or apply its migrations again. Stop it by hand and see who still answers, then decide."
)
_NOT_HEALTHY = "Look at the application's log: it was started, and does not answer as described."
MEMORY = "release"
"""The key of an event's data under which a switch leaves what a later one of the same run needs."""


def switch_release(params: Mapping[str, Any], journal: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Stop, start or restart a release, and see from outside that it is so.

    Args:
        params: the parameters of M(balcon.rollback.app_release).
        journal: gets what the journal is to know.
        check_mode: change nothing, and say what would be done.

    Raises:
        Refused: the state of the run does not allow it; nothing was changed.
        Failed: a switch failed, or the outside does not show what was wished.
    """
    window, wish = Window(params), params["state"]
    chosen = _ways_for(wish, params)
    stopping = wish == "stopped"
    # "healthy" may be true of the older release alone; "gone" describes the newer one, by which it is seen to be back.
    by_gone = stopping or (wish == "newer" and bool(params["gone"]))
    endpoints = make_endpoints(params["gone" if by_gone else "healthy"] or [], any_status=stopping)
    window.check_release(wish)
    if check_mode:
        return _result(wish, [], None)
    if stopping:
        window.note_release(wish)
    with window.heartbeat():
        steps = _switch_all(chosen, wish, journal)
        outcome = None
        if endpoints:
            limits = {"timeout": params["timeout"], "deadline": params["deadline"]}
            outcome = probe_until(endpoints, gone=stopping, **limits)
            check_probe(outcome, gone=stopping, remedy=_NOT_GONE if stopping else _NOT_HEALTHY)
    if not stopping:
        window.note_release(wish)
    journal["reopened"] = not stopping
    return _result(wish, steps, outcome)


def check_switch(params: Mapping[str, Any], journal: dict[str, Any]) -> dict[str, Any]:
    """See, without changing anything, that every switch of a rollback will be possible, and remember what runs now.

    Args:
        params: the parameters of M(balcon.rollback.app_release).
        journal: gets what the journal is to know.

    Raises:
        Refused: one will not be.
    """
    facts: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    for way in ways(params, {}):
        facts.update(way.check())
        memory.update(way.memory)
    if memory:
        journal[MEMORY] = memory
    for wish in ("stopped", "older", "newer"):
        _ways_for(wish, params)
    return {**_result("checked", [], None), "changed": False, "facts": facts}


def _ways_for(wish: str, params: Mapping[str, Any]) -> list[Way]:
    """Return the ways that do something for a state; every one is made, so that every setting is read."""
    chosen = [way for way in ways(params, remembered(params)) if way.has(wish)]
    if chosen:
        return chosen
    raise Refused(
        f"Nothing says how the application comes to the state {wish!r}.",
        untouched="The release was not touched.",
        remedy=(
            "Give the command for it in rollback_release.commands (stop, older, newer, restart), for example"
            " [systemctl, stop, shop]."
        ),
    )


def remembered(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what earlier switches of this run, and of a run that it took back, left in the journals.

    In check mode a run has no journal; and the records of a run that was taken back may be lost, or on another host.
    """
    found: dict[str, Any] = {}
    run = Run(params["state_dir"], params["run_id"]) if params["run_id"] else None
    for event in run.events() if run and run.journal.exists() else []:
        undone = event["data"].get("undone_run")
        if undone and undone != params["run_id"]:
            found.update(_left_by(params["state_dir"], undone))
        found.update(event["data"].get(MEMORY) or {})
    return found


def _left_by(state_dir: str, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        for event in Run(state_dir, run_id).events():
            found.update(event["data"].get(MEMORY) or {})
    except (RollbackError, OSError):
        return {}
    return found


def _switch_all(chosen: Sequence[Way], wish: str, journal: dict[str, Any]) -> list[dict[str, Any]]:
    """Go every way, and leave in the journal what was done, also when one of them fails."""
    steps: list[dict[str, Any]] = []
    try:
        for way in chosen:
            steps += way.switch(wish)
    finally:
        memory = {name: value for way in chosen for name, value in way.memory.items()}
        journal.update({"state": wish, "command_seconds": _total(steps), **({MEMORY: memory} if memory else {})})
    return steps


def _result(wish: str, steps: list[dict[str, Any]], outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    seen = outcome["seconds"] if outcome else 0.0
    return {
        "changed": True,
        "state": wish,
        "commands": steps,
        "command_seconds": _total(steps),
        "gone_seconds": seen if wish == "stopped" else None,
        "healthy_seconds": seen if wish != "stopped" else None,
        "endpoints": outcome["endpoints"] if outcome else [],
        "verified": bool(outcome),
        "seconds": round(_total(steps) + seen, 3),
    }


def _total(steps: Sequence[Mapping[str, Any]]) -> float:
    return round(sum(step["seconds"] for step in steps), 3)
