# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows of a playbook's output, and what it types."""

from __future__ import annotations

import json
from pathlib import Path

import playbook
import pytest
from playbook import Excerpt, PlaybookRun, run_playbook, typed_command
from service import Service

OUTPUT = """
PLAY [Production | roll back] **************************************************

TASK [balcon.rollback.rollback : Look at the database] *************************
ok: [shop-production]

TASK [rollback : Look at each] *************************************************
ok: [shop-production] => (item=one)

TASK [rollback : Only on Mondays] **********************************************
skipping: [shop-production]

TASK [rollback : Include] ******************************************************
included: /somewhere/gate.yml for shop-production

TASK [rollback : Say what will happen] *****************************************
ok: [shop-production] =>
    msg:
    - one migration

RUNNING HANDLER [rollback : Restore] *******************************************
[ERROR]: Task failed: no
Origin: /somewhere/restore.yml:2:3

1 ---
2 - name: Restore
    ^ column 3
fatal: [shop-production]: FAILED! =>
    changed: false
    error:
        message: no
    msg: |-
        no
        no
    rc: 1

PLAY RECAP *********************************************************************
shop-production            : ok=1    changed=0
"""


def test_excerpt_shows_tasks_that_ran_and_what_they_said() -> None:
    shown: list[str] = []
    excerpt = Excerpt(shown.append)
    for line in OUTPUT.splitlines():
        excerpt.feed(line + " \n")

    assert shown == [
        "- Look at the database",
        "- Look at each",
        "- Say what will happen",
        "        msg:",
        "        - one migration",
        "- Restore",
        "    fatal: [shop-production]: FAILED! =>",
        "        msg: |-",
        "            no",
        "            no",
    ]


def test_excerpt_wraps_long_lines_and_cuts_endless_ones() -> None:
    shown: list[str] = []
    excerpt = Excerpt(shown.append)
    excerpt.feed("    msg: " + "word " * 40)
    wrapped = list(shown)
    excerpt.feed("word " * 5000)

    assert len(wrapped) == 2
    assert all(line.startswith("        ") and len(line) <= 120 for line in wrapped)
    assert len(shown) == 10
    assert shown[-1].endswith(" …")


def test_a_value_with_spaces_is_quoted_for_ansible() -> None:
    assert typed_command({"env": "production", "reason": "two words"}) == [
        "ansible-playbook", "rollback.yml", "-e", "env=production", "-e", 'reason="two words"',
    ]  # fmt: skip


@pytest.fixture
def ansible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for ansible-playbook: a shell script, written by the test."""
    script = tmp_path / "ansible-playbook"
    monkeypatch.setattr(playbook, "_command", lambda _variables: ["/bin/sh", str(script)])
    return script


def test_the_outcome_is_read_from_the_new_runs_record_and_not_from_output(ansible: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "runs" / "old", tmp_path / "runs" / "new"
    old.mkdir(parents=True)
    (old / "run.json").write_text(json.dumps({"outcome": "rehearsed"}))
    ansible.write_text(f'echo rolled_back; mkdir {new}; echo \'{{"outcome": "refused"}}\' >{new}/run.json; exit 2')
    run = run_playbook({"env": "production"}, tmp_path, tmp_path / "log", Service(tmp_path / "pid.json"))

    assert (run.outcome, run.exit_code, run.folder, run.report) == ("refused", 2, new, None)
    assert (tmp_path / "log").read_text() == "rolled_back\n"


def test_a_call_without_a_run_has_no_outcome(ansible: Path, tmp_path: Path) -> None:
    ansible.write_text("echo all is well")
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "old" / "run.json").write_text(json.dumps({"outcome": "rehearsed"}))

    assert run_playbook({"env": "staging"}, tmp_path, tmp_path / "log", Service(tmp_path / "pid.json")) == PlaybookRun(
        0, {}, None
    )


def test_the_process_can_be_found_while_it_runs(ansible: Path, tmp_path: Path) -> None:
    ansible.write_text(f"echo $$; while [ ! -e {tmp_path}/pid.json ]; do :; done; cat {tmp_path}/pid.json")
    run_playbook({"env": "staging"}, tmp_path, tmp_path / "log", Service(tmp_path / "pid.json"))
    pid, noted = (tmp_path / "log").read_text().splitlines()

    assert json.loads(noted)["pid"] == int(pid)
    assert not (tmp_path / "pid.json").exists()


def test_the_playbook_gets_nothing_that_would_make_it_act_otherwise(
    ansible: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_INVENTORY", "/elsewhere")
    monkeypatch.setenv("PGHOST", "elsewhere")
    ansible.write_text("env")
    run_playbook({"env": "staging"}, tmp_path, tmp_path / "log", Service(tmp_path / "pid.json"))
    seen = (tmp_path / "log").read_text()

    assert "elsewhere" not in seen
    assert "ANSIBLE_CONFIG=" in seen
