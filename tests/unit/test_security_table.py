# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/security.md says what is defended, and by which test that is proven: each of them must exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
DEFENDED = PAGE.split("## What is defended")[1].split("## What is not defended")[0]
ROWS = [line for line in DEFENDED.splitlines() if line.startswith("|") and not line.startswith(("|---", "| against"))]


def test_every_part_is_there() -> None:
    assert len(ROWS) > 25
    assert {"Production's database", "Evidence, backups, journals", "Secrets"} <= set(
        re.findall(r"^### (.+)$", DEFENDED, re.MULTILINE)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_what_proves_it_exists(row: str) -> None:
    _against, _stopped_by, proven_by = row.strip("| ").split(" | ")
    names = re.findall(r"`(tests/[^`]+)::(test_\w+)`", proven_by)
    assert names
    for path, name in names:
        tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"
