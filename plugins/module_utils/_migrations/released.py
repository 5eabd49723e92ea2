# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which migrations are released already: by name, or by what git has on the branch that this one goes into."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .._domain.errors import Refused
from .._process import account_home

_PATIENCE_SECONDS = 60
_WORDS = {"M": "changed", "D": "removed", "T": "changed"}


class Released(NamedTuple):
    """What is released.

    Attributes:
        names: the migrations.
        touched: those that were changed or removed since, and how.
    """

    names: list[str]
    touched: dict[str, str]


def released_until(available: Sequence[str], since: str) -> Released:
    """Return the migrations up to one that is released.

    Raises:
        Refused: there is no such migration.
    """
    if since not in available:
        raise Refused(
            f"The migration {since!r} is not on disk. The last that are: {', '.join(available[-5:]) or 'none'}.",
            untouched="Nothing was checked.",
            remedy="Name the last migration that is released, as the state table has it.",
        )
    return Released(list(available[: list(available).index(since) + 1]), {})


def released_in_git(available: Mapping[str, Path], folder: Path, extension: str, base: str) -> Released:
    """Return what stands on the branch that a change goes into, and what was touched of it.

    Args:
        available: the migrations on disk, by name.
        folder: the folder with the migrations.
        extension: what file names have and the names of migrations have not.
        base: a branch, tag or commit of git: C(origin/main).

    Raises:
        Refused: there is no git, no repository, or no such branch in it.
    """
    if base.startswith("-"):
        raise Refused(f"{base!r} is no branch.", untouched="Nothing was checked.", remedy="Name one: origin/main.")
    start = _git(folder, "merge-base", base, "HEAD").strip()
    there = _git(folder, "ls-tree", "--name-only", "-z", start, "./").split("\0")
    status = _git(folder, "diff", "--name-status", "--no-renames", "--relative", "-z", start, "--", "./").split("\0")
    by_file = {path.name: name for name, path in available.items()}

    def named(file: str) -> str:
        return by_file.get(file) or (file[: -len(extension)] if extension and file.endswith(extension) else file)

    touched = {named(file): _WORDS[letter] for letter, file in zip(status[::2], status[1::2]) if letter in _WORDS}
    names = [named(Path(file).name) for file in there if Path(file).name in by_file]
    return Released(names, {name: word for name, word in touched.items() if "/" not in name})


def top_folder(folder: Path) -> Path:
    """Return the repository's top folder, or the folder itself where there is no repository."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    except Refused:
        return folder


def _git(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": account_home(), "LC_ALL": "C.UTF-8"}
    try:
        finished = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_PATIENCE_SECONDS,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _refused(arguments, str(error)) from None
    if finished.returncode != 0:
        raise _refused(arguments, " ".join(finished.stderr.split()) or "no common commit was found")
    return finished.stdout


def _refused(arguments: Sequence[str], reason: str) -> Refused:
    return Refused(
        f"git could not tell which migrations are released (git {' '.join(arguments)}): {reason}.",
        untouched="Nothing was checked.",
        remedy="Fetch the branch with its history ('git fetch origin main', in a build server 'fetch-depth: 0'), or"
        " name the last released migration instead: -e since=NAME.",
    )
