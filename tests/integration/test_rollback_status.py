# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rollback_status tells: of a server, of a state folder, and of both when they are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from window import RUN_ID, Window

from ansible_collections.balcon.rollback.plugins.module_utils._domain.evidence import seal
from ansible_collections.balcon.rollback.plugins.module_utils._evidence_store import save_evidence
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, utc_now
from ansible_collections.balcon.rollback.plugins.module_utils._run_records import begin, end

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

REQUEST = {"kind": "rollback", "environment": "production", "database": "shop", "reason": "invoices"}


class Status:
    """Looks at a database and a state folder."""

    def __init__(self, run_module: ModuleRunner, database: Database, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._run_module = run_module
        self._database = database

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        result = self._run_module(
            "rollback_status", **{"database_url": self._database.url, "state_dir": str(self.state_dir), **arguments}
        )
        assert result["failed"] is False, result
        assert result["changed"] is False
        return result

    def back_up(self, **arguments: Any) -> Path:
        made = self._run_module(
            "db_backup",
            database_url=self._database.url,
            backup_dir=str(self.state_dir / "backups"),
            client_path=[str(self._database.server.bin_dir)],
            **arguments,
        )
        assert made["failed"] is False, made
        return Path(made["path"])


@pytest.fixture
def status(run_module: ModuleRunner, database: Database, tmp_path: Path) -> Status:
    tmp_path.chmod(0o700)
    database.execute("CREATE TABLE items (n int PRIMARY KEY)")
    database.execute("INSERT INTO items SELECT generate_series(1, 7)")
    return Status(run_module, database, tmp_path)


def text(result: dict[str, Any]) -> str:
    return "\n".join(result["lines"])


def test_nothing_is_there_yet(status: Status, database: Database) -> None:
    result = status()
    assert result["database"]["name"] == database.name
    assert (result["database"]["reachable"], result["database"]["open"]) == (True, True)
    assert result["database"]["size_bytes"] > 0
    assert [result[name] for name in ("databases", "backups", "runs", "evidence", "problems")] == [[]] * 5
    assert (result["open_run"], result["good_backup"]) == (None, None)
    assert "Run under way: none" in text(result)
    assert list(status.state_dir.iterdir()) == []


def test_an_open_run_and_what_it_left(status: Status, database: Database, run_module: ModuleRunner) -> None:
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'ours'""")
    window = Window(database.url, status.state_dir, run_module).pass_gate()
    window.advance_to("swapped")
    result = status()
    assert result["open_run"]["run_id"] == RUN_ID
    assert (result["open_run"]["state"], result["open_run"]["lease_expired"]) == ("swapped", False)
    (before,) = result["databases"]
    assert (before["name"], before["purpose"], before["run_id"]) == (window.name("before"), "before", RUN_ID)
    assert (before["open"], before["half_made"], before["ours"], before["sessions"]) == (False, False, True, 0)
    assert before["made_at"] == "2026-11-23T08:15:00+00:00"
    assert before["keep_until"] > utc_now()
    assert before["drop_command"] == "", "an open run needs it"
    window.module("db_access", state="open")
    ended = status()
    assert ended["open_run"] is None
    assert ended["databases"][0]["drop_command"] == f'DROP DATABASE "{window.name("before")}";'
    database.execute(ended["databases"][0]["drop_command"], url=database.admin_url)
    assert status()["databases"] == []


def test_a_run_whose_lease_ran_out(status: Status, database: Database, run_module: ModuleRunner) -> None:
    window = Window(database.url, status.state_dir, run_module).pass_gate()
    window.advance_to("closed", lease_seconds=0)
    result = status()
    assert result["database"]["open"] is False
    assert result["open_run"]["lease_expired"] is True
    assert f"playbooks/restore.yml -e env=… -e run={RUN_ID}" in text(result)


def test_a_database_that_only_looks_like_ours(status: Status, database: Database) -> None:
    name = f"{database.name}__before_{RUN_ID}"
    database.execute(f'CREATE DATABASE "{name}"', url=database.admin_url)
    (entry,) = status()["databases"]
    assert (entry["ours"], entry["half_made"], entry["drop_command"]) == (False, False, "")


def test_backups_newest_first(status: Status, database: Database) -> None:
    first = status.back_up()
    second = status.back_up(verify="none", signing_key="a-long-signing-key")
    result = status()
    times = [entry["created_at"] for entry in result["backups"]]
    assert times == sorted(times, reverse=True)
    by_path = {entry["path"]: entry for entry in result["backups"]}
    good = by_path[str(first)]
    assert (good["trusted"], good["problem"], good["verified"], good["signed"]) == (True, "", "read", False)
    assert (good["database"], good["rows_total"], good["tables"]) == (database.name, 7, 1)
    assert good["bytes"] == sum(path.stat().st_size for path in (first / "dump").iterdir())
    assert by_path[str(second)]["verified"] is None
    assert by_path[str(second)]["signed"] is True
    assert result["good_backup"] == first.name
    signed = status(signing_key="a-long-signing-key")
    assert [entry["trusted"] for entry in signed["backups"]].count(True) == 1
    assert signed["good_backup"] is None


def damage_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"rows_total": 7', '"rows_total": 8'))


def damage_by_removing(folder: Path) -> None:
    next(path for path in (folder / "dump").iterdir() if path.suffix != ".dat").unlink(missing_ok=True)


def damage_by_cutting(folder: Path) -> None:
    path = folder / "dump" / "toc.dat"
    path.write_bytes(path.read_bytes()[:-1])


def damage_by_a_folder(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def damage_by_bytes(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_manifest, "manifest was edited or damaged"),
        (damage_by_removing, "is missing"),
        (damage_by_cutting, "bytes instead of"),
        (damage_by_a_folder, "cannot be read"),
        (damage_by_bytes, "not text"),
    ],
)
def test_a_damaged_backup_is_named(status: Status, damage: Any, said: str) -> None:
    good, bad = status.back_up(), status.back_up()
    damage(bad)
    result = status()
    entries = {entry["path"]: entry for entry in result["backups"]}
    assert entries[str(bad)]["trusted"] is False
    assert said in entries[str(bad)]["problem"]
    assert entries[str(good)]["trusted"] is True
    assert result["good_backup"] == good.name
    assert "NOT TO BE TRUSTED" in text(result)


def test_every_byte_is_read_when_asked(status: Status) -> None:
    path = status.back_up() / "dump" / "toc.dat"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert status()["good_backup"] is not None
    looked = status(check_files=True)
    assert looked["good_backup"] is None
    assert "its SHA-256 differs" in looked["backups"][0]["problem"]


def test_runs_of_every_kind(status: Status) -> None:
    ended, killed, broken, empty = (
        begin(status.state_dir, REQUEST, job_controller=False, check_mode=False) for _again in range(4)
    )
    run = Run(status.state_dir, ended)
    run.record("gate", "ask", outcome="refused", data={"plan": ["1.ts"]})
    end(run, None)
    journal = Run(status.state_dir, broken).journal
    journal.write_text(journal.read_text().replace("invoices", "nothing"))
    Run(status.state_dir, empty).journal.write_text("")
    (status.state_dir / "runs" / "notes").mkdir()
    result = status()
    runs = {entry["run_id"]: entry for entry in result["runs"]}
    assert (runs[ended]["outcome"], runs[ended]["kind"], runs[ended]["plan"]) == ("refused", "rollback", ["1.ts"])
    assert runs[ended]["report"].endswith("report.md")
    assert (runs[killed]["outcome"], runs[killed]["finished_at"]) == ("unfinished", None)
    assert (runs[broken]["outcome"], runs[empty]["outcome"]) == ("unknown", "unfinished")
    assert "broken at line 1" in runs[broken]["problem"]
    assert len(result["problems"]) == 4
    assert any("notes is no run's folder" in problem for problem in result["problems"])


def test_evidence_and_until_when_it_counts(status: Status) -> None:
    content = {"evidence_id": RUN_ID, "created_at": "2026-11-23T08:15:00+00:00", "plan": ["1.ts"]}
    save_evidence(status.state_dir, seal(content, None))
    (status.state_dir / "evidence" / "cut.json").write_text("{")
    (status.state_dir / "evidence" / "list.json").write_text("[]")
    (status.state_dir / "evidence" / "gone.json").symlink_to("nowhere")
    entries = {entry["evidence_id"]: entry for entry in status(evidence_max_age=48)["evidence"]}
    good = entries[RUN_ID]
    assert (good["plan"], good["signed"], good["problem"]) == (["1.ts"], False, "")
    assert good["valid_until"] == "2026-11-25T08:15:00+00:00"
    assert all("cut or edited" in entries[name]["problem"] for name in ("cut", "list"))
    assert "it is a link" in entries["gone"]["problem"]
    path = status.state_dir / "evidence" / f"{RUN_ID}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "plan": ["2.ts"]}))
    assert "edited after it was written" in {e["evidence_id"]: e for e in status()["evidence"]}[RUN_ID]["problem"]


def test_a_server_that_does_not_answer(status: Status, run_module: ModuleRunner) -> None:
    status.back_up()
    result = status(database_url="postgresql://someone@127.0.0.1:1/shop")
    assert result["database"] == {
        "name": "shop",
        **dict.fromkeys(("exists", "size_bytes", "open", "server_version", "system_identifier", "oid")),
        "dialect": "",
        "reachable": False,
    }
    assert len(result["backups"]) == 1
    assert "Cannot connect to database" in result["problems"][0]
    assert "NOT REACHED" in text(result)


def test_a_database_that_is_missing(status: Status, database: Database) -> None:
    result = status(database_url=database.url_of("nobody_has_this"))
    assert (result["database"]["reachable"], result["database"]["exists"]) == (True, False)
    assert "THERE IS NO DATABASE" in text(result)


def test_folders_that_cannot_be_read_are_said(status: Status) -> None:
    missing = status(state_dir=str(status.state_dir / "missing"))
    assert "does not exist" in missing["problems"][0]
    for name in ("runs", "evidence", "backups"):
        (status.state_dir / name).write_text("a file")
    status.state_dir.chmod(0o755)
    problems = "\n".join(status()["problems"])
    assert "can be read by others" in problems
    assert problems.count("Not a directory") == 3
