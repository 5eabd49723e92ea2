# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices: one small interface, one file a channel; what cannot be sent is said, and stops nothing."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._domain.secrets import scrub
from .command import CommandChannel
from .email import EmailChannel
from .interface import Channel, NotSent
from .slack import SlackChannel
from .webhook import WebhookChannel

if TYPE_CHECKING:
    from .._domain.notice import Message

    Result = dict[str, Any]

CHANNELS: dict[str, Callable[[Mapping[str, Any]], Channel]] = {
    "webhook": WebhookChannel,
    "slack": SlackChannel,
    "email": EmailChannel,
    "command": CommandChannel,
}

LONGEST_ATTEMPT_SECONDS = 5.0
"""A receiver that hangs does not get all of the deadline: another attempt may find another machine behind the name."""

_FIRST_PAUSE = 0.5
_LEAST_ATTEMPT_SECONDS = 0.2
_GRACE_SECONDS = 0.3


def wanted(channels: Sequence[Mapping[str, Any]], event: str) -> list[Mapping[str, Any]]:
    """Return the channels that want to hear of an event; one that names no events wants all."""
    return [channel for channel in channels if not channel.get("events") or event in channel["events"]]


def not_tried(channels: Sequence[Mapping[str, Any]], event: str, reason: str) -> list[Result]:
    """Return the results for channels to which nothing was sent."""
    return [_result(channel, event, sent=False, attempts=0, error=reason) for channel in channels]


def send_notices(
    channels: Sequence[Mapping[str, Any]], event: str, message: Message, *, deadline: float, attempts: int
) -> list[Result]:
    """Send a message through all channels at once; returns at the deadline, whatever they do, and raises nothing.

    Args:
        channels: entries of C(channels) of M(balcon.rollback.notice).
        event: what happened.
        message: what to say.
        deadline: seconds for everything.
        attempts: at most, for each channel.

    Returns:
        For each channel C(event), C(channel), C(name), C(sent), C(attempts), and C(error), also where it was sent, but
        not to everybody.
    """
    answers: queue.Queue[tuple[int, Result]] = queue.Queue()
    end = time.monotonic() + deadline
    tried = [0] * len(channels)

    def work(index: int, options: Mapping[str, Any]) -> None:
        sent, error = _deliver(CHANNELS[options["channel"]](options), message, end, attempts, tried, index)
        answers.put((index, _result(options, event, sent=sent, attempts=tried[index], error=error)))

    for index, options in enumerate(channels):
        threading.Thread(target=work, args=(index, options), daemon=True).start()
    found: dict[int, Result] = {}
    while len(found) < len(channels):
        try:
            index, result = answers.get(timeout=max(0.0, end + _GRACE_SECONDS - time.monotonic()))
        except queue.Empty:
            break
        found[index] = result
    late = f"no answer within {deadline:g} s"
    return [
        found.get(index) or _result(options, event, sent=False, attempts=tried[index], error=late)
        for index, options in enumerate(channels)
    ]


def _deliver(
    channel: Channel, message: Message, end: float, attempts: int, tried: list[int], index: int
) -> tuple[bool, str]:
    """Try until it is sent, trying again is pointless, or there are no attempts or seconds left."""
    pause = _FIRST_PAUSE
    while True:
        remaining = end - time.monotonic()
        tried[index] += 1
        error = _attempt(channel, message, min(LONGEST_ATTEMPT_SECONDS, remaining))
        if not isinstance(error, NotSent):
            return True, error
        over = tried[index] >= attempts or end - time.monotonic() < pause + _LEAST_ATTEMPT_SECONDS
        if over or not error.again:
            return False, error.reason
        time.sleep(pause)
        pause *= 2


def _attempt(channel: Channel, message: Message, timeout: float) -> str | NotSent:
    try:
        channel.check()
        return channel.send(message, timeout)
    except NotSent as error:
        return error
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a notice, the rollback goes on
        return NotSent(scrub(f"{type(error).__name__}: {error}", channel.secrets())[:200])


def _result(options: Mapping[str, Any], event: str, *, sent: bool, attempts: int, error: str) -> Result:
    return {
        "event": event,
        "channel": options["channel"],
        "name": options.get("name") or options["channel"],
        "sent": sent,
        "attempts": attempts,
        "error": error,
    }
