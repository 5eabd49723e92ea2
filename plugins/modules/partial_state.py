#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: partial_state
short_description: Describe where a rollback that was done by hand stopped
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Compares the schema of a database with both states that are known, that of a backup, made before the rollback, and
    that of the rehearsed change, from the newest evidence in O(state_dir).
  - Says for each table whether it was reverted. Only the catalogue is judged, not the contents.
  - Evidence counts only where the backup has the schema that it was rehearsed on.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.database
  - balcon.rollback.run
options:
  run_id:
    required: true
  backup:
    description: The path of the backup's folder.
    type: path
    required: true
  signing_key:
    description: With it, manifest and evidence must be signed by it.
    type: str
"""

EXAMPLES = r"""
- name: Users reverted, projects not
  balcon.rollback.partial_state:
    database_url: "{{ rollback_database_url }}"
    backup: "{{ restore_backup.path }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: compare
"""

RETURN = r"""
state:
  description:
    - V(as before), V(reverted) (exactly as rehearsed), V(partial), or V(other) where the schema is neither, or nothing
      is known of what was rehearsed.
  returned: success
  type: str
  sample: partial
tables:
  description: The state of each table that either change touches.
  returned: success
  type: dict
  sample: {"public.users": "reverted", "public.projects": "not reverted"}
missing:
  description: What was rehearsed and is not done, one line each.
  returned: success
  type: list
  elements: str
  sample: ["columns: public.projects.subtitle removed"]
unexpected:
  description: What is done and was not rehearsed, one line each.
  returned: success
  type: list
  elements: str
  sample: []
change:
  description: What differs from the backup, one line each.
  returned: success
  type: list
  elements: str
  sample: ["column public.users.nickname removed (text)"]
evidence_id:
  description: The rehearsal that the database was compared with, or null.
  returned: success
  type: str
  sample: 20261123t080000b2c4
lines:
  description: All of it for a person.
  returned: success
  type: list
  elements: str
  sample: ["The rollback stopped in the middle: users reverted, projects not. Contents are not judged by this."]
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.catalogue import read_catalogue
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.reading import reading
from ansible_collections.balcon.rollback.plugins.module_utils._domain.partial import describe_partial
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._good_backup import known_states
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

OPTIONS = {
    "run_id": {"type": "str", "required": True},
    "backup": {"type": "path", "required": True},
    "signing_key": {"type": "str", "no_log": True},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    """Describe it, and return the module's result."""
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    with module_step(module, "describe the present schema against the known states") as journal_data:
        known = known_states(Path(params["backup"]), Path(params["state_dir"]), params["signing_key"] or None)
        with reading(server) as connection:
            now = read_catalogue(connection)
        described = {**describe_partial(known.before, now, known.rehearsed), "evidence_id": known.evidence_id}
        journal_data["changed"] = False
        if described["state"] != "as before":
            journal_data["partial"] = described
    return {"changed": False, **described}


def main() -> None:
    """Run the module."""
    module = ArgumentSpec().merge(DATABASE, RUN, ArgumentSpec(OPTIONS)).create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
