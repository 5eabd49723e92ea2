# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""app_watch on a real web server, and on real logs that grow while it looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from live_playbook import LivePlaybook
from railway_platform import FOREIGN_TOKEN, Platform, connection, railway_platform
from web_server import WebServer, reply, web_server

from ansible_collections.balcon.rollback.plugins.module_utils._run import Run
from ansible_collections.balcon.rollback.tests.conftest import ModuleRunner

RUN = "20261123t081500a3f9"


@pytest.fixture
def api() -> Iterator[WebServer]:
    with web_server(reply('{"ok": true}')) as server:
        yield server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("an old ERROR\n" * 10)
    return path


def endpoint(api: WebServer) -> dict[str, Any]:
    return {"name": "api", "url": api.url, "json": {"ok": True}}


def file_log(path: Path) -> dict[str, Any]:
    return {"provider": "file", "file": {"path": str(path)}}


def when_asked(api: WebServer, times: int, then: Any) -> None:
    """Do something after so many requests, while they go on being answered."""
    usual = api.answer

    def answer(handler: Any) -> None:
        if len(api.requests) == times:
            then()
        usual(handler)

    api.answer = answer


def test_a_watch_without_anything_wrong(run_module: ModuleRunner, api: WebServer, log: Path) -> None:
    before = {"latency_ms": {"api": 3.0}, "errors": 1.0, "seconds": 15.0}
    result = run_module(
        "app_watch", endpoints=[endpoint(api)], log=file_log(log), before=before, duration=0.5, interval=0.1
    )
    watch = result["watch"]
    assert not result["failed"]
    assert not result["changed"]
    assert not watch["alarm"]
    assert watch["rounds"] == watch["probes"] == len(api.requests)
    assert watch["rounds"] > 1
    assert watch["before"] == before
    assert (watch["errors"], watch["notes"], watch["breaches"]) == (0, [], [])


def test_errors_in_the_log_raise_an_alarm_that_fails_nothing(
    run_module: ModuleRunner, api: WebServer, log: Path
) -> None:
    def write() -> None:
        with log.open("a") as file:
            file.write("ERROR secret-of-a-customer\n" * 6 + "all is well\n")

    when_asked(api, 3, write)
    result = run_module("app_watch", endpoints=[endpoint(api)], log=file_log(log), duration=1, interval=0.1)
    assert not result["failed"]
    assert result["watch"]["alarm"]
    assert result["watch"]["errors"] == 6
    assert [breach["kind"] for breach in result["watch"]["breaches"]] == ["errors"]
    assert "6 errors a minute" in str(result["warnings"])
    assert "secret-of-a-customer" not in str(result)


def test_a_watch_ends_with_the_alarm_where_something_is_to_be_done_about_it(
    run_module: ModuleRunner, api: WebServer
) -> None:
    api.answer = reply("no", 500)
    result = run_module("app_watch", endpoints=[endpoint(api)], duration=600, interval=0.05, stop_on_alarm=True)
    assert result["watch"]["rounds"] == 3
    assert 0 < result["remaining_seconds"] < 600
    api.answer = reply('{"ok": true}')
    after = run_module("app_watch", endpoints=[endpoint(api)], duration=0.2, interval=0.1, earlier=result["watch"])
    assert after["watch"]["alarm"]
    assert after["watch"]["rounds"] > 3
    assert after["watch"]["failures"] == 3
    assert "warnings" not in after


def test_rotation_while_it_looks_is_noted_and_counted_once(run_module: ModuleRunner, api: WebServer, log: Path) -> None:
    def rotate() -> None:
        with log.open("a") as file:
            file.write("ERROR one\n")
        log.rename(log.with_suffix(".1"))
        log.write_text("ERROR two\n")

    when_asked(api, 3, rotate)
    when_asked(api, 6, log.unlink)
    result = run_module("app_watch", endpoints=[endpoint(api)], log=file_log(log), duration=1, interval=0.1)
    assert result["watch"]["errors"] == 2
    notes = [note["message"] for note in result["watch"]["notes"]]
    assert ["rotated" in notes[0], "is not there any more" in notes[1]] == [True, True]
    assert not result["watch"]["alarm"]


def test_a_log_that_was_never_there_stops_nothing(run_module: ModuleRunner, api: WebServer, tmp_path: Path) -> None:
    result = run_module(
        "app_watch", endpoints=[endpoint(api)], log=file_log(tmp_path / "no.log"), duration=0.3, interval=0.1
    )
    assert not result["failed"]
    assert "cannot be read: No such file" in result["watch"]["notes"][0]["message"]


@pytest.mark.parametrize(
    "log",
    [
        {"provider": "command", "command": {"command": ["no-such-program"]}},
        {"provider": "railway", "railway": dict.fromkeys(("token", "project_id", "environment_id", "service_id"), "")},
    ],
)
def test_options_that_cannot_work_are_refused_before_and_noted_after(
    run_module: ModuleRunner, log: dict[str, Any]
) -> None:
    before = run_module("app_watch", state="baseline", log=log, duration=0)
    assert before["error"]["kind"] == "refused"
    after = run_module("app_watch", log=log, duration=0)
    assert not after["failed"]
    assert after["watch"]["notes"][0]["message"].startswith("The log is not read: ")


def test_the_baseline_raises_no_alarm_and_becomes_the_level(run_module: ModuleRunner, api: WebServer) -> None:
    down = {"name": "down", "url": "http://127.0.0.1:1/"}
    result = run_module("app_watch", state="baseline", endpoints=[endpoint(api), down], duration=0.5, interval=0.1)
    assert "watch" not in result
    assert "warnings" not in result
    assert set(result["level"]["latency_ms"]) == {"api"}


def test_the_journal_holds_the_watch_and_the_alarm_names_the_command(
    run_module: ModuleRunner, api: WebServer, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)
    run = Run(state_dir, RUN)
    run.create()
    run.record("preflight", "the run begins", data={"environment": "production"})
    api.answer = reply("no", 500)
    result = run_module(
        "app_watch", endpoints=[endpoint(api)], duration=0.3, interval=0.05,
        run_id=RUN, state_dir=str(state_dir), phase="watch",
    )  # fmt: skip
    event = run.events()[-1]
    assert (event["outcome"], event["changed"]) == ("ok", False)
    assert event["data"]["watch"] == result["watch"]
    assert event["data"]["watch"]["alarm"]
    assert f"ansible-playbook playbooks/restore.yml -e env=production -e run={RUN}" in str(result["warnings"])


def test_check_mode_looks_once(run_module: ModuleRunner, api: WebServer) -> None:
    result = run_module("app_watch", check_mode=True, endpoints=[endpoint(api)], duration=600)
    assert not result["failed"]
    assert len(api.requests) == 1


def test_a_line_is_printed_for_each_look_and_for_the_alarm(api: WebServer, log: Path, tmp_path: Path) -> None:
    options = {"endpoints": [endpoint(api)], "log": file_log(log), "duration": 600, "interval": 0.5}
    playbook = LivePlaybook(
        tmp_path, [{"balcon.rollback.app_watch": {**options, "stop_on_alarm": True}, "register": "watched"}]
    )
    try:
        playbook.read_until(lambda line: line.startswith("[shop] app_watch | 0:") and " of 10:00 | api " in line)
        with log.open("a") as file:
            file.write("ERROR\n" * 6)
        playbook.read_until(lambda line: "ALARM of the watch: the log has 6 errors a minute" in line)
        assert playbook.finish() == 0
    finally:
        playbook.end()
    assert "\r" not in playbook.output


@pytest.fixture
def platform() -> Iterator[Platform]:
    with railway_platform() as platform:
        platform.deploy("image-1")
        yield platform


def railway_log(platform: Platform, **changes: Any) -> dict[str, Any]:
    return {"provider": "railway", "railway": connection(platform, **changes)}


def test_the_logs_of_a_service_on_railway_are_counted_once(run_module: ModuleRunner, platform: Platform) -> None:
    """Each question asks for the last moment again, which may not be over; what comes twice counts once."""
    now = datetime.now(UTC) + timedelta(minutes=1)
    stamps = [f"{now + timedelta(seconds=n):%Y-%m-%dT%H:%M:%S}.{n:09}Z" for n in range(3)]
    platform.log = [
        ("2020-01-01T00:00:00.000000000Z", "error", "long ago"),
        (stamps[0], "error", "no such column"),
        (stamps[1], "info", "all is well"),
        (stamps[2], "error", "no such column"),
    ]
    result = run_module("app_watch", log=railway_log(platform), duration=1.5, interval=0.1)
    assert not result["failed"]
    assert platform.calls.count("deploymentLogs") > 2
    assert result["watch"]["errors"] == 2
    assert result["watch"]["notes"] == []


def test_a_railway_token_of_another_project_is_said_once_and_stops_nothing(
    run_module: ModuleRunner, platform: Platform
) -> None:
    log = railway_log(platform, token=FOREIGN_TOKEN)
    result = run_module("app_watch", log=log, duration=1, interval=0.1)
    assert not result["failed"]
    assert [note["message"].partition(":")[0] for note in result["watch"]["notes"]] == [
        "The logs on Railway cannot be read"
    ]
    assert FOREIGN_TOKEN not in str(result)
