# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode as a request to the application, a proxy or a platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._domain.errors import Failed
from .._domain.probe import without_credentials
from .._probe import request
from .interface import Provider

TIMEOUT_SECONDS = 30.0
_GOOD = range(200, 300)


class HttpProvider(Provider):
    """One request turns it on, one off.

    Args:
        options: C(url), C(on) and C(off) with C(method), C(body) and optionally a C(url) of their own, C(headers).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    def turn_on(self) -> None:
        """Send the request C(on)."""
        self._send("on", "PUT")

    def turn_off(self) -> None:
        """Send the request C(off)."""
        self._send("off", "DELETE")

    def _send(self, name: str, default_method: str) -> None:
        options = self._options.get(name) or {}
        url = options.get("url") or self._options["url"]
        method = options.get("method") or default_method
        answer = request(url, method, self._options.get("headers") or {}, options.get("body"), TIMEOUT_SECONDS)
        if answer.status in _GOOD:
            return
        raise Failed(
            f"The request that turns maintenance mode {name} ({method} {without_credentials(url)}) got "
            f"{f'status {answer.status}' if answer.status else answer.error}.",
            remedy="Send it by hand with curl from this host, and check the address and the token.",
        )
