# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts compiled code beside the sources in the archives of modules that Ansible keeps while a playbook runs.

A Python that runs a module out of its archive compiles every source again, each time: half of what the start of a
module costs. Compiled code belongs to one version of Python; another one passes over it, and reads the source beside.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import marshal
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.executor import module_common

MAGIC = importlib.util.MAGIC_NUMBER.hex()
"""Of this Python's compiled code: another version has another one."""

ASK_MAGIC = "import importlib.util; print(importlib.util.MAGIC_NUMBER.hex())"

_NEVER_CHECKED = (1).to_bytes(4, "little")
"""Flags of PEP 552: the code goes by the hash of its source, which is not looked at again."""

_FOLDER = "ansiballz_cache"


class Compiler:
    """Compiles each source once, in however many archives it is."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], bytes] = {}

    def add_compiled(self, archive: bytes) -> bytes:
        """Return an archive with the compiled code of each source beside it.

        The code is marked as not to be checked against its source: both come out of the same archive.

        Args:
            archive: a ZIP archive of Python sources.
        """
        written = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(
            written, "w", compression=zipfile.ZIP_DEFLATED
        ) as target:
            names = set(given.namelist())
            for entry in given.infolist():
                content = given.read(entry)
                target.writestr(entry, content)
                if entry.filename.endswith(".py") and f"{entry.filename}c" not in names:
                    beside = zipfile.ZipInfo(f"{entry.filename}c", entry.date_time)
                    target.writestr(beside, self._compile(entry.filename, content), zipfile.ZIP_DEFLATED)
        return written.getvalue()

    def _compile(self, name: str, source: bytes) -> bytes:
        key = (name, importlib.util.source_hash(source))
        if key not in self._known:
            code = compile(source, name, "exec", dont_inherit=True, optimize=0)
            self._known[key] = importlib.util.MAGIC_NUMBER + _NEVER_CHECKED + key[1] + marshal.dumps(code)
        return self._known[key]


def compile_kept(local_tmp: str, module: str, compiler: Compiler) -> bool:
    """Add compiled code to the archive of a module that Ansible has just built and keeps for the next time.

    Args:
        local_tmp: Ansible's own temporary folder, DEFAULT_LOCAL_TMP.
        module: the module's full name.
        compiler: compiles.

    Returns:
        Whether such an archive was there.
    """
    found = False
    for path in _kept(Path(local_tmp) / _FOLDER, module):
        kept = _Kept.load(path)
        kept.save(compiler.add_compiled(kept.archive))
        found = True
    return found


def _kept(folder: Path, module: str) -> Iterator[Path]:
    namespace, collection, name = module.split(".", 2)
    prefix = f"ansible_collections.{namespace}.{collection}.plugins.modules.{name}-"
    return (path for path in sorted(folder.glob(f"{prefix}*")) if path.suffix != ".lock")


class _Kept:
    """An archive as Ansible keeps it: by itself until ansible-core 2.18, with what belongs to it since 2.19."""

    def __init__(self, path: Path, archive: bytes, around: Any) -> None:
        self.archive = archive
        self._path = path
        self._around = around

    @classmethod
    def load(cls, path: Path) -> _Kept:
        """Read one."""
        kind = getattr(module_common, "_CachedModule", None)
        if kind is None:
            return cls(path, base64.b64decode(path.read_bytes()), None)
        around: Any = kind.load(str(path))
        return cls(path, base64.b64decode(around.zip_data), around)

    def save(self, archive: bytes) -> None:
        """Put another archive into its place, in one step."""
        encoded = base64.b64encode(archive)
        if self._around is not None:
            replace(self._around, zip_data=encoded).dump(str(self._path))
            return
        half = self._path.with_name(f"{self._path.name}-part")
        half.write_bytes(encoded)
        half.replace(self._path)
