# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Railway's answers mean: whose token it is, and whether a deployment runs, is on its way, or is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .errors import Failed, Refused

ENDPOINT = "https://backboard.railway.com/graphql/v2"

TOKEN_HEADERS = {"project": ("Project-Access-Token", "{}"), "account": ("Authorization", "Bearer {}")}
"""By kind of token: the header that carries it, and how."""

UP = ("SUCCESS", "SLEEPING")
LOST = ("CRASHED", "FAILED", "NEEDS_APPROVAL", "REMOVED", "REMOVING", "SKIPPED")
"""Statuses from which a deployment does not come up by itself; every other one is on its way."""

INSTANCES_AT_REST = ("EXITED", "REMOVED", "SKIPPED", "STOPPED")
"""Statuses of an instance of which no process is left."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Target(NamedTuple):
    """A service of Railway, in one environment of one project.

    Attributes:
        project_id: the project.
        environment_id: the environment.
        service_id: the service.
    """

    project_id: str
    environment_id: str
    service_id: str


def check_connection(token: str | None, kind: str, target: Target, endpoint: str) -> None:
    """Check what can be told of a connection's settings without asking anybody.

    Args:
        token: the token.
        kind: a key of `TOKEN_HEADERS`.
        target: the service.
        endpoint: the address of the API.

    Raises:
        Refused: something is empty, or the token would be sent in clear.
    """
    missing = [name for name, value in {"token": token, **target._asdict()}.items() if not (value or "").strip()]
    if missing or kind not in TOKEN_HEADERS:
        raise Refused(
            f"Railway cannot be asked: {' and '.join(missing) or f'the kind of token {kind!r}'} "
            f"{'is empty' if missing else 'is not known'}.",
            untouched="Nothing was touched.",
            remedy=(
                "Set it in rollback_railway. A token's environment variable that the inventory reads may be empty;"
                " the identifiers are in the address of the service in Railway's dashboard."
            ),
        )
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise Refused(
            f"The endpoint {parts.scheme}://{parts.netloc.rpartition('@')[2]} would carry the token in clear.",
            untouched="Nothing was sent.",
            remedy=f"Use https, {ENDPOINT} for example.",
        )


def check_token(owner: Mapping[str, Any], target: Target) -> None:
    """Check that a project token belongs to the project and the environment that the inventory names.

    Args:
        owner: what Railway says of the token: C(projectId), C(environmentId).
        target: what the inventory names.

    Raises:
        Refused: it belongs to another one.
    """
    wrong = [
        f"{word} {owner[key]}, and the inventory names {wish}"
        for word, key, wish in (
            ("project", "projectId", target.project_id),
            ("environment", "environmentId", target.environment_id),
        )
        if owner[key] != wish
    ]
    if wrong:
        raise Refused(
            f"The Railway token belongs to {'; and to '.join(wrong)}.",
            untouched="Nothing was touched there.",
            remedy=(
                "Make a token in the settings of the project named in the inventory, for this environment, and give"
                " it to rollback_railway.token; or correct project_id and environment_id."
            ),
        )


def check_service(service: Mapping[str, Any], target: Target) -> None:
    """Check that the service that Railway found is the one that the inventory names.

    Raises:
        Refused: it belongs to another project or environment.
    """
    found = Target(service["service"]["projectId"], service["environmentId"], service["serviceId"])
    if found != target:
        raise Refused(
            f"Railway answers for service {found.service_id} of project {found.project_id}, environment"
            f" {found.environment_id}; the inventory names {target.service_id} of {target.project_id},"
            f" {target.environment_id}.",
            untouched="Nothing was touched there.",
            remedy="Correct project_id, environment_id and service_id of rollback_railway: they must belong together.",
        )


def is_up(deployment: Mapping[str, Any]) -> bool:
    """Tell whether a deployment runs, every one of its instances included.

    Raises:
        Failed: it does not, and will not by itself.
    """
    status = deployment["status"]
    if status in LOST:
        raise Failed(
            f"Deployment {deployment['id']} on Railway ended as {status}.",
            remedy=(
                "Approve it in Railway's dashboard, or turn the approval off."
                if status == "NEEDS_APPROVAL"
                else "Read its build and deploy logs in Railway's dashboard: it was deployed, and does not run."
            ),
            deployment=deployment["id"],
            status=status,
        )
    return status in UP and all(instance["status"] == "RUNNING" for instance in _living(deployment))


def is_stopped(deployment: Mapping[str, Any]) -> bool:
    """Tell whether no instance of a deployment is left."""
    return bool(deployment["deploymentStopped"]) and not _living(deployment)


def how_it_stands(deployment: Mapping[str, Any]) -> str:
    """Describe a deployment for a person, in a few words."""
    instances = ", ".join(instance["status"] for instance in deployment["instances"]) or "none"
    return f"status {deployment['status']}, instances: {instances}"


def others(active: Iterable[Mapping[str, Any]], deployment_id: str) -> list[str]:
    """Return the active deployments besides one: they still answer, with the variables of before."""
    return [deployment["id"] for deployment in active if deployment["id"] != deployment_id]


def _living(deployment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [instance for instance in deployment["instances"] if instance["status"] not in INSTANCES_AT_REST]
