# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks as a whole have to have."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((PROJECT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_python_reads_a_module_from_its_pipe_in_blocks(path: Path) -> None:
    """With PYTHONUNBUFFERED, which images of containers set, it reads it byte by byte: 0.4 s for each task."""
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        if "module_defaults" in play:  # one that works on databases
            assert play.get("environment", {}).get("PYTHONUNBUFFERED") == "", play["name"]
