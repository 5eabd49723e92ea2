# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/runbook.md says which line of the runbook is done by what, and proven by which test: all of it must exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
TABLE = PROJECT / "docs" / "runbook.md"
COLUMNS = ("the runbook says", "what does it", "proven by")


def rows() -> list[tuple[int, list[str]]]:
    """Return the rows of every table, with their line numbers; heads and rulers left out."""
    found = []
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            if tuple(cells) != COLUMNS and not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                found.append((number, cells))
    return found


ROWS = rows()


@cache
def variables() -> set[str]:
    """Return every variable that a role declares."""
    names: set[str] = set()
    for specification in PROJECT.glob("roles/*/meta/argument_specs.yml"):
        for entry_point in yaml.safe_load(specification.read_text(encoding="utf-8"))["argument_specs"].values():
            names |= set(entry_point.get("options") or {})
    return names


@cache
def names_of_tests(path: Path) -> set[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def names_in(cell: str) -> list[str]:
    """Return what a cell sets in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def problem(name: str) -> str:
    """Say what is wrong with a name of the second column; "" is: it exists, or is no name of ours."""
    path, _hash, entry_point = name.partition("#")
    if "/" in path and not path.startswith(("-", "/")) and " " not in path:
        if not (PROJECT / path).exists():
            return "there is no such file"
        return "" if not entry_point or entry_point in (PROJECT / path).read_text(encoding="utf-8") else "not in there"
    if name.startswith("balcon.rollback."):
        module = PROJECT / "plugins" / "modules" / f"{name.rpartition('.')[2]}.py"
        return "" if module.exists() else "there is no such module"
    variable = re.fullmatch(r"(?:-e )?(rollback_\w+|[a-z_]+)(?:=.*)?", name)
    if variable and variable[1] not in variables():
        return "no role declares such a variable"
    return "" if variable else "it is neither a file, a module nor a variable"


def test_it_has_the_runbook_s_sections() -> None:
    titles = re.findall(r"^## (.+)$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {
        "Pre-Rollback Checklist",
        "Rollback Steps",
        "Emergency Recovery",
        "Rollback-Specific Commands",
        "Migration Safety Checks",
        "Incident Reporting",
        "Best Practices",
        "Emergency Contacts",
        "Appendix: Common Rollback Scenarios",
        "Version History",
    } <= set(titles)
    assert len(ROWS) > 90


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line-{row[0]}")
def test_no_cell_is_empty(row: tuple[int, list[str]]) -> None:
    assert len(row[1]) == len(COLUMNS)
    assert all(row[1])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line-{row[0]}")
def test_what_does_it_exists(row: tuple[int, list[str]]) -> None:
    names = names_in(row[1][1])
    assert names
    assert {name: problem(name) for name in names if problem(name)} == {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line-{row[0]}")
def test_what_proves_it_exists(row: tuple[int, list[str]]) -> None:
    names = names_in(row[1][2])
    assert names
    for name in names:
        path, _colons, test = name.partition("::")
        assert path.startswith(("tests/", "molecule/"))
        assert (PROJECT / path).exists(), name
        if (PROJECT / path).is_file():
            assert test, f"{name} names no test"
            assert test in names_of_tests(PROJECT / path), name
