# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a notice channel can do."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._domain.notice import Message


class NotSent(Exception):
    """One attempt did not succeed.

    Args:
        reason: why, in a few words; never a secret.
        again: whether another attempt may succeed.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


class Channel(abc.ABC):
    """A way to tell people or programs.

    Args:
        options: the channel's entry in C(channels) of M(balcon.rollback.notice).
    """

    required: tuple[str, ...] = ()
    """Options without which nothing can be sent; a variable that came from an environment may be empty."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def check(self) -> None:
        """Check that what is needed is there.

        Raises:
            NotSent: it is not.
        """
        missing = [name for name in self.required if not self.options.get(name)]
        if missing:
            raise NotSent(f"{' and '.join(missing)} is empty: look at rollback_notices and at what fills it")

    @abc.abstractmethod
    def send(self, message: Message, timeout: float) -> str:
        """Send a message, once.

        Args:
            message: what to say.
            timeout: seconds.

        Returns:
            What a person should know although it was sent; "" is: all is well.

        Raises:
            NotSent: it was not sent, as far as can be seen.
        """

    def secrets(self) -> list[str]:
        """Return what must not be read in a reason."""
        return []
