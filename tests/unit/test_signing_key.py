# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every task that writes or reads what is signed hands the key over: one that forgets it believes anybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
KEY = "{{ rollback_signing_key | default(omit, true) }}"


def signing_modules() -> set[str]:
    """The modules that know a key."""
    modules = PROJECT.glob("plugins/modules/*.py")
    return {f"balcon.rollback.{path.stem}" for path in modules if '"signing_key": {' in path.read_text()}


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """All tasks of a file, those in blocks included."""
    for entry in content or []:
        yield entry
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(entry.get(part))


READS_NO_BACKUP = {
    "balcon.rollback.db_swap": ("candidate", "restored"),
    "balcon.rollback.db_access": ("open",),
    "balcon.rollback.unfinished_run": ("checked",),
}


def needs_the_key(module: str, options: dict[str, Any]) -> bool:
    """Tell whether a task may read or write a backup; who closes a database needs one only for a rollback in place."""
    if module == "balcon.rollback.db_access" and "method" not in options:
        return False
    return options.get("state") not in READS_NO_BACKUP.get(module, ())


def test_every_use_has_the_key() -> None:
    modules = signing_modules()
    assert {"balcon.rollback.db_restore", "balcon.rollback.rehearsal_evidence", "balcon.rollback.retention"} < modules
    files = [
        *PROJECT.glob("roles/*/tasks/*.yml"),
        *PROJECT.glob("roles/*/handlers/*.yml"),
        *PROJECT.glob("playbooks/*"),
    ]
    uses = [
        (path.name, task["name"], task[module].get("signing_key"))
        for path in files
        for task in tasks(yaml.safe_load(path.read_text()))
        for module in modules & set(task)
        if needs_the_key(module, task[module])
    ]
    assert len(uses) > len(modules)
    assert [use for use in uses if use[2] != KEY] == []
