# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told what, through the real playbook; channels that fail stop nothing. In the order of the file: the last
run takes the migration back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from stage import DATABASES
from web_server import WebServer, reply, web_server

from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name
from ansible_collections.balcon.rollback.plugins.module_utils._domain.notice import EVENTS

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene, Variables
    from tests.conftest import ModuleRunner

PRODUCTION = DATABASES["production"]
ASK = ("env=production", "rollback_rehearse=auto", "reason=a test", f"confirm={PRODUCTION}")
CONTACTS = [
    {"role": "Database administrator", "name": "Anna Example", "contact": "+49 30 1234-1"},
    {"role": "On-call engineer", "contact": "https://oncall.example.com"},
]
CALL = "Call Database administrator: Anna Example, +49 30 1234-1; On-call engineer: https://oncall.example.com."


@pytest.fixture
def web() -> Iterator[WebServer]:
    """Takes every notice."""
    with web_server(reply()) as server:
        yield server


def play(scene: Scene, web: WebServer, *typed: str, more: Sequence[Variables] = (), **production: Any) -> Outcome:
    """Play with the notices that a team would have, one of which never gets through."""
    notices = [
        {"channel": "webhook", "name": "incident tool", "url": web.url},
        {"channel": "webhook", "name": "broken", "url": "http://127.0.0.1:9/", "events": ["started", "failed"]},
        *more,
    ]
    common: Variables = {"rollback_notices": notices, "rollback_notice_deadline": 1, "rollback_contacts": CONTACTS}
    playbook = production.pop("playbook", "rollback.yml")
    return scene.play(*(typed or ASK), playbook=playbook, production={**common, **production}, staging=common)


def told(web: WebServer) -> list[dict[str, Any]]:
    """What the web server was told, in its order."""
    return [json.loads(body) for _method, _path, _headers, body in web.requests]


def events(web: WebServer) -> list[str]:
    return [message["event"] for message in told(web)]


@pytest.mark.usefixtures("untouched")
def test_a_rollback_that_is_refused(scene: Scene, web: WebServer) -> None:
    outcome = play(scene, web, "env=production", f"confirm={PRODUCTION}")
    assert outcome.exit_code != 0
    assert events(web) == ["refused"]
    assert CALL in outcome.said
    assert "Call Database administrator: Anna Example, +49 30 1234-1" in told(web)[0]["text"]


@pytest.mark.usefixtures("untouched")
def test_a_channel_that_does_not_exist_is_refused_before_anything_is_touched(scene: Scene, web: WebServer) -> None:
    outcome = play(scene, web, more=[{"channel": "emial", "to": ["a@example.com"]}])
    assert outcome.exit_code != 0
    assert outcome.folders == []
    assert "value of channel must be one of: webhook, slack, email, command, got: emial" in outcome.said


@pytest.mark.usefixtures("untouched")
def test_check_mode_tells_nobody(scene: Scene, web: WebServer) -> None:
    outcome = play(scene, web, "env=staging", "--check")
    assert outcome.exit_code == 0, outcome.output
    assert web.requests == []


def test_a_mere_look_tells_nobody(scene: Scene, web: WebServer) -> None:
    """Neither that it would be refused, nor, with evidence, that a rollback is planned."""
    look = ("env=production", "reason=a look", "--tags", "preflight")
    refused = play(scene, web, *look)
    assert refused.records[-1]["outcome"] == "refused", refused.output
    assert web.requests == []
    rehearsed = play(scene, web, "env=staging")
    assert rehearsed.exit_code == 0, rehearsed.output
    web.requests.clear()
    before = scene.snapshot()
    looked = play(scene, web, *look)
    assert looked.exit_code == 0, looked.output
    assert "Predicted window" in looked.said
    assert web.requests == []
    assert scene.snapshot() == before


def test_a_rollback_that_is_restored(scene: Scene, web: WebServer) -> None:
    release = {"commands": {"stop": ["true"], "older": ["false"], "newer": ["true"]}}
    before = scene.contents("production")
    outcome = play(scene, web, rollback_keep_release=False, rollback_release=release)
    assert outcome.exit_code != 0
    assert outcome.records[-1]["outcome"] == "restored"
    assert scene.contents("production") == before
    assert events(web) == ["rehearsed", "planned", "started", "restored"]
    assert CALL in outcome.said
    last = told(web)[-1]
    assert last["run"]["error"]["phase"] == "reopen"
    assert "Call On-call engineer: https://oncall.example.com" in last["text"]
    for report in ("report.md", "report.html"):
        text = (outcome.folders[-1] / report).read_text()
        assert "Database administrator: Anna Example, +49 30 1234-1" in text


def test_a_restore_that_fails(scene: Scene, web: WebServer) -> None:
    """A write came after the swap, so that nothing is restored by itself: it is loud, and says whom to call."""
    psql = str(scene.cluster("production").bin_dir / "psql")
    write = [psql, scene.cluster("production").superuser_url(PRODUCTION), "-c", "CREATE TABLE written (id int)"]
    release = {"commands": {"stop": ["true"], "older": [write, ["false"]], "newer": ["true"]}}
    outcome = play(scene, web, rollback_keep_release=False, rollback_release=release)
    assert outcome.exit_code != 0
    assert outcome.records[-1]["outcome"] == "failed"
    assert events(web)[-1] == "failed"
    assert "Call Database administrator: Anna Example, +49 30 1234-1" in outcome.said
    unsent = [notice for notice in outcome.records[-1]["notices"] if not notice["sent"]]
    assert [notice["event"] for notice in unsent] == ["started", "failed"]
    assert report_rows(outcome) >= 2
    put_back(scene, outcome)


def report_rows(outcome: Outcome) -> int:
    """How many notices the report says were not sent."""
    return (outcome.folders[-1] / "report.md").read_text().count("| not sent |")


def put_back(scene: Scene, outcome: Outcome) -> None:
    """Do by hand what the message of the failed restore leaves to a person."""
    run_id = outcome.records[-1]["run_id"]
    before = derived_name(PRODUCTION, "before", run_id)
    for statement in (
        f'ALTER DATABASE "{PRODUCTION}" RENAME TO written_after',
        f'ALTER DATABASE "{before}" RENAME TO "{PRODUCTION}"',
        f'ALTER DATABASE "{PRODUCTION}" ALLOW_CONNECTIONS true',
        f'COMMENT ON DATABASE "{PRODUCTION}" IS NULL',
        "DROP DATABASE written_after WITH (FORCE)",
    ):
        scene.execute("production", statement, database="postgres")
    scene.maintenance_file.unlink(missing_ok=True)


def test_a_restore_from_a_backup(scene: Scene, web: WebServer, run_module: ModuleRunner) -> None:
    """restore.yml tells as well, after maintenance mode is on."""
    made = run_module(
        "db_backup", database_url=scene.url("production"), backup_dir=str(scene.state_dir("production") / "backups"),
        client_path=[str(scene.cluster("production").bin_dir)], signing_key=scene.stage.secret("signing_key"),
        checkpoint=False,
    )  # fmt: skip
    assert not made["failed"], made
    name = f"confirm={PRODUCTION}"
    outcome = play(scene, web, "env=production", "to=latest_good", "reason=a test", name, playbook="restore.yml")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[-1]["outcome"] == "restored"
    assert events(web) == ["started", "restored"]
    assert told(web)[0]["subject"] == f"[production] Restore begins now: {PRODUCTION}"
    assert "Call" not in told(web)[-1]["text"]
    page = (outcome.folders[-1] / "report.html").read_text()
    assert "Database restoration report" in page
    assert "In the database, and not in what was to take its place" in page
    declined = play(scene, web, "env=production", "to=latest_good", "confirm=another", playbook="restore.yml")
    assert declined.exit_code != 0
    assert CALL in declined.said
    assert events(web)[-1] == declined.records[-1]["outcome"]


def test_a_rollback_with_an_alarm(scene: Scene, web: WebServer) -> None:
    """One of the channels hangs: the rollback goes on, and the window is not longer for it."""
    asked = count(1)

    def door(handler: BaseHTTPRequestHandler) -> None:
        before = "started" not in events(web)  # while the level of before is measured
        reply("fine", 200 if before or next(asked) < 2 else 500)(handler)

    def hang(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.recv(1)

    with web_server(door) as public, web_server(hang) as hanging:
        outcome = play(
            scene, web,
            more=[{"channel": "slack", "name": "hangs", "url": f"{hanging.url}/a/secret/path"}],
            rollback_endpoints=[{"name": "public door", "url": public.url}],
            rollback_watch_seconds=6, rollback_watch_interval=1,
        )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[-1]["outcome"] == "rolled_back"
    assert events(web) == ["rehearsed", "planned", "started", "watch_alarm", "rolled_back"]
    actions = [json.loads(line)["action"] for line in (outcome.folders[-1] / "journal.jsonl").read_text().splitlines()]
    assert actions.index("tell about it: started") < actions.index("turn maintenance mode on")
    assert set(outcome.records[-1]["window_breakdown"]) & set(map("tell about it: {}".format, EVENTS)) == set()
    planned = told(web)[1]
    assert "Predicted window" in planned["text"]
    assert "outcome" not in planned["run"]
    assert "Call Database administrator" in told(web)[3]["text"]
    unsent = [notice["name"] for notice in outcome.records[-1]["notices"] if not notice["sent"]]
    assert unsent.count("hangs") == 4
    assert "Notices that were not sent: planned by hangs" in outcome.said
    page = (outcome.folders[-1] / "report.html").read_text()
    assert "Rolled back, and the watch raised an alarm" in page
    assert "secret/path" not in outcome.output + page
