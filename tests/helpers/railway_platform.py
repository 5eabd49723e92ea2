# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform like Railway: a real GraphQL server over the part of its schema that is used, with deployments that take
their time, instances that may crash, and tokens that belong to one environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync
from web_server import Answer, WebServer, reply, web_server

SCHEMA = build_schema((Path(__file__).with_name("railway.graphql")).read_text())
PROJECT, ENVIRONMENT, SERVICE = "project-shop", "environment-production", "service-backend"
TOKEN, STAGING_TOKEN, FOREIGN_TOKEN, ACCOUNT_TOKEN = (
    "token-of-production-environment",
    "token-of-staging-environment",
    "token-of-another-project",
    "token-of-an-account",
)
OWNERS = {
    TOKEN: (PROJECT, ENVIRONMENT),
    STAGING_TOKEN: (PROJECT, "environment-staging"),
    FOREIGN_TOKEN: ("project-of-others", "environment-of-others"),
}


@dataclass
class Deployment:
    """A deployment; its status moves on each time somebody looks at it.

    Attributes:
        number: from 1.
        image: what it runs.
        variables: what it was deployed with.
        ahead: statuses that are still to come.
        restarts: how often its instance was restarted.
    """

    number: int
    image: str
    variables: dict[str, str]
    ahead: list[str]
    status: str = "QUEUED"
    instance: str = "CREATED"
    stopping: bool = False
    stopped: bool = False
    restarts: int = 0
    lingers: int | None = None
    kept: bool = True

    @property
    def id(self) -> str:
        """Its identifier."""
        return f"deployment-{self.number}"


@dataclass
class Platform:
    """One service in one environment.

    Attributes:
        statuses: through which a new deployment goes.
        next_statuses: the same for the next new deployments, one after the other.
        variables: as the next deployment will see them.
        deployments: all of them, oldest first.
        log: lines of the running application: timestamp, severity, message.
        application: told what runs from now on, or None for nothing.
        ignored: names of variables that are accepted and not stored.
        calls: the field of each document that was asked for.
        broken: how many of the next answers are no GraphQL.
        drains: for how many looks a deployment stays active when the next one is up.
    """

    statuses: tuple[str, ...] = ("BUILDING", "DEPLOYING", "SUCCESS")
    next_statuses: list[tuple[str, ...]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=lambda: {"DATABASE_URL": "postgresql://a-secret-of-the-service"})
    deployments: list[Deployment] = field(default_factory=list)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    application: Callable[[Deployment | None], None] = lambda _deployment: None
    ignored: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    broken: int = 0
    drains: int = 0
    url: str = ""
    server: WebServer | None = None

    def deploy(self, image: str) -> Deployment:
        """Deploy an image, and be done with it."""
        deployment = self._new(image, dict(self.variables), ["SUCCESS"])
        self._look(deployment)
        return deployment

    @property
    def active(self) -> list[Deployment]:
        """The deployments that run."""
        return [
            deployment for deployment in self.deployments if deployment.status == "SUCCESS" and not deployment.stopped
        ]

    # -- what the schema asks for -------------------------------------------------------------------------------------

    def projectToken(self, info: Any) -> dict[str, str]:  # noqa: N802
        """Whose token was sent."""
        if info.context[0] not in OWNERS:
            raise GraphQLError("Project Token not found")
        project, environment = OWNERS[info.context[0]]
        return {"projectId": project, "environmentId": environment}

    def serviceInstance(self, info: Any, environmentId: str, serviceId: str) -> dict[str, Any]:  # noqa: N802, N803
        """The service."""
        self._authorise(info, environmentId, serviceId)
        shown = [self._shown(deployment) for deployment in self.deployments]
        active = [self._shown(deployment, look=False) for deployment in self.active]
        return {
            "environmentId": environmentId,
            "serviceId": serviceId,
            "serviceName": "backend",
            "startCommand": "npm start",
            "preDeployCommand": None,
            "service": {"projectId": PROJECT},
            "latestDeployment": shown[-1] if shown else None,
            "activeDeployments": active,
        }

    def deployment(self, info: Any, id: str) -> dict[str, Any]:  # noqa: A002
        """One deployment."""
        return self._shown(self._find(info, id))

    def variables_(self, info: Any, projectId: str, environmentId: str, serviceId: str) -> dict[str, str]:  # noqa: N803
        """The variables of the service."""
        self._authorise(info, environmentId, serviceId, projectId)
        return dict(self.variables)

    def deploymentLogs(self, info: Any, deploymentId: str, **limits: Any) -> list[dict[str, str]]:  # noqa: N802, N803
        """The lines of a deployment, the newest of them."""
        self._find(info, deploymentId)
        since, limit = limits.get("startDate") or "", limits.get("limit") or 100
        lines = [line for line in self.log if line[0] >= since][-limit:]
        return [dict(zip(("timestamp", "severity", "message"), line, strict=True)) for line in lines]

    def variableUpsert(self, info: Any, input: dict[str, Any]) -> bool:  # noqa: A002, N802
        """Set a variable; without skipDeploys what runs is deployed again."""
        self._authorise(info, input["environmentId"], input["serviceId"], input["projectId"])
        if input["name"] not in self.ignored:
            self.variables[input["name"]] = input["value"]
        if not input.get("skipDeploys") and self.active:
            self._again(self.active[-1])
        return True

    def deploymentRedeploy(self, info: Any, id: str, usePreviousImageTag: bool = False) -> dict[str, Any]:  # noqa: A002, N802, N803
        """Deploy an image again; without its tag, the newest commit is built."""
        source = self._find(info, id)
        image = source.image if usePreviousImageTag else self.deployments[-1].image
        return self._shown(self._new(image, dict(self.variables), self._ahead()))

    def deploymentRollback(self, info: Any, id: str) -> bool:  # noqa: A002, N802
        """Deploy an image again, with the variables of then."""
        source = self._find(info, id)
        if not source.kept:
            raise GraphQLError("Deployment cannot be rolled back")
        self._new(source.image, dict(source.variables), self._ahead())
        return True

    def deploymentRestart(self, info: Any, id: str) -> bool:  # noqa: A002, N802
        """Restart what runs."""
        found = self._find(info, id)
        found.restarts += 1
        found.ahead = ["DEPLOYING", self.statuses[-1]]
        self.application(found)
        return True

    def deploymentStop(self, info: Any, id: str) -> bool:  # noqa: A002, N802
        """Stop what runs; it is gone at the next look."""
        self._find(info, id).stopping = True
        return True

    # -- below --------------------------------------------------------------------------------------------------------

    def _again(self, source: Deployment) -> Deployment:
        return self._new(source.image, dict(self.variables), self._ahead())

    def _ahead(self) -> list[str]:
        return list(self.next_statuses.pop(0) if self.next_statuses else self.statuses)

    def _new(self, image: str, variables: dict[str, str], ahead: list[str]) -> Deployment:
        deployment = Deployment(len(self.deployments) + 1, image, variables, ahead)
        self.deployments.append(deployment)
        return deployment

    def _look(self, deployment: Deployment) -> None:
        if deployment.lingers is not None:
            deployment.lingers -= 1
            if deployment.lingers < 0:
                deployment.status, deployment.instance, deployment.lingers = "REMOVED", "REMOVED", None
        elif deployment.ahead:
            deployment.status = deployment.ahead.pop(0)
            deployment.instance = {"SUCCESS": "RUNNING", "CRASHED": "CRASHED"}.get(deployment.status, "INITIALIZING")
            if deployment.status == "SUCCESS":
                for other in self.deployments[: deployment.number - 1]:
                    if other.status == "SUCCESS":
                        other.lingers = self.drains
                    if not self.drains:
                        other.status, other.instance, other.lingers = "REMOVED", "REMOVED", None
                self.application(deployment)
        elif deployment.stopping and not deployment.stopped:
            deployment.stopped, deployment.instance = True, "EXITED"
            self.application(None)

    def _shown(self, deployment: Deployment, *, look: bool = True) -> dict[str, Any]:
        if look:
            self._look(deployment)
        return {
            "id": deployment.id,
            "status": deployment.status,
            "createdAt": f"2026-01-01T00:00:{deployment.number:02}.000Z",
            "canRedeploy": deployment.kept,
            "canRollback": deployment.kept,
            "deploymentStopped": deployment.stopped,
            "projectId": PROJECT,
            "environmentId": ENVIRONMENT,
            "serviceId": SERVICE if deployment.number else "service-of-others",
            "instances": [{"id": f"instance-{deployment.number}", "status": deployment.instance}],
        }

    def _find(self, info: Any, deployment_id: str) -> Deployment:
        self._authorise(info, ENVIRONMENT, SERVICE)
        if deployment_id == "deployment-of-others":
            return Deployment(0, "theirs", {}, [], "SUCCESS", "RUNNING")
        found = [deployment for deployment in self.deployments if deployment.id == deployment_id]
        if not found:
            raise GraphQLError("Deployment not found")
        return found[0]

    def _authorise(self, info: Any, environment: str, service: str, project: str = PROJECT) -> None:
        token, kind = info.context
        allowed = OWNERS.get(token) == (project, environment) if kind == "project" else token == ACCOUNT_TOKEN
        if not allowed or (environment, service, project) != (ENVIRONMENT, SERVICE, PROJECT):
            raise GraphQLError("Not Authorized")

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        """Execute one document."""
        if self.broken:
            self.broken -= 1
            return reply("<html>busy</html>", 503)
        content = json.loads(body)
        token, kind = handler.headers.get("Project-Access-Token"), "project"
        if token is None:
            token, kind = str(handler.headers.get("Authorization")).removeprefix("Bearer "), "account"
        result = graphql_sync(
            SCHEMA,
            content["query"],
            root_value=_Root(self),
            context_value=(token, kind),
            variable_values=content.get("variables"),
        )
        self.calls += list(result.data or {})
        return reply(json.dumps(result.formatted))


class _Root:
    """Resolves the schema's root fields; C(variables) is both a field there and the platform's own."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, "variables_" if name == "variables" else name)


@contextmanager
def railway_platform(platform: Platform | None = None) -> Iterator[Platform]:
    """Run the platform's API while the block runs."""
    platform = platform or Platform()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        platform.answer(handler, server.requests[-1][3])(handler)

    with web_server(answer) as server:
        platform.url = f"{server.url}/graphql/v2"
        platform.server = server
        yield platform


def connection(platform: Platform, token: str = TOKEN, **changes: Any) -> dict[str, Any]:
    """The options with which modules reach the platform."""
    return {
        "token": token,
        "project_id": PROJECT,
        "environment_id": ENVIRONMENT,
        "service_id": SERVICE,
        "endpoint": platform.url,
        **changes,
    }
