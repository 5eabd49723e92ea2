# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a page: complete, self-contained, and safe whatever names a database holds."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.markup import element, visible
from ansible_collections.balcon.rollback.plugins.module_utils._domain.outcome import summarise
from ansible_collections.balcon.rollback.plugins.module_utils._domain.report import render_report
from ansible_collections.balcon.rollback.plugins.module_utils._domain.report_page import outline, render_page
from ansible_collections.balcon.rollback.plugins.module_utils._domain.report_picture import WIDTH
from ansible_collections.balcon.rollback.plugins.module_utils._domain.watch import (
    Level,
    LogRules,
    Round,
    Thresholds,
    Watch,
)

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202egnp.exe\u200b&amp;\ud800\x00"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "p", "h1", "h2", "h3",
    "div", "span", "strong", "code", "dl", "dt", "dd", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td",
    "svg", "rect", "line", "text",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "viewbox", "role", "xmlns", "aria-hidden",
    "x", "y", "x1", "x2", "y1", "y2", "rx", "width", "height",
}  # fmt: skip

Step = tuple[str, str, float, float, str, dict[str, Any]]


def journal(*steps: Step, **start: Any) -> list[dict[str, Any]]:
    """Make a journal: phase, action, seconds, seconds until the next step, outcome, data."""
    request = {"kind": "rollback", "environment": "production", "database": "shop", "host": "shop-production", **start}
    moment, events = START, []
    for phase, action, seconds, pause, outcome, data in [
        ("preflight", "the run begins", 0.1, 0.2, "ok", request),
        *steps,
    ]:
        at = moment.isoformat(timespec="milliseconds")
        event = {"run_id": "20261123t080000abcd", "at": at, "phase": phase, "action": action, "seconds": seconds}
        events.append({**event, "outcome": outcome, "data": data, "hash": "ab" * 32})
        moment += timedelta(seconds=seconds + pause)
    return events


CLOSED: Step = ("close", "close the database", 0.5, 0.1, "ok", {"closed": True})
CHANGED: Step = (
    "verify", "verify the candidate", 2.0, 0.1, "ok",
    {"change": ["column public.users.phone removed (text)"],
     "loss": {"tables": [], "columns": ["public.users.phone"], "rows": 1234}},
)  # fmt: skip
SWAPPED: Step = ("reopen", "swap the candidate in", 0.1, 0.1, "ok", {"reopened": True, "before": 'shop"__before_x'})
FINISHED: Step = ("reopen", "end the run", 0.1, 0.1, "ok", {"finished": True})
ERROR = {"error": {"message": "It broke.", "untouched": "Nothing else.", "remedy": "Mend it."}}
BROKEN: Step = ("migrate_down", "revert the plan", 1.0, 0.1, "failed", ERROR)
RESTORED: Step = ("restore", "restore the original", 0.02, 0.1, "ok", {"restored": True, "restore_seconds": 0.02})
CONTACTS = [{"role": "Database administrator", "name": "Anna", "contact": "+49 30 1"}]

RUNS = {
    "rolled_back": journal(CLOSED, CHANGED, SWAPPED, FINISHED, reason="invoices", contacts=CONTACTS),
    "restored": journal(CLOSED, BROKEN, RESTORED, contacts=CONTACTS),
    "refused": journal(("gate", "check", 0.1, 0.1, "refused", ERROR), contacts=CONTACTS),
    "aborted": journal(("back_up", "dump", 0.1, 0.1, "failed", ERROR)),
    "failed": journal(CLOSED, BROKEN, ("restore", "restore", 0.1, 0.1, "failed", ERROR), contacts=CONTACTS),
    "rehearsed": journal(("rehearse", "passed", 9.0, 0.1, "ok", {"finished": True, "plan": ["a"]}), kind="rehearsal"),
    "nothing": journal(),
}


class Reader(HTMLParser):
    """Reads a page as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str | None]] = {}
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(events: list[dict[str, Any]], **more: Any) -> str:
    return render_page({**summarise(events), **more}, events)


def read(events: list[dict[str, Any]], **more: Any) -> str:
    return Reader(page_of(events, **more)).text


# -- what it says ----------------------------------------------------------------------------------------------------


def test_a_rollback() -> None:
    text = read(RUNS["rolled_back"])
    for words in (
        "Rolled back", "Production runs on the older schema.", "Reason invoices", "2.8 s",
        "1,234 rows whose content went away", "column public.users.phone removed (text)",
        "Columns public.users.phone went away with the migration, with content in 1234 rows",
        'DROP DATABASE "shop""__before_x";', "window 2.80 s", "What was missed in code review?", "Team notified",
        "Database administrator", "ab" * 32,
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("restored", "The rollback failed, and production's own database, which was never altered, is open again."),
        ("restored", "0.020 s to put the original back"),
        ("refused", "What to do next Mend it. Whom to call Database administrator: Anna, +49 30 1"),
        ("aborted", "Given up before the database was closed."),
        ("failed", "downtime so far: see whether it is open"),
        ("failed", "What was not touched Nothing else."),
        ("rehearsed", "ansible-playbook rollback.yml -e env=production"),
        ("nothing", "Given up"),
    ],
)
def test_every_outcome(name: str, words: str) -> None:
    assert words in read(RUNS[name])


def test_a_failure_does_not_deny_what_may_be_gone() -> None:
    events = journal(CLOSED, CHANGED, SWAPPED, FINISHED, ("reopen", "maintenance off", 0.1, 0.1, "failed", ERROR))
    assert "up to 1,234 rows" in read(events)
    assert "Where the rolled-back database is the one in use, columns public.users.phone went away" in read(events)


def test_an_override_comes_before_the_figures() -> None:
    override = {"override": {"reason": "no staging", "approved_by": ["Anna", "Ben"]}}
    text = read(journal(("gate", "check", 0.1, 0.1, "ok", override), CLOSED, SWAPPED, FINISHED))
    assert text.index("not rehearsed Reason: no staging. Approved by Anna and Ben.") < text.index("downtime")


def test_notices_and_watch_are_there_as_well_in_the_markdown() -> None:
    notice = {
        "event": "started",
        "channel": "slack",
        "name": "team",
        "sent": False,
        "attempts": 2,
        "error": "status 500",
    }
    seen = {"probes": 4, "failures": 1, "breaches": [{"after_seconds": 2.0, "name": "door", "reason": "status 500"}]}
    told: Step = ("close", "tell", 0.1, 0.1, "ok", {"notices": [notice]})
    events = journal(told, CLOSED, SWAPPED, FINISHED, ("watch", "watch", 9.0, 0.1, "ok", {"watch": seen}))
    text, markdown = read(events), render_report(summarise(events), events)
    for words in ("the watch raised an alarm", "team (slack) not sent 2 status 500", "door status 500"):
        assert words in text
    for words in ("**ALARM.**", "| started | team | not sent | 2 | status 500 |", "reason: status 500"):
        assert words in markdown
    assert "ansible-playbook restore.yml -e env=production -e run=20261123t080000abcd" in text
    assert "ansible-playbook restore.yml -e env=production -e run=20261123t080000abcd" in markdown


def test_what_the_watch_saw_is_told_in_sentences() -> None:
    watch = Watch(Level({"door": 40.0}, 1.5, 15.0), Thresholds(), LogRules())
    for after in (0.0, 10.0, 20.0):
        answered = {"name": "door", "healthy": after < 20, "reason": "status 500", "latency_ms": 21.4}
        watch.take(Round(after, [answered, {**answered, "name": "new"}], errors=1, notes=["it was rotated"]))
    events = journal(CLOSED, SWAPPED, FINISHED, ("watch", "watch", 9.0, 0.1, "ok", {"watch": watch.summary()}))
    text, markdown = read(events), render_report(summarise(events), events)
    for words in (
        "Looked 3 times in 20 s: 6 requests, 2 not as described",
        "door: 21 ms (median), before 40 ms",
        "new: 21 ms (median), before not known",
        "Log: 3 errors; 9 errors a minute, before 1.5",
        "After 10 s: it was rotated",
    ):
        assert words in text
        assert f"- {words}" in markdown


def test_a_restore() -> None:
    found = {
        "scope": {"clean": False, "lines": ["index orders_pkey is damaged"], "findings": [{"x": 1}]},
        "partial": {"state": "partial", "lines": ["users reverted, projects not"]},
        "lost_since": {"tables": [{"name": "public.orders", "rows": 12, "changed": 3}], "rows": 12, "known": True},
        "outcome": "restored",
    }
    events = journal(CLOSED, kind="restore")
    text, markdown = read(events, **found), render_report({**summarise(events), **found}, events)
    assert "Database restoration report Restored What was chosen has taken the database's place." in text
    assert "12 rows lost that came after the backup" in text
    for words in ("index orders_pkey is damaged", "users reverted, projects not", "public.orders"):
        assert words in text
        assert words in markdown
    assert "Call" not in text


def test_maintenance_that_nobody_probed_is_no_downtime_that_users_felt() -> None:
    events = journal(CLOSED, kind="restore")
    assert "downtime, as users felt it" in read(events, outcome="restored")
    longer = read(events, outcome="restored", maintenance_seconds=24.12)
    assert "the database was closed 24.1 s maintenance mode was on" in longer
    assert "as users felt it" not in longer


def test_what_a_restore_lost() -> None:
    events = journal(CLOSED, kind="restore")
    lost = {"tables": [{"name": "orders", "rows": 12, "changed": 3}], "rows": 12, "changed": 3, "known": True}
    words = "12 rows that came later are no longer there, and 3 went back to older values"
    assert words in read(events, lost_since=lost, outcome="restored")
    assert words not in read(events, lost_since=lost, outcome="aborted")
    assert "Data loss Not known in full" in read(events, lost_since={**lost, "unknown": ["quotes"]}, outcome="restored")
    assert "Data loss None" in read(events, outcome="restored")


def test_a_column_that_a_restore_took_away_is_named() -> None:
    lost = {"tables": [], "rows": 0, "changed": 0, "columns": ["public.users.phone"], "unknown": [], "known": True}
    events = journal(CLOSED, kind="restore")
    words = "the columns public.users.phone are gone as well"
    assert words in read(events, lost_since=lost, outcome="restored")
    run = {**summarise(events), "lost_since": lost, "outcome": "restored"}
    assert words in render_report(run, events).replace("\n", " ")


def test_what_could_not_be_compared_is_not_called_nothing() -> None:
    lost = {"lost_since": {"tables": [], "rows": 0, "known": False}, "outcome": "restored"}
    assert "not known rows lost that came after the backup" in read(journal(CLOSED, kind="restore"), **lost)


# -- that it is safe -------------------------------------------------------------------------------------------------


def hostile_run() -> list[dict[str, Any]]:
    notice = {"event": "failed", "channel": "email", "name": HOSTILE, "sent": False, "attempts": 1, "error": HOSTILE}
    error = {"error": {"message": HOSTILE, "untouched": HOSTILE, "remedy": HOSTILE}}
    data = {
        "change": [HOSTILE], "loss": {"tables": [HOSTILE], "columns": [HOSTILE], "rows": 1}, "plan": [HOSTILE],
        "notices": [notice], "watch": {"failures": 1, HOSTILE: HOSTILE, "breaches": [{HOSTILE: HOSTILE}]},
        "override": {"reason": HOSTILE, "approved_by": [HOSTILE]}, "backup_id": HOSTILE, "evidence_id": HOSTILE,
        "failed_database": HOSTILE,
    }  # fmt: skip
    steps: list[Step] = [(HOSTILE, HOSTILE, 1.0, 0.1, "ok", data), ("close", HOSTILE, 1.0, 0.1, "ok", {"closed": True})]
    contacts = [dict.fromkeys(("role", "name", "contact"), HOSTILE)]
    return journal(
        *steps, ("restore", HOSTILE, 1.0, 0.1, "failed", error),
        database=HOSTILE, host=HOSTILE, reason=HOSTILE, executed_by=HOSTILE, environment=HOSTILE, contacts=contacts,
    )  # fmt: skip


def assert_safe(page: str) -> None:
    """Only known elements and attributes, nothing that loads or runs, nothing invisible."""
    found = Reader(page)
    assert found.tags <= TAGS
    assert set(found.attributes) <= ATTRIBUTES
    page.encode("utf-8")
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", page)
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(picture)  # noqa: S314  # our own


def test_hostile_names() -> None:
    lost = {name: {"lines": [HOSTILE], HOSTILE: [HOSTILE]} for name in ("scope", "partial", "lost_since")}
    page = page_of(hostile_run(), **lost)
    assert_safe(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\\u{202e}gnp.exe\\u{200b}&amp;amp;\\u{d800}\\u{0}" in page


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(found=ANYTHING, seen=st.dictionaries(st.text(), ANYTHING, max_size=3), words=st.text())
def test_whatever_a_journal_holds(found: Any, seen: dict[str, Any], words: str) -> None:
    step: Step = ("watch", words, 1.0, 0.1, "ok", {"watch": seen, "change": found if isinstance(found, list) else []})
    events = journal(CLOSED, SWAPPED, FINISHED, step, reason=words, database=words)
    assert_safe(page_of(events, scope=found, partial=found))
    assert_plain(render_report({**summarise(events), "scope": found, "partial": found}, events))


def assert_plain(markdown: str) -> None:
    """No element, no link and no picture, which a reader's program would fetch; no line but ours."""
    outside_code = re.sub(r"`[^`\n]*`", "", markdown).replace("- [ ] ", "")
    assert "<" not in outside_code
    assert re.findall(r"(?<!\\)[\[\]]", outside_code) == []
    assert len(markdown.splitlines()) == markdown.count("\n")


@pytest.mark.parametrize("text", ["![x](https://example.invalid/p.png)", "[click](javascript:alert(1))", "a\r# Title"])
def test_no_text_becomes_markup_in_the_other_report(text: str) -> None:
    step: Step = ("watch", text, 1.0, 0.1, "ok", {"watch": {text: text}, "change": [text]})
    events = journal(CLOSED, SWAPPED, FINISHED, step, reason=text, database=text, executed_by=text)
    assert_plain(render_report({**summarise(events), "scope": {text: [text]}}, events))


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = page_of(RUNS["rolled_back"])
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert style
    assert policy
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "url(" not in page
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\"\s<]+", page)) == {"http://www.w3.org/2000/svg"}


def test_text_is_escaped_unless_it_was_built_here() -> None:
    assert element("p", "<b>", element("code", "&"), None, title='"x"') == (
        '<p title="&quot;x&quot;">&lt;b&gt;<code>&amp;</code></p>'
    )
    assert visible("a\nb\tc\u200bd") == "a b c\\u{200b}d"


# -- the picture -----------------------------------------------------------------------------------------------------


def bars(page: str) -> list[tuple[float, float]]:
    """The left and right ends of all bars of the first picture."""
    (picture,) = re.findall(r'<svg viewBox="0 0 960[^>]*role="img".*?</svg>', page, re.DOTALL)[:1]
    ends = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="14"', picture)
    return [(float(left), float(left) + float(width)) for left, width in ends]


@settings(max_examples=60, deadline=None)
@given(times=st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 4000), st.booleans()), max_size=8))
def test_the_bars_stand_in_their_order_inside_the_picture(times: list[tuple[float, float, bool]]) -> None:
    steps: list[Step] = [
        ("watch" if watch else "verify", "a step", round(seconds, 3), round(pause, 3), "ok", {})
        for seconds, pause, watch in times
    ]
    found = bars(page_of(journal(*steps)))
    assert len(found) == len(steps) + 1
    assert all(0 <= left < right <= WIDTH for left, right in found)
    assert min(left for left, _right in found) == found[0][0]


def test_a_run_of_no_length_has_a_picture() -> None:
    events = journal()
    events[0]["seconds"] = 0.0
    assert len(bars(page_of(events))) == 1


def test_a_long_watch_does_not_make_the_window_invisible() -> None:
    watch: Step = ("watch", "watch", 900.0, 0.1, "ok", {})
    steps = (CLOSED, CHANGED, SWAPPED, FINISHED, watch)
    page = page_of(journal(*steps))
    closed, verified = bars(page)[1:3]
    assert verified[1] - closed[0] > WIDTH / 4
    assert "// 15 min" in page


def test_a_failed_step_is_drawn_as_one() -> None:
    page = page_of(RUNS["failed"])
    assert page.count('class="bar failed"') == 1 + 2 + 2  # the legend, the phases, the window
    assert 'class="bar restore"' in page_of(RUNS["restored"])


def test_data_of_any_depth_becomes_words() -> None:
    page = str(outline([{"sound": True, "names": [], "parts": {"a": [1, 2], "b": None}}, "x"]))
    for word in ("yes", "none", "parts", "x"):
        assert word in page
    assert "no" in str(outline([{"sound": False, "inner": [1, 2]}, {"sound": True, "inner": {"a": 1}}]))


def test_an_error_without_advice_has_no_empty_headings() -> None:
    page = read(journal(("migrate_down", "revert", 1.0, 0.1, "failed", {"error": {"message": "It broke."}})))
    assert "It broke." in page
    assert "What was not touched" not in page
    assert "What to do next" not in page


def test_a_change_that_was_taken_back_is_said_not_to_be_in_effect() -> None:
    assert "Not in effect: the database is what it was before." in read(journal(CLOSED, CHANGED, BROKEN, RESTORED))
    assert "Not in effect" not in read(journal(CLOSED, CHANGED, SWAPPED, FINISHED))
