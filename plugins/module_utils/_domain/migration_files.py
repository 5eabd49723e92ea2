# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of migration files before a plan may run: on disk, unchanged, with a way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PROVEN, MISSING, EMPTY, NOT_PROVEN = "proven", "missing", "empty", "not_proven"


@dataclass(frozen=True)
class MigrationFile:
    """What is known of one migration.

    Attributes:
        name: as the state table has it.
        file: its path, or "" where no file has that name.
        sha256: of the file, as hexadecimal digits; "" without a file.
        manifest_sha256: what the manifest says it should be; "" where it says nothing.
        down: `PROVEN`, `MISSING`, `EMPTY`, `NOT_PROVEN`, or "" where it was not looked for.
        reason: why, in a few words.
    """

    name: str
    file: str = ""
    sha256: str = ""
    manifest_sha256: str = ""
    down: str = ""
    reason: str = ""

    @property
    def on_disk(self) -> bool:
        """Tell whether there is a file."""
        return bool(self.file)

    @property
    def manifest_ok(self) -> bool:
        """Tell whether the file is the one of the manifest."""
        return bool(self.sha256) and self.sha256 == self.manifest_sha256

    def as_dict(self, has_manifest: bool) -> dict[str, Any]:
        """Return everything as modules return it; C(manifest_ok) is None where there is no manifest."""
        fields = {key: value for key, value in asdict(self).items() if key != "name"}
        return {**fields, "on_disk": self.on_disk, "manifest_ok": self.manifest_ok if has_manifest else None}


def file_problems(
    files: Mapping[str, MigrationFile], applied: Sequence[str], plan: Sequence[str], *, has_manifest: bool
) -> list[str]:
    """List everything that forbids the plan, one sentence each, with the way out.

    Every applied file is looked at, not only those of the plan: some tools skip an applied migration whose file is
    gone, and revert the one below it without a word (facts §4: umzug, dbmate, Django).

    Args:
        files: what is known of each migration, by name.
        applied: what the state table lists.
        plan: what is to be reverted.
        has_manifest: whether hashes are to be compared.
    """
    problems = [
        f"{name} is applied, but its file is not on disk: tools skip such a migration, and revert the one"
        " below it. Check out the release that holds it."
        for name in applied
        if not files[name].on_disk
    ]
    if has_manifest:
        problems += [_manifest_problem(files[name]) for name in applied if _differs(files[name])]
    return problems + [_down_problem(files[name]) for name in plan if files[name].down in (MISSING, EMPTY)]


def file_warnings(files: Mapping[str, MigrationFile], plan: Sequence[str]) -> list[str]:
    """List what could not be proven of the plan, one sentence each."""
    return [
        f"That {name} has a down() was not proven: {files[name].reason}."
        for name in plan
        if files[name].down == NOT_PROVEN
    ]


def read_manifest(content: object) -> dict[str, str]:
    """Read a manifest, a list of ``{"name": file name, "sha256": hexadecimal digits}``.

    Returns:
        The hash of each name.

    Raises:
        ValueError: it has another shape; the text says which.
    """
    if not isinstance(content, list):
        raise ValueError("it is not a list")  # noqa: TRY004  # of a file's content, not of an argument
    hashes: dict[str, str] = {}
    for entry in content:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "sha256")):
            raise ValueError("an entry is not {name, sha256}")
        if hashes.setdefault(entry["name"], entry["sha256"].lower()) != entry["sha256"].lower():
            raise ValueError(f"{entry['name']} is in it twice, with two hashes")
    return hashes


def _differs(file: MigrationFile) -> bool:
    return file.on_disk and not file.manifest_ok


def _manifest_problem(file: MigrationFile) -> str:
    if not file.manifest_sha256:
        return f"{file.name} is applied, but the manifest does not list it. Add it with the project's manifest script."
    return (
        f"{file.name} was changed since the manifest was made (its SHA-256 begins {file.sha256[:12]}, the"
        f" manifest says {file.manifest_sha256[:12]}). Check out the release that was deployed, or review the"
        " change and make the manifest again."
    )


def _down_problem(file: MigrationFile) -> str:
    word = "has no down()" if file.down == MISSING else "has an empty down()"
    return (
        f"{file.name} {word} ({file.reason}): the tool would call it reverted, and the schema would stay."
        " Write the down() first, and rehearse it."
    )
