#!/usr/bin/env python
# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real rollbacks under eight users, one fault in each, and what came of it.

    python tests/faults/faults.py                         every case
    python tests/faults/faults.py --only keeper-killed '*-in-verify'   some: names, or beginnings that end in *
    python tests/faults/faults.py --without lease         one protection taken out: its cases must turn red
    python tests/faults/faults.py --list

Prints a row for each case and ``N passed, N failed``; the same as JSON in .cache/faults/. Exits 1 when a case failed,
or when one did not turn red although its protection was taken out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
OUTPUT = PROJECT / ".cache" / "faults"

if __name__ == "__main__":
    sys.path[:0] = [str(PROJECT / folder) for folder in ("collections", "examples/demo", "tests/helpers")]

from ansible_collections.balcon.rollback.tests.faults import playing  # noqa: E402
from ansible_collections.balcon.rollback.tests.faults.case import Case  # noqa: E402
from ansible_collections.balcon.rollback.tests.faults.ground import ground  # noqa: E402
from ansible_collections.balcon.rollback.tests.faults.protections import PROTECTIONS, without  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Play what was asked for; return the exit code."""
    asked = _parse(arguments)
    cases = playing.all_cases()
    if asked.list:
        print(*(f"{case.name:<46} {case.moment}" for case in cases), sep="\n")
        print(f"{len(cases)} cases\n\nprotections:")
        print(*(f"  {name}: {', '.join(protection.cases)}" for name, protection in PROTECTIONS.items()), sep="\n")
        return 0
    protection = PROTECTIONS[asked.without] if asked.without else None
    names = asked.only or (protection.cases if protection else ())
    chosen = playing.choose(cases, names) if names else cases
    OUTPUT.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _product(asked.without) as product, ground(product) as set_ground:
        rows = list(_printed(playing.play_all(set_ground, chosen, OUTPUT)))
    name = f"without-{asked.without}.json" if asked.without else "faults.json"
    (OUTPUT / name).write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
    return _verdict(rows, asked.without)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Real rollbacks, one fault in each.")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="names, or beginnings that end in *")
    parser.add_argument("--without", choices=sorted(PROTECTIONS), help="take one protection out; its cases must fail")
    parser.add_argument("--list", action="store_true", help="list cases and protections")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _product(protection: str | None) -> Iterator[Path]:
    if protection is None:
        yield PROJECT
        return
    with without(protection) as copy:
        yield copy


def _printed(rows: Iterator[playing.Row]) -> Iterator[playing.Row]:
    print(playing.HEADER, flush=True)
    for row in rows:
        print(row.line, flush=True)
        for name, problem in row.problems.items():
            print(f"    {name}: {problem}", flush=True)
        yield row


def _verdict(rows: Sequence[playing.Row], protection: str | None) -> int:
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (playing.PASSED, playing.FAILED)}
    skipped = len(rows) - sum(count.values())
    summary = f"{count[playing.PASSED]} passed, {count[playing.FAILED]} failed"
    print(f"\n{summary}{f', {skipped} skipped' if skipped else ''}")
    if protection is None:
        lost = sum(row.lost for row in rows)
        print(f"{sum(row.acknowledged for row in rows)} writes acknowledged, {lost} lost")
        return 1 if count[playing.FAILED] else 0
    green = [row.case for row in rows if row.verdict == playing.PASSED]
    if green:
        print(f"Without {protection}, these did not turn red: {', '.join(green)}")
        return 1
    print(f"Without {protection}, every case that it protects turned red, as it must.")
    return 0


__all__ = ["Case", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
