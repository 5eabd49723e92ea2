# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release switched by commands of the team's own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from .._domain.errors import Refused
from .._domain.secrets import environment_secrets
from .._process import account_home, base_environment, check_finished, run_switch
from .interface import Way

COMMAND_OF = {"stopped": "stop", "older": "older", "newer": "newer", "restarted": "restart"}
NEEDED = ("stopped", "older", "newer")
_REMEDY = "Run it by hand as the account that runs the tools: it gets PATH, HOME, LANG and the given environment."


class CommandWay(Way):
    """One command, or several, for each state."""

    def has(self, wish: str) -> bool:
        """Tell whether there is a command for it."""
        return bool(self.params["commands"].get(COMMAND_OF[wish]))

    def check(self) -> dict[str, Any]:
        """See that every command that is given is made of argument lists, and that its program is there."""
        environment = self._environment()
        for name in (name for name in COMMAND_OF.values() if self.params["commands"].get(name)):
            for command in read_commands(self.params["commands"], name):
                if shutil.which(command[0], path=environment["PATH"]) is None:
                    raise Refused(
                        f"There is no program {command[0]!r}, which rollback_release.commands.{name} would start.",
                        untouched="The release was not touched.",
                        remedy="Name it by its full path, or add its folder to PATH in rollback_release.environment.",
                    )
        return {}

    def switch(self, wish: str) -> list[dict[str, Any]]:
        """Run the commands one after the other."""
        return [self._run(command) for command in read_commands(self.params["commands"], COMMAND_OF[wish])]

    def _run(self, command: list[str]) -> dict[str, Any]:
        timeout = self.params["command_timeout"]
        finished = run_switch(
            command,
            environment=self._environment(),
            folder=self.params["chdir"] or "/",
            timeout=timeout,
            secrets=environment_secrets(self._given()),
        )
        check_finished(finished, f"The command {command[0]!r} of the release switch", timeout, _REMEDY)
        return {"seconds": finished.seconds, "exit_code": 0, "output_tail": finished.output_tail}

    def _environment(self) -> dict[str, str]:
        return base_environment(self._given(), account_home())

    def _given(self) -> dict[str, str]:
        return {name: str(value) for name, value in (self.params["environment"] or {}).items()}


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
