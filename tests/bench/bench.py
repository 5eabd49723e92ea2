# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure every speed beside its peers; print tables, and keep figures as JSON and as a chart. Nothing is asserted.

    python tests/bench/bench.py [--sizes 20,200,1000] [--repeat 5] [--postgresql 18] [--rows 1000000]
        [--only speed,restore,window,tables,sqlite] [--chart docs/bench.svg]

It needs what `make setup` installs. How to read the figures: docs/bench.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Measure; return the exit code."""
    sys.path[:0] = [str(PROJECT / folder) for folder in (".", "collections", "examples/demo", "tests/helpers")]
    from tests.bench.measure import measure

    return measure(PROJECT, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
