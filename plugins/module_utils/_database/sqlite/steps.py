# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module does on an SQLite file, under the module's name: options in, result and journal out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..._backups import backups_folder, run_id_or_new
from ..._domain.database_comparison import as_result, without_catalogue
from ..._domain.errors import Failed, Refused
from ..._domain.plan import check_not_applied_again
from ..._migrations import make_engine
from ..._migrations.reading import read_migrations, refuse_problems
from ..._migrations.sqlite_work import migrate_down, migrate_up
from ..._private_files import in_run, load_json, path_in_run, save_json
from ..._run import Run, do_and_record_if_possible, module_step
from ..._shared_options import show_plain_values
from ..postgresql.backup import Wanted, find_backup, summary
from ..postgresql.blockers import Blocker, refuse_blockers
from ..postgresql.information import Question
from .access import begin_run, check_may_begin, finish_run, may_finish
from .backup import find_present, make_backup
from .backup_restore import plan_restore, restore_backup
from .backup_restore import summary as restore_summary
from .candidate import drop_trial, make_candidate, make_trial, preview_clone
from .database_file import DatabaseFile
from .fingerprint import take_fingerprint
from .information import read_information
from .restore import Restored, preview_restore, restore_original
from .state_table import in_sqlite, read_state
from .swap import preview_swap, swap_in
from .verification import check_change, check_is_candidate, check_round_trip, compare_with, take_step

if TYPE_CHECKING:
    from pathlib import Path

    from ansible.module_utils.basic import AnsibleModule

    Result = Mapping[str, Any]

_NOTED = ("name", "server_version", "size_bytes", "owner", "disk", "blockers")


def do_step(module: AnsibleModule, name: str) -> Result:
    """Do what a module of this name does, on the SQLite file of its C(database_url).

    Raises:
        Refused: it must not begin, or there is no such thing for SQLite.
        Failed: it did not end as it should have.
    """
    if name not in STEPS:
        raise Refused(
            f"{name} works on PostgreSQL, and the URL names an SQLite file.",
            untouched="Nothing was touched.",
            remedy="For an SQLite file: ansible-playbook rollback.yml -e env=development",
        )
    try:
        return STEPS[name](module, DatabaseFile(module.params["database_url"], module.params["project_dir"]))
    except OSError as error:
        raise Failed(
            f"{error.strerror}: {error.filename or 'a file of this step'}",
            untouched="The database has its name, and was not altered.",
            remedy="Look at the room and the rights in the folders of the database and of rollback_state_dir.",
        ) from error


def _information(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    question = Question(
        run_id=params["run_id"],
        candidate=params["candidate"],
        free_bytes=params["free_bytes"],
        copies=params["copies"],
        bytes_per_second=params["copy_bytes_per_second"],
    )
    with module_step(module, f"look at {file.database}") as journal_data:
        information = read_information(file, question)
        journal_data.update({name: information[name] for name in _NOTED}, changed=False)
        if params["refuse"]:
            refuse_blockers(file.database, [Blocker(**blocker) for blocker in information["blockers"]])
    return {"changed": False, **information}


def _backup(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    of_failed = params["failed_candidate"] and not module.check_mode
    path = file.derived("failed", params["run_id"]) if of_failed else file.path
    names = ("verify", "signing_key")
    folder = backups_folder(params, create=not module.check_mode)
    wanted = Wanted(folder, run_id_or_new(params), **{name: params[name] for name in names})
    start = time.monotonic()
    with module_step(module, f"back up {path.name}") as journal_data:
        file.identity(path)
        manifest = find_present(file, path, wanted)
        changed, more, place = manifest is None, {}, folder / f"{_backup_name(path, wanted)}"
        if manifest is None and not module.check_mode:
            place, manifest, more["checkpoint"] = make_backup(file, path, wanted)
        result: dict[str, Any] = {**summary(place, manifest), **more, "changed": changed}
        if manifest:
            result["seconds"] = round(time.monotonic() - start, 3)
        # The run's backup is the one of the database; this one is only for study.
        journal_data.update({"dump": result} if params["failed_candidate"] else result, changed=changed)
    return result


def _backup_name(path: Path, wanted: Wanted) -> str:
    from ..postgresql.backup import backup_id

    return backup_id(path.name, wanted.run_id)


def _restore_backup(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    run_id = run_id_or_new(params)
    start = time.monotonic()
    with module_step(module, f"restore backup {params['backup']}") as journal_data:
        given = params["backup_dir"] or params["state_dir"]
        path = find_backup(params["backup"], backups_folder(params, create=False) if given else None)
        plan = plan_restore(file, path, run_id, params["name"], params["signing_key"])
        if not module.check_mode and not plan.present:
            restore_backup(file, plan, run_id)
        result = {
            **restore_summary(plan, params["signing_key"]),
            "verified": plan.present or not module.check_mode,
            "left_out": [],
            "seconds": round(time.monotonic() - start, 3),
            "changed": not plan.present,
        }
        journal_data.update(result)
    return result


def _fingerprint(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    database = file.named(params["database"])
    expected = load_json(params["expect_change"], "expect_change") if params["expect_change"] else None
    before = load_json(in_run(params, params["compare_to"]), "compare_to") if params["compare_to"] else None
    path = path_in_run(params, params["save_as"]) if params["save_as"] and not module.check_mode else None
    of_run = params["run_id"] if before and params["phase"] == "verify" else None
    only_schema = params["contents"] == "none"
    action = "verify the candidate" if of_run else f"take the fingerprint of {database.name}"
    with module_step(module, action) as journal_data:
        if of_run:
            check_is_candidate(file, database, of_run)
        fingerprint = take_fingerprint(database, **{name: params[name] for name in _HOW})
        comparison = compare_with(file, before, fingerprint, database, only_schema=only_schema) if before else None
        result = as_result(fingerprint, comparison)
        journal_data.update(changed=False, database=database.name, proof=result["proof"])
        if comparison:
            journal_data.update(change=comparison.description, differences=comparison.differences)
            journal_data["loss"] = comparison.loss
        if comparison and (expected is not None or of_run):
            (check_round_trip if only_schema else check_change)(database.name, comparison, expected)
        changed = False
        if not module.check_mode:
            if path:
                save_json(path, fingerprint)
            if of_run and comparison:
                changed = take_step(file, of_run, comparison)
        journal_data["changed"] = changed
    more = {**({"state": "verified"} if of_run else {}), **({"path": str(path)} if path else {})}
    return {"changed": changed, **more, **(without_catalogue(result) if path else result)}


_HOW = ("contents", "skip_columns", "skip_tables")


def _clone(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    purpose, run_id = params["purpose"], params["run_id"]
    if purpose not in ("candidate", "trial"):
        raise Refused(
            f"There is no {purpose} of an SQLite file: in development the plan runs on the candidate alone.",
            untouched="Nothing was touched.",
            remedy="Type: ansible-playbook rollback.yml -e env=development",
        )
    if params["state"] == "absent":
        return _drop(module, file)
    with module_step(module, f"make the {purpose}") as journal_data:
        result = preview_clone(file, purpose, run_id)
        fingerprint: dict[str, Any] = {}
        if not module.check_mode:
            source = file.named(params["source"]) if params["source"] else file.derived("candidate", run_id)
            result = make_candidate(file, run_id) if purpose == "candidate" else make_trial(file, run_id, source)
            fingerprint = _fingerprint_of_clone(module, file.named(result.name))
        journal_data.update(result._asdict())
    return {**result._asdict(), **fingerprint}


def _fingerprint_of_clone(module: AnsibleModule, path: Path) -> dict[str, Any]:
    if not module.params["fingerprint"]:
        return {}
    wanted = {name: value for name, value in module.params["contents"].items() if name in _HOW}
    fingerprint = take_fingerprint(path, **wanted)
    if not module.params["save_as"]:
        return {"fingerprint": fingerprint}
    saved = path_in_run(module.params, module.params["save_as"])
    save_json(saved, fingerprint)
    return {"path": str(saved)}


def _drop(module: AnsibleModule, file: DatabaseFile) -> Result:
    run_id = module.params["run_id"]
    if module.params["purpose"] != "trial":
        raise Refused(
            "Only a throwaway clone is dropped; a candidate is set aside by the restore of its run.",
            untouched="Nothing was touched.",
            remedy="Use db_swap with state=original.",
        )
    target = file.derived("trial", run_id)
    with module_step(module, "drop the trial") as journal_data:
        changed = target.exists()
        if not module.check_mode:
            changed = drop_trial(file, run_id)
        journal_data.update(name=target.name, changed=changed)
    return {"changed": changed, "name": target.name, "bytes": 0, "seconds": 0.0}


def _access(module: AnsibleModule, file: DatabaseFile) -> Result:
    start = time.monotonic()
    run_id = module.params["run_id"]
    if module.params["state"] == "open":
        with module_step(module, "end the run") as journal_data:
            changed = may_finish(file, run_id)
            result: dict[str, Any] = {"state": "open"}
            if not module.check_mode:
                changed = finish_run(file, run_id)
                result["lock_released"] = True
            journal_data.update(changed=changed, finished=True)
        return {"changed": changed, **result, "seconds": round(time.monotonic() - start, 3)}
    run = Run(module.params["state_dir"], run_id)
    with module_step(module, "take the file for the run") as journal_data:
        changed = check_may_begin(file, run)
        if not module.check_mode:
            changed = begin_run(file, run, module.params["lease_seconds"])
        journal_data.update(changed=changed, lease_seconds=module.params["lease_seconds"])
    nobody: dict[str, Any] = {"sessions_ended": 0, "sessions": {}, "keeper": {"pid": None}}
    return {"changed": changed, "state": "closed", **nobody, "seconds": round(time.monotonic() - start, 3)}


def _swap(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    if params["state"] == "original":
        return _restore(module, file)
    if params["state"] == "restored":
        raise Refused(
            "A fresh copy takes the place of staging's own database, and an SQLite file is not staging.",
            untouched="Nothing was touched.",
            remedy="Restore a backup beside the file with db_restore, look at it, and copy it yourself.",
        )
    with module_step(module, "swap the candidate in") as journal_data:
        result = preview_swap(file, params["run_id"])
        if not module.check_mode:
            result = swap_in(file, params["run_id"], params["keep_hours"])
        journal_data.update(result._asdict(), closed=True, reopened=True)
    return {**result._asdict(), "opened": True}


def _restore(module: AnsibleModule, file: DatabaseFile) -> Result:
    run_id, accept_loss = module.params["run_id"], module.params["accept_loss"]
    result = preview_restore(file, run_id, accept_loss=accept_loss)
    if not module.check_mode:
        result = do_and_record_if_possible(
            module, "restore the original", lambda journal_data: _restore_now(file, run_id, accept_loss, journal_data)
        )
    return result._asdict()


def _restore_now(file: DatabaseFile, run_id: str, accept_loss: bool, journal_data: dict[str, Any]) -> Restored:
    result = restore_original(file, run_id, accept_loss=accept_loss)
    journal_data.update(result._asdict())
    if result.changed:
        journal_data.update(restored=True, restore_seconds=result.seconds)
    return result


def _migrations(module: AnsibleModule, file: DatabaseFile) -> Result:
    params = module.params
    show_plain_values(module, params["environment"])
    with module_step(module, "read the state of the migrations") as journal:
        journal["changed"] = False
        engine = make_engine(params["engine"], params["engine_options"])
        engine.state_table = in_sqlite(engine.state_table)
        applied = read_state(engine.state_table, file.named(params["database"]))
        wishes = ("steps", "target", "expect_applied", "expect_reverted")
        result = read_migrations(engine, applied, **{name: params[name] for name in wishes})
        journal.update({name: result[name] for name in ("applied", "plan", "plan_id", "problems", "unproven")})
        if params["after_start"]:
            check_not_applied_again(params["database"] or file.database, applied, params["expect_reverted"])
        if params["refuse"]:
            refuse_problems(result["problems"])
    return {"changed": False, **result}


def _migrate(action: str, work: Callable[..., dict[str, Any]]) -> Callable[[AnsibleModule, DatabaseFile], Result]:
    def step(module: AnsibleModule, _file: DatabaseFile) -> Result:
        show_plain_values(module, module.params["environment"])
        with module_step(module, action) as journal:
            result = work(module.params, journal, check_mode=module.check_mode)
        diff = {name: "".join(f"{line}\n" for line in result[f"state_{name}"]) for name in ("before", "after")}
        return {**result, "diff": diff}

    return step


STEPS: dict[str, Callable[[AnsibleModule, DatabaseFile], Result]] = {
    "db_access": _access,
    "db_backup": _backup,
    "db_clone": _clone,
    "db_fingerprint": _fingerprint,
    "db_info": _information,
    "db_restore": _restore_backup,
    "db_swap": _swap,
    "migrate_down": _migrate("revert the plan", migrate_down),
    "migrate_up": _migrate("apply migrations", migrate_up),
    "migration_info": _migrations,
}
