# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a project's migrations before any is run: state, files, hashes, ways back, the plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._domain.errors import Refused
from .._domain.migration_files import NOT_PROVEN, MigrationFile, file_problems, file_warnings, read_manifest
from .._domain.plan import make_plan, pending_migrations, plan_id, state_differences

if TYPE_CHECKING:
    from . import Engine


def read_migrations(
    engine: Engine,
    applied: Sequence[str],
    *,
    steps: object = None,
    target: str | None = None,
    expect_applied: Sequence[str] | None = None,
    expect_reverted: Sequence[str] = (),
) -> dict[str, Any]:
    """Return everything that M(balcon.rollback.migration_info) returns, but for what Ansible adds.

    What makes the plan itself impossible is listed as a problem, like everything else that forbids it. With an
    expectation and neither steps nor target, only the state is looked at: no plan is made, no file is judged.

    Args:
        engine: the migration engine.
        applied: what the state table lists, oldest first.
        steps: how many to revert.
        target: the last migration that stays.
        expect_applied: what must be applied, all of it.
        expect_reverted: what must not be applied.
    """
    only_state = (expect_applied is not None or bool(expect_reverted)) and steps in (None, "") and not target
    if not only_state:
        engine.check()
    available = engine.available()
    hashes = read_manifest_file(engine.manifest) if not only_state else None
    plan, problems = ([], []) if only_state else _plan(applied, steps, target)
    files = {name: _file(name, available.get(name), hashes or {}) for name in dict.fromkeys([*applied, *available])}
    files.update(_with_downs(engine, [files[name] for name in plan]))
    problems += state_differences(applied, expect_applied, expect_reverted)
    if not only_state:
        problems += file_problems(files, applied, plan, has_manifest=hashes is not None)
    return {
        "applied": list(applied),
        "available": list(available),
        "pending": pending_migrations(applied, list(available)),
        "plan": plan,
        "plan_id": plan_id(plan, {name: file.sha256 for name, file in files.items()}),
        "migrations": {name: file.as_dict(hashes is not None) for name, file in files.items()},
        "problems": problems,
        "unproven": file_warnings(files, plan),
        "state_table": {**engine.state_table.as_dict(), "rows": len(applied)},
    }


def refuse_problems(problems: Sequence[str]) -> None:
    """Refuse with all problems in one message.

    Raises:
        Refused: there is a problem.
    """
    if problems:
        raise Refused(
            f"{len(problems)} thing{'s' if len(problems) > 1 else ''} must be put right first: {' '.join(problems)}",
            untouched="Nothing was touched.",
            remedy="Mend it, then start again.",
            problems=list(problems),
        )


def _plan(applied: Sequence[str], steps: object, target: str | None) -> tuple[list[str], list[str]]:
    try:
        return make_plan(applied, steps, target), []
    except Refused as error:
        return [], [f"{error.message} {error.remedy}"]


def read_manifest_file(path: Path | None) -> dict[str, str] | None:
    """Return the hashes that a manifest lists, by name; None where there is none.

    Raises:
        Refused: it cannot be used.
    """
    if path is None:
        return None
    try:
        return read_manifest(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        reason = "it does not exist"
    except OSError as error:
        reason = str(error.strerror)
    except ValueError as error:
        reason = str(error)
    raise Refused(
        f"The migration manifest {path} cannot be used: {reason}.",
        untouched="Nothing was touched.",
        remedy=(
            "Make it with the project's manifest script, or leave manifest out of rollback_engine_options:"
            " then changed files are not noticed here."
        ),
    )


def read_files(paths: Mapping[str, Path], hashes: Mapping[str, str]) -> list[MigrationFile]:
    """Return what is known of migrations on disk: their hashes, and those of the manifest.

    Args:
        paths: the migrations' paths, by name.
        hashes: of the manifest.
    """
    return [_file(name, path, hashes) for name, path in paths.items()]


def _file(name: str, path: Path | None, hashes: Mapping[str, str]) -> MigrationFile:
    manifest_sha256 = hashes.get(name) or hashes.get(path.name if path else name) or ""
    if path is None:
        return MigrationFile(name, manifest_sha256=manifest_sha256)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return MigrationFile(name, manifest_sha256=manifest_sha256, reason=f"cannot be read: {error.strerror}")
    return MigrationFile(name, str(path), digest, manifest_sha256)


def _with_downs(engine: Engine, files: Sequence[MigrationFile]) -> dict[str, MigrationFile]:
    verdicts = engine.prove_downs(files)
    unknown = (NOT_PROVEN, "there is no file")
    return {
        file.name: MigrationFile(
            file.name, file.file, file.sha256, file.manifest_sha256, *verdicts.get(file.name, unknown)
        )
        for file in files
    }
