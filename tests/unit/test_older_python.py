# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed hosts may have Python 3.8, in which C(Sequence[Any]) and C(list[str]) fail as soon as they are evaluated."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
CLASSES = {name for name, value in vars(builtins).items() if isinstance(value, type)}
GENERIC = ("collections", "collections.abc", "contextlib")


def failing_in_3_8(source: str) -> list[str]:
    """Return what of a module is evaluated, outside of annotations that stay text, and fails in Python 3.8."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    postponed = any(
        node.module == "__future__" and "annotations" in {each.name for each in node.names} for node in imports
    )
    classes = CLASSES | {
        alias.asname or alias.name for node in imports if node.module in GENERIC for alias in node.names
    }
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in evaluated(tree, postponed=postponed)
        if (isinstance(node, ast.Subscript) and ast.unparse(node.value) in classes)
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and is_union(node, classes))
    ]


def is_union(node: ast.BinOp, classes: set[str]) -> bool:
    """Tell whether an "or" is one of types."""
    return not {ast.unparse(node.left), ast.unparse(node.right)}.isdisjoint({*classes, "None"})


def evaluated(node: ast.AST, *, postponed: bool) -> Iterator[ast.AST]:
    """Walk through what Python evaluates at some time."""
    yield node
    for name, value in ast.iter_fields(node):
        if postponed and name in ("annotation", "returns"):
            continue
        if name == "body" and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from evaluated(child, postponed=postponed)


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*.py")), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_nothing_fails_where_it_is_imported(path: Path) -> None:
    assert failing_in_3_8(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from collections.abc import Sequence\nRow = Sequence[int]", ["2: Sequence[int]"]),
        ("class Rows(list[int]): pass", ["1: list[int]"]),
        ("class Row:\n    values = dict[str, int]", ["2: dict[str, int]"]),
        ("Row = int | None", ["1: int | None"]),
        ("def f(rows: list[int]): pass", ["1: list[int]"]),
        ("from __future__ import annotations\ndef f(rows: list[int]) -> int | None:\n    x: set[int] = set()", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    Row = list[int]\nelse:\n    Row = tuple[int]",
         ["5: tuple[int]"]),
        ("from typing import List\nRow = List[int]\nflags = 1 | 2\nfirst = rows[0]", []),
    ],
)  # fmt: skip
def test_what_is_found(source: str, found: list[str]) -> None:
    assert failing_in_3_8(source) == found
