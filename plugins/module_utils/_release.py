# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switching the application's release: commands, and what is seen of them from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._database.dialect import Window
from ._domain.errors import Refused
from ._domain.secrets import environment_secrets
from ._probe import check_probe, make_endpoints, probe_until
from ._process import account_home, base_environment, check_finished, run_switch

_COMMAND_OF = {"stopped": "stop", "older": "older", "newer": "newer"}
_NOT_GONE = (
    "The newer release must be gone before the database is swapped: it would write to the rolled-back schema,"
    " or apply its migrations again. Stop it by hand and see who still answers, then decide."
)
_NOT_HEALTHY = "Look at the application's log: it was started, and does not answer as described."


def switch_release(params: Mapping[str, Any], journal: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Stop or start a release, and see from outside that it is so.

    Args:
        params: the parameters of M(balcon.rollback.app_release).
        journal: gets what the journal is to know.
        check_mode: change nothing, and say what would be done.

    Raises:
        Refused: the state of the run does not allow it; nothing was changed.
        Failed: a command failed, or the outside does not show what was wished.
    """
    window, wish = Window(params), params["state"]
    commands = read_commands(params["commands"], _COMMAND_OF[wish])
    stopping = wish == "stopped"
    endpoints = make_endpoints(params["gone" if stopping else "healthy"] or [], any_status=stopping)
    window.check_release(wish)
    if check_mode:
        return _result(wish, 0.0, [], None)
    with window.heartbeat():
        finished = _run_all(commands, params)
        journal.update(state=wish, command_seconds=_total(finished))
        outcome = None
        if endpoints:
            limits = {"timeout": params["timeout"], "deadline": params["deadline"]}
            outcome = probe_until(endpoints, gone=stopping, **limits)
            check_probe(outcome, gone=stopping, remedy=_NOT_GONE if stopping else _NOT_HEALTHY)
    journal["reopened"] = not stopping
    return _result(wish, _total(finished), finished, outcome)


def read_commands(commands: Mapping[str, Any], name: str) -> list[list[str]]:
    """Return the commands of a name: one argument list, or several.

    Raises:
        Refused: there is none, or it is not made of argument lists.
    """
    given = commands.get(name) or []
    if given and all(isinstance(part, (str, int, float)) for part in given):
        given = [given]
    if given and all(isinstance(part, list) and part for part in given):
        return [[str(argument) for argument in part] for part in given]
    raise Refused(
        f"The release switch has no command {name!r}, or it is not an argument list.",
        untouched="The release was not touched.",
        remedy=(
            f"Set {name} of rollback_release.commands to a list, for example [systemctl, stop, shop], or to a"
            " list of such lists. There is no shell: pipes and && do not work."
        ),
    )


def _run_all(commands: Sequence[Sequence[str]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    environment = {name: str(value) for name, value in (params["environment"] or {}).items()}
    done = []
    for command in commands:
        finished = run_switch(
            command,
            environment=base_environment(environment, account_home()),
            folder=params["chdir"] or "/",
            timeout=params["command_timeout"],
            secrets=environment_secrets(environment),
        )
        check_finished(
            finished,
            f"The command {command[0]!r} of the release switch",
            params["command_timeout"],
            "Run it by hand as the account that runs the tools: it gets PATH, HOME, LANG and the given environment.",
        )
        done.append({"seconds": finished.seconds, "exit_code": 0, "output_tail": finished.output_tail})
    return done


def _result(
    wish: str, seconds: float, finished: list[dict[str, Any]], outcome: Mapping[str, Any] | None
) -> dict[str, Any]:
    seen = outcome["seconds"] if outcome else 0.0
    return {
        "changed": True,
        "state": wish,
        "commands": finished,
        "command_seconds": seconds,
        "gone_seconds": seen if wish == "stopped" else None,
        "healthy_seconds": seen if wish != "stopped" else None,
        "endpoints": outcome["endpoints"] if outcome else [],
        "verified": bool(outcome),
        "seconds": round(seconds + seen, 3),
    }


def _total(finished: Sequence[Mapping[str, Any]]) -> float:
    return round(sum(step["seconds"] for step in finished), 3)
