#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_info
short_description: Read what a rollback has to know of a database and its server
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads server, size, sessions and rights, what runs have left behind, and everything that would block a candidate,
    each by name.
  - It only reads. Whether a blocker matters is decided by who asks, or with O(refuse=true) here.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.database
  - balcon.rollback.run
options:
  candidate:
    description: Look for what would block a candidate.
    type: bool
    default: true
  method:
    description:
      - How the run would work. V(in_place) looks for what would block a rollback on the database itself, see
        O(balcon.rollback.db_access#module:method), instead of what would block a candidate.
    type: str
    choices: [candidate, in_place]
    default: candidate
  application_roles:
    description: For O(method=in_place), the roles by which the application connects.
    type: list
    elements: str
    default: []
  refuse:
    description: Fail when anything blocks, with all of it in one message.
    type: bool
    default: false
  run_id:
    description: The run that asks. Its own state and lock do not block it; its journal gets one event.
  differs_from:
    description:
      - RV(system_identifier) and RV(oid) of a database that this one must not be, production's for example. With
        O(refuse=true), the same database under another URL is refused.
    type: dict
    suboptions:
      system_identifier:
        description: The other one's cluster.
        type: str
        required: true
      oid:
        description: The other one's database.
        type: int
        required: true
  free_bytes:
    description:
      - What the operator says is free on the server for copies, in bytes.
      - Without it, the module looks itself, which takes the server on the same host and a role that may read its
        settings.
    type: int
  copies:
    description:
      - How many copies are there at the same time. A candidate and a throwaway clone of it are two.
    type: int
    default: 1
  copy_bytes_per_second:
    description: How fast a rehearsal copied, in bytes a second, for the predicted time.
    type: float
"""

EXAMPLES = r"""
- name: Refuse when anything would block a candidate
  balcon.rollback.db_info:
    database_url: "{{ rollback_database_url }}"
    free_bytes: "{{ rollback_free_bytes }}"
    refuse: true
"""

RETURN = r"""
exists:
  description: There is such a database. Without it, what belongs to it is null or empty.
  returned: success
  type: bool
  sample: true
name:
  description: The name in the URL.
  returned: success
  type: str
  sample: shop
oid:
  description: Its OID, which with RV(system_identifier) tells it from every other database.
  returned: success
  type: int
  sample: 16384
system_identifier:
  description: What tells this cluster from every other one.
  returned: success
  type: str
  sample: "7312345678901234567"
server_version:
  description: The version of the server.
  returned: success
  type: str
  sample: "18.4"
server_major:
  description: The major version of the server.
  returned: success
  type: int
  sample: 18
size_bytes:
  description: The size of the database, in bytes; null where the role may not ask.
  returned: success
  type: int
  sample: 1040187392
owner:
  description: The role that owns the database.
  returned: success
  type: str
  sample: shop
encoding:
  description: The encoding of the database.
  returned: success
  type: str
  sample: UTF8
is_open:
  description: The database lets sessions in.
  returned: success
  type: bool
  sample: true
sessions:
  description:
    - The sessions on the database. C(client), C(backend_type) and C(state) of other roles' sessions are only shown to
      members of C(pg_read_all_stats).
    - C(may_be_ended) is true for PostgreSQL's own processes, which end by themselves when they are in the way.
  returned: success
  type: list
  elements: dict
  sample:
    - pid: 4711
      user: shop
      application_name: node
      client: 10.0.0.7
      backend_type: client backend
      state: idle
      may_be_ended: true
rights:
  description: What the role may do.
  returned: success
  type: dict
  sample:
    user: shop
    owner: true
    superuser: false
    create_database: true
    signal_backend: true
    connect_admin: true
blockers:
  description: What would block a candidate, and what to do about each.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: logical_slot
      name: warehouse
      message: The logical replication slot warehouse (inactive) would stay with the old database.
      remedy: "Let its consumer finish, then drop it: SELECT pg_drop_replication_slot('warehouse')."
disk:
  description:
    - Room for the copies, in bytes. C(source) is V(given), V(measured) or V(unknown).
  returned: success
  type: dict
  sample: {"needed_bytes": 1248224870, "free_bytes": 50000000000, "source": "given"}
predicted_copy_seconds:
  description: How long the copy will take, in seconds.
  returned: success
  type: float
  sample: 5.2
copy_rate_source:
  description: What the prediction stands on, V(rehearsal) or V(assumed).
  returned: success
  type: str
  sample: rehearsal
is_pooler:
  description: The URL for administration leads to a connection pooler.
  returned: success
  type: bool
  sample: false
in_recovery:
  description: The server is a standby.
  returned: success
  type: bool
  sample: false
open_run:
  description: What the database says of the run that has it in its window; null when there is none.
  returned: success
  type: dict
  sample: {"run_id": "20261123t081500a3f9", "state": "closed"}
run_lock_held_by:
  description: Who holds the lock of the database's runs; null when nobody does.
  returned: success
  type: str
  sample: balcon.rollback keeper 20261123t081500a3f9 (pid 4711)
leftovers:
  description:
    - The databases that runs made beside this one. C(state) is V(open), V(closed), or V(half_made) when its maker was
      killed. C(size_bytes) is in bytes.
  returned: success
  type: list
  elements: dict
  sample:
    - name: shop__before_20261123t081500a3f9
      purpose: before
      run_id: 20261123t081500a3f9
      size_bytes: 1040187392
      state: closed
      note: shop as it was before rollback 20261123t081500a3f9, closed and unaltered.
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.blockers import (
    Blocker,
    refuse_blockers,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.information import (
    Question,
    read_information,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.in_place import IN_PLACE
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

NOTED = ("name", "server_version", "size_bytes", "owner", "disk", "blockers")


def main() -> None:
    spec = ArgumentSpec(
        {
            "candidate": {"type": "bool", "default": True},
            "method": {"type": "str", "choices": ["candidate", "in_place"], "default": "candidate"},
            "application_roles": {"type": "list", "elements": "str", "default": []},
            "refuse": {"type": "bool", "default": False},
            "differs_from": {
                "type": "dict",
                "options": {
                    "system_identifier": {"type": "str", "required": True},
                    "oid": {"type": "int", "required": True},
                },
            },
            "free_bytes": {"type": "int"},
            "copies": {"type": "int", "default": 1},
            "copy_bytes_per_second": {"type": "float"},
        }
    )
    module = spec.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: in_dialect(module, "db_info", _read))


def _read(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    server = Server(parameters["database_url"], parameters["admin_url"])
    public = Server(parameters["database_url"]) if parameters["admin_url"] else None
    question = Question(
        run_id=parameters["run_id"],
        candidate=parameters["candidate"],
        free_bytes=parameters["free_bytes"],
        copies=parameters["copies"],
        bytes_per_second=parameters["copy_bytes_per_second"],
        application_roles=parameters["application_roles"] if parameters["method"] == IN_PLACE else None,
    )
    with module_step(module, f"look at the server of {server.database}") as journal_data:
        information = read_information(server, public, question, parameters["differs_from"])
        journal_data.update({name: information[name] for name in NOTED}, changed=False)
        if parameters["candidate"]:
            journal_data["method"] = parameters["method"]
        if parameters["refuse"]:
            blockers = [Blocker(**blocker) for blocker in information["blockers"]]
            refuse_blockers(server.database, blockers, in_place=parameters["method"] == IN_PLACE)
    return {"changed": False, **information}


if __name__ == "__main__":
    main()
