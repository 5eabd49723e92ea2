# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""maintenance_mode, with every provider; each in fours where the state can be told."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from web_server import Answer, reply, web_server


def application(file: Path) -> Answer:
    """An application that looks for a file; it says 503 while it is there."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (reply("maintenance", 503) if file.exists() else reply("fine"))(handler)

    return answer


def with_probe(url: str) -> dict[str, Any]:
    return {"probe": {"url": url, "status": [503], "contains": "maintenance"}, "deadline": 1}


def test_file_four_times_seen_from_outside(run_module: Any, tmp_path: Path) -> None:
    file = tmp_path / "maintenance"
    with web_server(application(file)) as server:
        options = {"provider": "file", "file": {"path": str(file)}, **with_probe(server.url)}
        for state in ("on", "off"):
            before = file.exists()
            assert run_module("maintenance_mode", check_mode=True, state=state, **options)["changed"]
            assert file.exists() == before
            result = run_module("maintenance_mode", state=state, **options)
            assert (result["changed"], result["verified"], result["verified_by"]) == (True, True, "probe")
            assert file.exists() == (state == "on")
            assert not run_module("maintenance_mode", check_mode=True, state=state, **options)["changed"]
            assert not run_module("maintenance_mode", state=state, **options)["changed"]
    assert list(tmp_path.iterdir()) == []


def test_file_by_its_own_word(run_module: Any, tmp_path: Path) -> None:
    options = {"provider": "file", "file": {"path": str(tmp_path / "flag"), "content": "back soon"}}
    result = run_module("maintenance_mode", state="on", **options)
    assert (result["verified"], result["verified_by"]) == (True, "provider")
    assert (tmp_path / "flag").read_text() == "back soon"


def test_application_that_ignores_it(run_module: Any, tmp_path: Path) -> None:
    with web_server(reply("fine")) as server:
        options = {"provider": "file", "file": {"path": str(tmp_path / "flag")}, **with_probe(server.url)}
        result = run_module("maintenance_mode", state="on", **options)
    assert result["error"]["kind"] == "failed"
    assert "does not show it" in result["msg"]
    assert "turned off again" in result["msg"]
    assert not (tmp_path / "flag").exists()


def test_commands(run_module: Any, tmp_path: Path) -> None:
    file, program = tmp_path / "flag", tmp_path / "switch.py"
    program.write_text(
        "import os, sys, pathlib\n"
        "file = pathlib.Path(os.environ['FLAG'])\n"
        "assert 'SECRET_OF_OURS' not in os.environ\n"
        "{'on': file.touch, 'off': file.unlink, 'status': lambda: sys.exit(0 if file.exists() else 1)}[sys.argv[1]]()\n"
    )
    commands: dict[str, Any] = {verb: [sys.executable, str(program), verb] for verb in ("on", "off", "status")}
    options = {"provider": "command", "command": {**commands, "environment": {"FLAG": str(file)}}}
    environment = {"SECRET_OF_OURS": "x"}
    for state in ("on", "off"):
        assert run_module("maintenance_mode", check_mode=True, state=state, _env=environment, **options)["changed"]
        result = run_module("maintenance_mode", state=state, _env=environment, **options)
        assert (result["changed"], result["verified_by"]) == (True, "provider")
        assert not run_module("maintenance_mode", state=state, _env=environment, **options)["changed"]


def test_command_that_fails(run_module: Any) -> None:
    failing = [sys.executable, "-c", "import os; print(os.environ['API_TOKEN']); exit(3)"]
    command = {"on": failing, "off": ["/no/such/program"], "environment": {"API_TOKEN": "a-token-of-the-platform"}}
    run_module.secrets.add("a-token-of-the-platform")
    result = run_module("maintenance_mode", state="on", provider="command", command=command)
    assert "exit code 3" in result["msg"]
    assert run_module("maintenance_mode", state="off", provider="command", command=command)["failed"]


def test_requests(run_module: Any) -> None:
    state = {"on": False}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "PUT":
            state["on"] = True
        if handler.command == "DELETE":
            state["on"] = False
        on = state["on"] and handler.command == "GET"
        reply("maintenance" if on else "fine", 503 if on else 200)(handler)

    run_module.secrets.add("a-token-of-the-platform")
    with web_server(answer) as server:
        http = {
            "url": f"{server.url}/switch",
            "on": {"body": {"message": "back soon"}},
            "headers": {"Authorization": "Bearer a-token-of-the-platform"},
        }
        options = {"provider": "http", "http": http, **with_probe(server.url)}
        assert run_module("maintenance_mode", check_mode=True, state="on", **options)["changed"]
        assert not state["on"]
        assert run_module("maintenance_mode", state="on", **options)["verified_by"] == "probe"
        assert not run_module("maintenance_mode", state="on", **options)["changed"]
        assert run_module("maintenance_mode", state="off", **options)["changed"]
        assert not state["on"]
        blind = {"provider": "http", "http": http}
        result = run_module("maintenance_mode", state="off", **blind)
        assert (result["changed"], result["verified"], result["verified_by"]) == (True, False, None)
    put = next(request for request in server.requests if request[0] == "PUT")
    assert put[3] == b'{"message": "back soon"}'
    assert run_module("maintenance_mode", state="on", **blind)["failed"]


def test_nobody_there_does_not_mean_off(run_module: Any) -> None:
    with web_server(reply("fine")) as gone:
        pass
    with web_server(reply("fine")) as server:
        options = {"provider": "http", "http": {"url": server.url}, **with_probe(gone.url)}
        result = run_module("maintenance_mode", state="off", **options)
    assert result["failed"]
    assert [method for method, *_rest in server.requests] == ["DELETE"]


def test_missing_folder(run_module: Any, tmp_path: Path) -> None:
    file = {"path": str(tmp_path / "missing" / "flag")}
    assert "cannot be written" in run_module("maintenance_mode", state="on", provider="file", file=file)["msg"]
    assert run_module("maintenance_mode", state="on", provider="http")["failed"]
