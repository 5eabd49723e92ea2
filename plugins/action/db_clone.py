# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies a database file by file, and prints how far it is."""

from __future__ import annotations

from ansible_collections.balcon.rollback.plugins.plugin_utils._progress import ProgressAction


class ActionModule(ProgressAction):
    """Runs the module of the same name."""
