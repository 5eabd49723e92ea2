# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups and dumps lie on the host."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ._domain.errors import Refused
from ._domain.names import check_run_id, new_run_id
from ._run import Run, check_private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def run_id_or_new(params: Mapping[str, Any]) -> str:
    """Return the run that a module's arguments name, or the name of a new one."""
    if params["run_id"]:
        return check_run_id(params["run_id"])
    return new_run_id(datetime.now(timezone.utc), secrets.token_hex(2))


def backups_folder(params: Mapping[str, Any], *, create: bool) -> Path:
    """Return the folder of backups, C(backup_dir) or C(backups) in C(state_dir), private to us.

    Args:
        params: a module's parameters.
        create: make it where it is missing.

    Raises:
        Refused: it, or the state folder, can be read by others or belongs to somebody else, or it is missing.
    """
    if params["state_dir"]:
        check_private_folder(Path(params["state_dir"]))
    folder = Path(params["backup_dir"] or Path(params["state_dir"]) / "backups")
    if create:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Refused(
                f"The folder of backups {folder} cannot be made: {error.strerror}.",
                untouched="Nothing was touched.",
                remedy=f"Make it for the account that runs the tools: install -d -m 0700 {quote(str(folder))}",
            ) from None
    if folder.exists():
        check_private_folder(folder)
    return folder


def work_folder(params: Mapping[str, Any]) -> Path:
    """Return where a dump may lie meanwhile: C(work_dir), or the run's folder.

    Raises:
        Refused: the run's folder can be read by others, or either is missing.
    """
    if not params["work_dir"]:
        folder = Run(params["state_dir"], params["run_id"]).folder
        check_private_folder(folder)
        return folder
    folder = Path(params["work_dir"])
    if not folder.is_dir():
        raise Refused(
            f"There is no folder {folder} for the dump.",
            untouched="Nothing was touched.",
            remedy="Name one with room for a dump of the source in work_dir.",
        )
    return folder
