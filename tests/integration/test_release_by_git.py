# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""app_release with a release that is a git checkout, a real one."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from npm_project import RunOfTest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import new_run_id
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
SAY = ["cp", "version", "running"]


class Checkout:
    """A checkout with a release 1.1.0 and a newer one, and commands that start what is checked out."""

    def __init__(self, folder: Path, run: RunOfTest, run_module: Any) -> None:
        self.folder, self.run, self.run_module = folder, run, run_module
        folder.mkdir()
        self.git("init", "--quiet")
        self.commit("1.1.0")
        self.git("tag", "v1.1.0")
        self.newest = self.commit("1.2.0")

    def commit(self, version: str) -> str:
        (self.folder / "version").write_text(version)
        self.git("add", "version")
        self.git("-c", "user.name=test", "-c", "user.email=test@example.test", "commit", "--quiet", "-m", version)
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def switch(self, state: str, **changes: Any) -> dict[str, Any]:
        arguments = {
            "state": state,
            "database_url": self.run.database.url,
            "git": {"checkout": str(self.folder), "older": "v1.1.0"},
            "commands": {"stop": ["true"], "older": SAY, "newer": SAY},
            "chdir": str(self.folder),
            **self.run.arguments("reopen"),
            **changes,
        }
        result: dict[str, Any] = self.run_module("app_release", **arguments)
        return result

    def take_back(self) -> dict[str, str]:
        """Begin a restore whose journal says that it took the run back; return what modules are given of it."""
        restore = Run(self.run.run.state_dir, new_run_id(datetime.now(UTC), secrets.token_hex(2)))
        restore.create()
        restore.record("reopen", "restore production's own database", data={"undone_run": self.run.id})
        return {**self.run.arguments("reopen"), "run_id": restore.run_id}

    @property
    def running(self) -> str:
        return (self.folder / "running").read_text()


@pytest.fixture
def checkout(tmp_path: Path, database: Any, run_module: Any) -> Checkout:
    return Checkout(tmp_path / "backend", RunOfTest(tmp_path / "state", database), run_module)


def test_older_and_back_again(checkout: Checkout) -> None:
    hook = checkout.folder / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {checkout.folder}/hook-was-run\n")
    hook.chmod(0o755)
    checkout.run.enter("swapped")
    assert checkout.switch("older", check_mode=True)["changed"]
    assert checkout.git("rev-parse", "HEAD") == checkout.newest
    older = checkout.switch("older")
    assert checkout.git("rev-parse", "HEAD") == checkout.git("rev-parse", "v1.1.0")
    assert checkout.running == "1.1.0"
    assert len(older["commands"]) == 2
    checkout.run.enter("")
    checkout.switch("newer")  # nobody named it: the run remembers what was there
    assert checkout.git("rev-parse", "HEAD") == checkout.newest
    assert checkout.running == "1.2.0"
    assert not (checkout.folder / "hook-was-run").exists()


def test_changes_that_are_not_committed(checkout: Checkout) -> None:
    (checkout.folder / "version").write_text("edited by hand at 3 a.m.")
    checkout.run.enter("swapped")
    for state in ("checked", "older"):
        refused = checkout.switch(state)
        assert refused["error"]["kind"] == "refused"
        assert "not committed: version" in refused["msg"]
    assert (checkout.folder / "version").read_text() == "edited by hand at 3 a.m."
    assert not (checkout.folder / "running").exists()


@pytest.mark.parametrize("revision", ["v9.9.9", "--force", "HEAD:version"])
def test_no_such_revision(checkout: Checkout, revision: str) -> None:
    refused = checkout.switch("checked", git={"checkout": str(checkout.folder), "older": revision})
    assert refused["error"]["kind"] == "refused"
    assert "has no revision" in refused["msg"]
    assert checkout.git("rev-parse", "HEAD") == checkout.newest


def test_no_checkout(checkout: Checkout, tmp_path: Path) -> None:
    refused = checkout.switch("checked", git={"checkout": str(tmp_path), "older": "v1.1.0"})
    assert "not a git checkout" in refused["msg"]


def test_checked(checkout: Checkout) -> None:
    checked = checkout.switch("checked")
    assert not checked["changed"]
    assert checked["facts"] == {"older": checkout.git("rev-parse", "v1.1.0")}


def test_the_newer_release_is_known_although_the_older_was_never_checked_out(checkout: Checkout) -> None:
    assert "Nothing says which revision" in checkout.switch("newer")["msg"]
    checkout.switch("checked")
    checkout.switch("newer")
    assert checkout.git("rev-parse", "HEAD") == checkout.newest
    assert checkout.running == "1.2.0"


def test_a_restore_that_took_the_run_back_knows_the_newer_release(checkout: Checkout) -> None:
    checkout.run.enter("swapped")
    checkout.switch("older")
    checkout.run.enter("")
    checkout.switch("newer", **checkout.take_back())
    assert checkout.git("rev-parse", "HEAD") == checkout.newest
    assert checkout.running == "1.2.0"


@pytest.mark.parametrize("records", ["lost", "broken"])
def test_a_restore_without_the_records_of_the_run_that_it_took_back(checkout: Checkout, records: str) -> None:
    checkout.run.enter("swapped")
    checkout.switch("older")
    checkout.run.enter("")
    journal = checkout.run.run.journal
    if records == "lost":
        shutil.rmtree(journal.parent)
    else:
        journal.write_text(journal.read_text().replace("older", "newer"))
    refused = checkout.switch("newer", **checkout.take_back())
    assert refused["error"]["kind"] == "refused"
    assert "Nothing says which revision" in refused["msg"]
    assert checkout.running == "1.1.0"
