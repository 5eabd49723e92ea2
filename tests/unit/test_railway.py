# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Railway's answers mean, and that every document fits the schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_client_schema, parse, validate
from railway_platform import SCHEMA

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.railway import (
    ENDPOINT,
    Target,
    check_cli_environment,
    check_connection,
    check_service,
    check_token,
    how_it_stands,
    is_stopped,
    is_up,
    others,
)
from ansible_collections.balcon.rollback.plugins.module_utils._railway import QUERIES

TARGET = Target("project", "production", "backend")
PUBLISHED = os.environ.get("RAILWAY_SCHEMA", "")


def deployment(status: str, *instances: str, stopped: bool = False) -> dict[str, Any]:
    rows = [{"id": str(number), "status": instance} for number, instance in enumerate(instances)]
    return {"id": "one", "status": status, "deploymentStopped": stopped, "instances": rows}


def published_schema() -> GraphQLSchema:
    content = json.loads(Path(PUBLISHED).read_text())
    return build_client_schema(content.get("data", content), assume_valid=True)


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_documents_fit_the_schema_of_the_tests(name: str) -> None:
    assert validate(SCHEMA, parse(QUERIES[name])) == []


@pytest.mark.skipif(not PUBLISHED, reason="RAILWAY_SCHEMA names no file with Railway's published schema")
@pytest.mark.parametrize("name", sorted(QUERIES))
def test_documents_fit_the_published_schema(name: str) -> None:
    assert validate(published_schema(), parse(QUERIES[name])) == []


@pytest.mark.skipif(not PUBLISHED, reason="RAILWAY_SCHEMA names no file with Railway's published schema")
def test_the_schema_of_the_tests_is_a_part_of_the_published_one() -> None:
    published = published_schema()
    for name, kind in SCHEMA.type_map.items():
        for field, definition in getattr(kind, "fields", {}).items():
            if not name.startswith("__"):
                theirs = getattr(published.type_map[name], "fields")[field]  # noqa: B009
                assert str(theirs.type) == str(definition.type), f"{name}.{field}"
        if hasattr(kind, "values") and not name.startswith("__"):
            assert set(kind.values) == set(getattr(published.type_map[name], "values"))  # noqa: B009


@pytest.mark.parametrize("name", ["variableCollectionUpsert", "serviceInstanceDeploy"])
def test_nothing_that_replaces_or_builds_is_ever_sent(name: str) -> None:
    assert not any(name in query for query in QUERIES.values())


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ({"projectId": "other", "environmentId": "production"}, "project other, and the inventory names project"),
        (
            {"projectId": "project", "environmentId": "staging"},
            "environment staging, and the inventory names production",
        ),
    ],
)
def test_token_of_somebody_else(owner: dict[str, str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        check_token(owner, TARGET)
    check_token({"projectId": "project", "environmentId": "production"}, TARGET)


def test_service_of_another_project() -> None:
    service = {"environmentId": "production", "serviceId": "backend", "service": {"projectId": "project"}}
    check_service(service, TARGET)
    with pytest.raises(Refused, match="project other"):
        check_service({**service, "service": {"projectId": "other"}}, TARGET)


@pytest.mark.parametrize("endpoint", ["http://backboard.railway.com/graphql/v2", "http://127.0.0.1.evil.example/"])
def test_token_is_never_sent_in_clear(endpoint: str) -> None:
    with pytest.raises(Refused, match="in clear"):
        check_connection("token", "project", TARGET, endpoint)
    check_connection("token", "project", TARGET, ENDPOINT)
    check_connection("token", "account", TARGET, "http://127.0.0.1:8080/")


def test_an_empty_token_counts_as_missing() -> None:
    for token in ("", " ", None):
        with pytest.raises(Refused, match="token is empty"):
            check_connection(token, "project", TARGET, ENDPOINT)
    with pytest.raises(Refused, match="environment_id is empty"):
        check_connection("token", "project", TARGET._replace(environment_id=""), ENDPOINT)
    with pytest.raises(Refused, match="'team' is not known"):
        check_connection("token", "team", TARGET, ENDPOINT)


@pytest.mark.parametrize(
    ("status", "instances", "up"),
    [
        ("QUEUED", [], False),
        ("BUILDING", [], False),
        ("DEPLOYING", ["RUNNING"], False),
        ("SUCCESS", ["RUNNING", "RUNNING"], True),
        ("SUCCESS", ["RUNNING", "CRASHED"], False),
        ("SUCCESS", ["RESTARTING"], False),
        ("SUCCESS", ["EXITED", "RUNNING"], True),
        ("SLEEPING", [], True),
    ],
)
def test_is_up(status: str, instances: list[str], up: bool) -> None:
    assert is_up(deployment(status, *instances)) is up


@pytest.mark.parametrize("status", ["CRASHED", "FAILED", "REMOVED", "SKIPPED"])
def test_lost(status: str) -> None:
    with pytest.raises(Failed, match=status):
        is_up(deployment(status))


def test_approval_is_said() -> None:
    with pytest.raises(Failed) as caught:
        is_up(deployment("NEEDS_APPROVAL"))
    assert "Approve it" in caught.value.remedy


def test_is_stopped() -> None:
    assert is_stopped(deployment("SUCCESS", "EXITED", stopped=True))
    assert not is_stopped(deployment("SUCCESS", "RUNNING", stopped=True))
    assert not is_stopped(deployment("SUCCESS", "EXITED"))


def test_others() -> None:
    assert others([{"id": "one"}, {"id": "two"}], "two") == ["one"]


@pytest.mark.parametrize("name", ["RAILWAY_TOKEN", "RAILWAY_API_TOKEN"])
def test_a_token_of_the_cli_that_is_empty(name: str) -> None:
    with pytest.raises(Refused, match=f"{name} is empty"):
        check_cli_environment({name: " "})
    check_cli_environment({name: "token"})
    check_cli_environment({})


def test_the_cli_is_never_led_to_another_server() -> None:
    with pytest.raises(Refused, match="another server"):
        check_cli_environment({"RAILWAY_ENV": "staging", "RAILWAY_TOKEN": "token"})


def test_how_a_deployment_stands() -> None:
    assert how_it_stands(deployment("SUCCESS", "RUNNING", "EXITED")) == "status SUCCESS, instances: RUNNING, EXITED"
    assert how_it_stands(deployment("CRASHED")) == "status CRASHED, instances: none"
