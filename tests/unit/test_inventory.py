# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventory, the role's argument specification and its defaults name the same variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "inventories" / "example" / "group_vars"
OF_A_COMMAND = {"rollback_rehearse", "rollback_override"}
"""Passed with -e for one run, so that no inventory holds them; the README explains them."""


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir())


def specified(role: str | None = None) -> set[str]:
    """The variables of one role, or of all."""
    return {
        name
        for each in ([role] if role else ROLES)
        for entry in entry_points(each).values()
        for name in entry.get("options", {})
        if name.startswith("rollback_")
    }


def entry_points(role: str) -> dict[str, Any]:
    content: dict[str, Any] = read(PROJECT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return content


def test_every_variable_is_explained_in_the_example() -> None:
    explained = {name for path in EXAMPLE.glob("*.yml") for name in read(path)}
    assert explained == specified() - OF_A_COMMAND


@pytest.mark.parametrize("path", sorted(EXAMPLE.glob("*.yml")), ids=lambda path: path.stem)
def test_every_variable_of_the_example_has_a_comment_before_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    commented = False
    for line in lines:
        if not line.strip() or line == "---":
            commented = False
        elif line.startswith("#"):
            commented = True
        elif not line.startswith(" "):
            assert commented, line


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_specified(role: str) -> None:
    path = PROJECT / "roles" / role / "defaults" / "main.yml"
    assert set(read(path) if path.exists() else {}) <= specified(role)


@pytest.mark.parametrize("role", ROLES)
def test_every_task_file_is_an_entry_point(role: str) -> None:
    files = {path.stem for path in (PROJECT / "roles" / role / "tasks").glob("*.yml")}
    assert set(entry_points(role)) == files
