# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""psycopg2, or None where it is missing: the only file that imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._domain.errors import Failed

try:
    import psycopg2
    import psycopg2.errors
    import psycopg2.extensions
    from psycopg2 import sql
except ImportError:
    psycopg2 = sql = None  # type: ignore[assignment]  # sanity's import test runs without it; see require_psycopg2

__all__ = ["DATABASE_ERROR", "one_row", "psycopg2", "require_psycopg2", "sql"]

DATABASE_ERROR: type[Exception] = psycopg2.Error if psycopg2 else LookupError

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor


def one_row(cursor: Cursor) -> tuple[Any, ...]:
    """Return the row of a query that always has one."""
    row = cursor.fetchone()
    if row is None:
        raise LookupError("a query that always has a row had none")
    return row


def require_psycopg2() -> None:
    """Say how to install psycopg2 where it is missing.

    Raises:
        Failed: psycopg2 cannot be imported by this Python.
    """
    if psycopg2 is None:
        raise Failed(
            "The Python library psycopg2 is missing on this host.",
            untouched="Nothing was touched.",
            remedy="Install it for the Python that Ansible uses here: 'pip install psycopg2-binary', or the "
            "distribution's package python3-psycopg2.",
        )
