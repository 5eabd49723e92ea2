# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every story that ends with a restored backup has in common, whatever had gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from stage import COMMENT, DATABASES, ROLE

if TYPE_CHECKING:
    from molecule.conftest import Run, Scene


def the_run(scene: Scene) -> Run:
    """Return the restore."""
    return scene.runs("production")[-1]


def kept(scene: Scene) -> str:
    """Return the name under which the database of before it is kept."""
    return f"{DATABASES['production']}__before_{the_run(scene).record['run_id']}"


class RestoredStory:
    """The checks; a story derives its own class, and says what must be told in words."""

    reported: ClassVar[tuple[str, ...]]

    def test_the_database_is_open_with_what_belongs_to_it(self, scene: Scene) -> None:
        assert scene.query(
            "SELECT datallowconn, datdba::regrole::text, datconnlimit, shobj_description(oid, 'pg_database')"
            " FROM pg_database WHERE datname = current_database()"
        ) == [(True, ROLE, 40, COMMENT)]

    def test_the_present_database_is_kept_closed(self, scene: Scene) -> None:
        _oid, is_open, description = scene.database(kept(scene))
        assert not is_open
        assert description is not None
        assert (description.role, description.run_id) == ("before", the_run(scene).record["run_id"])
        assert scene.databases("production") == {DATABASES["production"], kept(scene)}

    def test_the_application_was_restarted_and_writes(self, scene: Scene) -> None:
        assert the_run(scene).event("restart the application")["outcome"] == "ok"
        health = scene.ask("/api/health/deep")
        assert (health["ok"], health["release"]) == (True, "1.1.0")
        assert health["migrations"] == {"pending": 0, "executed": 6}

    def test_maintenance_was_on_first_and_is_off_again(self, scene: Scene) -> None:
        actions = [event["action"] for event in the_run(scene).journal]
        assert actions.index("turn maintenance mode on") < actions.index("restore the newest good backup beside")
        for turned in ("turn maintenance mode on", "turn maintenance mode off"):
            assert the_run(scene).event(turned)["data"]["verified_by"] == "probe"
        assert scene.ask("/api/health")["maintenance"] is False

    def test_no_session_and_no_lock_is_left(self, scene: Scene) -> None:
        assert scene.traces() == []

    def test_the_record_says_so_in_words(self, scene: Scene) -> None:
        record = the_run(scene).record
        told = [
            line
            for part in ("scope", "lost_since", "partial", "restored_from")
            for line in (record[part] or {"lines": []})["lines"]
        ]
        missing = [words for words in self.reported if not any(words in line for line in told)]
        assert not missing, told

    def test_nobody_else_can_read_the_state(self, state_is_private: Callable[[], str]) -> None:
        assert state_is_private() == ""
