# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: a dump with a manifest that says, from the dump's own snapshot, what it must restore to."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain import manifest as manifests
from ..._domain.copy_stream import RowCounter, UnexpectedEnd
from ..._domain.description import Description
from ..._domain.errors import Failed, Refused
from ..._domain.fingerprint import compare_restored, fingerprint_hash, rows_total
from ..._domain.names import derived_name
from ..._driver import one_row, psycopg2
from ..._progress import reporter
from ..._trusted import NotTrusted, check_trusted_folder, open_trusted, read_trusted, reason_against
from .client_tools import ClientTools, choose_compression, find_client_tools, running, tool_environment
from .contents import in_parallel, read_sequences
from .fingerprint import take_fingerprint
from .fresh_database import choose_rights, drop_database, fresh_database, read_locale, restore_dump
from .progress import dumping
from .properties import read_properties
from .reading import export_snapshot, reading

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from ..._domain.fingerprint import Fingerprint
    from ..._domain.manifest import Manifest
    from .connection import Server

DUMP = "dump"

_PARTIAL = ".partial-"

_CHUNK = 1024 * 1024

_BACKUP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Wanted:
    """How a backup is to be made.

    Attributes:
        folder: where backups are kept.
        run_id: the name that goes into the backup's name and into a scratch database's.
        verify: C(read), C(restore) or C(none).
        compression: C(auto), C(lz4), C(zstd), C(gzip) or C(none).
        checkpoint: write everything to the disk afterwards, so that a file copy need not wait for it.
        jobs: sessions that dump and read at the same time.
        deadline: seconds for each of dump, verification and trial restore.
        signing_key: the key of the manifest's signature, or None.
        client_path: folders to look for the client tools in, before others.
    """

    folder: Path
    run_id: str
    verify: str = "read"
    compression: str = "auto"
    checkpoint: bool = True
    jobs: int = 2
    deadline: float = 14400
    signing_key: str | None = None
    client_path: Sequence[str] = ()


class BackupResult(NamedTuple):
    """What a backup came to: its folder, its manifest, and how the checkpoint went."""

    path: Path
    manifest: Manifest
    checkpoint: str


def backup_id(database: str, run_id: str) -> str:
    """Name a backup: the database's name, as far as a folder can bear it, and the run."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', database)[:40].strip('-') or 'database'}-{run_id}"


def make_backup(server: Server, wanted: Wanted) -> BackupResult:
    """Dump the server's database, verify the dump, and keep it with its manifest.

    The dump becomes a backup, by one rename, only when all of it is verified and on the disk. Whatever fails before,
    nothing is left that looks like a backup.

    Raises:
        Refused: it cannot begin.
        Failed: the dump, or its verification, failed.
    """
    name = backup_id(server.database, wanted.run_id)
    tools = _tools_for(server, wanted)
    compression = choose_compression(tools, wanted.compression)
    with partial_folder(wanted.folder, name) as folder:
        content = _dump(server, tools, folder / DUMP, wanted, compression.argument)
        content["dump"] = {"compression": compression.name, "jobs": wanted.jobs}
        content["dump_version"] = tools.version
        content["files"] = describe_files(folder, wanted.jobs)
        content["backup_id"] = name
        content["verified"] = _verify(server, tools, folder / DUMP, content, wanted)
        manifest = manifests.seal(content, wanted.signing_key)
        _write(folder / manifests.FILE_NAME, manifests.render(manifest))
        _bring_to_disk(folder)
        folder.rename(wanted.folder / name)
        _sync(wanted.folder)
    checkpoint = checkpoint_if_allowed(server) if wanted.checkpoint else "not asked for"
    return BackupResult(wanted.folder / name, manifest, checkpoint)


def path_of(server: Server, wanted: Wanted) -> Path:
    """Return the folder that the backup has, or will have."""
    return wanted.folder / backup_id(server.database, wanted.run_id)


def find_present(server: Server, wanted: Wanted) -> Manifest | None:
    """Return the manifest of the backup that this run made of the server's database already, proven; or None.

    Raises:
        BackupNotTrusted: it is there, and not as it was written.
        Refused: it is there, and of another database of that name.
    """
    path = path_of(server, wanted)
    if not path.exists():
        return None
    manifest = read_backup(path, wanted.signing_key, wanted.jobs)
    if (manifest["database"]["system_identifier"], manifest["database"]["oid"]) != tuple(server.identity()):
        raise _exists(path)
    return manifest


def summary(path: Path, manifest: Manifest | None) -> dict[str, Any]:
    """Return what db_backup returns of a backup; where it was not made yet, only its name and place."""
    result: dict[str, Any] = {
        "backup_id": path.name, "path": str(path), "manifest": str(path / manifests.FILE_NAME),
    }  # fmt: skip
    if manifest:
        result.update(
            bytes=sum(file["bytes"] for file in manifest["files"].values()),
            compression=manifest["dump"]["compression"],
            verified=manifest["verified"],
            fingerprint_hash=fingerprint_hash(manifest["fingerprint"]),
            rows_total=manifest["rows_total"],
            tables=manifest["tables"],
            signed=bool(manifest["signature"]),
        )
    return result


def check_can_begin(server: Server, wanted: Wanted) -> None:
    """Check what can be checked without dumping, for check mode.

    Raises:
        Refused: the backup could not begin.
    """
    choose_compression(_tools_for(server, wanted), wanted.compression)


def _tools_for(server: Server, wanted: Wanted) -> ClientTools:
    with server.connect() as connection:
        return find_client_tools(connection.server_version, wanted.client_path)


@contextmanager
def partial_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a folder that does not look like a backup, and remove it again unless it was renamed."""
    _remove_abandoned(parent)
    if (parent / name).exists():
        raise _exists(parent / name)
    folder = parent / f"{_PARTIAL}{name}"
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove what a killed process left: nobody holds its lock any more."""
    for folder in parent.glob(f"{_PARTIAL}*"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _exists(path: Path) -> Refused:
    return Refused(
        f"There is a backup {path} already.",
        untouched="It was not touched, and no other was made.",
        remedy="Leave run_id out, or start a new run: each run makes one backup of a database.",
    )


def _dump(server: Server, tools: ClientTools, folder: Path, wanted: Wanted, compression: str) -> Manifest:
    """Dump the database, and read meanwhile, in the same snapshot, what it must restore to."""
    system_identifier, oid = server.identity()
    with reading(server) as connection:
        content = _head(server, connection)
        content["database"].update(oid=oid, system_identifier=system_identifier)
        content["fingerprint"], content["sequences_until"] = dump_with_fingerprint(
            server, tools, connection, folder, jobs=wanted.jobs, deadline=wanted.deadline, compression=compression
        )
    content["rows_total"] = rows_total(content["fingerprint"])
    content["tables"] = len(content["fingerprint"]["tables"])
    return content


def dump_with_fingerprint(
    server: Server,
    tools: ClientTools,
    connection: Connection,
    folder: Path,
    *,
    jobs: int,
    deadline: float,
    compression: str,
) -> tuple[Fingerprint, dict[str, Any]]:
    """Dump a database as a directory and take its fingerprint in the same snapshot, at the same time.

    Returns:
        The fingerprint, by method C(text), and the sequences after the dump. Sequences belong to no snapshot: the dump
        holds positions between those of the fingerprint, read before it, and those.
    """
    snapshot = export_snapshot(connection)
    with connection.cursor() as cursor:
        before = read_sequences(cursor)
    arguments = [
        "--format=directory", f"--jobs={jobs}", compression, f"--snapshot={snapshot}", "--lock-wait-timeout=30s",
        "--no-password", f"--file={folder}",
    ]  # fmt: skip
    with dumping(server, connection, folder), running(
        tools, "pg_dump", arguments, environment=tool_environment(server), deadline=deadline
    ) as tool:
        fingerprint = take_fingerprint(server, method="text", jobs=jobs, snapshot=snapshot)
        tool.wait()
    _make_private(folder)
    with connection.cursor() as cursor:
        return {**fingerprint, "sequences": before}, read_sequences(cursor)


def _head(server: Server, connection: Connection) -> Manifest:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_database_size(current_database()), to_char(now() AT TIME ZONE 'UTC', "
            '\'YYYY-MM-DD"T"HH24:MI:SS"+00:00"\')'
        )
        size, now = one_row(cursor)
        return {
            "created_at": now,
            "database": {"name": server.database, "bytes": size},
            "server_version": connection.server_version,
            "locale": read_locale(cursor, server.database),
            "properties": read_properties(cursor, server.database).to_dict(),
        }


def _make_private(folder: Path) -> None:
    folder.chmod(0o700)
    for file in folder.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)


def describe_files(folder: Path, jobs: int = 2) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file in a backup but the manifest, by path.

    Of links and the like, and of what somebody else may have written, C(problem) says what is wrong.
    """
    files = sorted(file for file in folder.rglob("*") if _is_to_describe(file.lstat()))
    files = [file for file in files if file != folder / manifests.FILE_NAME]
    found: dict[str, dict[str, Any]] = {}

    def work(mine: list[Path]) -> None:
        for file in mine:
            found[file.relative_to(folder).as_posix()] = _describe(file)
            activity.done = (activity.done or 0) + file.lstat().st_size

    total = sum(file.lstat().st_size for file in files)
    with reporter.activity("checksums of the files", unit="bytes", total=total) as activity:
        in_parallel([lambda part=files[start::jobs]: work(part) for start in range(jobs)])  # type: ignore[misc]
    return dict(sorted(found.items()))


def _is_to_describe(status: os.stat_result) -> bool:
    """A folder is named only where somebody else can put files into it."""
    return not stat.S_ISDIR(status.st_mode) or bool(reason_against(status))


def _describe(file: Path) -> dict[str, Any]:
    try:
        descriptor = open_trusted(file)
    except NotTrusted as error:
        return {"problem": error.reason}
    except OSError as error:
        return {"problem": f"it cannot be read: {error.strerror}"}
    status = os.fstat(descriptor)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return {"bytes": status.st_size, "sha256": digest.hexdigest()}


def _verify(server: Server, tools: ClientTools, dump: Path, content: Manifest, wanted: Wanted) -> str | None:
    if wanted.verify == "none":
        return None
    differences = manifests.check_row_counts(content, count_rows(tools, dump, wanted.deadline))
    if not differences and wanted.verify == "restore":
        differences = _try_restore(server, tools, dump, content, wanted)
    if differences:
        raise Failed(
            f"The dump of {server.database} is not what the database held: {' '.join(differences[:20])}",
            untouched="The database was only read; the dump was removed.",
            remedy="Look for faults of disk and memory on this host, then start again.",
            differences=differences,
        )
    return wanted.verify


def count_rows(tools: ClientTools, dump: Path, deadline: float) -> dict[tuple[str, str], int]:
    """Decompress every byte of a dump and return the rows by schema and table.

    Raises:
        Failed: the dump cannot be read to its end.
    """
    counter = RowCounter()
    arguments = ["--data-only", "--file=-", str(dump)]
    with reporter.activity("read the dump back", unit="bytes", done=0) as activity, running(
        tools, "pg_restore", arguments, deadline=deadline, output=True
    ) as tool:
        for chunk in iter(lambda: tool.output.read(_CHUNK), b""):
            counter.feed(chunk)
            activity.done = (activity.done or 0) + len(chunk)
            if tool.is_late:
                break
        tool.wait()
    try:
        return counter.finish()
    except UnexpectedEnd as error:
        raise Failed(
            f"The dump ends in the middle of table {error}.",
            untouched="The database was only read.",
            remedy="Look for faults of disk and memory on this host, then start again.",
        ) from None


def _try_restore(server: Server, tools: ClientTools, dump: Path, content: Manifest, wanted: Wanted) -> list[str]:
    """Restore a dump into a scratch database, compare, and drop the scratch database."""
    name = derived_name(server.database, "trial", wanted.run_id)
    rights = choose_rights(server, content["fingerprint"]["catalogue"])
    description = Description(
        run_id=wanted.run_id,
        role="trial",
        note=f"Made to verify a backup of {server.database}; it can be dropped.",
    )
    with fresh_database(server, name, content["locale"], description):
        restore_dump(
            server, tools, dump, name,
            jobs=wanted.jobs, deadline=wanted.deadline, rights=rights, tables=content["fingerprint"]["tables"],
        )  # fmt: skip
        restored = take_fingerprint(server, name, method="text", jobs=wanted.jobs)
    drop_database(server, name)
    return compare_restored(
        content["fingerprint"], restored, sequences_until=content["sequences_until"], rights=rights.complete
    )


def checkpoint_if_allowed(server: Server) -> str:
    """Write everything to the disk, where this role may; return what happened, in a few words."""
    start = time.monotonic()
    with server.admin() as connection, connection.cursor() as cursor:
        try:
            cursor.execute("CHECKPOINT")
        except psycopg2.errors.InsufficientPrivilege:
            return "skipped: this role is neither superuser nor a member of pg_checkpoint"
    return f"done in {time.monotonic() - start:.1f} s"


def find_backup(backup: str, folder: Path | None) -> Path:
    """Return the folder of a backup, named by its path or, in the folder of backups, by its name.

    Raises:
        Refused: there is none.
    """
    path = Path(backup) if "/" in backup else (folder / backup if folder else Path(backup))
    named_well = "/" in backup or _BACKUP_ID.fullmatch(backup)
    if not named_well or not (path / manifests.FILE_NAME).is_file():
        known = sorted(file.parent.name for file in folder.glob(f"*/{manifests.FILE_NAME}")) if folder else []
        raise Refused(
            f"There is no backup {backup!r}{f' in {folder}' if folder else ''}.",
            untouched="Nothing was restored.",
            remedy=f"There are: {', '.join(known)}." if known else "Make one with db_backup, or name its folder.",
        )
    return path


def read_backup(path: Path, signing_key: str | None = None, jobs: int = 2) -> Manifest:
    """Read a backup's manifest and prove that every file is as it was written.

    Raises:
        BackupNotTrusted: it is not.
    """
    manifest = read_manifest(path, signing_key)
    manifests.check_files(manifest, describe_files(path, jobs))
    return manifest


def read_manifest(path: Path, signing_key: str | None = None) -> Manifest:
    """Read a backup's manifest and prove that it is as it was written, without looking at the other files.

    Raises:
        BackupNotTrusted: it is not.
    """
    try:
        check_trusted_folder(path)
        text = read_trusted(path / manifests.FILE_NAME).decode()  # not as text: that would mend line ends
    except FileNotFoundError:
        raise manifests.BackupNotTrusted(f"there is no manifest in {path}") from None
    except UnicodeDecodeError:
        raise manifests.BackupNotTrusted("its manifest is not text") from None
    except NotTrusted as error:
        raise manifests.BackupNotTrusted(f"of {error.details['path']}, {error.reason}") from None
    return manifests.read(text, signing_key)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _bring_to_disk(folder: Path) -> None:
    for path in [*sorted(folder.rglob("*")), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
