# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service on a platform like Railway: maintenance mode, releases, logs, and tokens of somebody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from npm_project import RunOfTest
from railway_platform import (
    ACCOUNT_TOKEN,
    FOREIGN_TOKEN,
    STAGING_TOKEN,
    TOKEN,
    Platform,
    connection,
    railway_platform,
)
from web_server import WebServer, reply, web_server

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._railway import RailwayClient, client_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "railway.md"
VARIABLE = "MAINTENANCE_MODE"
CHANGES = ("variableUpsert", "deploymentRedeploy", "deploymentRollback", "deploymentRestart", "deploymentStop")


@pytest.fixture
def platform(run_module: Any) -> Iterator[Platform]:
    run_module.secrets |= {TOKEN, FOREIGN_TOKEN, STAGING_TOKEN, ACCOUNT_TOKEN, "a-secret-of-the-service"}
    with railway_platform() as platform:
        platform.deploy("1.1.0")
        platform.deploy("1.2.0")
        platform.calls.clear()
        yield platform


def client(platform: Platform, token: str = TOKEN, **changes: Any) -> RailwayClient:
    return client_of(connection(platform, token, **changes))


def maintenance(platform: Platform, run_module: Any, state: str, **changes: Any) -> dict[str, Any]:
    options = connection(platform, **{"deadline": 5, **changes})
    return run_module("maintenance_mode", state=state, provider="railway", railway=options)


# -- maintenance mode --------------------------------------------------------------------------------------------------


def test_maintenance_four_times(platform: Platform, run_module: Any) -> None:
    options = {"provider": "railway", "railway": connection(platform, deadline=5)}
    for state, value in (("on", "true"), ("off", "false")):
        before = dict(platform.variables), len(platform.deployments)
        assert run_module("maintenance_mode", check_mode=True, state=state, **options)["changed"]
        assert (dict(platform.variables), len(platform.deployments)) == before
        result = run_module("maintenance_mode", state=state, **options)
        assert (result["changed"], result["verified_by"]) == (True, "provider")
        running = platform.active
        assert [deployment.variables[VARIABLE] for deployment in running] == [value]
        assert running[0].image == "1.2.0"
        assert not run_module("maintenance_mode", check_mode=True, state=state, **options)["changed"]
        assert not run_module("maintenance_mode", state=state, **options)["changed"]
    assert platform.calls.count("variableUpsert") == platform.calls.count("deploymentRedeploy") == 2


def test_the_newest_commit_is_not_built(platform: Platform, run_module: Any) -> None:
    platform.deploy("1.1.0")
    platform.deployments.append(platform.deployments[1].__class__(4, "1.3.0-unwanted", {}, [], "FAILED"))
    maintenance(platform, run_module, "on")
    assert platform.active[0].image == "1.1.0"


def test_checked_tells_how_it_was_found(platform: Platform, run_module: Any) -> None:
    assert maintenance(platform, run_module, "checked")["found"] == "off"
    platform.variables[VARIABLE] = "true"
    result = maintenance(platform, run_module, "checked")
    assert (result["changed"], result["found"], result["verified"]) == (False, "on", True)
    platform.variables[VARIABLE] = "perhaps"
    assert maintenance(platform, run_module, "checked")["found"] is None
    assert not set(platform.calls) & set(CHANGES)


def test_a_variable_that_is_not_stored(platform: Platform, run_module: Any) -> None:
    platform.ignored.add(VARIABLE)
    result = maintenance(platform, run_module, "on")
    assert "when it is read back" in result["msg"]
    assert "deploymentRedeploy" not in platform.calls


def test_a_deployment_that_crashes(platform: Platform, run_module: Any) -> None:
    platform.statuses = ("BUILDING", "CRASHED")
    result = maintenance(platform, run_module, "on")
    assert "deployment-3 on Railway ended as CRASHED" in result["msg"]
    assert "says false again" in result["msg"]
    assert "may still come up" in result["msg"]
    assert platform.variables[VARIABLE] == "false"
    assert [deployment.image for deployment in platform.active] == ["1.2.0"]


def test_off_is_not_believed_after_a_deployment_that_crashed(platform: Platform, run_module: Any) -> None:
    maintenance(platform, run_module, "on")
    platform.statuses = ("CRASHED",)
    assert maintenance(platform, run_module, "off")["failed"]
    assert platform.active[0].variables[VARIABLE] == "true"
    platform.statuses = ("SUCCESS",)
    assert maintenance(platform, run_module, "off")["changed"]
    assert platform.active[0].variables[VARIABLE] == "false"


def test_a_deployment_of_before_that_still_answers(platform: Platform, run_module: Any) -> None:
    platform.drains = 1000
    result = maintenance(platform, run_module, "on", deadline=0.5)
    assert "still active beside it: deployment-2" in result["msg"]
    platform.drains = 3
    platform.deployments[1].lingers = 0
    assert maintenance(platform, run_module, "on")["changed"]
    assert [deployment.variables[VARIABLE] for deployment in platform.active] == ["true"]


def test_a_deployment_that_never_comes(platform: Platform, run_module: Any) -> None:
    platform.statuses = ("BUILDING",)
    result = maintenance(platform, run_module, "on", deadline=0.3)
    assert "status BUILDING" in result["msg"]
    assert result["error"]["kind"] == "failed"


def test_a_deployment_that_comes_too_late_does_not_stay_in_maintenance(platform: Platform, run_module: Any) -> None:
    platform.statuses = ("BUILDING",)
    result = maintenance(platform, run_module, "on", deadline=0.3)
    assert "says false again" in result["msg"]
    assert "a deployment that saw true may still come up" in result["msg"]
    for late in platform.deployments[2:]:
        late.ahead = ["SUCCESS"]
    client(platform).service()
    assert [deployment.variables.get(VARIABLE) for deployment in platform.active] == ["false"]


def test_maintenance_that_was_taken_back_is_seen_to_be(platform: Platform, run_module: Any) -> None:
    platform.next_statuses, platform.statuses = [("BUILDING",)], ("SUCCESS",)
    result = maintenance(platform, run_module, "on", deadline=0.3)
    assert "deployment-3 has status BUILDING" in result["msg"]
    assert "says false again" in result["msg"]
    assert "may still come up" not in result["msg"]
    assert [(deployment.id, deployment.variables.get(VARIABLE)) for deployment in platform.active] == [
        ("deployment-4", "false")
    ]


def test_nothing_is_deployed_where_no_deployment_was_asked_for(platform: Platform, run_module: Any) -> None:
    platform.ignored.add(VARIABLE)
    platform.variables[VARIABLE] = "false"
    result = maintenance(platform, run_module, "on")
    assert "says false again" in result["msg"]
    assert "deploymentRedeploy" not in platform.calls


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (FOREIGN_TOKEN, "belongs to project project-of-others, and the inventory names project-shop"),
        (STAGING_TOKEN, "belongs to environment environment-staging, and the inventory names environment-production"),
        ("never-heard-of", "Project Token not found"),
    ],
)
def test_token_of_another(platform: Platform, run_module: Any, token: str, said: str) -> None:
    before = dict(platform.variables)
    for state in ("checked", "on", "off"):
        result = maintenance(platform, run_module, state, token=token)
        assert said in result["msg"]
    assert dict(platform.variables) == before
    assert not set(platform.calls) & set(CHANGES)
    for change in (
        lambda: client(platform, token).set_variable(VARIABLE, "true"),
        lambda: client(platform, token).redeploy("deployment-1"),
        lambda: client(platform, token).roll_back("deployment-1"),
        lambda: client(platform, token).restart("deployment-2"),
        lambda: client(platform, token).stop("deployment-2"),
    ):
        with pytest.raises((Refused, Failed)):
            change()
    assert not set(platform.calls) & set(CHANGES)
    assert len(platform.deployments) == 2


def test_token_of_an_account(platform: Platform, run_module: Any) -> None:
    assert maintenance(platform, run_module, "on", token=ACCOUNT_TOKEN, token_kind="account")["changed"]
    refused = maintenance(platform, run_module, "off", token=TOKEN, token_kind="account")
    assert refused["error"]["kind"] == "refused"
    assert "token_kind" in refused["msg"]


def test_deployment_of_another_service(platform: Platform) -> None:
    with pytest.raises(Refused, match="belongs to service service-of-others"):
        client(platform).deployment("deployment-of-others")


# -- an API in trouble -------------------------------------------------------------------------------------------------


def test_trouble_while_waiting_is_sat_out(platform: Platform) -> None:
    railway = client(platform)
    new = railway.redeploy("deployment-2")
    platform.broken = 3
    railway.wait_until_up(new, 20)
    assert platform.active[0].id == new


def test_trouble_otherwise_is_said(platform: Platform, run_module: Any) -> None:
    platform.broken = 99
    assert "status 503, and no JSON" in maintenance(platform, run_module, "on")["msg"]
    platform.broken = 0
    with web_server(reply("", 302, Location="http://127.0.0.1:1/elsewhere")) as server:
        result = maintenance(platform, run_module, "on", endpoint=server.url)
    assert "status 302" in result["msg"]
    result = maintenance(platform, run_module, "on", endpoint="http://127.0.0.1:9/")
    assert "connection was refused" in result["msg"]
    echo = reply('{"errors": [{"message": "bad token token-of-production-environment"}]}', 400)
    with web_server(echo) as server:
        assert "bad token ********" in maintenance(platform, run_module, "on", endpoint=server.url)["msg"]
        with pytest.raises(Failed) as caught:  # what the journal gets, which Ansible does not see
            client(platform, endpoint=server.url).service()
    assert TOKEN not in caught.value.text()


# -- logs --------------------------------------------------------------------------------------------------------------


def test_logs_since(platform: Platform) -> None:
    platform.log = [(f"2026-11-23T10:00:0{second}.000000001Z", "error", f"line {second}") for second in range(5)]
    lines = client(platform).logs(datetime(2026, 11, 23, 10, 0, 2, tzinfo=UTC))
    assert [line["message"] for line in lines] == ["line 2", "line 3", "line 4"]
    assert set(lines[0]) == {"timestamp", "severity", "message"}


def test_logs_that_do_not_fit_into_one_answer(platform: Platform) -> None:
    platform.log = [(f"2026-11-23T10:00:00.{number:09}Z", "info", "x" * 4000) for number in range(900)]
    lines = client(platform).logs(datetime(2026, 11, 23, 10, 0, 0))  # noqa: DTZ001  # taken as UTC
    assert len(lines) == 250
    assert lines[-1]["timestamp"].endswith("000000899Z")


# -- releases ----------------------------------------------------------------------------------------------------------


class Release:
    """app_release on the platform, in a run on a real server."""

    def __init__(self, platform: Platform, run_module: Any, run: RunOfTest) -> None:
        self.platform, self.run_module, self.run = platform, run_module, run

    def switch(self, state: str, outside: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        options = connection(self.platform, **{"older_deployment": "deployment-1", "deadline": 5, **changes})
        arguments = {"database_url": self.run.database.url, "railway": options, **self.run.arguments("reopen")}
        arguments.update({"deadline": 1, **outside} if outside else {})
        return self.run_module("app_release", state=state, **arguments)


@pytest.fixture
def release(platform: Platform, run_module: Any, database: Any, tmp_path: Path) -> Release:
    return Release(platform, run_module, RunOfTest(tmp_path / "state", database))


def test_release_through_the_window_and_back(release: Release) -> None:
    platform = release.platform
    release.run.enter("verified")
    stopped = release.switch("stopped")
    assert stopped["commands"][0]["output_tail"] == "stopped: deployment-2"
    assert platform.active == []
    release.run.enter("swapped")
    older = release.switch("older")
    assert "which is deployment-1 again" in older["commands"][0]["output_tail"]
    assert [deployment.image for deployment in platform.active] == ["1.1.0"]
    release.run.enter("")
    newer = release.switch("newer")  # nobody named it: the run remembers what it stopped
    assert "which is deployment-2 again" in newer["commands"][0]["output_tail"]
    assert [deployment.image for deployment in platform.active] == ["1.2.0"]


@pytest.mark.parametrize(("by", "value"), [("redeploy", "true"), ("rollback", None)])
def test_variables_of_now_or_of_then(release: Release, by: str, value: str | None) -> None:
    release.platform.variables[VARIABLE] = "true"
    release.run.enter("swapped")
    release.switch("older", deploy_by=by)
    running = release.platform.active[0]
    assert (running.image, running.variables.get(VARIABLE)) == ("1.1.0", value)


def test_restarted(release: Release) -> None:
    assert release.switch("restarted")["changed"]
    assert [deployment.restarts for deployment in release.platform.deployments] == [0, 1]
    assert release.platform.active[0].status == "SUCCESS"


def test_a_restart_that_crashes(release: Release) -> None:
    release.platform.statuses = ("CRASHED",)
    assert "ended as CRASHED" in release.switch("restarted")["msg"]


def test_checked(release: Release) -> None:
    checked = release.switch("checked")
    assert not checked["changed"]
    assert checked["facts"]["running"] == "deployment-2"
    assert checked["facts"]["start_command"] == "npm start"
    same = release.switch("checked", older_deployment="deployment-2")
    assert "the one that runs now" in same["msg"]
    release.platform.deployments[0].kept = False
    gone = release.switch("checked")
    assert gone["error"]["kind"] == "refused"
    assert "cannot be put in place again by redeploy" in gone["msg"]
    assert release.switch("checked", token=FOREIGN_TOKEN)["error"]["kind"] == "refused"
    assert not set(release.platform.calls) & set(CHANGES)


def test_newer_that_nobody_knows(release: Release) -> None:
    result = release.switch("newer")
    assert "Nothing says which deployment on Railway is the newer release" in result["msg"]
    assert len(release.platform.deployments) == 2


def test_the_newer_release_is_known_although_nothing_was_stopped(release: Release) -> None:
    release.switch("checked")
    newer = release.switch("newer")
    assert "which is deployment-2 again" in newer["commands"][0]["output_tail"]
    assert [deployment.image for deployment in release.platform.active] == ["1.2.0"]


# -- the document ------------------------------------------------------------------------------------------------------


@pytest.fixture
def door(platform: Platform) -> Iterator[WebServer]:
    """What the application that is deployed says of itself; in maintenance it says less."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        found = platform.active
        if not found:
            reply("no such application", 404)(handler)
            return
        maintenance = found[-1].variables.get(VARIABLE) == "true"
        closed = maintenance and handler.path != "/api/health"
        reply(json.dumps({"version": found[-1].image, "maintenance": maintenance}), 503 if closed else 200)(handler)

    with web_server(answer) as server:
        yield server


def documented(door: WebServer, setting: str) -> dict[str, Any]:
    """What the document says of the outside in one of its settings, with the door of this application."""
    section = DOCUMENT.read_text().partition("## By Railway's API")[2]
    block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert block
    text = block[1].replace("https://api.example.com", door.url)
    settings: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: value for name, value in settings[setting].items() if name != "railway"}


@pytest.mark.parametrize("runs", ["1.1.0", "1.2.0"])
def test_documented_restart_of_whichever_release_runs(release: Release, door: WebServer, runs: str) -> None:
    release.platform.variables[VARIABLE] = "true"
    release.platform.deploy(runs)
    restarted = release.switch("restarted", outside=documented(door, "rollback_restart"))
    assert restarted.get("verified"), restarted


def test_documented_release_is_seen_older_and_newer(release: Release, door: WebServer) -> None:
    outside = documented(door, "rollback_release")
    release.platform.variables[VARIABLE] = "true"
    release.run.enter("verified")
    assert release.switch("stopped", outside=outside)["verified"]
    release.run.enter("swapped")
    assert release.switch("older", outside=outside)["verified"]
    release.run.enter("")
    newer = release.switch("newer", outside=outside)
    assert newer.get("verified"), newer
