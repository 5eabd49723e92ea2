# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup: what belongs to it, what it must restore to, and who says so.

It is a dictionary, kept as JSON beside the dump:

- C(format): `FORMAT`. C(backup_id), C(created_at): name, and UTC ISO 8601.
- C(database): C(name), C(oid), C(system_identifier), C(bytes). C(server_version), C(dump_version): as numbers, 160014.
- C(dump): C(compression), C(jobs). C(files): ``{path: {sha256, bytes}}``, relative to the manifest.
- C(locale): how to create the database again. C(properties): what belongs to the database as a whole.
- C(fingerprint) of the dump's own snapshot, and C(sequences_until), the sequences after it (see `fingerprint`).
- C(rows_total), C(tables): numbers. C(verified): read, restore or null.
- C(digest): SHA-256 of all the above. C(signature): HMAC-SHA256 of it, or null: then the manifest is called unsigned.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Dict

from .catalogue import split_identity, unquote
from .errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

Manifest = Dict[str, Any]

FORMAT = 4

FILE_NAME = "manifest.json"

_SEALS = ("digest", "signature")

_REQUIRED = ("backup_id", "database", "server_version", "dump_version", "files", "locale", "properties", "fingerprint")


class BackupNotTrusted(Refused):
    """A backup is not what its manifest says, or its manifest is not what was written."""

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(
            f"The backup cannot be trusted: {reason}.",
            untouched="Nothing was restored, and no database was made.",
            remedy="Use another backup (each is a folder in the folder backups of the state folder), or a copy of this "
            "one from before it was damaged.",
            **details,
        )


def seal(content: Manifest, key: str | None = None) -> Manifest:
    """Return a manifest with its digest, and signed where there is a key.

    Args:
        content: a manifest without C(digest) and C(signature).
        key: the inventory's C(rollback_signing_key).
    """
    text = _canonical(content)
    digest = hashlib.sha256(text).hexdigest()
    return {"format": FORMAT, **content, "digest": digest, "signature": _signature(text, key) if key else None}


def render(manifest: Manifest) -> str:
    """Return the text of the manifest's file."""
    return json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def read(text: str, key: str | None = None) -> Manifest:
    """Read the text of a manifest's file and prove that it is as it was written.

    Args:
        text: the file's text.
        key: the inventory's C(rollback_signing_key). With it, an unsigned manifest is refused; without it, a signature
            is not looked at, and only damage is found, not an edit by somebody who computed the digest again.

    Raises:
        BackupNotTrusted: it is damaged, edited, not signed by this key, or of a format that is not known.
    """
    manifest = _parsed(text)
    content = _canonical(manifest)
    if key and not manifest.get("signature"):
        raise BackupNotTrusted("a signing key is set, and its manifest is not signed", unsigned=True)
    if key and not same_signature(manifest["signature"], _signature(content, key)):
        raise BackupNotTrusted("its manifest is signed with another key, or was edited after it was signed")
    if manifest.get("digest") != hashlib.sha256(content).hexdigest():
        raise BackupNotTrusted("its manifest was edited or damaged after it was written")
    if text != render(manifest):  # the same content in other bytes, or a key twice: somebody had it in hands
        raise BackupNotTrusted("its manifest is not written as it was: somebody saved it again, or it was damaged")
    return manifest


def check_files(manifest: Manifest, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the files of a backup are those of its manifest, no more and no fewer, each byte as it was.

    Args:
        manifest: the manifest.
        found: ``{path: {sha256, bytes}}`` of every file there is, but the manifest itself; ``{path: {problem}}`` of
            what cannot be one.

    Raises:
        BackupNotTrusted: a file is missing, extra, of another size or of another content; all are named.
    """
    wanted = manifest["files"]
    problems = [f"{name} is missing" for name in sorted(set(wanted) - set(found))]
    problems += [f"of {name}, {entry['problem']}" for name, entry in sorted(found.items()) if "problem" in entry]
    sound = {name for name, entry in found.items() if "problem" not in entry}
    problems += [f"{name} does not belong to it" for name in sorted(sound - set(wanted))]
    for name in sorted(set(wanted) & sound):
        if found[name]["bytes"] != wanted[name]["bytes"]:
            problems.append(f"{name} has {found[name]['bytes']} bytes instead of {wanted[name]['bytes']}")
        elif found[name]["sha256"] != wanted[name]["sha256"]:
            problems.append(f"{name} was changed (its SHA-256 differs)")
    if problems:
        raise BackupNotTrusted("; ".join(problems), problems=problems)


def check_server(manifest: Manifest, server_version: int) -> None:
    """Check that a server is new enough for a backup.

    Args:
        manifest: the manifest.
        server_version: of the server to restore on, as a number: 160014.

    Raises:
        Refused: its major version is older than that of the server the backup was made from.
    """
    made_from, target = manifest["server_version"] // 10000, server_version // 10000
    if target < made_from:
        raise Refused(
            f"Backup {manifest['backup_id']} was made from PostgreSQL {made_from}; this server is PostgreSQL {target}, "
            "which cannot be relied on to read it.",
            untouched="Nothing was restored.",
            remedy=f"Restore it on a server of PostgreSQL {made_from} or later.",
        )


def check_database(manifest: Manifest, database: str, system_identifier: str | None = None) -> None:
    """Check that a backup is of a database of this name, and where an identifier is given, of this server.

    Raises:
        Refused: it is of another database.
    """
    made_of = manifest["database"]
    if made_of["name"] != database:
        raise Refused(
            f"Backup {manifest['backup_id']} is of the database {made_of['name']!r}, not of {database!r}.",
            untouched="Nothing was changed.",
            remedy=f"Name a backup of {database}; the folder of each is called after its database.",
            database=made_of["name"],
        )
    if system_identifier is not None and made_of["system_identifier"] != system_identifier:
        raise Refused(
            f"Backup {manifest['backup_id']} is of a database {database!r} on another server.",
            untouched="Nothing was changed.",
            remedy="Name a backup of this server's database. If this server took the other's place, say so: "
            "other_server=true.",
            system_identifier=made_of["system_identifier"],
        )


def check_row_counts(manifest: Manifest, counted: Mapping[tuple[str, str], int]) -> list[str]:
    """Compare the rows that were found in a dump with the manifest's, and return the differences as sentences.

    Args:
        manifest: the manifest.
        counted: rows by schema and table, not quoted. Tables that the fingerprint does not know, such as the
            configuration of extensions, are not looked at.
    """
    differences = []
    for identity, table in sorted(manifest["fingerprint"]["tables"].items()):
        schema, name = split_identity(identity)
        rows = counted.get((unquote(schema), unquote(name)))
        if rows != table["rows"]:
            differences.append(f"Table {identity} has {rows} rows in the dump, {table['rows']} in the database.")
    return differences


def same_signature(found: object, right: str) -> bool:
    """Compare what a file holds as its signature with the right one, in a time that tells nothing about it."""
    return hmac.compare_digest(str(found).encode(errors="surrogatepass"), right.encode())


def _parsed(text: str) -> Manifest:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise BackupNotTrusted("its manifest is not JSON") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BackupNotTrusted("its manifest is of a format that this version of the collection does not know")
    missing = [name for name in _REQUIRED if name not in manifest]
    if missing:
        raise BackupNotTrusted(f"its manifest lacks {', '.join(missing)}")
    return manifest


def _canonical(manifest: Manifest) -> bytes:
    content = {"format": FORMAT, **{key: value for key, value in manifest.items() if key not in _SEALS}}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(errors="surrogatepass")


def _signature(content: bytes, key: str) -> str:
    return hmac.new(key.encode(), content, hashlib.sha256).hexdigest()
