# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process that is started here can outlive the job that starts it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

JOBS = ("ansible-playbook", "ansible-runner", "ansible-navigator")
"""Programs that are the job: when one of them is the first process of a container, everything there ends with it."""

ENDS_ALL = ("control-group", "mixed")
"""Values of systemd's KillMode with which nothing of a unit is left."""


def ends_with_job(proc: Path = Path("/proc")) -> str:
    """Say why a keeper would end with the job; empty where nothing of that kind is seen.

    Two things are looked at: the first process of our container (an execution environment runs the job as such), and
    the systemd unit that we are in, where it is one that ends when its command does.

    Args:
        proc: the folder of processes.
    """
    return _first_process(proc) or _unit(proc)


def _first_process(proc: Path) -> str:
    words = _read(proc / "1" / "cmdline").split("\0")
    job = next((name for name in (Path(word).name for word in words) if name in JOBS), "")
    return f"the first process of this container is the job itself ({job}), and all in it ends with it" if job else ""


def _unit(proc: Path) -> str:
    unit = next((line.rpartition("/")[2] for line in _read(proc / "self" / "cgroup").splitlines()), "")
    systemctl = shutil.which("systemctl")
    if not unit.endswith(".service") or systemctl is None:
        return ""
    try:
        shown = subprocess.run(
            [systemctl, "show", "--property=Type,KillMode", "--", unit],
            capture_output=True, text=True, timeout=5, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    settings = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if settings.get("Type") == "oneshot" and settings.get("KillMode") in ENDS_ALL:
        return f"systemd ends everything that {unit} has started when its command ends (Type=oneshot, KillMode)"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
