# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What whoever is called is told, and what is refused before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.recovery import Request, advise, choose
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import BEFORE_SWAP

RUN, OTHER = "20261123t081500a3f9", "20261123t091500b4e8"
COMMAND = "ansible-playbook restore.yml -e env=production"
DATABASE = {"name": "shop", "reachable": True, "exists": True, "open": True}
BACKUP = {
    "backup_id": "shop-1", "database": "shop", "trusted": True, "verified": "read", "age_hours": 3.0, "problem": "",
}  # fmt: skip
BEFORE = {"name": f"shop__before_{RUN}", "purpose": "before", "run_id": RUN, "half_made": False}


def status(**parts: Any) -> dict[str, Any]:
    database = {**DATABASE, **parts.pop("database", {})}
    empty: dict[str, Any] = {"open_run": None, "databases": [], "backups": [], "runs": [], "problems": []}
    return {"database": database, **empty, **parts}


def open_run(state: str, *, expired: bool) -> dict[str, Any]:
    return {"run_id": RUN, "state": state, "lease_until": "2026-11-23T08:17:00Z", "lease_expired": expired}


def refusal(seen: dict[str, Any], request: Request) -> Refused:
    with pytest.raises(Refused) as refused:
        choose(seen, request, COMMAND)
    assert "touched" in refused.value.untouched
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (status(), ["open and no run is open", "no backup that can be trusted"]),
        (status(backups=[BACKUP]), ["shop-1, 3.0 hours old", f"{COMMAND} -e to=latest_good", "-e tables="]),
        (status(backups=[{**BACKUP, "trusted": False, "problem": "It was cut."}]), ["cannot be used: It was cut."]),
        (status(backups=[{**BACKUP, "database": "other"}]), ["no backup that can be trusted"]),
        (status(databases=[BEFORE]), [f"{COMMAND} -e run={RUN} -e accept_loss=true", "set aside"]),
        (status(open_run=open_run("migrating", expired=False)), ["is at work", "Let it end"]),
        (status(open_run=open_run("migrating", expired=True)), ["died before its swap", f"{COMMAND} -e run={RUN}"]),
        (status(open_run=open_run("swapped", expired=True)), [f"-e run={RUN}", f"-e run={RUN} -e keep_written=true"]),
        (status(database={"open": False}), ["closed it by hand", 'ALTER DATABASE "shop" ALLOW_CONNECTIONS true']),
        (status(database={"reachable": False}, problems=["no route."]), ["cannot be reached: no route."]),
        (status(database={"exists": False}), ["There is no database 'shop'", "capitals and spaces count"]),
    ],
)  # fmt: skip
def test_what_is_told(seen: dict[str, Any], words: list[str]) -> None:
    told = " ".join(advise(seen, COMMAND))
    assert [word for word in words if word not in told] == []


def test_while_a_run_is_open_nothing_else_is_offered() -> None:
    told = " ".join(advise(status(open_run=open_run("swapped", expired=True), backups=[BACKUP]), COMMAND))
    assert "latest_good" not in told


@pytest.mark.parametrize("state", BEFORE_SWAP)
def test_a_run_that_died_before_its_swap_is_opened_again(state: str) -> None:
    plan = choose(status(open_run=open_run(state, expired=True)), Request(run=RUN), COMMAND)
    assert (plan.way, plan.decision, plan.run_id) == ("run", "open_original", RUN)


@pytest.mark.parametrize(
    ("state", "accept_loss", "said"),
    [
        ("closed", False, "Open the original again, as it is. Nothing is lost."),
        (
            "migrated",
            False,
            "Restore the dump taken when it was closed, in place, in one transaction. Nothing is lost.",
        ),
        ("swapped", False, "Only where nothing was written since it was opened."),
        ("swapped", True, "What was written since is dumped first, and is only there then."),
    ],
)
def test_a_run_in_place_is_brought_back_by_its_dump(state: str, accept_loss: bool, said: str) -> None:
    seen = status(open_run={**open_run(state, expired=True), "method": "in_place"})
    plan = choose(seen, Request(run=RUN, accept_loss=accept_loss), COMMAND)
    assert (plan.decision, plan.run_id) == ("open_original", RUN)
    assert plan.lines[0].endswith(said)


def test_a_run_that_swapped_is_swapped_back_or_kept() -> None:
    seen = status(open_run=open_run("swapped", expired=True))
    assert choose(seen, Request(run=RUN), COMMAND).decision == "swap_back"
    assert choose(seen, Request(run=RUN, keep_written=True), COMMAND).decision == "finish"


def test_a_run_whose_release_is_on_record_is_ended_unless_the_loss_is_accepted() -> None:
    seen = status(open_run={**open_run("released", expired=True), "decision": "go_forward", "owner": " of anna"})
    assert choose(seen, Request(run=RUN), COMMAND).decision == "finish"
    assert choose(seen, Request(run=RUN, accept_loss=True), COMMAND).decision == "swap_back"
    told = " ".join(advise(seen, COMMAND))
    assert "on record" in told
    assert f"-e run={RUN} -e accept_loss=true" in told
    assert f"Run {RUN} of anna" in refusal(seen, Request(to="latest_good")).message


def test_why_a_person_must_decide_is_told() -> None:
    held = {**open_run("swapped", expired=False), "lease_until": "", "held": "rows were written"}
    told = " ".join(advise(status(open_run=held), COMMAND))
    assert f"Run {RUN} waits for a person, because rows were written." in told


def test_a_run_that_is_at_work_is_let_alone() -> None:
    seen = status(open_run=open_run("swapped", expired=False))
    assert "still at work" in refusal(seen, Request(run=RUN)).message
    ended = status(open_run=open_run("swapped", expired=False), runs=[{"run_id": RUN, "outcome": "failed"}])
    assert choose(ended, Request(run=RUN), COMMAND).decision == "swap_back"
    unfinished = status(open_run=open_run("swapped", expired=False), runs=[{"run_id": RUN, "outcome": "unfinished"}])
    assert "still at work" in refusal(unfinished, Request(run=RUN)).message


def test_a_run_that_is_held_until_a_person_decides_is_not_at_work() -> None:
    """It has no lease that could run out, and its records may be on another host."""
    held = {**open_run("swapped", expired=False), "lease_until": ""}
    for runs in ([], [{"run_id": RUN, "outcome": "unfinished"}]):
        seen = status(open_run=held, runs=runs)
        assert choose(seen, Request(run=RUN), COMMAND).decision == "swap_back"
        assert choose(seen, Request(run=RUN, keep_written=True), COMMAND).decision == "finish"
        assert f"{COMMAND} -e run={RUN}" in " ".join(advise(seen, COMMAND))


def test_going_back_from_a_run_that_has_ended_takes_the_word_of_a_person() -> None:
    seen = status(databases=[BEFORE])
    assert "-e accept_loss=true" in refusal(seen, Request(run=RUN)).remedy
    assert choose(seen, Request(run=RUN, accept_loss=True), COMMAND).decision == "swap_back"
    assert "kept already" in refusal(seen, Request(run=RUN, keep_written=True)).message


@pytest.mark.parametrize(
    ("seen", "request_", "words"),
    [
        (status(), Request(run=RUN, backup="shop-1"), "only one can be gone"),
        (status(), Request(run=RUN, to="latest_good"), "only one can be gone"),
        (status(), Request(run=RUN, tables=("users",)), "only one can be gone"),
        (status(backups=[BACKUP]), Request(to="latest_good", tables=("users",)), "to and tables were given"),
        (status(), Request(to="yesterday"), "to=yesterday is not known"),
        (status(), Request(to="latest_good"), "There is no backup to restore"),
        (status(backups=[BACKUP]), Request(backup="shop-2"), "There is no backup 'shop-2'"),
        (status(), Request(run=RUN), "no database of before it is kept"),
        (status(), Request(to="latest_good", keep_written=True), "only goes with run"),
        (status(open_run=open_run("closed", expired=True)), Request(run=OTHER), f"not run {OTHER}"),
        (status(open_run=open_run("closed", expired=True)), Request(to="latest_good"), "its end comes first"),
        (status(open_run=open_run("closed", expired=True)), Request(run=RUN, keep_written=True), "nothing to keep"),
        (status(database={"reachable": False}), Request(to="latest_good"), "cannot be reached"),
        (status(database={"exists": False}), Request(to="latest_good"), "There is no database"),
        (status(), Request(run="../x"), "is not the name of a run"),
    ],
)
def test_what_does_not_fit_is_refused(seen: dict[str, Any], request_: Request, words: str) -> None:
    if request_.run == "../x":
        with pytest.raises(Refused, match="is not the name of a run"):
            choose(seen, request_, COMMAND)
        return
    error = refusal(seen, request_)
    assert words in error.text()


def test_backups_and_tables_are_taken() -> None:
    seen = status(backups=[BACKUP])
    assert choose(seen, Request(), COMMAND).way == "look"
    assert choose(seen, Request(to="latest_good"), COMMAND).backup == ""
    assert choose(seen, Request(backup="shop-1"), COMMAND).backup == "shop-1"
    assert choose(seen, Request(tables=("users",), backup="shop-1"), COMMAND).way == "tables"


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (None, "an unknown time old"),
        (72.0, "3.0 days old"),
        (3.0, "3.0 hours old"),
        (0.5, "30 minutes old"),
        (1 / 60, "1 minute old"),
    ],
)
def test_the_age_of_a_backup_is_told_as_people_tell_it(hours: float | None, said: str) -> None:
    assert said in " ".join(advise(status(backups=[{**BACKUP, "age_hours": hours}]), COMMAND))


def test_the_newest_database_of_before_is_offered() -> None:
    newer = {**BEFORE, "name": f"shop__before_{OTHER}", "run_id": OTHER}
    told = " ".join(advise(status(databases=[BEFORE, newer, {**BEFORE, "purpose": "failed"}]), COMMAND))
    assert f"-e run={OTHER}" in told


def test_without_any_backup_it_is_said_where_else_to_look() -> None:
    refused = refusal(status(), Request(to="latest_good"))
    assert "There is no backup to restore" in refused.message
    assert "the provider's own snapshots" in refused.remedy


def test_the_backup_of_before_the_rollback_is_asked_for_by_its_schema() -> None:
    plan = choose(status(backups=[BACKUP]), Request(to="before_rollback"), COMMAND)
    assert "that has the schema of before the rollback" in plan.lines[0]
