# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands as the inventory gives them: one argument list, or several, and never a line for a shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import Refused


def read_commands(commands: Mapping[str, Any], name: str, where: str) -> list[list[str]]:
    """Return the commands of a name: one argument list, or several.

    Args:
        commands: by name.
        name: the name.
        where: the variable that holds them, for the message.

    Raises:
        Refused: there is none, or it is not made of argument lists.
    """
    given = commands.get(name) or []
    if given and all(isinstance(part, (str, int, float)) for part in given):
        given = [given]
    if given and all(isinstance(part, list) and part for part in given):
        return [[str(argument) for argument in part] for part in given]
    raise Refused(
        f"{where} has no command {name!r}, or it is not an argument list.",
        untouched="No command was run.",
        remedy=(
            f"Set {name} of {where} to a list, for example [systemctl, stop, shop], or to a list of such lists. There"
            " is no shell: pipes and && do not work."
        ),
    )
