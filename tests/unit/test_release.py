# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the application's release may be switched."""

from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.commands import read_commands
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.release import check_release
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import STATES

RUN, OTHER = "20261123t081500a3f9", "20261123t081500ffff"


def allowed(wish: str, run_id: str | None, state: str, of: str = RUN) -> bool:
    try:
        check_release(wish, run_id, "shop", Description(of, "original", state) if state else None)
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("wish", "states"),
    [("stopped", ["verified"]), ("older", ["swapped"]), ("newer", [""]), ("restarted", ["", "swapped", "released"])],
)
def test_in_a_run(wish: str, states: list[str]) -> None:
    assert [state for state in ("", *STATES) if allowed(wish, RUN, state)] == states


@pytest.mark.parametrize("wish", ["stopped", "older", "newer", "restarted"])
def test_outside_a_run_only_when_none_is_open(wish: str) -> None:
    assert [state for state in ("", *STATES) if allowed(wish, None, state)] == [""]
    assert not any(allowed(wish, RUN, state, of=OTHER) for state in STATES)


def test_commands() -> None:
    commands = {
        "stop": ["systemctl", "stop", "shop"],
        "older": [["a", 1], ["b"]],
        "newer": "sh -c x",
        "mixed": ["a", ["b"]],
    }
    assert read_commands(commands, "stop", "rollback_release.commands") == [["systemctl", "stop", "shop"]]
    assert read_commands(commands, "older", "rollback_release.commands") == [["a", "1"], ["b"]]
    for name in ("newer", "mixed", "missing"):
        with pytest.raises(Refused, match="no command"):
            read_commands(commands, name, "rollback_release.commands")
