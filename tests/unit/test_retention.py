# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be deleted: for any set of backups and databases, what must be kept is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import PURPOSES, derived_name
from ansible_collections.balcon.rollback.plugins.module_utils._domain.retention import (
    DEFAULTS,
    Situation,
    check_keep,
    check_may_clean,
    judge,
    last_good,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.status import is_good

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLUSTER = "7001"
NOTHING_IS_KEPT = {
    "backups": {"count": 1, "days": 0.0},
    "before": {"count": 1, "days": 0.0, "needs_backup": True},
    "failed": {"count": 1, "days": 0.0},
    "leftovers": {"count": 0, "days": 0.0},
}


def backup(name: str, days: float, **more: Any) -> dict[str, Any]:
    return {
        "backup_id": name,
        "created_at": (NOW - timedelta(days=days)).isoformat(),
        "bytes": 10,
        "verified": "read",
        "trusted": True,
        "problem": "",
        "database": "shop",
        "system_identifier": CLUSTER,
        **more,
    }


def run_of(days: float, digits: str = "0000") -> str:
    return f"{NOW - timedelta(days=days):%Y%m%dt%H%M%S}{digits}"


def left(purpose: str, days: float, **more: Any) -> dict[str, Any]:
    run_id = more.pop("run_id", run_of(days))
    return {
        "name": derived_name("shop", purpose, run_id),
        "purpose": purpose,
        "run_id": run_id,
        "size_bytes": 10,
        "open": purpose in ("rehearsal", "trial"),
        "ours": True,
        "sessions": 0,
        "slots": 0,
        "keep_until": "",
        **more,
    }


def run(run_id: str, hours: float, outcome: str = "unfinished") -> dict[str, Any]:
    at = (NOW - timedelta(hours=hours)).isoformat()
    return {"run_id": run_id, "outcome": outcome, "last_event_at": at, "started_at": at}


def situation(**more: Any) -> Situation:
    found: dict[str, Any] = {"backups": [], "databases": [], "runs": [], "open_run": None}
    return Situation(database="shop", system_identifier=CLUSTER, now=NOW, server_now=NOW, **{**found, **more})


def going(found: Situation, keep: Any = None) -> list[str]:
    return sorted(verdict.name for verdict in judge(found, check_keep(keep or NOTHING_IS_KEPT)) if verdict.goes)


def reasons(found: Situation, keep: Any = None) -> dict[str, str]:
    return {verdict.name: verdict.reason for verdict in judge(found, check_keep(keep or NOTHING_IS_KEPT))}


def test_backups_go_by_count_and_age() -> None:
    found = situation(backups=[backup(f"b{days}", days) for days in range(10)])
    keep = {"backups": {"count": 3, "days": 5}}
    assert going(found, keep) == ["b5", "b6", "b7", "b8", "b9"]
    assert going(found, {"backups": {"count": 8, "days": 5}}) == ["b8", "b9"]
    assert reasons(found, keep)["b3"] == "it is younger than 5 days"
    assert reasons(found, keep)["b1"] == "it is among the newest 3"
    assert "older than 5 days" in reasons(found, keep)["b9"]


def test_the_last_verified_backup_outlives_newer_ones() -> None:
    found = situation(
        backups=[
            backup("new", 1, verified=None),
            backup("also-new", 2, verified=None),
            backup("damaged", 3, trusted=False, problem="1.dat is missing"),
            backup("good", 90),
            backup("older", 91),
        ]
    )
    assert going(found) == ["also-new", "older"]
    said = reasons(found)
    assert said["good"] == "it is the last one that was verified"
    assert said["new"] == "it is the newest"
    assert said["damaged"] == "it cannot be judged: 1.dat is missing"


def test_without_a_verified_backup_none_goes() -> None:
    assert going(situation(backups=[backup(f"b{days}", days, verified=None) for days in range(9)])) == []


@pytest.mark.parametrize(
    "more",
    [
        {"database": "other"},
        {"system_identifier": "7002"},
        {"created_at": "yesterday"},
        {"created_at": (NOW + timedelta(days=1)).isoformat()},
        {"created_at": "2020-01-01T00:00:00"},
    ],
)
def test_what_cannot_be_judged_is_kept(more: dict[str, Any]) -> None:
    assert going(situation(backups=[backup("new", 1), backup("odd", 99, **more)])) == []


def test_an_open_run_keeps_every_backup_and_its_own_databases() -> None:
    mine, other = left("before", 9), left("before", 8)
    newest = left("before", 7)
    found = situation(
        backups=[backup("new", 1), backup("old", 50)], databases=[mine, other, newest], open_run=mine["run_id"]
    )
    assert going(found) == [other["name"]]


@pytest.mark.parametrize(("hours", "outcome", "kept"), [
    (23, "unfinished", True), (25, "unfinished", False), (1, "unknown", True), (1, "rolled_back", False),
])  # fmt: skip
def test_a_run_without_an_end_counts_as_under_way_for_a_day(hours: float, outcome: str, kept: bool) -> None:
    trial = left("trial", 1)
    found = situation(
        backups=[backup("new", 1), backup("old", 50)],
        databases=[trial],
        runs=[run(trial["run_id"], hours, outcome)],
    )
    assert going(found) == ([] if kept else sorted(["old", trial["name"]]))


def test_a_database_of_before_is_kept_until_its_time_has_come() -> None:
    newest = left("before", 1)
    late = left("before", 9, keep_until=(NOW - timedelta(seconds=1)).isoformat())
    early = left("before", 8, keep_until=(NOW + timedelta(seconds=1)).isoformat())
    odd = left("before", 7, keep_until="soon")
    unsaid = left("before", 6)
    found = situation(backups=[backup("good", 1)], databases=[newest, late, early, odd, unsaid])
    assert going(found) == sorted([late["name"], unsaid["name"]])
    assert reasons(found)[early["name"]].startswith("it is to be kept until")


def test_a_database_of_before_goes_only_with_a_verified_backup() -> None:
    databases = [left("before", 1), left("before", 9)]
    without = situation(backups=[backup("b", 1, verified=None)], databases=databases)
    assert going(without) == []
    assert "only way back" in reasons(without)[databases[1]["name"]]
    keep = {**NOTHING_IS_KEPT, "before": {"count": 1, "days": 0.0, "needs_backup": False}}
    assert going(without, keep) == [databases[1]["name"]]


@pytest.mark.parametrize(
    ("purpose", "more", "said"),
    [
        ("failed", {"ours": False}, "comment does not say"),
        ("failed", {"open": True}, "has opened it"),
        ("before", {"open": True}, "has opened it"),
        ("trial", {"sessions": 2}, "connected"),
        ("before", {"slots": 1}, "replication slot"),
        ("candidate", {}, "set aside by its run"),
    ],
)
def test_databases_that_are_never_dropped(purpose: str, more: dict[str, Any], said: str) -> None:
    odd = left(purpose, 99, **more)
    found = situation(backups=[backup("good", 1)], databases=[left(purpose, 1), odd])
    assert odd["name"] not in going(found)
    assert said in reasons(found)[odd["name"]]


def test_leftovers_go_by_age_alone() -> None:
    databases = [left(purpose, 3) for purpose in ("rehearsal", "trial", "restored")]
    young = left("trial", 1)
    found = situation(databases=[*databases, young])
    assert going(found, DEFAULTS) == sorted(entry["name"] for entry in databases)


@pytest.mark.parametrize(
    "keep",
    [
        {"backups": {"count": 0}},
        {"before": {"count": 0}},
        {"failed": {"count": -1}},
        {"leftovers": {"count": -1}},
        {"backups": {"days": -1}},
        {"backups": {"days": float("nan")}},
        {"backups": {"days": float("inf")}},
    ],
)
def test_a_rule_that_would_keep_nothing_is_refused(keep: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="at least"):
        check_keep(keep)


def test_what_is_not_said_holds_by_default() -> None:
    assert check_keep({}) == DEFAULTS
    assert check_keep({"backups": {"count": 2, "days": None}})["backups"] == {"count": 2, "days": 30.0}


@pytest.mark.parametrize(
    ("changes", "open_run", "said"),
    [
        ({"reachable": False, "exists": None, "open": None}, None, "not reached"),
        ({"exists": False, "open": None}, None, "no database shop"),
        ({"open": False}, None, "is closed"),
        ({}, {"run_id": "20261123t081500a3f9", "state": "closed"}, "is open on shop"),
    ],
)
def test_when_nothing_is_cleaned_up(changes: dict[str, Any], open_run: Any, said: str) -> None:
    sound = {"name": "shop", "reachable": True, "exists": True, "open": True}
    check_may_clean(sound, None)
    with pytest.raises(Refused, match=said):
        check_may_clean({**sound, **changes}, open_run)


# -- for any set --------------------------------------------------------------------------------------------------

DAYS = st.floats(min_value=-3, max_value=400, allow_nan=False)
TIMES = st.one_of(
    DAYS.map(lambda days: (NOW - timedelta(days=days)).isoformat()), st.sampled_from(["", "odd", "2020-01-01T00:00:00"])
)
RUNS = st.builds(run_of, DAYS, st.sampled_from(["0000", "0001", "ffff"]))
BACKUPS = st.lists(
    st.fixed_dictionaries(
        {
            "backup_id": st.text(min_size=1, max_size=5),
            "created_at": TIMES,
            "bytes": st.one_of(st.none(), st.integers(0, 10)),
            "verified": st.sampled_from(["read", "restore", None]),
            "trusted": st.booleans(),
            "problem": st.just("x"),
            "database": st.sampled_from(["shop", "shop", "other"]),
            "system_identifier": st.sampled_from([CLUSTER, CLUSTER, "7002"]),
        }
    ),
    max_size=12,
    unique_by=lambda entry: entry["backup_id"],
)
DATABASES = st.lists(
    st.builds(
        left,
        st.sampled_from(PURPOSES),
        st.just(0),
        run_id=RUNS,
        ours=st.booleans(),
        open=st.booleans(),
        sessions=st.integers(0, 1),
        keep_until=TIMES,
    ),
    max_size=12,
    unique_by=lambda entry: entry["name"],
)
SITUATIONS = st.builds(
    situation,
    backups=BACKUPS,
    databases=DATABASES,
    runs=st.lists(
        st.builds(run, RUNS, st.floats(0, 50), st.sampled_from(["unfinished", "unknown", "rolled_back"])), max_size=3
    ),
    open_run=st.one_of(st.none(), st.none(), RUNS),
)
KEEPS = st.fixed_dictionaries(
    {
        "backups": st.fixed_dictionaries({"count": st.integers(1, 5), "days": st.floats(0, 50)}),
        "before": st.fixed_dictionaries(
            {"count": st.integers(1, 3), "days": st.floats(0, 50), "needs_backup": st.booleans()}
        ),
        "failed": st.fixed_dictionaries({"count": st.integers(1, 3), "days": st.floats(0, 50)}),
        "leftovers": st.fixed_dictionaries({"count": st.integers(0, 3), "days": st.floats(0, 50)}),
    }
)


def is_ours(entry: Any) -> bool:
    """A backup of this database, made at a time that can be."""
    dated = "+" in entry["created_at"] and datetime.fromisoformat(entry["created_at"]) <= NOW + timedelta(hours=1)
    return dated and (entry["database"], entry["system_identifier"]) == ("shop", CLUSTER)


@settings(max_examples=400, deadline=None)
@given(SITUATIONS, KEEPS)
def test_the_last_verified_backup_is_never_deleted(found: Situation, keep: dict[str, Any]) -> None:
    gone = set(going(found, keep))
    good = [entry for entry in found.backups if is_good(entry) and is_ours(entry)]
    kept = [entry for entry in good if entry["backup_id"] not in gone]
    assert bool(kept) == bool(good)
    if good:
        last = last_good(found)
        assert last is not None
        assert last["backup_id"] not in gone
        assert last["created_at"] == max((entry["created_at"] for entry in good), key=datetime.fromisoformat)
    assert len(kept) >= min(len(good), keep["backups"]["count"])


@settings(max_examples=400, deadline=None)
@given(SITUATIONS, KEEPS)
def test_nothing_goes_that_must_be_kept(found: Situation, keep: dict[str, Any]) -> None:
    gone = set(going(found, keep))
    for entry in found.backups:
        if entry["backup_id"] in gone:
            assert entry["trusted"]
            assert is_ours(entry)
            assert datetime.fromisoformat(entry["created_at"]) <= NOW - timedelta(days=keep["backups"]["days"])
            assert not found.busy
    for entry in found.databases:
        if entry["name"] in gone:
            assert entry["ours"]
            assert not entry["sessions"]
            assert entry["purpose"] != "candidate"
            assert entry["run_id"] not in found.busy
            if entry["purpose"] == "before":
                assert not entry["open"]
                assert not entry["keep_until"] or datetime.fromisoformat(entry["keep_until"]) <= NOW
                assert last_good(found) or not keep["before"]["needs_backup"]
    for purpose in ("before", "failed"):
        ours = [entry for entry in found.databases if entry["ours"] and entry["purpose"] == purpose]
        newest = max(ours, key=lambda entry: entry["run_id"], default=None)
        assert newest is None or newest["name"] not in gone


def test_what_is_of_unknown_age_or_under_no_rule_is_kept() -> None:
    strange = left("rehearsal", 90, run_id="20269999t999999abcd")
    unknown = {**left("failed", 90), "purpose": "somebody", "name": "shop__somebody_x"}
    told = reasons(situation(databases=[strange, unknown]))
    assert told == {
        strange["name"]: "its age is not known",
        "shop__somebody_x": "nothing says how long it is kept",
    }
