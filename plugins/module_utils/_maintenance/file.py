# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maintenance mode as a file that the application or the web server looks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._domain.errors import Failed
from .interface import Provider


class FileProvider(Provider):
    """The file is there: maintenance is on.

    Args:
        options: C(path), and C(content) (default: one line).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._path = Path(options["path"])
        self._content = options.get("content") or "maintenance\n"

    def turn_on(self) -> None:
        """Write the file beside its place and move it there, so that nobody reads half of it."""
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.unlink(missing_ok=True)  # the folder may be everybody's: what stands there is never written through
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
                file.write(self._content)
            draft.replace(self._path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._failed("written", error) from None

    def turn_off(self) -> None:
        """Remove the file."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("removed", error) from None

    def is_on(self) -> bool:
        """Tell whether the file is there."""
        return self._path.exists()

    def _failed(self, verb: str, error: OSError) -> Failed:
        return Failed(
            f"The maintenance file {self._path} cannot be {verb}: {error.strerror}.",
            remedy="Check the folder and the rights of the account that runs the tools.",
        )
