# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.watch import (
    Level,
    LogRules,
    Round,
    Thresholds,
    Watch,
    alarm_sentence,
    joined,
    summary_lines,
)

BEFORE = Level({"api": 100.0}, errors=2.0, seconds=15.0)


def result(healthy: bool = True, latency_ms: float = 100.0, name: str = "api") -> dict[str, Any]:
    return {"name": name, "healthy": healthy, "reason": "" if healthy else "status 500", "latency_ms": latency_ms}


def watch(log: LogRules | None = None, before: Level = BEFORE) -> Watch:
    return Watch(before, Thresholds(), log)


def kinds(breaches: list[dict[str, Any]]) -> list[str]:
    return [breach["kind"] for breach in breaches]


def test_one_bad_answer_is_no_alarm_and_three_in_a_row_are_one() -> None:
    seen = watch()
    found = [seen.take(Round(10.0 * n, [result(healthy=n not in (1, 3, 4, 5, 6))])) for n in range(8)]
    assert [kinds(breaches) for breaches in found] == [[], [], [], [], [], ["probe"], [], []]
    assert seen.breaches == [
        {
            "after_seconds": 50.0,
            "kind": "probe",
            "message": "api did not answer as described 3 times in a row: status 500",
        }
    ]
    assert seen.summary()["failures"] == 5
    assert seen.summary()["alarm"]


def test_a_breach_that_ended_and_comes_again_is_told_again() -> None:
    seen = watch()
    for n in range(20):
        seen.take(Round(10.0 * n, [result(healthy=n % 8 < 4)]))
    assert kinds(seen.breaches) == ["probe", "probe"]


def test_the_median_latency_is_compared_with_that_of_before() -> None:
    seen = watch()
    slow = [result(latency_ms=801.0)]  # 3 times 100 ms and 500 ms on top are well
    for n in range(3):
        seen.take(Round(10.0 * n, [result(latency_ms=800.0)]))
    assert [kinds(seen.take(Round(30.0 + 10.0 * n, slow))) for n in range(4)] == [[], [], ["latency"], []]
    message = "api takes 801 ms (median), before it were 100 ms, and at most 800 ms are well"
    assert seen.breaches[0]["message"] == message


def test_one_slow_answer_is_no_alarm() -> None:
    seen = watch()
    for n in range(10):
        seen.take(Round(10.0 * n, [result(latency_ms=60000.0 if n == 4 else 50.0)]))
    assert not seen.breaches


def test_without_a_level_before_the_usual_one_is_taken_and_it_is_said() -> None:
    seen = watch(before=Level())
    for n in range(3):
        seen.take(Round(10.0 * n, [result(latency_ms=1101.0)]))
    assert seen.breaches[0]["message"] == (
        "api takes 1101 ms (median), before it was not measured, and at most 1100 ms are well"
    )


def test_errors_are_counted_over_the_last_minute() -> None:
    seen = watch(LogRules())
    well = [kinds(seen.take(Round(10.0 * n, errors=3))) for n in range(3)]
    assert well == [[], [], []]  # 9 in a minute: twice 2, and 5 on top
    assert kinds(seen.take(Round(30.0, errors=1))) == ["errors"]
    assert seen.breaches[0]["message"] == "the log has 10 errors a minute, before it were 2, and at most 9 are well"
    assert [seen.take(Round(100.0 + 10 * n)) for n in range(3)] == [[], [], []]
    assert seen.summary()["errors"] == 10


def test_errors_among_requests_do_not_depend_on_the_traffic() -> None:
    seen = watch(LogRules(request="GET"), before=Level(errors=1.0, seconds=15))
    assert not seen.take(Round(0.0, requests=19, errors=19)), "too few requests to tell"
    assert not seen.take(Round(100.0, requests=1000, errors=70))
    assert kinds(seen.take(Round(200.0, requests=1000, errors=71))) == ["errors"]


def test_the_level_is_what_a_later_watch_compares_with() -> None:
    measured = watch(LogRules())
    for n in range(16):
        measured.take(Round(float(n), [result(latency_ms=float(n)), result(False, 9000.0, "down")], errors=1))
    level = measured.level()
    assert level == {"latency_ms": {"api": 8.0}, "errors": 64.0, "unit": "errors a minute", "seconds": 15.0}
    assert Level.from_dict(level) == Level({"api": 8.0}, 64.0, 15.0)
    assert Level.from_dict(None) == Level()


def test_a_level_of_one_look_says_nothing_of_errors() -> None:
    measured = watch(LogRules())
    measured.take(Round(0.01, [result()], errors=4))
    assert measured.level()["errors"] is None


def test_lines_are_counted_by_what_is_found_in_them() -> None:
    rules = LogRules(request=r'"(GET|POST) ')
    lines = [
        '"GET / 200',
        "ERROR no database",
        "terror",
        "unhandled rejection",
        '"POST /x" error',
        "x" * 5000 + " error",
    ]
    assert rules.count(lines) == (2, 3)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match=r"error of rollback_watch.log is not a regular expression"):
        LogRules(error="(")


def test_a_line_says_the_time_the_answers_the_errors_and_the_verdict() -> None:
    seen = watch(LogRules())
    look = Round(40.2, [result(), result(False, 5.0, "login")], errors=1)
    seen.take(look)
    assert seen.line(look, 900.0) == (
        "0:40 of 15:00 | api 100 ms, login NOT WELL (status 500) | 1 errors a minute (before: 2) | well"
    )


def test_what_was_seen_before_and_after_an_alarm_is_told_as_one() -> None:
    first, second = watch(), watch()
    for n in range(3):
        first.take(Round(10.0 * n, [result(healthy=False)], notes=["the log was rotated"]))
    second.take(Round(5.0, [result()]))
    both = joined({**first.summary(), "seconds": 25.0}, second.summary(), 25.0)
    assert (both["rounds"], both["failures"], both["error_rate"]) == (4, 3, 0.75)
    assert both["alarm"]
    assert both["breaches"][0]["after_seconds"] == 20.0
    later = joined({**second.summary(), "seconds": 25.0}, first.summary(), 25.0)
    assert later["breaches"][0]["after_seconds"] == 45.0
    assert [note["after_seconds"] for note in later["notes"]] == [25.0, 35.0, 45.0]


def test_an_alarm_names_the_one_command_that_would_restore() -> None:
    sentence = alarm_sentence([{"message": "api is down"}], "20261123t081500a3f9", "production")
    assert "api is down. Nothing is restored by itself" in sentence
    assert sentence.endswith("playbooks/restore.yml -e env=production -e run=20261123t081500a3f9")


def test_before_an_alarm_there_may_be_nothing() -> None:
    seen = {"rounds": 1}
    assert joined(None, seen, 0.0) == seen


def test_a_summary_of_a_watch_without_a_log_says_nothing_of_one() -> None:
    seen: dict[str, Any] = {
        "rounds": 3, "probes": 6, "failures": 1, "errors": 0, "notes": [{"after_seconds": 5.0, "message": "slow"}],
        "level": {"seconds": 30.0, "latency_ms": {"api": 12.4}, "unit": "", "errors": None},
        "before": {"latency_ms": {}, "errors": None},
    }  # fmt: skip
    assert summary_lines(seen) == [
        "Looked 3 times in 30 s: 6 requests, 1 not as described",
        "api: 12 ms (median), before not known",
        "After 5 s: slow",
    ]
    log = summary_lines({**seen, "level": {**seen["level"], "unit": "errors a minute", "errors": 2.04}})
    assert "Log: 0 errors; 2 errors a minute, before not known" in log


def test_a_line_without_a_log_says_nothing_of_errors() -> None:
    seen = watch()
    look = Round(5.0, [result()])
    seen.take(look)
    assert seen.line(look, 60.0).endswith("| api 100 ms | well")


def test_an_alarm_without_a_run_offers_no_command() -> None:
    told = alarm_sentence([{"message": "api does not answer"}], "", "production")
    assert told == "ALARM of the watch: api does not answer. Nothing was restored by itself."
