# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode as commands of the team's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._domain.commands import read_commands
from .._domain.railway import check_cli_environment
from .._domain.secrets import environment_secrets
from .._process import Finished, account_home, base_environment, check_finished, run_switch
from .interface import Provider

TIMEOUT_SECONDS = 60.0
_ON, _OFF = 0, 1


class CommandProvider(Provider):
    """Commands turn it on and off; a third may tell the state.

    Args:
        options: C(on), C(off), each one argument list or several, which run one after the other, and optionally the
            argument list C(status) (exit code 0: on, 1: off), C(environment), and C(chdir).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    def turn_on(self) -> None:
        """Run the command C(on)."""
        self._check("on")

    def turn_off(self) -> None:
        """Run the command C(off)."""
        self._check("off")

    def is_on(self) -> bool | None:
        """Ask the command C(status), where there is one."""
        if not self._options.get("status"):
            return None
        finished = self._run(self._options["status"])
        if finished.exit_code not in (_ON, _OFF):
            check_finished(finished, "The command that tells the maintenance mode", TIMEOUT_SECONDS, _REMEDY)
        return finished.exit_code == _ON

    def _check(self, name: str) -> None:
        for command in read_commands(self._options, name, "rollback_maintenance.command"):
            what = f"The command that turns maintenance mode {name} ({command[0]})"
            check_finished(self._run(command), what, TIMEOUT_SECONDS, _REMEDY)

    def _run(self, command: Sequence[str]) -> Finished:
        environment = {key: str(value) for key, value in (self._options.get("environment") or {}).items()}
        check_cli_environment(environment)
        return run_switch(
            command,
            environment=base_environment(environment, account_home()),
            folder=self._options.get("chdir") or "/",
            timeout=TIMEOUT_SECONDS,
            secrets=environment_secrets(environment),
        )


_REMEDY = "Run it by hand as the account that runs the tools: it gets PATH, HOME, LANG and the given environment only."
