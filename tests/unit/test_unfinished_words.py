# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What whoever is called is told to type, for every decision about a run that nobody finished."""

from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain import unfinished
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.unfinished import Decision

RUN, COMMAND = "20261123t081500a3f9", "ansible-playbook restore.yml -e env=production"
KINDS = (
    unfinished.WAIT, unfinished.OPEN_ORIGINAL, unfinished.RESTORE_DUMP, unfinished.SWAP_BACK, unfinished.GO_FORWARD,
    unfinished.ASK,
)  # fmt: skip


def test_nothing_is_to_be_typed_where_nothing_is_open() -> None:
    nothing = Decision(unfinished.NOTHING, "no run is open")
    assert unfinished.what_to_type(nothing, COMMAND) == "Nothing needs to be done."
    unfinished.refuse_open_run(nothing, COMMAND)
    unfinished.refuse_after_finishing(nothing, "", COMMAND)


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_decision_is_refused_with_what_to_type(kind: str) -> None:
    with pytest.raises(Refused, match="somebody stopped") as refusal:
        unfinished.refuse_open_run(Decision(kind, "somebody stopped", RUN), COMMAND)
    assert COMMAND in refusal.value.remedy
    assert refusal.value.details["other_run"] == RUN
    assert (
        unfinished.what_to_type(Decision(kind, "somebody stopped"), COMMAND)
        == f"What can be done is said by: {COMMAND}"
    )


def test_both_ways_are_named_where_a_person_decides() -> None:
    told = unfinished.what_to_type(Decision(unfinished.ASK, "written", RUN), COMMAND)
    assert f"{COMMAND} -e run={RUN} -e keep_written=true" in told
    assert f"{COMMAND} -e run={RUN} -e accept_loss=true" in told


@pytest.mark.parametrize("kind", [unfinished.SWAP_BACK, unfinished.RESTORE_DUMP, unfinished.GO_FORWARD])
def test_a_rollback_does_not_go_on_after_the_database_became_another_one(kind: str) -> None:
    with pytest.raises(Refused):
        unfinished.refuse_after_finishing(Decision(kind, "why", RUN), "It was swapped back.", COMMAND)
