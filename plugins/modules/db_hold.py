#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_hold
short_description: Close the result of a rollback again, until a person decides
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - For a rollback that was over, and that somebody took back, such as an application that applies its migrations again
    when it starts. The database lets nobody in any more and its sessions end, so that nothing more is written to a
    schema that nobody asked for. What was acknowledged until then stays in it.
  - Both are kept, the database as it is now and C(<database>__before_<run>), and the result holds the command for each
    of the two ways on. Nothing is restored by itself, and nothing opens the database by itself.
  - Where C(<database>__before_<run>) is not there any more, it refuses, and the database stays open.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  run_id:
    required: true
  because:
    description: Why, for the database's comment; part of a sentence.
    type: str
    required: true
seealso:
  - module: balcon.rollback.db_swap
  - module: balcon.rollback.db_access
"""

EXAMPLES = r"""
- name: Close the database again
  balcon.rollback.db_hold:
    database_url: "{{ rollback_database_url }}"
    because: the application applied the migration again
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: restore
"""

RETURN = r"""
changed:
  description: Whether it was, or would be, closed.
  returned: success
  type: bool
  sample: true
before:
  description: The name under which the database of before the rollback is kept.
  returned: success
  type: str
  sample: shop__before_20261123t081500a3f9
sessions_ended:
  description: How many sessions were ended.
  returned: success
  type: int
  sample: 12
commands:
  description: SQL for the two ways on, C(keep) and C(go_back).
  returned: success
  type: dict
  sample:
    keep: ALTER DATABASE "shop" ALLOW_CONNECTIONS true; COMMENT ON DATABASE "shop" IS NULL;
    go_back: BEGIN; ALTER DATABASE "shop" RENAME TO "shop__failed_20261123t081500a3f9"; COMMIT;
seconds:
  description: How long it took, in seconds.
  returned: success
  type: float
  sample: 0.03
message:
  description: What was done, and how to go on.
  returned: success
  type: str
  sample: shop is closed until a person decides; both are kept.
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.hold import hold
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import do_and_record_if_possible

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec().merge(
    DATABASE,
    RUN,
    ArgumentSpec({"run_id": {"type": "str", "required": True}, "because": {"type": "str", "required": True}}),
)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Close it, also where that cannot be recorded."""
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    if module.check_mode:
        return hold(server, params["run_id"], params["because"], check_mode=True)._asdict()

    def close(journal: dict[str, Any]) -> dict[str, Any]:
        result = hold(server, params["run_id"], params["because"])._asdict()
        journal.update(result, held=params["because"])
        return result

    return do_and_record_if_possible(module, "close the database again", close)


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
