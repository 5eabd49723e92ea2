# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a run: its phases on a time axis, and the window step by step; inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from .markup import Markup, element, joined, visible
from .outcome import window_events
from .run_states import PHASES

if TYPE_CHECKING:
    from .journal import Event

WIDTH = 960.0
_LABELS, _FIGURES, _ROW, _TOP = 120.0, 90.0, 24.0, 34.0
_STEP_LABELS = 330.0
_BREAK_WIDTH, _LONG_WIDTH = 30.0, 90.0
_LONGEST_SHARE = 0.25
"""A pause, or the watch, that would take more of the axis than this is drawn short, and marked as such."""

_SHORTEST_PAUSE_SECONDS = 3.0
_TICK_DISTANCE, _CHARACTER = 66.0, 6.6
_NARROWEST = 2.0
_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


class Segment(NamedTuple):
    """A part of the time axis: seconds since the epoch, places in the picture, whether it is true to scale."""

    begin: float
    end: float
    left: float
    right: float
    to_scale: bool


class Axis:
    """Time from left to right; long pauses and the watch are cut short.

    Args:
        events: the journal.
        left, right: where the axis begins and ends.
    """

    def __init__(self, events: Sequence[Event], left: float, right: float) -> None:
        parts = _parts(events)
        fixed = [_LONG_WIDTH if busy else _BREAK_WIDTH for _begin, _end, busy, short in parts if short]
        seconds = sum(end - begin for begin, end, _busy, short in parts if not short)
        scale = (right - left - sum(fixed)) / seconds if seconds else 0.0
        self.left = left
        self.segments: list[Segment] = []
        for begin, end, busy, short in parts:
            wide = (_LONG_WIDTH if busy else _BREAK_WIDTH) if short else (end - begin) * scale
            self.segments.append(Segment(begin, end, left, left + wide, not short))
            left += wide

    def place(self, moment: float) -> float:
        """Return where a moment lies."""
        for segment in self.segments:
            if moment <= segment.end:
                share = (moment - segment.begin) / ((segment.end - segment.begin) or 1.0)
                return segment.left + max(0.0, share) * (segment.right - segment.left)
        return self.segments[-1].right if self.segments else self.left


def _parts(events: Sequence[Event]) -> list[tuple[float, float, bool, bool]]:
    """Cut the time of a run into parts: begin, end, whether anything was done, whether it is drawn short."""
    parts: list[tuple[float, float, bool]] = []
    for begin, end, watch in sorted((begin_of(event), end_of(event), event["phase"] == "watch") for event in events):
        last = parts[-1][1] if parts else begin
        if begin - last > _SHORTEST_PAUSE_SECONDS:
            parts.append((last, begin, False))
            last = begin
        if end > last and parts and parts[-1][2] and not watch and not _is_watch(parts[-1], events):
            parts[-1] = (parts[-1][0], end, True)
        elif end > last:
            parts.append((last, end, True))
    busy = sum(end - begin for begin, end, done in parts if done and not _is_watch((begin, end, done), events))
    return [
        (begin, end, done, (not done or _is_watch((begin, end, done), events)) and end - begin > busy * _LONGEST_SHARE)
        for begin, end, done in parts
    ]


def _is_watch(part: tuple[float, float, bool], events: Sequence[Event]) -> bool:
    return part[2] and any(event["phase"] == "watch" and end_of(event) == part[1] for event in events)


def draw_phases(events: Sequence[Event]) -> Markup:
    """Draw a row for each phase, with a bar for each step, and the window behind them.

    Args:
        events: the journal.
    """
    seen = list(dict.fromkeys(event["phase"] for event in events))
    phases = sorted(seen, key=lambda phase: PHASES.index(phase) if phase in PHASES else len(PHASES))
    axis = Axis(events, _LABELS, WIDTH - _FIGURES)
    bottom = _TOP + _ROW * len(phases)
    rows = [_phase_row(phase, place, events, axis) for place, phase in enumerate(phases)]
    background = [_window_band(events, axis, bottom), *_breaks(axis, bottom)]
    return _picture("Phases of the run", bottom + 26, *background, *_ticks(axis, bottom), *rows)


def _phase_row(phase: str, place: int, events: Sequence[Event], axis: Axis) -> Markup:
    top = _TOP + _ROW * place
    steps = [event for event in events if event["phase"] == phase]
    seconds = max(map(end_of, steps)) - min(map(begin_of, steps))
    return joined(
        element("line", x1=0, x2=WIDTH, y1=top + _ROW, y2=top + _ROW, class_="rule"),
        element("text", phase.replace("_", " "), x=0, y=top + 16),
        *(_bar(event, axis.place(begin_of(event)), axis.place(end_of(event)), top) for event in steps),
        element("text", _seconds(seconds), x=WIDTH, y=top + 16, class_="figure"),
    )


def _bar(event: Event, left: float, right: float, top: float) -> Markup:
    kind = event["outcome"] if event["outcome"] != "ok" else "restore" if event["phase"] == "restore" else "ok"
    name = element("title", f"{event['action']}: {_seconds(event['seconds'])}, {event['outcome']}")
    wide = max(_NARROWEST, right - left)
    return element(
        "rect", name, x=_n(left), y=top + 5, width=_n(wide), height=_n(_ROW - 10), rx=2, class_=f"bar {kind}"
    )


def _window_band(events: Sequence[Event], axis: Axis, bottom: float) -> Markup | None:
    inside = window_events(events)
    if not inside:
        return None
    left, right = axis.place(begin_of(inside[0])), axis.place(max(map(end_of, inside)))
    wide = max(_NARROWEST, right - left)
    text = f"window {_seconds(max(map(end_of, inside)) - begin_of(inside[0]))}"
    middle = min(max(left + wide / 2, _LABELS + 60), WIDTH - _FIGURES - 60)
    return joined(
        element("rect", x=_n(left), y=20, width=_n(wide), height=bottom - 20, class_="window"),
        element("text", text, x=_n(middle), y=14, class_="middle strong"),
    )


def _breaks(axis: Axis, bottom: float) -> list[Markup]:
    """Mark what is not true to scale."""
    marks = []
    for segment in axis.segments:
        if not segment.to_scale:
            text = _short_time(segment.end - segment.begin)
            middle = (segment.left + segment.right) / 2
            wide = _n(segment.right - segment.left)
            marks.append(element("rect", x=_n(segment.left), y=_TOP, width=wide, height=bottom - _TOP, class_="cut"))
            marks.append(element("text", f"// {text}", x=_n(middle), y=_TOP - 4, class_="middle small"))
    return marks


def _ticks(axis: Axis, bottom: float) -> list[Markup]:
    marks, last = [], -_TICK_DISTANCE
    moments = sorted({moment for segment in axis.segments if segment.to_scale for moment in _round_moments(segment)})
    for moment in moments:
        place = axis.place(moment)
        if place - last >= _TICK_DISTANCE:
            clock = datetime.fromtimestamp(moment, timezone.utc).strftime("%H:%M:%S")
            marks.append(element("line", x1=_n(place), x2=_n(place), y1=_TOP, y2=bottom + 6, class_="tick"))
            marks.append(element("text", clock, x=_n(place), y=bottom + 20, class_="middle small"))
            last = place
    return marks


def _round_moments(segment: Segment) -> list[float]:
    """Return the begin of a segment, and round times within it that are far enough apart to be labelled."""
    least = (segment.end - segment.begin) * 2 * _TICK_DISTANCE / (segment.right - segment.left)
    step = next(step for step in (*_CLOCK_STEPS, least) if step >= least)
    first = int(segment.begin // step) + 1
    return [segment.begin, *(step * number for number in range(first, int(segment.end // step) + 1))]


def draw_window(events: Sequence[Event]) -> Markup | None:
    """Draw the window step by step; None where the database was not closed.

    Args:
        events: the journal.
    """
    inside = window_events(events)
    if not inside:
        return None
    begin = begin_of(inside[0])
    total = max(map(end_of, inside)) - begin or 1.0
    scale = (WIDTH - _STEP_LABELS - _FIGURES) / total
    bottom = _TOP + _ROW * len(inside)
    rows = []
    for place, event in enumerate(inside):
        top = _TOP + _ROW * place
        left = _STEP_LABELS + (begin_of(event) - begin) * scale
        rows += [
            element("line", x1=0, x2=WIDTH, y1=top + _ROW, y2=top + _ROW, class_="rule"),
            element("text", element("title", event["action"]), _cut(event["action"], _STEP_LABELS), x=0, y=top + 16),
            _bar(event, left, left + event["seconds"] * scale, top),
            element("text", _seconds(event["seconds"]), x=WIDTH, y=top + 16, class_="figure"),
        ]
    marks = [
        joined(
            element("line", x1=_n(place), x2=_n(place), y1=_TOP - 6, y2=bottom, class_="tick"),
            element("text", text, x=_n(place), y=_TOP - 12, class_="middle small"),
        )
        for place, text in _window_ticks(total, scale)
    ]
    return _picture("The window, step by step", bottom + 4, *marks, *rows)


def _window_ticks(total: float, scale: float) -> list[tuple[float, str]]:
    """Return round numbers of seconds, at most five of them."""
    step = next(step for step in _steps() if total / step <= 5)  # noqa: PLR2004
    count = int(total / step + 1e-9)
    return [(_STEP_LABELS + step * number * scale, f"{step * number:g} s") for number in range(count + 1)]


def _steps() -> list[float]:
    return [base * 10.0**power for power in range(-3, 8) for base in (1, 2, 5)]


def begin_of(event: Event) -> float:
    """Return when a step began, in seconds since the epoch."""
    return datetime.fromisoformat(event["at"]).timestamp()


def end_of(event: Event) -> float:
    """Return when a step ended, in seconds since the epoch."""
    return begin_of(event) + float(event["seconds"])


def _picture(title: str, height: float, *content: Markup | None) -> Markup:
    name = element("title", title)
    view = f"0 0 {_n(WIDTH)} {_n(height)}"
    picture = element("svg", name, *content, viewBox=view, role="img", xmlns="http://www.w3.org/2000/svg")
    return element("div", picture, class_="scrolls")


def _cut(text: str, width: float) -> str:
    most = int(width / _CHARACTER)
    text = visible(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"  # noqa: PLR2004


def _short_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004


def _n(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")
