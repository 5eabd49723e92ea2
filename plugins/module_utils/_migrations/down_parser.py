# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a migration has a way back: its file is parsed by TypeScript's own parser, and never run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any

from .._domain.migration_files import EMPTY, MISSING, NOT_PROVEN, PROVEN, MigrationFile
from .._process import base_environment, private_home
from .down_script import SCRIPT

TIMEOUT_SECONDS = 60


def prove_downs(files: Sequence[MigrationFile], folder: Path, node_folder: str = "") -> dict[str, tuple[str, str]]:
    """Say of each migration whether its file exports a C(down) that does something.

    The parser is the package ``typescript`` of the project itself, run by its node; it is given the files' paths, and
    nothing of the project's code is run. Where there is none, nothing is guessed.

    Args:
        files: the migrations; those without a file are left out.
        folder: the project's folder.
        node_folder: the folder that node is in, where it is not in the usual places.

    Returns:
        By name: a verdict (``proven``, ``missing``, ``empty``, ``not_proven``) and the reason.
    """
    there = [file for file in files if file.on_disk]
    if not there:
        return {}
    try:
        verdicts = map(_verdict, run_parser(SCRIPT, [file.file for file in there], folder, node_folder))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {file.name: (NOT_PROVEN, why_not_parsed(error)) for file in there}
    return {file.name: verdict for file, verdict in zip(there, verdicts)}


def why_not_parsed(error: Exception) -> str:
    """Return, for a person, why `run_parser` could not do its work."""
    return str(error.args[0]) if isinstance(error, ValueError) else "node could not be run to parse it"


def run_parser(script: str, paths: Sequence[str], folder: Path, node_folder: str = "") -> list[Any]:
    """Run a program over migration files with the project's own parser, and return its answer for each file.

    Args:
        script: begins with C(down_script.PARSER).
        paths: the files.
        folder: the project's folder.
        node_folder: the folder that node is in, where it is not in the usual places.

    Raises:
        ValueError: there is no node or no parser, or it did not answer for every file; the text says which.
        OSError: node could not be run.
        subprocess.SubprocessError: node did not end well.
    """
    with private_home() as home:
        environment = base_environment({}, home, node_folder)
        node = which("node", path=environment["PATH"])
        if node is None:
            raise ValueError("there is no node on this host to parse it with; set node_path")
        finished = subprocess.run(
            [node, "--input-type=commonjs", "-", str(folder), *paths],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=home,
            timeout=TIMEOUT_SECONDS,
            check=True,
            encoding="utf-8",
        )
    answer = json.loads(finished.stdout)
    if isinstance(answer, dict):
        raise ValueError(str(answer.get("error")))  # noqa: TRY004  # of a program's answer, not of an argument
    if not isinstance(answer, list) or len(answer) != len(paths):
        raise ValueError("the parser did not answer for every file")
    return answer


def _verdict(answer: Sequence[object]) -> tuple[str, str]:
    verdict, reason = answer
    return (str(verdict) if verdict in (PROVEN, MISSING, EMPTY, NOT_PROVEN) else NOT_PROVEN), str(reason)
