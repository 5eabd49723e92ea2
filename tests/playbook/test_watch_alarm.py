# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application answers worse after the rollback than before: an alarm, and nothing is restored by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from stage import DATABASES
from web_server import reply, web_server

from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene

STATE = "SELECT name FROM migrations_meta ORDER BY name"
CLOSED = "SELECT NOT datallowconn FROM pg_database WHERE datname = %s"


class Shop:
    """The shop as its users see it: well until the older release runs, and for a few answers after that."""

    def __init__(self, folder: Path) -> None:
        self.older = folder / "older"
        self.log = folder / "app.log"
        self.log.write_text("")
        self.url = ""
        self.maintenance_file = folder / "maintenance"
        self._since = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer, and log; whether it is in maintenance, it says as long as it is well."""
        if handler.path == "/maintenance":
            on = self.maintenance_file.exists()
            (reply("on" if on else "off") if self._since <= 2 else reply("down", 500))(handler)
            return
        self._since += self.older.exists()
        well = self._since <= 2
        if self._since == 4:
            self.log.rename(self.log.with_suffix(".1"))
        with self.log.open("a") as log:
            log.write("served\n" if well else "ERROR: no such column\n")
        (reply("well") if well else reply("column does not exist", 500))(handler)

    def variables(self, **watch: Any) -> dict[str, Any]:
        """What the inventory says of it."""
        return {
            "rollback_keep_release": False,
            "rollback_release": {
                "commands": {"stop": ["true"], "older": ["touch", str(self.older)], "newer": ["true"]}
            },
            "rollback_endpoints": [{"name": "shop", "url": self.url, "contains": "well"}],
            "rollback_watch_seconds": 6,
            "rollback_watch_interval": 1,
            "rollback_watch": {"log": {"provider": "file", "file": {"path": str(self.log)}}, **watch},
        }  # fmt: skip

    def maintenance(self) -> dict[str, Any]:
        """What the inventory says of maintenance mode that the shop itself must show."""
        return {
            "provider": "file",
            "file": {"path": str(self.maintenance_file)},
            "probe": {"url": f"{self.url}/maintenance", "contains": "on"},
            "deadline": 2,
        }


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    with web_server(shop.answer) as server:
        shop.url = server.url
        yield shop


def roll_back(scene: Scene, shop: Shop, maintenance: dict[str, Any] | None = None, **watch: Any) -> Outcome:
    return scene.play(
        "env=production",
        "rollback_rehearse=auto",
        "reason=a test",
        f"confirm={DATABASES['production']}",
        production={**shop.variables(**watch), **({"rollback_maintenance": maintenance} if maintenance else {})},
    )


def events(outcome: Outcome) -> list[dict[str, Any]]:
    """The journal of production's run."""
    return [json.loads(line) for line in (outcome.folders[-1] / "journal.jsonl").read_text().splitlines()]


def test_an_alarm_warns_goes_on_watching_and_restores_nothing(scene: Scene, shop: Shop) -> None:
    before = scene.execute("production", STATE)
    outcome = roll_back(scene, shop, baseline_seconds=1)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[-1]["outcome"] == "rolled_back"
    assert scene.execute("production", STATE) == before[:-1]
    assert not scene.maintenance_file.exists()
    run = outcome.records[-1]["run_id"]
    assert f"playbooks/restore.yml -e env=production -e run={run}" in outcome.said
    watch = [event["data"]["watch"] for event in events(outcome) if "watch" in event["data"]]
    assert [seen["alarm"] for seen in watch] == [True, True]
    assert watch[1]["rounds"] > watch[0]["rounds"]
    assert watch[1]["breaches"][0]["kind"] == "probe"
    assert watch[1]["before"]["latency_ms"].keys() == {"shop"}
    assert "was rotated" in str(watch[1]["notes"])


def test_an_alarm_can_put_maintenance_on_and_close_the_database_and_the_way_back_is_printed(
    scene: Scene, shop: Shop
) -> None:
    before = scene.execute("production", STATE)
    outcome = roll_back(scene, shop, baseline_seconds=0, on_alarm="closed")
    try:
        assert outcome.exit_code == 0, outcome.output
        assert outcome.records[-1]["outcome"] == "rolled_back"
        assert scene.maintenance_file.exists()
        database = DATABASES["production"]
        assert scene.execute("production", CLOSED, [database], database="postgres") == [(True,)]
        held = [event["data"] for event in events(outcome) if event["phase"] == "watch" and "commands" in event["data"]]
        with scene.session("production", "postgres") as session, session.cursor() as cursor:
            cursor.execute(held[0]["commands"]["go_back"])
        assert scene.execute("production", STATE) == before
    finally:
        scene.maintenance_file.unlink(missing_ok=True)


@pytest.mark.parametrize("on_alarm", ["closed", "maintenance"])
def test_an_alarm_of_an_application_that_cannot_show_maintenance_mode(scene: Scene, shop: Shop, on_alarm: str) -> None:
    before = scene.execute("production", STATE)
    outcome = roll_back(scene, shop, shop.maintenance(), baseline_seconds=0, on_alarm=on_alarm)
    run, database = outcome.records[-1]["run_id"], DATABASES["production"]
    closed = scene.execute("production", CLOSED, [database], database="postgres")
    try:
        assert "does not show it after 2 s" in outcome.said, outcome.output
        assert not shop.maintenance_file.exists()
        if on_alarm == "closed":
            assert (outcome.exit_code, outcome.records[-1]["outcome"]) == (0, "rolled_back"), outcome.output
            assert closed == [(True,)]
        else:
            assert (outcome.exit_code, outcome.records[-1]["outcome"]) == (2, "rolled_back"), outcome.output
            assert closed == [(False,)]
            assert scene.execute("production", STATE) == before[:-1]
            assert "The rollback itself stands" in outcome.said
    finally:
        scene.go_back(run)
    assert scene.execute("production", STATE) == before


def test_a_pattern_that_is_none_is_refused_before_anything_is_closed(scene: Scene, shop: Shop, untouched: None) -> None:
    variables = shop.variables()
    variables["rollback_watch"]["log"]["error"] = "("
    outcome = scene.play(
        "env=production", "rollback_rehearse=auto", f"confirm={DATABASES['production']}", production=variables
    )
    assert outcome.exit_code != 0
    assert outcome.records[-1]["outcome"] == "refused"
    assert "is not a regular expression" in outcome.said
