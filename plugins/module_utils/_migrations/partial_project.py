# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of a project in which only the first migrations are there, for projects that can only apply all of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._domain.errors import Refused
from . import Engine, make_engine

_LEFT_OUT = ("node_modules", ".git")


class PartialProject:
    """A private copy of a project's checkout; its packages are linked.

    Args:
        original: the engine of the project.
        name: the engine's name.
        options: its C(engine_options).
        folder: where the copy goes, inside a private folder.

    Raises:
        Refused: the migrations are not inside the project's folder.
    """

    def __init__(self, original: Engine, name: str, options: Mapping[str, Any], folder: Path) -> None:
        self._files = original.available()
        self._place = {each: folder / _inside(path, original.folder) for each, path in self._files.items()}
        ignored = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(original.folder, folder, dirs_exist_ok=True, ignore=ignored, ignore_dangling_symlinks=True)
        (folder / "node_modules").symlink_to((original.folder / "node_modules").resolve())
        self.engine = make_engine(name, {**options, "project_dir": str(folder)})
        self._manifest = self.engine.manifest
        self._entries = json.loads(self._manifest.read_text(encoding="utf-8")) if self._manifest else []

    def show(self, names: Iterable[str]) -> None:
        """Let exactly these migrations be there, and in the manifest."""
        shown = set(names)
        for name, place in self._place.items():
            if name not in shown:
                place.unlink(missing_ok=True)
            elif not place.exists():
                shutil.copyfile(self._files[name], place)
        if self._manifest:
            kept = shown | {self._files[name].name for name in shown}
            entries = [entry for entry in self._entries if entry["name"] in kept]
            self._manifest.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


@contextmanager
def partial_project(original: Engine, name: str, options: Mapping[str, Any]) -> Iterator[PartialProject]:
    """Copy a project, and remove the copy at the end."""
    folder = Path(tempfile.mkdtemp(prefix="balcon-rollback-project-"))
    try:
        # One level down: copying a tree gives the top of the copy the mode of the original.
        yield PartialProject(original, name, options, folder / "project")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inside(path: Path, folder: Path) -> Path:
    try:
        return path.resolve().relative_to(folder.resolve())
    except ValueError:
        raise Refused(
            f"The migrations are in {path.parent}, outside of the project's folder {folder}, and its command applies"
            " all of them at once.",
            untouched="Nothing was touched.",
            remedy="Set scripts.up_one of rollback_engine_options to a script that applies exactly the next one.",
        ) from None
