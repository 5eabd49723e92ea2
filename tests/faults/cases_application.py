# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application that does not behave: it ignores maintenance mode, or applies the migration again when it starts.

The users of every case ignore maintenance mode; here somebody looks whether it is seen to be on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from web_server import reply, web_server

from .case import BEFORE, HELD, Case, nothing
from .moments import START
from .saying import says

if TYPE_CHECKING:
    from .trial import Trial

AGAIN = "20240107000000-add-project-priority.ts again when it was started"


def _maintenance_is_ignored(trial: Trial) -> None:
    """The flag is set, and the application answers as if nothing were."""
    server = trial.endings.enter_context(web_server(reply("welcome")))
    known = trial.ground.scene.variables("production")["rollback_maintenance"]
    probe = {"name": "front page", "url": server.url, "status": [503]}
    trial.changes["production"]["rollback_maintenance"] = {**known, "probe": probe, "deadline": 3}


def _released_by(older: list[str], **more: object) -> dict[str, object]:
    commands = {"stop": ["true"], "older": older, "newer": ["true"]}
    return {"rollback_keep_release": False, "rollback_release": {"commands": commands, **more}}


def _start_applies_migrations(trial: Trial) -> None:
    """What is called the older release is the newer one by mistake, and it migrates when it starts."""
    environment = trial.ground.scene.stage.tool_environment("production")
    migrate = ["npm", "run", "--silent", "migrate"]
    trial.changes["production"].update(_released_by(migrate, environment=environment, chdir=str(trial.checkout)))


def _older_release_does_not_start(trial: Trial) -> None:
    trial.changes["production"].update(_released_by(["false"]))


def _applied_again_by_somebody(trial: Trial) -> None:
    """A deployment comes in after the older release was seen healthy."""
    environment = trial.ground.scene.stage.tool_environment("production")
    trial.ground.scene.stage.run_tool("again", ["npm", "run", "--silent", "migrate"], trial.checkout, environment)
    trial.playbook.go()


CASES: list[Case] = [
    Case(
        "maintenance-ignored",
        "it never shows maintenance mode",
        (BEFORE,),
        nothing,
        _maintenance_is_ignored,
        says("front page"),
    ),
    Case(
        "release-applies-again",
        "the older release applies the migration at its start",
        (BEFORE, HELD),
        nothing,
        _start_applies_migrations,
        says(AGAIN),
    ),
    Case(
        "release-does-not-start",
        "the older release does not start",
        (BEFORE, HELD),
        nothing,
        _older_release_does_not_start,
        says("of the release switch failed with exit code 1"),
    ),
    Case(
        "somebody-deploys",
        "the newer release is deployed after the swap",
        (BEFORE, HELD),
        _applied_again_by_somebody,
        afterwards=says(AGAIN),
        stand=START["reopen"],
    ),
]
