# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A notice through a command of the team's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .._domain.errors import RollbackError
from .._domain.secrets import environment_secrets
from .._process import account_home, base_environment, check_finished, run_switch
from .interface import Channel, NotSent

if TYPE_CHECKING:
    from .._domain.notice import Message


class CommandChannel(Channel):
    """A command that reads the message as JSON from its standard input; there is no shell.

    Args:
        options: C(command), and optionally C(environment) and C(chdir).
    """

    required = ("command",)

    def send(self, message: Message, timeout: float) -> str:
        """Run it; an exit code of 0 says that it was sent."""
        environment = self._environment()
        try:
            finished = run_switch(
                self.options["command"],
                environment=base_environment(environment, account_home()),
                folder=self.options.get("chdir") or "/",
                timeout=timeout,
                secrets=self.secrets(),
                standard_input=json.dumps(message.payload, ensure_ascii=False).encode(),
            )
        except RollbackError as error:
            raise NotSent(error.message) from None
        try:
            check_finished(finished, "the command", timeout, "")
        except RollbackError as error:
            raise NotSent(error.message, again=True) from None
        return ""

    def secrets(self) -> list[str]:
        """Return what its environment holds that must not be read."""
        return environment_secrets(self._environment())

    def _environment(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in (self.options.get("environment") or {}).items()}
