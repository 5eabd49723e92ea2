# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""app_release, with a real process that answers, and the run's state on real servers."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from npm_project import RunOfTest

SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500)
        self.end_headers()
        self.wfile.write(json.dumps({"version": os.environ["VERSION"]}).encode())
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SWITCH = """
import os, pathlib, signal, subprocess, sys, time
pid = pathlib.Path("pid")
if pid.exists():
    try:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        pass
    pid.unlink()
if sys.argv[1] != "stop":
    quiet = subprocess.DEVNULL
    server = [sys.executable, "server.py", sys.argv[2]]
    process = subprocess.Popen(server, env={**os.environ, "VERSION": sys.argv[1]}, stdout=quiet, stderr=quiet,
                               start_new_session=True)
    pid.write_text(str(process.pid))
print("switched to", sys.argv[1], os.environ.get("API_TOKEN"))
"""


class Application:
    """A process that listens on a port and says its version, and commands that switch it."""

    def __init__(self, folder: Path, run: RunOfTest, run_module: Any) -> None:
        self.folder, self.run, self.run_module = folder, run, run_module
        folder.mkdir()
        (folder / "server.py").write_text(SERVER)
        (folder / "switch.py").write_text(SWITCH)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def switch(self, state: str, **arguments: Any) -> dict[str, Any]:
        command = [sys.executable, "switch.py"]
        commands = {
            "stop": [[*command, "stop"]],
            "older": [*command, "1.1.0", str(self.port)],
            "newer": [*command, "1.2.0", str(self.port)],
            "restart": [*command, "1.2.0", str(self.port)],
        }
        version = {"older": "1.1.0"}.get(state, "1.2.0")
        endpoint = {"name": "app", "url": self.url, "json": {"version": version}}
        gone = {**endpoint, **({} if state == "stopped" else {"status": [500]})}
        given = {
            "state": state,
            "database_url": self.run.database.url,
            "commands": commands,
            "chdir": str(self.folder),
            "environment": {"API_TOKEN": "a-token-of-the-application"},
            "gone": [gone],
            "healthy": [{**endpoint, "status": [500]}],
            "deadline": 10,
            **self.run.arguments("reopen"),
            **arguments,
        }
        return self.run_module("app_release", **given)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> Path:
        return self.folder / "pid"


@pytest.fixture
def application(tmp_path: Path, database: Any, run_module: Any) -> Iterator[Application]:
    run_module.secrets.add("a-token-of-the-application")
    application = Application(tmp_path / "app", RunOfTest(tmp_path / "state", database), run_module)
    yield application
    if application.pid.exists():
        with suppress(ProcessLookupError):
            os.kill(int(application.pid.read_text()), signal.SIGKILL)


def test_through_the_window(application: Application) -> None:
    run = application.run
    newer = application.switch("newer")
    assert newer["changed"]
    assert newer["verified"]
    assert newer["endpoints"][0]["healthy"]
    assert "********" in newer["commands"][0]["output_tail"]
    assert application.switch("older")["error"]["kind"] == "refused"

    run.enter("verified")
    assert application.switch("stopped", check_mode=True)["changed"]
    assert application.pid.exists()
    stopped = application.switch("stopped")
    assert stopped["verified"]
    assert not application.pid.exists()
    assert run.data()["stopped"]
    assert application.switch("older")["error"]["kind"] == "refused"

    run.enter("swapped")
    assert application.switch("stopped")["error"]["kind"] == "refused"
    unhealthy = application.switch("older", healthy=[{"url": application.url, "status": [204]}], deadline=0.3)
    assert unhealthy["error"]["kind"] == "failed"
    assert run.state() == "swapped"
    older = application.switch("older")
    assert older["healthy_seconds"] is not None
    assert older["command_seconds"] > 0
    assert run.state() == "released"
    assert run.data()["release"]["is"] == "older"
    assert application.switch("older")["error"]["kind"] == "refused"
    assert application.switch("newer")["error"]["kind"] == "refused"
    outcomes = [event["outcome"] for event in run.run.events()]
    assert outcomes == ["ok", "refused", "ok", "refused", "refused", "failed", "ok", "refused", "refused"]


def test_newer_is_judged_by_what_describes_it(application: Application) -> None:
    older = {"name": "older", "url": application.url, "json": {"version": "1.1.0"}, "status": [500]}
    newer = {"name": "newer", "url": application.url, "json": {"version": "1.2.0"}}
    seen = application.switch("newer", gone=[{**newer, "status": [500]}], healthy=[older])
    assert [(endpoint["name"], endpoint["healthy"]) for endpoint in seen["endpoints"]] == [("newer", True)]
    again: dict[str, Any] = {"commands": {"newer": ["true"]}, "deadline": 0.3}
    unseen = application.switch("newer", gone=[newer], healthy=[older], **again)
    assert unseen["error"]["kind"] == "failed"
    assert "status 500" in unseen["msg"]
    without: tuple[list[Any] | None, ...] = ([], None)
    for nothing in without:
        seen = application.switch("newer", gone=nothing, healthy=[{**newer, "status": [500]}], **again)
        assert [(endpoint["name"], endpoint["healthy"]) for endpoint in seen["endpoints"]] == [("newer", True)]
        assert application.switch("newer", gone=nothing, healthy=[older], **again)["failed"]


@pytest.mark.parametrize("state", ["closed", "candidate", "migrating", "migrated", "swapped"])
def test_not_stopped_before_it_is_decided(application: Application, state: str) -> None:
    application.run.enter(state)
    assert application.switch("stopped")["error"]["kind"] == "refused"


def test_restarted(application: Application) -> None:
    application.switch("newer")
    before = application.pid.read_text()
    assert application.switch("restarted", check_mode=True)["changed"]
    assert application.pid.read_text() == before
    restarted = application.switch("restarted")
    assert restarted["verified"]
    assert application.pid.read_text() != before
    for state in ("closed", "verified"):
        application.run.enter(state)
        assert application.switch("restarted")["error"]["kind"] == "refused"
    application.run.enter("swapped")
    assert application.switch("restarted")["changed"]


def test_checked(application: Application) -> None:
    application.run.enter("verified")
    checked = application.switch("checked")
    assert not checked["changed"]
    assert not application.pid.exists()
    missing = application.switch(
        "checked", commands={"stop": ["true"], "older": ["/no/such/deploy"], "newer": ["true"]}
    )
    assert missing["error"]["kind"] == "refused"
    assert "/no/such/deploy" in missing["msg"]
    incomplete = application.switch("checked", commands={"older": ["true"], "newer": ["true"]})
    assert "'stopped'" in incomplete["msg"]


def test_another_run(application: Application, tmp_path: Path) -> None:
    application.run.enter("verified")
    other = RunOfTest(tmp_path / "other", application.run.database)
    result = application.switch("stopped", **other.arguments("reopen"))
    assert "is under way" in result["msg"]


def test_release_that_is_not_gone(application: Application) -> None:
    application.switch("newer")
    application.run.enter("verified")
    nothing = {"stop": [sys.executable, "-c", "pass"]}
    result = application.switch("stopped", commands=nothing, deadline=0.3)
    assert result["error"]["kind"] == "failed"
    assert "still answers" in result["msg"]


def test_commands_that_fail(application: Application) -> None:
    failing = [sys.executable, "-c", "print('no such release'); exit(4)"]
    result = application.switch("newer", commands={"newer": failing})
    assert "exit code 4" in result["msg"]
    assert "no such release" in result["msg"]
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert "did not end" in application.switch("newer", commands={"newer": sleeping}, command_timeout=0.3)["msg"]
    assert "the state 'newer'" in application.switch("newer", commands={"stop": ["true"]})["msg"]
    assert "no command 'newer'" in application.switch("newer", commands={"newer": ["true", ["x"]]})["msg"]
