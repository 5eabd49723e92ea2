# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What disks, copies and people do to a backup: one damage at a time, chosen by a seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MANIFEST = "manifest.json"

Apply = Callable[[Path], None]


class Damage(NamedTuple):
    """One damage.

    Attributes:
        kind: what it is called in the table.
        what: the file, the place.
        apply: does it to the folder of a backup.
    """

    kind: str
    what: str
    apply: Apply


class Damages:
    """Chooses damages for one backup.

    Args:
        backup: the folder of a sound one.
        seed: the same seed, the same damages.
        signed: its manifest is signed, and whoever reads it has the key: then a new digest is found too.
    """

    def __init__(self, backup: Path, seed: int, *, signed: bool) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._backup = backup
        self._files = sorted(path.relative_to(backup) for path in backup.rglob("*") if path.is_file())
        self._full = [path for path in self._files if (backup / path).stat().st_size]
        self._of_the_dump = [path for path in self._full if path.name != MANIFEST]
        self._edits = [self._edit, self._rewrite, *([self._forge, self._unsign] if signed else [])]

    def choose(self) -> Damage:
        """Return the next damage."""
        makers = {self._flip: 55, self._cut: 15, self._miss: 8, self._swap: 7, self._add: 5}
        edits: dict[Callable[[], Damage], int] = dict.fromkeys(self._edits, 10 // len(self._edits))
        weights = {**makers, **edits}
        if len(self._of_the_dump) < 2:
            del weights[self._swap]
        (maker,) = self._random.choices([*weights], [*weights.values()])
        return maker()

    def of_the_dump(self) -> Damage:
        """Return a damage of a file of the dump that leaves its name and its place."""
        return self._random.choice([self._flip, self._flip, self._flip, self._cut])(self._of_the_dump)

    def _flip(self, among: list[Path] | None = None) -> Damage:
        name, bit = self._random.choice(among or self._full), self._random.randrange(8)
        place = self._random.randrange((self._backup / name).stat().st_size)

        def apply(folder: Path) -> None:
            content = bytearray((folder / name).read_bytes())
            content[place] ^= 1 << bit
            (folder / name).write_bytes(content)

        return Damage("a flipped bit", f"bit {bit} of byte {place} of {name}", apply)

    def _cut(self, among: list[Path] | None = None) -> Damage:
        name = self._random.choice(among or self._full)
        length = self._random.randrange((self._backup / name).stat().st_size)

        def apply(folder: Path) -> None:
            with (folder / name).open("r+b") as file:
                file.truncate(length)

        return Damage("cut", f"{name} at {length} bytes", apply)

    def _miss(self) -> Damage:
        name = self._random.choice(self._files)
        return Damage("missing", str(name), lambda folder: (folder / name).unlink())

    def _swap(self) -> Damage:
        one, other = self._random.sample(self._of_the_dump, 2)
        while (self._backup / one).read_bytes() == (self._backup / other).read_bytes():
            one, other = self._random.sample(self._of_the_dump, 2)

        def apply(folder: Path) -> None:
            meanwhile = folder / "meanwhile"
            (folder / one).rename(meanwhile)
            (folder / other).rename(folder / one)
            meanwhile.rename(folder / other)

        return Damage("swapped", f"{one} and {other}", apply)

    def _add(self) -> Damage:
        name = self._random.choice(self._of_the_dump)
        added = name.with_name(self._random.choice(["9999.dat", "toc.dat.1", ".hidden", "blobs.toc.orig"]))
        makers: list[Apply] = [
            _write(added, b""),
            _write(added, (self._backup / name).read_bytes()),
            lambda folder: (folder / added).symlink_to(name.name),
        ]
        return Damage("added", str(added), self._random.choice(makers))

    # -- the manifest -----------------------------------------------------------------------------------------------

    def _edit(self) -> Damage:
        return self._changed("an edited manifest", lambda content: content)

    def _forge(self) -> Damage:
        return self._changed("a forged manifest", _with_new_digest)

    def _changed(self, kind: str, finish: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
        content = json.loads((self._backup / MANIFEST).read_text())
        places = [place for place in _leaves(content) if place[0] not in ("digest", "signature")]
        *way, last = self._random.choice(places)
        inside = content
        for key in way:
            inside = inside[key]
        inside[last] = _other(inside[last])
        text = _render(finish(content))
        place = ".".join(map(str, [*way, last]))
        return Damage(kind, place, _write(Path(MANIFEST), text.encode()))

    def _rewrite(self) -> Damage:
        """The same content in other bytes: somebody had the file in hands."""
        text = (self._backup / MANIFEST).read_text()
        content = json.loads(text)
        how, new = self._random.choice(
            [
                ("other spaces", json.dumps(content, indent=2, sort_keys=True)),
                ("an empty line", text + "\n"),
                ("a key twice", text.replace("{\n", '{\n "backup_id": "another",\n', 1)),
            ]
        )
        return Damage("a rewritten manifest", how, _write(Path(MANIFEST), new.encode()))

    def _unsign(self) -> Damage:
        content = json.loads((self._backup / MANIFEST).read_text())
        text = _render({**content, "signature": None})
        return Damage("a forged manifest", "without its signature", _write(Path(MANIFEST), text.encode()))


def _write(name: Path, content: bytes) -> Apply:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def _leaves(content: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(content, dict):
        return [leaf for key, value in content.items() for leaf in _leaves(value, (*way, key))]
    if isinstance(content, list):
        return [leaf for key, value in enumerate(content) for leaf in _leaves(value, (*way, key))]
    return [way]


def _other(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value}x"


def _with_new_digest(content: dict[str, Any]) -> dict[str, Any]:
    sealed = {key: value for key, value in content.items() if key not in ("digest", "signature")}
    text = json.dumps(sealed, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return {**content, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _render(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
