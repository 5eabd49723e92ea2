# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that a backup is made in, on a real file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import (
    describe_files,
    partial_folder,
    read_manifest,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.manifest import FILE_NAME, BackupNotTrusted


def make(parent: Path, name: str) -> None:
    with partial_folder(parent, name) as folder:
        (folder / "toc.dat").write_text("new")
        folder.rename(parent / name)


def test_a_backup_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    make(tmp_path, "shop-1")
    with pytest.raises(Refused, match=r"There is a backup .*shop-1 already") as refusal:
        make(tmp_path, "shop-1")
    assert "not touched" in refusal.value.untouched
    assert (tmp_path / "shop-1" / "toc.dat").read_text() == "new"


def test_what_is_not_finished_is_gone_whatever_ended_it(tmp_path: Path) -> None:
    def be_stopped() -> None:
        with partial_folder(tmp_path, "shop-1") as folder:
            (folder / "toc.dat").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_stopped()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_another_one_writes_stays(tmp_path: Path) -> None:
    with partial_folder(tmp_path, "shop-1") as at_work:
        abandoned = at_work.with_name(at_work.name.replace("shop-1", "shop-0"))
        abandoned.mkdir()
        (abandoned / "toc.dat").write_text("half")
        make(tmp_path, "shop-2")
        assert at_work.is_dir()
        assert not abandoned.exists()
    assert [folder.name for folder in tmp_path.iterdir()] == ["shop-2"]


def test_a_link_in_a_backup_is_no_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert describe_files(tmp_path)["link"] == {"problem": "it is a link"}


def test_a_manifest_that_is_no_text_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'{"backup_id": "\xff"}')
    with pytest.raises(BackupNotTrusted, match="not text"):
        read_manifest(tmp_path)
