# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's client tools are taken, and what is said where none will do. The tools are small programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql import client_tools
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.client_tools import (
    choose_compression,
    find_client_tools,
    running,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused


@pytest.fixture(autouse=True)
def nothing_else_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(client_tools, "USUAL_FOLDERS", ())


def installed(folder: Path, version: str, restore_version: str = "", script: str = "") -> str:
    """Put tools of a version into a folder; `script` is what they do when they are not asked for their version."""
    folder.mkdir()
    for name, number in (("pg_dump", version), ("pg_restore", restore_version or version)):
        program = folder / name
        ask = f'case "$1" in --version) echo "{name} (PostgreSQL) {number}"; exit 0;; esac'
        program.write_text(f"#!/bin/sh\n{ask}\n{script}\n")
        program.chmod(0o755)
    return str(folder)


def test_the_oldest_tools_that_are_new_enough_are_taken(tmp_path: Path) -> None:
    folders = [installed(tmp_path / number, number) for number in ("18.1", "15.9", "16.10", "17beta1")]
    assert find_client_tools(160004, folders).version == 160010
    assert find_client_tools(160004, folders, preferred_major=17).version == 170000
    assert find_client_tools(180000, folders).folder == folders[0]


def test_tools_that_are_too_old_are_refused_by_number(tmp_path: Path) -> None:
    folders = [installed(tmp_path / number, number) for number in ("15.9", "16.1")]
    with pytest.raises(Refused, match=r"of PostgreSQL 18 or later .* .found: 15, 16.") as refusal:
        find_client_tools(180002, folders)
    assert "postgresql-client-18" in refusal.value.remedy
    with pytest.raises(Refused, match="found: none"):
        find_client_tools(150000)


def test_tools_that_do_not_belong_together_or_do_not_run_are_passed_over(tmp_path: Path) -> None:
    mixed = installed(tmp_path / "mixed", "18.1", "17.1")
    silent = installed(tmp_path / "silent", "none")
    broken = Path(installed(tmp_path / "broken", "18.1"))
    for name in ("pg_dump", "pg_restore"):
        (broken / name).write_bytes(b"\x7fELF no program at all")
    wrapper = tmp_path / "wrapper"
    wrapper.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (wrapper / name).symlink_to(tmp_path / "good" / "pg_wrapper")
    good = installed(tmp_path / "good", "18.1")
    (tmp_path / "good" / "pg_wrapper").write_text("#!/bin/sh\necho '(PostgreSQL) 18.1'\n")
    (tmp_path / "good" / "pg_wrapper").chmod(0o755)
    assert find_client_tools(180000, [mixed, silent, str(broken), str(wrapper), good]).folder == good


def test_a_compression_is_only_taken_from_a_build_that_has_it(tmp_path: Path) -> None:
    without = "echo 'pg_dump: error: this build does not support compression with that' >&2; exit 1"
    bare = find_client_tools(180000, [installed(tmp_path / "bare", "18.1", script=without)])
    full = find_client_tools(180000, [installed(tmp_path / "full", "18.1", script="echo connecting; exit 1")])
    old = find_client_tools(150000, [installed(tmp_path / "old", "15.1", script="exit 1")])
    assert choose_compression(full, "auto").argument == "-Zlz4"
    assert choose_compression(bare, "auto").argument == "-Z1"
    assert choose_compression(bare, "auto", fastest=True).argument == "-Z0"
    assert choose_compression(old, "auto").name == "gzip"
    assert choose_compression(full, "zstd").argument == "-Zzstd"
    assert [choose_compression(bare, name).argument for name in ("none", "gzip")] == ["-Z0", "-Z1"]
    for tools in (bare, old):
        with pytest.raises(Refused, match="was built without lz4"):
            choose_compression(tools, "lz4")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("FATAL: unsupported startup parameter: extra_float_digits", "rollback_admin_url"),
        ("could not write to file: No space left on device", "Make room"),
        ("canceling statement due to lock timeout", "pg_locks"),
        ("something else", "Read the tool's message"),
    ],
)
def test_a_tool_that_fails_is_told_with_what_to_do(tmp_path: Path, said: str, remedy: str) -> None:
    script = f"echo 'pg_dump: error: {said}' >&2; exit 3"
    tools = find_client_tools(180000, [installed(tmp_path / "tools", "18.1", script=script)])
    with pytest.raises(Failed, match=said) as failure, running(tools, "pg_dump", [], deadline=60) as tool:
        tool.wait()
    assert remedy in failure.value.remedy


def test_only_a_tool_that_was_asked_for_its_output_has_one(tmp_path: Path) -> None:
    tools = find_client_tools(180000, [installed(tmp_path / "tools", "18.1", script="echo row")])
    with running(tools, "pg_dump", [], deadline=60) as silent, pytest.raises(ValueError, match="pg_dump"):
        assert silent.output
    with running(tools, "pg_dump", [], deadline=60, output=True) as telling:
        assert telling.output.read() == b"row\n"
        telling.wait()
