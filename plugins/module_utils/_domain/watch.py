# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch after a rollback: what is worse than before, and from when on that is an alarm."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Deque, Optional

from .errors import Refused
from .progress import clock, printable

DEFAULT_ERROR = r"(?i)\b(error|fatal|panic|critical|unhandled)\b"

USUAL_LATENCY_MS = 200.0
"""Taken for the level before where none was measured."""

WINDOW_SECONDS = 60.0
"""Errors are counted over this long."""

_LATENCY_ROUNDS, _FEWEST_ROUNDS, _FEWEST_REQUESTS, _FEWEST_SECONDS = 6, 3, 20, 5.0
_LONGEST_LINE = 4096
_KEPT = 100


@dataclass(frozen=True)
class Thresholds:
    """From when on something is a breach.

    Attributes:
        failures: rounds in a row in which an endpoint does not answer as described.
        latency_factor: so many times the median of before,
        latency_ms: and so many milliseconds on top of that, are still well.
        error_factor: so many times the errors of before,
        errors: and so many on top of that (a minute, or in 100 requests) are still well.
    """

    failures: int = 3
    latency_factor: float = 3.0
    latency_ms: float = 500.0
    error_factor: float = 2.0
    errors: float = 5.0


@dataclass(frozen=True)
class Level:
    """How it was before.

    Attributes:
        latency_ms: medians by endpoint.
        errors: a minute or in 100 requests; None where no log was read.
        seconds: how long it was measured; 0 where it was not.
    """

    latency_ms: Mapping[str, float] = field(default_factory=dict)
    errors: Optional[float] = None
    seconds: float = 0.0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> Level:
        """Read what `Watch.level` wrote; without it, nothing was measured."""
        content = content or {}
        errors = content.get("errors")
        return cls(
            {str(name): float(value) for name, value in (content.get("latency_ms") or {}).items()},
            None if errors is None else float(errors),
            float(content.get("seconds") or 0.0),
        )

    def latency_limit(self, name: str, thresholds: Thresholds) -> float:
        """Return the slowest median of an endpoint that is still well, in milliseconds."""
        before = self.latency_ms.get(name, USUAL_LATENCY_MS)
        return before * thresholds.latency_factor + thresholds.latency_ms

    def error_limit(self, thresholds: Thresholds) -> float:
        """Return how many errors are still well."""
        return (self.errors or 0.0) * thresholds.error_factor + thresholds.errors


class LogRules:
    """What counts as an error in a log, and as a request.

    Args:
        error: a regular expression; a line in which it is found counts as an error.
        request: one for requests; without it errors are counted by the minute.

    Raises:
        Refused: one is not a regular expression.
    """

    def __init__(self, error: str = DEFAULT_ERROR, request: str = "") -> None:
        self._error = _compiled(error, "error")
        self._request = _compiled(request, "request") if request else None
        self.unit = "errors in 100 requests" if request else "errors a minute"

    def count(self, lines: Iterable[str]) -> tuple[int, int]:
        """Return how many of these lines are requests and errors."""
        requests = errors = 0
        for line in lines:
            beginning = line[:_LONGEST_LINE]
            requests += bool(self._request and self._request.search(beginning))
            errors += bool(self._error.search(beginning))
        return requests, errors

    def level(self, requests: int, errors: int, seconds: float) -> float | None:
        """Return errors a minute or in 100 requests; None where there is too little to tell.

        Args:
            requests: how many there were.
            errors: how many there were.
            seconds: in how long.
        """
        if seconds < _FEWEST_SECONDS:
            return None
        if self._request is None:
            return round(errors * 60 / seconds, 2)
        return round(errors * 100 / requests, 2) if requests >= _FEWEST_REQUESTS else None


def _compiled(pattern: str, option: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise Refused(
            f"{option} of rollback_watch.log is not a regular expression: {error}.",
            untouched="Nothing was touched.",
            remedy="Write it as Python's re reads it, in single quotes in YAML, and try it with: grep -P '…' the.log",
        ) from None


@dataclass(frozen=True)
class Round:
    """One look.

    Attributes:
        after_seconds: since the watch began.
        results: of the endpoints: C(name), C(healthy), C(reason), C(latency_ms).
        requests: lines of the log that are requests, since the look before.
        errors: lines of the log that are errors, since the look before.
        notes: what happened to the log, a sentence each.
    """

    after_seconds: float
    results: Sequence[Mapping[str, Any]] = ()
    requests: int = 0
    errors: int = 0
    notes: Sequence[str] = ()


class Watch:
    """Takes one look after the other, and says what is worse than before.

    Args:
        before: the level to compare with.
        thresholds: from when on something is a breach.
        log: how the log is read, None where none is.
    """

    def __init__(self, before: Level, thresholds: Thresholds, log: LogRules | None = None) -> None:
        self._before, self._thresholds, self._log = before, thresholds, log
        self._rounds: Deque[Round] = deque()
        self._failing: dict[str, int] = {}
        self._open: set[str] = set()
        self._latencies: dict[str, list[float]] = {}
        self._last = 0.0
        self._counts = {"rounds": 0, "probes": 0, "failures": 0, "requests": 0, "errors": 0}
        self.breaches: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []

    def take(self, look: Round) -> list[dict[str, Any]]:
        """Take a look, and return the breaches that begin with it; one that lasts is told once."""
        self._remember(look)
        found = {**self._bad_endpoints(look), **self._slow_endpoints(look), **self._too_many_errors()}
        begun = [
            {"after_seconds": round(look.after_seconds, 1), "kind": key.partition(":")[0], "message": message}
            for key, message in found.items()
            if key not in self._open
        ]
        self._open = set(found)
        self.breaches += begun[: max(0, _KEPT - len(self.breaches))]
        return begun

    def level(self) -> dict[str, Any]:
        """Return the level that was measured, for a later watch to compare with."""
        errors = None
        if self._log:
            errors = self._log.level(self._counts["requests"], self._counts["errors"], self._last)
        return {
            "latency_ms": {name: _median(values) for name, values in self._latencies.items() if values},
            "errors": errors,
            "unit": self._log.unit if self._log else "",
            "seconds": round(self._last, 1),
        }

    def summary(self) -> dict[str, Any]:
        """Return all that was seen, as the journal keeps it."""
        probes, failures = self._counts["probes"], self._counts["failures"]
        return {
            **self._counts,
            "error_rate": round(failures / probes, 4) if probes else 0.0,
            "level": self.level(),
            "before": {
                "latency_ms": dict(self._before.latency_ms),
                "errors": self._before.errors,
                "seconds": self._before.seconds,
            },
            "notes": self.notes,
            "breaches": self.breaches,
            "alarm": bool(self.breaches),
        }

    def line(self, look: Round, duration: float) -> str:
        """Return what a person reads of a look.

        Args:
            look: the look, taken already.
            duration: seconds of the whole watch.
        """
        parts = [", ".join(_endpoint_text(result) for result in look.results)]
        if self._log:
            parts.append(self._errors_text())
        parts.append(f"ALARM, {len(self._open)} breaches last" if self._open else "well")
        time = f"{clock(look.after_seconds)} of {clock(duration)}"
        return printable(" | ".join([time, *(part for part in parts if part)]))

    def _remember(self, look: Round) -> None:
        self._rounds.append(look)
        while self._rounds[0].after_seconds <= look.after_seconds - WINDOW_SECONDS:
            self._rounds.popleft()
        self._last = look.after_seconds
        bad = [result for result in look.results if not result["healthy"]]
        added = {"rounds": 1, "probes": len(look.results), "failures": len(bad)}
        for name, number in {**added, "requests": look.requests, "errors": look.errors}.items():
            self._counts[name] += number
        for result in look.results:
            well = self._latencies.setdefault(result["name"], [])
            if result["healthy"]:
                well.append(float(result["latency_ms"]))
        notes = [{"after_seconds": round(look.after_seconds, 1), "message": note} for note in look.notes]
        self.notes += notes[: max(0, _KEPT - len(self.notes))]

    def _bad_endpoints(self, look: Round) -> dict[str, str]:
        found = {}
        for result in look.results:
            name = result["name"]
            self._failing[name] = 0 if result["healthy"] else self._failing.get(name, 0) + 1
            if self._failing[name] >= self._thresholds.failures:
                found[f"probe:{name}"] = (
                    f"{name} did not answer as described {self._failing[name]} times in a row: {result['reason']}"
                )
        return found

    def _slow_endpoints(self, look: Round) -> dict[str, str]:
        found = {}
        for result in look.results:
            name = result["name"]
            recent = self._latencies[name][-_LATENCY_ROUNDS:]
            limit = self._before.latency_limit(name, self._thresholds)
            if len(recent) >= _FEWEST_ROUNDS and _median(recent) > limit:
                found[f"latency:{name}"] = (
                    f"{name} takes {_median(recent):.0f} ms (median), {self._latency_before(name)}, and at most "
                    f"{limit:.0f} ms are well"
                )
        return found

    def _latency_before(self, name: str) -> str:
        before = self._before.latency_ms.get(name)
        return "before it was not measured" if before is None else f"before it were {before:.0f} ms"

    def _too_many_errors(self) -> dict[str, str]:
        level, limit = self._present_errors(), self._before.error_limit(self._thresholds)
        if self._log is None or level is None or level <= limit:
            return {}
        before = (
            "before it was not measured" if self._before.errors is None else f"before it were {self._before.errors:g}"
        )
        return {"errors:": f"the log has {level:g} {self._log.unit}, {before}, and at most {limit:g} are well"}

    def _present_errors(self) -> float | None:
        """Count over a whole minute, also before one has passed: one early error makes no alarm."""
        if self._log is None:
            return None
        requests = sum(look.requests for look in self._rounds)
        return self._log.level(requests, sum(look.errors for look in self._rounds), WINDOW_SECONDS)

    def _errors_text(self) -> str:
        level, unit = self._present_errors(), self._log.unit if self._log else ""
        before = "not measured" if self._before.errors is None else f"{self._before.errors:g}"
        return f"{'too few requests to tell' if level is None else f'{level:g} {unit}'} (before: {before})"


def joined(earlier: Mapping[str, Any] | None, later: Mapping[str, Any], shift: float) -> dict[str, Any]:
    """Join what was seen before and after an alarm into one summary.

    Args:
        earlier: the summary of before, or None.
        later: the summary of after.
        shift: seconds by which the later one began later.
    """
    if not earlier:
        return dict(later)
    both = dict(later)
    for name in ("rounds", "probes", "failures", "requests", "errors"):
        both[name] = earlier[name] + later[name]
    both["error_rate"] = round(both["failures"] / both["probes"], 4) if both["probes"] else 0.0
    for name in ("notes", "breaches"):
        shifted = [{**entry, "after_seconds": round(entry["after_seconds"] + shift, 1)} for entry in later[name]]
        both[name] = [*earlier[name], *shifted][:_KEPT]
    both["alarm"] = bool(both["breaches"])
    return both


def summary_lines(seen: Mapping[str, Any]) -> list[str]:
    """Return what a report says of a watch, one line each: how often it looked, endpoints and log against before.

    Args:
        seen: as `Watch.summary` returned it.

    Raises:
        KeyError, TypeError, ValueError: it holds something else.
    """
    level, before = seen["level"], seen["before"]
    looks = f"Looked {seen['rounds']} times in {level['seconds']:g} s"
    lines = [f"{looks}: {seen['probes']} requests, {seen['failures']} not as described"]
    for name, now in level["latency_ms"].items():
        lines.append(f"{name}: {now:.0f} ms (median), before {_known(before['latency_ms'].get(name), ' ms')}")
    if level["unit"]:
        now = _known(level["errors"], f" {level['unit']}")
        lines.append(f"Log: {seen['errors']} errors; {now}, before {_known(before['errors'])}")
    return lines + [f"After {note['after_seconds']:g} s: {note['message']}" for note in seen["notes"]]


def _known(figure: float | None, unit: str = "") -> str:
    return "not known" if figure is None else f"{round(figure, 1):g}{unit}"


def alarm_sentence(breaches: Sequence[Mapping[str, Any]], run_id: str, environment: str) -> str:
    """Return what a person must read of an alarm: what is worse, and the one command that would restore.

    Args:
        breaches: as `Watch.take` returned them.
        run_id: the run, empty where there is none.
        environment: the inventory group.
    """
    worse = "; ".join(str(breach["message"]) for breach in breaches)
    if not run_id:
        return f"ALARM of the watch: {worse}. Nothing was restored by itself."
    return (
        f"ALARM of the watch: {worse}. Nothing is restored by itself: what was written since the rollback would be "
        "lost. To look, and to go back if you so decide, type: "
        f"ansible-playbook playbooks/restore.yml -e env={environment} -e run={run_id}"
    )


def _endpoint_text(result: Mapping[str, Any]) -> str:
    if result["healthy"]:
        return f"{result['name']} {result['latency_ms']:.0f} ms"
    return f"{result['name']} NOT WELL ({result['reason']})"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
