# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one page that needs nothing else: no script, no network, no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .markup import Markup, bullets, element, joined, table
from .report_picture import draw_phases, draw_window
from .report_style import STYLE
from .wording import (
    ACTION_ITEMS,
    OF_A_RESTORE,
    ROOT_CAUSE,
    action_lines,
    contact_lines,
    loss_sentence,
    maintenance_beyond_window,
    may_have_lost,
    needs_a_person,
    next_steps,
    outcome_sentence,
    watch_alarmed,
    watch_lines,
)

if TYPE_CHECKING:
    from .journal import Event

TITLES = {
    "rollback": "Migration rollback incident report",
    "rehearsal": "Migration rollback rehearsal report",
    "restore": "Database restoration report",
    "drill": "Migration rollback drill report",
}
HEADLINES = {
    "rehearsed": "Rehearsed",
    "rolled_back": "Rolled back",
    "refused": "Refused",
    "aborted": "Given up",
    "restored": "Restored",
    "failed": "Failed",
}
_WELL, _MINUTE, _HUGE = "good", 60, 200


def render_page(run: Mapping[str, Any], events: Sequence[Event]) -> str:
    """Return the report as an HTML document.

    Args:
        run: what `outcome.summarise` made of the journal.
        events: the journal.
    """
    parts = [
        _header(run),
        _facts(run),
        _override(run),
        _figures(run),
        _error(run),
        _next(run, events),
        _timeline(run, events),
        _impact(run, events),
        _restoration(run),
        _watch(run),
        _notices(run),
        _contacts(run),
        _record(run, events),
        _to_fill_in(),
        _footer(run, events),
    ]
    return "<!DOCTYPE html>\n" + element("html", _head(run), element("body", element("main", *parts)), lang="en") + "\n"


def _head(run: Mapping[str, Any]) -> Markup:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"{HEADLINES[run['outcome']]}: {run['database']} ({run['environment']}), {run['started_at'][:10]}"
    return element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name_="referrer", content="no-referrer"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),
    )


def _header(run: Mapping[str, Any]) -> Markup:
    headline = HEADLINES[run["outcome"]]
    sentence = outcome_sentence(run)
    shorter = sentence[len(headline) + 2 :] if sentence.startswith(f"{headline}. ") else sentence
    alarm = ", and the watch raised an alarm" if watch_alarmed(run) else ""
    return element(
        "header",
        element("p", TITLES.get(run["kind"], "Report"), class_="eyebrow"),
        element("h1", headline + alarm),
        element("p", shorter, class_="lead"),
        class_=_mood(run),
    )


def _mood(run: Mapping[str, Any]) -> str:
    if run["outcome"] == "failed":
        return "bad"
    return "warn" if needs_a_person(run) else _WELL


def _facts(run: Mapping[str, Any]) -> Markup:
    plan = (
        joined(*(element("div", element("code", name)) for name in run["plan"])) if run["plan"] else "none was planned"
    )
    migration: list[tuple[str, object]] = [] if run["kind"] == "restore" and not run["plan"] else [("Migration", plan)]
    facts: list[tuple[str, object]] = [
        ("Date", f"{run['started_at'][:16].replace('T', ' ')} UTC, until {run['finished_at'][11:16]} UTC"),
        *migration,
        ("Database", joined(element("code", run["database"]), f" on host {run['host'] or 'unknown'}")),
        ("Environment", run["environment"]),
        ("Reason", run["reason"] or "not given"),
        ("Executed by", run["executed_by"] or "unknown"),
        ("Run", element("code", run["run_id"])),
    ]
    return element("dl", *(joined(element("dt", name), element("dd", fact)) for name, fact in facts), class_="facts")


def _override(run: Mapping[str, Any]) -> Markup | None:
    override = run.get("override")
    if not override:
        return None
    return element(
        "section",
        element("h2", "The gate was overridden: this rollback was not rehearsed"),
        element("p", f"Reason: {override['reason']}. Approved by {' and '.join(override['approved_by'])}."),
        class_="box bad",
    )


def _figures(run: Mapping[str, Any]) -> Markup:
    window = f"{run['window_seconds']:.1f} s" if run["window_seconds"] else "none"
    rows = run["loss"]["rows"] if may_have_lost(run) else 0
    at_most = "up to " if rows and run["outcome"] == "failed" else ""
    maintenance = maintenance_beyond_window(run)
    felt = "downtime, as users felt it" if maintenance is None else "the database was closed"
    downtime = "downtime so far: see whether it is open" if run["outcome"] == "failed" else felt
    figures = [(window, downtime), (f"{at_most}{rows:,}", "rows whose content went away")]
    since = run.get("lost_since")
    if since and may_have_lost(run):
        known = since.get("known", True) and "rows" in since
        figures[1] = (f"{since['rows']:,}" if known else "not known", "rows lost that came after the backup")
    if run["restore_seconds"] is not None:
        figures.append((f"{run['restore_seconds']:.3f} s", "to put the original back"))
    if run["plan"] or run["kind"] != "restore":
        figures.append((str(len(run["plan"])), "migrations in the plan"))
    if maintenance is not None:
        figures.insert(1, (f"{maintenance:.1f} s", "maintenance mode was on; what users felt of it was not probed"))
    tiles = (element("div", element("strong", figure), element("span", what)) for figure, what in figures)
    return element("section", *tiles, class_="figures")


def _error(run: Mapping[str, Any]) -> Markup | None:
    error = run.get("error")
    if not error:
        return None
    parts = [element("h2", f"What happened (phase {_title(error['phase'])})"), element("p", error["message"])]
    for heading, words in (("What was not touched", error["untouched"]), ("What to do next", error["remedy"])):
        if words:
            parts.append(joined(element("h3", heading), element("p", words)))
    calls = contact_lines(run["contacts"]) if needs_a_person(run) else []
    if calls:
        parts.append(joined(element("h3", "Whom to call"), bullets(list(calls))))
    return element("section", *parts, class_="box bad" if run["outcome"] == "failed" else "box warn")


def _next(run: Mapping[str, Any], events: Sequence[Event]) -> Markup | None:
    steps = next_steps(run, events)
    if not steps:
        return None
    heading = "Still to do" if run.get("error") else "What to do next"
    return element("section", element("h2", heading), bullets(list(steps)), class_="box")


def _timeline(run: Mapping[str, Any], events: Sequence[Event]) -> Markup:
    window = draw_window(events)
    legend = [("bar ok", "step"), ("bar failed", "refused or failed"), ("bar restore", "restore"), ("window", "window")]
    swatch = joined(*(element("li", _swatch(kind), name) for kind, name in legend))
    parts = [element("h2", "Timeline"), element("ul", swatch, class_="legend"), draw_phases(events)]
    parts.append(element("p", "Times in UTC. Grey parts, marked //, are not to scale.", class_="soft"))
    if window:
        parts += [element("h3", f"The window, step by step: {run['window_seconds']:.1f} s"), window]
    return element("section", *parts)


def _swatch(kind: str) -> Markup:
    return element("svg", element("rect", width=12, height=12, class_=kind), viewBox="0 0 12 12", aria_hidden="true")


def _impact(run: Mapping[str, Any], events: Sequence[Event]) -> Markup:
    changes = [event["data"]["change"] for event in events if event["data"].get("change")]
    change = changes[-1] if changes else []
    parts = [element("h2", "Impact")]
    if change or run["kind"] != "restore":
        parts.append(element("h3", "What the plan changed, by the catalogue"))
    if change:
        parts.append(bullets(list(change), "names") if isinstance(change, list) else outline(change))
        if run["outcome"] == "restored" and run["kind"] != "restore":
            parts.append(element("p", "Not in effect: the database is what it was before.", class_="soft"))
    elif run["kind"] != "restore":
        parts.append(element("p", "Nothing."))
    parts += [element("h3", "Data loss"), element("p", _capital(loss_sentence(run)))]
    parts += [element("h3", "Affected users"), element("p", "To be filled in.", class_="soft")]
    return element("section", *parts)


def _restoration(run: Mapping[str, Any]) -> Markup | None:
    found = [(title, run[name]) for name, title in OF_A_RESTORE.items() if run.get(name)]
    if not found:
        return None
    parts = [joined(element("h3", title), _finding(value)) for title, value in found]
    return element("section", element("h2", "Restoration"), *parts)


def _finding(value: object) -> Markup:
    """Show what a restore has found: in its own words where it has some, as a table where it lists rows."""
    if not isinstance(value, Mapping):
        return outline(value)
    lines, tables = value.get("lines"), value.get("tables")
    if isinstance(lines, list) and lines:
        return bullets(list(lines))
    if _is_rows(tables):
        rest = {
            name: entry for name, entry in value.items() if name != "tables" and entry not in (None, "", [], {}, True)
        }
        return joined(_as_table(tables), outline(rest) if rest else None)
    return outline(value)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _as_table(rows: Any) -> Markup:
    names = list(dict.fromkeys(name for row in rows for name in row))
    numbers = tuple(place for place, name in enumerate(names) if all(_is_number(row.get(name)) for row in rows))
    cells: list[list[object]] = [[_plain(row.get(name)) for name in names] for row in rows[:_HUGE]]
    left_out = element("p", f"{len(rows) - _HUGE} more.", class_="soft") if len(rows) > _HUGE else None
    return joined(table([_title(str(name)) for name in names], cells, numbers=numbers), left_out)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def outline(value: object) -> Markup:
    """Show any data: as lists within lists."""
    if _is_rows(value):
        return _as_table(value)
    if isinstance(value, Mapping):
        return bullets(
            [joined(element("strong", f"{_title(str(name))}: "), outline(entry)) for name, entry in value.items()]
        )
    if isinstance(value, list) and value:
        return bullets([outline(entry) for entry in value])
    return joined(_plain(value))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (Mapping, list)) and value:
        return (
            ", ".join(map(str, value)) if isinstance(value, list) else ", ".join(f"{k}: {v}" for k, v in value.items())
        )
    return "none" if value in (None, "", [], {}) else str(value)


def _watch(run: Mapping[str, Any]) -> Markup | None:
    seen = run.get("watch")
    if not seen:
        return None
    alarm = _mark("alarm", "bad") if watch_alarmed(run) else _mark("no alarm")
    breaches = seen.get("breaches")
    lines = watch_lines(run)
    rest = {name: entry for name, entry in seen.items() if name not in ("breaches", "alarm")}
    parts = [element("h2", "Watch after reopening"), element("p", alarm), outline(rest if lines is None else lines)]
    if breaches:
        parts += [element("h3", "Breaches"), outline(breaches)]
    return element("section", *parts)


def _notices(run: Mapping[str, Any]) -> Markup | None:
    if not run["notices"]:
        return None
    rows: list[list[object]] = [
        [
            _title(notice["event"]),
            f"{notice['name']} ({notice['channel']})" if notice["name"] != notice["channel"] else notice["name"],
            _mark("sent") if notice["sent"] else _mark("not sent", "bad"),
            notice["attempts"],
            notice["error"],
        ]
        for notice in run["notices"]
    ]
    heads = ["Event", "Channel", "Sent", "Attempts", "Why not"]
    return element("section", element("h2", "Notices"), table(heads, rows, numbers=(3,), tight=(0, 2)))


def _contacts(run: Mapping[str, Any]) -> Markup | None:
    rows: list[list[object]] = [
        [entry.get(name) or "" for name in ("role", "name", "contact")] for entry in run["contacts"]
    ]
    if not rows:
        return None
    return element("section", element("h2", "Emergency contacts"), table(["Role", "Name", "Contact"], rows))


def _record(run: Mapping[str, Any], events: Sequence[Event]) -> Markup:
    rows: list[list[object]] = [
        [
            event["at"][11:23],
            _title(event["phase"]),
            event["action"],
            f"{event['seconds']:.3f}",
            _mark(event["outcome"], "" if event["outcome"] == "ok" else "bad"),
        ]
        for event in events
    ]
    steps = table(["UTC", "Phase", "Action", "Seconds", "Outcome"], rows, numbers=(3,), tight=(0, 1, 4))
    return element(
        "section",
        element("h2", "Actions taken"),
        element("ol", *(element("li", line) for line in action_lines(run))),
        steps,
    )


def _to_fill_in() -> Markup:
    return element(
        "section",
        element("h2", "Root cause"),
        element("ul", *(element("li", question) for question in ROOT_CAUSE), class_="todo"),
        element("h2", "Prevention"),
        bullets(list(ACTION_ITEMS), "check"),
    )


def _footer(run: Mapping[str, Any], events: Sequence[Event]) -> Markup:
    last = events[-1].get("hash", "")
    proof = f"Made from the journal of run {run['run_id']}: {len(events)} events, each with the hash of the one before."
    return element("footer", element("p", proof), element("p", "Hash of the last: ", element("code", last or "none")))


def _mark(text: str, mood: str = "") -> Markup:
    return element("span", text, class_=f"mark {mood}".strip())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(name: str) -> str:
    return name.replace("_", " ")
