#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_evidence
short_description: Write down what a rehearsal proved, and hold production to it
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - The gate between staging and production. Evidence is one file a rehearsal in the state folder of the production
    host, with the hash of its content, and signed when there is a key.
  - Production passes only with evidence of the same plan, the same files, the same major version and the same schema
    as production has now, younger than O(max_age_hours).
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description:
      - V(written) writes evidence; the rehearsal passed.
      - V(checked) finds the newest evidence of O(plan), checks it, and returns it.
    type: str
    required: true
    choices: [written, checked]
  evidence_dir:
    description: The state folder of the production host; the evidence is in its subfolder C(evidence).
    type: path
    required: true
  signing_key:
    description: Signs the evidence, or checks its signature (HMAC-SHA256).
    type: str
  content:
    description:
      - What the rehearsal proved, for O(state=written). The keys are C(run_id), C(plan), C(plan_id), C(files),
        C(production) (C(system_identifier), C(oid), C(database)), C(server_major), C(catalogue_hash),
        C(canonical_change), C(change), C(skip_columns), C(skip_tables), C(loss), C(checks), C(timings)
        (C(copy_bytes_per_second), C(migrate_seconds), C(trial_seconds)), and C(masking).
    type: dict
  plan:
    description: The migrations to revert, newest first; for O(state=checked).
    type: list
    elements: str
  plan_id:
    description: The hash of the plan and its files, from M(balcon.rollback.migration_info).
    type: str
  catalogue_hash:
    description: The hash of production's catalogue as it is now, from M(balcon.rollback.db_fingerprint).
    type: str
  server_major:
    description: Production's major version.
    type: int
  system_identifier:
    description: Production's cluster, from M(balcon.rollback.db_info).
    type: str
  database_oid:
    description: Production's database, from M(balcon.rollback.db_info).
    type: int
  size_bytes:
    description: The size of production's database in bytes, for the predicted window.
    type: int
    default: 0
  method:
    description: How the run works, for the predicted window, see M(balcon.rollback.db_access).
    type: str
    choices: [candidate, in_place]
    default: candidate
  max_age_hours:
    description: Hours for which a rehearsal is good.
    type: float
    default: 24.0
  max_window:
    description: Seconds; a longer predicted window is refused.
    type: float
    default: 300.0
  override:
    description:
      - The emergency's way past the gate, with C(reason) and C(approved_by), a list of two names. It heads the report.
    type: dict
"""

EXAMPLES = r"""
- name: Let production through only with evidence
  balcon.rollback.rehearsal_evidence:
    state: checked
    evidence_dir: /var/lib/balcon-rollback
    plan: [20240107000000-add-project-priority.ts]
    plan_id: "{{ rollback_migrations.plan_id }}"
    catalogue_hash: "{{ rollback_schema.fingerprint.catalogue_hash }}"
    server_major: "{{ rollback_server.server_major }}"
    system_identifier: "{{ rollback_server.system_identifier }}"
    database_oid: "{{ rollback_server.oid }}"
    size_bytes: "{{ rollback_server.size_bytes }}"
  register: rollback_gate
"""

RETURN = r"""
evidence:
  description: The evidence; empty with O(override).
  returned: success
  type: dict
  sample: {"evidence_id": "20261123t080000b2c4", "plan": ["20240107000000-add-project-priority.ts"]}
path:
  description: Where the evidence is.
  returned: when O(state=written)
  type: str
  sample: /var/lib/balcon-rollback/evidence/20261123t080000b2c4.json
signed:
  description: Whether the evidence carries a signature.
  returned: success
  type: bool
  sample: false
predicted_window_seconds:
  description: The window, in seconds, that the rehearsal's measurements predict; 0 with O(override).
  returned: when O(state=checked)
  type: float
  sample: 14.2
"""

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._domain.evidence import (
    Request,
    check_evidence,
    check_override,
    check_seal,
    check_window,
    choose,
    predicted_window,
    seal,
)
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._evidence_store import load_evidence, save_evidence
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible.module_utils.basic import AnsibleModule

REQUEST = ("plan", "plan_id", "catalogue_hash", "server_major", "system_identifier", "database_oid")

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "required": True, "choices": ["written", "checked"]},
        "evidence_dir": {"type": "path", "required": True},
        "signing_key": {"type": "str", "no_log": True},
        "content": {"type": "dict"},
        "plan": {"type": "list", "elements": "str"},
        "plan_id": {"type": "str"},
        "catalogue_hash": {"type": "str"},
        "server_major": {"type": "int"},
        "system_identifier": {"type": "str"},
        "database_oid": {"type": "int"},
        "size_bytes": {"type": "int", "default": 0},
        "method": {"type": "str", "choices": ["candidate", "in_place"], "default": "candidate"},
        "max_age_hours": {"type": "float", "default": 24.0},
        "max_window": {"type": "float", "default": 300.0},
        "override": {"type": "dict"},
    },
    required_if=[("state", "written", ["content"]), ("state", "checked", list(REQUEST))],
).merge(RUN)


def write(module: AnsibleModule) -> dict[str, Any]:
    """Write evidence and return the module's result."""
    content = module.params["content"]
    key = module.params["signing_key"] or None
    evidence = seal({"evidence_id": content["run_id"], "created_at": utc_now(), **with_numbers(content)}, key)
    path = Path(module.params["evidence_dir"]) / "evidence" / f"{evidence['evidence_id']}.json"
    changed = not path.exists()
    if changed and not module.check_mode:
        save_evidence(Path(module.params["evidence_dir"]), evidence)
    return {"changed": changed, "evidence": evidence, "path": str(path), "signed": key is not None}


def with_numbers(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with numbers where production is compared by them.

    Before ansible-core 2.19 a number that is templated inside a dictionary arrives as text.
    """
    production = {**content["production"], "oid": int(content["production"]["oid"])}
    return {**content, "production": production, "server_major": int(content["server_major"])}


def check(module: AnsibleModule) -> dict[str, Any]:
    """Check the newest evidence of the plan and return the module's result."""
    params = module.params
    with module_step(module, "check the evidence of the rehearsal") as journal_data:
        journal_data["changed"] = False
        if params["override"]:
            check_override(params["override"])
            journal_data["override"] = params["override"]
            return {"changed": False, "evidence": {}, "signed": False, "predicted_window_seconds": 0.0}
        evidence = dict(choose(load_evidence(Path(params["evidence_dir"])), params["plan"]))
        check_seal(evidence, params["signing_key"] or None)
        request = Request(**{name: params[name] for name in REQUEST})
        check_evidence(evidence, request, datetime.now(timezone.utc), params["max_age_hours"])
        seconds = predicted_window(evidence, params["size_bytes"], params["method"])
        check_window(seconds, params["max_window"])
        journal_data.update(evidence_id=evidence["evidence_id"], predicted_window_seconds=seconds)
        return {
            "changed": False,
            "evidence": evidence,
            "signed": bool(evidence["signature"]),
            "predicted_window_seconds": seconds,
        }


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: write(module) if module.params["state"] == "written" else check(module))


if __name__ == "__main__":
    main()
