# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that is a deployment on Railway."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .._domain.errors import Refused
from .._railway import DEFAULT_DEADLINE_SECONDS, RailwayClient, client_of
from .interface import Way

_MAY = {"redeploy": "canRedeploy", "rollback": "canRollback"}


class RailwayWay(Way):
    """The older release is a deployment that is named; the newer one is the deployment that this run stopped."""

    def __init__(self, params: Mapping[str, Any], remembered: Mapping[str, Any]) -> None:
        super().__init__(params, remembered)
        self._options: Mapping[str, Any] = params["railway"]
        self._client: RailwayClient = client_of(self._options)
        self._deadline = float(self._options.get("deadline") or DEFAULT_DEADLINE_SECONDS)
        self._by: str = self._options.get("deploy_by") or "redeploy"

    def has(self, wish: str) -> bool:
        """Tell that every state is reached this way."""
        return bool(wish)

    def check(self) -> dict[str, Any]:
        """See that the token belongs here, and that the older deployment can be put in place."""
        service = self._client.service()
        running = self._client.active()["id"]
        older = self._options.get("older_deployment") or ""
        if older:
            self._check_deployable(older)
        if older == running:
            raise Refused(
                f"Deployment {older} is the one that runs now, and rollback_release calls it the older release.",
                untouched="The release was not touched.",
                remedy="Name a deployment of the release before the migration, or set rollback_keep_release: true.",
            )
        self.memory["stopped_deployment"] = running
        commands = {"start_command": service["startCommand"], "pre_deploy_command": service["preDeployCommand"]}
        return {"service": service["serviceName"], "running": running, "older": older, **commands}

    def switch(self, wish: str) -> list[dict[str, Any]]:
        """Stop, deploy or restart, and wait until Railway shows it."""
        start = time.monotonic()
        text = {"stopped": self._stop, "restarted": self._restart}.get(wish, lambda: self._deploy(wish))()
        return [{"seconds": round(time.monotonic() - start, 3), "exit_code": 0, "output_tail": text}]

    def _stop(self) -> str:
        active = [deployment["id"] for deployment in self._client.service()["activeDeployments"]]
        if active:
            self.memory["stopped_deployment"] = self._client.active()["id"]
        for deployment in active:
            self._client.stop(deployment)
        for deployment in active:
            self._client.wait_until_stopped(deployment, self._deadline)
        return f"stopped: {', '.join(active) or 'nothing was active'}"

    def _restart(self) -> str:
        active = self._client.active()["id"]
        self._client.restart(active)
        self._client.wait_until_up(active, self._deadline)
        return f"restarted: {active}"

    def _deploy(self, wish: str) -> str:
        source = self._source(wish)
        self._check_deployable(source)
        if self._by == "rollback" and wish == "older":
            deployed = self._client.roll_back(source, self._deadline)
        else:
            deployed = self._client.redeploy(source)
        self.memory["deployed"] = deployed
        self._client.wait_until_up(deployed, self._deadline)
        return f"deployed: {deployed}, which is {source} again"

    def _source(self, wish: str) -> str:
        remembered = self.remembered.get("stopped_deployment") if wish == "newer" else None
        source = self._options.get(f"{wish}_deployment") or remembered
        if source:
            return str(source)
        raise Refused(
            f"Nothing says which deployment on Railway is the {wish} release.",
            untouched="The release was not touched.",
            remedy=f"Set railway.{wish}_deployment of rollback_release; the dashboard shows it in its address.",
        )

    def _check_deployable(self, deployment_id: str) -> None:
        deployment = self._client.deployment(deployment_id)
        if not deployment[_MAY[self._by]]:
            raise Refused(
                f"Railway says that deployment {deployment_id} (status {deployment['status']}) cannot be put in place"
                f" again by {self._by}.",
                untouched="The release was not touched.",
                remedy=(
                    "Its image may be older than the plan's retention. Name another deployment of the older release, or"
                    " deploy its commit beforehand and name that one."
                ),
            )
