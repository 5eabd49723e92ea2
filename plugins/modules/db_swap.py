#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_swap
short_description: Put the candidate in production's place, or restore the original
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - O(state=candidate) gives the run's verified candidate the public name, with the privileges, connection limit and
    owner of the original, and opens it, all in one transaction. The original is kept, closed and unaltered, as
    C(<database>__before_<run>).
  - O(state=original) is the emergency restore, in one call, whatever the state of the run.
  - A run that works on the database itself (O(balcon.rollback.db_access#module:method=in_place)) has no candidate. For
    it, O(state=candidate) gives the privileges back that the run took, and O(state=original) gives them back where
    nothing was migrated yet, or nothing differs. Otherwise it restores the run's dump, proven, in one transaction.
  - Before the swap it opens the original again; the candidate is kept, closed, as C(<database>__failed_<run>).
  - After the swap it swaps back, but only when nothing was written since. That is read from the server's tuple
    counters, after all sessions have ended; where the server was restarted since, every row is compared with the
    verified candidate, as its fingerprint in the run's folder has it. When rows were written, or when it cannot be
    told, the database stays closed, both are kept, and the module fails with the two exact commands between which a
    person decides.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
    details:
      - Whether rows were written since the swap can only be told by closing the database, so check mode does not say.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  run_id:
    required: true
  state:
    description:
      - V(candidate) swaps the candidate in, V(original) restores the original.
      - V(restored) puts C(<database>__restored_<run>) in the place of the database, which is kept as
        C(<database>__before_<run>). In a rehearsal that is the fresh copy of production, and the database staging's
        own; in a restore it is the backup that was restored beside, and the run must have closed the database.
    type: str
    required: true
    choices: [candidate, original, restored]
  undo_run:
    description:
      - For O(state=original), the run that is undone, by default O(run_id), whose journal holds the record all the
        same. A restore names the rollback here that it takes back.
    type: str
  signing_key:
    description: For O(state=original) of a run in place, the key with which its dump was signed.
    type: str
  client_path:
    description:
      - For O(state=original) of a run in place, folders to look for C(pg_restore) in, before C(PATH).
    type: list
    elements: path
    default: []
  keep_hours:
    description:
      - For O(state=candidate), and O(state=restored) in a restore. For how many hours the original is to be kept.
        It says so in its comment; nothing is dropped by itself.
    type: float
    default: 24.0
  keep_release:
    description:
      - For O(state=candidate). The release that runs now stays, as C(rollback_keep_release) says. That is on record
        with the swap, so that whoever finds the run unfinished ends it and does not swap back.
    type: bool
    default: false
  accept_loss:
    description:
      - For O(state=original) after the swap. Swap back although rows were written, or although the run has ended.
      - What was written is no longer in production then, but stays in C(<database>__failed_<run>).
      - Set by a person who has decided, never by a playbook.
    type: bool
    default: false
seealso:
  - module: balcon.rollback.db_access
"""

EXAMPLES = r"""
- name: Put the candidate in production's place
  balcon.rollback.db_swap:
    database_url: "{{ rollback_database_url }}"
    state: candidate
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: reopen

- name: Emergency restore
  balcon.rollback.db_swap:
    database_url: "{{ rollback_database_url }}"
    state: original
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: restore
"""

RETURN = r"""
seconds:
  description: How long it took, in seconds. With O(state=candidate), the one transaction.
  returned: success
  type: float
  sample: 0.02
before:
  description: The name under which the original is kept.
  returned: when O(state=candidate) or O(state=restored)
  type: str
  sample: shop__before_20261123t081500a3f9
opened:
  description: The database lets sessions in.
  returned: when O(state=candidate) or O(state=restored)
  type: bool
  sample: true
restored_from:
  description:
    - What the original was restored from, V(before_swap), V(after_swap) or V(nothing).
    - V(restore_point) is the dump of a run that worked in place.
  returned: when O(state=original)
  type: str
  sample: before_swap
failed_database:
  description: The name under which the candidate is kept for study; null when there is none.
  returned: when O(state=original)
  type: str
  sample: shop__failed_20261123t081500a3f9
proof:
  description:
    - After the swap, how it is known that nothing was written since, V(counters) for the server's tuple counters, or
      V(contents) where the server was restarted and every row is what it was in the verified candidate.
    - Empty when it did not matter.
  returned: when O(state=original)
  type: str
  sample: counters
message:
  description: One sentence for a person.
  returned: when O(state=original)
  type: str
  sample: shop is open again, unaltered.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server, Unreachable
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.restore import (
    Restored,
    preview_restore,
    restore_original,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import rolls_back_in_place
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.swap import (
    BACKUP,
    CANDIDATE,
    Copy,
    Swapped,
    preview_swap,
    swap_in,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed
from ansible_collections.balcon.rollback.plugins.module_utils._domain.in_place import DumpAccess
from ansible_collections.balcon.rollback.plugins.module_utils._driver import DATABASE_ERROR
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import contents_of_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._run import (
    Run,
    do_and_record_if_possible,
    environment_of,
    module_step,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    spec = ArgumentSpec(
        {
            "run_id": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["candidate", "original", "restored"]},
            "accept_loss": {"type": "bool", "default": False},
            "signing_key": {"type": "str", "no_log": True},
            "client_path": {"type": "list", "elements": "path", "default": []},
            "keep_hours": {"type": "float", "default": 24.0},
            "keep_release": {"type": "bool", "default": False},
            "undo_run": {"type": "str"},
        },
    )
    module = ArgumentSpec().merge(DATABASE, RUN, spec).create_module()
    run_module(module, lambda: in_dialect(module, "db_swap", WORK[module.params["state"]]))


def _swap(module: AnsibleModule, copy: Copy = CANDIDATE, action: str = "swap the candidate in") -> dict[str, Any]:
    server = Server(module.params["database_url"], module.params["admin_url"])
    run_id = module.params["run_id"]
    keep_release = module.params["keep_release"]
    with module_step(module, action) as journal_data:
        if copy == CANDIDATE and rolls_back_in_place(server, run_id):
            result = _open_in_place(module, server, run_id)
        elif module.check_mode:
            result = preview_swap(server, run_id, copy)
        else:
            result = swap_in(server, run_id, module.params["keep_hours"], copy, keep_release=keep_release)
        journal_data.update(result._asdict(), reopened=True)
    return {**result._asdict(), "opened": True}


# What only few runs need is imported when they need it: to go back must be quick.


def _open_in_place(module: AnsibleModule, server: Server, run_id: str) -> Swapped:
    from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.in_place_opening import (
        open_in_place,
        preview_opening,
    )

    if module.check_mode:
        return preview_opening(server, run_id)
    return open_in_place(server, run_id, keep_release=module.params["keep_release"])


def _restore(module: AnsibleModule) -> dict[str, Any]:
    server = Server(module.params["database_url"], module.params["admin_url"])
    run_id, accept_loss = module.params["undo_run"] or module.params["run_id"], module.params["accept_loss"]
    if module.check_mode:
        return preview_restore(server, run_id, accept_loss=accept_loss)._asdict()
    with suppress(Unreachable, DATABASE_ERROR):  # what follows fails alike, and is recorded
        preview_restore(server, run_id, accept_loss=accept_loss)
    return do_and_record_if_possible(
        module, "restore the original", lambda journal_data: _restore_now(module, server, run_id, journal_data)
    )._asdict()


def _restore_now(module: AnsibleModule, server: Server, run_id: str, journal_data: dict[str, Any]) -> Restored:
    contents = contents_of_candidate(Run(module.params["state_dir"], run_id))
    try:
        access = DumpAccess(module.params["signing_key"], module.params["client_path"])
        accept_loss = module.params["accept_loss"]
        result = restore_original(server, run_id, accept_loss=accept_loss, contents=contents, access=access)
    except Failed:
        journal_data["not_undone"] = True
        raise
    except (Unreachable, DATABASE_ERROR) as error:
        journal_data["not_undone"] = True
        raise Failed(
            f"{server.database} could not be put back: {str(error).strip()}",
            untouched="Nothing was dropped. The database may be closed; before a swap the keeper of the run, where it "
            "lives, opens it when the lease has run out.",
            remedy="As soon as the server answers, type: ansible-playbook restore.yml "
            f"-e env={environment_of(Run(module.params['state_dir'], module.params['run_id']))} -e run={run_id}"
            + (" -e accept_loss=true" if module.params["accept_loss"] else ""),
        ) from error
    journal_data.update(result._asdict())
    if result.changed:
        journal_data.update(restored=True, restore_seconds=result.seconds)
    if result.changed and run_id != module.params["run_id"]:
        journal_data["undone_run"] = run_id
    return result


def _replace(module: AnsibleModule) -> dict[str, Any]:
    server = Server(module.params["database_url"], module.params["admin_url"])
    run = Run(module.params["state_dir"], module.params["run_id"])
    if run.kind() == "restore":
        return _swap(module, BACKUP, "put the restored backup in the database's place")
    from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.replace import (
        check_is_rehearsal,
        preview_replacement,
        replace_with_fresh_copy,
    )

    with module_step(module, f"put the fresh copy in the place of {server.database}") as journal_data:
        check_is_rehearsal(run)
        work = preview_replacement if module.check_mode else replace_with_fresh_copy
        result = work(server, run.run_id)
        journal_data.update(result._asdict())
    return {**result._asdict(), "opened": True}


WORK = {"candidate": _swap, "original": _restore, "restored": _replace}


if __name__ == "__main__":
    main()
