# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of M(balcon.rollback.migration_lint), from options to result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._domain.errors import Refused
from .._domain.migration_evidence import refuted
from .._domain.migration_files import MigrationFile
from .._domain.migration_findings import (
    Finding,
    apply_allowances,
    count,
    graded,
    merge,
    passes,
    read_allowances,
    summary,
    text_lines,
    workflow_commands,
)
from .._domain.migration_lint import judge_edited, judge_files, judge_manifest, judge_order, judge_text
from .._domain.migration_rules import severities
from .._domain.migration_text import MigrationText
from . import Engine, make_engine
from .operation_parser import prove_sql_downs, read_texts
from .reading import read_files, read_manifest_file
from .released import Released, released_in_git, released_until, top_folder
from .round_trip import Proof

if TYPE_CHECKING:
    Texts = Mapping[str, MigrationText]


def check_migrations(params: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Check a project's migrations, and return what M(balcon.rollback.migration_lint) returns.

    Args:
        params: the module's parameters.
        check_mode: only read; no scratch database is made.

    Raises:
        Refused: the project or an option cannot be used; nothing was checked.
    """
    start = time.monotonic()
    grades = severities(params["rules"] or {})
    engine = make_engine(params["engine"], params["engine_options"])
    engine.check()
    available = engine.available()
    released = _released(params, engine, available)
    judged = [name for name in available if name not in set(released.names)]
    texts = read_texts({name: available[name] for name in judged}, engine.folder, engine.path_folder)
    files = _files(engine, available, judged, texts)
    proof, reason = _prove(params, engine, judged, check_mode=check_mode)
    findings = [*_not_refuted(_found(engine, available, released, files, texts), texts, proof), *proof.findings]
    paths = _paths(params, engine, available, findings)
    done = graded(_allowed(findings, texts), grades)
    return {
        **_shown(done, paths, len(judged), params["fail_on"]),
        "migrations": [_one(file, paths, proof) for file in files],
        "released": released.names,
        "unproven": [*proof.unproven, *([reason] if reason else [])],
        "scratch": {"done": not reason, "reason": reason},
        "seconds": round(time.monotonic() - start, 3),
    }


def _shown(findings: Sequence[Finding], paths: Mapping[str, str], migrations: int, fail_on: str) -> dict[str, Any]:
    counts = count(findings)
    return {
        "passed": passes(counts, fail_on),
        "findings": [finding.as_dict(paths) for finding in findings if not finding.reason],
        "allowed": [finding.as_dict(paths) for finding in findings if finding.reason],
        "counts": counts,
        "lines": [*text_lines(findings, paths), summary(counts, migrations)],
        "annotations": workflow_commands(findings, paths),
    }


def _released(params: Mapping[str, Any], engine: Engine, available: Mapping[str, Path]) -> Released:
    if params["since"] and params["base"]:
        raise Refused(
            "Both since and base were given, and they may mean different migrations.",
            untouched="Nothing was checked.",
            remedy="Give one of them.",
        )
    if params["since"]:
        return released_until(list(available), params["since"])
    if params["base"]:
        extension = params["engine_options"].get("extension") or ""
        return released_in_git(available, engine.migrations, extension, params["base"])
    return Released([], {})


def _files(engine: Engine, available: Mapping[str, Path], judged: Sequence[str], texts: Texts) -> list[MigrationFile]:
    hashes = read_manifest_file(engine.manifest) or {}
    files = read_files({name: available[name] for name in judged}, hashes)
    verdicts = {
        **engine.prove_downs([file for file in files if not file.file.endswith(".sql")]),
        **prove_sql_downs(texts),
    }
    return [
        MigrationFile(file.name, file.file, file.sha256, file.manifest_sha256, *verdicts.get(file.name, ("", "")))
        for file in files
    ]


def _found(
    engine: Engine,
    available: Mapping[str, Path],
    released: Released,
    files: Sequence[MigrationFile],
    texts: Texts,
) -> list[Finding]:
    """Return what the files say."""
    hashes = read_manifest_file(engine.manifest)
    names = [*available, *(path.name for path in available.values()), *released.touched]
    return [
        *judge_manifest(names, hashes),
        *judge_order([file.name for file in files], released.names),
        *judge_edited(released.touched),
        *judge_files(files, hashes),
        *(finding for name, text in texts.items() for finding in judge_text(name, text)),
    ]


def _prove(params: Mapping[str, Any], engine: Engine, judged: Sequence[str], *, check_mode: bool) -> tuple[Proof, str]:
    """Return what the scratch database showed, or why there was none."""
    if not params["scratch_url"]:
        return Proof(), "There was no scratch database: no round trip was proven."
    check_scratch_url(params["scratch_url"], params["never_urls"] or [])
    if check_mode:
        return Proof(), "No scratch database is made in check mode: no round trip was proven."
    if not judged:
        return Proof(), "There is no new migration: nothing was to be proven."
    from .round_trip import RoundTrips

    return RoundTrips(engine, params).prove(judged), ""


def check_scratch_url(url: str, never: Sequence[str]) -> None:
    """Check that scratch databases may be made on a server.

    Args:
        url: of a database on it.
        never: URLs of databases whose servers must be left alone; they are compared as text, and not connected to.

    Raises:
        Refused: it is one of them, or no PostgreSQL server.
    """
    from .._database.postgresql.connection import Server

    if url.startswith("sqlite:"):
        raise Refused(
            "The scratch database would be an SQLite file, and the round trip is proven on PostgreSQL only.",
            untouched="Nothing was touched.",
            remedy="Set rollback_check_url to a database on a PostgreSQL server for tests; without it, the migrations"
            " are only read.",
        )
    here = _address(Server(url))
    for other in never:
        if other.startswith(("postgresql://", "postgres://")) and _address(Server(other)) == here:
            raise Refused(
                f"The scratch database would be made on {here[0]}:{here[1]}, the server of an environment of the"
                " inventory.",
                untouched="Nothing was touched.",
                remedy="Set rollback_check_url to a database on a server for tests.",
            )


def _address(server: Any) -> tuple[str, str]:
    parameters = server.parameters()
    return parameters.get("hostaddr") or parameters.get("host") or "localhost", parameters.get("port") or "5432"


def _not_refuted(findings: Sequence[Finding], texts: Texts, proof: Proof) -> list[Finding]:
    """Leave out what was read in the text, and was seen not to happen."""
    kept = list(findings)
    for name, (before, after) in proof.seen.items():
        others = [finding for finding in kept if finding.migration != name]
        mine = [finding for finding in kept if finding.migration == name]
        kept = [*others, *refuted(mine, texts[name], before, after)]
    return kept


def _allowed(findings: Sequence[Finding], texts: Texts) -> list[Finding]:
    by_migration: dict[str, list[Finding]] = {}
    for finding in merge(findings):
        by_migration.setdefault(finding.migration, []).append(finding)
    return [
        finding
        for name in dict.fromkeys([*by_migration, *texts])
        for finding in _allowed_one(by_migration.get(name, []), texts.get(name), name)
    ]


def _allowed_one(findings: Sequence[Finding], text: MigrationText | None, name: str) -> list[Finding]:
    if text is None:
        return list(findings)
    lines = [each.line for way in (text.up, text.down) for each in way.operations]
    return apply_allowances(findings, read_allowances(text.comments, text.starts, lines), name)


def _paths(
    params: Mapping[str, Any], engine: Engine, available: Mapping[str, Path], findings: Sequence[Finding]
) -> dict[str, str]:
    """Return the migrations' files relative to the repository, as build servers want them."""
    root = Path(params["root"]) if params["root"] else top_folder(engine.folder)
    known = {name: str(path) for name, path in available.items()}
    missing = {
        each.migration: str(engine.manifest or engine.folder) for each in findings if each.migration not in known
    }
    return {
        name: os.path.relpath(os.path.realpath(path), os.path.realpath(root))
        for name, path in {**known, **missing}.items()
    }


def _one(file: MigrationFile, paths: Mapping[str, str], proof: Proof) -> dict[str, Any]:
    return {
        "name": file.name,
        "file": paths[file.name],
        "down": file.down,
        "round_trip": proof.outcomes.get(file.name, "not tried"),
    }


def check_report(path: Path) -> None:
    """Check that a report can be written.

    Raises:
        Refused: there is no such folder, or nothing may be written there.
    """
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise Refused(
            f"The report {path} cannot be written.",
            untouched="Nothing was checked.",
            remedy="Name a file in a folder that is there, and that this account may write to.",
        )


def report_text(result: Mapping[str, Any]) -> str:
    """Return a result as JSON, for programs."""
    wanted = ("passed", "counts", "findings", "allowed", "migrations", "released", "unproven", "scratch", "seconds")
    return json.dumps({key: result[key] for key in wanted}, ensure_ascii=False, indent=2) + "\n"
