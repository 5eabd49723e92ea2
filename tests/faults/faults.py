#!/usr/bin/env python
# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real rollbacks under eight users, one fault in each, and what came of it.

    python tests/faults/faults.py                         every case
    python tests/faults/faults.py --only no-fault 'keeper-*'        some: names, or beginnings that end in *
    python tests/faults/faults.py --without lease-check   one protection taken out: its cases must turn red
    python tests/faults/faults.py --without all           each of them, one after the other
    python tests/faults/faults.py --list

Prints a row for each case and ``N passed, N failed``; the same as JSON in .cache/faults/. Exits 1 when a case failed,
or when one did not turn red although its protection was taken out.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
OUTPUT = PROJECT / ".cache" / "faults"

if __name__ == "__main__":
    sys.path[:0] = [str(PROJECT / folder) for folder in ("collections", "examples/demo", "tests/helpers")]

from ansible_collections.balcon.rollback.tests.faults import playing  # noqa: E402
from ansible_collections.balcon.rollback.tests.faults.case import Case  # noqa: E402
from ansible_collections.balcon.rollback.tests.faults.ground import Ground, ground  # noqa: E402
from ansible_collections.balcon.rollback.tests.faults.protections import CHECKSUMS, PROTECTIONS, without  # noqa: E402

ALL = "all"


def main(arguments: Sequence[str]) -> int:
    """Play what was asked for; return the exit code."""
    asked = _parse(arguments)
    cases = playing.all_cases()
    if asked.list:
        _print_lists(cases)
        return 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ground() as made:
        if asked.without:
            names = [*sorted(PROTECTIONS), CHECKSUMS] if ALL in asked.without else asked.without
            return max([_corruption(name) if name == CHECKSUMS else _without(made, cases, name) for name in names])
        if asked.only:
            return _with_everything(made, playing.choose(cases, asked.only))
        return max(_with_everything(made, cases), _corruption())


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Real rollbacks, one fault in each.")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE", help="names, or beginnings that end in *")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        choices=[*sorted(PROTECTIONS), CHECKSUMS, ALL],
        metavar="PROTECTION",
        help="take protections out, one after the other; the cases of each must fail",
    )
    parser.add_argument("--list", action="store_true", help="list cases and protections")
    return parser.parse_args(arguments)


def _print_lists(cases: Sequence[Case]) -> None:
    print(*(f"{case.name:<46} {case.moment}" for case in cases), sep="\n")
    print(f"{len(cases)} cases\n\nprotections:")
    print(*(f"  {name}: {', '.join(protection.cases)}" for name, protection in PROTECTIONS.items()), sep="\n")


def _with_everything(made: Ground, cases: Sequence[Case]) -> int:
    rows = _printed(playing.play_all(made, cases, OUTPUT), OUTPUT / "faults.json")
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in playing.VERDICTS}
    skipped = f", {count[playing.SKIPPED]} skipped" * bool(count[playing.SKIPPED])
    print(f"\n{count[playing.PASSED]} passed, {count[playing.FAILED]} failed{skipped}")
    print(f"{sum(row.acknowledged for row in rows)} writes acknowledged, {sum(row.lost for row in rows)} lost")
    return 1 if count[playing.FAILED] else 0


def _without(made: Ground, cases: Sequence[Case], name: str) -> int:
    print(f"\nwithout {name}: the cases that it protects must fail", flush=True)
    with without(name) as copy:
        made.product = copy
        chosen = playing.choose(cases, PROTECTIONS[name].cases)
        rows = _printed(playing.play_all(made, chosen), OUTPUT / f"without-{name}.json")
    green = [row.case for row in rows if row.verdict != playing.FAILED or playing.NEVER_CAME in row.problems]
    if green:
        print(f"Without {name}, these did not turn red: {', '.join(green)}", flush=True)
        return 1
    print(f"Without {name}, every case that it protects turned red, as it must.", flush=True)
    return 0


def _corruption(without_protection: str = "") -> int:
    """Damage backups by the thousand; return 0 where no damage came through that should not have."""
    print("\nbackups, damaged by the thousand:", flush=True)
    words = ["--without", without_protection] if without_protection else []
    command = [sys.executable, str(HERE / "corruption.py"), *words, "--json", str(OUTPUT / "corruption.json")]
    return subprocess.run(command, check=False).returncode


def _printed(rows: Iterator[playing.Row], path: Path) -> list[playing.Row]:
    """Print each row when it comes, and write all that there are into a file."""
    print(playing.HEADER, flush=True)
    done = []
    for row in rows:
        done.append(row)
        print(row.line, *(f"    {name}: {problem}" for name, problem in row.problems.items()), sep="\n", flush=True)
        path.write_text(json.dumps([each.as_json() for each in done], indent=2) + "\n")
    return done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
