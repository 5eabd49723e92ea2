# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where evidence is kept: one file a rehearsal, in the state folder of the production host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ._domain.errors import Refused
from ._run import check_private_folder, write_private_file
from ._trusted import read_trusted


def save_evidence(state_dir: Path, evidence: dict[str, Any]) -> Path:
    """Write evidence, mode 0600, and return its path."""
    check_private_folder(state_dir)
    folder = state_dir / "evidence"
    folder.mkdir(mode=0o700, exist_ok=True)
    check_private_folder(folder, may_be_link=False)
    path = folder / f"{evidence['evidence_id']}.json"
    write_private_file(path, json.dumps(evidence, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
    return path


def load_evidence(state_dir: Path) -> list[dict[str, Any]]:
    """Read all evidence of a state folder.

    Raises:
        Refused: a file is not JSON any more, somebody else may have written it, or the folder is open to others.
    """
    check_private_folder(state_dir)
    folder = state_dir / "evidence"
    if os.path.lexists(folder):
        check_private_folder(folder, may_be_link=False)
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> dict[str, Any]:
    try:
        evidence = json.loads(read_trusted(path))
    except (ValueError, RecursionError):
        evidence = None
    if not isinstance(evidence, dict):
        raise Refused(
            f"The evidence file {path} cannot be read: it was cut or edited.",
            untouched="Production was not touched.",
            remedy="Remove the file and rehearse again: ansible-playbook rollback.yml -e env=staging",
        )
    return evidence
