# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode as a variable of a service on Railway, which takes effect when the service is deployed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._domain.errors import RollbackError
from .._domain.railway import UP
from .._railway import DEFAULT_DEADLINE_SECONDS, RailwayClient, client_of
from .interface import Provider


class RailwayProvider(Provider):
    """A variable is set and read back, and the release that runs is deployed again, the same image.

    Args:
        options: those of `_railway.client_of`, and C(variable), C(on), C(off), C(redeploy), C(deadline).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._name = str(options.get("variable") or "MAINTENANCE_MODE")
        self._values = {True: str(options.get("on") or "true"), False: str(options.get("off") or "false")}
        self._redeploy = options.get("redeploy") is not False
        self._deadline = float(options.get("deadline") or DEFAULT_DEADLINE_SECONDS)
        self._client: RailwayClient = client_of(options)
        self._asked = False  # for a deployment

    def turn_on(self) -> None:
        """Set the variable, and deploy; where that fails, the variable says off again, and is deployed."""
        try:
            self._set(True)
        except RollbackError as error:
            self._take_back(error)
            raise

    def turn_off(self) -> None:
        """Set the variable, and deploy."""
        self._set(False)

    def is_on(self) -> bool | None:
        """Tell by the variable; None where the latest deployment is not up, and so may never have seen it."""
        value = self._client.variable(self._name)
        latest = self._client.service()["latestDeployment"]
        if self._redeploy and not (latest and latest["status"] in UP):
            return None
        if value == self._values[True]:
            return True
        return False if value in (None, self._values[False]) else None

    def _set(self, on: bool) -> None:
        active = self._client.active()["id"] if self._redeploy else ""
        self._client.set_variable(self._name, self._values[on])
        if active:
            self._deploy(active)

    def _deploy(self, source: str) -> None:
        self._asked = True
        self._client.wait_until_up(self._client.redeploy(source), self._deadline)

    def _take_back(self, error: RollbackError) -> None:
        """Set the variable to off; where a deployment was asked for, deploy: that one may still come up."""
        try:
            self._client.set_variable(self._name, self._values[False])
        except RollbackError:
            error.untouched = f"The variable {self._name} may still say {self._values[True]}."
            return
        error.untouched = f"The variable {self._name} says {self._values[False]} again."
        if not self._asked:
            return
        try:
            self._deploy(self._client.active()["id"])
        except RollbackError:
            error.untouched += (
                f" It was not seen to be deployed, and a deployment that saw {self._values[True]} may still come up:"
                " look at Railway's dashboard, and deploy again."
            )
