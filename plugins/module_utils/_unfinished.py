# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finishing a run that nobody ended, for the next run and for whoever is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._database.postgresql.access import release_lock
from ._database.postgresql.connection import Server, Unreachable
from ._database.postgresql.information import explained
from ._database.postgresql.unfinished import finish, look
from ._domain.errors import Refused, RollbackError
from ._domain.in_place import DumpAccess
from ._domain.unfinished import (
    BACK,
    FINISHING,
    Decision,
    Seen,
    decide,
    refuse_after_finishing,
    refuse_open_run,
    what_to_type,
)
from ._lasting import ends_with_job
from ._maintenance import provider
from ._private_files import contents_of_candidate
from ._run import Run, module_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible.module_utils.basic import AnsibleModule

LEFT_AS_IT_WAS = "left as it was"


def check_unfinished(module: AnsibleModule, journal: dict[str, Any]) -> dict[str, Any]:
    """Say what would be done about a run that nobody ended.

    Args:
        module: M(balcon.rollback.unfinished_run).
        journal: gets what the journal is to know.

    Raises:
        Refused: there is one, and that was to be refused.
    """
    server = Server(module.params["database_url"], module.params["admin_url"])
    seen, _contents = _look(server, module.params)
    decision = decide(seen)
    journal.update(changed=False, decision=decision.kind, open_run=decision.run_id)
    if module.params["refuse"] or module.params["state"] == "finished":
        refuse_open_run(decision, module.params["command"])
    return {"changed": False, **_result(seen, decision, module.params["command"], LEFT_AS_IT_WAS)}


def finish_unfinished(module: AnsibleModule) -> dict[str, Any]:
    """Finish a run that nobody ended.

    Raises:
        Refused: it is at work, a person must decide, or it was finished and the database is another one now.
        Failed: it could not be finished.
    """
    params = module.params
    with module_step(module, "finish what an earlier run left") as journal:
        server = Server(params["database_url"], params["admin_url"])
        seen, contents = _look(server, params)
        decision = decide(seen)
        journal.update(changed=False, decision=decision.kind, open_run=decision.run_id)
        message, maintenance = decision.reason, LEFT_AS_IT_WAS
        if decision.kind not in FINISHING:
            refuse_open_run(decision, params["command"])
        else:
            finished = finish(
                server, seen, decision, contents, DumpAccess(params["signing_key"], params["client_path"])
            )
            if not finished.changed:
                raise _not_finished(decision, params["command"])
            maintenance = _turn_off(params["maintenance"], bool(_stopped(seen)) and decision.kind in BACK)
            message = f"{finished.message} Maintenance mode: {maintenance}."
            release_lock(server, decision.run_id)
            journal.update(changed=True, maintenance=maintenance, finished_run=finished.data)
            if decision.kind in BACK:
                journal["undone_run"] = decision.run_id  # what its switches of the release left is looked up there
    changed = decision.kind in FINISHING
    if changed:
        with module_step(module, "go on after an earlier run was finished") as journal:
            journal["changed"] = False
            refuse_after_finishing(decision, message, params["command"])
    return {"changed": changed, **_result(seen, decision, params["command"], maintenance)}


def _look(server: Server, params: Mapping[str, Any]) -> tuple[Seen, dict[str, Any] | None]:
    try:
        seen = look(server)
    except Unreachable as refusal:
        raise explained(server, refusal) from None
    contents = None
    if seen.description and params["state_dir"]:
        contents = contents_of_candidate(Run(params["state_dir"], seen.description.run_id))
    return (look(server, can_prove=True) if contents and seen.written else seen), contents


def _stopped(seen: Seen) -> str:
    return str(seen.description.data.get("stopped") or "") if seen.description else ""


def _turn_off(maintenance: Mapping[str, Any] | None, release_is_stopped: bool) -> str:
    """Turn maintenance mode off, unless nothing answers behind it; a flag that stays on is told, and is no failure."""
    if not maintenance:
        return LEFT_AS_IT_WAS
    if release_is_stopped:
        return "left on: that run had stopped the application"
    try:
        provider(maintenance).turn_off()
    except (RollbackError, OSError) as error:
        return f"could not be turned off: {error}"
    return "turned off"


def _not_finished(decision: Decision, command: str) -> Refused:
    return Refused(
        f"Run {decision.run_id} went on, or was finished by somebody else, while it was looked at.",
        untouched="Nothing was touched.",
        remedy=f"Look what became of it, then start again: {command}",
        other_run=decision.run_id,
    )


def _result(seen: Seen, decision: Decision, command: str, maintenance: str) -> dict[str, Any]:
    return {
        "decision": decision.kind,
        "open_run": decision.run_id,
        "stopped": _stopped(seen),
        "lines": [decision.reason, what_to_type(decision, command)],
        "maintenance": maintenance,
        "no_keeper": ends_with_job(),
    }
