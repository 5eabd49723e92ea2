# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Others at work at the same time: a second rollback, from this controller or another one, and backups."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .case import AFTER, Act, Case, nothing
from .ground import PRODUCTION
from .moments import INSIDE, START, inside
from .saying import all_of, says
from .trial import Trial, until

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_OF_TWO: Mapping[str, str] = {
    "journal": "the records of both runs are looked at together, by one_went_through",
    "exit code": "the second one may be the one that goes through",
}


def _second(trial: Trial, *, elsewhere: bool, stand: str = "") -> None:
    """Start a second rollback, on the same tool host or on another one, which has a state folder of its own."""
    if elsewhere:
        other = trial.folder / "state-elsewhere"
        other.mkdir(mode=0o700)
        shutil.copytree(trial.ground.scene.state_dir("production") / "evidence", other / "evidence")
        trial.changes["production"]["rollback_state_dir"] = str(other)
    second = trial.start(stand=stand)
    if stand:
        second.wait_until_it_stands()


def _both_close(*, elsewhere: bool) -> Act:
    """Both have looked, and neither has seen the other: now both close."""

    def fault(trial: Trial) -> None:
        _second(trial, elsewhere=elsewhere, stand=START["close"])
        for playbook in trial.playbooks:
            playbook.go()

    return fault


def _second_comes(*, elsewhere: bool) -> Act:
    """The first one is in its window when the second one starts, and ends."""

    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE["migrate_down"]):
            _second(trial, elsewhere=elsewhere)
            trial.playbooks[1].wait()

    return fault


def _records(trial: Trial) -> list[dict[str, Any]]:
    files = [*trial.folder.glob("state-*/runs/*/run.json")]
    return [json.loads(file.read_text()) for file in files]


def one_went_through(trial: Trial) -> None:
    """Exactly one playbook exited 0, exactly one run says that it rolled back, and the other that it did not touch."""
    codes = [playbook.wait() for playbook in trial.playbooks]
    outcomes = sorted(record["outcome"] for record in _records(trial))
    if codes.count(0) != 1 or outcomes.count("rolled_back") != 1 or not {"refused", "aborted"}.intersection(outcomes):
        raise AssertionError(f"exit codes {codes}, outcomes {outcomes}")


def second_says(*texts: str) -> Act:
    """Look whether the second playbook was refused with these words."""

    def look(trial: Trial) -> None:
        second = trial.playbooks[1]
        missing = [text for text in texts if text not in second.said]
        if missing or not second.process.poll():
            raise AssertionError(f"the second playbook exited {second.process.poll()} without saying {missing}")

    return look


# -- backups --------------------------------------------------------------------------------------------------------


def _dump_under_way(trial: Trial) -> None:
    """A pg_dump of the application's role that nobody reads from: it stands in the middle, with its locks."""
    cluster = trial.ground.scene.cluster("production")
    dump = subprocess.Popen(
        [cluster.bin_dir / "pg_dump", "--data-only", "--inserts", trial.ground.scene.url("production")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    trial.endings.callback(_ended_loudly, dump)
    until(
        lambda: trial.sessions("application_name = 'pg_dump' AND xact_start < clock_timestamp() - interval '3s'"),
        "pg_dump is under way",
    )


def _ended_loudly(dump: subprocess.Popen[bytes]) -> None:
    """It was ended with the database's other sessions, and says so: nobody takes a half of it for a backup."""
    dump.communicate()
    if dump.returncode == 0:
        raise AssertionError("the pg_dump that was under way ended well although its database was closed")


def _base_backup_under_way(trial: Trial) -> None:
    """A physical backup of the whole server, slow enough to last as long as the rollback."""
    cluster = trial.ground.scene.cluster("production")
    target = Path(tempfile.mkdtemp(prefix="balcon-rollback-base-"))  # what works in the case's own folder is waited for
    backup = subprocess.Popen(
        [cluster.bin_dir / "pg_basebackup", "--pgdata", target, "--max-rate=64", "--checkpoint=fast", "--dbname",
         cluster.superuser_url()],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    trial.endings.callback(_end, backup, target)
    until(lambda: trial.sessions("backend_type = 'walsender'"), "pg_basebackup is under way")


def _end(backup: subprocess.Popen[bytes], target: Path) -> None:
    backup.kill()
    backup.wait()
    shutil.rmtree(target, ignore_errors=True)


CASES: list[Case] = [
    *(
        Case(
            f"two-at-once-{place}",
            f"two controllers, {where}: both close at the same moment",
            (AFTER,),
            _both_close(elsewhere=elsewhere),
            afterwards=one_went_through,
            stand=START["close"],
            forgives=ONE_OF_TWO,
        )
        for place, where, elsewhere in (("here", "one tool host", False), ("elsewhere", "two tool hosts", True))
    ),
    *(
        Case(
            f"second-in-the-window-{place}",
            f"a second one, {where}, while the first migrates",
            (AFTER,),
            _second_comes(elsewhere=elsewhere),
            INSIDE["migrate_down"].prepare,
            all_of(one_went_through, second_says(PRODUCTION)),
            stand=INSIDE["migrate_down"].stand,
            forgives=ONE_OF_TWO,
            lease=30,
        )
        for place, where, elsewhere in (("here", "one tool host", False), ("elsewhere", "two tool hosts", True))
    ),
    Case("during-a-dump", "somebody's pg_dump is under way", (AFTER,), nothing, _dump_under_way, says(code=0)),
    Case(
        "during-a-base-backup",
        "pg_basebackup of the server is under way",
        (AFTER,),
        nothing,
        _base_backup_under_way,
        says(code=0),
    ),
]
