# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that does not give up: it asks the public name which database answers, and notes each change of the answer.

    BENCH_URL=postgresql://… python tests/bench/client.py

Each line on its output is JSON: ``at`` (seconds since 1970) and ``database`` (its OID, or null when refused).
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import psycopg2

PAUSE_SECONDS = 0.01
QUESTION = "SELECT oid::text FROM pg_database WHERE datname = current_database()"


class Client:
    """One session at a time; a lost one is replaced by a new one.

    Args:
        url: the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def ask(self) -> str | None:
        """Return the OID of the database that answers, or None where none does."""
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._url, connect_timeout=5, application_name="bench client")
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(QUESTION)
                return str(cursor.fetchone()[0])
        except psycopg2.Error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return None


def main() -> None:
    """Ask for ever."""
    client, last = Client(os.environ["BENCH_URL"]), ""
    while True:
        answer = client.ask()
        if answer != last:
            print(json.dumps({"at": time.time(), "database": answer}), flush=True)
            last = answer or ""
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
