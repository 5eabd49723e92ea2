#!/usr/bin/env python
# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Corruption by the thousand: verified backups, damaged one way at a time; none is restored silently.

    python tests/faults/corruption.py                          3,200 damages in every compression of the client tools
    python tests/faults/corruption.py --damages 200            fewer
    python tests/faults/corruption.py --without checksums      what a restore alone lets through, of 300
    python tests/faults/corruption.py --collections FOLDER     of another copy of the collection

Each damage is done to a fresh copy of the backup, which is then restored as db_restore does it. *Refused* means before
any database was made: the server's own log is asked. Then come damages that are done between the check of the files and
the restore: those the fingerprint of what was restored must find. An oracle that is not ours, a plain pg_dump of the
restored database, tells whether what came through is what was backed up.

Exits 1 when a damage came through that it should not have.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DAMAGES, DAMAGES_RESTORED, AFTER_THE_CHECK, SEED = 3200, 300, 80, 2026


def main(arguments: list[str]) -> int:
    """Damage, restore, print; return 1 when a damage came through."""
    parser = argparse.ArgumentParser(description="Corruption by the thousand")
    parser.add_argument("--damages", type=int)
    parser.add_argument("--after-the-check", type=int, default=AFTER_THE_CHECK)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--without", choices=["checksums"])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--collections", type=Path, default=PROJECT / "collections", help="another copy of what is tested"
    )
    asked = parser.parse_args(arguments)
    sys.path[:0] = [str(path) for path in (asked.collections, PROJECT, PROJECT / "examples" / "demo")]
    from tests.faults import corrupting

    if asked.without:
        corrupting.take_out_the_checksums()
    damages = asked.damages or (DAMAGES_RESTORED if asked.without else DAMAGES)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too
    found = []
    for row in corrupting.rows(damages, asked.after_the_check, asked.seed):
        print(f"{row.compression}: {row.count(corrupting.REFUSED)} of {len(row.results)} refused", flush=True)
        found.append(row)
    if asked.json:
        asked.json.write_text(json.dumps(corrupting.summary(found), indent=1) + "\n")
    return 0 if corrupting.reported(found, checksums=not asked.without) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
