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


def specified() -> set[str]:
    specs = read(PROJECT / "roles" / "rollback" / "meta" / "argument_specs.yml")["argument_specs"]
    return {name for name in specs["preflight"]["options"] if name.startswith("rollback_")}


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


def test_every_default_is_specified() -> None:
    assert set(read(PROJECT / "roles" / "rollback" / "defaults" / "main.yml")) <= specified()


def test_every_task_file_is_an_entry_point() -> None:
    specs = read(PROJECT / "roles" / "rollback" / "meta" / "argument_specs.yml")["argument_specs"]
    files = {path.stem for path in (PROJECT / "roles" / "rollback" / "tasks").glob("*.yml")}
    assert set(specs) == files
