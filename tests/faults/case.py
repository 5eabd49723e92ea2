# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case is: a fault at a named moment of a real rollback, and the ends that it may have."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trial import Trial

BEFORE, AFTER, HELD = "before", "after", "held"
PARTIAL = "partial"
"""What no case may end in."""


class NotHere(Exception):
    """A case cannot be played on this machine; the message says why."""


LEASE = int(os.environ.get("FAULTS_LEASE", "12"))
"""Seconds until a keeper acts, where a case waits for that. More on a busy machine: no step may take as long."""

Act = Callable[["Trial"], None]


def nothing(_trial: Trial) -> None:
    """Do nothing."""


def possible() -> str:
    """Return no reason for leaving a case out."""
    return ""


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        name: for ``--only``, letters and hyphens.
        moment: when it happens, in words, for the table.
        ends: the ends that are allowed: `BEFORE`, `AFTER`, `HELD`.
        fault: waits for its moment in a playbook that was just started, and does the harm. When it returns, the
            framework waits for the playbook's end, and until nobody of ours is left who could act.
        prepare: before the playbook starts: changes inventory, checkout, server.
        afterwards: when the first playbook is over: for example the next run.
        stand: the playbook stands before the first task whose name begins so, see `Trial.stand`.
        environment: ``production``, or ``staging`` for a rehearsal.
        lease: ``rollback_lease_seconds``; short where somebody has to wait for its end.
        arguments: more that is typed.
        forgives: checks that are not asked for here, each with the reason.
        needs: says why the case cannot be run on this machine, or nothing.
    """

    name: str
    moment: str
    ends: tuple[str, ...]
    fault: Act
    prepare: Act = nothing
    afterwards: Act = nothing
    stand: str = ""
    environment: str = "production"
    lease: int = 60
    arguments: tuple[str, ...] = ()
    forgives: Mapping[str, str] = field(default_factory=dict)
    needs: Callable[[], str] = possible
