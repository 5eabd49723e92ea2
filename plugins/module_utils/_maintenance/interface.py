# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a maintenance provider can do."""

from __future__ import annotations

import abc


class Provider(abc.ABC):
    """A way to tell users, or the application, that maintenance is under way."""

    @abc.abstractmethod
    def turn_on(self) -> None:
        """Turn maintenance mode on; doing it twice is harmless."""

    @abc.abstractmethod
    def turn_off(self) -> None:
        """Turn maintenance mode off; doing it twice is harmless."""

    def is_on(self) -> bool | None:
        """Tell whether it is on; None where this provider cannot tell."""
        return None
