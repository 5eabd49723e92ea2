#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_fingerprint
short_description: Say what a database holds, and prove what changed
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads, in one snapshot, the structured catalogue of a database, and rows and contents of its tables as numbers that
    do not depend on the order of rows; positions of sequences, large objects and materialised views too.
  - Compared with an earlier fingerprint it returns the change of the catalogue, also in the canonical form in which
    changes of databases of different origin can be compared, and what else differs.
  - With O(expect_change) it fails unless the database changed as expected and in nothing else. In the phase C(verify)
    of a run this is the step that lets the candidate take production's place.
extends_documentation_fragment:
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.attributes
attributes:
  check_mode:
    support: full
    details:
      - The database is read and compared; O(save_as) is not written, and the run's state stays as it is.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  database:
    description: The name of the database on its server; by default the one in O(database_url). It must be open.
    type: str
  contents:
    description:
      - How much to prove. V(contents) reads every row; V(counters) believes the server's counters of changes, which a
        superuser can switch off and a crash sets back; V(counts) counts rows; V(none) reads the catalogue only.
      - Where C(track_counts) is off, V(counters) becomes V(counts), and the result says so.
    type: str
    choices: [contents, counters, counts, none]
    default: contents
  method:
    description:
      - V(record) hashes the values as they are stored. It is faster, and compares file copies on one server only.
      - V(text) hashes what a client is shown, and holds across a dump and restore.
      - By V(record), a table to which nothing was written since O(compare_to) is not hashed again. The versions of its
        rows prove that, with its file and its columns; not across a restart of the server.
    type: str
    choices: [record, text]
    default: record
  skip_columns:
    description:
      - By table, names of columns to leave out of the contents, those that the plan touches. The same must be left out
        before and after. A table without a schema is one of C(public).
    type: dict
    default: {}
  skip_tables:
    description: Tables to leave out, the migration tool's state table for example.
    type: list
    elements: str
    default: []
  budget_bytes:
    description:
      - Read the contents of so many bytes of tables at most, the smallest tables first; the rest is proven by counters.
      - Without it, everything is read.
    type: int
  jobs:
    description: Sessions that read at the same time.
    type: int
    default: 2
  compare_to:
    description:
      - An earlier fingerprint, as a dictionary, or as the path of a JSON file, which may be relative to the run's
        folder.
    type: raw
  expect_change:
    description:
      - The canonical change to expect, as a dictionary or as the path of a JSON file on the host. Needs O(compare_to).
      - In the phase C(verify) it may only be left out by a run whose gate was overridden. Then only what the plan does
        not touch is proven.
    type: raw
  save_as:
    description:
      - A path relative to the run's folder; the fingerprint is written there, readable by its owner only.
      - Without O(run_id), an absolute path.
      - RV(fingerprint.catalogue) is then in that file only.
    type: str
seealso:
  - module: balcon.rollback.db_clone
"""

EXAMPLES = r"""
- name: Read what production holds
  balcon.rollback.db_fingerprint:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: preflight
    contents: counts
    save_as: production.json

- name: Prove that the candidate changed as it was rehearsed, and in nothing else
  balcon.rollback.db_fingerprint:
    database_url: "{{ rollback_database_url }}"
    database: "{{ rollback_candidate.name }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: verify
    compare_to: "{{ rollback_candidate.fingerprint }}"
    expect_change: "{{ rollback_evidence.change }}"
    skip_columns: {users: [nickname]}
    skip_tables: [migrations_meta]
    budget_bytes: 2000000000
"""

RETURN = r"""
fingerprint:
  description: What the database holds.
  returned: success
  type: dict
  contains:
    database:
      description: Its name.
      returned: success
      type: str
      sample: shop
    server_version:
      description: The server's version as a number.
      returned: success
      type: int
      sample: 160014
    method:
      description: How contents were hashed.
      returned: success
      type: str
      sample: record
    counters_since:
      description: What must be equal for two readings of the counters to say anything; null where nothing is counted.
      returned: success
      type: str
      sample: "2026-11-23 08:00:00+00"
    catalogue:
      description: Every object by kind and quoted identity, with its attributes.
      returned: success
      type: dict
      sample: {"columns": {"public.users.email": {"table": "public.users", "type": "text", "not_null": true}}}
    catalogue_hash:
      description: SHA-256 of the catalogue.
      returned: success
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    tables:
      description: By table, rows, the sum of the hashes of all rows, counters, columns read, and the proof.
      returned: success
      type: dict
      sample: {"public.users": {"rows": 2, "contents": "-5449", "columns": ["id"], "proof": "contents"}}
    skipped:
      description: Tables of which no rows were read, with the reason.
      returned: success
      type: dict
      sample: {"public.remote": "a foreign table, its rows are on another server"}
    versions:
      description:
        - What a later reading has to know to see whether anything was written. C(of), the server since its start and
          the database; C(transaction), before which all have ended; C(shapes), by table, of its file and columns.
      returned: with O(method=record)
      type: dict
      sample: {"of": "2026-11-23 08:00:00+00 16385", "transaction": 741, "shapes": {"public.users": "9f86d081884c7d65"}}
    sequences:
      description: Positions of sequences.
      returned: success
      type: dict
      sample: {"public.users_id_seq": {"last_value": 2, "is_called": true}}
    large_objects:
      description: Number of large objects, and the sum of the hashes of their contents.
      returned: success
      type: dict
      sample: {"count": 0, "contents": "0"}
    materialised_views:
      description: Number of rows of materialised views.
      returned: success
      type: dict
      sample: {"public.totals": {"rows": 12, "populated": true}}
    event_triggers:
      description: Event triggers, as in the catalogue.
      returned: success
      type: dict
      sample: {}
proof:
  description:
    - How much is proven as a whole, that of the weakest table, V(contents), V(counters), V(counts) or V(none).
  returned: success
  type: str
  sample: contents
change:
  description: What was added, removed and altered in the catalogue since O(compare_to).
  returned: when O(compare_to) is given
  type: dict
  sample: {"added": {}, "removed": {"columns": {"public.users.nickname": {"type": "text"}}}, "altered": {}}
canonical_change:
  description: The same in the form that can be compared with the change of a restored copy.
  returned: when O(compare_to) is given
  type: dict
  sample: {"added": {}, "removed": {"columns": ["public.users.nickname"]}, "altered": {}}
description:
  description: The change in lines for a person, the gravest first.
  returned: when O(compare_to) is given
  type: list
  elements: str
  sample: ["column public.users.nickname removed (text)"]
differences:
  description: What differs in rows and contents and is not explained by the change, one sentence each.
  returned: when O(compare_to) is given
  type: list
  elements: str
  sample: []
equal:
  description: Whether nothing at all differs.
  returned: when O(compare_to) is given
  type: bool
  sample: false
loss:
  description:
    - What is gone for good, as C(tables), C(columns), and C(rows), the number of rows of tables that go or lose a
      column.
  returned: when O(compare_to) is given
  type: dict
  sample: {"tables": [], "columns": ["public.users.nickname"], "rows": 2}
columns_touched:
  description: By table, the columns that were added, removed or given another type; O(skip_columns) of the next time.
  returned: when O(compare_to) is given
  type: dict
  sample: {"public.users": ["nickname"]}
tables_changed:
  description:
    - Tables whose rows or contents differ, those left out that were added or removed. A plan that changes data changes
      them too, so that they are O(skip_tables) of the next time.
  returned: when O(compare_to) is given
  type: list
  elements: str
  sample: []
state:
  description: The run's state after the candidate was verified.
  returned: when the candidate of a run was verified
  type: str
  sample: verified
path:
  description: Where the fingerprint was written.
  returned: when O(save_as) is given
  type: str
  sample: /var/lib/balcon-rollback/runs/20261123t081500a3f9/production.json
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.contents_since import REST, take_rest
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import Heartbeat
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.verification import (
    as_result,
    check_is_candidate,
    check_overridden,
    check_rehearsed,
    compare_fingerprints,
    take_step,
    without_catalogue,
)
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import (
    in_run,
    load_json,
    path_in_run,
    save_json,
)
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "database": {"type": "str"},
        "contents": {"type": "str", "choices": ["contents", "counters", "counts", "none"], "default": "contents"},
        "method": {"type": "str", "choices": ["record", "text"], "default": "record"},
        "skip_columns": {"type": "dict", "default": {}},
        "skip_tables": {"type": "list", "elements": "str", "default": []},
        "budget_bytes": {"type": "int"},
        "jobs": {"type": "int", "default": 2},
        "compare_to": {"type": "raw"},
        "expect_change": {"type": "raw"},
        "save_as": {"type": "str"},
    },
    required_by={"expect_change": ("compare_to",)},
)

HOW = ("contents", "method", "skip_columns", "skip_tables", "budget_bytes", "jobs")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    database = params["database"] or server.database
    expected = load_json(params["expect_change"], "expect_change") if params["expect_change"] else None
    before = load_json(in_run(params, params["compare_to"]), "compare_to") if params["compare_to"] else None
    path = path_in_run(params, params["save_as"]) if params["save_as"] and not module.check_mode else None
    of_run = params["run_id"] if before and params["phase"] == "verify" else None
    action = "verify the candidate" if of_run else f"take the fingerprint of {database}"
    with module_step(module, action) as journal_data, Heartbeat(server, None if module.check_mode else of_run):
        if of_run:
            check_is_candidate(server, database, of_run)
        if of_run and expected is None:
            check_overridden(Run(params["state_dir"], of_run))
        fingerprint = take_fingerprint(server, database, since=before, **{name: params[name] for name in HOW})
        comparison = compare_fingerprints(before, fingerprint) if before else None
        result = as_result(fingerprint, comparison)
        journal_data.update(changed=False, database=database, proof=result["proof"])
        if comparison:
            journal_data.update(change=comparison.description, differences=comparison.differences)
            journal_data["loss"] = comparison.loss
        if comparison and (expected is not None or of_run):
            itself = {"untouched": "It is closed; it is brought back next."} if database == server.database else {}
            check_rehearsed(database, comparison, expected, **itself)
        changed = False
        if not module.check_mode:
            if path:
                rest = {REST: take_rest(server, database, fingerprint, **_how_of_rest(params))} if of_run else {}
                save_json(path, {**fingerprint, **rest})
            if of_run and comparison:
                changed = take_step(server, of_run, comparison)
        journal_data["changed"] = changed
    where = {"path": str(path)} if path else {}
    return {
        "changed": changed,
        **({"state": "verified"} if of_run else {}),
        **where,
        **(without_catalogue(result) if path else result),
    }


def _how_of_rest(params: dict[str, Any]) -> dict[str, Any]:
    return {name: params[name] for name in HOW if name != "skip_tables"}


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: in_dialect(module, "db_fingerprint", work))


if __name__ == "__main__":
    main()
