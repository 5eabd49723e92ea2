# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a way of switching the release can do."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any


class Way(abc.ABC):
    """A way to stop, replace or restart the application.

    Args:
        params: the parameters of M(balcon.rollback.app_release).
        remembered: what earlier switches of this run left in its journal.

    Attributes:
        memory: what a later switch of the same run needs to know; goes into the journal, never a secret.
    """

    def __init__(self, params: Mapping[str, Any], remembered: Mapping[str, Any]) -> None:
        self.params = params
        self.remembered = remembered
        self.memory: dict[str, str] = {}

    @abc.abstractmethod
    def has(self, wish: str) -> bool:
        """Tell whether this way does anything for a state that is wished for."""

    @abc.abstractmethod
    def check(self) -> dict[str, Any]:
        """See, without changing anything, that every switch of a rollback will be possible.

        Returns:
            What a person may want to know; empty where there is nothing to tell.

        Raises:
            Refused: one will not be.
        """

    @abc.abstractmethod
    def switch(self, wish: str) -> list[dict[str, Any]]:
        """Do it, and return the steps: C(seconds), C(exit_code), C(output_tail).

        Raises:
            Refused: it cannot be done; nothing was changed.
            Failed: it was begun and did not end as it should have.
        """
