# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching an application: probes and its log, look by look."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Optional

from ._domain.errors import RollbackError
from ._domain.probe import Endpoint, unhealthy_reason
from ._domain.watch import DEFAULT_ERROR, LogRules, Round, Watch
from ._probe import ask_all, results
from ._shared_options import RAILWAY
from ._watch import open_log
from ._watch.interface import Log, Unreadable

_LOG: dict[str, Any] = {
    "provider": {"type": "str", "required": True, "choices": ["file", "command", "railway"]},
    "file": {"type": "dict", "options": {"path": {"type": "path", "required": True}}},
    "command": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "environment": {"type": "dict", "no_log": True},
            "chdir": {"type": "path"},
        },
    },
    "railway": {"type": "dict", "options": RAILWAY},
    "error": {"type": "str", "default": DEFAULT_ERROR},
    "request": {"type": "str"},
}

LOG: dict[str, Any] = {
    "type": "dict",
    "options": _LOG,
    "required_if": [("provider", kind, [kind]) for kind in ("file", "command", "railway")],
}

THRESHOLDS: dict[str, Any] = {
    "failures": {"type": "int", "default": 3},
    "latency_factor": {"type": "float", "default": 3.0},
    "latency_ms": {"type": "float", "default": 500.0},
    "error_factor": {"type": "float", "default": 2.0},
    "errors": {"type": "float", "default": 5.0},
}


def log_rules(options: Optional[Mapping[str, Any]]) -> LogRules | None:
    """Return how a log is read, None where there is none.

    Raises:
        Refused: a pattern is not a regular expression.
    """
    return LogRules(options["error"], options.get("request") or "") if options else None


def look_on(  # noqa: PLR0913  # what to look at, how, how long, and whom to tell
    watch: Watch,
    endpoints: Sequence[Endpoint],
    log_options: Optional[Mapping[str, Any]],
    *,
    timeout: float,
    duration: float,
    interval: float,
    refuse: bool,
    stop_on_alarm: bool,
    say: Callable[[str], object],
) -> float:
    """Look again and again until the time is over.

    Args:
        watch: takes each look.
        endpoints: what to ask.
        log_options: where the log is, or None.
        timeout: seconds for one request.
        duration: seconds to go on.
        interval: seconds from one look to the next.
        refuse: raise what speaks against the log's options; otherwise that is a note, as the watch comes too late to
            refuse anything.
        stop_on_alarm: end with the first breach.
        say: is told each line for a person.

    Returns:
        How many seconds it looked.

    Raises:
        Refused: the log's options cannot be used, and C(refuse) is true.
    """
    rules, start = log_rules(log_options), time.monotonic()
    with ExitStack() as stack:
        log = _open(log_options, interval, refuse) if log_options else None
        if log:
            stack.callback(log.close)
        while True:
            began = time.monotonic()
            look = _look(endpoints, log, rules, timeout, start)
            begun = watch.take(look)
            for note in look.notes:
                say(note)
            say(watch.line(look, duration))
            for breach in begun:
                say(f"ALARM: {breach['message']}")
            if (begun and stop_on_alarm) or began + interval - start > duration:
                return round(time.monotonic() - start, 3)
            time.sleep(max(0.0, began + interval - time.monotonic()))


def _open(options: Mapping[str, Any], interval: float, refuse: bool) -> Log:
    try:
        return open_log(options, interval)
    except RollbackError as error:
        if refuse:
            raise
        return Unreadable(f"The log is not read: {error.message}")


def _look(
    endpoints: Sequence[Endpoint], log: Log | None, rules: LogRules | None, timeout: float, start: float
) -> Round:
    found = results(endpoints, ask_all(endpoints, timeout), unhealthy_reason) if endpoints else []
    lines = log.look() if log else []
    requests, errors = rules.count(lines) if rules else (0, 0)
    notes = log.take_notes() if log else []
    return Round(time.monotonic() - start, found, requests, errors, notes)
