# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody else may have put into our folders is refused, by everything that reads there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import (
    describe_files,
    read_backup,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.run_state import (
    read_description,
    write_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.evidence import seal
from ansible_collections.balcon.rollback.plugins.module_utils._evidence_store import load_evidence, save_evidence
from ansible_collections.balcon.rollback.plugins.module_utils._maintenance.file import FileProvider
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import load_json, save_json
from ansible_collections.balcon.rollback.plugins.module_utils._run import (
    Run,
    append_event,
    check_private_folder,
    write_private_file,
)
from ansible_collections.balcon.rollback.plugins.module_utils._status import (
    Look,
    read_backups,
    read_evidence,
    read_runs,
)
from ansible_collections.balcon.rollback.plugins.module_utils._trusted import NotTrusted, open_trusted, read_trusted

RUN_ID = "20261123t080000abcd"
SOMEBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


class Store:
    """A state folder with one run, one piece of evidence, one backup and one file of a step."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        self.folder = folder
        self.run = Run(folder, RUN_ID)
        self.run.create()
        self.run.record("preflight", "the run begins", data={"kind": "rollback"})
        self.evidence = save_evidence(folder, seal({"evidence_id": RUN_ID, "created_at": "2026-11-23"}, None))
        self.step_file = self.run.folder / "candidate_before.json"
        save_json(self.step_file, {"tables": {}})
        self.database = folder / "app.sqlite"
        self.backup = folder / "backups" / "shop-20261123t080000abcd"
        (self.backup / "dump").mkdir(parents=True)
        self.backup.parent.chmod(0o700)
        self._write_backup()
        write_description(self.database, Description(RUN_ID, "original"))

    def _write_backup(self) -> None:
        self.dump_file = self.backup / "dump" / "1.dat"
        self.dump_file.write_text("rows")
        self.dump_file.chmod(0o600)
        content: dict[str, Any] = {"backup_id": self.backup.name, "files": describe_files(self.backup)}
        for name in ("database", "server_version", "dump_version", "locale", "properties", "fingerprint"):
            content[name] = {}
        self.manifest = self.backup / manifests.FILE_NAME
        write_private_file(self.manifest, manifests.render(manifests.seal(content)))

    def look(self) -> Look:
        return Look(self.folder, self.backup.parent, None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def link(path: Path) -> None:
    """The same content, but behind a link."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def let_group_write(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def let_all_write(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def give_away(path: Path) -> None:
    os.chown(path, SOMEBODY, -1)


DAMAGES = [
    pytest.param(link, "it is a link", id="link"),
    pytest.param(let_group_write, "others can write to it", id="group"),
    pytest.param(let_all_write, "others can write to it", id="others"),
    pytest.param(give_away, "belongs to somebody else (user 65534", id="owner", marks=needs_root),
]
READERS: dict[str, tuple[Callable[[Store], Path], Callable[[Store], object]]] = {
    "journal, read": (lambda s: s.run.journal, lambda s: s.run.events()),
    "journal, written": (lambda s: s.run.journal, lambda s: s.run.record("gate", "checked")),
    "evidence": (lambda s: s.evidence, lambda s: load_evidence(s.folder)),
    "file of a step": (lambda s: s.step_file, lambda s: load_json(s.step_file, "compare_to")),
    "manifest": (lambda s: s.manifest, lambda s: read_backup(s.backup)),
    "file of a dump": (lambda s: s.dump_file, lambda s: read_backup(s.backup)),
    "file beside a database": (
        lambda s: s.database.with_name("app.sqlite.rollback.json"),
        lambda s: read_description(s.database),
    ),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_somebody_else_is_refused(
    store: Store, reader: str, damage: Callable[[Path], None], said: str
) -> None:
    find, read = READERS[reader]
    read(store)
    damage(find(store))
    with pytest.raises(Refused) as refused:
        read(store)
    assert said in refused.value.message


def open_to_all(folder: Path) -> None:
    folder.chmod(0o755)


FOLDERS: dict[str, tuple[Callable[[Store], Path], Callable[[Store], object]]] = {
    "folder of runs": (lambda s: s.run.folder.parent, lambda s: s.run.events()),
    "run's folder": (lambda s: s.run.folder, lambda s: s.run.record("gate", "checked")),
    "folder of evidence": (lambda s: s.evidence.parent, lambda s: load_evidence(s.folder)),
    "folder of evidence, written": (lambda s: s.evidence.parent, lambda s: save_evidence(s.folder, {})),
}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(link, "it is a link", id="link"),
        pytest.param(open_to_all, "can be read by others", id="open"),
        pytest.param(give_away, "belongs to somebody else", id="owner", marks=needs_root),
    ],
)
@pytest.mark.parametrize("reader", FOLDERS)
def test_a_folder_of_somebody_else_is_refused(
    store: Store, reader: str, damage: Callable[[Path], None], said: str
) -> None:
    find, read = FOLDERS[reader]
    damage(find(store))
    with pytest.raises(Refused) as refused:
        read(store)
    assert said in refused.value.message


@pytest.mark.parametrize("part", ["", "dump"])
def test_a_backup_into_which_others_can_put_files_is_refused(store: Store, part: str) -> None:
    let_group_write(store.backup / part)
    with pytest.raises(manifests.BackupNotTrusted, match="others can write to it"):
        read_backup(store.backup)


def test_a_link_of_ours_may_stand_for_the_state_folder(store: Store, tmp_path: Path) -> None:
    """It leads to a larger disk, for example; what it leads to is looked at as ever."""
    linked = tmp_path.parent / f"{tmp_path.name}-link"
    linked.symlink_to(tmp_path)
    try:
        assert len(Run(linked, RUN_ID).events()) == 1
        store.folder.chmod(0o750)
        with pytest.raises(Refused, match="can be read by others"):
            Run(linked, RUN_ID).events()
    finally:
        linked.unlink()


def test_a_file_is_no_folder(store: Store) -> None:
    with pytest.raises(Refused, match="it is not a folder"):
        check_private_folder(store.step_file)


@needs_root
def test_a_link_of_somebody_else_may_not(store: Store, tmp_path: Path) -> None:
    linked = tmp_path.parent / f"{tmp_path.name}-link"
    linked.symlink_to(tmp_path)
    os.chown(linked, SOMEBODY, -1, follow_symlinks=False)
    try:
        with pytest.raises(NotTrusted, match="it is a link"):
            check_private_folder(linked)
    finally:
        linked.unlink()


def test_the_status_tells_what_it_does_not_trust(store: Store) -> None:
    """It changes nothing, so it goes on; what cannot be trusted is named, and counts as unknown."""
    for path in (store.run.journal, store.evidence, store.manifest):
        let_all_write(path)
    (run,), (evidence,), (backup,) = read_runs(store.look()), read_evidence(store.look()), read_backups(store.look())
    assert run["outcome"] == "unknown"
    assert not backup["trusted"]
    for entry in (run, evidence, backup):
        assert "others can write to it" in entry["problem"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    (tmp_path / ".run.json.partial").symlink_to(precious)
    (tmp_path / f".maintenance.{os.getpid()}").symlink_to(precious)
    write_private_file(tmp_path / "run.json", "{}")
    FileProvider({"path": tmp_path / "maintenance"}).turn_on()
    assert precious.read_text() == "keep"
    assert not (tmp_path / "run.json").is_symlink()
    assert not (tmp_path / "maintenance").is_symlink()
    assert (tmp_path / "run.json").stat().st_mode & 0o777 == 0o600


def test_what_others_may_have_written_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("{}")
    path.chmod(0o666)
    assert write_private_file(path, "{}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert not write_private_file(path, "{}")


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal.jsonl", 0o600)
    with pytest.raises(OSError, match="not a file"):
        read_trusted(tmp_path / "journal.jsonl")
    with pytest.raises(OSError, match="not a file"):
        open_trusted(tmp_path)


def test_append_follows_no_link(store: Store) -> None:
    copy = shutil.copy2(store.run.journal, store.folder / "copy.jsonl")
    before = Path(copy).read_bytes()
    store.run.journal.unlink()
    store.run.journal.symlink_to(copy)
    with pytest.raises(NotTrusted):
        append_event(store.run.journal, json.loads(before))
    assert Path(copy).read_bytes() == before
