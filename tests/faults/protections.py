# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Protections that can be taken out, one at a time, in a copy of the collection; the product knows nothing of it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..playbook.scene import PROJECT

MODULE_UTILS = "plugins/module_utils"
POSTGRESQL = f"{MODULE_UTILS}/_database/postgresql"
DOMAIN = f"{MODULE_UTILS}/_domain"


@dataclass(frozen=True)
class Protection:
    """One protection.

    Attributes:
        file: where it stands, in the project.
        text: what is taken out; it stands there exactly once.
        replacement: what takes its place.
        cases: those that must turn red without it.
    """

    file: str
    text: str
    replacement: str
    cases: tuple[str, ...]


PROTECTIONS: dict[str, Protection] = {
    "keeper": Protection(
        f"{POSTGRESQL}/keeper.py",
        "        return not self._finish()\n",
        "        return True\n",
        ("controller-killed-in-migrate-down",),
    ),
    "supervisor": Protection(
        f"{POSTGRESQL}/keeper.py",
        "            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:\n",
        "            if True:\n",
        ("keeper-killed-then-controller",),
    ),
    "run-lock": Protection(
        f"{DOMAIN}/run_states.py",
        "    if description and state and description.run_id != run_id:\n",
        "    if False:\n",
        ("second-run-at-close",),
    ),
    "state-check": Protection(
        f"{DOMAIN}/run_states.py", "    if state not in allowed:\n", "    if False:\n", ("swap-out-of-turn",)
    ),
    "lease-check": Protection(
        f"{POSTGRESQL}/run_state.py",
        "    if description is None or not lease_has_run_out(cursor, description):\n",
        "    if True:\n",
        ("lease-over-keeper-dead",),
    ),
    "closing": Protection(
        f"{POSTGRESQL}/access.py", "        admit(cursor, server.database, False)\n", "", ("no-fault",)
    ),
    "process-group": Protection(
        f"{MODULE_UTILS}/_process.py",
        "        return _descendants(self._process.pid, self._siblings)\n",
        "        return set()\n",
        ("tool-leaves-a-child",),
    ),
    "counters": Protection(
        f"{POSTGRESQL}/restore.py",
        "            return _Proof(written_since(cursor, counters))\n",
        '            return _Proof("")\n',
        ("module-killed-in-reopen",),
    ),
    "state-table": Protection(
        f"{MODULE_UTILS}/_migrations/stepping.py",
        '        check_step(before, tool.state(), name, "down" if verb == "down" else "up")\n',
        "",
        ("down-half-finishes-well",),
    ),
    "verify-change": Protection(
        f"{POSTGRESQL}/verification.py",
        "    unexpected = [] if expected is None else compare_changes(expected, comparison.canonical_change)\n",
        "    unexpected = []\n",
        ("down-grants-elsewhere",),
    ),
    "verify-contents": Protection(
        f"{POSTGRESQL}/verification.py",
        "    problems = unexpected + comparison.differences\n",
        "    problems = unexpected\n",
        ("down-writes-elsewhere",),
    ),
    "blockers": Protection(
        f"{POSTGRESQL}/blockers.py",
        "    found = list(blockers)\n",
        "    found = []\n",
        ("prepared-transaction", "logical-slot"),
    ),
    "disk": Protection(f"{POSTGRESQL}/blockers.py", "    if disk.lacks:\n", "    if False:\n", ("disk-full",)),
    "private-folder": Protection(
        f"{MODULE_UTILS}/_run.py", "    if status.st_mode & 0o077:\n", "    if False:\n", ("state-open-to-others",)
    ),
    "evidence-seal": Protection(
        f"{DOMAIN}/evidence.py",
        '    if evidence.get("content_hash") != hashlib.sha256(text).hexdigest():\n',
        "    if False:\n",
        ("evidence-edited-no-key",),
    ),
    "evidence-signature": Protection(
        f"{DOMAIN}/evidence.py",
        '    if key and not evidence.get("signature"):\n',
        "    key = None\n    if False:\n",
        ("evidence-unsigned",),
    ),
    "journal-chain": Protection(
        f"{DOMAIN}/journal.py",
        'if not isinstance(event, dict) or event.get("hash") != event_hash(event):',
        "if not isinstance(event, dict):",
        ("journal-edited-at-close",),
    ),
}

CHECKSUMS = "checksums"
"""Of the backups' files. What it holds back is counted by ``corruption.py``, by the thousand."""


@contextlib.contextmanager
def without(name: str) -> Iterator[Path]:
    """Copy the project without its tests into a temporary folder, and take a protection out of the copy."""
    with tempfile.TemporaryDirectory(prefix="balcon-rollback-without-") as folder:
        copy = Path(folder) / "project"
        copy_product(copy)
        take_out(copy, PROTECTIONS[name])
        yield copy


def copy_product(target: Path) -> None:
    """Copy everything that is under version control or about to be, but tests, examples and scenarios."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, listed):
        source = PROJECT / name
        if name.split("/")[0] in ("tests", "examples", "molecule") or not (source.exists() or source.is_symlink()):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target / name, follow_symlinks=False)


def take_out(copy: Path, protection: Protection) -> None:
    """Take a protection out of a copy of the project.

    Raises:
        LookupError: it does not stand where it is said to stand.
    """
    path = copy / protection.file
    content = path.read_text()
    if content.count(protection.text) != 1:
        raise LookupError(f"{protection.file} holds this {content.count(protection.text)} times: {protection.text}")
    path.write_text(content.replace(protection.text, protection.replacement))
