# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Railway's GraphQL API: the few calls that a rollback needs, each read back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ._domain.errors import Failed, Refused
from ._domain.railway import (
    ENDPOINT,
    TOKEN_HEADERS,
    Target,
    check_connection,
    check_service,
    check_token,
    how_it_stands,
    is_stopped,
    is_up,
    others,
)
from ._domain.secrets import scrub
from ._probe import BODY_LIMIT, request

TIMEOUT_SECONDS = 30.0
DEFAULT_DEADLINE_SECONDS = 300.0
LOG_LINES = 1000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 3.0
_TOO_MANY_REQUESTS = 429
_NOT_AUTHORISED = (401, 403)

_DEPLOYMENT = "id status createdAt canRedeploy canRollback deploymentStopped instances { id status }"

QUERIES = {
    "projectToken": "query { projectToken { projectId environmentId } }",
    "serviceInstance": (
        "query ($environmentId: String!, $serviceId: String!) {"
        " serviceInstance(environmentId: $environmentId, serviceId: $serviceId) {"
        " environmentId serviceId serviceName startCommand preDeployCommand service { projectId }"
        f" latestDeployment {{ {_DEPLOYMENT} }} activeDeployments {{ {_DEPLOYMENT} }} }} }}"
    ),
    "deployment": (
        f"query ($id: String!) {{ deployment(id: $id) {{ {_DEPLOYMENT} projectId environmentId serviceId }} }}"
    ),
    "variables": (
        "query ($projectId: String!, $environmentId: String!, $serviceId: String!) {"
        " variables(projectId: $projectId, environmentId: $environmentId, serviceId: $serviceId) }"
    ),
    "deploymentLogs": (
        "query ($deploymentId: String!, $limit: Int, $startDate: DateTime) {"
        " deploymentLogs(deploymentId: $deploymentId, limit: $limit, startDate: $startDate)"
        " { timestamp severity message } }"
    ),
    "variableUpsert": "mutation ($input: VariableUpsertInput!) { variableUpsert(input: $input) }",
    "deploymentRedeploy": (
        "mutation ($id: String!) { deploymentRedeploy(id: $id, usePreviousImageTag: true) { id status } }"
    ),
    "deploymentRollback": "mutation ($id: String!) { deploymentRollback(id: $id) }",
    "deploymentRestart": "mutation ($id: String!) { deploymentRestart(id: $id) }",
    "deploymentStop": "mutation ($id: String!) { deploymentStop(id: $id) }",
}
"""Every document that is ever sent, by the field that it asks for."""


class RailwayClient:
    """One service of Railway in one environment; nothing is changed before the token was seen to belong there.

    Args:
        token: a project token (the least that is needed) or an account's token.
        kind: C(project) or C(account).
        project_id: the project.
        environment_id: the environment.
        service_id: the service.
        endpoint: the address of the API.

    Raises:
        Refused: something is missing, or the token would be sent in clear.
    """

    def __init__(
        self,
        token: str,
        kind: str,
        project_id: str,
        environment_id: str,
        service_id: str,
        endpoint: str = ENDPOINT,
    ) -> None:
        self.target = Target(project_id, environment_id, service_id)
        check_connection(token, kind, self.target, endpoint)
        self._token, self._kind, self._endpoint = token.strip(), kind, endpoint
        self._checked = False

    # -- reading ------------------------------------------------------------------------------------------------------

    def check_access(self) -> None:
        """See that the token, the project, the environment and the service belong together; asked once.

        Raises:
            Refused: they do not; nothing was touched.
        """
        if self._checked:
            return
        if self._kind == "project":
            check_token(self._ask("projectToken"), self.target)
        check_service(self._service(), self.target)
        self._checked = True

    def service(self) -> dict[str, Any]:
        """Return the service: its commands, its latest deployment and the active ones."""
        self.check_access()
        return self._service()

    def active(self) -> dict[str, Any]:
        """Return the deployment that runs: the newest of the active ones.

        Raises:
            Refused: none is active.
        """
        active = self.service()["activeDeployments"]
        if not active:
            raise Refused(
                f"Service {self.target.service_id} has no active deployment on Railway.",
                untouched="Nothing was changed there.",
                remedy="Deploy the application in Railway's dashboard, or name the deployment in rollback_release.",
            )
        newest: dict[str, Any] = max(active, key=lambda deployment: deployment["createdAt"])
        return newest

    def deployment(self, deployment_id: str) -> dict[str, Any]:
        """Return a deployment of this service.

        Raises:
            Refused: it belongs to another service.
        """
        self.check_access()
        found: dict[str, Any] = self._ask("deployment", id=deployment_id)
        if Target(found["projectId"], found["environmentId"], found["serviceId"]) != self.target:
            raise Refused(
                f"Deployment {deployment_id} belongs to service {found['serviceId']} in environment"
                f" {found['environmentId']}, not to the service of the inventory.",
                untouched="Nothing was changed there.",
                remedy="Take the identifier from the deployments of this service and environment in the dashboard.",
            )
        return found

    def variable(self, name: str) -> str | None:
        """Return one variable of the service as the next deployment will see it; None where there is none."""
        self.check_access()
        value = self._ask("variables", **self.target._asdict()).get(name)
        return None if value is None else str(value)

    def logs(self, since: datetime) -> list[dict[str, Any]]:
        """Return what the running deployments wrote since a moment, oldest first.

        Args:
            since: with a time zone; without one it is taken as UTC.

        Returns:
            C(timestamp) (RFC 3339), C(severity) (may be None), C(message).
        """
        moment = since if since.tzinfo else since.replace(tzinfo=timezone.utc)
        start = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
        service = self.service()
        deployments = service["activeDeployments"] or [service["latestDeployment"]]
        lines: list[dict[str, Any]] = []
        for deployment in deployments:
            if deployment:
                lines += self._log_lines(deployment["id"], start)
        return sorted(lines, key=lambda line: str(line["timestamp"]))

    # -- changing -----------------------------------------------------------------------------------------------------

    def set_variable(self, name: str, value: str) -> None:
        """Set one variable without deploying anything, and read it back.

        Raises:
            Failed: it has another value afterwards.
        """
        self.check_access()
        self._ask("variableUpsert", input={**_camel(self.target), "name": name, "value": value, "skipDeploys": True})
        if self.variable(name) != value:
            raise Failed(
                f"The variable {name} was set on Railway, but it does not have that value when it is read back.",
                remedy="Look at the service's variables in the dashboard: another one may shadow it.",
            )

    def redeploy(self, deployment_id: str) -> str:
        """Deploy the image of a deployment again, with the variables of now; return the new deployment."""
        self.check_access()
        return str(self._ask("deploymentRedeploy", id=deployment_id)["id"])

    def roll_back(self, deployment_id: str, deadline: float = DEFAULT_DEADLINE_SECONDS) -> str:
        """Have Railway roll back to a deployment, its image and the variables that it had; return the new deployment.

        Raises:
            Failed: no new deployment appeared within so many seconds.
        """
        before = self._latest_id()
        self._ask("deploymentRollback", id=deployment_id)
        found: list[str] = []

        def appeared() -> bool:
            found[:] = [self._latest_id()]
            return found[0] != before

        self._wait(appeared, deadline, lambda: f"no new deployment appeared after {before or 'none'}")
        return found[0]

    def restart(self, deployment_id: str) -> None:
        """Restart the processes of a deployment; variables that have changed since it was deployed stay unseen."""
        self.check_access()
        self._ask("deploymentRestart", id=deployment_id)

    def stop(self, deployment_id: str) -> None:
        """Stop the processes of a deployment."""
        self.check_access()
        self._ask("deploymentStop", id=deployment_id)

    def wait_until_up(self, deployment_id: str, deadline: float = DEFAULT_DEADLINE_SECONDS) -> None:
        """Wait until a deployment runs and no other one of the service does any more.

        Args:
            deployment_id: the deployment.
            deadline: seconds.

        Raises:
            Failed: it does not within that time, or will not by itself.
        """
        seen = {"how": "it was not seen yet"}

        def alone_and_up() -> bool:
            deployment = self.deployment(deployment_id)
            seen["how"] = how_it_stands(deployment)
            if not is_up(deployment):
                return False
            rest = others(self.service()["activeDeployments"], deployment_id)
            seen["how"] += f", still active beside it: {', '.join(rest)}" if rest else ""
            return not rest

        self._wait(alone_and_up, deadline, lambda: f"deployment {deployment_id} has {seen['how']}")

    def wait_until_stopped(self, deployment_id: str, deadline: float = DEFAULT_DEADLINE_SECONDS) -> None:
        """Wait until no instance of a deployment is left.

        Raises:
            Failed: one is, after so many seconds.
        """
        seen = {"how": "it was not seen yet"}

        def stopped() -> bool:
            deployment = self.deployment(deployment_id)
            seen["how"] = how_it_stands(deployment)
            return is_stopped(deployment)

        self._wait(stopped, deadline, lambda: f"deployment {deployment_id} is not stopped: {seen['how']}")

    # -- below --------------------------------------------------------------------------------------------------------

    def _service(self) -> dict[str, Any]:
        found: dict[str, Any] = self._ask(
            "serviceInstance", environmentId=self.target.environment_id, serviceId=self.target.service_id
        )
        return found

    def _log_lines(self, deployment_id: str, start: str, limit: int = LOG_LINES) -> list[dict[str, Any]]:
        """Return lines of a log, fewer where so many do not fit into one answer."""
        try:
            found: list[dict[str, Any]] = self._ask(
                "deploymentLogs", deploymentId=deployment_id, limit=limit, startDate=start
            )
        except _TooLong:
            if limit == 1:
                raise
            return self._log_lines(deployment_id, start, max(1, limit // 4))
        return found

    def _latest_id(self) -> str:
        latest = self.service()["latestDeployment"]
        return str(latest["id"]) if latest else ""

    def _wait(self, condition: Callable[[], bool], deadline: float, how: Callable[[], str]) -> None:
        """Ask again and again; an API that does not answer for a moment is asked again until the deadline."""
        end, pause, trouble = time.monotonic() + deadline, _FIRST_PAUSE, ""
        while True:
            try:
                trouble = ""
                if condition():
                    return
            except _NoAnswer as error:
                trouble = f" The last question was not answered: {error.message}"
            if time.monotonic() + pause > end:
                raise Failed(
                    f"Railway is not where it should be after {deadline:g} s: {how()}.{trouble}",
                    remedy="Look at the service's deployments and their logs in Railway's dashboard.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _ask(self, name: str, **variables: Any) -> Any:
        """Send one document and return the field of its name.

        Raises:
            Refused: the token does not let us.
            Failed: Railway did not answer, or answered with an error.
        """
        header, form = TOKEN_HEADERS[self._kind]
        given = {_camel_name(key): value for key, value in variables.items()}
        body = {"query": QUERIES[name], "variables": given}
        headers = {header: form.format(self._token), "Accept": "application/json"}
        answer = request(self._endpoint, "POST", headers, body, TIMEOUT_SECONDS)
        if answer.status is None:
            raise _NoAnswer(name, answer.error)
        content = _content(answer.body)
        if content is None and len(answer.body) >= BODY_LIMIT:
            raise _TooLong(name)
        errors = self._errors(content)
        if answer.status in _NOT_AUTHORISED or "not authorized" in errors.lower():
            raise self._not_authorised(name, errors or f"status {answer.status}")
        if answer.status == _TOO_MANY_REQUESTS or content is None:
            raise _NoAnswer(name, errors or f"status {answer.status}, and no JSON")
        data = content.get("data") or {}
        if errors or data.get(name) is None:
            raise Failed(
                f"Railway answered the call {name} with an error: {errors or 'the answer is empty'}.",
                remedy="Look at the service in Railway's dashboard, and at https://status.railway.com.",
            )
        if data[name] is False:
            raise Failed(
                f"Railway did not do {name}: it answered 'false'.",
                remedy="Do it by hand in Railway's dashboard, and read what it says there.",
            )
        return data[name]

    def _errors(self, content: Mapping[str, Any] | None) -> str:
        found = (content or {}).get("errors") or []
        texts = [str(error.get("message", error)) if isinstance(error, dict) else str(error) for error in found]
        return scrub("; ".join(texts), [self._token])

    def _not_authorised(self, name: str, errors: str) -> Refused:
        header, _form = TOKEN_HEADERS[self._kind]
        return Refused(
            f"Railway does not let this token ask for {name} ({errors}). It was sent as {header}, as one of kind"
            f" {self._kind!r}, for project {self.target.project_id}, environment {self.target.environment_id}.",
            untouched="Nothing was changed by this call.",
            remedy=(
                "Make a project token for this environment in the project's settings, and give it to"
                " rollback_railway.token. An account's token needs token_kind: account."
            ),
        )


class _NoAnswer(Failed):
    """Railway could not be reached, or had no time for us: while something is waited for, it is asked again."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"Railway did not answer the call {name}: {reason}.",
            remedy="Check the way from this host to the endpoint, and https://status.railway.com.",
        )


class _TooLong(Failed):
    """An answer was longer than what is read of one."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Railway's answer to the call {name} is longer than {BODY_LIMIT} bytes.",
            remedy="Read it in Railway's dashboard.",
        )


def _content(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _camel(target: Target) -> dict[str, str]:
    return {_camel_name(name): value for name, value in target._asdict().items()}


def _camel_name(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def client_of(options: Mapping[str, Any]) -> RailwayClient:
    """Make a client from the options that modules share for Railway.

    Args:
        options: C(token), C(token_kind), C(project_id), C(environment_id), C(service_id), C(endpoint).

    Raises:
        Refused: something is missing, or the token would be sent in clear.
    """
    return RailwayClient(
        options.get("token") or "",
        options.get("token_kind") or "project",
        options.get("project_id") or "",
        options.get("environment_id") or "",
        options.get("service_id") or "",
        options.get("endpoint") or ENDPOINT,
    )
