# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what migrations do out of their files: TypeScript and JavaScript by the project's own parser, SQL by ours."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._domain.interface_calls import read_ways
from .._domain.migration_files import EMPTY, MISSING, PROVEN
from .._domain.migration_text import MigrationText
from .._domain.operations import DOWN, UP, Way
from .._domain.sql_operations import read_operations
from .._domain.sql_text import Comment, Statement, read_statements
from .down_parser import run_parser, why_not_parsed
from .operation_script import SCRIPT

_DOWN_MARK = re.compile(r"(?:migrate:|\+goose\s+|\+migrate\s+)?down(?:\s+migration)?\b.*", re.IGNORECASE)
"""How SQL migrations say where their way back begins: dbmate, goose, sql-migrate, node-pg-migrate."""


def read_texts(files: Mapping[str, Path], folder: Path, node_folder: str = "") -> dict[str, MigrationText]:
    """Read what migrations do; nothing of the project is run.

    Args:
        files: the migrations' paths, by name.
        folder: the project's folder.
        node_folder: the folder that node is in, where it is not in the usual places.
    """
    plain = {name: path for name, path in files.items() if path.suffix == ".sql"}
    programs = {name: path for name, path in files.items() if name not in plain}
    texts = {name: _read_sql(path) for name, path in plain.items()}
    texts.update(_read_programs(programs, folder, node_folder))
    return {name: texts[name] for name in files}


def prove_sql_downs(texts: Mapping[str, MigrationText]) -> dict[str, tuple[str, str]]:
    """Say of each SQL migration whether it has a way back, as `down_parser.prove_downs` does of programs."""
    return {name: text.sql_down for name, text in texts.items() if text.sql_down}


def _read_programs(files: Mapping[str, Path], folder: Path, node_folder: str) -> dict[str, MigrationText]:
    if not files:
        return {}
    try:
        answers: Sequence[Any] = run_parser(SCRIPT, [str(path) for path in files.values()], folder, node_folder)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {name: MigrationText(unread=why_not_parsed(error)) for name in files}
    return {name: _of_program(answer) for name, answer in zip(files, answers)}


def _of_program(answer: Mapping[str, Any]) -> MigrationText:
    if "error" in answer:
        return MigrationText(unread=str(answer["error"]))
    comments = tuple(Comment(str(each["text"]), int(each["line"])) for each in answer["comments"])
    starts = {int(call["line"]): int(call["statement_line"]) for call in answer["calls"]}
    starts.update({int(call["text_line"]): int(call["statement_line"]) for call in answer["calls"]})
    return MigrationText(read_ways(answer["calls"], answer["uses"]), comments, starts)


def _read_sql(path: Path) -> MigrationText:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return MigrationText(unread=f"it cannot be read: {error}")
    up, comments = read_statements(text)
    mark = next((each.line for each in comments if _DOWN_MARK.fullmatch(each.text)), None)
    down: list[Statement] = []
    if mark is not None:
        up, down = [each for each in up if each.line < mark], [each for each in up if each.line > mark]
    beside = _file_beside(path)
    if beside:
        down = read_statements(beside.read_text(encoding="utf-8"))[0]
    ways = {UP: Way(tuple(read_operations(up))), DOWN: Way(tuple(read_operations(down)))}
    return MigrationText(ways, tuple(comments), sql_down=_verdict(down, marked=mark is not None or beside is not None))


def _file_beside(path: Path) -> Path | None:
    """Return the file with the way back of C(x.up.sql): C(x.down.sql)."""
    if not path.name.endswith(".up.sql"):
        return None
    beside = path.with_name(path.name[: -len(".up.sql")] + ".down.sql")
    return beside if beside.is_file() else None


def _verdict(down: Sequence[Statement], *, marked: bool) -> tuple[str, str]:
    if down:
        return PROVEN, "it has statements on its way back"
    if marked:
        return EMPTY, "there is no statement in its down part"
    return MISSING, "it has no down part"
