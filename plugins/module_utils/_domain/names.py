# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of runs and of the databases that a run makes."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import NamedTuple

from .errors import Refused

MAXIMUM_NAME_BYTES = 63
"""NAMEDATALEN - 1 of PostgreSQL: longer names are cut by the server without a word."""

PURPOSES = ("rehearsal", "candidate", "before", "failed", "trial", "restored")

_RUN_ID = re.compile(r"\d{8}t\d{6}[0-9a-f]{4}")
_DERIVED_NAME = re.compile(rf"(?P<stem>.+)__(?P<purpose>{'|'.join(PURPOSES)})_(?P<run_id>{_RUN_ID.pattern})", re.DOTALL)


class DerivedName(NamedTuple):
    """The parts of the name of a database that a run made."""

    stem: str
    purpose: str
    run_id: str


def new_run_id(now: datetime, random_hex: str) -> str:
    """Make the name of a run: its start in UTC and four random hexadecimal digits.

    Args:
        now: the start of the run, in UTC.
        random_hex: at least four hexadecimal digits from a random source.

    Returns:
        For example ``20261123t081500a3f9``: sorts by time, needs no quoting anywhere.
    """
    return check_run_id(f"{now:%Y%m%dt%H%M%S}{random_hex[:4]}")


def check_run_id(run_id: str) -> str:
    """Return the run's name if it is one.

    Raises:
        Refused: the text is not the name of a run; it may hold a path or SQL.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise Refused(
            f"{run_id!r} is not the name of a run.",
            remedy="A run is named like 20261123t081500a3f9; the folder runs/ of the state folder lists them.",
        )
    return run_id


def derived_name(database: str, purpose: str, run_id: str) -> str:
    """Name the database that a run makes beside another one.

    The part that comes from the database is cut at whole characters, and a hash of the whole name is put in its
    place, so that purpose and run always survive PostgreSQL's 63 bytes.

    Args:
        database: the name under which the application knows its database.
        purpose: one of `PURPOSES`.
        run_id: the run that makes it.
    """
    if purpose not in PURPOSES:
        raise ValueError(purpose)
    suffix = f"__{purpose}_{check_run_id(run_id)}"
    room = MAXIMUM_NAME_BYTES - len(suffix)
    encoded = database.encode()
    if len(encoded) <= room:
        return database + suffix
    digest = hashlib.sha256(encoded).hexdigest()[:6]
    stem = encoded[: room - len(digest) - 1].decode(errors="ignore")
    return f"{stem}_{digest}{suffix}"


def parse_derived_name(name: str) -> DerivedName | None:
    """Take the name of a database apart, or return None where no run made it."""
    match = _DERIVED_NAME.fullmatch(name)
    return DerivedName(match["stem"], match["purpose"], match["run_id"]) if match else None
