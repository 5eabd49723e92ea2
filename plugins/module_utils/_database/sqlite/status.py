# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a folder shows of an SQLite file's rollbacks. No file is opened by SQLite, which may change it by looking."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..._domain.description import Description
from ..._domain.errors import Refused
from ..._domain.names import parse_derived_name
from ..._domain.status import is_ours, made_at
from .database_file import COMPANIONS, DatabaseFile, sqlite3
from .header import is_marked
from .holders import find_holders
from .run_state import description_path, lease_has_run_out, read_description


def read_file_status(file: DatabaseFile) -> dict[str, Any]:
    """Read what the folder shows, and change nothing.

    Returns:
        C(database), C(open_run) and C(databases) as C(rollback_status) returns them.

    Raises:
        Refused: what is written beside the file is no description.
        OSError: the folder cannot be read.
    """
    description = read_description(file.path)
    open_run = _open_run(description)
    exists = file.path.is_file()
    return {
        "database": {
            "name": file.database,
            "dialect": "sqlite",
            "reachable": True,
            "exists": exists,
            "size_bytes": _size(file.path) if exists else None,
            "open": not is_marked(file.path) if exists else None,
            "server_version": sqlite3.sqlite_version,
            "system_identifier": file.identity().system_identifier if exists else None,
            "oid": file.path.stat().st_ino if exists else None,
        },
        "open_run": open_run,
        "databases": [_entry(file, path, open_run) for path in _left(file)],
    }


def _open_run(description: Description | None) -> dict[str, Any] | None:
    if description is None or not description.state:
        return None
    return {
        "run_id": description.run_id,
        "state": description.state,
        "lease_until": description.lease_until,
        "lease_expired": lease_has_run_out(description),
    }


def _left(file: DatabaseFile) -> list[Path]:
    """Return the files that runs made beside this one."""
    if not file.path.parent.exists():
        return []
    named = ((path, parse_derived_name(path.name)) for path in sorted(file.path.parent.iterdir()))
    return [path for path, parts in named if parts and path == file.derived(parts.purpose, parts.run_id)]


def _entry(file: DatabaseFile, path: Path, open_run: dict[str, Any] | None) -> dict[str, Any]:
    parts = parse_derived_name(path.name)
    if parts is None:
        raise ValueError(path.name)  # `_left` names no others
    try:
        description, note = read_description(path), ""
    except Refused as error:
        description, note = None, error.message
    ours = is_ours(path.name, description)
    droppable = ours and not (open_run and open_run["run_id"] == parts.run_id)
    return {
        "name": path.name,
        "purpose": parts.purpose,
        "run_id": parts.run_id,
        "size_bytes": _size(path),
        "open": not is_marked(path),
        "half_made": description is None,
        "ours": ours,
        "sessions": len(find_holders(path) or []),
        "slots": 0,
        "made_at": made_at(parts.run_id),
        "keep_until": str(description.data.get("keep_until", "")) if description else "",
        "note": description.note if description else note or "It does not say of itself what it is.",
        "drop_command": _remove_command(path) if droppable else "",
    }


def _size(path: Path) -> int:
    files = [Path(f"{path}{end}") for end in ("", *COMPANIONS[:2])]
    return sum(each.stat().st_size for each in files if each.is_file())


def _remove_command(path: Path) -> str:
    return f"rm {shlex.quote(str(path))} {shlex.quote(str(description_path(path)))}"
