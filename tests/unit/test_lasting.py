# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a keeper would end with the job that starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._lasting import ends_with_job


def proc(folder: Path, first: str, cgroup: str = "0::/\n") -> Path:
    for name, text in (("1/cmdline", first), ("self/cgroup", cgroup)):
        path = folder / "proc" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return folder / "proc"


@pytest.mark.parametrize(
    ("first", "ends"),
    [
        ("/sbin/init\0splash\0", False),
        ("/usr/lib/systemd/systemd\0--switched-root\0", False),
        ("sleep\0infinity\0", False),
        ("/usr/sbin/sshd\0-D\0", False),
        ("/opt/builder/bin/entrypoint\0dumb-init\0ansible-runner\0worker\0--private-data-dir=/runner\0", True),
        ("dumb-init\0--\0/usr/local/bin/ansible-playbook\0rollback.yml\0", True),
        ("sh\0-c\0cat ansible-playbook.log\0", False),
    ],
)
def test_the_first_process_is_the_job(tmp_path: Path, first: str, ends: bool) -> None:
    reason = ends_with_job(proc(tmp_path, first))
    assert bool(reason) == ends
    assert not ends or "the job itself (ansible-" in reason


@pytest.mark.parametrize(
    ("shown", "ends"),
    [
        ("Type=oneshot\nKillMode=control-group\n", True),
        ("Type=oneshot\nKillMode=mixed\n", True),
        ("Type=oneshot\nKillMode=process\n", False),
        ("Type=notify\nKillMode=control-group\n", False),
        ("", False),
    ],
)
def test_a_unit_that_ends_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, ends: bool
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\n" + ("exit 1\n" if not shown else f"cat <<'END'\n{shown}END\n"))
    systemctl.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    folder = proc(tmp_path, "/sbin/init\0", "0::/system.slice/nightly-drill.service\n")
    assert ("nightly-drill.service" in ends_with_job(folder)) == ends


def test_a_session_of_a_person_and_what_cannot_be_read(tmp_path: Path) -> None:
    assert ends_with_job(proc(tmp_path, "/sbin/init\0", "0::/user.slice/user-0.slice/session-1.scope\n")) == ""
    assert ends_with_job(tmp_path / "nowhere") == ""
