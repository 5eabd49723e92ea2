# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode: one small interface, one file a provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .._domain.errors import Failed, Refused
from .._domain.probe import Endpoint, make_endpoint, unhealthy_reason
from .._probe import ask, probe_until
from .command import CommandProvider
from .file import FileProvider
from .http import HttpProvider
from .interface import Provider
from .railway import RailwayProvider

DEFAULT_DEADLINE_SECONDS = 10.0
_PROBE_TIMEOUT_SECONDS = 5.0

WORDS = ("off", "on")

ACTIONS = {"on": "turn maintenance mode on", "off": "turn maintenance mode off", "checked": "look at maintenance mode"}
"""What the journal calls what M(balcon.rollback.maintenance_mode) does."""


def provider(spec: Mapping[str, Any]) -> Provider:
    """Make a provider from the options of M(balcon.rollback.maintenance_mode), also as a plain dictionary.

    Args:
        spec: C(provider), and the suboption of that name.

    Raises:
        Refused: there is no such provider, or its options are missing.
    """
    kinds: dict[str, Callable[[Mapping[str, Any]], Provider]] = {
        "file": FileProvider,
        "command": CommandProvider,
        "http": HttpProvider,
        "railway": RailwayProvider,
    }
    name = spec.get("provider")
    if name not in kinds or not spec.get(name):
        raise Refused(
            f"Maintenance mode needs a provider ({', '.join(kinds)}) and its options under the same name; "
            f"this one is {name!r}.",
            untouched="Nothing was touched.",
            remedy="For example: provider: file, file: {path: /srv/app/maintenance}.",
        )
    return kinds[name](spec[name])


def turn_off(spec: Mapping[str, Any]) -> None:
    """Turn maintenance mode off, whatever it is now: for the keeper, which has nobody to ask.

    Raises:
        Failed: it could not be turned off.
    """
    provider(spec).turn_off()


def endpoint_of(spec: Mapping[str, Any]) -> Endpoint | None:
    """Return the endpoint that answers as described while maintenance is on, if one is given."""
    return make_endpoint(spec["probe"]) if spec.get("probe") else None


def present_state(spec: Mapping[str, Any]) -> bool | None:
    """Tell whether maintenance mode is on: by the probe where there is one, and the provider's own word.

    The two must agree; where they do not, or neither can tell, the answer is None.
    """
    word = provider(spec).is_on()
    endpoint = endpoint_of(spec)
    if endpoint is None:
        return word
    answer = ask(endpoint, _PROBE_TIMEOUT_SECONDS)
    if answer.status is None:  # nobody there does not mean off
        return None
    seen = not unhealthy_reason(endpoint, answer)
    return seen if word is None or word == seen else None


def set_state(spec: Mapping[str, Any], on: bool, found: bool | None, *, only_plan: bool = False) -> dict[str, Any]:
    """Turn maintenance mode on or off where it is not so already.

    Args:
        spec: the options of M(balcon.rollback.maintenance_mode).
        on: the state that is wished for.
        found: what `present_state` said.
        only_plan: change nothing, because of check mode.

    Returns:
        What M(balcon.rollback.maintenance_mode) returns.

    Raises:
        Failed: as `switch`.
    """
    changed = found is not on
    if changed and not only_plan:
        switch(spec, on)
    shown = not (changed and only_plan) and (bool(spec.get("probe")) or provider(spec).is_on() is on)
    verified_by = ("probe" if spec.get("probe") else "provider") if shown else None
    return {
        "changed": changed,
        "state": WORDS[on],
        "found": word_of(found),
        "verified": shown,
        "verified_by": verified_by,
    }


def word_of(found: bool | None) -> str | None:
    """Return a state as modules return it."""
    return None if found is None else WORDS[found]


def for_journal(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the journal records of a switch: with C(maintenance) where users were seen to feel it."""
    felt = result["verified_by"] == "probe" and result["changed"]
    return {**result, **({"maintenance": result["state"]} if felt else {})}


def switch(spec: Mapping[str, Any], on: bool) -> None:
    """Turn maintenance mode on or off, and see by the probe that it is; what cannot be seen on is turned off again.

    Args:
        spec: the module's options.
        on: the state that is wished for.

    Raises:
        Failed: the provider failed, or the probe shows another state at the deadline.
    """
    chosen = provider(spec)
    (chosen.turn_on if on else chosen.turn_off)()
    try:
        verify(spec, on)
    except Failed as error:
        if on:
            chosen.turn_off()
            error.untouched = "It was turned off again."
        raise


def verify(spec: Mapping[str, Any], on: bool) -> None:
    """Wait until the probe shows the state that is wished for; without a probe there is nothing to see.

    Raises:
        Failed: it shows another one at the deadline.
    """
    endpoint = endpoint_of(spec)
    if endpoint is None:
        return
    deadline = float(spec.get("deadline") or DEFAULT_DEADLINE_SECONDS)
    reason = _seen_on(endpoint, deadline) if on else _seen_off(endpoint, deadline)
    if not reason:
        return
    word = "on" if on else "off"
    raise Failed(
        f"Maintenance mode was turned {word}, but {endpoint.name} does not show it after {deadline:g} s: {reason}.",
        remedy=(
            "Ask the endpoint by hand. An application that does not look at the switch cannot be put into"
            " maintenance by it (facts: MAINTENANCE_MODE may have no code behind it); the database is closed"
            " by the server in any case."
        ),
    )


def _seen_on(endpoint: Endpoint, deadline: float) -> str:
    outcome = probe_until([endpoint], timeout=min(deadline, _PROBE_TIMEOUT_SECONDS), deadline=deadline)
    return str(outcome["endpoints"][0]["reason"])


def _seen_off(endpoint: Endpoint, deadline: float) -> str:
    end = time.monotonic() + deadline
    while True:
        answer = ask(endpoint, min(deadline, _PROBE_TIMEOUT_SECONDS))
        if answer.status is not None and unhealthy_reason(endpoint, answer):
            return ""
        if time.monotonic() > end:
            return answer.error or "it still answers as in maintenance"
        time.sleep(0.02)
