# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One scene for all tests of a file: what a file leaves on the servers is no other file's business."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import KINDS

from ansible_collections.balcon.rollback.tests.playbook.scene import FOLDERS, PROJECT, Scene

REQUIREMENTS = PROJECT / "requirements" / "oldest.txt"
NEWEST_PYTHON = (3, 12)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Two running servers with the shop's databases."""
    _remove_what_killed_runs_left()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
    scene = Scene(folder)
    try:
        scene.set()
        yield scene
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for kind in KINDS:
        Scene(folder).cluster(kind).destroy()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_what_killed_runs_left() -> None:
    """A test run that was killed could not stop its servers; the next one does."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*-*"):
        process = folder.name.removeprefix(FOLDERS).partition("-")[0]
        if not Path("/proc", process).exists() and folder.owner() == Path("/proc/self").owner():
            with contextlib.suppress(Exception):
                _remove(folder)


@pytest.fixture
def untouched(scene: Scene) -> Iterator[None]:
    """Whatever the test does: afterwards everything is as it was."""
    before = scene.snapshot()
    yield
    assert scene.snapshot() == before


@pytest.fixture(scope="session")
def oldest() -> str:
    """ansible-playbook of the oldest ansible-core, in an environment of its own that is made once."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        pytest.skip("ansible-core 2.17 runs on Python 3.10 to 3.12")
    folder = PROJECT / ".cache" / REQUIREMENTS.read_text().split()[-1]
    program = folder / "bin" / "ansible-playbook"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True, timeout=240)
    return str(program)
