# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of docs/railway.md for the CLI of Railway, with a program that takes the documented arguments only."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from web_server import reply, web_server

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "railway.md"
TOKEN = "project-token-for-the-cli"

PROGRAM = r"""#!/usr/bin/python3
import argparse, json, os, pathlib, sys
state = pathlib.Path(__file__).with_name("state.json")
now = json.loads(state.read_text())
if os.environ.get("RAILWAY_TOKEN") != "project-token-for-the-cli" or "RAILWAY_ENV" in os.environ:
    sys.exit("Unauthorized. Please check that your RAILWAY_TOKEN is valid and has access to the resource.")
parser = argparse.ArgumentParser()
commands = parser.add_subparsers(dest="command", required=True)
variable = commands.add_parser("variable").add_subparsers(dest="verb", required=True)
setting, listing = variable.add_parser("set"), variable.add_parser("list")
setting.add_argument("pair")
setting.add_argument("--skip-deploys", action="store_true")
listing.add_argument("--kv", action="store_true")
redeploy, restart = commands.add_parser("redeploy"), commands.add_parser("restart")
for command in (setting, listing, redeploy, restart):
    command.add_argument("--service", required=True)
    command.add_argument("--json", action="store_true")
for command in (redeploy, restart):
    command.add_argument("--yes", action="store_true", required=True)
given = parser.parse_args()
if given.command == "variable" and given.verb == "set":
    name, _equals, value = given.pair.partition("=")
    now["variables"][name] = value
    if not given.skip_deploys:
        now["deployed"] = dict(now["variables"])
elif given.command == "variable":
    print("\n".join(f"{name}={value}" for name, value in now["variables"].items()))
elif given.command == "redeploy":
    now["deployed"] = dict(now["variables"])
else:
    now["restarts"] += 1
state.write_text(json.dumps(now))
"""


class Cli:
    """The program in a folder of its own, and what it did."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._state = folder / "state.json"
        self._state.write_text(json.dumps({"variables": {"API_KEY": "x"}, "deployed": {}, "restarts": 0}))
        (folder / "railway").write_text(PROGRAM)
        (folder / "railway").chmod(0o755)
        self.path = f"{folder}:/usr/bin:/bin"

    @property
    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._state.read_text())
        return content

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as the application that was deployed last."""
        on = self.state["deployed"].get("MAINTENANCE_MODE") == "true"
        reply(json.dumps({"maintenance": on}))(handler)


@pytest.fixture
def cli(tmp_path: Path, run_module: Any) -> Cli:
    run_module.secrets.add(TOKEN)
    return Cli(tmp_path / "cli")


def documented(cli: Cli, **environment: str) -> dict[str, Any]:
    """The settings of the document's section on the CLI, with this program, and a token."""
    section = DOCUMENT.read_text().partition("## By Railway's CLI")[2]
    block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert block
    settings: dict[str, Any] = yaml.safe_load(block[1])
    given = {"PATH": cli.path, "RAILWAY_TOKEN": TOKEN, **environment}
    settings["rollback_maintenance"]["command"]["environment"] = given
    settings["rollback_restart"]["environment"] = given
    return settings


def test_maintenance_four_times(run_module: Any, cli: Cli) -> None:
    with web_server(cli.answer) as server:
        options = documented(cli)["rollback_maintenance"]
        options["probe"]["url"] = server.url
        for state, value in (("on", "true"), ("off", "false")):
            before = cli.state
            assert run_module("maintenance_mode", check_mode=True, state=state, **options)["changed"]
            assert cli.state == before
            result = run_module("maintenance_mode", state=state, **options)
            assert (result["changed"], result["verified_by"]) == (True, "probe")
            assert cli.state["deployed"]["MAINTENANCE_MODE"] == value
            assert not run_module("maintenance_mode", check_mode=True, state=state, **options)["changed"]
            assert not run_module("maintenance_mode", state=state, **options)["changed"]


def test_state_that_cannot_be_read_is_not_off(run_module: Any, cli: Cli) -> None:
    options = documented(cli, RAILWAY_TOKEN="of-another-project")["rollback_maintenance"]
    del options["probe"]
    result = run_module("maintenance_mode", state="off", **options)
    assert "Unauthorized" in result["msg"]
    assert "MAINTENANCE_MODE" not in cli.state["variables"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"RAILWAY_TOKEN": ""}, "RAILWAY_TOKEN is empty"), ({"RAILWAY_ENV": "staging"}, "another server")],
)
def test_environment_that_leads_elsewhere(
    run_module: Any, cli: Cli, database: Any, environment: dict[str, str], said: str
) -> None:
    settings = documented(cli, **environment)
    del settings["rollback_maintenance"]["probe"]
    before = cli.state
    refused = run_module("maintenance_mode", state="on", **settings["rollback_maintenance"])
    assert refused["error"]["kind"] == "refused"
    assert said in refused["msg"]
    again = run_module("app_release", state="restarted", database_url=database.url, **settings["rollback_restart"])
    assert said in again["msg"]
    assert cli.state == before


def test_restart(run_module: Any, cli: Cli, database: Any) -> None:
    restart = documented(cli)["rollback_restart"]
    assert run_module("app_release", state="restarted", database_url=database.url, **restart)["changed"]
    assert cli.state["restarts"] == 1
