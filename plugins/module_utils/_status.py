# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads everything there is of a database's rollbacks. Whatever cannot be read is said, and the rest is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._database.dialect import is_sqlite
from ._database.postgresql.backup import read_backup, read_manifest
from ._database.postgresql.connection import Server
from ._database.postgresql.status import read_server_status
from ._database.sqlite.database_file import DatabaseFile
from ._database.sqlite.status import read_file_status
from ._domain import manifest as manifests
from ._domain.errors import RollbackError
from ._domain.journal import JournalBroken
from ._domain.names import check_run_id
from ._domain.status import (
    NOT_REACHED,
    WRONG_RECORD,
    backup_entry,
    evidence_entry,
    good_backup,
    newest_first,
    run_entry,
    unknown_backup,
    unknown_evidence,
    unknown_run,
)
from ._domain.status_lines import status_lines
from ._driver import DATABASE_ERROR
from ._run import check_private_folder, read_events
from ._trusted import NotTrusted, read_trusted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._domain.status import Entry


@dataclass
class Look:
    """One look at a state folder, and what was in the way.

    Attributes:
        state_dir: the host's state folder.
        backup_dir: the folder of backups.
        signing_key: the inventory's C(rollback_signing_key), or None.
        check_files: read every byte of every backup.
        max_age_hours: hours for which evidence is good.
        now: the present time, UTC.
        problems: sentences, filled in by looking.
        asking_run: the run that asks, which has just begun and is not told of.
        unreadable: folders that are there and could not be read, filled in by looking.
    """

    state_dir: Path
    backup_dir: Path
    signing_key: str | None = None
    check_files: bool = False
    max_age_hours: float = 24.0
    asking_run: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    problems: list[str] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)


def read_status(look: Look, params: Mapping[str, Any]) -> dict[str, Any]:
    """Read everything that C(rollback_status) returns.

    Args:
        look: where to look.
        params: a module's parameters, with those of `_argspec.DATABASE`.
    """
    at_server = _read_database(look, params)
    _check_state_folder(look)
    backups = read_backups(look)
    status = {
        "looked_at": look.now.isoformat(timespec="seconds"),
        **{key: at_server[key] for key in ("database", "open_run", "databases")},
        "backups": backups,
        "good_backup": good_backup(backups, at_server["database"]["name"]),
        "runs": read_runs(look),
        "evidence": read_evidence(look),
        "problems": look.problems,
    }
    return {**status, "lines": status_lines(status)}


def _read_database(look: Look, params: Mapping[str, Any]) -> dict[str, Any]:
    name = ""
    try:
        name, read = _way(params)
        return read()
    except RollbackError as error:
        look.problems.append(error.text())
    except DATABASE_ERROR as error:
        look.problems.append(f"PostgreSQL said: {str(error).strip()}")
    except OSError as error:
        look.problems.append(f"{error.filename} cannot be read: {error.strerror}.")
    return {"database": {**NOT_REACHED, "name": name}, "open_run": None, "databases": []}


def _way(params: Mapping[str, Any]) -> tuple[str, Callable[[], dict[str, Any]]]:
    """Return the name of the database, and what reads the rest."""
    if is_sqlite(params["database_url"]):
        file = DatabaseFile(params["database_url"], params["project_dir"])
        return file.database, partial(read_file_status, file)
    server = Server(params["database_url"], params["admin_url"])
    return server.database, partial(read_server_status, server)


def _check_state_folder(look: Look) -> None:
    for folder in dict.fromkeys((look.state_dir, look.backup_dir)):
        if folder == look.state_dir or folder.exists():
            try:
                check_private_folder(folder)
            except (RollbackError, OSError) as error:
                look.problems.append(error.text() if isinstance(error, RollbackError) else _reason(folder, error))


def _entries(look: Look, folder: Path) -> list[Path]:
    """Return what is in a folder; nothing where it is missing or cannot be read, which is said."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        look.problems.append(_reason(folder, error))
        look.unreadable.append(folder)
        return []


def _reason(path: Path, error: OSError) -> str:
    return f"{path} cannot be read: {error.strerror or error}."


# -- backups ------------------------------------------------------------------------------------------------------


def read_backups(look: Look) -> list[Entry]:
    """List the backups of the folder, newest first; damaged ones are named with their damage."""
    backups = []
    for folder in _entries(look, look.backup_dir):
        if folder.name.startswith("."):
            look.problems.append(
                f"{folder} is no backup: it is being made or removed, or was left by a killed process."
            )
        elif folder.is_dir():
            backups.append(read_backup_entry(folder, look))
    return newest_first(backups, "created_at")


def read_backup_entry(folder: Path, look: Look) -> Entry:
    """Tell one backup: its manifest is proven, its files have the sizes of the manifest, or all of their bytes."""
    place = {"backup_id": folder.name, "path": str(folder)}
    try:
        manifest = read_backup(folder, look.signing_key) if look.check_files else _read_manifest(folder, look)
        return {**place, **backup_entry(manifest, look.now), "trusted": True, "problem": ""}
    except RollbackError as error:
        problem = error.message
    except OSError as error:
        problem = _reason(folder / manifests.FILE_NAME, error)
    except WRONG_RECORD:
        problem = "its manifest holds other things than it should"
    return {**place, **unknown_backup(), "trusted": False, "problem": problem}


def _read_manifest(folder: Path, look: Look) -> manifests.Manifest:
    manifest = read_manifest(folder, look.signing_key)
    sizes = {
        path.relative_to(folder).as_posix(): {"bytes": path.lstat().st_size}
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    sizes.pop(manifests.FILE_NAME, None)
    hashes = {name: file["sha256"] for name, file in manifest["files"].items()}
    manifests.check_files(manifest, {name: {**size, "sha256": hashes.get(name)} for name, size in sizes.items()})
    return manifest


# -- runs ---------------------------------------------------------------------------------------------------------


def read_runs(look: Look) -> list[Entry]:
    """List the runs of the state folder, newest first; of a broken journal, what its name tells."""
    folders = [folder for folder in _entries(look, look.state_dir / "runs") if folder.name != look.asking_run]
    runs = [entry for folder in folders for entry in _run(folder, look)]
    return newest_first(runs, "started_at")


def read_unfinished_runs(look: Look) -> list[Entry]:
    """List the runs of the state folder that have not written their records: at work, or killed."""
    folders = [folder for folder in _entries(look, look.state_dir / "runs") if not (folder / "run.json").is_file()]
    return [entry for folder in folders for entry in _run(folder, look)]


def _run(folder: Path, look: Look) -> Iterator[Entry]:
    try:
        run_id = check_run_id(folder.name)
    except RollbackError:
        look.problems.append(f"{folder} is no run's folder.")
        return
    try:
        entry = run_entry(run_id, read_events(folder / "journal.jsonl"), ended=(folder / "run.json").is_file())
    except (JournalBroken, NotTrusted) as error:
        entry = {**unknown_run(run_id), "problem": error.message}
    except OSError as error:
        entry = {**unknown_run(run_id), "problem": _reason(folder / "journal.jsonl", error)}
    report = folder / "report.md"
    if entry["problem"]:
        look.problems.append(f"Run {run_id}: {entry['problem']}")
    yield {**entry, "report": str(report) if report.is_file() else ""}


# -- evidence -----------------------------------------------------------------------------------------------------


def read_evidence(look: Look) -> list[Entry]:
    """List the evidence of the state folder, newest first."""
    files = [path for path in _entries(look, look.state_dir / "evidence") if path.suffix == ".json"]
    return newest_first([_evidence(path, look) for path in files], "created_at")


def _evidence(path: Path, look: Look) -> Entry:
    try:
        content = json.loads(read_trusted(path).decode(errors="replace"))
        return evidence_entry(content, look.signing_key, look.now, look.max_age_hours)
    except NotTrusted as error:
        return unknown_evidence(path.stem, error.message)
    except OSError as error:
        return unknown_evidence(path.stem, _reason(path, error))
    except WRONG_RECORD:
        return unknown_evidence(path.stem, f"the evidence file {path} cannot be read: it was cut or edited")
