# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON files that nobody else can read: fingerprints and changes that one step leaves for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._domain.errors import Refused, RollbackError
from ._run import Run, write_private_file
from ._trusted import read_trusted

if TYPE_CHECKING:
    from collections.abc import Mapping


CONTENTS_OF_CANDIDATE = "candidate_after.json"
"""The file in a run's folder that holds the fingerprint of its verified candidate."""


def path_in_run(params: Mapping[str, Any], name: str) -> Path:
    """Return the path of a file that a step leaves: inside the run's folder.

    Args:
        params: a module's parameters, with those of `_argspec.RUN`.
        name: a path relative to the run's folder; without a run, an absolute path.

    Raises:
        Refused: the path leads out of the run's folder, or there is no run and the path is not absolute.
    """
    if not params["run_id"]:
        if Path(name).is_absolute():
            return Path(name)
        raise _refused(name, "without run_id, the path must be absolute")
    run = Run(params["state_dir"], params["run_id"])
    run.check()
    folder = run.folder
    path = folder / name
    if folder.resolve() not in path.resolve().parents:
        raise _refused(name, f"it leads out of the run's folder {folder}")
    return path


def in_run(params: Mapping[str, Any], value: Any) -> Any:
    """Return what an option names: a relative path is one in the run's folder, anything else stays as it is."""
    relative = isinstance(value, str) and not value.lstrip().startswith("{") and not Path(value).is_absolute()
    return path_in_run(params, value) if relative and params["run_id"] else value


def _refused(name: str, reason: str) -> Refused:
    return Refused(
        f"The file {name!r} cannot be written: {reason}.",
        untouched="Nothing was touched.",
        remedy="Name it relative to the run's folder, 'fingerprint.json' for example.",
    )


def save_json(path: Path, content: object) -> None:
    """Write a file with mode 0600, whole or not at all, and bring it to the disk."""
    write_private_file(path, json.dumps(content, ensure_ascii=False, sort_keys=True))


def contents_of_candidate(run: Run) -> dict[str, Any] | None:
    """Return the fingerprint that verifying left in a run's folder; None where it is not at hand, or not private."""
    path = run.folder / CONTENTS_OF_CANDIDATE
    try:
        run.check()
        return load_json(str(path), path.name) if path.is_file() else None
    except (RollbackError, OSError):
        return None


def load_json(value: Any, what: str) -> dict[str, Any]:
    """Return a dictionary that was given as such, as JSON text, or as the path of a JSON file.

    Args:
        value: what was given.
        what: the option's name, for the message.

    Raises:
        Refused: it is none of these, or a file that somebody else may have written.
    """
    if isinstance(value, dict):
        return value
    try:
        text = value if str(value).lstrip().startswith("{") else read_trusted(Path(value)).decode()
        content = json.loads(text)
    except (OSError, ValueError, TypeError) as error:
        raise Refused(
            f"{what} cannot be read: {error}.",
            untouched="Nothing was touched.",
            remedy=f"Give {what} as a dictionary, or as the path of a JSON file on the host where the module runs.",
        ) from None
    if not isinstance(content, dict):
        raise Refused(f"{what} holds no dictionary.", untouched="Nothing was touched.", remedy=f"Look at {value}.")
    return content
