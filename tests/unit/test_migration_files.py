# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of migration files."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_files import (
    MigrationFile,
    file_problems,
    file_warnings,
    read_manifest,
)

GOOD = MigrationFile("1", "/m/1", "aa", "aa", "proven", "it has a body")


def problems(plan: list[str], *files: MigrationFile, has_manifest: bool = True) -> list[str]:
    by_name = {file.name: file for file in files}
    return file_problems(by_name, list(by_name), plan, has_manifest=has_manifest)


def test_nothing_forbids_it() -> None:
    assert problems(["1"], GOOD) == []
    assert GOOD.as_dict(has_manifest=True)["manifest_ok"] is True
    assert GOOD.as_dict(has_manifest=False)["manifest_ok"] is None


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (MigrationFile("2"), "not on disk"),
        (MigrationFile("2", "/m/2", "bb", "cc"), "was changed since"),
        (MigrationFile("2", "/m/2", "bb", ""), "does not list it"),
        (MigrationFile("2", "/m/2"), "does not list it"),
    ],
)
def test_also_of_migrations_that_stay(file: MigrationFile, said: str) -> None:
    (problem,) = problems(["1"], GOOD, file)
    assert said in problem
    assert problem.startswith("2 ")


@pytest.mark.parametrize(("down", "said"), [("missing", "has no down()"), ("empty", "has an empty down()")])
def test_ways_back(down: str, said: str) -> None:
    file = MigrationFile("2", "/m/2", "bb", "bb", down, "a reason")
    assert said in problems(["2"], file)[0]
    assert problems(["1"], GOOD, file) == []


def test_not_proven_is_a_warning() -> None:
    file = MigrationFile("2", "/m/2", "bb", "bb", "not_proven", "no parser")
    assert problems(["2"], file) == []
    assert file_warnings({"2": file}, ["2"]) == ["That 2 has a down() was not proven: no parser."]


def test_without_a_manifest_hashes_are_not_compared() -> None:
    assert problems(["1"], GOOD, MigrationFile("2", "/m/2", "bb"), has_manifest=False) == []


def test_manifest() -> None:
    assert read_manifest([{"name": "1", "sha256": "AA", "more": 1}]) == {"1": "aa"}
    bad: list[Any] = [{}, "text", None, [1], [{"name": "1"}], [{"name": 1, "sha256": "aa"}]]
    bad.append([{"name": "1", "sha256": "aa"}, {"name": "1", "sha256": "bb"}])
    for content in bad:
        with pytest.raises(ValueError, match=r"it is not a list|entry|twice"):
            read_manifest(content)
