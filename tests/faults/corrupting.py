# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verified backups, damaged one way at a time, and what became of each. See ``corruption.py``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from embedded_postgresql import VERSIONS, Cluster

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql import backup_restore
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import Wanted as WantedBackup
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import (
    find_backup,
    make_backup,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.client_tools import (
    ClientTools,
    choose_compression,
    find_client_tools,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused

from .damages import Damage, Damages

PROJECT = Path(__file__).resolve().parents[2]

SHOP = PROJECT / "tests" / "integration" / "shop.sql"
COMPRESSIONS = ("gzip", "none", "lz4", "zstd")
KEY = "a signing key"
RUN = "20260101t0000000000"
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql-client"]

REFUSED, FOUND, SAME, SILENT = ENDS = ("refused", "found", "harmless", "SILENT")


class Result(NamedTuple):
    """What became of one damage: refused, found (by the restore or by the fingerprint), harmless, or silent."""

    damage: Damage
    end: str
    by: str


class Shop:
    """A server with a database that has one of everything, and its verified backup in one compression.

    Args:
        folder: an empty folder.
        cluster: a running server, which logs what is created.
        tools: client tools.
        compression: that they have.
    """

    def __init__(self, folder: Path, cluster: Cluster, tools: ClientTools, compression: str) -> None:
        self._folder, self._cluster, self._tools = folder, cluster, tools
        self.compression = compression
        self.server = Server(cluster.superuser_url("shop"))
        (folder / "backups").mkdir(mode=0o700)
        self.backups: dict[str | None, Path] = {}

    def back_up(self) -> None:
        """Make two backups, one of them signed, and learn what a sound one restores to."""
        for number, key in enumerate((None, KEY)):
            wanted = WantedBackup(
                self._folder / "backups", f"{RUN[:-1]}{number}", verify="restore", compression=self.compression,
                checkpoint=False, signing_key=key, client_path=[self._tools.folder],
            )  # fmt: skip
            self.backups[key] = make_backup(self.server, wanted).path
        self.sound = ""
        result = self.restore(Damage("none", "", lambda _folder: None), None)
        if result.end != SAME or not self.sound:
            raise RuntimeError(f"A sound backup is not restored: {result}")

    @property
    def size(self) -> tuple[int, int]:
        """Files of a backup, and their bytes."""
        files = [path for path in self.backups[None].rglob("*") if path.is_file()]
        return len(files), sum(path.stat().st_size for path in files)

    def restore(self, damage: Damage, key: str | None, *, after_the_check: bool = False) -> Result:
        """Damage a copy of a backup, before or after its files are checked, and restore it as db_restore does."""
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.backups[key], copy)
        wanted = backup_restore.Wanted(RUN, signing_key=key, client_path=[self._tools.folder], deadline=60)
        if not after_the_check:
            damage.apply(copy)
        try:
            plan = backup_restore.plan_restore(self.server, find_backup(str(copy), None), wanted)
            if after_the_check:
                damage.apply(copy)
            backup_restore.restore_backup(self.server, plan, wanted)
        except Refused as error:
            return Result(damage, REFUSED, error.message)
        except Failed as error:
            by = "the fingerprint" if "not what was dumped" in error.message else "pg_restore"
            return Result(damage, FOUND, by)
        return self._judged(damage, plan.name)

    def _judged(self, damage: Damage, name: str) -> Result:
        """What was restored, beside what should have been: by a tool that is not ours. Then it is dropped."""
        dump = [self._tools.path("pg_dump"), "--no-password", f"--dbname={name}"]
        text = subprocess.run(dump, env=self.server.environment(name), capture_output=True, check=True).stdout
        lines = [line for line in text.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]
        digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
        with self.server.admin() as connection, connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        self.sound = self.sound or digest
        return Result(damage, SAME if digest == self.sound else SILENT, "")

    def made(self) -> int:
        """How many databases were ever created on the server."""
        return self._cluster.log_file.read_text(errors="replace").count("statement: CREATE DATABASE")

    def left(self) -> list[str]:
        """The databases that a restore left."""
        with self.server.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, 'shop') AND datname <> 'shop'")
            return [name for (name,) in cursor.fetchall()]


class Row(NamedTuple):
    """What became of the damages in one compression."""

    compression: str
    tools: int
    files: int
    bytes: int
    results: list[Result]
    databases_made: int
    after_the_check: list[Result]
    left: list[str]
    seconds: float

    def count(self, end: str, by: str = "", *, after_the_check: bool = False) -> int:
        """How many ended so."""
        results = self.after_the_check if after_the_check else self.results
        return sum(result.end == end and result.by.startswith(by) for result in results)

    def wrong(self, *, checksums: bool = True) -> list[Result]:
        """The damages that came through: with the checksums all must be refused, without them none may be silent."""
        allowed = (REFUSED,) if checksums else (REFUSED, FOUND, SAME)
        after = [result for result in self.after_the_check if result.end not in (FOUND, SAME)]
        return [result for result in self.results if result.end not in allowed] + after

    @property
    def passed(self) -> bool:
        """Every damage was refused before anything was made, and nothing was left."""
        return not self.wrong() and not self.databases_made and not self.left


def measure(shop: Shop, tools: int, damages: int, after_the_check: int, seed: int) -> Row:
    """Damage and restore, half of the damages with the signed backup."""
    start = time.monotonic()
    chosen = {key: Damages(path, seed + bool(key), signed=bool(key)) for key, path in shop.backups.items()}
    keys = [*shop.backups]
    made = shop.made()
    results = [shop.restore(chosen[key].choose(), key) for key in alternately(keys, damages)]
    made = shop.made() - made
    after = [
        shop.restore(chosen[key].of_the_dump(), key, after_the_check=True) for key in alternately(keys, after_the_check)
    ]
    return Row(
        shop.compression, tools, *shop.size, results, made, after, shop.left(), round(time.monotonic() - start, 1)
    )


def alternately(keys: list[str | None], number: int) -> Iterator[str | None]:
    """Return so many keys, one of each in turn."""
    return (keys[place % len(keys)] for place in range(number))


# -- servers and tools ----------------------------------------------------------------------------------------------


def choices() -> Iterator[tuple[str, int, ClientTools]]:
    """The compressions that there are tools for, each with the newest embedded server that these tools can dump."""
    if os.geteuid() == 0 and shutil.which("apt-get") and not [*Path("/usr/lib/postgresql").glob("*/bin/pg_dump")]:
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    for compression in COMPRESSIONS:
        found = next(_tools_with(compression), None)
        if found:
            yield compression, *found


def _tools_with(compression: str) -> Iterator[tuple[int, ClientTools]]:
    for version in sorted(VERSIONS, reverse=True):
        embedded = str(Cluster(Path("unused"), version, "unused").bin_dir)
        installed = [str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
        for folder in [embedded, *installed]:
            try:
                tools = find_client_tools(version * 10000, [folder])
                choose_compression(tools, compression)
            except Refused:
                continue
            yield version, tools


@contextmanager
def servers(folder: Path) -> Iterator[Callable[[int], Cluster]]:
    """Servers with the shop's database, started when they are asked for, stopped at the end."""
    running: dict[int, Cluster] = {}

    def server(version: int) -> Cluster:
        if version not in running:
            running[version] = cluster = Cluster(folder / f"server-{version}", version, f"corruption-{version}")
            cluster.create()
            cluster.start(settings={"fsync": False, "synchronous_commit": False, "log_statement": "ddl"})
            _fill(cluster)
        return running[version]

    try:
        yield server
    finally:
        for cluster in running.values():
            cluster.destroy()


def _fill(cluster: Cluster) -> None:
    for database, statement in (("postgres", "CREATE DATABASE shop"), ("shop", SHOP.read_text())):
        with Server(cluster.superuser_url(database)).connect(autocommit=True) as connection:
            connection.cursor().execute(statement)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that another account can pass through, as root's servers must; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="balcon-rollback-corruption-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rows(damages: int, after_the_check: int, seed: int) -> Iterator[Row]:
    """Measure each compression in turn; the damages are shared out among them."""
    with private_folder() as folder, servers(folder) as server:
        known = list(choices())
        for compression, version, tools in known:
            (folder / compression).mkdir(mode=0o700)
            shop = Shop(folder / compression, server(version), tools, compression)
            shop.back_up()
            yield measure(shop, tools.major, -(-damages // len(known)), after_the_check // len(known), seed)


# -- what is printed ------------------------------------------------------------------------------------------------


def take_out_the_checksums() -> None:
    """From here on the files of a backup are believed, as they are without a manifest."""

    def believe(manifest: manifests.Manifest, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Let any files pass."""

    manifests.check_files = believe


def print_table(found: list[Row]) -> None:
    """Print a row for each compression, and one for each kind of damage."""
    print(
        f"\n{'compression':<12}{'tools':>6}{'files':>7}{'bytes':>9}{'damages':>9}{'refused':>9}{'databases':>11}"
        f"{'found by':>11}{'found by':>13}{'harm-':>7}{'SILENT':>8}{'seconds':>9}"
        f"\n{'':<43}{'before':>9}{'made':>11}{'pg_restore':>11}{'fingerprint':>13}{'less':>7}"
    )
    for row in found:
        _print_line(row.compression, row, after_the_check=False)
        _print_line("  after check", row, after_the_check=True)
    kinds = Counter(result.damage.kind for row in found for result in row.results)
    refused = Counter(result.damage.kind for row in found for result in row.results if result.end == REFUSED)
    print(f"\n{'kind of damage':<24}{'damages':>9}{'refused':>9}")
    for kind, number in kinds.most_common():
        print(f"{kind:<24}{number:>9}{refused[kind]:>9}")


def _print_line(name: str, row: Row, *, after_the_check: bool) -> None:
    results = row.after_the_check if after_the_check else row.results
    counted = [
        row.count(end, by, after_the_check=after_the_check)
        for end, by in ((FOUND, "pg_restore"), (FOUND, "the fingerprint"), (SAME, ""), (SILENT, ""))
    ]
    made = "" if after_the_check else str(row.databases_made)
    print(
        f"{name:<12}{row.tools:>6}{row.files:>7}{row.bytes:>9}{len(results):>9}"
        f"{row.count(REFUSED, after_the_check=after_the_check):>9}{made:>11}"
        f"{counted[0]:>11}{counted[1]:>13}{counted[2]:>7}{counted[3]:>8}"
        f"{'' if after_the_check else f'{row.seconds:.1f}':>9}"
    )


def reported(found: list[Row], *, checksums: bool = True) -> bool:
    """Print everything, and return whether no damage came through that should not have."""
    print_table(found)
    missing = [name for name in COMPRESSIONS if name not in [row.compression for row in found]]
    if missing:
        print(f"\nNot tried, since no client tools on this host have it: {', '.join(missing)}")
    wrong = [(row.compression, result) for row in found for result in row.wrong(checksums=checksums)]
    for compression, result in wrong[:20]:
        print(f"\n{compression}: {result.damage.kind}: {result.damage.what}: {result.end} {result.by}")
    total, refused = sum(len(row.results) for row in found), sum(row.count(REFUSED) for row in found)
    if not checksums:
        return _reported_without(found, total, refused, silent=len(wrong))
    passed = all(row.passed for row in found)
    print(f"\n{refused} of {total} damages refused before anything was made: {'passed' if passed else 'FAILED'}")
    return passed


def _reported_without(found: list[Row], total: int, refused: int, *, silent: int) -> bool:
    stopped = sum(row.count(FOUND, "pg_restore") for row in found)
    fingerprint = sum(row.count(FOUND, "the fingerprint") for row in found)
    harmless = sum(row.count(SAME) for row in found)
    through = fingerprint + harmless + silent
    print(
        f"\nWithout the checksums {total - refused} of {total} damages came as far as the restore. pg_restore stopped"
        f" at {stopped} and let {through} through: {fingerprint} of these the fingerprint found, {harmless} changed"
        f" nothing, {silent} were silent."
    )
    return refused < total and not silent


def summary(found: list[Row]) -> dict[str, Any]:
    """Return what goes into the harness' JSON."""
    return {
        row.compression: {
            "tools": row.tools,
            "damages": len(row.results),
            **{end: row.count(end) for end in ENDS},
            "databases_made": row.databases_made,
            "after_the_check": {end: row.count(end, after_the_check=True) for end in (REFUSED, FOUND, SAME, SILENT)},
        }
        for row in found
    }
