# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masking of a fresh copy of production, by the team's own SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..._domain.errors import Failed, Refused
from ..._driver import psycopg2

if TYPE_CHECKING:
    from .connection import Server


def read_masking(path: str) -> str:
    """Return the masking SQL.

    Raises:
        Refused: the file cannot be read, or is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        text, reason = "", str(error)
    else:
        reason = "it is empty"
    if not text.strip():
        raise Refused(
            f"The masking SQL {path} cannot be used: {reason}.",
            untouched="Nothing was copied.",
            remedy="Correct rollback_masking, or set it to 'none' if the copy needs no masking.",
        )
    return text


def mask(server: Server, database: str, statements: str) -> None:
    """Run masking SQL on a copy, in one transaction.

    Raises:
        Failed: a statement failed; the copy is not masked, and must not be used.
    """
    try:
        with server.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statements)
    except psycopg2.Error as error:
        raise Failed(
            f"The masking SQL failed on {database}: {str(error).strip()}",
            untouched="Production was not touched.",
            remedy="Correct the file that rollback_masking names. The copy is dropped.",
        ) from error
