# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled code in an archive: this Python runs it, another one passes over it, and nothing else changes."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from ansible_collections.balcon.rollback.plugins.plugin_utils._compiled import Compiler

SOURCES = {"shop/__init__.py": b"", "shop/prices.py": b"def total():\n    return 42\n", "shop/notes.txt": b"kept"}
ASK = "import sys; sys.path.insert(0, sys.argv[1]); from shop import prices; print(prices.total())"


def archive_of(sources: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in sources.items():
            archive.writestr(name, content)
    return written.getvalue()


def contents(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def other_pythons() -> list[str]:
    """The Pythons of other versions that this machine happens to have, and that run."""
    found = [shutil.which(f"python3.{minor}") for minor in range(8, 16) if minor != sys.version_info.minor]
    return [path for path in found if path and _runs(path)]


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def run(python: str, archive: bytes, folder: Path) -> str:
    path = folder / "archive.zip"
    path.write_bytes(archive)
    command = [python, "-I", "-c", ASK, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_sources_stay_as_they_are_and_a_second_time_adds_nothing() -> None:
    compiled = Compiler().add_compiled(archive_of(SOURCES))
    found = contents(compiled)
    assert {name: found[name] for name in SOURCES} == SOURCES
    assert set(found) - set(SOURCES) == {"shop/__init__.pyc", "shop/prices.pyc"}
    assert contents(Compiler().add_compiled(compiled)) == found


def test_the_compiled_code_is_what_runs(tmp_path: Path) -> None:
    found = contents(Compiler().add_compiled(archive_of(SOURCES)))
    found["shop/prices.py"] = b"raise SystemExit('the source was read')"
    assert run(sys.executable, archive_of(found), tmp_path) == "42"


def test_code_of_another_version_is_passed_over(tmp_path: Path) -> None:
    found = contents(Compiler().add_compiled(archive_of(SOURCES)))
    for name in ("shop/__init__.pyc", "shop/prices.pyc"):
        found[name] = b"\x01\x02\r\n" + found[name][4:]
    assert run(sys.executable, archive_of(found), tmp_path) == "42"


def test_other_pythons_read_the_sources(tmp_path: Path) -> None:
    compiled = Compiler().add_compiled(archive_of(SOURCES))
    assert {python: run(python, compiled, tmp_path) for python in other_pythons()} == dict.fromkeys(
        other_pythons(), "42"
    )
