#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_compare
short_description: Say which rows differ between two databases of a server
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Compares the live database with another one on its server, a restored copy or the database of before, row by row,
    and says what would be lost if the other took its place.
  - Rows are matched by their primary key, or by a unique index over columns that are never null; those of a table that
    has neither are compared as a whole, so that each repetition counts. Only hashes travel, and only of buckets of
    rows that differ, so that memory stays small at any size.
  - A value counts as changed when it is written differently. Generated columns are left out.
extends_documentation_fragment:
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
options:
  database:
    description: The live database; by default the one in O(database_url).
    type: str
  other:
    description: The database to compare it with, on the same server.
    type: str
    required: true
  tables:
    description:
      - The tables to compare, by default all. A table without a schema is one of C(public); a partitioned table stands
        for its partitions.
    type: list
    elements: str
    default: []
  through_closed:
    description:
      - Read a database that is closed too. It is then open for the moment in which the module's own session begins;
        whoever slips in is ended before anything is read, so that every write that was acknowledged is seen.
      - Takes what closing takes, the owner's role and C(CREATEDB). In check mode no door is opened.
    type: bool
    default: false
seealso:
  - module: balcon.rollback.db_assess
  - module: balcon.rollback.table_recovery
"""

EXAMPLES = r"""
- name: What would be lost if last night's backup took production's place?
  balcon.rollback.db_compare:
    database_url: "{{ rollback_database_url }}"
    other: "{{ rollback_restored.name }}"
  register: rollback_compared

- name: Two tables, against the database of before the rollback
  balcon.rollback.db_compare:
    database_url: "{{ rollback_database_url }}"
    other: shop__before_20261123t081500a3f9
    through_closed: true
    tables: [users, projects]
"""

RETURN = r"""
database:
  description: The live database.
  returned: success
  type: str
  sample: shop
other:
  description: The other one.
  returned: success
  type: str
  sample: shop__restored_20261123t081500a3f9
tables:
  description: One entry for each table that was compared.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Schema and name, quoted.
      returned: success
      type: str
      sample: public.users
    missing:
      description: Rows that only O(other) has; null where the table could not be read.
      returned: success
      type: int
      sample: 0
    extra:
      description: Rows that only the live database has, and that would be lost; null where it could not be read.
      returned: success
      type: int
      sample: 3
    changed:
      description: Rows of the same key and other contents; null where the table could not be read.
      returned: success
      type: int
      sample: 1
    same_columns:
      description: Whether the columns have the same names and types; null where the table could not be read.
      returned: success
      type: bool
      sample: true
    columns:
      description:
        - The columns that differ, with their types; V(null) where one does not have it. Only the columns that both
          have are compared.
      returned: success
      type: list
      elements: dict
      sample: [{"name": "nickname", "live": null, "other": "character varying(50)"}]
    key:
      description: The columns by which rows were matched; empty where whole rows were.
      returned: success
      type: list
      elements: str
      sample: [id]
    how:
      description: V(by key), V(whole rows, no key), V(counted) for a table that only one has, or V(not compared).
      returned: success
      type: str
      sample: by key
    only_in:
      description: V(live) or V(other) for a table that only one has, otherwise null.
      returned: success
      type: str
      sample: live
    problem:
      description: Why the table could not be read, otherwise null.
      returned: success
      type: str
      sample: "could not read blocks 3..3 in file"
lost_rows:
  description: Extra and changed rows of all tables, those that are gone as they are now if O(other) takes over.
  returned: success
  type: int
  sample: 4
not_compared:
  description: Tables that could not be read, so that what would be lost in them is not known.
  returned: success
  type: list
  elements: str
  sample: []
large_objects:
  description: V(same) or V(different); null where O(tables) names some.
  returned: success
  type: str
  sample: same
lines:
  description: The comparison as text for a person, the gravest first.
  returned: success
  type: list
  elements: str
  sample:
    - "users: 3 rows only in shop; 1 row with other contents"
    - 11 tables are the same in shop and shop__restored_20261123t081500a3f9.
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.compare import compare_databases
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "database": {"type": "str"},
        "other": {"type": "str", "required": True},
        "tables": {"type": "list", "elements": "str", "default": []},
        "through_closed": {"type": "bool", "default": False},
    },
)


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    live, other = params["database"] or server.database, params["other"]
    with module_step(module, f"compare {live} with {other}") as journal_data:
        result = compare_databases(
            server, live, other, params["tables"], through_closed=params["through_closed"] and not module.check_mode
        )
        noted = {name: result[name] for name in ("lost_rows", "not_compared", "lines")}
        journal_data.update(changed=False, database=live, other=other, compared=noted)
    return {"changed": False, "database": live, "other": other, **result}


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
