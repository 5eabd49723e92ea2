# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flips one bit in the middle of the largest file of a backup, as a bad disk would."""

from __future__ import annotations

import sys
from pathlib import Path

(folder,) = sys.argv[1:]
file = max((path for path in Path(folder, "dump").iterdir()), key=lambda path: path.stat().st_size)
content = bytearray(file.read_bytes())
content[len(content) // 2] ^= 1
file.write_bytes(content)
